//! The S3 operations that backup clients use, on a store that forgets large bodies.
//!
//! Small bodies are really checked against the checksums that came with them, so that a client's probe sees a server that
//! refuses damage. Of large ones the client's word is taken.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use vastost::engine::checksum::{Crc64, Md5Sum, composite_etag};

use super::request::Request;
use super::store::{Name, Object, Part, Store, Upload};

const CRC: &str = "x-amz-checksum-crc64nvme";
const META: &str = "x-amz-meta-";
/// The ETag of a body that nobody hashed.
const UNKNOWN: &str = "00000000000000000000000000000000";

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub content: Content,
    /// Length that is told where the content stays out: HEAD.
    pub length: Option<u64>,
}

pub enum Content {
    Bytes(Bytes),
    Zeros(u64),
}

pub fn answer(request: &Request, store: &Mutex<Store>) -> Answer {
    let name = (request.bucket.clone(), request.key.clone());
    let mut store = store.lock().unwrap();
    match (request.method.as_str(), request.key.is_empty()) {
        ("HEAD" | "PUT", true) => Answer::new(200).with("x-amz-bucket-region", "us-east-1"),
        ("GET", true) if request.bucket.is_empty() => xml("ListAllMyBucketsResult", "<Buckets></Buckets>"),
        ("GET", true) if request.asks("location") => xml("LocationConstraint", ""),
        ("GET", true) if request.asks("uploads") => list_uploads(request, &store),
        ("GET", true) => list_objects(request, &store),
        ("HEAD", false) => store
            .object(&name)
            .map_or_else(not_found, |object| describe(&object, true)),
        ("GET", false) if request.asks("uploadId") => list_parts(request, &store),
        ("GET", false) if request.asks("attributes") => error(501, "NotImplemented"),
        ("GET", false) => store
            .object(&name)
            .map_or_else(not_found, |object| get(request, &object)),
        ("PUT", false) if request.header("x-amz-copy-source").is_some() => error(501, "NotImplemented"),
        ("PUT", false) if request.asks("uploadId") => put_part(request, &mut store),
        ("PUT", false) => put(request, name, &mut store),
        ("POST", false) if request.asks("uploads") => begin_upload(request, name, &mut store),
        ("POST", false) if request.asks("uploadId") => complete_upload(request, name, &mut store),
        ("DELETE", false) if request.asks("uploadId") => {
            store.uploads.remove(&request.query["uploadId"]);
            Answer::new(204)
        }
        ("DELETE", _) => {
            store.objects.remove(&name);
            Answer::new(204)
        }
        _ => error(501, "NotImplemented"),
    }
}

impl Answer {
    fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content: Content::Bytes(Bytes::new()),
            length: None,
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

fn xml(root: &str, inner: &str) -> Answer {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{inner}</{root}>");
    Answer {
        content: Content::Bytes(text.into()),
        ..Answer::new(200).with("Content-Type", "application/xml")
    }
}

fn error(status: u16, code: &str) -> Answer {
    Answer {
        status,
        ..xml("Error", &format!("<Code>{code}</Code><Message>{code}</Message>"))
    }
}

fn not_found() -> Answer {
    error(404, "NoSuchKey")
}

fn put(request: &Request, name: Name, store: &mut Store) -> Answer {
    if request.header("if-none-match").is_some() && store.objects.contains_key(&name) {
        return error(412, "PreconditionFailed");
    }
    let Some((etag, crc64)) = prove(request) else {
        return error(400, "BadDigest");
    };
    let headers = [("ETag", quoted(&etag)), (CRC, crc64.clone().unwrap_or_default())];
    let size = request.size;
    let bytes = request.body.clone().map(Bytes::from);
    let object = Object {
        size,
        etag,
        crc64,
        metadata: metadata(request),
        modified: Timestamp::now(),
        bytes,
    };
    store.objects.insert(name, object);
    proven(headers)
}

fn put_part(request: &Request, store: &mut Store) -> Answer {
    let Some((etag, crc64)) = prove(request) else {
        return error(400, "BadDigest");
    };
    let Some(upload) = store.uploads.get_mut(&request.query["uploadId"]) else {
        return error(404, "NoSuchUpload");
    };
    let headers = [("ETag", quoted(&etag)), (CRC, crc64.clone().unwrap_or_default())];
    upload.parts.insert(
        request.number("partNumber").unwrap_or_default(),
        Part {
            size: request.size,
            etag,
            crc64,
        },
    );
    proven(headers)
}

fn proven(headers: [(&str, String); 2]) -> Answer {
    let said = headers.into_iter().filter(|(_, value)| !value.is_empty());
    said.fold(Answer::new(200), |answer, (name, value)| answer.with(name, &value))
}

/// ETag and CRC of a body; None when a small one is not what its checksums say.
fn prove(request: &Request) -> Option<(String, Option<String>)> {
    let md5 = request
        .header("content-md5")
        .and_then(|text| STANDARD.decode(text).ok());
    let md5 = md5.and_then(|bytes| bytes.try_into().ok()).map(Md5Sum);
    let crc64 = request.header(CRC).map(ToOwned::to_owned);
    let Some(body) = &request.body else {
        return Some((md5.map_or(UNKNOWN.into(), Md5Sum::to_hex), crc64));
    };
    let seen = Md5Sum::of(body);
    let good =
        md5.is_none_or(|md5| md5 == seen) && crc64.as_ref().is_none_or(|crc| *crc == Crc64::of(body).to_base64());
    good.then(|| (seen.to_hex(), crc64))
}

fn metadata(request: &Request) -> Vec<(String, String)> {
    request
        .headers_under(META)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn begin_upload(request: &Request, name: Name, store: &mut Store) -> Answer {
    let (bucket, key) = name.clone();
    let id = format!("upload-{}", store.uploads_begun);
    store.uploads_begun += 1;
    let upload = Upload {
        name,
        metadata: metadata(request),
        initiated: Timestamp::now(),
        parts: Default::default(),
    };
    store.uploads.insert(id.clone(), upload);
    let inner = format!("<Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>");
    xml("InitiateMultipartUploadResult", &inner)
}

fn complete_upload(request: &Request, name: Name, store: &mut Store) -> Answer {
    let Some(upload) = store.uploads.remove(&request.query["uploadId"]) else {
        return error(404, "NoSuchUpload");
    };
    let list = String::from_utf8_lossy(request.body.as_deref().unwrap_or_default()).into_owned();
    let numbers = list
        .split("<PartNumber>")
        .skip(1)
        .filter_map(|text| text.split('<').next()?.parse().ok());
    let parts: Option<Vec<&Part>> = numbers.map(|number: u64| upload.parts.get(&number)).collect();
    let Some(parts) = parts.filter(|parts| !parts.is_empty()) else {
        return error(400, "InvalidPart");
    };
    let etag =
        composite_etag(parts.iter().map(|part| part.etag.as_str())).expect("every part has an ETag of 32 digits");
    let size = parts.iter().map(|part| part.size).sum();
    let crc64 = request.header(CRC).map(ToOwned::to_owned);
    let told = crc64
        .as_ref()
        .map(|crc| format!("<ChecksumCRC64NVME>{crc}</ChecksumCRC64NVME>"))
        .unwrap_or_default();
    let inner = format!(
        "<Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag>{told}",
        name.0,
        name.1,
        quoted(&etag)
    );
    let metadata = upload.metadata;
    let modified = Timestamp::now();
    store.objects.insert(
        name,
        Object {
            size,
            etag,
            crc64,
            metadata,
            modified,
            bytes: None,
        },
    );
    xml("CompleteMultipartUploadResult", &inner)
}

fn describe(object: &Object, head: bool) -> Answer {
    let mut answer = Answer::new(200)
        .with("ETag", &quoted(&object.etag))
        .with("Accept-Ranges", "bytes");
    answer = answer
        .with("Last-Modified", &http_date(object.modified))
        .with("Content-Type", "binary/octet-stream");
    for (name, value) in &object.metadata {
        answer = answer.with(name, value);
    }
    if let Some(crc64) = object.crc64.as_ref().filter(|_| head) {
        answer = answer.with(CRC, crc64);
    }
    Answer {
        length: Some(object.size),
        ..answer
    }
}

fn get(request: &Request, object: &Object) -> Answer {
    let mut answer = describe(object, false);
    let range = request.header("range").and_then(|text| span(text, object.size));
    let (from, len) = range.unwrap_or((0, object.size));
    if range.is_some() {
        let last = (from + len).saturating_sub(1);
        answer = answer.with("Content-Range", &format!("bytes {from}-{last}/{}", object.size));
        answer.status = 206;
    }
    let content = match &object.bytes {
        Some(bytes) => {
            Content::Bytes(bytes.slice(usize::try_from(from).unwrap()..usize::try_from(from + len).unwrap()))
        }
        None => Content::Zeros(len),
    };
    Answer {
        length: Some(len),
        content,
        ..answer
    }
}

/// Offset and length of `bytes=FROM-[LAST]` or `bytes=-LEN` within an object.
fn span(text: &str, size: u64) -> Option<(u64, u64)> {
    let (from, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    if from.is_empty() {
        let len = last.parse::<u64>().ok()?.min(size);
        return Some((size - len, len));
    }
    let from = from.parse::<u64>().ok().filter(|from| *from < size)?;
    let end = last.parse::<u64>().map_or(size, |last| (last + 1).min(size));
    Some((from, end.saturating_sub(from)))
}

fn list_objects(request: &Request, store: &Store) -> Answer {
    let text = |name: &str| request.query.get(name).map_or("", String::as_str);
    let after = ["continuation-token", "start-after", "marker"]
        .map(text)
        .into_iter()
        .max()
        .unwrap_or_default();
    let most = usize::try_from(request.number("max-keys").unwrap_or(1000)).unwrap_or(1000);
    let page = store.page(&request.bucket, text("prefix"), text("delimiter"), after, most);
    let mut inner = format!(
        "<Name>{}</Name><KeyCount>{}</KeyCount>",
        request.bucket,
        page.objects.len()
    );
    inner += &format!(
        "<MaxKeys>{most}</MaxKeys><IsTruncated>{}</IsTruncated>",
        page.next.is_some()
    );
    if let Some(next) = page.next {
        inner += &format!("<NextContinuationToken>{next}</NextContinuationToken><NextMarker>{next}</NextMarker>");
    }
    for (key, object) in page.objects {
        inner += &format!(
            "<Contents><Key>{key}</Key><LastModified>{}</LastModified>",
            object.modified
        );
        inner += &format!(
            "<ETag>{}</ETag><Size>{}</Size></Contents>",
            quoted(&object.etag),
            object.size
        );
    }
    for prefix in page.prefixes {
        inner += &format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>");
    }
    xml("ListBucketResult", &inner)
}

fn list_uploads(request: &Request, store: &Store) -> Answer {
    let mut inner = String::from("<IsTruncated>false</IsTruncated>");
    for (id, upload) in store
        .uploads
        .iter()
        .filter(|(_, upload)| upload.name.0 == request.bucket)
    {
        inner += &format!("<Upload><Key>{}</Key><UploadId>{id}</UploadId>", upload.name.1);
        inner += &format!("<Initiated>{}</Initiated></Upload>", upload.initiated);
    }
    xml("ListMultipartUploadsResult", &inner)
}

fn list_parts(request: &Request, store: &Store) -> Answer {
    let Some(upload) = store.uploads.get(&request.query["uploadId"]) else {
        return error(404, "NoSuchUpload");
    };
    let mut inner = String::from("<IsTruncated>false</IsTruncated>");
    for (number, part) in &upload.parts {
        let crc = part
            .crc64
            .as_ref()
            .map(|crc| format!("<ChecksumCRC64NVME>{crc}</ChecksumCRC64NVME>"));
        inner += &format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag>",
            quoted(&part.etag)
        );
        inner += &format!("<Size>{}</Size>{}</Part>", part.size, crc.unwrap_or_default());
    }
    xml("ListPartsResult", &inner)
}

pub fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}
