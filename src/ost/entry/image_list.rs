//! Lists of images.

#![allow(unsafe_code)]

use std::ffi::c_char;
use std::sync::{Arc, Mutex};

use super::find::{OnLsu, find_lsu, has_memory, lock};
use crate::ost::abi::{stsp_handle_t, stsp_image_entry_t, stsp_image_filter_t};
use crate::ost::guard::guard;
use crate::ost::handle::Object;
use crate::ost::image_list::ImageList;
use crate::ost::process;
use crate::ost::server::Child;

/// Opens a list of the images of an LSU; gives a handle in `list`. `filter` may be NULL: all images. Images that come
/// or go while the list is read may be in it or not; all others are, once.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_open_image_list(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    filter: *const stsp_image_filter_t,
    list: *mut stsp_handle_t,
) -> i32 {
    guard("stsp_open_image_list", |call, caller| {
        // SAFETY: `list` is a variable of the host for the handle, which the host reads after the call.
        let out = unsafe { caller.output(list, "list") }?;
        // SAFETY: `filter` is NULL or a struct that the host filled before the call, as long as it says; copied here.
        let filter = unsafe { caller.optional(filter, "filter") }?;
        // SAFETY: `lsu_name` is a string of the host, which leaves it as it is while it waits for this call.
        let lsu_name = unsafe { caller.string(lsu_name, "lsu_name") }?;

        let OnLsu { process, server, lsu } = find_lsu(call, server, lsu_name)?;
        let opened = ImageList::open(Child::of(&server), &lsu, filter.as_ref())?;
        out.set(process.handles.open(Object::ImageList(Arc::new(Mutex::new(opened))))?);
        Ok(())
    })
}

/// Fills `entry` with the next image: complete ones first, then pending ones.
/// Returns STSP_OK; STSP_EOFLIST after the last one; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU when the bucket does not
/// exist; store errors.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_list_image(list: stsp_handle_t, entry: *mut stsp_image_entry_t) -> i32 {
    guard("stsp_list_image", |call, caller| {
        // SAFETY: `entry` is the host's struct to be filled, as long as it says; the host reads it after the call.
        let out = unsafe { caller.output_struct(entry, "entry") }?;

        let process = process::current()?;
        let list = process.handles.image_list(list)?;
        let mut list = lock(&list);
        call.session = Some(Arc::clone(&list.server().session));
        call.server = Some(Child::of(list.server()));
        call.subject = list.subject().to_owned();

        has_memory(&process)?;
        out.set(list.next_entry()?);
        Ok(())
    })
}

/// Closes an image list. Returns STSP_OK; STSP_EHANDLE.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_close_image_list(list: stsp_handle_t) -> i32 {
    guard("stsp_close_image_list", |_, _| {
        let process = process::current()?;
        process.handles.image_list(list)?;
        process.handles.close(list, |_| Ok(()))
    })
}
