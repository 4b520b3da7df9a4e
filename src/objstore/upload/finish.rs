//! The end of an upload: its parts become one object, or the one part is put as one, and the object is proven.

use std::time::Instant;

use bytes::Bytes;

use super::object::Upload;
use super::spec::UploadSpec;
use super::verify::{Finished, prove, wire_check};
use crate::engine::checksum::Crc64;
use crate::engine::md5_lanes::Priority;
use crate::error::{Kind, Result};
use crate::objstore::s3::capabilities::WireMode;
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::{ObjectInfo, SentPart};

/// A finished object.
#[derive(Clone, Debug)]
pub struct Uploaded {
    pub object: ObjectInfo,
    pub parts: Vec<SentPart>,
}

impl Upload {
    /// The object as one whole, proven: see [`super::verify`].
    pub async fn complete(&mut self) -> Result<Uploaded> {
        if self.id.is_some() {
            self.complete_parts().await
        } else {
            self.put_whole().await
        }
    }

    async fn complete_parts(&mut self) -> Result<Uploaded> {
        let parts = self.seal().await?;
        let crc64 = parts.iter().fold(Crc64(0), |crc, part| crc.then(part.crc64, part.size));
        let proof = (self.spec.wire == WireMode::Crc64).then_some(crc64);
        let id = self.id.clone().unwrap_or_default();
        let completed = complete_upload(&self.store, &self.spec, &id, &parts, proof);
        let Completed {
            object,
            trusted,
            other_parts,
        } = self.stats.scope(completed).await?;

        // There is an object now and no upload any more that could be aborted.
        self.id = None;
        let parts = other_parts.unwrap_or(parts);
        let unproven: Vec<u32> = if trusted {
            self.progress.lock().unproven.iter().copied().collect()
        } else {
            parts.iter().map(|part| part.number).collect()
        };
        let known = self.store.known(&self.spec.bucket);
        if unproven.len() == parts.len() && !self.spec.wire.is_proven_by(known) {
            self.store.shared.buckets.tell_read_back(&self.spec.bucket);
        }
        let finished = Finished {
            object,
            is_upload: true,
        };
        let proven = prove(&self.store, &self.spec, finished, &parts, &unproven);
        let object = self.stats.scope(proven).await?;
        Ok(Uploaded { object, parts })
    }

    async fn put_whole(&mut self) -> Result<Uploaded> {
        self.progress.check()?;
        let (body, crc64) = match self.open.take() {
            Some(part) => part.seal().inspect_err(|error| self.fail(error))?,
            None => (Bytes::new(), Crc64(0)),
        };
        let size = body.len() as u64;
        let since = Instant::now();
        self.whole = Some(SentPart {
            number: 1,
            size,
            etag: String::new(),
            crc64,
        });
        let mut put = self.try_put_whole(body.clone(), crc64).await;
        if let Err(error) = &put
            && self.falls_back(error).await
        {
            put = self.try_put_whole(body, crc64).await;
        }
        let object = put?;
        self.stats.part(since);
        self.open_offset = size;
        let part = SentPart {
            number: 1,
            size,
            etag: object.etag.clone(),
            crc64,
        };

        Ok(Uploaded {
            object,
            parts: if size == 0 { Vec::new() } else { vec![part] },
        })
    }

    /// Gives the object as HEAD tells of it.
    async fn try_put_whole(&self, body: Bytes, crc64: Crc64) -> Result<ObjectInfo> {
        let store = &self.store;
        let spec = &*self.spec;
        if !spec.wire.is_proven_by(store.known(&spec.bucket)) {
            store.shared.buckets.tell_read_back(&spec.bucket);
        }

        let put = async {
            let size = body.len() as u64;
            let check = wire_check(store, spec, &body, crc64, Priority::Urgent).await?;
            let object = store
                .put(&spec.bucket, &spec.key, body, check, &spec.metadata, false)
                .await?;
            let part = SentPart {
                number: 1,
                size,
                etag: object.etag.clone(),
                crc64,
            };
            let finished = Finished {
                object,
                is_upload: false,
            };
            // What the put itself has proven is not read again, unless HEAD contradicts it.
            prove(store, spec, finished, &[part], &[]).await
        };
        self.stats.scope(put).await
    }
}

/// An upload that is complete, as far as the store says.
struct Completed {
    object: ObjectInfo,
    /// False where only the bytes can prove it.
    trusted: bool,
    /// What was completed in place of the parts that were sent: see [`Store::complete_upload_or_doubt`].
    other_parts: Option<Vec<SentPart>>,
}

/// CompleteMultipartUpload. A store that calls the whole's CRC64NVME wrong may have damaged a part, or may get the CRCs
/// of several parts wrong: then it is completed without, and the bytes must tell.
async fn complete_upload(
    store: &Store,
    spec: &UploadSpec,
    id: &str,
    parts: &[SentPart],
    proof: Option<Crc64>,
) -> Result<Completed> {
    let bucket = &spec.bucket;
    let complete = |proof| store.complete_upload_or_doubt(spec.upload(id), parts, proof);
    match complete(proof).await {
        Err(error) if proof.is_some() && error.kind() == Kind::Corrupt => {
            tracing::warn!("without the CRC64NVME of the whole, and then read back: {error}");
            store.contradicted(bucket, "it calls the CRC64NVME of a whole upload wrong", |known| {
                known.crc64nvme = false
            });
            match complete(None).await {
                Ok((object, other_parts)) => Ok(Completed {
                    object,
                    trusted: false,
                    other_parts,
                }),
                Err(second) => {
                    tracing::warn!("{second}");
                    Err(error)
                }
            }
        }
        other => other.map(|(object, other_parts)| Completed {
            object,
            trusted: other_parts.is_none(),
            other_parts,
        }),
    }
}
