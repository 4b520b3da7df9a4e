use vastost::ost::abi::{STSP_LSUF_ACTIVE, STSP_LSUF_CAPACITY_KNOWN, STSP_LSUF_DISK, STSP_LSUF_USED_KNOWN};
use vastost::ost::status::STSP_ELSU;

use super::on_every_server;
use vastost_testkit::test_store::{CALL, Site, Wish, backup, image};

on_every_server!(
    all_lsus_are_listed_and_one_without_bucket_is_not_active,
    labels_are_kept_on_the_store,
    usage_follows_completed_and_deleted_images,
    buckets_with_the_prefix_are_lsus_too,
    two_lsus_of_one_bucket_do_not_see_each_other,
);

fn all_lsus_are_listed_and_one_without_bucket_is_not_active(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let lsus = server.lsus().unwrap();
    let flags: Vec<_> = lsus
        .iter()
        .map(|lsu| (lsu.name.as_str(), lsu.flags & STSP_LSUF_ACTIVE != 0))
        .collect();
    assert_eq!(flags, [("main", true), ("side", true), ("missing", false)]);
    let main = server.lsu("main").unwrap();
    assert_eq!(
        (main.bucket.as_str(), main.capacity_bytes),
        (&*site.bucket, 1_000_000_000_000)
    );
    assert_eq!(main.flags, STSP_LSUF_DISK | STSP_LSUF_ACTIVE | STSP_LSUF_CAPACITY_KNOWN);
    assert_eq!(server.lsu("missing").unwrap_err().code, STSP_ELSU);
    assert_eq!(server.lsu("nowhere").unwrap_err().code, STSP_ELSU);
}

fn labels_are_kept_on_the_store(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    assert_eq!(server.lsu("main").unwrap().label, "");
    server.label("main", "Köln, Schrank 4").unwrap();
    assert_eq!(site.open().lsu("main").unwrap().label, "Köln, Schrank 4");
    server.label("main", "").unwrap();
    assert_eq!(server.lsu("main").unwrap().label, "");
    // What strangers put there takes no LSU away.
    crate::foreign::Foreign::new(&site).put("lsu.json", b"{\"label\":[]}", &[]);
    assert_eq!(site.open().lsus().unwrap().len(), 3);
    assert_eq!(site.open().lsu("main").unwrap().label, "");
    server.label("main", "again").unwrap();
    assert_eq!(site.open().lsu("main").unwrap().label, "again");
}

fn usage_follows_completed_and_deleted_images(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    backup(&server, &image("use", 1), &[1; 1000], CALL);
    backup(&server, &image("use", 2), &[1; 500], CALL);
    server.delete("main", &image("use", 1)).unwrap();
    let main = server.lsu("main").unwrap();
    assert_eq!((main.used_bytes, main.images), (500, 1));
    assert!(main.flags & STSP_LSUF_USED_KNOWN != 0);
}

fn buckets_with_the_prefix_are_lsus_too(wish: &Wish) {
    let site = Site::new(wish);
    let text = std::fs::read_to_string(&site.config).unwrap();
    let prefix = &site.bucket[..site.bucket.len() - 2];
    let text = text.replace("credentials =", &format!("bucket_prefix = \"{prefix}\"\ncredentials ="));
    let without = text.split("[[server.t.lsu]]").next().unwrap();
    std::fs::write(&site.config, without).unwrap();
    let server = site.open();
    let names: Vec<_> = server.lsus().unwrap().into_iter().map(|lsu| lsu.name).collect();
    assert_eq!(names, [site.bucket.to_string()]);
    let image = server.create(&site.bucket, &image("disc", 1)).unwrap();
    image.close(1).unwrap();
    assert_eq!(server.lsu("elsewhere").unwrap_err().code, STSP_ELSU);
}

fn two_lsus_of_one_bucket_do_not_see_each_other(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    backup(&server, &image("here", 1), b"x", CALL);
    let other = server.create("side", &image("there", 1)).unwrap();
    other.close(1).unwrap();
    let seen = |lsu| {
        server
            .list(lsu, &vastost_testkit::host::HostFilter::default())
            .unwrap()
            .remove(0)
            .0
    };
    assert_eq!((seen("main"), seen("side")), (image("here", 1), image("there", 1)));
    assert_eq!(site.keys_under("side/catalog/").len(), 1);
}
