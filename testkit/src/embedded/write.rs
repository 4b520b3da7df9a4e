//! PutObject, and what every request that makes an object has in common: checksums, conditions, user metadata.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders};

use super::errors::{bad_digest, invalid_request, no_such_key, not_implemented, precondition_failed};
use super::index::{Bucket, State};
use super::ingest::{Extra, Sums};
use super::lock;
use super::operations::Backend;
use super::read::full_object;
use super::record;
use super::record::Version;
use super::store::now;
use vastost::engine::checksum::{Crc64, Md5Sum};

/// What proves a body, by its headers or trailers.
#[derive(Default)]
pub struct Proofs {
    md5: Option<Md5Sum>,
    crc64: Option<String>,
    crc32: Option<String>,
    crc32c: Option<String>,
    trailers: Option<TrailingHeaders>,
}

/// `If-Match` and `If-None-Match` of a write.
#[derive(Default)]
pub struct Conditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
}

/// [`Proofs`] of a PutObject or an UploadPart, whose inputs have the same fields.
macro_rules! proofs_of {
    ($backend:expr, $request:expr) => {{
        let input = &mut $request.input;
        if !$backend.knows_checksums() {
            (input.checksum_crc64nvme, input.checksum_crc32, input.checksum_crc32c) = (None, None, None);
            (input.checksum_sha1, input.checksum_sha256, input.checksum_algorithm) = (None, None, None);
            $request.trailing_headers = None;
        }
        if input.checksum_sha1.is_some() || input.checksum_sha256.is_some() {
            return Err($crate::embedded::errors::not_implemented(
                "x-amz-checksum-sha1 and -sha256",
            ));
        }
        $crate::embedded::write::Proofs::new(
            input.content_md5.take(),
            [
                input.checksum_crc64nvme.take(),
                input.checksum_crc32.take(),
                input.checksum_crc32c.take(),
            ],
            input.checksum_algorithm.as_ref(),
            $request.trailing_headers.take(),
        )?
    }};
}
pub(super) use proofs_of;

impl Proofs {
    pub fn new(
        content_md5: Option<String>,
        [crc64, crc32, crc32c]: [Option<String>; 3],
        algorithm: Option<&ChecksumAlgorithm>,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<Self> {
        let md5 = content_md5.map(|text| {
            let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
            let text = "The Content-MD5 you specified is not valid.";
            bytes
                .map(Md5Sum)
                .ok_or_else(|| S3Error::with_message(S3ErrorCode::InvalidDigest, text))
        });
        let proofs = Self {
            md5: md5.transpose()?,
            crc64,
            crc32,
            crc32c,
            trailers,
        };

        let has_checksum = [&proofs.crc64, &proofs.crc32, &proofs.crc32c]
            .into_iter()
            .any(Option::is_some);
        if algorithm.is_some() && !has_checksum && proofs.trailers.is_none() {
            let text = "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                        headers were found.";
            return Err(invalid_request(text));
        }
        Ok(proofs)
    }

    /// True when something proves the body; trailers do by their own rules.
    pub fn any(&self) -> bool {
        self.md5.is_some()
            || [&self.crc64, &self.crc32, &self.crc32c]
                .into_iter()
                .any(Option::is_some)
            || self.trailers.is_some()
    }

    pub fn has_crc64(&self) -> bool {
        self.crc64.is_some()
    }

    /// What has to be computed beside the usual.
    pub fn extra(&self) -> Extra {
        let trailing = self.trailers.is_some();
        Extra {
            crc32: self.crc32.is_some() || trailing,
            crc32c: self.crc32c.is_some() || trailing,
        }
    }

    /// Compares with what came, trailers too: they are there once the body is.
    pub fn check(&mut self, sums: &Sums) -> S3Result<()> {
        if let Some(trailers) = self.trailers.take().and_then(|trailers| trailers.take()) {
            for name in ["x-amz-checksum-sha1", "x-amz-checksum-sha256"] {
                if trailers.contains_key(name) {
                    return Err(not_implemented(name));
                }
            }
            let trailing = |name| Some(trailers.get(name)?.to_str().ok()?.to_owned());
            self.crc64 = self.crc64.take().or_else(|| trailing("x-amz-checksum-crc64nvme"));
            self.crc32 = self.crc32.take().or_else(|| trailing("x-amz-checksum-crc32"));
            self.crc32c = self.crc32c.take().or_else(|| trailing("x-amz-checksum-crc32c"));
        }
        if self.md5.is_some_and(|md5| md5 != sums.md5) {
            return Err(bad_digest("Content-MD5"));
        }
        same("CRC64NVME", self.crc64.as_deref(), Some(sums.crc64.to_base64()))?;
        same("CRC32", self.crc32.as_deref(), sums.crc32.and_then(crc32_text))?;
        same("CRC32C", self.crc32c.as_deref(), sums.crc32c.and_then(crc32_text))
    }

    /// The checksums to answer with: those that came and were right.
    pub fn answer(&self) -> Checksum {
        Checksum {
            checksum_crc64nvme: self.crc64.clone(),
            checksum_crc32: self.crc32.clone(),
            checksum_crc32c: self.crc32c.clone(),
            ..Checksum::default()
        }
    }
}

fn same(name: &str, given: Option<&str>, is: Option<String>) -> S3Result<()> {
    match given {
        Some(given) if Some(given) != is.as_deref() => Err(bad_digest(name)),
        _ => Ok(()),
    }
}

fn crc32_text(value: u64) -> Option<String> {
    u32::try_from(value)
        .ok()
        .map(|value| STANDARD.encode(value.to_be_bytes()))
}

impl Conditions {
    pub fn new(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> S3Result<Self> {
        if if_none_match.as_ref().is_some_and(|condition| !condition.is_any()) {
            return Err(not_implemented("If-None-Match other than *"));
        }
        Ok(Self {
            if_match,
            if_none_match,
        })
    }

    /// Against what is there now: the caller holds the bucket's lock.
    pub fn check(&self, state: &State, key: &str) -> S3Result<()> {
        let current = state.current(key);
        if self.if_none_match.is_some() && current.is_some() {
            return Err(precondition_failed());
        }
        match (&self.if_match, current) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(no_such_key()),
            (Some(condition), Some(stored)) if matches(condition, &stored.version.etag) => Ok(()),
            _ => Err(precondition_failed()),
        }
    }
}

pub fn matches(condition: &ETagCondition, etag: &str) -> bool {
    condition.as_etag().is_none_or(|wanted| wanted.value() == etag)
}

/// User metadata as they are kept: names in lower case.
pub fn metadata_of(given: Option<Metadata>) -> BTreeMap<String, String> {
    given
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

/// Puts a version into its bucket, when the conditions hold and there is room.
pub fn commit(bucket: &Bucket, mut version: Version, conditions: &Conditions) -> S3Result<Version> {
    let mut state = bucket.lock();
    conditions.check(&state, &version.key)?;
    state.check_quota(version.size)?;
    lock::apply_default(&state.settings, &mut version);
    Ok(bucket.insert(&mut state, version)?.version.clone())
}

/// The id to answer with: none while the bucket never had versions.
pub fn version_header(bucket: &Bucket, version: &Version) -> Option<String> {
    (bucket.lock().settings.versioning != record::Versioning::Never).then(|| version.shown_id().to_owned())
}

pub async fn put(backend: &Backend, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let mut proofs = proofs_of!(backend, request);
    let input = request.input;
    if input.write_offset_bytes.is_some() || input.tagging.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("tags, appending, keys of the customer"));
    }
    let bucket = backend.bucket(&input.bucket)?;
    let wish = lock::Wish {
        mode: input.object_lock_mode,
        until: input.object_lock_retain_until_date,
        hold: input.object_lock_legal_hold_status,
    };
    let lock = wish.check(&backend.access, request.credentials.as_ref(), &bucket, &input.key)?;
    lock::require_proof("Put Object", &bucket, &lock, &proofs)?;
    let conditions = Conditions::new(input.if_match, input.if_none_match)?;
    let len = u64::try_from(input.content_length.unwrap_or_default()).unwrap_or_default();
    // Refused before the body comes where that is known already.
    conditions.check(&bucket.lock(), &input.key)?;
    bucket.lock().check_quota(len)?;

    let file = bucket.new_file();
    let sums = backend.engine.ingest(input.body, len, &file, proofs.extra()).await?;
    proofs.check(&sums)?;

    let modified = now();
    let etag = sums.md5.to_hex();
    let part = record::Part {
        number: 1,
        size: sums.size,
        etag: etag.clone(),
        crc64: sums.crc64,
        file: file.name(),
        modified: modified.clone(),
    };
    let version = Version {
        key: input.key,
        id: String::new(),
        null: false,
        marker: false,
        modified,
        size: sums.size,
        etag,
        crc64: proofs.has_crc64().then_some(sums.crc64),
        content_type: input.content_type,
        metadata: metadata_of(input.metadata),
        parts: vec![part],
        upload: None,
        lock,
    };
    let version = commit(&bucket, version, &conditions)?;
    file.keep();
    let sum = proofs.answer();
    Ok(S3Response::new(PutObjectOutput {
        e_tag: Some(ETag::Strong(version.etag.clone())),
        version_id: version_header(&bucket, &version),
        checksum_crc64nvme: sum.checksum_crc64nvme,
        checksum_crc32: sum.checksum_crc32,
        checksum_crc32c: sum.checksum_crc32c,
        checksum_type: version.crc64.map(|_| full_object()),
        ..PutObjectOutput::default()
    }))
}

/// CRC64NVME as it comes in a request.
pub fn crc64_of(text: Option<&str>) -> S3Result<Option<Crc64>> {
    let text = text.map(|text| {
        let said = "Value for x-amz-checksum-crc64nvme header is invalid.";
        Crc64::from_base64(text).ok_or_else(|| invalid_request(said))
    });
    text.transpose()
}
