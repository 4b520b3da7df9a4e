//! A host in Rust: the exported C functions called as NetBackup calls them, behind safe methods.
//!
//! For the command line, the demo and the tests; the plug-in is built without it. It goes through the C boundary with
//! real pointers and structs, so what it proves holds for a C host too. The only file with `unsafe` on the caller's side
//! of the boundary.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use vastost::config::credentials::KeyPair;
use vastost::ost::abi::*;
use vastost::ost::entry::*;
use vastost::ost::status::{STSP_EINVAL, STSP_EOFLIST, STSP_OK, describe};

thread_local! {
    /// The plug-in calls the log function on the thread of the call that failed, before that call returns.
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
    /// What is no failure.
    static NOTES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What the plug-in warned of on any thread: a host prints it once, at its end.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A host that never asks for its notes must not grow by them.
const NOTES_MAX: usize = 100;

/// A call that did not return STSP_OK, with what the plug-in said about it.
#[derive(Clone, PartialEq, Eq)]
pub struct HostError {
    pub code: i32,
    pub message: String,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Which C function it was is of no use to a person.
        let call = self
            .message
            .split_once(": ")
            .filter(|(call, _)| call.starts_with("stsp_"));
        let text = call.map_or(self.message.as_str(), |(_, text)| text);
        if text.is_empty() {
            f.write_str(&describe(self.code))
        } else {
            f.write_str(text)
        }
    }
}

impl fmt::Debug for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", describe(self.code), self.message)
    }
}

impl std::error::Error for HostError {}

pub type HostResult<T> = Result<T, HostError>;

/// An open server.
pub struct HostServer {
    pub handle: stsp_handle_t,
}

/// An open image; it stays open until [`HostImage::close`].
pub struct HostImage {
    pub handle: stsp_handle_t,
}

/// An image's definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    pub basename: Vec<u8>,
    pub date: u64,
    pub policy: Vec<u8>,
    pub image_type: u32,
}

/// Which images to list; the default is all.
#[derive(Clone, Debug, Default)]
pub struct HostFilter {
    pub client: Vec<u8>,
    pub basename_prefix: Vec<u8>,
    pub date_from: u64,
    pub date_to: u64,
    pub flags: u32,
}

/// What is read out of `stsp_image_info_t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    pub def: Definition,
    pub flags: u32,
    pub size: u64,
    pub created: u64,
    pub completed: u64,
    pub lsu: String,
}

/// What is read out of `stsp_lsu_prop_t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LsuInfo {
    pub name: String,
    pub bucket: String,
    pub label: String,
    pub description: String,
    pub flags: u32,
    pub capacity_bytes: u64,
    pub used_bytes: u64,
    pub images: u64,
}

impl Definition {
    pub fn new(basename: impl Into<Vec<u8>>, date: u64) -> Self {
        Self {
            basename: basename.into(),
            date,
            ..Self::default()
        }
    }

    pub fn to_c(&self) -> stsp_image_def_t {
        stsp_image_def_t {
            struct_size: <stsp_image_def_t as Versioned>::SIZE,
            image_type: self.image_type,
            date: self.date,
            basename: to_field(&self.basename),
            policy: to_field(&self.policy),
        }
    }
}

/// `stsp_init`; gives the version of the plug-in.
pub fn init() -> HostResult<String> {
    let mut info: stsp_plugin_info_t = zeroed();
    // SAFETY: the struct lives until the call returns.
    done(unsafe { stsp_init(STSP_ABI_VERSION, &raw mut info) })?;
    Ok(text(&info.version))
}

/// Takes what the plug-in said to this thread besides failures, the oldest first.
pub fn take_notes() -> Vec<String> {
    NOTES.take()
}

/// Takes what the plug-in warned of.
pub fn take_warnings() -> Vec<String> {
    std::mem::take(&mut *WARNINGS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// `stsp_terminate`.
pub fn terminate() {
    // SAFETY: takes no pointer.
    unsafe { stsp_terminate() };
}

/// `stsp_open_server`.
pub fn open_server(name: &str, config_file: &Path, keys: Option<&KeyPair>) -> HostResult<HostServer> {
    let name = c_string(name.as_bytes())?;
    let path = c_string(config_file.as_os_str().as_bytes())?;
    let session = stsp_session_t {
        struct_size: <stsp_session_t as Versioned>::SIZE,
        severity_min: STSP_LOG_INFO,
        log: Some(keep_message),
        log_context: std::ptr::null_mut(),
        config_file: path.as_ptr(),
    };

    let pair = keys.map(|keys| {
        Ok((
            c_string(keys.access_key_id.as_bytes())?,
            c_string(keys.to_password().as_bytes())?,
        ))
    });
    let pair = pair.transpose()?;
    let cred = pair.as_ref().map(|(user, password)| stsp_cred_t {
        struct_size: <stsp_cred_t as Versioned>::SIZE,
        reserved: 0,
        user: user.as_ptr(),
        password: password.as_ptr(),
    });
    let cred = cred.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut handle = STSP_NO_HANDLE;
    // SAFETY: all strings and structs live until the call returns; the log function is a static one.
    done(unsafe {
        stsp_open_server(
            &raw const session,
            name.as_ptr(),
            cred,
            std::ptr::null(),
            &raw mut handle,
        )
    })?;
    Ok(HostServer { handle })
}

impl HostServer {
    pub fn close(&self) -> HostResult<()> {
        // SAFETY: takes no pointer.
        done(unsafe { stsp_close_server(self.handle) })
    }

    pub fn lsus(&self) -> HostResult<Vec<LsuInfo>> {
        let mut list = STSP_NO_HANDLE;
        // SAFETY: the handle lives until the call returns.
        done(unsafe { stsp_open_lsu_list(self.handle, &raw mut list) })?;
        let mut found = Vec::new();
        let end = loop {
            let mut prop: stsp_lsu_prop_t = zeroed();
            // SAFETY: the struct lives until the call returns.
            match done(unsafe { stsp_list_lsu(list, &raw mut prop) }) {
                Ok(()) => found.push(lsu_info(&prop)),
                Err(end) => break end,
            }
        };
        // SAFETY: takes no pointer.
        done(unsafe { stsp_close_lsu_list(list) })?;
        if end.code == STSP_EOFLIST { Ok(found) } else { Err(end) }
    }

    pub fn lsu(&self, lsu: &str) -> HostResult<LsuInfo> {
        let lsu = c_string(lsu.as_bytes())?;
        let mut prop = zeroed::<stsp_lsu_prop_t>();
        // SAFETY: string and struct live until the call returns.
        done(unsafe { stsp_get_lsu_prop_byname(self.handle, lsu.as_ptr(), &raw mut prop) })?;
        Ok(lsu_info(&prop))
    }

    pub fn label(&self, lsu: &str, label: &str) -> HostResult<()> {
        let lsu = c_string(lsu.as_bytes())?;
        let label = c_string(label.as_bytes())?;
        // SAFETY: the strings live until the call returns.
        done(unsafe { stsp_label_lsu(self.handle, lsu.as_ptr(), label.as_ptr()) })
    }

    pub fn create(&self, lsu: &str, def: &Definition) -> HostResult<HostImage> {
        let lsu = c_string(lsu.as_bytes())?;
        let def = def.to_c();
        let mut handle = STSP_NO_HANDLE;
        // SAFETY: string, struct and handle live until the call returns.
        done(unsafe { stsp_create_image(self.handle, lsu.as_ptr(), &raw const def, 0, &raw mut handle) })?;
        Ok(HostImage { handle })
    }

    pub fn open(&self, lsu: &str, def: &Definition, mode: u32) -> HostResult<HostImage> {
        let lsu = c_string(lsu.as_bytes())?;
        let def = def.to_c();
        let mut handle = STSP_NO_HANDLE;
        // SAFETY: string, struct and handle live until the call returns.
        done(unsafe { stsp_open_image(self.handle, lsu.as_ptr(), &raw const def, mode, &raw mut handle) })?;
        Ok(HostImage { handle })
    }

    pub fn delete(&self, lsu: &str, def: &Definition) -> HostResult<()> {
        let lsu = c_string(lsu.as_bytes())?;
        let def = def.to_c();
        // SAFETY: string and struct live until the call returns.
        done(unsafe { stsp_delete_image(self.handle, lsu.as_ptr(), &raw const def, 0) })
    }

    pub fn info(&self, lsu: &str, def: &Definition) -> HostResult<ImageInfo> {
        let lsu = c_string(lsu.as_bytes())?;
        let def = def.to_c();
        let mut info = zeroed::<stsp_image_info_t>();
        // SAFETY: string and structs live until the call returns.
        done(unsafe { stsp_get_image_prop_byname(self.handle, lsu.as_ptr(), &raw const def, &raw mut info) })?;
        Ok(image_info(&info))
    }

    /// All images that the filter lets through, with their STSP_II_* flags.
    pub fn list(&self, lsu: &str, filter: &HostFilter) -> HostResult<Vec<(Definition, u32)>> {
        let mut found = Vec::new();
        self.for_each_image(lsu, filter, |def, flags| found.push((def, flags)))?;
        Ok(found)
    }

    /// As [`HostServer::list`], one image at a time.
    pub fn for_each_image(
        &self,
        lsu: &str,
        filter: &HostFilter,
        mut each: impl FnMut(Definition, u32),
    ) -> HostResult<()> {
        let lsu = c_string(lsu.as_bytes())?;
        let filter = filter_to_c(filter);
        let mut list = STSP_NO_HANDLE;
        // SAFETY: string, struct and handle live until the call returns.
        done(unsafe { stsp_open_image_list(self.handle, lsu.as_ptr(), &raw const filter, &raw mut list) })?;
        let end = loop {
            let mut entry: stsp_image_entry_t = zeroed();
            // SAFETY: the struct lives until the call returns.
            match done(unsafe { stsp_list_image(list, &raw mut entry) }) {
                Ok(()) => each(Definition::new(raw(&entry.basename), entry.date), entry.flags),
                Err(end) => break end,
            }
        };

        // SAFETY: takes no pointer.
        done(unsafe { stsp_close_image_list(list) })?;
        if end.code == STSP_EOFLIST { Ok(()) } else { Err(end) }
    }
}

impl HostImage {
    pub fn write(&self, data: &[u8], offset: u64) -> HostResult<u64> {
        let mut written = 0;
        // SAFETY: the slice is readable for its length, and lives until the call returns.
        done(unsafe {
            stsp_write_image(
                self.handle,
                data.as_ptr().cast(),
                data.len() as u64,
                offset,
                &raw mut written,
            )
        })?;
        Ok(written)
    }

    pub fn read(&self, to: &mut [u8], offset: u64) -> HostResult<u64> {
        let mut read = 0;
        // SAFETY: the slice is writable for its length, ours alone, and lives until the call returns.
        done(unsafe {
            stsp_read_image(
                self.handle,
                to.as_mut_ptr().cast(),
                to.len() as u64,
                offset,
                &raw mut read,
            )
        })?;
        Ok(read)
    }

    pub fn write_meta(&self, data: &[u8], offset: u64) -> HostResult<u64> {
        let mut written = 0;
        // SAFETY: as `write`.
        done(unsafe {
            stsp_write_image_meta(
                self.handle,
                data.as_ptr().cast(),
                data.len() as u64,
                offset,
                &raw mut written,
            )
        })?;
        Ok(written)
    }

    pub fn read_meta(&self, to: &mut [u8], offset: u64) -> HostResult<u64> {
        let mut read = 0;
        // SAFETY: as `read`.
        done(unsafe {
            stsp_read_image_meta(
                self.handle,
                to.as_mut_ptr().cast(),
                to.len() as u64,
                offset,
                &raw mut read,
            )
        })?;
        Ok(read)
    }

    pub fn flush(&self) -> HostResult<()> {
        // SAFETY: takes no pointer.
        done(unsafe { stsp_flush(self.handle) })
    }

    pub fn info(&self) -> HostResult<ImageInfo> {
        let mut info: stsp_image_info_t = zeroed();
        // SAFETY: the struct lives until the call returns.
        done(unsafe { stsp_get_image_prop(self.handle, &raw mut info) })?;
        Ok(image_info(&info))
    }

    /// `flags` is STSP_CLOSEF_COMPLETE or 0.
    pub fn close(&self, flags: u32) -> HostResult<()> {
        // SAFETY: takes no pointer.
        done(unsafe { stsp_close_image(self.handle, flags) })
    }
}

/// A struct of zeros with its size set.
pub fn zeroed<T: Versioned>() -> T {
    // SAFETY: `Versioned` promises that any bytes are a `T`, so zeros are one.
    let mut value: T = unsafe { std::mem::zeroed() };
    value.set_struct_size(T::SIZE);
    value
}

fn done(code: i32) -> HostResult<()> {
    let message = MESSAGE.take();
    if code == STSP_OK {
        Ok(())
    } else {
        Err(HostError { code, message })
    }
}

unsafe extern "C" fn keep_message(_: *mut c_void, severity: i32, message: *const c_char) {
    // SAFETY: the plug-in passes a NUL-terminated string that lives until we return.
    let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    if severity >= STSP_LOG_ERROR {
        MESSAGE.set(message.into_owned());
    } else if severity >= STSP_LOG_WARN {
        let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < NOTES_MAX {
            warnings.push(message.into_owned());
        }
    } else {
        NOTES.with_borrow_mut(|notes| {
            if notes.len() == NOTES_MAX {
                notes.remove(0);
            }
            notes.push(message.into_owned());
        });
    }
}

fn filter_to_c(filter: &HostFilter) -> stsp_image_filter_t {
    stsp_image_filter_t {
        struct_size: <stsp_image_filter_t as Versioned>::SIZE,
        flags: filter.flags,
        date_from: filter.date_from,
        date_to: filter.date_to,
        client: to_field(&filter.client),
        basename_prefix: to_field(&filter.basename_prefix),
    }
}

fn c_string(bytes: &[u8]) -> HostResult<CString> {
    let refused = |_| HostError {
        code: STSP_EINVAL,
        message: "text with a NUL byte".into(),
    };
    CString::new(bytes).map_err(refused)
}

fn raw(field: &[c_char]) -> Vec<u8> {
    field
        .iter()
        .map(|byte| byte.to_ne_bytes()[0])
        .take_while(|byte| *byte != 0)
        .collect()
}

fn text(field: &[c_char]) -> String {
    String::from_utf8_lossy(&raw(field)).into_owned()
}

fn image_info(info: &stsp_image_info_t) -> ImageInfo {
    let basename = raw(&info.basename);
    let policy = raw(&info.policy);
    ImageInfo {
        def: Definition {
            basename,
            date: info.date,
            policy,
            image_type: info.image_type,
        },
        flags: info.flags,
        size: info.size,
        created: info.created,
        completed: info.completed,
        lsu: text(&info.lsu),
    }
}

fn lsu_info(prop: &stsp_lsu_prop_t) -> LsuInfo {
    LsuInfo {
        name: text(&prop.name),
        bucket: text(&prop.bucket),
        label: text(&prop.label),
        description: text(&prop.description),
        flags: prop.flags,
        capacity_bytes: prop.capacity_bytes,
        used_bytes: prop.used_bytes,
        images: prop.images,
    }
}
