use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::Config;
use crate::config::credentials::KeyPair;
use crate::engine::process::Engine;

const PART: usize = 5 << 20;

/// A server that takes each request in and refuses it after a while.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut taken = 0;
            while taken < PART {
                taken += stream.read(&mut vec![0; 1 << 20]).unwrap();
            }
            std::thread::sleep(Duration::from_millis(300));
            stream
                .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .unwrap();
        }
    });
    url
}

#[test]
fn a_write_that_waited_for_the_buffer_of_a_part_that_failed_returns_the_failure() {
    let text = format!(
        "[server.v]\nendpoints = [\"{}\"]\n[transfer]\npart_size = \"5 MiB\"\nimage_size_max = \"1 GiB\"\n",
        refusing()
    );
    let config = Config::parse(&text, Path::new("/x/vastost.toml")).unwrap();
    let engine = Engine::start(&config).unwrap();
    engine.set_budget(PART as u64);
    let keys = KeyPair {
        access_key_id: "k".into(),
        secret_access_key: "s".into(),
        session_token: None,
    };
    let store = Store::new(&engine, &config, config.server("v").unwrap(), Some(keys)).unwrap();
    let spec = UploadSpec {
        bucket: "b".into(),
        key: "k".into(),
        metadata: Vec::new(),
        wire: WireMode::None,
        probe_prefix: None,
    };

    let written = async move {
        let mut upload = Upload::new(&store, spec).await?;
        upload.resume("id", Vec::new());
        let data = vec![7; PART];
        assert_eq!(upload.fill(&data, 0)?, Filled::PartNeeded);
        upload.next_part().await?;
        assert_eq!(upload.fill(&data, 0)?, Filled::Taken(PART));
        // The only buffer comes back with the refusal.
        assert_eq!(upload.fill(&data, PART as u64)?, Filled::PartNeeded);
        upload.next_part().await
    };

    assert_eq!(engine.runtime().run(written).unwrap_err().kind(), Kind::AccessDenied);
    engine.stop();
}
