//! What the server remembers: names, sizes and checksums of everything, bytes of small objects only.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;

/// Bucket and key. Every bucket exists.
pub type Name = (String, String);

/// `zeros-<bytes>` in any bucket is an object of so many zeros that nobody has to upload first.
pub const ZEROS: &str = "zeros-";

#[derive(Clone)]
pub struct Object {
    pub size: u64,
    pub etag: String,
    pub crc64: Option<String>,
    /// With their prefix `x-amz-meta-`.
    pub metadata: Vec<(String, String)>,
    pub modified: Timestamp,
    /// None: zeros, whatever was sent.
    pub bytes: Option<Bytes>,
}

pub struct Part {
    pub size: u64,
    pub etag: String,
    pub crc64: Option<String>,
}

pub struct Upload {
    pub name: Name,
    pub metadata: Vec<(String, String)>,
    pub initiated: Timestamp,
    pub parts: BTreeMap<u64, Part>,
}

#[derive(Default)]
pub struct Store {
    pub objects: BTreeMap<Name, Object>,
    pub uploads: BTreeMap<String, Upload>,
    pub uploads_begun: u64,
}

/// One page of a listing.
pub struct Page<'a> {
    pub objects: Vec<(&'a str, &'a Object)>,
    pub prefixes: BTreeSet<&'a str>,
    /// The last key of a page that is not the last one.
    pub next: Option<&'a str>,
}

impl Store {
    pub fn object(&self, name: &Name) -> Option<Object> {
        let size = name.1.strip_prefix(ZEROS).and_then(|size| size.parse().ok());
        self.objects.get(name).cloned().or_else(|| size.map(zeros))
    }

    pub fn page(&self, bucket: &str, prefix: &str, delimiter: &str, after: &str, most: usize) -> Page<'_> {
        let mut page = Page {
            objects: Vec::new(),
            prefixes: BTreeSet::new(),
            next: None,
        };
        let mut last = None;
        for ((home, key), object) in self.objects.range((bucket.to_owned(), prefix.max(after).to_owned())..) {
            let Some(rest) = key.strip_prefix(prefix).filter(|_| home == bucket) else {
                break;
            };
            if key.as_str() <= after {
                continue;
            }
            if page.objects.len() == most {
                page.next = last;
                break;
            }
            last = Some(key.as_str());
            match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                Some(at) => _ = page.prefixes.insert(&key[..prefix.len() + at + delimiter.len()]),
                None => page.objects.push((key, object)),
            }
        }
        page
    }
}

fn zeros(size: u64) -> Object {
    let etag = format!("{size:032x}-1");
    Object {
        size,
        etag,
        crc64: None,
        metadata: Vec::new(),
        modified: Timestamp::UNIX_EPOCH,
        bytes: None,
    }
}
