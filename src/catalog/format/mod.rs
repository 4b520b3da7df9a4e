//! What lies on the store, as text: names, keys, records. Pure: nothing is sent here.
//!
//! | file | what it is |
//! |---|---|
//! | [`escape`] | any bytes to the portable key alphabet and back |
//! | [`image_id`] | what names an image: basename and date |
//! | [`keys`] | images to object keys and back; the only file that spells keys |
//! | [`shape`] | how many values a record may have |
//! | [`record`] | the JSON records: sidecar and pending record |
//! | [`parse`] | from the bytes of a record to a record that can be believed |
//! | [`remains`] | what a sidecar that cannot be used still tells |

pub mod escape;
pub mod image_id;
pub mod keys;
pub(crate) mod shape;
pub mod record;
pub mod parse;
pub(crate) mod remains;
