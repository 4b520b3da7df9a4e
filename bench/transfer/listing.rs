//! Listings of many images by a fresh process, beside what the server takes to give the same pages to a plain client.
//!
//! The images are put straight into the server's store, with the keys and sizes that the plug-in would give them; a list
//! is made from keys alone, so nobody reads what they hold. A real MinIO gets as many sidecars, of spaces.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use vastost::catalog::format::escape::Name;
use vastost::catalog::format::image_id::ImageId;
use vastost::catalog::format::keys::{Attempt, Keys};

use super::args::{Args, GIB};
use super::client::host;
use super::report::{Spread, format_spread};
use super::runner::{Runner, Sample};
use super::sdk;
use super::site::{Place, Site};
use super::store::{Object, Store};

const IMAGES: [u64; 2] = [10_000, 100_000];
const MINIO_IMAGES: u64 = 10_000;
const CLIENTS: u64 = 50;
const DATE: u64 = 1_795_305_600;
/// About that of a sidecar with a few parts.
const SIDECAR: u64 = 1200;

#[derive(Serialize)]
pub struct Listing {
    pub images: u64,
    /// On a real MinIO.
    pub minio: bool,
    /// From open to close of the list.
    pub list_s: Spread,
    /// The same pages, one after the other, over a raw socket.
    pub bare_s: Spread,
    /// Not counted on MinIO: 0.
    pub requests: u64,
    pub cpu_s: Spread,
    pub rss_mib: Spread,
    /// Of one call that gives one image.
    pub p50_us: f64,
    pub max_us: f64,
}

/// Puts images into a bucket as if the plug-in had written them.
pub fn fill(store: &mut Store, bucket: &str, images: u64) {
    let keys = Keys::new("");
    for number in 0..images {
        let id = image(number);
        for (key, size) in [(keys.sidecar(&id), SIDECAR), (keys.data(&id, &Attempt::new()), GIB)] {
            let etag = format!("{number:032x}");
            let modified = Timestamp::now();
            let object = Object {
                size,
                etag,
                crc64: None,
                metadata: Vec::new(),
                modified,
                bytes: None,
            };
            store.objects.insert((bucket.to_owned(), key), object);
        }
    }
}

fn image(number: u64) -> ImageId {
    let client = number % CLIENTS;
    let date = DATE + number;
    ImageId::new(Name::new(format!("client{client:02}_{date}_C1_F1")), date).expect("a name and a date of this century")
}

pub fn measure(args: &Args, runner: &Runner<'_>) -> Vec<Listing> {
    let mut shapes: Vec<_> = IMAGES.into_iter().map(|images| (Place::Http, images)).collect();
    shapes.extend(runner.site.minio.is_some().then_some((Place::Minio, MINIO_IMAGES)));
    shapes
        .into_iter()
        .map(|(place, images)| measure_of(args, runner, place, images))
        .collect()
}

fn measure_of(args: &Args, runner: &Runner<'_>, place: Place, images: u64) -> Listing {
    let site = runner.site;
    let bucket = format!("listed-{images}");
    if place == Place::Minio {
        let keys = Keys::new("");
        sdk::fill_open_bucket(
            &site.url(place),
            &bucket,
            (0..images).map(|number| keys.sidecar(&image(number))),
            SIDECAR,
        );
    } else {
        site.control(&format!("fill/{bucket}/{images}"));
    }
    let config = site.write_config(&format!("{bucket}-{place:?}"), &[site.url(place)], &bucket, "");
    let list = || runner.measured(&host(site, &config, "list", &[images + 1, 0, 0]), "list");
    // The first one may find out what the server can do.
    list();
    let mut listed = Vec::new();
    let mut bare = Vec::new();
    for _ in 0..args.runs.max(1) {
        bare.push(pages(site, place, &bucket, "catalog/") + pages(site, place, &bucket, "pending/"));
        listed.push(list());
    }
    let calls = listed[0].calls.expect("the host's report");
    assert_eq!(calls.calls, images, "the list has not every image");
    let spread = |of: fn(&Sample) -> f64| Spread::of(listed.iter().map(of));
    Listing {
        images,
        minio: place == Place::Minio,
        list_s: spread(|sample| sample.streams_s[0]),
        bare_s: Spread::of(bare.into_iter()),
        requests: listed.iter().map(|sample| sample.requests).max().unwrap_or_default(),
        cpu_s: spread(|sample| sample.usage.cpu_s),
        rss_mib: spread(|sample| sample.usage.rss_kib / 1024.0),
        p50_us: calls.p50_us,
        max_us: calls.max_us,
    }
}

/// Seconds that all pages of a folder take.
fn pages(site: &Site, place: Place, bucket: &str, folder: &str) -> f64 {
    let url = site.url(place);
    let mut socket = TcpStream::connect(url.trim_start_matches("http://")).expect("connect to the server");
    socket.set_nodelay(true).expect("set TCP_NODELAY");
    let mut answers = BufReader::new(socket.try_clone().expect("a second handle"));
    let began = Instant::now();
    let mut token = String::new();
    loop {
        let head = format!("GET /{bucket}?list-type=2&prefix={folder}{token} HTTP/1.1\r\nHost: bench\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("ask for a page");
        let page = body(&mut answers);
        let next = page
            .split("<NextContinuationToken>")
            .nth(1)
            .and_then(|rest| rest.split('<').next());
        let Some(next) = next else {
            return began.elapsed().as_secs_f64();
        };
        token = format!("&continuation-token={}", utf8_percent_encode(next, NON_ALPHANUMERIC));
    }
}

fn body(answers: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let mut len = 0;
    while line != "\r\n" {
        line.clear();
        assert!(
            answers.read_line(&mut line).expect("read the head") > 0,
            "the head ends early"
        );
        len = line
            .strip_prefix("Content-Length: ")
            .map_or(len, |text| text.trim().parse().expect("a length"));
    }
    let mut body = vec![0; len];
    answers.read_exact(&mut body).expect("read the page");
    String::from_utf8(body).expect("a page of text")
}

pub fn print(rows: &[Listing]) {
    println!(
        "\n{:<20} {:>24} {:>24} {:>9} {:>8} {:>8} {:>8} {:>10}",
        "images listed", "seconds", "bare pages, seconds", "requests", "CPU-s", "RSS MiB", "p50 us", "max us"
    );
    for row in rows {
        println!(
            "{:<20} {:>24} {:>24} {:>9} {:>8.3} {:>8.1} {:>8.2} {:>10.0}",
            format!("{}{}", row.images, if row.minio { " on MinIO" } else { "" }),
            format_spread(row.list_s, 3),
            format_spread(row.bare_s, 3),
            row.requests,
            row.cpu_s.median,
            row.rss_mib.median,
            row.p50_us,
            row.max_us,
        );
    }
}
