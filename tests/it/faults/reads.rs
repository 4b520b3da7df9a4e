use std::time::Duration;

use vastost::objstore::s3::types::WireCheck;
use vastost::ost::abi::STSP_OPEN_READ;
use vastost::ost::status::{STSP_ECORRUPT, STSP_ENETWORK, STSP_ETIMEOUT, STSP_EUNAVAIL};
use vastost_testkit::host::HostFilter;

use super::{BROKEN, Fault, Field, REFUSED, SILENT, several_parts, trace};
use crate::conformance::on_every_server;
use vastost_testkit::proxy::{Action, Answer, When};
use vastost_testkit::test_store::{CALL, PART, Wish, backup, image, restore};

on_every_server!(
    a_restore_outlasts_faults_of_its_part_reads,
    a_restore_outlasts_faults_of_its_record_read,
    small_reads_outlast_faults_and_are_exact,
    a_listing_outlasts_faults_of_its_pages,
    a_byte_that_always_flips_on_the_way_in_is_never_returned_as_good,
    a_small_read_never_returns_a_flipped_byte,
    a_record_with_a_flipped_byte_is_never_believed,
    a_record_larger_than_usual_is_read_in_its_own_room,
    a_restore_that_cannot_go_on_ends_with_the_right_code,
);

/// Answers that are there but wrong.
const WRONG: [(&str, Fault); 4] = [
    ("longer than announced", || Action::LengthenAnswer {
        bytes: 100,
        announced: false,
    }),
    ("longer than asked for", || Action::LengthenAnswer {
        bytes: 100,
        announced: true,
    }),
    ("flipped byte", || Action::FlipAnswer(333)),
    ("a byte a second", || Action::Trickle(Duration::from_secs(1))),
];

fn all_faults() -> impl Iterator<Item = (&'static str, Fault)> {
    BROKEN.into_iter().chain(REFUSED).chain(SILENT).chain(WRONG)
}

fn a_restore_outlasts_faults_of_its_part_reads(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("parts", 1);
    let data = several_parts(1);
    backup(&field.server, &def, &data, CALL);
    for (name, fault) in all_faults() {
        field.fail_first(1, "GetObject", "backups", fault);
        assert!(restore(&field.server, &def, CALL) == data, "{name}");
        assert!(field.proxy.faults() > 0, "{name}");
    }
}

fn a_restore_outlasts_faults_of_its_record_read(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("record", 1);
    let data = several_parts(2);
    backup(&field.server, &def, &data, CALL);
    for (name, fault) in all_faults() {
        field.fail_first(1, "GetObject", "catalog", fault);
        assert!(restore(&field.server, &def, CALL) == data, "{name}");
        assert!(field.proxy.faults() > 0, "{name}");
    }
}

/// Small reads here and there, none of them sequential.
fn scattered(field: &Field, def: &vastost_testkit::host::Definition, data: &[u8], what: &str) {
    let opened = field.server.open("main", def, STSP_OPEN_READ).unwrap();
    for offset in [PART + 4096, 100_000, 2 * PART - 300, PART / 2, data.len() - 20] {
        let mut buffer = [0; 512];
        let read = opened.read(&mut buffer, offset as u64).unwrap() as usize;
        assert_eq!(read, 512.min(data.len() - offset), "{what}");
        assert!(buffer[..read] == data[offset..offset + read], "{what}: offset {offset}");
    }
    opened.close(0).unwrap();
}

fn small_reads_outlast_faults_and_are_exact(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("small", 1);
    let data = several_parts(3);
    backup(&field.server, &def, &data, CALL);
    for (name, fault) in all_faults() {
        field.fail_first(1, "GetObject", "backups", fault);
        scattered(&field, &def, &data, name);
        assert!(field.proxy.faults() > 0, "{name}");
    }
}

fn a_small_read_never_returns_a_flipped_byte(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("tiny", 1);
    let data = several_parts(4);
    backup(&field.server, &def, &data, CALL);
    field.fail_all("GetObject", "backups", || Action::FlipAnswer(2000));
    let opened = field.server.open("main", &def, STSP_OPEN_READ).unwrap();
    let mut buffer = [0; 512];
    let error = opened.read(&mut buffer, PART as u64 + 1900).unwrap_err();
    assert_eq!(error.code, STSP_ECORRUPT);
    // The same handle reads well once the network does.
    field.proxy.forward_all();
    assert_eq!(opened.read(&mut buffer, PART as u64 + 1900).unwrap(), 512);
    assert!(buffer == data[PART + 1900..PART + 2412]);
    opened.close(0).unwrap();
}

fn a_listing_outlasts_faults_of_its_pages(wish: &Wish) {
    let field = Field::new(wish);
    (1..6).for_each(|number| backup(&field.server, &image("listed", number), b"x", CALL));
    let filter = HostFilter {
        client: b"listed".into(),
        ..HostFilter::default()
    };
    // Nothing proves the bytes of a listing: over plain http a flipped one shows as another name.
    for (name, fault) in all_faults().filter(|(name, _)| *name != "flipped byte") {
        field.fail_first(1, "ListObjectsV2", "catalog", fault);
        let listed = field.server.list("main", &filter);
        let seen = trace(&field.proxy.recent());
        assert_eq!(
            listed.unwrap_or_else(|e| panic!("{name}: {e:?}\n{seen}")).len(),
            5,
            "{name}"
        );
        assert!(field.proxy.faults() > 0, "{name}\n{seen}");
    }
}

fn a_byte_that_always_flips_on_the_way_in_is_never_returned_as_good(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("wrong", 1);
    let data = several_parts(5);
    backup(&field.server, &def, &data, CALL);
    field.fail_all("GetObject", "backups", || Action::FlipAnswer(4_000_000));
    assert_eq!(field.try_restore(&def, CALL).unwrap_err().code, STSP_ECORRUPT);
    field.proxy.forward_all();
    assert!(restore(&field.server, &def, CALL) == data);
}

fn a_record_with_a_flipped_byte_is_never_believed(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("digit", 1);
    let data = several_parts(6);
    backup(&field.server, &def, &data, CALL);
    let good = field.server.info("main", &def).unwrap();
    for at in (0..600).step_by(13) {
        let flip = move || Action::FlipAnswer(at);
        field.proxy.script(move |request| {
            if request.is("GetObject", "catalog") {
                flip()
            } else {
                Action::Forward
            }
        });
        if let Ok(seen) = field.server.info("main", &def) {
            assert_eq!(seen, good, "byte {at}");
        }
    }
}

fn a_restore_that_cannot_go_on_ends_with_the_right_code(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("stuck", 1);
    let data = several_parts(7);
    backup(&field.server, &def, &data, CALL);
    let faults: [(&str, Fault, i32); 6] = [
        ("reset", || Action::ResetRequest(When::After), STSP_ENETWORK),
        (
            "500",
            || Action::Answer(Answer::error(500, "InternalError")),
            STSP_EUNAVAIL,
        ),
        ("silent", || Action::Hold, STSP_ETIMEOUT),
        (
            "a byte a second",
            || Action::Trickle(Duration::from_secs(1)),
            STSP_ETIMEOUT,
        ),
        (
            "too long",
            || Action::LengthenAnswer {
                bytes: 1,
                announced: true,
            },
            STSP_ECORRUPT,
        ),
        ("half", || Action::TruncateAnswer, STSP_ENETWORK),
    ];
    for (folder, small) in [("backups", false), ("catalog", true)] {
        for (name, fault, code) in faults {
            // An answer whose length and range differ says nothing about the object.
            let code = if name == "too long" && !small {
                STSP_EUNAVAIL
            } else {
                code
            };
            field.fail_all("GetObject", folder, fault);
            match field.try_restore(&def, CALL) {
                // Halves of halves: each brings something, so the read goes on.
                Ok(seen) => assert!(name == "half" && !small && seen == data, "{folder}, {name}"),
                Err(error) => assert_eq!(error.code, code, "{folder}, {name}: {error}"),
            }
        }
    }
    field.proxy.forward_all();
    assert!(restore(&field.server, &def, CALL) == data);
}

fn a_record_larger_than_usual_is_read_in_its_own_room(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("large", 1);
    backup(&field.server, &def, b"some bytes", CALL);
    let key = field
        .site
        .keys_under("catalog/")
        .into_iter()
        .find(|key| key.contains("large"))
        .unwrap();
    // White space behind a document counts for nothing, but for its length.
    for (spaces, requests) in [(0, 1), (70 << 10, 2), (17 << 20, 2)] {
        let bucket = field.site.bucket.clone();
        let key = key.clone();
        let grown = field.site.with_store(move |store| async move {
            let bytes = store.get_small(&bucket, &key, 1 << 20).await?;
            let body = [&bytes[..], &vec![b' '; spaces]].concat().into();
            store.put(&bucket, &key, body, WireCheck::None, &[], false).await
        });
        grown.unwrap();
        field.proxy.forward_all();
        match field.server.info("main", &def) {
            Ok(info) => assert_eq!(info.size, 10),
            Err(error) => assert!(spaces > 16 << 20 && error.code == STSP_ECORRUPT, "{spaces}: {error}"),
        }
        let asked = field
            .proxy
            .recent()
            .iter()
            .filter(|request| request.is("GetObject", "catalog"))
            .count();
        assert_eq!(asked, requests, "{spaces}");
    }
}
