//! From what a host passes to what a call works with: handles and names to servers, LSUs and images.
//!
//! On the way the guard learns what its message of a failure needs: session, subject, span. Safe Rust: pointers are
//! strings and structs by now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::catalog::format::image_id::ImageDef;
use crate::catalog::lsu::Lsu;
use crate::engine::memory;
use crate::error::Result;
use crate::ost::abi::{stsp_handle_t, stsp_image_def_t};
use crate::ost::guard::Call;
use crate::ost::image::{ImageHandle, definition, span, subject};
use crate::ost::process;
use crate::ost::process::Process;
use crate::ost::server::{Child, Server};

/// What a call on a server works with.
pub struct OnServer {
    pub process: Arc<Process>,
    pub server: Arc<Server>,
}

/// What a call on an LSU works with.
pub struct OnLsu {
    pub process: Arc<Process>,
    pub server: Arc<Server>,
    pub lsu: Lsu,
}

/// What a call on an image by its definition works with.
pub struct OnImage {
    pub on: OnLsu,
    pub def: ImageDef,
}

pub fn find_server(call: &mut Call, server: stsp_handle_t) -> Result<OnServer> {
    let process = process::current()?;
    let child = process.handles.use_server(server)?;
    let server = Arc::clone(child.server());

    call.session = Some(Arc::clone(&server.session));
    call.subject = format!("server {}", server.config().name);
    call.server = Some(child);

    has_memory(&process)?;
    Ok(OnServer { process, server })
}

pub fn find_lsu(call: &mut Call, server: stsp_handle_t, name: &[u8]) -> Result<OnLsu> {
    let name = String::from_utf8_lossy(name);
    let OnServer { process, server } = find_server(call, server)?;
    call.subject = format!("LSU {name}");
    let lsu = server.lsu(&process.engine, &name)?;
    Ok(OnLsu { process, server, lsu })
}

pub fn find_image(call: &mut Call, server: stsp_handle_t, lsu_name: &[u8], def: &stsp_image_def_t) -> Result<OnImage> {
    let def = definition(def)?;
    let on = find_lsu(call, server, lsu_name)?;
    call.subject = subject(&on.lsu.config().name, &def.id);
    call.span = Some(span(&on.server, &on.lsu, &def.id));
    Ok(OnImage { on, def })
}

/// An open image, for a call that does more than close it.
pub fn open_image(call: &mut Call, image: stsp_handle_t) -> Result<Arc<ImageHandle>> {
    let (process, image) = find_open_image(call, image)?;
    has_memory(&process)?;
    Ok(image)
}

pub fn find_open_image(call: &mut Call, image: stsp_handle_t) -> Result<(Arc<Process>, Arc<ImageHandle>)> {
    let process = process::current()?;
    let image = process.handles.image(image)?;

    call.session = Some(Arc::clone(&image.server().session));
    call.server = Some(Child::of(image.server()));
    image.subject().clone_into(&mut call.subject);
    call.span = Some(image.span().clone());
    Ok((process, image))
}

/// Refuses a call that begins with too little memory left, after buffers that nobody uses were given back. Every call
/// asks that does not merely close something.
pub fn has_memory(process: &Process) -> Result<()> {
    memory::check().or_else(|_| {
        process.engine.release_memory();
        memory::check_again()
    })
}

/// A list after a panic inside it is at worst a list that ends early or repeats an entry.
pub fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
