//! The structs and constants that cross the C boundary, letter for letter as `include/stsp.h` has them.
//!
//! The layouts are our own: the OpenStorage SDK's are not public. A licensee of the SDK changes this file. Every
//! struct begins with `struct_size`, which the caller sets to `sizeof` of what it was compiled with, so that structs
//! can grow at their end; the table at the end of this file has what each began with. Text fields are NUL-terminated
//! bytes of any encoding. Sizes and offsets are asserted below and once more from C by the tests.

#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_void};

/// The version of this header. `stsp_init` refuses a host that was compiled with another one.
pub const STSP_ABI_VERSION: u32 = 1;
/// What server names of this plug-in begin with.
pub const STSP_PREFIX: &str = "VastData:";
/// Bytes of an image's basename or policy, with the terminating NUL.
pub const STSP_NAME_SIZE: usize = 256;
/// Bytes of an LSU's name, with the terminating NUL.
pub const STSP_LSU_NAME_SIZE: usize = 64;
/// A value that is never a handle.
pub const STSP_NO_HANDLE: u64 = 0;

/// Bytes of stack that a call of ours needs on the host's thread.
pub const STSP_STACK_MIN: usize = 65536;

/// Capability of a server: its LSUs are disks.
pub const STSP_SRV_DISK: u64 = 0x1;
/// Capability of a server: `stsp_open_server` needs `stsp_cred_t`, by its configuration.
pub const STSP_SRV_CRED: u64 = 0x2;
/// Capability of a server: images carry metadata (`stsp_write_image_meta`).
pub const STSP_SRV_IMAGE_META: u64 = 0x4;
/// Capability of a server: an image closed incomplete can be opened for write again.
pub const STSP_SRV_REOPEN: u64 = 0x8;

/// Flag of an LSU: it is a disk.
pub const STSP_LSUF_DISK: u32 = 0x1;
/// Flag of an LSU: its bucket answered.
pub const STSP_LSUF_ACTIVE: u32 = 0x2;
/// Flag of an LSU: `capacity_bytes` is configured; without it the capacity is unknown.
pub const STSP_LSUF_CAPACITY_KNOWN: u32 = 0x4;
/// Flag of an LSU: `used_bytes` and `images` are counted by this host; without it they are unknown.
pub const STSP_LSUF_USED_KNOWN: u32 = 0x8;

/// Mode of `stsp_open_image`: read.
pub const STSP_OPEN_READ: u32 = 0x1;
/// Mode of `stsp_open_image`: go on writing an image that was closed incomplete.
pub const STSP_OPEN_WRITE: u32 = 0x2;

/// Flag of `stsp_close_image`: the image is complete and can never be written again.
pub const STSP_CLOSEF_COMPLETE: u32 = 0x1;

/// State of an image: not complete yet.
pub const STSP_II_IMAGE_PENDING: u32 = 0x1;
/// State of an image: complete.
pub const STSP_II_IMAGE_CREATED: u32 = 0x2;
/// State of an image: a writer has it.
pub const STSP_II_BUSY_WRITE: u32 = 0x4;

/// Flag of `stsp_image_filter_t`: list complete images.
pub const STSP_LISTF_COMPLETE: u32 = 0x1;
/// Flag of `stsp_image_filter_t`: list pending images.
pub const STSP_LISTF_PENDING: u32 = 0x2;

/// Severity of a log message: detail.
pub const STSP_LOG_DEBUG: i32 = 2;
/// Severity of a log message: information.
pub const STSP_LOG_INFO: i32 = 4;
/// Severity of a log message: something is odd, and the plug-in went on.
pub const STSP_LOG_WARN: i32 = 8;
/// Severity of a log message: a call failed.
pub const STSP_LOG_ERROR: i32 = 16;

/// A server, LSU list, image or image list that is open in this process. A number, never a pointer; no number is given
/// twice. A handle that is closed or of another kind gives STSP_EHANDLE. Two threads may use one handle: their calls
/// run one after the other.
pub type stsp_handle_t = u64;

/// Receives one message, NUL-terminated, valid during the call. Called only on the thread of an `stsp_*` call, before
/// that call returns. It must not call `stsp_*` functions.
pub type stsp_log_fn = Option<unsafe extern "C" fn(context: *mut c_void, severity: i32, message: *const c_char)>;

/// A fixed-size field of some text, cut where it does not fit.
pub fn to_field<const N: usize>(text: &[u8]) -> [c_char; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().take(N.saturating_sub(1)).zip(text) {
        *to = c_char::from_ne_bytes([*from]);
    }
    field
}

/// How a host wants to be served; copied by `stsp_open_server`.
#[repr(C)]
pub struct stsp_session_t {
    pub struct_size: u32,
    /// Messages below this STSP_LOG_* severity are not delivered; 0 delivers STSP_LOG_INFO and above.
    pub severity_min: i32,
    /// May be NULL: then messages go to the plug-in's own log only.
    pub log: stsp_log_fn,
    /// Handed to `log` as it is; must stay valid until the server is closed.
    pub log_context: *mut c_void,
    /// Path of vastost.toml, or NULL for VASTOST_CONFIG, else the file beside the plug-in, else
    /// /etc/vastost/vastost.toml.
    pub config_file: *const c_char,
}

/// Credentials as the host has stored them; copied by `stsp_open_server`. Strings of at most 4,095 bytes.
#[repr(C)]
pub struct stsp_cred_t {
    pub struct_size: u32,
    pub reserved: u32,
    /// S3 access key id.
    pub user: *const c_char,
    /// S3 secret access key; with temporary keys a newline and the session token behind it.
    pub password: *const c_char,
}

/// What the plug-in says of itself.
#[repr(C)]
pub struct stsp_plugin_info_t {
    pub struct_size: u32,
    pub abi_version: u32,
    /// STSP_PREFIX.
    pub prefix: [c_char; 32],
    pub version: [c_char; 32],
    pub vendor: [c_char; 64],
}

/// An open server.
#[repr(C)]
pub struct stsp_server_prop_t {
    pub struct_size: u32,
    pub reserved: u32,
    /// STSP_SRV_* bits.
    pub capabilities: u64,
    /// Largest image, bytes.
    pub image_size_max: u64,
    /// Most bytes of one read or write call.
    pub transfer_max: u64,
    /// Reads and writes are cheapest in multiples of this, bytes; any length is taken.
    pub block_size: u32,
    /// LSUs in the configuration, without discovered ones.
    pub lsu_count: u32,
    /// With the prefix.
    pub name: [c_char; 128],
    /// URL of the cluster.
    pub endpoint: [c_char; 256],
}

/// A logical storage unit.
#[repr(C)]
pub struct stsp_lsu_prop_t {
    pub struct_size: u32,
    /// STSP_LSUF_* bits.
    pub flags: u32,
    /// Bytes that the LSU can hold; 0 without STSP_LSUF_CAPACITY_KNOWN.
    pub capacity_bytes: u64,
    /// Bytes of complete images.
    pub used_bytes: u64,
    /// Complete images.
    pub images: u64,
    pub name: [c_char; STSP_LSU_NAME_SIZE],
    pub bucket: [c_char; STSP_LSU_NAME_SIZE],
    /// What `stsp_label_lsu` set.
    pub label: [c_char; STSP_NAME_SIZE],
    /// From the configuration.
    pub description: [c_char; STSP_NAME_SIZE],
}

/// An image's definition: basename and date identify it within its LSU.
#[repr(C)]
pub struct stsp_image_def_t {
    pub struct_size: u32,
    /// The host's own number; 0 matches any in opens, deletes and queries.
    pub image_type: u32,
    /// Seconds since 1970, UTC; at most 253402207200.
    pub date: u64,
    /// Not empty. Escaped for S3, it may grow to three times its length; 222 bytes fit then with a date of ten digits.
    pub basename: [c_char; STSP_NAME_SIZE],
    /// Empty matches any in opens, deletes and queries.
    pub policy: [c_char; STSP_NAME_SIZE],
}

/// An image's properties.
#[repr(C)]
pub struct stsp_image_info_t {
    pub struct_size: u32,
    /// STSP_II_* bits.
    pub flags: u32,
    /// Bytes of the image, exact; while it is written, the bytes taken so far.
    pub size: u64,
    /// Seconds since 1970, UTC.
    pub created: u64,
    /// Seconds since 1970, UTC; 0 until the image is complete.
    pub completed: u64,
    pub image_type: u32,
    pub reserved: u32,
    pub date: u64,
    pub basename: [c_char; STSP_NAME_SIZE],
    pub policy: [c_char; STSP_NAME_SIZE],
    pub lsu: [c_char; STSP_LSU_NAME_SIZE],
}

/// Which images to list.
#[repr(C)]
pub struct stsp_image_filter_t {
    pub struct_size: u32,
    /// STSP_LISTF_* bits; 0 lists all.
    pub flags: u32,
    /// Seconds since 1970, UTC, included.
    pub date_from: u64,
    /// Seconds since 1970, UTC, included; 0 means no end.
    pub date_to: u64,
    /// Only images of this client (the basename up to `_<ctime>_C<copy>_...`, or "other"); empty means all.
    pub client: [c_char; STSP_NAME_SIZE],
    /// Only basenames that begin so; empty means all.
    pub basename_prefix: [c_char; STSP_NAME_SIZE],
}

/// One image of a list. Policy and type are in `stsp_get_image_prop_byname`.
#[repr(C)]
pub struct stsp_image_entry_t {
    pub struct_size: u32,
    /// STSP_II_IMAGE_CREATED or STSP_II_IMAGE_PENDING.
    pub flags: u32,
    pub date: u64,
    pub basename: [c_char; STSP_NAME_SIZE],
}

/// A struct that begins with `struct_size` and grows at its end only.
///
/// # Safety
/// `Self` is `repr(C)`, begins with `struct_size` and is made of integers, bytes and pointers that may be NULL, so that
/// any bytes are a value of it.
#[allow(unsafe_code, reason = "a promise of its structs; no code here")]
pub unsafe trait Versioned: Sized {
    /// What `sizeof` gave in version 1 of the header, and never changes: no host passes less.
    const V1_SIZE: u32;
    /// What `sizeof` gives today.
    const SIZE: u32;
    fn set_struct_size(&mut self, size: u32);
}

macro_rules! versioned {
    ($($name:ident $v1:literal $today:literal),* $(,)?) => {
        $(
            // The layout is a promise to hosts that are compiled already.
            const _: () = assert!(size_of::<$name>() == $today && $v1 <= $today);
            const _: () = assert!(std::mem::offset_of!($name, struct_size) == 0);
            // SAFETY: a struct of this file: `repr(C)`, and made of what the trait allows and nothing else.
            #[allow(unsafe_code, reason = "says what the struct is made of, and does nothing")]
            unsafe impl Versioned for $name {
                const V1_SIZE: u32 = $v1;
                const SIZE: u32 = $today;
                fn set_struct_size(&mut self, size: u32) {
                    self.struct_size = size;
                }
            }
        )*
    };
}

// Its size in version 1, which stays, and its size today, which a new field at its end raises.
versioned! {
    stsp_session_t 32 32,
    stsp_cred_t 24 24,
    stsp_plugin_info_t 136 136,
    stsp_server_prop_t 424 424,
    stsp_lsu_prop_t 672 672,
    stsp_image_def_t 528 528,
    stsp_image_info_t 624 624,
    stsp_image_filter_t 536 536,
    stsp_image_entry_t 272 272,
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(stsp_session_t, log_context) == 16 && offset_of!(stsp_cred_t, password) == 16);
    assert!(offset_of!(stsp_plugin_info_t, version) == 40 && offset_of!(stsp_server_prop_t, endpoint) == 168);
    assert!(offset_of!(stsp_lsu_prop_t, label) == 160 && offset_of!(stsp_image_def_t, policy) == 272);
    assert!(offset_of!(stsp_image_info_t, lsu) == 560 && offset_of!(stsp_image_filter_t, basename_prefix) == 280);
    assert!(offset_of!(stsp_image_entry_t, basename) == 16);
};
