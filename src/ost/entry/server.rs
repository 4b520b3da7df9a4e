//! Servers: open, close, properties.

#![allow(unsafe_code)]

use std::ffi::{OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::find::{find_server, has_memory};
use crate::config::credentials::KeyPair;
use crate::error::{Error, Kind, Result};
use crate::ost::abi::{stsp_cred_t, stsp_handle_t, stsp_server_prop_t, stsp_session_t};
use crate::ost::callback::LogCallback;
use crate::ost::guard::{Call, Caller, guard};
use crate::ost::handle::Object;
use crate::ost::process;
use crate::ost::process::Process;
use crate::ost::server::Server;
use crate::ost::session::Session;

/// Opens a storage server: reads the configuration, sends nothing yet.
/// Takes the session (or NULL: no messages, configuration from the usual places), the name "VastData:<name>", the
/// credentials (or NULL where the configuration names another source) and the network interface that the host prefers
/// (or NULL; not used). Gives a handle in `server`.
/// Returns STSP_OK; STSP_EINVAL; STSP_EINIT; STSP_ESERVER for a foreign or unconfigured name; STSP_ECONFIG;
/// STSP_EAUTH when credentials are needed and missing.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_open_server(
    session: *const stsp_session_t,
    server_name: *const c_char,
    cred: *const stsp_cred_t,
    interface: *const c_char,
    server: *mut stsp_handle_t,
) -> i32 {
    guard("stsp_open_server", |call, caller| {
        // SAFETY: `server` is a variable of the host for the handle, which the host reads after the call.
        let out = unsafe { caller.output(server, "server") }?;
        // SAFETY: `interface` is NULL or a string of the host, which is looked at here and not kept.
        unsafe { caller.optional_string(interface, "interface") }?;
        // SAFETY: `session`, `server_name` and `cred` are this call's own arguments, passed on within it.
        let NewServer { process, server } = unsafe { new_server(call, caller, session, server_name, cred) }?;
        out.set(process.handles.open(Object::Server(Arc::new(server)))?);
        Ok(())
    })
}

/// Closes a server. Returns STSP_OK; STSP_EHANDLE; STSP_EBUSY while images or lists of it are open (it stays open).
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_close_server(server: stsp_handle_t) -> i32 {
    guard("stsp_close_server", |call, _| {
        let process = process::current()?;
        let opened = process.handles.server(server)?;
        call.session = Some(Arc::clone(&opened.session));
        call.subject = format!("server {}", opened.config().name);
        process.handles.close(server, |_| opened.may_close())
    })
}

/// Fills `prop` with the properties of an open server. Sends nothing.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_server_prop(server: stsp_handle_t, prop: *mut stsp_server_prop_t) -> i32 {
    guard("stsp_get_server_prop", |call, caller| {
        // SAFETY: `prop` is the host's struct to be filled, as long as it says; the host reads it after the call.
        let out = unsafe { caller.output_struct(prop, "prop") }?;
        out.set(find_server(call, server)?.server.prop());
        Ok(())
    })
}

/// Like stsp_get_server_prop for a server that is not open; arguments and codes as of stsp_open_server. Sends nothing.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_server_prop_byname(
    session: *const stsp_session_t,
    server_name: *const c_char,
    cred: *const stsp_cred_t,
    prop: *mut stsp_server_prop_t,
) -> i32 {
    guard("stsp_get_server_prop_byname", |call, caller| {
        // SAFETY: `prop` is the host's struct to be filled, as long as it says; the host reads it after the call.
        let out = unsafe { caller.output_struct(prop, "prop") }?;
        // SAFETY: `session`, `server_name` and `cred` are this call's own arguments, passed on within it.
        let new = unsafe { new_server(call, caller, session, server_name, cred) }?;
        out.set(new.server.prop());
        Ok(())
    })
}

/// A server that has no handle yet.
struct NewServer {
    process: Arc<Process>,
    server: Server,
}

/// # Safety
/// The pointers are arguments of this very call of the host, as [`super`] has it for all of them.
unsafe fn new_server(
    call: &mut Call,
    caller: Caller<'_>,
    session: *const stsp_session_t,
    server_name: *const c_char,
    cred: *const stsp_cred_t,
) -> Result<NewServer> {
    let process = process::current()?;
    // No server counts this call yet: terminate waits for it all the same.
    call.held = Some(process.clone());
    // SAFETY: `session` is NULL or a struct that the host filled before the call, as long as it says; copied here.
    let session = unsafe { caller.optional(session, "session") }?;
    // SAFETY: `server_name` is a string of the host, which leaves it as it is while it waits for this call.
    let name = unsafe { caller.string(server_name, "server_name") }?;

    // What fails before there is a server is told to the same host.
    call.subject = format!("server {}", String::from_utf8_lossy(name));
    call.session = Some(Arc::new(new_session(session.as_ref())));
    has_memory(&process)?;

    let config_file = match &session {
        // SAFETY: NULL or a string, which the host must leave as it is for as long as the struct that has its address.
        Some(session) => unsafe { caller.optional_string(session.config_file, "session.config_file") }?,
        None => None,
    };
    // SAFETY: `cred` is NULL or a struct that the host filled before the call, as long as it says; it is copied here.
    let keys = match unsafe { caller.optional(cred, "cred") }? {
        // SAFETY: `cred` has just been copied from the host, which leaves its strings as they are until this call ends.
        Some(cred) => Some(unsafe { key_pair(caller, &cred) }?),
        None => None,
    };

    let config_file = config_file.map(|path| Path::new(OsStr::from_bytes(path)));
    let server = Server::open(name, config_file, keys, new_session(session.as_ref()))?;
    Ok(NewServer { process, server })
}

fn new_session(given: Option<&stsp_session_t>) -> Session {
    match given {
        Some(given) => Session::new(LogCallback::new(given.log, given.log_context), given.severity_min),
        None => Session::new(LogCallback::new(None, std::ptr::null_mut()), 0),
    }
}

/// # Safety
/// `cred` is what the host passed in this very call, with strings that it leaves as they are until the call ends.
unsafe fn key_pair(caller: Caller<'_>, cred: &stsp_cred_t) -> Result<KeyPair> {
    // SAFETY: `user` is a string of the host, named in its `stsp_cred_t`; `from_utf8` works on a copy.
    let user = unsafe { caller.string(cred.user, "cred.user") }?;
    // SAFETY: `password` is a string of the host, named in its `stsp_cred_t`; `from_utf8` works on a copy.
    let password = unsafe { caller.string(cred.password, "cred.password") }?;

    let text = |bytes: &[u8], what: &str| {
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::new(Kind::InvalidArgument, format!("{what} is not UTF-8")))
    };
    let user = text(user, "cred.user")?;
    Ok(KeyPair::from_password(user, &text(password, "cred.password")?))
}
