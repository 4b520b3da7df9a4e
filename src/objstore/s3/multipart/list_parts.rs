//! The parts of an upload, and those that a finished object was made of: all pages of a list, checked and in order.
//!
//! Limits: [`PARTS_MAX`] parts, and the time of one operation for all pages. How it fails: a list that contradicts
//! itself is an error; what the server does not tell is None.

use std::time::{Duration, Instant};

use aws_sdk_s3::types::ObjectAttributes;
use futures::FutureExt;

use super::{StoredPart, UploadRef};
use crate::clean::words;
use crate::config::{Bucket, PARTS_MAX};
use crate::engine::checksum::{Crc64, bare_etag};
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::list::is_of;
use crate::objstore::s3::sdk_error;
use crate::objstore::s3::store::{Store, path};

/// The pages of a list of parts, as they come.
struct PartPages {
    what: String,
    parts: Vec<StoredPart>,
    /// The last part of the last page.
    marker: Option<u32>,
    deadline: Instant,
}

impl Store {
    /// ListParts: all parts of an upload, in order; None when there is no such upload.
    pub async fn list_parts(&self, upload: UploadRef<'_>) -> Result<Option<Vec<StoredPart>>> {
        let UploadRef { bucket, key, id } = upload;
        let what = format!("list parts of {}", path(bucket, key));
        let mut list = PartPages::new(what, self.shared.retry.operation_timeout);
        loop {
            let page = || async {
                let request = self.shared.client.list_parts().bucket(bucket).key(key).upload_id(id);
                let sent = request.set_part_number_marker(list.marker()).send().boxed().await;
                sent.map_err(|e| sdk_error::convert("list parts of", &path(bucket, key), &e))
            };

            let asked = self.shared.hedges.ask("ListParts", page).await;
            let Some(reply) = asked.if_found()? else {
                return Ok(None);
            };

            let of_another = reply.upload_id().filter(|told| !told.is_empty() && *told != id);
            let is_other = of_another.map_or(Ok(()), |id| Err(format!("it is of upload {}", words(id))));
            is_of(bucket, reply.bucket())
                .and(is_other)
                .map_err(|why| Error::new(Kind::Unavailable, format!("list parts of {}: {why}", path(bucket, key))))?;
            if reply.is_truncated().is_none() {
                let what = format!(
                    "list parts of {}: it does not say whether it is whole",
                    path(bucket, key)
                );
                return Err(Error::new(Kind::Unavailable, what));
            }

            let parts = reply.parts().iter().map(StoredPart::of);
            let next = (reply.is_truncated(), reply.next_part_number_marker());

            if let Some(parts) = list.take(parts, next)? {
                return Ok(Some(parts));
            }
        }
    }

    /// GetObjectAttributes: the parts that a finished object was made of. None where the server does not tell: VAST
    /// does not document the call, Ceph RGW sends the object itself, and of an object put in one piece there are none.
    pub async fn object_parts(&self, bucket: &Bucket, key: &str) -> Result<Option<Vec<StoredPart>>> {
        let what = format!("get attributes of {}", path(bucket, key));
        let mut list = PartPages::new(what, self.shared.retry.operation_timeout);
        loop {
            let page = || async {
                let request = self.shared.client.get_object_attributes().bucket(bucket).key(key);
                let request = request
                    .object_attributes(ObjectAttributes::ObjectParts)
                    .max_parts(1_000);
                let sent = request.set_part_number_marker(list.marker()).send().boxed().await;
                sent.map_err(|e| sdk_error::convert("get attributes of", &path(bucket, key), &e))
            };

            let reply = match self.shared.hedges.ask("GetObjectAttributes", page).await {
                Err(error) if error.kind() == Kind::Unsupported => return Ok(None),
                other => other?,
            };

            let Some(page) = reply.object_parts() else {
                return Ok(None);
            };

            // The bare number of parts is all that some servers tell.
            if page.parts().is_empty() && list.is_empty() {
                return Ok(None);
            }

            let parts = page.parts().iter().map(StoredPart::of_object);

            if let Some(parts) = list.take(parts, (page.is_truncated(), page.next_part_number_marker()))? {
                return Ok(Some(parts));
            }
        }
    }
}

impl PartPages {
    fn new(what: String, time: Duration) -> Self {
        Self {
            what,
            parts: Vec::new(),
            marker: None,
            deadline: Instant::now() + time,
        }
    }

    fn marker(&self) -> Option<String> {
        self.marker.map(|marker| marker.to_string())
    }

    fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Takes a page in; gives all parts behind the last one, in order.
    fn take(
        &mut self,
        page: impl Iterator<Item = Option<StoredPart>>,
        (is_truncated, next): (Option<bool>, Option<&str>),
    ) -> Result<Option<Vec<StoredPart>>> {
        for part in page {
            let Some(part) = part else {
                return self.refuse("a part has no number or no size");
            };
            self.parts.push(part);
        }

        if self.parts.len() > PARTS_MAX as usize {
            return self.refuse("there are more parts than an upload can have");
        }

        if is_truncated.unwrap_or_default() {
            let next = next.and_then(|next| next.parse().ok());
            let forward = next.filter(|next| self.marker.is_none_or(|marker| *next > marker));
            if forward.is_none() {
                return self.refuse("it is truncated and names no later part to go on from");
            }
            if Instant::now() > self.deadline {
                return self.refuse("the list does not come to its end in the time of an operation");
            }
            self.marker = forward;
            return Ok(None);
        }

        // S3 orders them; a server that does not must not make us see gaps.
        self.parts.sort_by_key(|part| part.number);
        if self
            .parts
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a.number == b.number))
        {
            return self.refuse("a part is listed twice");
        }

        Ok(Some(std::mem::take(&mut self.parts)))
    }

    fn refuse(&self, why: &str) -> Result<Option<Vec<StoredPart>>> {
        Err(Error::new(Kind::Unavailable, format!("{}: {why}", self.what)))
    }
}

impl StoredPart {
    fn of(part: &aws_sdk_s3::types::Part) -> Option<Self> {
        let etag = bare_etag(part.e_tag().unwrap_or_default()).to_owned();
        let number = number_u32(part.part_number())?;
        let size = u64::try_from(part.size()?).ok()?;
        Some(Self {
            number,
            size,
            etag,
            crc64: part.checksum_crc64_nvme().and_then(Crc64::from_base64),
        })
    }

    fn of_object(part: &aws_sdk_s3::types::ObjectPart) -> Option<Self> {
        let number = number_u32(part.part_number())?;
        let size = u64::try_from(part.size()?).ok()?;
        let crc64 = part.checksum_crc64_nvme().and_then(Crc64::from_base64);
        Some(Self {
            number,
            size,
            etag: String::new(),
            crc64,
        })
    }
}

fn number_u32(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}
