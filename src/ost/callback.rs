//! The host's log function, called on the host's own threads.

#![allow(unsafe_code)]

use std::ffi::{CString, c_void};

use super::abi::stsp_log_fn;
use crate::clean;

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
