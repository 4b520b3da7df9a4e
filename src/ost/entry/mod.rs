//! Every exported function. Each has one shape: guard, borrow from the host, call a handler, write the outputs.
//!
//! | file | what it is |
//! |---|---|
//! | `life` | the plug-in in a process: init, claim, terminate |
//! | `server`, `lsu`, `image`, `image_list` | the functions on each of them |
//! | `find` | handles and names to what a call works with, and what the guard learns of it |
//!
//! # Safety
//! The rule that stsp.h sets for every pointer of a host:
//! - A pointer is NULL, or points to what its type and length say: a string with an end, `len` bytes, a struct as long
//!   as its `struct_size`. Strings that a struct names are arguments like the others.
//! - From the call to its return nobody changes what we read, and nobody uses what we fill.
//!
//! Whatever of it can be checked is checked: NULL, alignment, sizes, ends. Only the memory behind a pointer is taken on
//! trust, and borrowed for no longer than the call: [`super::guard::Caller`].

mod life;
mod server;
mod lsu;
mod image;
mod image_list;
mod find;

pub use image::{
    stsp_close_image, stsp_create_image, stsp_delete_image, stsp_flush, stsp_get_image_prop,
    stsp_get_image_prop_byname, stsp_open_image, stsp_read_image, stsp_read_image_meta, stsp_write_image,
    stsp_write_image_meta,
};
pub use image_list::{stsp_close_image_list, stsp_list_image, stsp_open_image_list};
pub use life::{stsp_claim, stsp_init, stsp_terminate};
pub use lsu::{stsp_close_lsu_list, stsp_get_lsu_prop_byname, stsp_label_lsu, stsp_list_lsu, stsp_open_lsu_list};
pub use server::{stsp_close_server, stsp_get_server_prop, stsp_get_server_prop_byname, stsp_open_server};
