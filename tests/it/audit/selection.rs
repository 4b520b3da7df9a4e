use vastost::catalog::audit::report::{Class, Level, Report};

use super::plants::PLANTS;
use super::{Yard, flags, report_of, seen};
use crate::conformance::on_every_server;
use vastost_testkit::test_store::{DATE, Wish, image, pattern};

on_every_server!(
    three_shards_have_every_image_once_and_their_merge_is_the_whole_audit,
    a_shard_that_is_missing_is_told,
    an_audit_is_of_the_client_the_name_and_the_days_that_were_asked_for,
);

const DAY: u64 = 86_400;

/// Images of several clients and days, some damaged, and keys of somebody else.
fn yard(wish: &Wish) -> Yard {
    let yard = Yard::new(wish);
    for number in 0..40 {
        let client = ["db01", "db02", "web"][number as usize % 3];
        let def = image(client, number + DAY * (number % 4));
        let kept = yard.keep(&def, pattern(100 + number as usize, number), b"");
        if number % 10 == 7 {
            yard.foreign.delete(&kept.data_key);
        }
    }
    for class in [Class::PendingStale, Class::DeleteUnfinished, Class::OrphanData] {
        let row = PLANTS.iter().find(|plant| plant.class == class).unwrap();
        (row.plant)(&yard, &image("debris", class as u64));
    }
    yard.foreign.put("catalog/readme.txt", b"not ours", &[]);
    yard.foreign.put("pending/readme.txt", b"not ours", &[]);
    yard
}

/// All of a report but when it was made and how many requests that took.
fn comparable(mut report: Report) -> Report {
    let summary = &mut report.summary;
    (summary.started, summary.finished, summary.seconds) = (String::new(), String::new(), 0.0);
    summary.lsus.values_mut().for_each(|lsu| lsu.list_requests = 0);
    report
}

fn three_shards_have_every_image_once_and_their_merge_is_the_whole_audit(wish: &Wish) {
    let yard = yard(wish);
    for level in [Level::Quick, Level::Deep] {
        let (_, whole) = yard.verify(flags(level));
        let shards = ["1/3", "2/3", "3/3"].map(|shard| yard.verify(&[&["--shard", shard], flags(level)].concat()).1);
        let files: Vec<_> = shards
            .iter()
            .enumerate()
            .map(|(number, shard)| {
                assert!(shard.summary.lsus["main"].states.good.images > 0, "{shard:?}");
                let file = yard.site.folder.path().join(format!("{number}.json"));
                std::fs::write(&file, serde_json::to_vec(shard).unwrap()).unwrap();
                file.display().to_string()
            })
            .collect();
        let mut names: Vec<_> = shards.iter().flat_map(seen).collect();
        names.sort();
        assert_eq!(names, seen(&whole));
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let (code, merged) = report_of(yard.run(&[&["--json", "verify", "merge"], &files[..]].concat()));
        assert_eq!((code, comparable(merged)), (1, comparable(whole)), "{level:?}");
    }
}

fn a_shard_that_is_missing_is_told(wish: &Wish) {
    let yard = Yard::new(wish);
    yard.keep(&image("good", 1), pattern(10, 1), b"");
    let (_, second) = yard.verify(&["--shard", "2/3"]);
    let file = yard.site.folder.path().join("second.json");
    std::fs::write(&file, serde_json::to_vec(&second).unwrap()).unwrap();
    let (code, merged) = report_of(yard.run(&["--json", "verify", "merge", file.to_str().unwrap()]));
    assert_eq!((code, merged.summary.interrupted), (2, true));
    assert!(
        merged.summary.lsus["main"]
            .notes
            .iter()
            .any(|note| note.contains("shards 1, 3 of 3 are missing")),
        "{merged:?}"
    );
}

fn an_audit_is_of_the_client_the_name_and_the_days_that_were_asked_for(wish: &Wish) {
    let yard = yard(wish);
    let numbers = |wanted: fn(u64) -> bool| (0..40).filter(|number| wanted(*number)).count() as u64;
    let images = |args: &[&str]| {
        let states = yard.verify(args).1.summary.lsus["main"].states;
        (states.good.images, states.damaged.images)
    };
    let both = |wanted: fn(u64) -> bool| {
        let damaged = (0..40).filter(|number| wanted(*number) && number % 10 == 7).count() as u64;
        (numbers(wanted) - damaged, damaged)
    };
    assert_eq!(images(&[]), both(|_| true));
    assert_eq!(images(&["--client", "db02"]), both(|number| number % 3 == 1));
    assert_eq!(images(&["--client", "db0"]), (0, 0));
    assert_eq!(images(&["--image", "db0"]), both(|number| number % 3 < 2));
    assert_eq!(images(&["--since", "2026-11-24"]), both(|number| number % 4 >= 2));
    assert_eq!(images(&["--until", "2026-11-22"]), both(|number| number % 4 == 0));
    let since = (DATE + 5 + DAY).to_string();
    let until = (DATE + 9 + DAY).to_string();
    assert_eq!(
        images(&["--since", &since, "--until", &until]),
        both(|number| number == 5 || number == 9)
    );
    assert_eq!(
        images(&[
            "--quick",
            "--client",
            "web",
            "--since",
            "2026-11-23",
            "--until",
            "2026-11-23"
        ]),
        both(|number| number % 3 == 2 && number % 4 == 1)
    );
    // What is left over belongs to an image as well.
    let found: Vec<_> = seen(&yard.verify(&["--client", "debris"]).1)
        .into_iter()
        .map(|seen| seen.class)
        .collect();
    assert_eq!(found, [Class::OrphanData, Class::PendingStale, Class::DeleteUnfinished]);
}
