//! What the model knows of each image.

use vastost::catalog::image_id::ImageId;

/// One image of one LSU, by what was done to it.
#[derive(Clone, Debug)]
pub struct Known {
    pub lsu: usize,
    pub id: ImageId,
    pub bytes: Vec<u8>,
    pub state: State,
    /// The key of the data object, where one is known.
    pub data_key: String,
    pub record: Record,
    /// The data object has the bytes that were written.
    pub data_good: bool,
    /// `gc --orphan-data` was asked for while its sidecar was missing: then nobody promises it any more.
    pub given_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Reported complete.
    Complete,
    /// Closed incomplete, or its writer died.
    Pending,
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
}

impl Known {
    /// The bytes that no command may remove.
    pub fn is_needed(&self) -> bool {
        self.state == State::Complete && self.data_good && !self.given_up
    }

    pub fn must_restore(&self) -> bool {
        self.is_needed() && self.record == Record::Good
    }

    /// Reported complete, and either restores or is named by `verify`. Damaged data whose record is gone tell nobody.
    pub fn must_be_known(&self) -> bool {
        let told = self.data_good || matches!(self.record, Record::Good | Record::Telling);
        self.state == State::Complete && !self.given_up && told
    }
}
