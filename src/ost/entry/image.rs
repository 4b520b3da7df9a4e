//! Images: create, open, write, read, close, delete; their properties and the host's own metadata.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::find::{OnImage, find_image, find_open_image, has_memory, open_image};
use crate::error::{Error, Kind};
use crate::ost::abi::{stsp_handle_t, stsp_image_def_t, stsp_image_info_t};
use crate::ost::guard::guard;
use crate::ost::handle::Object;
use crate::ost::image::{ImageHandle, check_close_flags, delete};
use crate::ost::image_info::info_by_name;

/// Creates an image and opens it for write; gives a handle in `image`. The image is pending until a complete close.
/// `pending_flag` is the host's hint that it will create another image soon; any value is taken.
/// Returns STSP_OK; STSP_EINVAL (also for a name that is too long); STSP_EHANDLE; STSP_ELSU; STSP_EEXIST when the image
/// exists, complete or pending; STSP_EBUSY when it is open in this process; STSP_ENOMEM when the pool budget is
/// promised to other images; store errors.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_create_image(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    def: *const stsp_image_def_t,
    pending_flag: u32,
    image: *mut stsp_handle_t,
) -> i32 {
    guard("stsp_create_image", |call, caller| {
        let _ = pending_flag;

        // SAFETY: `image` is a variable of the host for the handle, which the host reads after the call.
        let out = unsafe { caller.output(image, "image") }?;
        // SAFETY: `def` is a struct that the host filled before the call, as long as it says; it is copied here.
        let def = unsafe { caller.input(def, "def") }?;
        // SAFETY: `lsu_name` is a string of the host, which leaves it as it is while it waits for this call.
        let lsu_name = unsafe { caller.string(lsu_name, "lsu_name") }?;

        let OnImage { on, def } = find_image(call, server, lsu_name, &def)?;
        let created = ImageHandle::create(&on.process.open_images, &on.server, &on.lsu, def)?;
        out.set(on.process.handles.open(Object::Image(Arc::new(created)))?);
        Ok(())
    })
}

/// Opens an image; gives a handle in `image`. `mode` is STSP_OPEN_READ, or STSP_OPEN_WRITE to go on writing an image
/// that was closed incomplete, on this or another host.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU; STSP_ENOENT; STSP_EBUSY when it is being written or, for
/// STSP_OPEN_WRITE, open here at all; STSP_EACCESS for STSP_OPEN_WRITE of a complete image; STSP_ECORRUPT for a damaged
/// record; STSP_ENOMEM; store errors.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_open_image(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    def: *const stsp_image_def_t,
    mode: u32,
    image: *mut stsp_handle_t,
) -> i32 {
    guard("stsp_open_image", |call, caller| {
        // SAFETY: `image` is a variable of the host for the handle, which the host reads after the call.
        let out = unsafe { caller.output(image, "image") }?;
        // SAFETY: `def` is a struct that the host filled before the call, as long as it says; it is copied here.
        let def = unsafe { caller.input(def, "def") }?;
        // SAFETY: `lsu_name` is a string of the host, which leaves it as it is while it waits for this call.
        let lsu_name = unsafe { caller.string(lsu_name, "lsu_name") }?;

        let OnImage { on, def } = find_image(call, server, lsu_name, &def)?;
        let opened = ImageHandle::open(&on.process.open_images, &on.server, &on.lsu, &def, mode)?;
        out.set(on.process.handles.open(Object::Image(Arc::new(opened)))?);
        Ok(())
    })
}

/// Writes `len` bytes at `offset`: behind the last byte, or over bytes of the part that is still open. May return
/// before the bytes are on the store: an error that shows later is returned by the next write or by the close, once.
/// Waits while the pool has no buffer free. Gives `len` in `written` when it succeeds. Fastest with 256 KiB and more a
/// call.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_EACCESS when open for reading; STSP_EOFFSET for another offset (the
/// image stays usable); STSP_ENOSPC; STSP_ETIMEOUT; store errors of earlier writes.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_write_image(
    image: stsp_handle_t,
    buffer: *const c_void,
    len: u64,
    offset: u64,
    written: *mut u64,
) -> i32 {
    guard("stsp_write_image", |call, caller| {
        // SAFETY: `written` is a variable of the host for a count, which the host reads after the call.
        let out = unsafe { caller.output(written, "written") }?;
        // SAFETY: the host has `len` bytes for the image at `buffer`; what outlasts the call is a copy in the pool.
        let data = unsafe { caller.bytes(buffer, len, "buffer") }?;
        out.set(open_image(call, image)?.write(data, offset)?);
        Ok(())
    })
}

/// Reads up to `len` bytes from `offset` on; gives how many in `read`, fewer only at the end of the image, 0 behind it.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_EACCESS when open for writing; STSP_ECORRUPT when bytes are not
/// what was written; STSP_ENOENT when the data are gone; STSP_ENOMEM when the pool budget is reserved for other images,
/// at the first read; store errors. After an error `buffer` may hold anything.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_read_image(
    image: stsp_handle_t,
    buffer: *mut c_void,
    len: u64,
    offset: u64,
    read: *mut u64,
) -> i32 {
    guard("stsp_read_image", |call, caller| {
        // SAFETY: `read` is a variable of the host for a count, which the host reads after the call.
        let out = unsafe { caller.output(read, "read") }?;
        // SAFETY: the host gives the `len` bytes at `buffer` to be filled and leaves them alone until the call returns.
        let data = unsafe { caller.bytes_mut(buffer, len, "buffer") }?;
        out.set(open_image(call, image)?.read(data, offset)?);
        Ok(())
    })
}

/// Waits until all full parts of an image open for write are on the store (the open part is not sent); saves changed
/// metadata of an image open for reading. Returns STSP_OK; STSP_EHANDLE; store errors.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_flush(image: stsp_handle_t) -> i32 {
    guard("stsp_flush", |call, _| open_image(call, image)?.flush())
}

/// Closes an image; the handle is gone whatever is returned, but for STSP_EINVAL. For an image open for write, `flags`
/// is STSP_CLOSEF_COMPLETE (STSP_OK then means that data and sidecar are confirmed on the store, and the image can
/// never be written again) or 0 (it stays pending, readable, and can be opened for write again).
/// Returns STSP_OK; STSP_EINVAL for unknown flags; STSP_EHANDLE; STSP_EEXIST when another writer completed it
/// meanwhile; STSP_ENOMEM (the image stays pending); store errors, also of earlier writes.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_close_image(image: stsp_handle_t, flags: u32) -> i32 {
    guard("stsp_close_image", |call, _| {
        check_close_flags(flags)?;
        let (process, opened) = find_open_image(call, image)?;
        process.handles.close(image, |_| Ok(()))?;
        // The handle is gone all the same, and the image stays as after stsp_terminate.
        has_memory(&process).inspect_err(|_| opened.cut_off())?;
        opened.close(flags)
    })
}

/// Deletes an image by its definition, complete or pending. `flags` must be 0. Finishes a delete that was interrupted.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU; STSP_ENOENT when there is none, or none with that policy or
/// type; STSP_EBUSY while it is open in this process; store errors.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_delete_image(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    def: *const stsp_image_def_t,
    flags: u32,
) -> i32 {
    guard("stsp_delete_image", |call, caller| {
        if flags != 0 {
            let what = format!("flags {flags:#x}: none is known");
            return Err(Error::new(Kind::InvalidArgument, what));
        }

        // SAFETY: `def` is a struct that the host filled before the call, as long as it says; it is copied here.
        let def = unsafe { caller.input(def, "def") }?;
        // SAFETY: `lsu_name` is a string of the host, which leaves it as it is while it waits for this call.
        let lsu_name = unsafe { caller.string(lsu_name, "lsu_name") }?;

        let OnImage { on, def } = find_image(call, server, lsu_name, &def)?;
        delete(&on.process.open_images, &on.lsu, def)
    })
}

/// Fills `info` with the properties of an open image; while it is written, `size` is what was taken so far.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_image_prop(image: stsp_handle_t, info: *mut stsp_image_info_t) -> i32 {
    guard("stsp_get_image_prop", |call, caller| {
        // SAFETY: `info` is the host's struct to be filled, as long as it says; the host reads it after the call.
        let out = unsafe { caller.output_struct(info, "info") }?;
        out.set(open_image(call, image)?.info()?);
        Ok(())
    })
}

/// Fills `info` with the properties of an image by its definition, complete or pending.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU; STSP_ENOENT; STSP_ECORRUPT for a damaged record; store
/// errors.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_image_prop_byname(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    def: *const stsp_image_def_t,
    info: *mut stsp_image_info_t,
) -> i32 {
    guard("stsp_get_image_prop_byname", |call, caller| {
        // SAFETY: `info` is the host's struct to be filled, as long as it says; the host reads it after the call.
        let out = unsafe { caller.output_struct(info, "info") }?;
        // SAFETY: `def` is a struct that the host filled before the call, as long as it says; it is copied here.
        let def = unsafe { caller.input(def, "def") }?;
        // SAFETY: `lsu_name` is a string of the host, which leaves it as it is while it waits for this call.
        let lsu_name = unsafe { caller.string(lsu_name, "lsu_name") }?;

        let OnImage { on, def } = find_image(call, server, lsu_name, &def)?;
        out.set(info_by_name(&on.lsu, &def)?);
        Ok(())
    })
}

/// Writes image metadata, the host's own bytes beside the image: `len` at `offset`, over what is there or behind it, 64
/// MiB in all. Of an image open for write they are saved by the close, of one open for reading by stsp_flush or the
/// close.
/// Gives `len` in `written`. Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_EOFFSET for a gap; STSP_EACCESS for a
/// pending image open for reading; store errors.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_write_image_meta(
    image: stsp_handle_t,
    buffer: *const c_void,
    len: u64,
    offset: u64,
    written: *mut u64,
) -> i32 {
    guard("stsp_write_image_meta", |call, caller| {
        // SAFETY: `written` is a variable of the host for a count, which the host reads after the call.
        let out = unsafe { caller.output(written, "written") }?;
        // SAFETY: the host has `len` bytes of metadata at `buffer`; `write_meta` copies them before the call returns.
        let data = unsafe { caller.bytes(buffer, len, "buffer") }?;
        out.set(open_image(call, image)?.write_meta(data, offset)?);
        Ok(())
    })
}

/// Reads image metadata from `offset` on; gives how many bytes in `read`, fewer only at their end.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ECORRUPT; store errors.
///
/// # Safety
/// See [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_read_image_meta(
    image: stsp_handle_t,
    buffer: *mut c_void,
    len: u64,
    offset: u64,
    read: *mut u64,
) -> i32 {
    guard("stsp_read_image_meta", |call, caller| {
        // SAFETY: `read` is a variable of the host for a count, which the host reads after the call.
        let out = unsafe { caller.output(read, "read") }?;
        // SAFETY: the host gives the `len` bytes at `buffer` to be filled and leaves them alone until the call returns.
        let data = unsafe { caller.bytes_mut(buffer, len, "buffer") }?;
        out.set(open_image(call, image)?.read_meta(data, offset)?);
        Ok(())
    })
}
