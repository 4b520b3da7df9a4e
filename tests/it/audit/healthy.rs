//! A thousand images and not one finding, while other threads write, delete and rewrite others.

use std::sync::atomic::{AtomicBool, Ordering};

use vastost::catalog::audit::report::{Class, Level};
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_READ};
use vastost_testkit::host::{Definition, HostServer};

use super::{Yard, flags, seen};
use vastost_testkit::test_store::{CALL, DATE, PART, Wish, backup, image, pattern, write_all};

const IMAGES: u64 = 1_000;
const WRITERS: u64 = 8;
/// Closed incomplete: NetBackup may go on with them, and nobody else can tell that it will not.
const INCOMPLETE: u64 = 4;

/// Every byte that a name can have, in pieces that fit a key.
fn awkward() -> Vec<Definition> {
    let bytes: Vec<u8> = (1..=255).collect();
    let pieces = bytes
        .chunks(16)
        .zip(1..)
        .map(|(piece, number)| Definition::new(piece, DATE + number));
    // Names that continue one another, which keys order otherwise than names.
    let tricky = [
        "a",
        "a.1",
        "a.1795305600",
        "a-1",
        "..",
        "a/b",
        "x_1795305600_C1_F1.json",
    ];
    pieces
        .chain(tricky.into_iter().map(|name| Definition::new(name, DATE)))
        .collect()
}

fn write_one(server: &HostServer, number: u64) {
    let def = image(&format!("client{}", number % 7), number);
    let size = if number.is_multiple_of(100) {
        2 * PART + number as usize
    } else {
        number as usize * 3
    };
    let written = server.create("main", &def).unwrap();
    write_all(&written, &pattern(size, number), 0, CALL);
    match number % 50 {
        1 => drop(written.write_meta(&pattern(70_000, number), 0).unwrap()),
        2 => drop(written.write_meta(b"small metadata", 0).unwrap()),
        _ => {}
    }
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
}

/// Writes, rewrites metadata of, and deletes images of its own until told to stop.
fn churn(server: &HostServer, thread: u64, stop: &AtomicBool) -> u64 {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        let def = image(&format!("client{}", thread % 7), 50_000 + thread * 1_000 + rounds % 500);
        backup(server, &def, &pattern(2_000, rounds), CALL);
        // Metadata that move between the record and an object of their own.
        for size in [10, 70_000, 80_000, 5] {
            let opened = server.open("main", &def, STSP_OPEN_READ).unwrap();
            opened.write_meta(&pattern(size, rounds), 0).unwrap();
            opened.close(0).unwrap();
        }
        server.delete("main", &def).unwrap();
        rounds += 1;
    }
    rounds
}

fn no_finding_in_a_healthy_store_beside_writers(wish: &Wish, images: u64) {
    let yard = Yard::beside_writers(wish);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let server = &yard.server;
            scope.spawn(move || {
                (0..images)
                    .filter(|n| n % WRITERS == writer)
                    .for_each(|n| write_one(server, n))
            });
        }
    });
    let awkward = awkward();
    awkward
        .iter()
        .for_each(|def| backup(&yard.server, def, b"awkward", CALL));
    for number in 0..INCOMPLETE {
        let open = yard.server.create("main", &image("check", number)).unwrap();
        write_all(&open, &pattern(number as usize * PART, number), 0, CALL);
        open.close(0).unwrap();
    }
    let living = yard.server.create("main", &image("living", 1)).unwrap();
    write_all(&living, &pattern(PART + CALL, 1), 0, CALL);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads = [1, 2, 3].map(|thread| {
            let server = &yard.server;
            let stop = &stop;
            scope.spawn(move || churn(server, thread, stop))
        });
        // However the checks end, the threads must not go on for ever.
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for level in [Level::Quick, Level::Default, Level::Deep] {
                assert_healthy(&yard, level, images + awkward.len() as u64);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let rounds = threads.map(|thread| thread.join().unwrap());
        checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
    });
    living.close(STSP_CLOSEF_COMPLETE).unwrap();
}

fn assert_healthy(yard: &Yard, level: Level, images: u64) {
    let (code, report) = yard.verify(flags(level));
    let found = seen(&report);
    let incomplete = if level == Level::Quick { 0 } else { INCOMPLETE as usize };
    assert_eq!((code, found.len()), (0, incomplete), "{level:?}: {:?}", report.findings);
    assert!(found.iter().all(|seen| seen.class == Class::PendingStale), "{found:?}");
    let states = report.summary.lsus["main"].states;
    assert!(states.good.images >= images && states.damaged.images == 0, "{states:?}");
}

#[cfg(feature = "minio-tests")]
#[test]
fn no_finding_in_a_healthy_store_on_minio() {
    no_finding_in_a_healthy_store_beside_writers(
        &Wish {
            minio: true,
            ..Wish::default()
        },
        IMAGES,
    );
}

/// Fewer: its listings read the disk for every object.
#[test]
fn no_finding_in_a_healthy_store_on_the_embedded_server() {
    no_finding_in_a_healthy_store_beside_writers(&Wish::default(), IMAGES / 10);
}
