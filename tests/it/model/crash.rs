//! Processes that die at some request, and what others find afterwards.

use serde_json::Value;
use vastost::catalog::format::image_id::ImageId;
use vastost::catalog::format::keys::Folder;
use vastost::config::Bucket;
use vastost::objstore::s3::multipart::UploadRef;
use vastost_testkit::embedded::{Fault, Trouble};

use super::known::{Known, Record, State};
use super::store::Sequence;

/// Requests that a process may live through.
const REQUESTS: usize = 12;
/// Requests of any kind.
pub const ANY: &str = "*";

impl Sequence {
    /// Does something; at times the process dies at one of its requests, before that had its effect or after, so that no
    /// later one has any. Only the embedded server can do this; the crash sweep of the plug-in's tests kills real processes.
    pub fn at_risk<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> (T, bool) {
        self.at_risk_in(4, ANY, act)
    }

    /// The same once in so many times, and at one of the first requests of one kind.
    pub fn at_risk_in<T>(&mut self, times: usize, operation: &str, act: impl FnOnce(&mut Self) -> T) -> (T, bool) {
        if !self.is_embedded() || !self.dice.once_in(times) {
            return (act(self), false);
        }
        let is_any = operation == ANY;
        let skip = self.dice.below(if is_any { REQUESTS } else { 2 });
        let after = is_any && self.dice.once_in(2);
        let refusal = || (403, "AccessDenied".to_owned());
        let fault = |skip: usize, times: u32, trouble: Trouble| Fault {
            operation: operation.into(),
            key_prefix: String::new(),
            skip: u32::try_from(skip).expect("few"),
            times,
            trouble,
        };
        let ((status, code), (later_status, later_code)) = (refusal(), refusal());
        if after {
            self.site
                .embedded()
                .plan(fault(skip, 1, Trouble::RefuseAfter { status, code }));
        }
        let skip = if after { 0 } else { skip };
        let trouble = Trouble::Refuse {
            status: later_status,
            code: later_code,
        };
        self.site.embedded().plan(fault(skip, u32::MAX, trouble));
        let done = act(self);
        let died = self.site.embedded().faults_met() > 0;
        self.site.embedded().clear_faults();
        if died {
            self.let_time_pass();
        }
        (done, died)
    }

    /// The leases of dead writers run out. That this process lives tells nothing here.
    fn let_time_pass(&self) {
        for lsu in 0..self.lsus.len() {
            let bucket = self.bucket(lsu);
            for key in self.keys_under(&bucket, &self.lsus[lsu].keys().folder(Folder::Pending, None)) {
                let text = self.get(&bucket, &key).expect("it is listed");
                let Ok(mut record) = serde_json::from_slice::<Value>(&text) else {
                    continue;
                };
                if record["schema"] == 1 && record["lease_seconds"].as_u64().is_some_and(|seconds| seconds > 0) {
                    record["lease_seconds"] = 0.into();
                    self.put_object(&bucket, &key, serde_json::to_vec(&record).expect("JSON"), Vec::new());
                }
            }
        }
    }

    /// What became of an image whose writer died in its close.
    pub fn after_writer(&mut self, lsu: usize, id: ImageId, bytes: Vec<u8>, meta: Vec<u8>) {
        let mut known = Known {
            lsu,
            id,
            bytes,
            meta,
            state: State::Pending,
            data_key: String::new(),
            record: Record::Good,
            data_good: true,
            given_up: false,
            left: true,
            held: false,
            copied: false,
            mended: false,
        };
        let bucket = self.bucket(lsu);
        if let Some(text) = self.get(&bucket, &self.sidecar_key(&known)) {
            let record: Value = serde_json::from_slice(&text).expect("a sidecar");
            known.data_key = self.data_key(lsu, &record);
            known.state = State::Complete;
        } else {
            for key in self.pending_keys(&known) {
                let text = self.get(&bucket, &key).expect("it is listed");
                let record: Value = serde_json::from_slice(&text).expect("a pending record");
                if record["closing"] == "complete" && self.is_all_there(&bucket, &record, &known.bytes) {
                    known.state = State::Closing;
                }
            }
        }
        self.tell(format!("  its writer died: {:?}", known.state));
        self.images.push(known);
    }

    fn is_all_there(&self, bucket: &Bucket, record: &Value, bytes: &[u8]) -> bool {
        let key = record["key"].as_str().expect("a key").to_owned();
        let told: u64 = record["sent"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|part| part["size"].as_u64())
            .sum();
        if told != bytes.len() as u64 {
            return false;
        }
        if self.get(bucket, &key).as_deref() == Some(bytes) {
            return true;
        }
        let Some(upload) = record["upload_id"].as_str().map(ToOwned::to_owned) else {
            return false;
        };
        let bucket = bucket.clone();
        let parts = self.do_async(|store| async move {
            store
                .list_parts(UploadRef {
                    bucket: &bucket,
                    key: &key,
                    id: &upload,
                })
                .await
        });
        let parts = parts.expect("parts").unwrap_or_default();
        parts.iter().map(|part| part.size).sum::<u64>() == bytes.len() as u64
    }

    /// Which way images went whose delete died, or whose close did, after somebody cleaned up.
    pub fn look_again(&mut self) {
        for index in 0..self.images.len() {
            let known = self.images[index].clone();
            if !matches!(known.state, State::Deleting | State::Closing) {
                continue;
            }
            let bucket = self.bucket(known.lsu);
            match self.get(&bucket, &self.sidecar_key(&known)) {
                Some(text) => {
                    let record: Value = serde_json::from_slice(&text).unwrap_or_default();
                    if record["state"] != "complete" || !self.is_whole(&known) {
                        continue;
                    }
                    let data_key = self.data_key(known.lsu, &record);
                    // An empty image restores by a sidecar that has gone astray, too.
                    if self.get(&bucket, &data_key).is_some() {
                        let found = &mut self.images[index];
                        found.data_key = data_key;
                        // A delete may have taken its metadata.
                        found.mended |= known.state == State::Deleting;
                        (found.state, found.record, found.data_good) = (State::Complete, Record::Good, true);
                        // A delete without a mark began with the sidecar, and metadata within that went with it.
                        found.mended |= !record["rebuilt"].is_null();
                    }
                }
                None if known.state == State::Deleting && self.get(&bucket, &known.data_key).is_none() => {
                    self.images[index].state = State::Deleted;
                }
                None => {}
            }
        }
    }
}
