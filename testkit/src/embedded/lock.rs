//! Object Lock: what a bucket sets, what a version has, and who may change it.
//!
//! A lock protects a version, not a key: a delete without a version id makes a marker whatever is locked. GOVERNANCE gives way
//! to who sends `x-amz-bypass-governance-retention` and may, COMPLIANCE to nobody before its date, a legal hold to nobody
//! while it is on.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use s3s::auth::Credentials;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::Access;
use super::errors::{invalid_argument, invalid_request, locked};
use super::index::{Bucket, Stored};
use super::operations::Backend;
use super::read::find;
use super::record;
use super::record::{Lock, Mode, Retention, Settings, Version, Versioning};
use super::store::now;
use super::write::Proofs;

type Answer<T> = S3Result<S3Response<T>>;

const DAYS_MAX: i32 = 36_500;
const DAYS_A_YEAR: i32 = 365;

/// The lock that a write asks for in its headers.
pub struct Wish {
    pub mode: Option<ObjectLockMode>,
    pub until: Option<Timestamp>,
    pub hold: Option<ObjectLockLegalHoldStatus>,
}

impl Wish {
    pub fn check(self, access: &Access, who: Option<&Credentials>, bucket: &Bucket, key: &str) -> S3Result<Lock> {
        if self.mode.is_none() && self.until.is_none() && self.hold.is_none() {
            return Ok(Lock::default());
        }
        must_have_lock(bucket)?;
        let retention = match (self.mode.as_ref().map(ObjectLockMode::as_str), self.until) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                access.check(who, "PutObjectRetention", Some(key))?;
                Some(checked(mode, until)?)
            }
            _ => {
                let text = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
                return Err(invalid_argument(text));
            }
        };

        if self.hold.is_some() {
            access.check(who, "PutObjectLegalHold", Some(key))?;
        }
        Ok(Lock {
            retention,
            hold: self.hold.as_ref().map(is_on).transpose()?,
        })
    }
}

fn checked(mode: &str, until: Timestamp) -> S3Result<Retention> {
    let mode = Mode::parse(mode).ok_or_else(|| invalid_argument("Unknown wormMode directive."))?;
    if until <= now() {
        return Err(invalid_argument("The retain until date must be in the future!"));
    }
    Ok(Retention { mode, until })
}

fn is_on(status: &ObjectLockLegalHoldStatus) -> S3Result<bool> {
    match status.as_str() {
        ObjectLockLegalHoldStatus::ON => Ok(true),
        ObjectLockLegalHoldStatus::OFF => Ok(false),
        _ => Err(invalid_argument("Legal Hold must be either of 'ON' or 'OFF'")),
    }
}

fn must_have_lock(bucket: &Bucket) -> S3Result<()> {
    match bucket.lock().settings.object_lock {
        true => Ok(()),
        false => Err(invalid_request("Bucket is missing Object Lock Configuration")),
    }
}

/// S3 takes no body under a lock that nothing proves.
pub fn require_proof(what: &str, bucket: &Bucket, lock: &Lock, proofs: &Proofs) -> S3Result<()> {
    let by_default = bucket.lock().settings.default_retention.is_some();
    if (by_default || *lock != Lock::default()) && !proofs.any() {
        let text = "Content-MD5 OR x-amz-checksum- HTTP header is required for";
        return Err(invalid_request(format!(
            "{text} {what} requests with Object Lock parameters"
        )));
    }
    Ok(())
}

/// The bucket's default retention, for a version that brings none; it counts from now.
pub fn apply_default(settings: &Settings, version: &mut Version) {
    if version.lock.retention.is_none()
        && let Some(default) = &settings.default_retention
    {
        let until = SystemTime::now() + Duration::from_secs(u64::from(default.days) * 86_400);
        version.lock.retention = Some(Retention {
            mode: default.mode,
            until: until.into(),
        });
    }
}

pub async fn configuration(
    backend: &Backend,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> Answer<GetObjectLockConfigurationOutput> {
    let settings = backend.bucket(&request.input.bucket)?.lock().settings.clone();
    if !settings.object_lock {
        let text = "Object Lock configuration does not exist for this bucket";
        return Err(S3Error::with_message(
            S3ErrorCode::ObjectLockConfigurationNotFoundError,
            text,
        ));
    }

    let rule = settings.default_retention.map(|default| ObjectLockRule {
        default_retention: Some(DefaultRetention {
            days: if default.years.is_none() {
                i32::try_from(default.days).ok()
            } else {
                None
            },
            mode: Some(default.mode.as_str().to_owned().into()),
            years: default.years.and_then(|years| i32::try_from(years).ok()),
        }),
    });
    let enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    let configuration = ObjectLockConfiguration {
        object_lock_enabled: enabled,
        rule,
    };
    let output = GetObjectLockConfigurationOutput {
        object_lock_configuration: Some(configuration),
    };
    Ok(S3Response::new(output))
}

pub async fn configure(
    backend: &Backend,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> Answer<PutObjectLockConfigurationOutput> {
    let bucket = backend.bucket(&request.input.bucket)?;
    let rule = request
        .input
        .object_lock_configuration
        .and_then(|configuration| configuration.rule);
    let default_retention = rule
        .and_then(|rule| rule.default_retention)
        .map(|default| default_of(&default));
    let mut state = bucket.lock();
    if state.settings.versioning != Versioning::Enabled {
        let text = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
        return Err(S3Error::with_message(S3ErrorCode::InvalidBucketState, text));
    }
    let default_retention = default_retention.transpose()?;
    let settings = Settings {
        object_lock: true,
        default_retention,
        ..state.settings.clone()
    };
    bucket.save_settings(&mut state, settings)?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

fn default_of(given: &DefaultRetention) -> S3Result<record::DefaultRetention> {
    let malformed = || {
        let text = "The XML you provided was not well-formed or did not validate against our published schema";
        S3Error::with_message(S3ErrorCode::MalformedXML, text)
    };
    let mode = given
        .mode
        .as_ref()
        .and_then(|mode| Mode::parse(mode.as_str()))
        .ok_or_else(malformed)?;
    let days = match (given.days, given.years) {
        (Some(days), None) => days,
        (None, Some(years)) => years.saturating_mul(DAYS_A_YEAR),
        _ => return Err(malformed()),
    };
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(invalid_argument(
            "Default retention period must be a positive integer value.",
        ));
    }
    let years = given.years.and_then(|years| u32::try_from(years).ok());
    Ok(record::DefaultRetention {
        mode,
        days: days.unsigned_abs(),
        years,
    })
}

/// The version that a request about locks means.
fn version(
    backend: &Backend,
    (bucket, key, id): (&str, &str, Option<&str>),
    who: Option<&Credentials>,
) -> S3Result<(Arc<Bucket>, Arc<Stored>)> {
    let bucket = backend.bucket(bucket)?;
    must_have_lock(&bucket)?;
    let stored = find(backend, &bucket, key, id, who)?;
    Ok((bucket, stored))
}

fn no_lock() -> S3Error {
    let text = "The specified object does not have a ObjectLock configuration";
    S3Error::with_message(S3ErrorCode::NoSuchObjectLockConfiguration, text)
}

pub async fn retention(
    backend: &Backend,
    request: S3Request<GetObjectRetentionInput>,
) -> Answer<GetObjectRetentionOutput> {
    let input = request.input;
    let place = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let (_, stored) = version(backend, place, request.credentials.as_ref())?;
    let retention = stored.version.lock.retention.clone().ok_or_else(no_lock)?;
    let retention = ObjectLockRetention {
        mode: Some(retention.mode.as_str().to_owned().into()),
        retain_until_date: Some(retention.until),
    };
    Ok(S3Response::new(GetObjectRetentionOutput {
        retention: Some(retention),
    }))
}

pub async fn retain(
    backend: &Backend,
    request: S3Request<PutObjectRetentionInput>,
) -> Answer<PutObjectRetentionOutput> {
    let input = request.input;
    let place = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let (bucket, stored) = version(backend, place, request.credentials.as_ref())?;
    let given = input.retention.unwrap_or_default();
    let wanted = match (
        given.mode.as_ref().map(ObjectLockRetentionMode::as_str),
        given.retain_until_date,
    ) {
        (None, None) => None,
        (Some(mode), Some(until)) => Some(checked(mode, until)?),
        _ => return Err(invalid_argument("Mode and RetainUntilDate must both be supplied")),
    };

    let bypass = input.bypass_governance_retention == Some(true);
    let mut state = bucket.lock();
    let newest = state
        .version(&stored.version.key, stored.version.shown_id())
        .cloned()
        .unwrap_or(stored);
    let old = newest.version.lock.retention.as_ref().filter(|old| old.until > now());
    if old.is_some_and(|old| !may_change(old, wanted.as_ref(), bypass)) {
        return Err(locked());
    }
    let lock = Lock {
        retention: wanted,
        hold: newest.version.lock.hold,
    };
    bucket.replace(
        &mut state,
        Version {
            lock,
            ..newest.version.clone()
        },
    )?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

/// A lock may be made stronger or longer by anybody; weaker and shorter only GOVERNANCE, with the bypass.
fn may_change(old: &Retention, new: Option<&Retention>, bypass: bool) -> bool {
    let stronger =
        new.is_some_and(|new| new.until >= old.until && (new.mode == old.mode || new.mode == Mode::Compliance));
    stronger || (bypass && old.mode == Mode::Governance)
}

pub async fn legal_hold(
    backend: &Backend,
    request: S3Request<GetObjectLegalHoldInput>,
) -> Answer<GetObjectLegalHoldOutput> {
    let input = request.input;
    let place = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let (_, stored) = version(backend, place, request.credentials.as_ref())?;
    let on = stored.version.lock.hold.ok_or_else(no_lock)?;
    let status = if on {
        ObjectLockLegalHoldStatus::ON
    } else {
        ObjectLockLegalHoldStatus::OFF
    };
    let legal_hold = ObjectLockLegalHold {
        status: Some(ObjectLockLegalHoldStatus::from_static(status)),
    };
    Ok(S3Response::new(GetObjectLegalHoldOutput {
        legal_hold: Some(legal_hold),
    }))
}

pub async fn hold(backend: &Backend, request: S3Request<PutObjectLegalHoldInput>) -> Answer<PutObjectLegalHoldOutput> {
    let input = request.input;
    let place = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let (bucket, stored) = version(backend, place, request.credentials.as_ref())?;
    let status = input.legal_hold.and_then(|hold| hold.status);
    let on = status
        .as_ref()
        .ok_or_else(|| invalid_argument("Legal Hold must be either of 'ON' or 'OFF'"))?;
    let hold = Some(is_on(on)?);
    let mut state = bucket.lock();
    let newest = state
        .version(&stored.version.key, stored.version.shown_id())
        .cloned()
        .unwrap_or(stored);
    let lock = Lock {
        hold,
        ..newest.version.lock.clone()
    };
    bucket.replace(
        &mut state,
        Version {
            lock,
            ..newest.version.clone()
        },
    )?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(mode: Mode, hours: u64) -> Retention {
        Retention {
            mode,
            until: (SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600)).into(),
        }
    }

    #[test]
    fn a_lock_grows_and_only_governance_shrinks() {
        let governance = until(Mode::Governance, 10);
        let compliance = until(Mode::Compliance, 10);
        assert!(may_change(&governance, Some(&until(Mode::Governance, 11)), false));
        assert!(may_change(&governance, Some(&until(Mode::Compliance, 10)), false));
        assert!(!may_change(&governance, Some(&until(Mode::Governance, 9)), false));
        assert!(!may_change(&governance, None, false));
        assert!(may_change(&governance, None, true));
        assert!(may_change(&compliance, Some(&until(Mode::Compliance, 11)), false));
        assert!(!may_change(&compliance, Some(&until(Mode::Compliance, 9)), true));
        assert!(!may_change(&compliance, Some(&until(Mode::Governance, 11)), true));
        assert!(!may_change(&compliance, None, true));
    }
}
