//! What a bucket does to objects by itself: locks that it sets, versions that it keeps. Asked by `doctor`, and by deletes
//! where a bucket keeps versions.

use futures::FutureExt;

use super::sdk_error;
use super::store::{Store, path};
use crate::config::Bucket;
use crate::error::{Found, Kind, Result};

/// How a bucket locks objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locking {
    /// It cannot.
    Off,
    /// It can where a request asks for it.
    OnRequest,
    /// It locks every object that is put, in these words.
    ByDefault(String),
}

impl Store {
    /// GetObjectLockConfiguration.
    pub async fn locking(&self, bucket: &Bucket) -> Result<Locking> {
        let sent = self
            .shared
            .client
            .get_object_lock_configuration()
            .bucket(bucket)
            .send()
            .boxed()
            .await;
        let asked = sent.map_err(|e| sdk_error::convert("get the lock configuration of", bucket, &e));
        let Some(reply) = asked.if_found()? else {
            return Ok(Locking::Off);
        };
        let Some(rules) = reply.object_lock_configuration() else {
            return Ok(Locking::Off);
        };
        let Some(default) = rules.rule().and_then(|rule| rule.default_retention()) else {
            return Ok(if rules.object_lock_enabled().is_some() {
                Locking::OnRequest
            } else {
                Locking::Off
            });
        };

        let mode = default.mode().map_or("some mode", |mode| mode.as_str());
        let time = match (default.days(), default.years()) {
            (Some(1), _) => "1 day".to_owned(),
            (Some(days), _) => format!("{days} days"),
            (None, Some(years)) => format!("{years} years"),
            (None, None) => "some time".to_owned(),
        };

        Ok(Locking::ByDefault(format!("{mode} for {time}")))
    }

    /// GetObjectRetention and GetObjectLegalHold: an error says that a lock could not be seen. That there is none is said
    /// in many ways.
    pub async fn see_locks(&self, bucket: &Bucket, key: &str) -> Result<()> {
        let sent = self
            .shared
            .client
            .get_object_retention()
            .bucket(bucket)
            .key(key)
            .send()
            .boxed()
            .await;
        let retention = sent
            .map(drop)
            .map_err(|e| sdk_error::convert("get retention of", &path(bucket, key), &e));
        let sent = self
            .shared
            .client
            .get_object_legal_hold()
            .bucket(bucket)
            .key(key)
            .send()
            .boxed()
            .await;
        let hold = sent
            .map(drop)
            .map_err(|e| sdk_error::convert("get legal hold of", &path(bucket, key), &e));
        let hidden = [Kind::AccessDenied, Kind::Unauthorized, Kind::Network, Kind::Timeout];
        let seen = |asked: Result<()>| asked.or_else(|e| if hidden.contains(&e.kind()) { Err(e) } else { Ok(()) });
        seen(retention).and(seen(hold))
    }

    /// How many versions and delete markers there are under a prefix, at most 1,000.
    pub async fn count_versions(&self, bucket: &Bucket, prefix: &str) -> Result<usize> {
        let sent = self
            .shared
            .client
            .list_object_versions()
            .bucket(bucket)
            .prefix(prefix)
            .send()
            .boxed()
            .await;
        let reply = sent.map_err(|e| sdk_error::convert("list versions of", &path(bucket, prefix), &e))?;
        Ok(reply.versions().len() + reply.delete_markers().len())
    }

    /// Removes up to 1,000 versions and delete markers under a prefix that nobody else has.
    pub async fn remove_versions(&self, bucket: &Bucket, prefix: &str) -> Result<()> {
        let sent = self
            .shared
            .client
            .list_object_versions()
            .bucket(bucket)
            .prefix(prefix)
            .send()
            .boxed()
            .await;
        let reply = sent.map_err(|e| sdk_error::convert("list versions of", &path(bucket, prefix), &e))?;
        let versions = reply
            .versions()
            .iter()
            .map(|version| (version.key(), version.version_id()));
        let markers = reply
            .delete_markers()
            .iter()
            .map(|marker| (marker.key(), marker.version_id()));
        for (key, version) in versions.chain(markers) {
            if let (Some(key), Some(version)) = (key.filter(|key| key.starts_with(prefix)), version) {
                self.delete(bucket, key, Some(version)).await?;
            }
        }
        Ok(())
    }
}
