//! The guard around every exported function: no panic and no cancellation passes it, a failure is logged once.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use super::abi::{STSP_LOG_ERROR, STSP_LOG_WARN};
use super::server::Child;
use super::session::Session;
use super::status::{STSP_OK, code_of};
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::thread::panic_text;

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
    /// What must outlive the call's last message to the host.
    pub held: Option<Arc<dyn Any + Send + Sync>>,
}

/// The host, which waits in one call of ours. What it lends is borrowed from this and lives no longer: only [`guard`]
/// makes one, and a body that takes it for any `'c` can keep nothing of `'c`.
#[derive(Clone, Copy)]
pub struct Caller<'c> {
    waits: PhantomData<&'c ()>,
}

/// The one shape of every exported function: runs `body`, logs a failure once, gives a code. No panic leaves it, and a
/// host that cancels the thread meanwhile gets its cancellation when it has the thread back.
pub fn guard(function: &str, body: impl for<'c> FnOnce(&mut Call, Caller<'c>) -> Result<()>) -> i32 {
    // The last one to be dropped.
    let _uncancelled = Uncancelled::new();
    if !is_alive() && function != TERMINATE {
        // Neither the log nor the runtime works here, and what they would drop on the way is an image.
        return code_of(Kind::Aborted);
    }
    let mut call = Call::default();

    let depth = GUARDED.get();
    GUARDED.set(depth + 1);
    let caller = Caller { waits: PhantomData };
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut call, caller)));
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

/// The one call that needs no thread-local storage.
const TERMINATE: &str = "stsp_terminate";

/// Storage of a thread that its end takes away: while it lives, so does all that was stored later.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {}
}

thread_local! {
    static ENDS: Ends = const { Ends };
}

/// False where the thread's storage is gone: in what a host runs behind it, handlers of `atexit` and destructors of
/// `pthread_key_create` and of C++.
fn is_alive() -> bool {
    ENDS.try_with(|_| ()).is_ok()
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
            let status = code_of(error.kind());
            let line = format!("vastost {function}:{subject} {error_text} (status {status})");
            // Not by the queue, which another thread's call may be about to deliver.
            session.emit(STSP_LOG_ERROR, &line);
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

#[cfg(test)]
mod tests {
    use std::ffi::{c_char, c_void};

    use super::super::callback::LogCallback;
    use super::super::status::STSP_ESOFTWARE;
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
        let code = guard("stsp_test", |call, _| {
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
}
