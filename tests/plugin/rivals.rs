//! Two hosts that go on with one image at once, each in the belief that nobody else does.

use std::process::{Child, Command, Stdio};

use crate::hosts::{SMALL_PARTS, host};
use crate::plugin;
use vastost_testkit::proxy::meeting::meeting;
use vastost_testkit::proxy::{Action, Proxy};
use vastost_testkit::test_store::{Site, Wish};

fn start(site: &Site, step: &str, image: u64) -> Child {
    let mut command = Command::new(host());
    command.arg(plugin()).arg(&site.config).args([step, &image.to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a step printed, and whether it succeeded.
fn end(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn run(site: &Site, step: &str, image: u64) -> String {
    let (good, text) = end(start(site, step, image));
    assert!(good, "{step} {image}: {text}");
    text
}

#[test]
fn of_two_hosts_that_finish_one_image_at_once_one_wins_and_nothing_else_is_left() {
    let site = Site::new(&Wish {
        settings: SMALL_PARTS.into(),
        minio: true,
        ..Wish::default()
    });
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    // Both come past the check before either is seen to write; then they run free, or meet again at their last step.
    for (number, folder) in (1..).zip(["pending", "catalog"].repeat(4)) {
        proxy.forward_all();
        run(&site, "incomplete", number);
        let at_pending = meeting("pending");
        let then = meeting(folder);
        proxy.script(move |request| {
            at_pending(request);
            then(request);
            Action::Forward
        });
        let hosts = [start(&site, "finish", number), start(&site, "finish", number)];
        let ends = hosts.map(end);
        proxy.forward_all();
        assert_eq!(ends.iter().filter(|(good, _)| *good).count(), 1, "{ends:?}");
        assert!(run(&site, "check", number).starts_with("complete\n"), "{ends:?}");
        let kept = ["backups/", "catalog/", "meta/", "pending/"].map(|folder| site.keys_under(folder).len());
        assert_eq!(kept, [1, 1, 1, 0], "{:?} after {ends:?}", site.keys_under(""));
        let bucket = site.bucket.clone();
        let uploads = site.with_store(move |store| async move { store.list_uploads(&bucket, None).await });
        assert!(uploads.unwrap().uploads.is_empty(), "{ends:?}");
        run(&site, "delete", number);
        assert_eq!(site.keys_under(""), [""; 0]);
    }
}
