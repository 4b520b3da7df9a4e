//! Access keys, and what each of them may not do: a key may do everything but what it was denied.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::errors::access_denied;
use super::faults::{Asked, Faults};
use super::operations::BoxFuture;
use super::store::lock;
use vastost::config::credentials::KeyPair;

#[derive(Default)]
pub struct Access {
    keys: Mutex<HashMap<String, SecretKey>>,
    denied: Mutex<Vec<Denied>>,
}

struct Denied {
    access_key_id: String,
    /// An action of IAM without `s3:`, or the name of an operation.
    action: String,
    places: Places,
}

/// Where something is denied.
pub enum Places {
    Everywhere,
    /// Keys, and prefixes of lists, that do not begin with this.
    Outside(String),
    /// This key alone.
    Key(String),
}

impl Places {
    fn has(&self, place: Option<&str>) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Outside(prefix) => !place.is_some_and(|place| place.starts_with(prefix)),
            Self::Key(key) => place == Some(key),
        }
    }
}

impl Access {
    pub fn add(&self, keys: &KeyPair) {
        lock(&self.keys).insert(keys.access_key_id.clone(), keys.secret_access_key.as_str().into());
    }

    pub fn deny(&self, access_key_id: &str, action: &str, places: Places) {
        let access_key_id = access_key_id.to_owned();
        let action = action.to_owned();
        lock(&self.denied).push(Denied {
            access_key_id,
            action,
            places,
        });
    }

    pub fn allow(&self, access_key_id: &str, action: &str) {
        lock(&self.denied).retain(|denied| denied.access_key_id != access_key_id || denied.action != action);
    }

    /// Whether a key may do something to a place: an object's key, or the prefix of a list.
    pub fn permits(&self, who: Option<&Credentials>, action: &str, place: Option<&str>) -> bool {
        let Some(who) = who else { return false };
        !lock(&self.denied)
            .iter()
            .any(|denied| denied.access_key_id == who.access_key && denied.action == action && denied.places.has(place))
    }

    pub fn check(&self, who: Option<&Credentials>, action: &str, place: Option<&str>) -> S3Result<()> {
        if self.permits(who, action, place) {
            Ok(())
        } else {
            Err(access_denied())
        }
    }
}

/// What `s3s` asks for the secret of a key.
pub struct Keys(pub Arc<Access>);

impl S3Auth for Keys {
    fn get_secret_key<'a, 'b, 'f>(&'a self, access_key: &'b str) -> BoxFuture<'f, S3Result<SecretKey>>
    where
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        let found = lock(&self.0.keys).get(access_key).cloned();
        Box::pin(async move { found.ok_or_else(unknown_key) })
    }
}

/// What `s3s` asks before each operation: rights first, then the fault that is due.
pub struct Guard(pub Arc<Access>, pub Arc<Faults>);

impl S3Access for Guard {
    fn check<'a, 'b, 'c, 'f>(&'a self, context: &'b mut S3AccessContext<'c>) -> BoxFuture<'f, S3Result<()>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let operation = context.s3_op().name().to_owned();
            let query = context.uri().query().unwrap_or_default();
            let key = context.s3_path().get_object_key().map(ToOwned::to_owned);
            let place = key.clone().or_else(|| parameter(query, "prefix"));
            let action = action(&operation, parameter(query, "versionId").is_some());
            for asked in [operation.as_str(), action] {
                self.0.check(context.credentials(), asked, place.as_deref())?;
            }
            let bypass = context.headers().get("x-amz-bypass-governance-retention");
            if bypass.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")) {
                self.0
                    .check(context.credentials(), "BypassGovernanceRetention", place.as_deref())?;
            }
            match context.extensions_mut().get::<Asked>().cloned() {
                Some(asked) => self.1.begin(&operation, key.as_deref(), &asked).await,
                None => Ok(()),
            }
        })
    }
}

fn unknown_key() -> S3Error {
    let text = "The AWS access key Id you provided does not exist in our records.";
    S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, text)
}

/// The action that an operation needs, where it is named otherwise.
fn action(operation: &str, of_version: bool) -> &str {
    match operation {
        "CreateMultipartUpload" | "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" | "CopyObject" => {
            "PutObject"
        }
        "HeadObject" | "GetObject" if of_version => "GetObjectVersion",
        "HeadObject" => "GetObject",
        "DeleteObject" if of_version => "DeleteObjectVersion",
        "ListObjects" | "ListObjectsV2" | "HeadBucket" => "ListBucket",
        "ListObjectVersions" => "ListBucketVersions",
        "ListMultipartUploads" => "ListBucketMultipartUploads",
        "ListParts" => "ListMultipartUploadParts",
        "ListBuckets" => "ListAllMyBuckets",
        "GetObjectLockConfiguration" => "GetBucketObjectLockConfiguration",
        "PutObjectLockConfiguration" => "PutBucketObjectLockConfiguration",
        other => other,
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))?
        .1;
    Some(
        percent_decode_str(&value.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned(),
    )
}
