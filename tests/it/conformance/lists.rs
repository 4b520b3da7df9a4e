use vastost::objstore::s3::types::WireCheck;
use vastost::ost::abi::{STSP_II_IMAGE_CREATED, STSP_II_IMAGE_PENDING, STSP_LISTF_COMPLETE, STSP_LISTF_PENDING};
use vastost_testkit::host::{Definition, HostFilter, HostServer};

use super::on_every_server;
use vastost_testkit::test_store::{CALL, DATE, Site, Wish, backup, image};

const DAY: u64 = 86_400;

on_every_server!(
    filters_choose_by_client_date_and_name,
    pending_images_are_listed_as_pending_until_they_are_complete,
    lists_page_through_thousands_of_images,
);

fn names(server: &HostServer, filter: &HostFilter) -> Vec<String> {
    let listed = server.list("main", filter).unwrap();
    let mut names: Vec<_> = listed
        .iter()
        .map(|(def, _)| String::from_utf8_lossy(&def.basename).into_owned())
        .collect();
    names.sort();
    names
}

fn filters_choose_by_client_date_and_name(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let defs = [
        ("ada", 0),
        ("ada", DAY),
        ("ada", 2 * DAY),
        ("adam", 0),
        ("bob", 5 * DAY),
    ]
    .map(|(client, age)| image(client, age));
    let plain = Definition::new("plain", DATE);
    defs.iter()
        .chain([&plain])
        .for_each(|def| backup(&server, def, b"x", CALL));
    let all: Vec<_> = defs
        .iter()
        .map(|def| String::from_utf8_lossy(&def.basename).into_owned())
        .collect();
    let base = HostFilter::default;
    assert_eq!(names(&server, &base()).len(), 6);
    assert_eq!(
        names(
            &server,
            &HostFilter {
                client: b"ada".into(),
                ..base()
            }
        ),
        all[..3]
    );
    assert_eq!(
        names(
            &server,
            &HostFilter {
                client: b"other".into(),
                ..base()
            }
        ),
        ["plain"]
    );
    assert_eq!(
        names(
            &server,
            &HostFilter {
                client: b"nobody".into(),
                ..base()
            }
        ),
        [""; 0]
    );
    let window = |from, to| HostFilter {
        date_from: DATE + from,
        date_to: DATE + to,
        ..base()
    };
    assert_eq!(names(&server, &window(DAY, 2 * DAY)), all[1..3]);
    assert_eq!(
        names(
            &server,
            &HostFilter {
                client: b"ada".into(),
                ..window(1, DAY)
            }
        ),
        all[1..2]
    );
    assert_eq!(
        names(
            &server,
            &HostFilter {
                date_from: DATE + 3 * DAY,
                ..base()
            }
        ),
        all[4..]
    );
    assert_eq!(
        names(
            &server,
            &HostFilter {
                basename_prefix: b"ada".into(),
                ..base()
            }
        ),
        all[..4]
    );
}

fn pending_images_are_listed_as_pending_until_they_are_complete(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let done = image("done", 1);
    let open = image("open", 2);
    backup(&server, &done, b"x", CALL);
    let writing = server.create("main", &open).unwrap();
    let listed = |flags| {
        server
            .list(
                "main",
                &HostFilter {
                    flags,
                    ..HostFilter::default()
                },
            )
            .unwrap()
    };
    assert_eq!(listed(STSP_LISTF_PENDING), [(open.clone(), STSP_II_IMAGE_PENDING)]);
    assert_eq!(listed(STSP_LISTF_COMPLETE), [(done, STSP_II_IMAGE_CREATED)]);
    assert_eq!(listed(0).len(), 2);
    writing.close(0).unwrap();
    assert_eq!(listed(STSP_LISTF_PENDING), [(open.clone(), STSP_II_IMAGE_PENDING)]);
    server.delete("main", &open).unwrap();
    assert_eq!(listed(STSP_LISTF_PENDING), []);
}

fn lists_page_through_thousands_of_images(wish: &Wish) {
    const IMAGES: u64 = 2_345;
    let site = Site::new(wish);
    let bucket = site.bucket.clone();
    // Lists read keys only, so records of any content will do.
    let planted = site.with_store(move |store| async move {
        use futures::stream::{StreamExt, TryStreamExt};
        let puts = (0..IMAGES).map(|number| {
            let store = store.clone();
            let bucket = bucket.clone();
            let date = DATE + number;
            let key = format!("catalog/page/20261122/page_{date}_C1_F1.{date}.json");
            async move {
                store
                    .put(&bucket, &key, "{}".into(), WireCheck::None, &[], false)
                    .await
                    .map(drop)
            }
        });
        futures::stream::iter(puts)
            .buffer_unordered(16)
            .try_collect::<Vec<()>>()
            .await
    });
    planted.unwrap();
    let listed = site.open().list("main", &HostFilter::default()).unwrap();
    let dates: Vec<_> = listed.iter().map(|(def, _)| def.date).collect();
    assert_eq!(dates, (DATE..DATE + IMAGES).collect::<Vec<_>>());
}
