//! Whether the text of a pending record that cannot be used speaks of a complete image.
//!
//! Two questions with opposite defaults: to make an image of what is there, the text must say so; to remove what is
//! there, it must say that it is none.

use serde_json::{Map, Value};

use crate::catalog::format::shape;

/// True when the text of a pending record that cannot be used says that its image was about to be complete.
pub fn says_complete(text: &[u8]) -> bool {
    fields_of(text).is_some_and(|fields| fields.get("closing").is_some_and(|closing| closing == "complete"))
}

/// False only for a whole JSON object that says of no closing, or of an incomplete one, and says it once: whatever
/// breaks off, cannot be read, contradicts itself, or says `complete` by another name may have been the record of a
/// whole image.
pub(super) fn may_have_been_complete(text: &[u8]) -> bool {
    let Some(fields) = fields_of(text) else { return true };
    let innocent = fields
        .get("closing")
        .is_none_or(|closing| closing.is_null() || closing == "incomplete");
    let raw = String::from_utf8_lossy(text);
    !innocent
        || fields.values().any(|value| value == "complete")
        || raw.contains("\\u")
        || raw.matches("\"closing\"").count() > 1
}

/// The fields of a JSON object that is no larger than a record can be once it is parsed.
fn fields_of(text: &[u8]) -> Option<Map<String, Value>> {
    shape::check(text).ok()?;
    serde_json::from_slice(text).ok()
}
