use serde_json::{Value, json};
use vastost::ost::abi::STSP_LSUF_USED_KNOWN;

use super::Yard;
use crate::conformance::on_every_server;
use vastost_testkit::proxy::Proxy;
use vastost_testkit::test_store::{CALL, Wish, backup, image, pattern};

on_every_server!(
    usage_counts_complete_images_by_client_and_day_and_the_rest_apart,
    polls_are_answered_from_what_usage_counted_and_follow_images,
    a_poll_lists_nothing_but_the_label,
    an_lsu_without_bucket_does_not_keep_the_others_from_being_counted,
    a_sidecar_that_is_none_does_not_stop_the_count,
);

const DAY: u64 = 86_400;

fn usage(yard: &Yard, args: &[&str]) -> Value {
    yard.run(&[&["--json", "usage", "main"], args].concat())
        .expect(0)
        .json()["lsus"][0]
        .clone()
}

fn polled(yard: &Yard) -> (u64, u64) {
    let main = yard.site.open().lsu("main").unwrap();
    assert!(main.flags & STSP_LSUF_USED_KNOWN != 0, "{main:?}");
    (main.used_bytes, main.images)
}

fn usage_counts_complete_images_by_client_and_day_and_the_rest_apart(wish: &Wish) {
    let yard = Yard::new(wish);
    for (client, number, size) in [("db01", 1, 1_000), ("db01", DAY, 500), ("web", 2, 70)] {
        yard.keep(&image(client, number), pattern(size, number), b"");
    }
    let open = yard.server.create("main", &image("web", 3)).unwrap();
    open.write(&pattern(33, 3), 0).unwrap();
    open.close(0).unwrap();
    let counted = usage(&yard, &[]);
    assert_eq!(
        (counted["images"].as_u64(), counted["bytes"].as_u64()),
        (Some(3), Some(1_570))
    );
    assert_eq!(counted["other"], json!({ "images": 1, "bytes": 33 }));
    assert_eq!(counted["capacity"], 1_000_000_000_000_u64);
    let clients = json!([
        { "client": "db01", "images": 2, "bytes": 1_500 },
        { "client": "web", "images": 1, "bytes": 70 },
    ]);
    assert_eq!(counted["clients"], clients);
    let days = json!([
        { "day": "20261122", "images": 2, "bytes": 1_070 },
        { "day": "20261123", "images": 1, "bytes": 500 },
    ]);
    assert_eq!(counted["days"], days);
    let table = yard.run(&["usage", "main", "--by-client", "--by-day"]).expect(0).text();
    for cell in ["db01", "web", "20261122", "20261123", "1.53 KiB", "33 B"] {
        assert!(table.contains(cell), "{cell} is not in {table}");
    }
}

fn polls_are_answered_from_what_usage_counted_and_follow_images(wish: &Wish) {
    let yard = Yard::new(wish);
    let kept: Vec<_> = (1..=3)
        .map(|number| yard.keep(&image("use", number), pattern(100, number), b""))
        .collect();
    assert_eq!(polled(&yard), (300, 3));
    // Somebody removes an image without asking us: polls cannot know, the next count does.
    yard.foreign.delete(&kept[0].sidecar_key);
    yard.foreign.delete(&kept[0].data_key);
    assert_eq!(polled(&yard), (300, 3));
    usage(&yard, &[]);
    assert_eq!(polled(&yard), (200, 2));
    backup(&yard.server, &image("use", 9), &[1; 50], CALL);
    assert_eq!(polled(&yard), (250, 3));
    yard.server.delete("main", &image("use", 2)).unwrap();
    assert_eq!(polled(&yard), (150, 2));
    // A host that never saw an image counts what is there.
    std::fs::remove_dir_all(yard.site.folder.path().join("state")).unwrap();
    usage(&yard, &[]);
    assert_eq!(polled(&yard), (150, 2));
}

fn a_poll_lists_nothing_but_the_label(wish: &Wish) {
    let yard = Yard::new(wish);
    (1..=3).for_each(|number| drop(yard.keep(&image("use", number), pattern(10, number), b"")));
    usage(&yard, &[]);
    let proxy = Proxy::start(&yard.site.url);
    let text = std::fs::read_to_string(&yard.site.config)
        .unwrap()
        .replace(&yard.site.url, &proxy.url());
    std::fs::write(&yard.site.config, text).unwrap();
    let server = yard.site.open();
    assert_eq!(server.lsus().unwrap().len(), 3);
    assert_eq!(server.lsu("main").unwrap().images, 3);
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    for request in requests.iter().filter(|request| request.query("list-type").is_some()) {
        let prefix = request.query("prefix").unwrap_or_default();
        assert!(prefix.ends_with("lsu.json"), "{} lists {prefix:?}", request.path);
    }
    assert!(requests.iter().all(|request| request.query("uploads").is_none()));
}

fn an_lsu_without_bucket_does_not_keep_the_others_from_being_counted(wish: &Wish) {
    let yard = Yard::new(wish);
    yard.keep(&image("use", 1), pattern(10, 1), b"");
    let run = yard.run(&["--json", "usage", "missing", "main"]).expect(2);
    assert!(
        run.stderr.contains("missing: ") && run.stderr.contains("NoSuchBucket"),
        "{}",
        run.stderr
    );
    let lsus = run.json()["lsus"].clone();
    assert_eq!(
        (lsus.as_array().unwrap().len(), lsus[0]["images"].as_u64()),
        (1, Some(1))
    );
}

fn a_sidecar_that_is_none_does_not_stop_the_count(wish: &Wish) {
    let yard = Yard::new(wish);
    yard.keep(&image("use", 1), pattern(10, 1), b"");
    let kept = yard.keep(&image("use", 2), pattern(10, 2), b"");
    yard.foreign.put(&kept.sidecar_key, b"{", &[]);
    yard.foreign.delete(&kept.data_key);
    assert_eq!(usage(&yard, &[])["images"], 1);
}
