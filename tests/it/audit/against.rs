use vastost::catalog::audit::report::{Class, Report};
use vastost_testkit::host::Definition;

use super::{Yard, report_of, seen};
use crate::conformance::on_every_server;
use vastost_testkit::test_store::{DATE, Wish, image, pattern};

on_every_server!(
    the_store_is_compared_with_netbackups_list_in_both_directions,
    only_images_that_were_asked_for_are_missed,
    a_list_that_cannot_be_read_is_refused_before_anything_is_looked_at,
);

/// What `bpimagelist -l` prints of a backup with one fragment on a disk pool.
pub fn lines(def: &Definition, size: u64) -> String {
    let basename = String::from_utf8_lossy(&def.basename);
    let (backup_id, _) = basename.rsplit_once("_C1_F1").unwrap();
    let (client, time) = backup_id.rsplit_once('_').unwrap();
    format!(
        "IMAGE {client} 0 0 12 {backup_id} Gold 0 *NULL* root Full 0 3 {time} 421 1797984000 0 0 {kilobytes} 120 1 4 0\n\
         HISTO -1 -1 -1 -1 -1 -1 -1 -1 -1 -1\n\
         FRAG 1 1 {kilobytes} {rest} 0 0 0 @aaaab media1 262144 0 0 -1 0 *NULL* 1797984000 0 65537\n",
        kilobytes = size / 1024,
        rest = size % 1024,
    )
}

fn compare(yard: &Yard, list: &str, args: &[&str]) -> (i32, Report) {
    let file = yard.site.folder.path().join("list.txt");
    std::fs::write(&file, list).unwrap();
    let file = file.to_str().unwrap();
    report_of(yard.run(&[&["--json", "verify", "main", "--against", file], args].concat()))
}

fn named(report: &Report) -> Vec<(Class, String)> {
    seen(report)
        .into_iter()
        .map(|seen| (seen.class, seen.image.unwrap_or_default()))
        .collect()
}

fn the_store_is_compared_with_netbackups_list_in_both_directions(wish: &Wish) {
    let yard = Yard::new(wish);
    for number in 1..=3 {
        yard.keep(&image("db01", number), pattern(2_000, number), b"");
    }
    // NetBackup keeps a header beside its fragments, of which the list tells nothing.
    let header = Definition::new(format!("db01_{}_C1_HDR", DATE + 1), DATE + 1);
    yard.keep(&header, pattern(10, 1), b"");
    let list = lines(&image("db01", 1), 2_000) + &lines(&image("db01", 2), 2_048) + &lines(&image("db01", 4), 2_000);
    let (code, report) = compare(&yard, &list, &[]);
    let of = |number| super::name(&image("db01", number));
    let expected = [
        (Class::NetbackupOnly, of(4)),
        (Class::StoreOnly, of(3)),
        (Class::NetbackupSize, of(2)),
    ];
    assert_eq!((code, named(&report)), (1, expected.to_vec()));
    let size = report
        .findings
        .iter()
        .find(|finding| finding.class == Class::NetbackupSize)
        .unwrap();
    assert_eq!(size.expected, "2048 bytes, as NetBackup's catalog has it");
    assert_eq!(size.found, "2000 bytes");
}

fn only_images_that_were_asked_for_are_missed(wish: &Wish) {
    let yard = Yard::new(wish);
    let day = 86_400;
    yard.keep(&image("db01", 1), pattern(2_000, 1), b"");
    let list = lines(&image("db01", 1), 2_000) + &lines(&image("db01", day), 5) + &lines(&image("web", 2), 5);
    let missed = |args: &[&str]| named(&compare(&yard, &list, args).1);
    let only = |def| (Class::NetbackupOnly, super::name(&def));
    assert_eq!(missed(&[]), [only(image("db01", day)), only(image("web", 2))]);
    assert_eq!(missed(&["--client", "web"]), [only(image("web", 2))]);
    assert_eq!(missed(&["--since", "2026-11-23"]), [only(image("db01", day))]);
    assert_eq!(missed(&["--until", "2026-11-22"]), [only(image("web", 2))]);
    assert_eq!(missed(&["--image", "db01_17953056"]), []);
    // A list that names nothing of a volume says nothing of what is on the store either.
    assert_eq!(missed(&["--volume", "@aaaac"]), []);
    let shards = ["1/2", "2/2"].map(|shard| missed(&["--shard", shard]));
    assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), 2, "{shards:?}");
}

fn a_list_that_cannot_be_read_is_refused_before_anything_is_looked_at(wish: &Wish) {
    let yard = Yard::new(wish);
    let file = yard.site.folder.path().join("list.txt");
    std::fs::write(&file, lines(&image("db01", 1), 5) + "Backup ID: db01_1795305601\n").unwrap();
    let told = yard
        .run(&["verify", "main", "--against", file.to_str().unwrap()])
        .expect(2)
        .stderr;
    assert!(
        told.contains("list.txt: line 4") && told.contains("bpimagelist -l"),
        "{told}"
    );
}
