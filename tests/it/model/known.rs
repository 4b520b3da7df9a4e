//! What the model knows of each image.

use std::fmt;

use vastost::catalog::format::image_id::ImageId;

/// One image of one LSU, by what was done to it.
#[derive(Clone)]
pub struct Known {
    pub lsu: usize,
    pub id: ImageId,
    pub bytes: Vec<u8>,
    pub meta: Vec<u8>,
    pub state: State,
    /// The key of the data object; empty where none is known.
    pub data_key: String,
    pub record: Record,
    /// The data object has the bytes that were written.
    pub data_good: bool,
    /// `gc --orphan-data` was asked for while its sidecar was missing: then nobody promises it any more.
    pub given_up: bool,
    /// Its writer died when it was complete: the record of its writing may have been left.
    pub left: bool,
    /// A legal hold lies on its data.
    pub held: bool,
    /// Put here by a copy of its LSU: no older versions are here.
    pub copied: bool,
    /// `repair` has seen it since its record or its data were damaged.
    pub mended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Reported complete.
    Complete,
    /// Closed incomplete, or its writer died.
    Pending,
    /// Its writer died when all was on the store, and its record says that it was closing: `repair` completes it.
    Closing,
    /// A delete died on its way: it may go either way.
    Deleting,
    /// Its delete was reported done.
    Deleted,
}

/// What became of its sidecar, or of the pending record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    Good,
    /// It cannot be used, and still tells size or CRC.
    Telling,
    /// It cannot be used, and tells nothing of this image.
    Silent,
    Missing,
    /// In order, and names an attempt whose data are not there.
    Astray,
    /// By a later version: neither it nor its data may be touched.
    Later,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lsu,
            id,
            bytes,
            meta,
            state,
            data_key,
            record,
            data_good,
            given_up,
            left,
            held,
            copied,
            mended,
        } = self;
        let sizes = format!("{} bytes, {} of metadata", bytes.len(), meta.len());
        let flags = format!("given up: {given_up}, left: {left}, held: {held}, copied: {copied}, mended: {mended}");
        let flags = format!("data good: {data_good}, {flags}");
        write!(
            f,
            "{id} in LSU {lsu}, {sizes}, {state:?}, record {record:?}, {flags}, data at {data_key:?}"
        )
    }
}

impl Known {
    /// The bytes that no command may remove.
    pub fn is_needed(&self) -> bool {
        // What was closed incomplete stays when its record cannot be read, whatever made it so.
        let pending = self.state == State::Pending && self.record != Record::Good && !self.data_key.is_empty();
        (self.state == State::Complete || pending) && self.data_good && !self.given_up
    }

    pub fn must_restore(&self) -> bool {
        self.state == State::Complete && self.is_needed() && self.record == Record::Good
    }

    /// Reported complete, and either restores or is named by `verify`. Damaged data whose record is gone tell nobody.
    pub fn must_be_known(&self) -> bool {
        let told = self.data_good || matches!(self.record, Record::Good | Record::Telling | Record::Astray);
        self.state == State::Complete && !self.given_up && told
    }

    /// What `repair` must bring back.
    pub fn can_be_repaired(&self) -> bool {
        self.state == State::Complete && self.is_needed() && !matches!(self.record, Record::Astray | Record::Later)
    }
}
