//! What an administrator tries on a bucket: objects and an image of our own, which are taken away again.
//!
//! | file | what it is |
//! |---|---|
//! | [`objects`] | single requests, for the rights that an image does not always need |
//! | [`image`] | one image, written, opened again, read and deleted as a job does it |

pub mod objects;
pub mod image;
