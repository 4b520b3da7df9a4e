//! What others do to the store with their own tools.

use serde_json::Value;

use super::damage;
use super::known::{Known, Record, State};
use super::store::{BucketKind, Sequence};

/// Objects that people leave in a bucket, some of them in the folders of an LSU.
const FOREIGN: [&str; 8] = [
    "notes.txt",
    "probe/thesis.pdf",
    "probe/0123",
    "backups/holiday.jpg",
    "catalog/README",
    "pending/other.json",
    "meta/x",
    "crc/y",
];

impl Sequence {
    /// What `cp --recursive`, or `mv`, of any S3 tool does. Large images get other ETags.
    pub fn copy_lsu(&mut self, and_remove: bool) {
        let from = self.dice.below(self.lsus.len());
        let to = self.dice.below(self.lsus.len());
        let is_taken = !self.keys_of_lsu(to).is_empty() || self.images.iter().any(|known| known.lsu == to);
        if from == to || is_taken || (and_remove && self.images.iter().any(|known| known.lsu == from && known.held)) {
            return;
        }
        let keep_metadata = !self.dice.once_in(4);
        self.tell(format!(
            "copy LSU {from} to {to}, then remove: {and_remove}, metadata: {keep_metadata}"
        ));
        let source = self.prefix(from);
        let target = self.prefix(to);
        let (bucket, other_bucket) = (self.bucket(from), self.bucket(to));
        let keys = self.keys_of_lsu(from);
        for key in &keys {
            let place = key.strip_prefix(&source).expect("below the prefix");
            let metadata = if keep_metadata {
                self.metadata(&bucket, key)
            } else {
                Vec::new()
            };
            let body = self.get(&bucket, key).expect("it is listed");
            self.put_object(&other_bucket, &format!("{target}{place}"), body, metadata);
        }
        let copies: Vec<_> = self.images.iter().filter(|known| known.lsu == from).cloned().collect();
        for known in copies {
            let data_key = known
                .data_key
                .strip_prefix(&source)
                .map(|place| format!("{target}{place}"));
            let state = match known.state {
                // An upload cannot be copied.
                State::Closing => State::Pending,
                // Nor can a lock, which alone kept what is marked as deleted.
                State::Complete if known.held && known.record == Record::Telling => State::Deleting,
                state => state,
            };
            let data_key = data_key.unwrap_or_default();
            self.images.push(Known {
                lsu: to,
                data_key,
                held: false,
                copied: true,
                state,
                ..known
            });
        }
        if and_remove {
            keys.iter().for_each(|key| self.remove(&bucket, key));
            self.images.retain(|known| known.lsu != from);
        }
    }

    fn other_data(&mut self, than: &Known) -> Option<Known> {
        let other =
            self.choose(|other| other.state == State::Complete && other.record == Record::Good && other.id != than.id)?;
        Some(self.images[other].clone())
    }

    pub fn damage_record(&mut self) {
        let fits = |known: &Known| known.state == State::Complete && known.record == Record::Good;
        // What the writer has left is all that tells of some of these.
        let left = if self.dice.once_in(2) {
            self.choose(|known| fits(known) && known.left)
        } else {
            None
        };
        let Some(index) = left.or_else(|| self.choose(fits)) else {
            return;
        };
        let known = self.images[index].clone();
        let bucket = self.bucket(known.lsu);
        let key = self.sidecar_key(&known);
        let Some(text) = self.get(&bucket, &key) else {
            self.fail(&format!("{key} is gone"))
        };
        let other = self.other_data(&known);
        let elsewhere = other.as_ref().map_or_else(String::new, |other| other.data_key.clone());
        let other_text = other.and_then(|other| self.get(&self.bucket(other.lsu), &self.sidecar_key(&other)));
        let (damaged, record) = damage::sidecar(&mut self.dice, &text, other_text.as_deref(), &elsewhere);
        self.tell(format!("damage sidecar {key}: {record:?}"));
        match damaged {
            None => self.remove(&bucket, &key),
            Some(body) => self.put_object(&bucket, &key, body, Vec::new()),
        }
        (self.images[index].record, self.images[index].mended) = (record, false);
        // Its writer died before its own record was gone, and now that is all there is: an image of a dead writer.
        self.images[index].given_up |= record == Record::Missing && !self.pending_keys(&known).is_empty();
    }

    /// Of an image that is pending, or the record that the writer of a complete image has left.
    pub fn damage_pending(&mut self) {
        let Some(index) = self.choose(|known| known.state == State::Pending && known.record == Record::Good) else {
            return;
        };
        let known = self.images[index].clone();
        let bucket = self.bucket(known.lsu);
        let other = self.other_data(&known).map_or_else(String::new, |other| other.data_key);
        let Some(key) = self.pending_keys(&known).pop() else {
            return;
        };
        let text = self.get(&bucket, &key).expect("it is listed");
        let (damaged, record) = damage::pending(&mut self.dice, &text, &other);
        self.tell(format!("damage pending record {key}: {record:?}"));
        if record != Record::Good {
            let pending: Value = serde_json::from_slice(&text).expect("JSON");
            // Closed incomplete, it has data that nobody may touch any more.
            let data_key = self.place_here(known.lsu, pending["key"].as_str().expect("a key"));
            if self.get(&bucket, &data_key) == Some(known.bytes) {
                self.images[index].data_key = data_key;
            }
        }
        match damaged {
            None => self.remove(&bucket, &key),
            Some(body) => self.put_object(&bucket, &key, body, Vec::new()),
        }
        self.images[index].record = record;
    }

    pub fn damage_data(&mut self) {
        let Some(index) = self.choose(|known| known.state == State::Complete && known.data_good && !known.held) else {
            return;
        };
        let known = self.images[index].clone();
        let bucket = self.bucket(known.lsu);
        let damaged = damage::data(&mut self.dice, &known);
        self.tell(format!(
            "damage data {}: {:?} bytes",
            known.data_key,
            damaged.as_ref().map(Vec::len)
        ));
        match damaged {
            None => self.remove(&bucket, &known.data_key),
            Some(body) => {
                let metadata = self.metadata(&bucket, &known.data_key);
                self.put_object(&bucket, &known.data_key, body, metadata);
            }
        }
        (self.images[index].data_good, self.images[index].mended) = (false, false);
    }

    /// Somebody locks an image for good, and may have done so between the mark of a delete and the rest of it.
    pub fn lock_image(&mut self) {
        if self.kind != BucketKind::Locked {
            return;
        }
        let fits = |known: &Known| known.must_restore() && !known.held && !known.bytes.is_empty();
        let Some(index) = self.choose(fits) else { return };
        let known = self.images[index].clone();
        let bucket = self.bucket(known.lsu);
        let key = self.sidecar_key(&known);
        self.hold(&bucket, &known.data_key, true);
        self.images[index].held = true;
        let marked = self.dice.once_in(2);
        self.tell(format!("lock {}, its delete was marked: {marked}", known.data_key));
        if marked {
            let text = self.get(&bucket, &key).expect("a sidecar");
            let mut record: Value = serde_json::from_slice(&text).expect("JSON");
            record["state"] = "deleting".into();
            self.put_object(&bucket, &key, serde_json::to_vec(&record).expect("JSON"), Vec::new());
            (self.images[index].record, self.images[index].mended) = (Record::Telling, false);
        }
    }

    pub fn release_all(&mut self) {
        for index in 0..self.images.len() {
            if std::mem::take(&mut self.images[index].held) {
                let known = self.images[index].clone();
                self.hold(&self.bucket(known.lsu), &known.data_key, false);
            }
        }
    }

    /// An object, or an upload, of somebody else.
    pub fn leave_foreign(&mut self) {
        let lsu = self.dice.below(self.lsus.len());
        let bucket = self.bucket(lsu);
        let name = *self.dice.pick(&FOREIGN).expect("some");
        let key = format!("{}{name}", self.prefix(lsu));
        self.tell(format!("leave {key} in {bucket}"));
        if self.dice.once_in(4) {
            let key = format!("{key}.part");
            let begun = self.do_async(|store| async move { store.begin_upload(&bucket, &key, &[], false).await });
            self.uploads.push(begun.expect("an upload"));
        } else {
            self.put_object(&bucket, &key, b"not ours".to_vec(), Vec::new());
            self.foreign.insert((bucket, key), b"not ours".to_vec());
        }
    }
}
