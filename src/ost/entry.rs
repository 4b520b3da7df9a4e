//! Every exported function. Each has one shape: guard, borrow from the caller, call a handler, write the outputs.
//!
//! # Safety
//! The same for all: pointers are NULL or point to what their type and length say, readable (or writable, for outputs)
//! and unshared for the duration of the call. All that can be checked beyond that is checked.

#![allow(unsafe_code)]

use std::ffi::{OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::abi::{
    STSP_ABI_VERSION, STSP_PREFIX, stsp_cred_t, stsp_handle_t, stsp_image_def_t, stsp_image_entry_t,
    stsp_image_filter_t, stsp_image_info_t, stsp_lsu_prop_t, stsp_plugin_info_t, stsp_server_prop_t, stsp_session_t,
    to_field,
};
use super::callback::LogCallback;
use super::guard::{Call, guard, install_panic_hook};
use super::handle::Object;
use super::image::{ImageHandle, check_close_flags, definition, delete, info_by_name, span, subject};
use super::image_list::ImageList;
use super::lsu::LsuList;
use super::pointers::{bytes, bytes_mut, input, optional, optional_string, output, output_struct, string};
use super::process;
use super::process::Process;
use super::server::{Child, Server, claimed};
use super::session::Session;
use crate::catalog::format::image_id::ImageDef;
use crate::catalog::lsu::Lsu;
use crate::config::credentials::KeyPair;
use crate::engine::memory;
use crate::error::{Error, Kind, Result};

/// Prepares the plug-in. Starts no thread and opens no socket. May be called again; that changes nothing.
/// Takes the STSP_ABI_VERSION that the host was compiled with. Fills `info` (may not be NULL).
/// Returns STSP_OK; STSP_EINVAL for NULL, a short struct_size or another version.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_init(abi_version: u32, info: *mut stsp_plugin_info_t) -> i32 {
    guard("stsp_init", |_| {
        // SAFETY: the caller's promise, see the module.
        let info = unsafe { output_struct(info, "info") }?;
        if abi_version != STSP_ABI_VERSION {
            let what =
                format!("the host was compiled with version {abi_version} of stsp.h, this is {STSP_ABI_VERSION}");
            return Err(Error::new(Kind::InvalidArgument, what));
        }
        install_panic_hook();
        process::init();
        info.set_struct(stsp_plugin_info_t {
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
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_claim(server_name: *const c_char) -> i32 {
    guard("stsp_claim", |call| {
        // NetBackup asks every plug-in about every server: a no is an everyday answer, not worth a line in a log.
        call.quiet = true;
        // SAFETY: the caller's promise, see the module.
        let name = unsafe { string(server_name, "server_name") }?;
        claimed(name)
            .map(drop)
            .ok_or_else(|| Error::new(Kind::ServerNotFound, "the name has another prefix"))
    })
}

/// Closes every handle without completing anything, then stops and joins all threads of the plug-in. Images that were
/// open for write stay pending. stsp_init may follow. Calls under way in other threads end with STSP_EABORT.
/// Returns STSP_OK, also when there is nothing to do.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_terminate() -> i32 {
    guard("stsp_terminate", |_| {
        process::terminate();
        Ok(())
    })
}

/// Opens a storage server: reads the configuration, sends nothing yet.
/// Takes the session (or NULL: no messages, configuration from the usual places), the name "VastData:<name>", the
/// credentials (or NULL where the configuration names another source) and the network interface that the host prefers
/// (or NULL; not used). Gives a handle in `server`.
/// Returns STSP_OK; STSP_EINVAL; STSP_EINIT; STSP_ESERVER for a foreign or unconfigured name; STSP_ECONFIG;
/// STSP_EAUTH when credentials are needed and missing.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_open_server(
    session: *const stsp_session_t,
    server_name: *const c_char,
    cred: *const stsp_cred_t,
    interface: *const c_char,
    server: *mut stsp_handle_t,
) -> i32 {
    guard("stsp_open_server", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output(server, "server") }?;
        // SAFETY: as above.
        unsafe { optional_string(interface, "interface") }?;
        // SAFETY: as above.
        let (process, opened) = unsafe { open_server(call, session, server_name, cred) }?;
        out.set(process.handles.open(Object::Server(Arc::new(opened)))?);
        Ok(())
    })
}

/// Closes a server. Returns STSP_OK; STSP_EHANDLE; STSP_EBUSY while images or lists of it are open (it stays open).
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_close_server(server: stsp_handle_t) -> i32 {
    guard("stsp_close_server", |call| {
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
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_server_prop(server: stsp_handle_t, prop: *mut stsp_server_prop_t) -> i32 {
    guard("stsp_get_server_prop", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output_struct(prop, "prop") }?;
        let (_, server) = find_server(call, server)?;
        out.set_struct(server.prop());
        Ok(())
    })
}

/// Like stsp_get_server_prop for a server that is not open; arguments and codes as of stsp_open_server. Sends nothing.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_server_prop_byname(
    session: *const stsp_session_t,
    server_name: *const c_char,
    cred: *const stsp_cred_t,
    prop: *mut stsp_server_prop_t,
) -> i32 {
    guard("stsp_get_server_prop_byname", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output_struct(prop, "prop") }?;
        // SAFETY: as above.
        let (_, server) = unsafe { open_server(call, session, server_name, cred) }?;
        out.set_struct(server.prop());
        Ok(())
    })
}

/// Opens a list of the server's LSUs; gives a handle in `list`. With discovery configured it asks for the buckets.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; store errors (STSP_ENETWORK, STSP_EAUTH, STSP_EACCESS, STSP_ETIMEOUT,
/// STSP_EUNAVAIL).
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_open_lsu_list(server: stsp_handle_t, list: *mut stsp_handle_t) -> i32 {
    guard("stsp_open_lsu_list", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output(list, "list") }?;
        let (process, server) = find_server(call, server)?;
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
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_list_lsu(list: stsp_handle_t, prop: *mut stsp_lsu_prop_t) -> i32 {
    guard("stsp_list_lsu", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output_struct(prop, "prop") }?;
        let process = process::current()?;
        let list = process.handles.lsu_list(list)?;
        let mut list = lock(&list);
        call.session = Some(Arc::clone(&list.server().session));
        call.server = Some(Child::of(list.server()));
        has_memory(&process)?;
        out.set_struct(list.next_lsu(&process.engine)?);
        Ok(())
    })
}

/// Closes an LSU list. Returns STSP_OK; STSP_EHANDLE.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_close_lsu_list(list: stsp_handle_t) -> i32 {
    guard("stsp_close_lsu_list", |_| {
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
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_lsu_prop_byname(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    prop: *mut stsp_lsu_prop_t,
) -> i32 {
    guard("stsp_get_lsu_prop_byname", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output_struct(prop, "prop") }?;
        // SAFETY: as above.
        let (_, _, lsu) = unsafe { find_lsu(call, server, lsu_name) }?;
        out.set_struct(super::lsu::prop(&lsu)?);
        Ok(())
    })
}

/// Sets the label of an LSU for all hosts: UTF-8, at most 255 bytes, empty to remove it.
/// Returns as stsp_get_lsu_prop_byname.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_label_lsu(server: stsp_handle_t, lsu_name: *const c_char, label: *const c_char) -> i32 {
    guard("stsp_label_lsu", |call| {
        // SAFETY: the caller's promise, see the module.
        let label = unsafe { string(label, "label") }?;
        // SAFETY: as above.
        let (_, _, lsu) = unsafe { find_lsu(call, server, lsu_name) }?;
        super::lsu::set_label(&lsu, label)
    })
}

/// Creates an image and opens it for write; gives a handle in `image`. The image is pending until a complete close.
/// `pending_flag` is the host's hint that it will create another image soon; any value is taken.
/// Returns STSP_OK; STSP_EINVAL (also for a name that is too long); STSP_EHANDLE; STSP_ELSU; STSP_EEXIST when the image
/// exists, complete or pending; STSP_EBUSY when it is open in this process; STSP_ENOMEM when the pool budget is promised
/// to other images; store errors.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_create_image(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    def: *const stsp_image_def_t,
    pending_flag: u32,
    image: *mut stsp_handle_t,
) -> i32 {
    guard("stsp_create_image", |call| {
        let _ = pending_flag;
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output(image, "image") }?;
        // SAFETY: as above.
        let (process, server, lsu, def) = unsafe { find_image(call, server, lsu_name, def) }?;
        let created = ImageHandle::create(&process.open_images, &server, &lsu, def)?;
        out.set(process.handles.open(Object::Image(Arc::new(created)))?);
        Ok(())
    })
}

/// Opens an image; gives a handle in `image`. `mode` is STSP_OPEN_READ, or STSP_OPEN_WRITE to go on writing an image that
/// was closed incomplete, on this or another host.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU; STSP_ENOENT; STSP_EBUSY when it is being written or, for
/// STSP_OPEN_WRITE, open here at all; STSP_EACCESS for STSP_OPEN_WRITE of a complete image; STSP_ECORRUPT for a damaged
/// record; STSP_ENOMEM; store errors.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_open_image(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    def: *const stsp_image_def_t,
    mode: u32,
    image: *mut stsp_handle_t,
) -> i32 {
    guard("stsp_open_image", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output(image, "image") }?;
        // SAFETY: as above.
        let (process, server, lsu, def) = unsafe { find_image(call, server, lsu_name, def) }?;
        let opened = ImageHandle::open(&process.open_images, &server, &lsu, &def, mode)?;
        out.set(process.handles.open(Object::Image(Arc::new(opened)))?);
        Ok(())
    })
}

/// Writes `len` bytes at `offset`: behind the last byte, or over bytes of the part that is still open. May return before
/// the bytes are on the store: an error that shows later is returned by the next write or by the close, once. Waits while
/// the pool has no buffer free. Gives `len` in `written` when it succeeds. Fastest with 256 KiB and more a call.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_EACCESS when open for reading; STSP_EOFFSET for another offset (the
/// image stays usable); STSP_ENOSPC; STSP_ETIMEOUT; store errors of earlier writes.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_write_image(
    image: stsp_handle_t,
    buffer: *const c_void,
    len: u64,
    offset: u64,
    written: *mut u64,
) -> i32 {
    guard("stsp_write_image", |call| {
        // SAFETY: the caller's promise, see the module.
        let (out, data) = unsafe { (output(written, "written")?, bytes(buffer, len, "buffer")?) };
        out.set(open_image(call, image)?.write(data, offset)?);
        Ok(())
    })
}

/// Reads up to `len` bytes from `offset` on; gives how many in `read`, fewer only at the end of the image, 0 behind it.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_EACCESS when open for writing; STSP_ECORRUPT when bytes are not what
/// was written; STSP_ENOENT when the data are gone; store errors. After an error `buffer` may hold anything.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_read_image(
    image: stsp_handle_t,
    buffer: *mut c_void,
    len: u64,
    offset: u64,
    read: *mut u64,
) -> i32 {
    guard("stsp_read_image", |call| {
        // SAFETY: the caller's promise, see the module.
        let (out, data) = unsafe { (output(read, "read")?, bytes_mut(buffer, len, "buffer")?) };
        out.set(open_image(call, image)?.read(data, offset)?);
        Ok(())
    })
}

/// Waits until all full parts of an image open for write are on the store (the open part is not sent); saves changed
/// metadata of an image open for reading. Returns STSP_OK; STSP_EHANDLE; store errors.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_flush(image: stsp_handle_t) -> i32 {
    guard("stsp_flush", |call| open_image(call, image)?.flush())
}

/// Closes an image; the handle is gone whatever is returned, but for STSP_EINVAL. For an image open for write, `flags` is
/// STSP_CLOSEF_COMPLETE (STSP_OK then means that data and sidecar are confirmed on the store, and the image can never be
/// written again) or 0 (it stays pending, readable, and can be opened for write again).
/// Returns STSP_OK; STSP_EINVAL for unknown flags; STSP_EHANDLE; STSP_EEXIST when another writer completed it meanwhile;
/// STSP_ENOMEM (the image stays pending); store errors, also of earlier writes.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_close_image(image: stsp_handle_t, flags: u32) -> i32 {
    guard("stsp_close_image", |call| {
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
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_delete_image(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    def: *const stsp_image_def_t,
    flags: u32,
) -> i32 {
    guard("stsp_delete_image", |call| {
        if flags != 0 {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!("flags {flags:#x}: none is known"),
            ));
        }
        // SAFETY: the caller's promise, see the module.
        let (process, _, lsu, def) = unsafe { find_image(call, server, lsu_name, def) }?;
        delete(&process.open_images, &lsu, def)
    })
}

/// Fills `info` with the properties of an open image; while it is written, `size` is what was taken so far.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_image_prop(image: stsp_handle_t, info: *mut stsp_image_info_t) -> i32 {
    guard("stsp_get_image_prop", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output_struct(info, "info") }?;
        out.set_struct(open_image(call, image)?.info()?);
        Ok(())
    })
}

/// Fills `info` with the properties of an image by its definition, complete or pending.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU; STSP_ENOENT; STSP_ECORRUPT for a damaged record; store errors.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_get_image_prop_byname(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    def: *const stsp_image_def_t,
    info: *mut stsp_image_info_t,
) -> i32 {
    guard("stsp_get_image_prop_byname", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output_struct(info, "info") }?;
        // SAFETY: as above.
        let (_, _, lsu, def) = unsafe { find_image(call, server, lsu_name, def) }?;
        out.set_struct(info_by_name(&lsu, &def)?);
        Ok(())
    })
}

/// Writes image metadata, the host's own bytes beside the image: `len` at `offset`, over what is there or behind it, 64
/// MiB in all. Of an image open for write they are saved by the close, of one open for reading by stsp_flush or the close.
/// Gives `len` in `written`. Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_EOFFSET for a gap; STSP_EACCESS for a
/// pending image open for reading; store errors.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_write_image_meta(
    image: stsp_handle_t,
    buffer: *const c_void,
    len: u64,
    offset: u64,
    written: *mut u64,
) -> i32 {
    guard("stsp_write_image_meta", |call| {
        // SAFETY: the caller's promise, see the module.
        let (out, data) = unsafe { (output(written, "written")?, bytes(buffer, len, "buffer")?) };
        out.set(open_image(call, image)?.write_meta(data, offset)?);
        Ok(())
    })
}

/// Reads image metadata from `offset` on; gives how many bytes in `read`, fewer only at their end.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ECORRUPT; store errors.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_read_image_meta(
    image: stsp_handle_t,
    buffer: *mut c_void,
    len: u64,
    offset: u64,
    read: *mut u64,
) -> i32 {
    guard("stsp_read_image_meta", |call| {
        // SAFETY: the caller's promise, see the module.
        let (out, data) = unsafe { (output(read, "read")?, bytes_mut(buffer, len, "buffer")?) };
        out.set(open_image(call, image)?.read_meta(data, offset)?);
        Ok(())
    })
}

/// Opens a list of the images of an LSU; gives a handle in `list`. `filter` may be NULL: all images. Images that come or
/// go while the list is read may be in it or not; all others are, once.
/// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_open_image_list(
    server: stsp_handle_t,
    lsu_name: *const c_char,
    filter: *const stsp_image_filter_t,
    list: *mut stsp_handle_t,
) -> i32 {
    guard("stsp_open_image_list", |call| {
        // SAFETY: the caller's promise, see the module.
        let (out, filter) = unsafe { (output(list, "list")?, optional(filter, "filter")?) };
        // SAFETY: as above.
        let (process, server, lsu) = unsafe { find_lsu(call, server, lsu_name) }?;
        let opened = ImageList::open(Child::of(&server), &lsu, filter)?;
        out.set(process.handles.open(Object::ImageList(Arc::new(Mutex::new(opened))))?);
        Ok(())
    })
}

/// Fills `entry` with the next image: complete ones first, then pending ones.
/// Returns STSP_OK; STSP_EOFLIST after the last one; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU when the bucket does not exist;
/// store errors.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_list_image(list: stsp_handle_t, entry: *mut stsp_image_entry_t) -> i32 {
    guard("stsp_list_image", |call| {
        // SAFETY: the caller's promise, see the module.
        let out = unsafe { output_struct(entry, "entry") }?;
        let process = process::current()?;
        let list = process.handles.image_list(list)?;
        let mut list = lock(&list);
        call.session = Some(Arc::clone(&list.server().session));
        call.server = Some(Child::of(list.server()));
        call.subject = list.subject().to_owned();
        has_memory(&process)?;
        out.set_struct(list.next_entry()?);
        Ok(())
    })
}

/// Closes an image list. Returns STSP_OK; STSP_EHANDLE.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stsp_close_image_list(list: stsp_handle_t) -> i32 {
    guard("stsp_close_image_list", |_| {
        let process = process::current()?;
        process.handles.image_list(list)?;
        process.handles.close(list, |_| Ok(()))
    })
}

/// A list after a panic inside it is at worst a list that ends early or repeats an entry.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find_server(call: &mut Call, server: stsp_handle_t) -> Result<(Arc<Process>, Arc<Server>)> {
    let process = process::current()?;
    let child = process.handles.use_server(server)?;
    let server = Arc::clone(child.server());
    call.session = Some(Arc::clone(&server.session));
    call.subject = format!("server {}", server.config().name);
    call.server = Some(child);
    has_memory(&process)?;
    Ok((process, server))
}

/// Refuses a call that begins with too little memory left, after buffers that nobody uses were given back. Every call
/// asks that does not merely close something.
fn has_memory(process: &Process) -> Result<()> {
    memory::check().or_else(|_| {
        process.engine.release_memory();
        memory::check_again()
    })
}

fn open_image(call: &mut Call, image: stsp_handle_t) -> Result<Arc<ImageHandle>> {
    let (process, image) = find_open_image(call, image)?;
    has_memory(&process)?;
    Ok(image)
}

fn find_open_image(call: &mut Call, image: stsp_handle_t) -> Result<(Arc<Process>, Arc<ImageHandle>)> {
    let process = process::current()?;
    let image = process.handles.image(image)?;
    call.session = Some(Arc::clone(&image.server().session));
    call.server = Some(Child::of(image.server()));
    image.subject().clone_into(&mut call.subject);
    call.span = Some(image.span().clone());
    Ok((process, image))
}

/// # Safety
/// See the module.
unsafe fn find_lsu(
    call: &mut Call,
    server: stsp_handle_t,
    lsu_name: *const c_char,
) -> Result<(Arc<Process>, Arc<Server>, Lsu)> {
    // SAFETY: the caller's promise, see the module.
    let name = unsafe { string(lsu_name, "lsu_name") }?;
    let name = String::from_utf8_lossy(name);
    let (process, server) = find_server(call, server)?;
    call.subject = format!("LSU {name}");
    let lsu = server.lsu(&process.engine, &name)?;
    Ok((process, server, lsu))
}

/// # Safety
/// See the module.
unsafe fn find_image(
    call: &mut Call,
    server: stsp_handle_t,
    lsu_name: *const c_char,
    def: *const stsp_image_def_t,
) -> Result<(Arc<Process>, Arc<Server>, Lsu, ImageDef)> {
    // SAFETY: the caller's promise, see the module.
    let def = definition(unsafe { input(def, "def") }?)?;
    // SAFETY: as above.
    let (process, server, lsu) = unsafe { find_lsu(call, server, lsu_name) }?;
    call.subject = subject(&lsu.config().name, &def.id);
    call.span = Some(span(&server, &lsu, &def.id));
    Ok((process, server, lsu, def))
}

/// # Safety
/// See the module.
unsafe fn open_server(
    call: &mut Call,
    session: *const stsp_session_t,
    server_name: *const c_char,
    cred: *const stsp_cred_t,
) -> Result<(Arc<Process>, Server)> {
    let process = process::current()?;
    // SAFETY: the caller's promise, see the module.
    let (given, name) = unsafe { (optional(session, "session")?, string(server_name, "server_name")?) };
    call.subject = format!("server {}", String::from_utf8_lossy(name));
    let new_session = || match given {
        Some(given) => Session::new(LogCallback::new(given.log, given.log_context), given.severity_min),
        None => Session::new(LogCallback::new(None, std::ptr::null_mut()), 0),
    };
    // What fails before there is a server is told to the same host.
    call.session = Some(Arc::new(new_session()));
    has_memory(&process)?;
    let config_file = match given {
        // SAFETY: as above.
        Some(given) => unsafe { optional_string(given.config_file, "session.config_file") }?,
        None => None,
    };
    // SAFETY: as above.
    let keys = unsafe { key_pair(cred) }?;
    let opened = Server::open(
        name,
        config_file.map(|path| Path::new(OsStr::from_bytes(path))),
        keys,
        new_session(),
    )?;
    Ok((process, opened))
}

/// # Safety
/// See the module.
unsafe fn key_pair(cred: *const stsp_cred_t) -> Result<Option<KeyPair>> {
    // SAFETY: the caller's promise, see the module.
    let cred = unsafe { optional(cred, "cred") }?;
    let Some(cred) = cred else { return Ok(None) };
    // SAFETY: as above.
    let (user, password) = unsafe { (string(cred.user, "cred.user")?, string(cred.password, "cred.password")?) };
    let text = |bytes: &[u8], what: &str| {
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::new(Kind::InvalidArgument, format!("{what} is not UTF-8")))
    };
    Ok(Some(KeyPair::from_password(
        text(user, "cred.user")?,
        &text(password, "cred.password")?,
    )))
}
