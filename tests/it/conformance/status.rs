//! What a safe host can do wrong; NULL, stale handles and wrong sizes are in `tests/plugin.rs`.

use vastost::config::credentials::KeyPair;
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_READ};
use vastost::ost::status::*;
use vastost_testkit::host::{self, Definition, HostFilter};

use super::on_every_server;
use vastost_testkit::test_store::{CALL, DATE, Site, Wish, backup, image, write_private};

on_every_server!(
    servers_that_cannot_be_opened,
    images_that_cannot_be_opened_or_created,
    handles_used_for_the_wrong_thing,
    objects_that_are_busy,
    stores_that_refuse_us,
    lists_of_missing_lsus,
);

fn servers_that_cannot_be_opened(wish: &Wish) {
    let site = Site::new(wish);
    host::init().unwrap();
    let code = |name: &str, file: &std::path::Path| host::open_server(name, file, None).err().map(|e| e.code);
    assert_eq!(code("VastData:t", &site.config), None);
    for name in ["t", "PureDisk:t", "VastData:", "VastData:unknown", "vastdata:t"] {
        assert_eq!(code(name, &site.config), Some(STSP_ESERVER), "{name}");
    }
    assert_eq!(
        code("VastData:t", &site.folder.path().join("none.toml")),
        Some(STSP_ECONFIG)
    );
    let file = site.folder.path().join("netbackup.toml");
    let text = std::fs::read_to_string(&site.config).unwrap();
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("credentials"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&file, text).unwrap();
    assert_eq!(code("VastData:t", &file), Some(STSP_EAUTH));
    let server = host::open_server("VastData:t", &file, Some(&site.keys)).unwrap();
    assert_eq!(server.lsu("main").unwrap().name, "main");
}

fn images_that_cannot_be_opened_or_created(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let def = image("codes", 1);
    backup(&server, &def, b"x", CALL);
    let create = |lsu: &str, def: &Definition| server.create(lsu, def).err().map(|e| e.code);
    let open = |def: &Definition, mode| server.open("main", def, mode).err().map(|e| e.code);
    assert_eq!(create("main", &def), Some(STSP_EEXIST));
    assert_eq!(create("nowhere", &def), Some(STSP_ELSU));
    assert_eq!(create("missing", &def), Some(STSP_ELSU));
    assert_eq!(create("main", &Definition::new("", DATE)), Some(STSP_EINVAL));
    assert_eq!(
        create("main", &Definition::new("x".repeat(240), DATE)),
        Some(STSP_EINVAL)
    );
    assert_eq!(create("main", &Definition::new("x", u64::MAX)), Some(STSP_EINVAL));
    assert_eq!(open(&image("codes", 2), STSP_OPEN_READ), Some(STSP_ENOENT));
    assert_eq!(open(&def, 0), Some(STSP_EINVAL));
    assert_eq!(open(&def, 3), Some(STSP_EINVAL));
    assert_eq!(
        open(
            &Definition {
                image_type: 9,
                ..def.clone()
            },
            STSP_OPEN_READ
        ),
        Some(STSP_ENOENT)
    );
    let wrong_policy = Definition {
        policy: b"p".into(),
        ..def.clone()
    };
    assert_eq!(server.delete("main", &wrong_policy).unwrap_err().code, STSP_ENOENT);
    server.delete("main", &def).unwrap();
}

fn handles_used_for_the_wrong_thing(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let def = image("handles", 1);
    let written = server.create("main", &def).unwrap();
    assert_eq!(written.read(&mut [0; 4], 0).unwrap_err().code, STSP_EACCESS);
    assert_eq!(
        host::HostImage { handle: server.handle }.flush().unwrap_err().code,
        STSP_EHANDLE
    );
    assert_eq!(
        host::HostServer { handle: written.handle }.close().unwrap_err().code,
        STSP_EHANDLE
    );
    assert_eq!(
        written.close(2).unwrap_err().code,
        STSP_EINVAL,
        "and the handle stays open"
    );
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert_eq!(written.close(0).unwrap_err().code, STSP_EHANDLE);
    assert_eq!(written.write(b"x", 0).unwrap_err().code, STSP_EHANDLE);
    let opened = server.open("main", &def, STSP_OPEN_READ).unwrap();
    assert_eq!(opened.write(b"x", 0).unwrap_err().code, STSP_EACCESS);
    assert_eq!(opened.write_meta(b"x", 1).unwrap_err().code, STSP_EOFFSET);
    opened.close(0).unwrap();
}

fn objects_that_are_busy(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let def = image("busy", 1);
    let written = server.create("main", &def).unwrap();
    assert_eq!(server.create("main", &def).err().unwrap().code, STSP_EBUSY);
    assert_eq!(
        server.open("main", &def, STSP_OPEN_READ).err().unwrap().code,
        STSP_EBUSY
    );
    assert_eq!(server.delete("main", &def).unwrap_err().code, STSP_EBUSY);
    assert_eq!(server.close().unwrap_err().code, STSP_EBUSY);
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    let opened = [0, 1].map(|_| server.open("main", &def, STSP_OPEN_READ).unwrap());
    assert_eq!(server.delete("main", &def).unwrap_err().code, STSP_EBUSY);
    opened.iter().for_each(|image| image.close(0).unwrap());
    server.close().unwrap();
    assert_eq!(server.close().unwrap_err().code, STSP_EHANDLE);
}

fn stores_that_refuse_us(wish: &Wish) {
    let site = Site::new(&wish.with("[retry]\nattempts = 2\n"));
    let wrong = KeyPair {
        secret_access_key: "wrong".into(),
        ..site.keys.clone()
    };
    write_private(&site.folder.path().join("keys.toml"), &wrong.to_file_text());
    let error = site.open().lsu("main").unwrap_err();
    assert_eq!(error.code, STSP_EAUTH, "{error}");
    assert!(
        error.message.contains("HTTP 403") && !error.message.contains("wrong"),
        "{error}"
    );
    let text = std::fs::read_to_string(&site.config).unwrap();
    let closed = "127.0.0.1:1";
    std::fs::write(&site.config, text.replace(&site.url, &format!("http://{closed}"))).unwrap();
    let error = site.open().lsu("main").unwrap_err();
    assert_eq!(error.code, STSP_ENETWORK, "{error}");
    assert!(error.message.contains(closed), "{error}");
}

fn lists_of_missing_lsus(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let code = |lsu| server.list(lsu, &HostFilter::default()).err().map(|e| e.code);
    assert_eq!(code("nowhere"), Some(STSP_ELSU));
    assert_eq!(code("missing"), Some(STSP_ELSU));
    let filter = HostFilter {
        flags: 8,
        ..HostFilter::default()
    };
    assert_eq!(server.list("main", &filter).unwrap_err().code, STSP_EINVAL);
    let filter = HostFilter {
        date_from: 2,
        date_to: 1,
        ..HostFilter::default()
    };
    assert_eq!(server.list("main", &filter).unwrap_err().code, STSP_EINVAL);
}
