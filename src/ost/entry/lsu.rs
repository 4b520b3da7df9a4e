//! LSUs: their list, their properties, their label.

#![allow(unsafe_code)]

use std::ffi::c_char;
use std::sync::{Arc, Mutex};

use super::find::{OnServer, find_lsu, find_server, has_memory, lock};
use crate::ost::abi::{stsp_handle_t, stsp_lsu_prop_t};
use crate::ost::guard::guard;
use crate::ost::handle::Object;
use crate::ost::lsu;
use crate::ost::lsu::LsuList;
use crate::ost::process;
use crate::ost::server::Child;

/// Opens a list of the server's LSUs; gives a handle in `list`. With discovery configured it asks for the buckets.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; store errors (STSP_ENETWORK, STSP_EAUTH, STSP_EACCESS, STSP_ETIMEOUT,
/// STSP_EUNAVAIL).
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_open_lsu_list(server: stsp_handle_t, list: *mut stsp_handle_t) -> i32 {
    guard("stsp_open_lsu_list", |call, caller| {
        // SAFETY: `list` is a variable of the host for the handle, which the host reads after the call.
        let out = unsafe { caller.output(list, "list") }?;
        let OnServer { process, server } = find_server(call, server)?;
        let opened = LsuList::open(&process.engine, Child::of(&server))?;
        out.set(process.handles.open(Object::LsuList(Arc::new(Mutex::new(opened))))?);
        Ok(())
    })
}

/// Fills `prop` with the next LSU. One whose bucket is missing or refused comes without STSP_LSUF_ACTIVE.
/// Returns STSP_OK; STSP_EOFLIST after the last one; STSP_EINVAL; STSP_EHANDLE; store errors, after which the same LSU
/// is tried again.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_list_lsu(list: stsp_handle_t, prop: *mut stsp_lsu_prop_t) -> i32 {
    guard("stsp_list_lsu", |call, caller| {
        // SAFETY: `prop` is the host's struct to be filled, as long as it says; the host reads it after the call.
        let out = unsafe { caller.output_struct(prop, "prop") }?;

        let process = process::current()?;
        let list = process.handles.lsu_list(list)?;
        let mut list = lock(&list);
        call.session = Some(Arc::clone(&list.server().session));
        call.server = Some(Child::of(list.server()));

        has_memory(&process)?;
        out.set(list.next_lsu(&process.engine)?);
        Ok(())
    })
}

/// Closes an LSU list. Returns STSP_OK; STSP_EHANDLE.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_close_lsu_list(list: stsp_handle_t) -> i32 {
    guard("stsp_close_lsu_list", |_, _| {
        let process = process::current()?;
        process.handles.lsu_list(list)?;
        process.handles.close(list, |_| Ok(()))
    })
}

/// Fills `prop` with the properties of one LSU; one request to the store.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU when it is not configured or its bucket does not exist; store
/// errors.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_lsu_prop_byname(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    prop: *mut stsp_lsu_prop_t,
) -> i32 {
    guard("stsp_get_lsu_prop_byname", |call, caller| {
        // SAFETY: `prop` is the host's struct to be filled, as long as it says; the host reads it after the call.
        let out = unsafe { caller.output_struct(prop, "prop") }?;
        // SAFETY: `lsu_name` is a string of the host, which leaves it as it is while it waits for this call.
        let lsu_name = unsafe { caller.string(lsu_name, "lsu_name") }?;

        let on = find_lsu(call, server, lsu_name)?;
        out.set(lsu::prop(&on.lsu)?);
        Ok(())
    })
}

/// Sets the label of an LSU for all hosts: UTF-8, at most 255 bytes, empty to remove it.
/// Returns as stsp_get_lsu_prop_byname.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_label_lsu(server: stsp_handle_t, lsu_name: *const c_char, label: *const c_char) -> i32 {
    guard("stsp_label_lsu", |call, caller| {
        // SAFETY: `label` is a string of the host; `set_label` copies it before the call returns.
        let label = unsafe { caller.string(label, "label") }?;
        // SAFETY: `lsu_name` is a string of the host, which leaves it as it is while it waits for this call.
        let lsu_name = unsafe { caller.string(lsu_name, "lsu_name") }?;

        let on = find_lsu(call, server, lsu_name)?;
        lsu::set_label(&on.lsu, label)
    })
}
