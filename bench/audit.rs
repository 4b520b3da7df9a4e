//! What the audit costs on an LSU of many images: requests, time, and peak memory of `vastost-s3` alone.
//!
//! `cargo bench -p vastost-bench --bench audit -- [IMAGES]` (100,000 when left out) against the server of
//! VASTOST_TEST_ENDPOINT, a real MinIO as README's tests start one; `vastost-s3` is what `cargo build --release` made, or
//! VASTOST_S3. Filling the bucket takes most of the time: two objects for each image.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt};
use serde_json::Value;
use vastost::engine::checksum::Md5Sum;
use vastost::objstore::s3::types::WireCheck;
use vastost_testkit::test_store::{CALL, DATE, Site, Wish, backup, image, pattern};

/// Objects put at once while the bucket is filled.
const PUTS_AT_ONCE: usize = 32;

fn main() {
    // Before the bucket is filled.
    let program = vastost_bench::built("VASTOST_S3", "vastost-s3").unwrap_or_else(|why| panic!("{why}"));
    let images = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(100_000u64);
    let site = Site::new(&Wish {
        minio: true,
        ..Wish::default()
    });
    let began = Instant::now();
    fill(&site, images);
    println!(
        "{images} images of 1,000 bytes, filled in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    println!(
        "{:<28} {:>8} {:>10} {:>10} {:>10}",
        "command", "seconds", "images/s", "listings", "peak RSS"
    );
    for args in [
        &["verify", "main", "--quick"][..],
        &["verify", "main"],
        &["verify", "main", "--deep"],
        &["usage", "main"],
    ] {
        measure(&program, &site, images, args);
    }
}

/// Copies one image that the plug-in wrote under other names: sidecar, data, and the data's own metadata.
fn fill(site: &Site, images: u64) {
    let server = site.open();
    let first = image("scale", 0);
    backup(&server, &first, &pattern(1000, 1), CALL);
    let sidecar = site.keys_under("catalog/")[0].clone();
    let data = site.keys_under("backups/")[0].clone();
    let bucket = site.bucket.clone();
    let filled = site.with_store(move |store| async move {
        let record = String::from_utf8(store.get_small(&bucket, &sidecar, 1 << 20).await?.to_vec()).unwrap();
        let metadata = store.head(&bucket, &data).await?.metadata;
        let body = Bytes::from(pattern(1000, 1));
        let puts = (1..images).map(|number| {
            let store = &store;
            let bucket = &bucket;
            let body = body.clone();
            // Dates of one day each, so that keys keep their folder's day.
            let date = DATE + number % 80_000 + 86_400 * (number / 80_000);
            let rename = |text: &str| rename(text, date);
            let day = |text: &str| text.replace("20261122", &vastost::catalog::format::image_id::day_of(date));
            let key = day(&rename(&sidecar));
            let data = day(&rename(&data));
            let record = day(&rename(&record));
            let metadata: Vec<_> = metadata
                .iter()
                .map(|(name, value)| (name.clone(), rename(value)))
                .collect();
            async move {
                store
                    .put(bucket, &data, body, WireCheck::None, &metadata, false)
                    .await?;
                let check = WireCheck::Md5(Md5Sum::of(record.as_bytes()));
                store.put(bucket, &key, Bytes::from(record), check, &[], false).await
            }
        });
        futures::stream::iter(puts)
            .buffer_unordered(PUTS_AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await
    });
    filled.expect("fill the bucket");
}

fn rename(text: &str, date: u64) -> String {
    text.replace(&DATE.to_string(), &date.to_string())
}

fn measure(program: &Path, site: &Site, images: u64, args: &[&str]) {
    let began = Instant::now();
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(&site.config)
        .arg("--json")
        .args(args)
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("start vastost-s3");
    let reader = {
        let mut stdout = child.stdout.take().expect("stdout");
        std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut stdout, &mut text).map(|_| text)
        })
    };
    let peak_kib = peak(&mut child);
    let seconds = began.elapsed().as_secs_f64();
    let text = reader.join().expect("the reader").expect("its output");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let (found, listings) = match report.get("summary") {
        Some(summary) => (
            &summary["lsus"]["main"]["good"]["images"],
            &summary["lsus"]["main"]["list_requests"],
        ),
        None => (&report["lsus"][0]["images"], &report["lsus"][0]["list_requests"]),
    };
    assert_eq!(found.as_u64(), Some(images), "all images are there and good");
    let rate = images as f64 / seconds;
    let name = args.join(" ");
    println!(
        "{name:<28} {seconds:>8.1} {rate:>10.0} {listings:>10} {:>6} MiB",
        peak_kib / 1024
    );
}

/// Waits for the process and gives the most memory that it ever had resident, KiB.
fn peak(child: &mut Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().expect("wait").is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = high.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        peak = kib.unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(10));
    }
    peak
}
