//! Two hosts at work on one image: ours, and another process.

use std::sync::Mutex;

use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_READ};
use vastost::ost::status::STSP_ENOENT;
use vastost_testkit::host::{Definition, HostResult};

/// Hosts that nothing but their leases and the server's clock tell apart, with feature `cluster-tests`.
#[cfg(feature = "cluster-tests")]
mod clocks;

use crate::cli::{command, run};
use crate::conformance::on_every_server;
use crate::writer::{Writer, until};
use vastost_testkit::proxy::meeting::meeting;
use vastost_testkit::proxy::{Action, Proxy};
use vastost_testkit::test_store::{CALL, DATE, PART, Site, Wish, backup, fill, pattern, restore, write_all};

on_every_server!(
    of_two_writers_that_create_one_image_at_once_one_wins_and_nothing_else_is_left,
    of_two_writers_that_complete_one_image_at_once_one_wins_and_nothing_else_is_left,
    a_reader_beside_a_delete_reads_what_was_written_or_is_told_that_it_is_gone,
    a_delete_waits_for_the_death_of_the_writer,
    an_image_that_another_host_completes_between_two_looks_is_found,
    a_clean_up_amid_a_probe_does_not_hide_what_the_server_can_do,
    a_clean_up_amid_a_write_of_metadata_takes_none_of_them,
);

const NAME: &str = "db01_1795305600_C1_F1";

fn def() -> Definition {
    Definition::new(NAME, DATE)
}

fn of_two_writers_that_create_one_image_at_once_one_wins_and_nothing_else_is_left(wish: &Wish) {
    two_writers_meet(wish, "pending");
}

fn of_two_writers_that_complete_one_image_at_once_one_wins_and_nothing_else_is_left(wish: &Wish) {
    two_writers_meet(wish, "catalog");
}

/// Two processes write one image; each waits for the other before its first put into `folder`.
fn two_writers_meet(wish: &Wish, folder: &'static str) {
    let site = Site::new(&wish.small_parts());
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    let server = site.open();
    // What the endpoint can do is probed here, before anybody waits.
    backup(&server, &Definition::new("first", DATE), b"x", CALL);
    server.delete("main", &Definition::new("first", DATE)).unwrap();
    for (round, len) in (1..).zip([
        0,
        1000,
        PART + 77,
        2 * PART + 5,
        3 * PART,
        1000,
        PART + 1,
        2 * PART + 99,
    ]) {
        // Both write pending records, so both came past the check in `create`.
        let at_pending = meeting("pending");
        let then = meeting(folder);
        proxy.script(move |request| {
            at_pending(request);
            then(request);
            Action::Forward
        });
        let data = [pattern(len, 2 * round), pattern(len, 2 * round + 1)];
        let ends = std::thread::scope(|scope| {
            let write = |data: &Vec<u8>| Writer::spawn(command(&site.config), NAME).write_and_finish(data);
            data.each_ref()
                .map(|data| scope.spawn(move || write(data)))
                .map(|thread| thread.join().unwrap())
        });
        let won: Vec<_> = ends
            .iter()
            .zip(&data)
            .filter(|(end, _)| end.code == 0)
            .map(|(_, data)| data)
            .collect();
        let told = format!(
            "round {round}: {:?}",
            ends.each_ref().map(|end| (end.code, &end.stderr))
        );
        let restored = restore(&server, &def(), CALL);
        assert!(won.iter().any(|data| **data == restored), "{told}");
        for lost in ends.iter().filter(|end| end.code != 0) {
            assert!(lost.code == 2 && lost.stderr.contains("another writer"), "{told}");
        }
        assert_eq!(
            (won.len(), site.keys_under("").len()),
            (1, 2),
            "{told}, {:?}",
            site.keys_under("")
        );
        let bucket = site.bucket.clone();
        let uploads = site.with_store(move |store| async move { store.list_uploads(&bucket, None).await });
        assert!(uploads.unwrap().uploads.is_empty(), "{told}");
        server.delete("main", &def()).unwrap();
    }
}

fn a_reader_beside_a_delete_reads_what_was_written_or_is_told_that_it_is_gone(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let len = 8 * PART + 1234;
    for seed in 1..=4 {
        backup(&server, &def(), &pattern(len, seed), CALL);
        let image = server.open("main", &def(), STSP_OPEN_READ).unwrap();
        let mut buffer = vec![0; CALL];
        let mut expected = vec![0; CALL];
        let mut reads_right = |offset: usize| match image.read(&mut buffer, offset as u64) {
            Ok(read) => {
                assert_eq!(read as usize, CALL.min(len - offset), "at {offset}");
                fill(&mut expected, seed, offset as u64);
                assert!(
                    buffer[..read as usize] == expected[..read as usize],
                    "wrong bytes at {offset}"
                );
                true
            }
            Err(error) => {
                assert_eq!(error.code, STSP_ENOENT, "at {offset}: {error}");
                false
            }
        };
        assert!(reads_right(0));
        std::thread::scope(|scope| {
            let removed = scope.spawn(|| run(&site, &["rm", &format!("main/{NAME}"), "--yes"]));
            while !removed.is_finished() {
                (0..len).step_by(CALL).all(&mut reads_right);
            }
            removed.join().unwrap().expect(0);
        });
        // Read ahead or cached, some of it may still be there, but not all.
        assert!(!(0..len).step_by(CALL).all(&mut reads_right));
        image.close(0).unwrap();
        assert_eq!(
            server.open("main", &def(), STSP_OPEN_READ).err().unwrap().code,
            STSP_ENOENT
        );
    }
    assert_eq!(site.keys_under(""), [""; 0]);
}

fn a_delete_waits_for_the_death_of_the_writer(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let mut writer = Writer::start(&site, command(&site.config), NAME);
    writer.write(&pattern(2 * PART, 1));
    let image = format!("main/{NAME}");
    for _ in 0..3 {
        let refused = run(&site, &["rm", &image, "--yes"]).expect(2);
        assert!(refused.stderr.contains("is being written by"), "{}", refused.stderr);
    }
    // Written by nobody else meanwhile, and whole.
    writer.write(&pattern(PART, 1));
    writer.kill();
    run(&site, &["rm", &image, "--yes"]).expect(0);
    assert_eq!(site.keys_under(""), [""; 0]);
    let server = site.open();
    let again = server.create("main", &def()).unwrap();
    write_all(&again, &pattern(PART, 9), 0, CALL);
    again.close(STSP_CLOSEF_COMPLETE).unwrap();
    until("the new image", || server.info("main", &def()).is_ok());
    assert!(restore(&server, &def(), CALL) == pattern(PART, 9));
}

fn an_image_that_another_host_completes_between_two_looks_is_found(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    let server = site.open();
    let info = || server.info("main", &def()).map(drop);
    let read = || {
        server
            .open("main", &def(), STSP_OPEN_READ)
            .and_then(|image| image.close(0))
    };
    let delete = || server.delete("main", &def());
    let looks: [&dyn Fn() -> HostResult<()>; 3] = [&info, &read, &delete];
    for look in looks {
        let mut writer = Writer::start(&site, command(&site.direct), NAME);
        writer.write(&pattern(1000, 1));
        let writer = Mutex::new(Some(writer));
        // The sidecar is not there; before the pending records are listed, there is one, and they are gone.
        proxy.script(move |request| match request.is("GetObject", "catalog") {
            true => match writer.lock().unwrap().take() {
                Some(writer) => Action::After(Box::new(move || drop(writer.finish().expect(0)))),
                None => Action::Forward,
            },
            false => Action::Forward,
        });
        look().unwrap();
        proxy.forward_all();
        let _ = server.delete("main", &def());
        assert_eq!(site.keys_under(""), [""; 0]);
    }
}

fn a_clean_up_amid_a_probe_does_not_hide_what_the_server_can_do(wish: &Wish) {
    let site = Site::new(wish);
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    clean_up_before(&site, &proxy, "probe", 2);
    backup(&site.open(), &def(), b"x", CALL);
    let probed = std::fs::read_dir(site.folder.path().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    // The clean-up asked nothing that needs a probe, so this is the only one.
    let mut files = probed.filter(|path| path.to_string_lossy().contains("/probe-"));
    let file = files.next().expect("what the probe found");
    assert_eq!(files.next(), None);
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(record["capabilities"]["conditional_put"], true, "{record}");
}

fn a_clean_up_amid_a_write_of_metadata_takes_none_of_them(wish: &Wish) {
    let site = Site::new(wish);
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    let server = site.open();
    let mut meta = vec![0; 200_000];
    backup(&server, &def(), b"x", CALL);
    let image = server.open("main", &def(), STSP_OPEN_READ).unwrap();
    image.write_meta(&pattern(meta.len(), 5), 0).unwrap();
    // The object with the metadata is there, and nothing names it yet.
    clean_up_before(&site, &proxy, "catalog", 1);
    image.close(0).unwrap();
    assert_eq!(
        proxy
            .recent()
            .iter()
            .filter(|request| request.is("PutObject", "catalog"))
            .count(),
        1
    );
    let image = server.open("main", &def(), STSP_OPEN_READ).unwrap();
    assert_eq!(image.read_meta(&mut meta, 0).unwrap(), 200_000);
    image.close(0).unwrap();
    assert!(meta == pattern(200_000, 5));
    assert_eq!(site.keys_under("meta/").len(), 1);
}

/// Another host's `gc` runs without a grace period before the `nth` put into `folder` is passed on.
fn clean_up_before(site: &Site, proxy: &Proxy, folder: &'static str, nth: usize) {
    let mut gc = command(&site.direct);
    gc.args(["gc", "main", "--older-than", "0s", "--yes"]);
    let gc = Mutex::new(gc);
    proxy.script(move |request| {
        if request.is("PutObject", folder) && request.nth == nth {
            assert!(gc.lock().unwrap().output().unwrap().status.success());
        }
        Action::Forward
    });
}
