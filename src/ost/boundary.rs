//! Crossing the C boundary: the guard, strings, structs, buffers, and the host's log callback.
//!
//! Nothing from the host is trusted that can be checked: NULL, alignment, sizes, termination. What cannot be checked is
//! what the header asks of the caller: that a non-NULL pointer points to as much memory as it says, for the call.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use super::abi::{STSP_LOG_ERROR, STSP_LOG_WARN, Versioned, stsp_log_fn};
use super::server::Child;
use super::session::Session;
use super::status::{STSP_OK, code_of};
use crate::clean;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::thread::panic_text;

/// The longest string that is read from a pointer.
pub const STRING_MAX: usize = 4096;

/// What the guard learns of a call while it runs: who to tell, and what it is about.
#[derive(Default)]
pub struct Call {
    pub session: Option<Arc<Session>>,
    /// "LSU nightly, image db:1" or the like.
    pub subject: String,
    /// What the call's log lines are under.
    pub span: Option<tracing::Span>,
    /// A failure is an answer here and is not logged.
    pub quiet: bool,
    /// Keeps the server open, and with it the host's log callback valid, until this call has told its outcome.
    pub server: Option<Child>,
}

/// The one shape of every exported function: runs `body`, logs a failure once, gives a code. No panic leaves it, and a
/// host that cancels the thread meanwhile gets its cancellation when it has the thread back.
pub fn guard(function: &str, body: impl FnOnce(&mut Call) -> Result<()>) -> i32 {
    // The last one to be dropped.
    let _uncancelled = Uncancelled::new();
    let mut call = Call::default();
    let depth = GUARDED.get();
    GUARDED.set(depth + 1);
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut call)));
    GUARDED.set(depth);
    let result = outcome.unwrap_or_else(|payload| {
        let error = Error::new(Kind::Internal, panic_text(&*payload));
        // A payload whose own drop panics must not undo the catch.
        std::mem::forget(payload);
        Err(error)
    });
    // The log callback is foreign code, but C code cannot unwind; our own side of it can.
    let told = catch_unwind(AssertUnwindSafe(|| tell(function, &call, result.as_ref().err())));
    if let Err(payload) = told {
        std::mem::forget(payload);
    }
    match result {
        Ok(()) => STSP_OK,
        Err(error) => code_of(error.kind()),
    }
}

/// While it lives, `pthread_cancel` of this thread waits: a cancellation unwinds the stack, and Rust aborts the process
/// where a foreign unwinding comes through its frames.
struct Uncancelled {
    before: Option<c_int>,
}

impl Uncancelled {
    fn new() -> Self {
        let mut before = 0;
        // SAFETY: the C library writes the state before into an integer of ours; it is no cancellation point.
        let done = unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
        Self {
            before: (done == 0).then_some(before),
        }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        let Some(before) = self.before else { return };
        // SAFETY: the state that this thread had; a pending cancellation waits for the host's next cancellation point.
        unsafe { pthread_setcancelstate(before, std::ptr::null_mut()) };
    }
}

/// As in pthread.h of the GNU C library and of musl.
const PTHREAD_CANCEL_DISABLE: c_int = 1;

// SAFETY: declared in POSIX as it stands here; glibc takes NULL for a state that nobody asks for.
unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

thread_local! {
    /// Calls of ours on this thread.
    static GUARDED: Cell<u32> = const { Cell::new(0) };
}

/// Panics of ours go to our log and not to the host's stderr; all others go where they went before.
pub fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = std::thread::current()
                .name()
                .is_some_and(|name| name.starts_with("vastost-"));
            if ours || GUARDED.get() > 0 {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                tracing::error!("{} at {place}", panic_text(info.payload()));
            } else {
                before(info);
            }
        }));
    });
}

fn tell(function: &str, call: &Call, error: Option<&Error>) {
    let _entered = call.span.as_ref().map(tracing::Span::enter);
    // The end of a list is an answer too.
    if let Some(error) = error.filter(|error| error.kind() != Kind::NoMoreEntries && !call.quiet) {
        let error_text = error.to_string();
        let subject = without_image(&call.subject, &error_text);
        let subject = if subject.is_empty() {
            String::new()
        } else {
            format!(" {subject}:")
        };
        tracing::error!("{function}:{subject} {error_text}");
        if let Some(session) = &call.session {
            session.add(
                STSP_LOG_ERROR,
                format!(
                    "vastost {function}:{subject} {error_text} (status {})",
                    code_of(error.kind())
                ),
            );
        }
    }
    if let Some(session) = &call.session {
        for notice in log::take_notices() {
            session.add(STSP_LOG_WARN, format!("vastost: {notice}"));
        }
        session.deliver();
    }
}

/// The subject of a call, without the image when the error names it itself: nobody wants to read it twice.
fn without_image<'a>(subject: &'a str, error: &str) -> &'a str {
    match subject.split_once(", image ") {
        Some((lsu, image)) if error.contains(image) => lsu,
        _ => subject,
    }
}

/// The host's log function. The context is the host's own and only ever handed back to it.
#[derive(Clone)]
pub struct LogCallback {
    log: stsp_log_fn,
    context: usize,
}

impl LogCallback {
    pub fn new(log: stsp_log_fn, context: *mut c_void) -> Self {
        Self {
            log,
            context: context.expose_provenance(),
        }
    }

    /// Calls the host on this thread, which must be inside a call of the host.
    pub fn emit(&self, severity: i32, message: &str) {
        let Some(log) = self.log else { return };
        let text = CString::new(&*clean::line(message)).unwrap_or_default();
        let context = std::ptr::with_exposed_provenance_mut(self.context);
        // SAFETY: the host promised in stsp_open_server that the function and its context stay valid until the server
        // is closed, which it cannot be while a call holds a `Child` of it; the text lives until the call returns.
        unsafe { log(context, severity, text.as_ptr()) }
    }
}

fn null(what: &str) -> Error {
    Error::new(Kind::InvalidArgument, format!("{what} is NULL"))
}

/// A pointer that is not NULL and fit for a `T`.
fn checked<T>(pointer: *const T, what: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(null(what));
    }
    if !pointer.is_aligned() {
        return Err(Error::new(
            Kind::InvalidArgument,
            format!("{what} is not aligned to {} bytes", align_of::<T>()),
        ));
    }
    Ok(())
}

/// A struct of the caller, if its `struct_size` says that it is as long as ours.
///
/// # Safety
/// `pointer` is NULL, or points to a struct that begins with its size and stays unchanged during `'a`.
pub unsafe fn input<'a, T: Versioned>(pointer: *const T, what: &str) -> Result<&'a T> {
    checked(pointer, what)?;
    // SAFETY: not NULL and aligned; every struct begins with this u32, whatever its length.
    let size = unsafe { pointer.cast::<u32>().read() };
    if size < T::SIZE {
        let text = format!("{what}.struct_size is {size}; sizeof gives {}", T::SIZE);
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    // SAFETY: the caller's own size says that all of T is there; the fields are plain data of any value.
    Ok(unsafe { &*pointer })
}

/// Like [`input`], for arguments that may be NULL.
///
/// # Safety
/// As [`input`].
pub unsafe fn optional<'a, T: Versioned>(pointer: *const T, what: &str) -> Result<Option<&'a T>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the same promise, passed on.
    unsafe { input(pointer, what) }.map(Some)
}

/// A place for one result; written only by [`Out::set`], so a failed call leaves it alone.
pub struct Out<T>(*mut T);

/// Checks an output argument before any work is done.
///
/// # Safety
/// `pointer` is NULL, or points to a `T` that the caller lets us write during the call.
pub unsafe fn output<T>(pointer: *mut T, what: &str) -> Result<Out<T>> {
    checked(pointer, what).map(|()| Out(pointer))
}

/// Like [`output`], for a struct that carries its size.
///
/// # Safety
/// As [`input`], and writable.
pub unsafe fn output_struct<T: Versioned>(pointer: *mut T, what: &str) -> Result<Out<T>> {
    // SAFETY: the same promise, passed on; the reference ends here.
    unsafe { input(pointer.cast_const(), what) }.map(|_| Out(pointer))
}

impl<T> Out<T> {
    pub fn set(self, value: T) {
        // SAFETY: made by `output`, which checked the pointer, in this same call.
        unsafe { self.0.write(value) }
    }
}

impl<T: Versioned> Out<T> {
    /// Writes the struct and keeps the caller's own `struct_size`.
    pub fn set_struct(self, mut value: T) {
        // SAFETY: made by `output_struct`, which checked the pointer; the struct begins with its size.
        value.set_struct_size(unsafe { self.0.cast::<u32>().read() });
        self.set(value);
    }
}

/// A string of at most [`STRING_MAX`] - 1 bytes.
///
/// # Safety
/// `pointer` is NULL, or points to bytes of which the first NUL or the first [`STRING_MAX`] are readable during `'a`.
pub unsafe fn string<'a>(pointer: *const c_char, what: &str) -> Result<&'a [u8]> {
    if pointer.is_null() {
        return Err(null(what));
    }
    let bytes = pointer.cast::<u8>();
    for len in 0..STRING_MAX {
        // SAFETY: every byte before this one was no NUL, so this one is still readable.
        if unsafe { bytes.add(len).read() } == 0 {
            // SAFETY: these bytes have just been read.
            return Ok(unsafe { std::slice::from_raw_parts(bytes, len) });
        }
    }
    Err(Error::new(
        Kind::InvalidArgument,
        format!("{what} has no end within {STRING_MAX} bytes"),
    ))
}

/// Like [`string`], for arguments that may be NULL.
///
/// # Safety
/// As [`string`].
pub unsafe fn optional_string<'a>(pointer: *const c_char, what: &str) -> Result<Option<&'a [u8]>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the same promise, passed on.
    unsafe { string(pointer, what) }.map(Some)
}

/// Bytes to read from the caller.
///
/// # Safety
/// `pointer` is NULL, or points to `len` bytes that stay unchanged during `'a`.
pub unsafe fn bytes<'a>(pointer: *const c_void, len: u64, what: &str) -> Result<&'a [u8]> {
    let len = checked_len(pointer, len, what)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: not NULL, and the caller gives `len` readable bytes; `checked_len` keeps it below isize::MAX.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), len) })
}

/// Bytes to fill for the caller.
///
/// # Safety
/// `pointer` is NULL, or points to `len` writable bytes that nobody else uses during `'a`.
pub unsafe fn bytes_mut<'a>(pointer: *mut c_void, len: u64, what: &str) -> Result<&'a mut [u8]> {
    let len = checked_len(pointer, len, what)?;
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: not NULL, and the caller gives `len` writable bytes; bytes of any value are valid u8.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast::<u8>(), len) })
}

fn checked_len(pointer: *const c_void, len: u64, what: &str) -> Result<usize> {
    if pointer.is_null() && len > 0 {
        return Err(null(what));
    }
    let fits = usize::try_from(len).ok().filter(|len| isize::try_from(*len).is_ok());
    fits.ok_or_else(|| {
        Error::new(
            Kind::InvalidArgument,
            format!("{what}: {len} bytes cannot be addressed"),
        )
    })
}

/// The text of a fixed-size field, up to its NUL.
pub fn field<'a>(field: &'a [c_char], what: &str) -> Result<&'a [u8]> {
    // SAFETY: c_char and u8 have the same layout, and any byte is valid.
    let bytes = unsafe { std::slice::from_raw_parts(field.as_ptr().cast::<u8>(), field.len()) };
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.ok_or_else(|| Error::new(Kind::InvalidArgument, format!("{what} has no terminating NUL")))?;
    Ok(bytes.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::abi::stsp_image_def_t;
    use super::super::status::{STSP_EINVAL, STSP_ESOFTWARE};
    use super::*;

    #[test]
    fn a_panic_becomes_a_code_and_its_text_reaches_the_log() {
        static SEEN: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());
        unsafe extern "C" fn log(_: *mut c_void, _: i32, message: *const c_char) {
            // SAFETY: the guard passes a valid string.
            let text = unsafe { std::ffi::CStr::from_ptr(message) };
            SEEN.lock().unwrap().push_str(&text.to_string_lossy());
        }
        let session = Arc::new(Session::new(LogCallback::new(Some(log), std::ptr::null_mut()), 0));
        let code = guard("stsp_test", |call| {
            call.session = Some(session);
            call.subject = "LSU nightly".into();
            panic!("wall reached")
        });
        assert_eq!(code, STSP_ESOFTWARE);
        assert!(
            SEEN.lock()
                .unwrap()
                .contains("stsp_test: LSU nightly: internal fault: wall reached")
        );
    }

    #[test]
    fn structs_that_are_null_short_or_misaligned_are_refused() {
        let mut room = [0u64; 80];
        room[0] = 8;
        let pointer = room.as_ptr().cast::<stsp_image_def_t>();
        let refused = |pointer: *const stsp_image_def_t| {
            // SAFETY: NULL, or inside `room`, which is longer than the struct.
            guard("stsp_test", |_| unsafe { input(pointer, "def") }.map(drop))
        };
        assert_eq!(refused(std::ptr::null()), STSP_EINVAL);
        assert_eq!(refused(pointer), STSP_EINVAL);
        assert_eq!(refused(pointer.wrapping_byte_add(4)), STSP_EINVAL);
        room[0] = u64::from(stsp_image_def_t::SIZE);
        assert_eq!(refused(room.as_ptr().cast()), STSP_OK);
    }

    #[test]
    fn strings_without_end_are_refused_and_fields_are_cut() {
        let long = vec![c_char::from_ne_bytes([b'x']); STRING_MAX];
        // SAFETY: STRING_MAX bytes are readable.
        assert!(unsafe { string(long.as_ptr(), "name") }.is_err());
        assert!(field(&long[..16], "name").is_err());
        assert_eq!(
            field(&super::super::abi::to_field::<4>(b"abcdef"), "name").unwrap(),
            b"abc"
        );
    }
}
