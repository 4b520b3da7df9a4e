//! Access keys that change while a job runs.

use vastost::ost::abi::STSP_CLOSEF_COMPLETE;
use vastost_testkit::host::Definition;

use vastost_testkit::test_store::{DATE, Site, Wish, write_private};

#[test]
fn keys_that_are_replaced_during_a_job_are_taken_when_the_old_ones_are_refused() {
    let mut site = Site::new(&Wish::default());
    let server = site.open();
    let def = Definition::new("rotated_1_C1_F1", DATE);
    let image = server.create("main", &def).expect("create with the first keys");
    image.write(&[7; 1 << 20], 0).expect("write");
    site.stop_server();
    site.keys.access_key_id = "second".into();
    site.keys.secret_access_key = "another secret".into();
    site.start_server();
    write_private(&site.folder.path().join("keys.toml"), &site.keys.to_file_text());
    image.close(STSP_CLOSEF_COMPLETE).expect("close with the second keys");
    assert_eq!(server.info("main", &def).expect("properties").size, 1 << 20);
}
