//! What one leftover tells, and what a pass over many of them has seen.

use crate::catalog::audit::Found;
use crate::catalog::audit::report::Foreign;
use crate::catalog::format::image_id::ImageId;

/// What one leftover, or one pending image, tells.
#[derive(Debug, Default)]
pub struct Evaluated {
    pub found: Vec<Found>,
    /// A pending image and the bytes it keeps.
    pub pending: Option<(ImageId, u64)>,
}

/// What a pass over leftovers has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub foreign: Foreign,
    pub requests: u64,
}

impl Evaluated {
    /// Of something that is no pending image.
    pub fn of(found: Found) -> Self {
        Self {
            found: vec![found],
            pending: None,
        }
    }
}
