use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vastost::catalog::audit::report::{Class, Finding, Level, Severity};
use vastost_testkit::host::Definition;

use super::plants::{PLANTS, Planted};
use super::{Seen, Yard, flags, report_of, seen, somebody_else};
use crate::cli::{Run, command, to_run};
use crate::conformance::on_every_server;
use crate::foreign::Foreign;
use vastost_testkit::proxy::{Action, Proxy};
use vastost_testkit::test_store::{DATE, Wish, image, pattern};

on_every_server!(
    each_class_is_found_alone_at_its_level_and_with_its_exit_code,
    all_classes_are_found_together_and_nothing_else,
    debris_of_today_is_not_named,
    an_lsu_without_bucket_is_one_finding_and_the_others_are_looked_at,
    a_pending_record_that_is_none_is_stale,
    an_image_that_is_deleted_while_it_is_looked_at_is_neither_missing_nor_counted,
);

const LEVELS: [Level; 3] = [Level::Quick, Level::Default, Level::Deep];

/// A file of `bpimagelist -l` with these images, and a healthy one that is always there.
fn list(yard: &Yard, images: &[(Definition, u64)]) -> PathBuf {
    let lines: String = images
        .iter()
        .map(|(def, size)| super::against::lines(def, *size))
        .collect();
    let file = yard.site.folder.path().join("bpimagelist.txt");
    std::fs::write(&file, lines).unwrap();
    file
}

/// What an audit says of what was planted. Objects that are hidden need keys of somebody else.
fn audit(yard: &Yard, planted: &[(Definition, Planted)], level: Level, strict: bool) -> (i32, Vec<Seen>) {
    let healthy = yard.site.folder.path().join("healthy");
    let sizes = planted
        .iter()
        .filter_map(|(def, planted)| Some((def.clone(), planted.netbackup?)));
    let mut images: Vec<_> = sizes.collect();
    if !healthy.exists() {
        yard.keep(&image("good", 1), pattern(3_000, 1), b"");
        std::fs::write(&healthy, "").unwrap();
    }
    images.push((image("good", 1), 3_000));
    let file = list(yard, &images);
    let mut args = vec![
        "--json",
        "verify",
        "main",
        "--older-than",
        "0s",
        "--against",
        file.to_str().unwrap(),
    ];
    args.extend(flags(level));
    args.extend(strict.then_some("--strict"));
    let hidden: Vec<_> = planted
        .iter()
        .filter_map(|(_, planted)| planted.hidden.as_deref())
        .collect();
    let run = if hidden.is_empty() {
        yard.run(&args)
    } else {
        run_without(yard, &hidden, &args)
    };
    let (code, report) = report_of(run);
    report.findings.iter().for_each(assert_is_explained);
    (code, seen(&report))
}

fn assert_is_explained(finding: &Finding) {
    assert!(
        !finding.advice.is_empty() && !finding.expected.is_empty() && !finding.found.is_empty(),
        "{finding:?}"
    );
}

/// Runs as somebody who may not read some of the objects.
fn run_without(yard: &Yard, hidden: &[&str], args: &[&str]) -> Run {
    if yard.site.is_embedded() {
        let denied: Vec<_> = hidden.iter().map(|key| ("GetObject", Some(*key))).collect();
        return to_run(command(&somebody_else(yard, &denied)).args(args).output().unwrap());
    }
    #[cfg(feature = "minio-tests")]
    return yard.run_as(
        &yard
            .foreign
            .assume_role(&super::rights::reader(&yard.site.bucket, hidden)),
        args,
    );
    #[cfg(not(feature = "minio-tests"))]
    unreachable!("the embedded server alone")
}

fn each_class_is_found_alone_at_its_level_and_with_its_exit_code(wish: &Wish) {
    for plant in &PLANTS {
        let yard = Yard::new(wish);
        let def = image("planted", 7);
        let planted = [(def.clone(), (plant.plant)(&yard, &def))];
        for level in LEVELS {
            let expected = planted[0].1.at(level);
            assert!(level < Level::Deep || expected.iter().any(|seen| seen.class == plant.class));
            let (code, found) = audit(&yard, &planted, level, false);
            assert_eq!(found, expected, "{} at {level:?}", plant.class.name());
            let errors = found.iter().any(|seen| seen.severity == Severity::Error);
            assert!(
                found.iter().all(|seen| seen.severity == plant.severity),
                "{}",
                plant.class.name()
            );
            assert_eq!(code, i32::from(errors), "{} at {level:?}", plant.class.name());
        }
        assert_eq!(
            audit(&yard, &planted, Level::Deep, true).0,
            1,
            "{} with --strict",
            plant.class.name()
        );
    }
}

fn all_classes_are_found_together_and_nothing_else(wish: &Wish) {
    let yard = Yard::new(wish);
    let planted: Vec<_> = (100..)
        .zip(PLANTS.iter())
        .map(|(number, plant)| {
            let def = image(&format!("c{number}"), number);
            (def.clone(), (plant.plant)(&yard, &def))
        })
        .collect();
    for level in LEVELS {
        let mut expected: Vec<_> = planted.iter().flat_map(|(_, planted)| planted.at(level)).collect();
        expected.sort();
        let (code, found) = audit(&yard, &planted, level, false);
        assert_eq!((code, found), (1, expected), "{level:?}");
    }
}

fn debris_of_today_is_not_named(wish: &Wish) {
    let yard = Yard::new(wish);
    // What is no matter of age, and data without a record, which may be an image of today.
    let ageless = [Class::StoreOnly, Class::DataEtag, Class::OrphanData];
    let debris = PLANTS
        .iter()
        .filter(|plant| plant.severity == Severity::Warning && !ageless.contains(&plant.class));
    let mut planted = 0;
    for plant in debris {
        planted += 1;
        (plant.plant)(&yard, &image("debris", planted as u64));
    }
    assert!(planted >= 3);
    for level in LEVELS {
        let (code, report) = yard.audit(&[&["main", "--strict"], flags(level)].concat());
        assert_eq!((code, seen(&report)), (0, vec![]), "{level:?}");
    }
    assert_eq!(yard.findings(Level::Default).len(), planted);
}

fn an_lsu_without_bucket_is_one_finding_and_the_others_are_looked_at(wish: &Wish) {
    let yard = Yard::new(wish);
    yard.keep(&image("good", 1), pattern(10, 1), b"");
    let (code, report) = yard.audit(&["missing", "main"]);
    let unreadable = Seen {
        class: Class::Unreadable,
        severity: Severity::Error,
        lsu: "missing".into(),
        image: None,
        key: None,
    };
    assert_eq!((code, seen(&report)), (1, vec![unreadable]));
    assert!(
        report.summary.interrupted && report.findings[0].found.contains("-missing"),
        "{report:?}"
    );
    assert_eq!(report.summary.lsus["main"].states.good.images, 1);
    let told = yard.run(&["verify", "missing"]).expect(2).stderr;
    assert!(told.contains("no LSU could be listed"), "{told}");
}

fn a_pending_record_that_is_none_is_stale(wish: &Wish) {
    let yard = Yard::new(wish);
    let def = Definition::new("pend_1795305601_C1_F1", DATE + 1);
    let key = format!("pending/{}.00112233445566ff.json", super::place(&def));
    yard.foreign.put(&key, b"{\"schema\": 1, \"state\": \"wri", &[]);
    let (code, report) = yard.verify(&[]);
    assert_eq!((code, report.findings.len()), (0, 1));
    assert_eq!(
        (report.findings[0].class, report.findings[0].key.as_deref()),
        (Class::PendingStale, Some(&*key))
    );
}

/// Between the listing that shows it and the request for its sidecar, or for its data.
fn an_image_that_is_deleted_while_it_is_looked_at_is_neither_missing_nor_counted(wish: &Wish) {
    for level in LEVELS {
        for (method, folder) in [
            ("GET", "catalog/going"),
            ("HEAD", "backups/going"),
            ("GET", "backups/going"),
        ] {
            let yard = Yard::new(wish);
            let stays = image("stays", 1);
            yard.keep(&stays, pattern(10, 1), b"");
            let going = yard.keep(&image("going", 2), pattern(10, 2), b"");
            let proxy = Proxy::start(&yard.site.url);
            let deleted = Arc::new(AtomicBool::new(false));
            let foreign = Foreign::new(&yard.site);
            let done = Arc::clone(&deleted);
            proxy.script(move |request| {
                let asked = request.method == method && request.key().starts_with(folder);
                if asked && !done.swap(true, Ordering::Relaxed) {
                    foreign.delete(&going.data_key);
                    foreign.delete(&going.sidecar_key);
                }
                Action::Forward
            });
            let file = list(&yard, &[(stays, 10)]);
            let config = yard.site.folder.path().join("through-proxy.toml");
            let text = std::fs::read_to_string(&yard.site.config)
                .unwrap()
                .replace(&yard.site.url, &proxy.url());
            std::fs::write(&config, text).unwrap();
            let mut run = command(&config);
            run.args([
                "--json",
                "verify",
                "main",
                "--older-than",
                "0s",
                "--against",
                file.to_str().unwrap(),
            ]);
            let (_, report) = report_of(to_run(run.args(flags(level)).output().unwrap()));
            let known = |seen: &Seen| seen.class != Class::StoreOnly;
            assert_eq!(
                seen(&report).into_iter().filter(known).collect::<Vec<_>>(),
                [],
                "{level:?} {method} {folder}"
            );
            let main = &report.summary.lsus["main"];
            assert_eq!(main.states.damaged.images, 0);
            // Not every level asks for everything.
            let good = if deleted.load(Ordering::Relaxed) { 1 } else { 2 };
            assert_eq!(main.states.good.images, good, "{level:?} {method} {folder}");
        }
    }
}
