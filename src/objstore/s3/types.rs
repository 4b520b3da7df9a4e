//! What requests say and answers tell, as values.

use std::collections::BTreeMap;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ObjectLockLegalHoldStatus, StorageClass};

use crate::engine::checksum::{Crc64, Md5Sum, bare_etag};

/// What travels with a body so that the server can prove it arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireCheck {
    None,
    Crc64(Crc64),
    Md5(Md5Sum),
}

/// An object as HEAD or PUT describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectInfo {
    pub size: u64,
    pub etag: String,
    pub version_id: Option<String>,
    pub crc64: Option<String>,
    /// `x-amz-meta-*` without the prefix; only HEAD fills it in.
    pub metadata: BTreeMap<String, String>,
    /// Seconds since 1970 by the server's clock; 0 where it did not say.
    pub modified: u64,
    /// Seconds since 1970; 0 without a retention, or where these keys may not see it. Only HEAD fills it in.
    pub retained_until: u64,
    /// Only HEAD fills it in.
    pub legal_hold: bool,
    /// The archive that the object lies in, which no GET reads before it is restored; only HEAD fills it in.
    pub archived: Option<String>,
}

/// An object as a listing describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedObject {
    pub key: String,
    pub size: u64,
    pub etag: String,
    /// Seconds since 1970 by the server's clock.
    pub modified: u64,
}

/// One page of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// In the server's order.
    pub objects: Vec<ListedObject>,
    /// Prefixes up to the delimiter, when one was asked for.
    pub prefixes: Vec<String>,
    pub next: Option<String>,
    /// The first and the last key as bytes: names that other clients made need not be UTF-8.
    pub(in crate::objstore) bounds: Option<(Vec<u8>, Vec<u8>)>,
}

/// One finished part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentPart {
    pub number: u32,
    pub size: u64,
    pub etag: String,
    pub crc64: Crc64,
}

/// One part as it lies in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSpan {
    pub number: u32,
    pub offset: u64,
    pub size: u64,
    pub crc64: Crc64,
}

impl ObjectInfo {
    /// What HEAD tells; a size that it leaves out is 0 here, and not to be believed.
    pub(in crate::objstore) fn of_head(reply: &HeadObjectOutput) -> Self {
        Self {
            size: reply
                .content_length()
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or_default(),
            etag: bare_etag(reply.e_tag().unwrap_or_default()).to_owned(),
            version_id: reply.version_id().map(ToOwned::to_owned),
            crc64: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
            metadata: reply
                .metadata()
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            modified: seconds(reply.last_modified()),
            retained_until: seconds(reply.object_lock_retain_until_date()),
            legal_hold: reply.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On),
            archived: archive_of(reply),
        }
    }
}

/// The archive class or tier of an object, unless a copy has been restored from there.
fn archive_of(reply: &HeadObjectOutput) -> Option<String> {
    let is_archive = |class: &&StorageClass| matches!(class, StorageClass::Glacier | StorageClass::DeepArchive);
    let class = reply.storage_class().filter(is_archive).map(|class| class.as_str());
    let archive = class.or_else(|| reply.archive_status().map(|status| status.as_str()));
    let is_restored = reply
        .restore()
        .is_some_and(|restore| restore.contains("ongoing-request=\"false\""));
    archive.filter(|_| !is_restored).map(ToOwned::to_owned)
}

/// Seconds since 1970; 0 for a time that the server left out.
pub(in crate::objstore) fn seconds(time: Option<&aws_sdk_s3::primitives::DateTime>) -> u64 {
    // A time before 1970 is one: it is as old as can be.
    time.map_or(0, |time| u64::try_from(time.secs()).unwrap_or_default().max(1))
}
