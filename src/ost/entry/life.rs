//! The life of the plug-in in a process: begin, claim server names, end.

#![allow(unsafe_code)]

use std::ffi::c_char;

use crate::error::{Error, Kind};
use crate::ost::abi::{STSP_ABI_VERSION, STSP_PREFIX, stsp_plugin_info_t, to_field};
use crate::ost::guard::{guard, install_panic_hook};
use crate::ost::process;
use crate::ost::server::claimed;

/// Prepares the plug-in. Starts no thread and opens no socket. May be called again; that changes nothing.
/// Takes the STSP_ABI_VERSION that the host was compiled with. Fills `info` (may not be NULL).
/// Returns STSP_OK; STSP_EINVAL for NULL, a short struct_size or another version.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_init(abi_version: u32, info: *mut stsp_plugin_info_t) -> i32 {
    guard("stsp_init", |_, caller| {
        // SAFETY: `info` is the host's struct to be filled, as long as it says; the host reads it after the call.
        let info = unsafe { caller.output_struct(info, "info") }?;
        if abi_version != STSP_ABI_VERSION {
            let what =
                format!("the host was compiled with version {abi_version} of stsp.h, this is {STSP_ABI_VERSION}");
            return Err(Error::new(Kind::InvalidArgument, what));
        }

        install_panic_hook();
        process::init();

        info.set(stsp_plugin_info_t {
            struct_size: 0,
            abi_version: STSP_ABI_VERSION,
            prefix: to_field(STSP_PREFIX.as_bytes()),
            version: to_field(env!("CARGO_PKG_VERSION").as_bytes()),
            vendor: to_field(b"vastost"),
        });
        Ok(())
    })
}

/// Says whether a storage server is this plug-in's: a test of the prefix "VastData:" and nothing else.
/// Takes a NUL-terminated name; may be called before stsp_init.
/// Returns STSP_OK when it is; STSP_ESERVER when not; STSP_EINVAL for NULL or a name of 4,096 bytes and more.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_claim(server_name: *const c_char) -> i32 {
    guard("stsp_claim", |call, caller| {
        // NetBackup asks every plug-in about every server: a no is an everyday answer, not worth a line in a log.
        call.quiet = true;
        // SAFETY: `server_name` is a string of the host, which waits for the answer; it is compared and not kept.
        let name = unsafe { caller.string(server_name, "server_name") }?;
        claimed(name)
            .map(drop)
            .ok_or_else(|| Error::new(Kind::ServerNotFound, "the name has another prefix"))
    })
}

/// Closes every handle without completing anything, then stops and joins all threads of the plug-in. Images that were
/// open for write stay pending. stsp_init may follow. Calls under way in other threads end with STSP_EABORT. Takes up to
/// 10 s, and leaves a thread behind, where a name server does not answer; up to 30 s where a call of the host's own does not end.
/// Returns STSP_OK, also when there is nothing to do.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_terminate() -> i32 {
    guard("stsp_terminate", |_, _| {
        process::terminate();
        Ok(())
    })
}
