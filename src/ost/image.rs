//! An open image: create or open, write, read, metadata, flush, close; and delete.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use futures::future::FutureExt;
use tracing::Span;

use super::abi::{
    STSP_CLOSEF_COMPLETE, STSP_II_BUSY_WRITE, STSP_II_IMAGE_PENDING, STSP_LOG_INFO, STSP_OPEN_READ, STSP_OPEN_WRITE,
    stsp_image_def_t, stsp_image_info_t,
};
use super::bridge;
use super::bridge::Place;
use super::image_info::{definition_of, info, info_of};
use super::open_images::{OpenImage, OpenImages, OpenKey, Use};
use super::pointers::field;
use super::server::{Child, Server};
use crate::catalog::data::{Filled, Taken};
use crate::catalog::format::escape::Name;
use crate::catalog::format::image_id::{ImageDef, ImageId};
use crate::catalog::format::record::unix_seconds;
use crate::catalog::lsu::Lsu;
use crate::catalog::restore::Restore;
use crate::catalog::write::backup::Backup;
use crate::catalog::{delete, meta};
use crate::error::{Error, Kind, Result};
use crate::metrics::image::{CallTimer, ImageStats};

/// What an image handle stands for. Calls on one handle run one after the other.
pub struct ImageHandle {
    subject: String,
    span: Span,
    lsu: Lsu,
    state: Mutex<State>,
    child: Child,
}

/// The entry among the open images goes with the state, so that it is given up with the image and not with the handle.
enum State {
    Writing(Open<Backup>),
    Reading(Open<Restore>),
    Closed,
}

struct Open<I> {
    image: Place<I>,
    timer: CallTimer,
    entry: OpenImage,
}

impl<I> Open<I> {
    fn new(image: I, entry: OpenImage) -> Self {
        Self {
            image: Place::new(image),
            timer: CallTimer::new(),
            entry,
        }
    }

    /// Runs a call of the host, which gives the bytes that it moved.
    fn call(&mut self, body: impl FnOnce(&mut Place<I>) -> Result<u64>) -> Result<u64> {
        self.timer.call(|| body(&mut self.image))
    }
}

/// The definition that a host passes, checked.
pub fn definition(def: &stsp_image_def_t) -> Result<ImageDef> {
    let basename = Name::new(field(&def.basename, "def.basename")?);
    let policy = Name::new(field(&def.policy, "def.policy")?);
    Ok(ImageDef {
        id: ImageId::new(basename, def.date)?,
        policy,
        image_type: def.image_type,
    })
}

/// "LSU nightly, image db:1", as messages name it.
pub fn subject(lsu: &str, id: &ImageId) -> String {
    format!("LSU {lsu}, image {id}")
}

/// What log lines about an image are under, whatever the level. The host's session names no job.
pub fn span(server: &Server, lsu: &Lsu, id: &ImageId) -> Span {
    tracing::error_span!("image", server = server.config().name, lsu = lsu.config().name, image = %id)
}

impl ImageHandle {
    pub fn create(open_images: &Arc<OpenImages>, server: &Arc<Server>, lsu: &Lsu, def: ImageDef) -> Result<Self> {
        let subject = subject(&lsu.config().name, &def.id);
        let span = span(server, lsu, &def.id);
        let entry = open_images.open(open_key(lsu, &def.id), Use::Write)?;
        let backup = span.in_scope(|| bridge::run(lsu, async move |lsu| Backup::create(&lsu, def).await))?;
        let state = State::Writing(Open::new(backup, entry));
        Ok(Self {
            subject,
            span,
            lsu: lsu.clone(),
            state: Mutex::new(state),
            child: Child::of(server),
        })
    }

    pub fn open(
        open_images: &Arc<OpenImages>,
        server: &Arc<Server>,
        lsu: &Lsu,
        def: &ImageDef,
        mode: u32,
    ) -> Result<Self> {
        let subject = subject(&lsu.config().name, &def.id);
        let span = span(server, lsu, &def.id);
        let entered = span.enter();
        let wanted = def.clone();
        let state = match mode {
            STSP_OPEN_READ => {
                let entry = open_images.open(open_key(lsu, &def.id), Use::Read)?;
                let restore = bridge::run(lsu, async move |lsu| Restore::open(&lsu, &wanted.id).await)?;
                if !definition_of(restore.image()).answers_to(def) {
                    let what = format!("image {} has another policy or type than asked for", def.id);
                    return Err(Error::new(Kind::NotFound, what));
                }
                State::Reading(Open::new(restore, entry))
            }
            STSP_OPEN_WRITE => {
                let entry = open_images.open(open_key(lsu, &def.id), Use::Write)?;
                let backup = bridge::run(lsu, async move |lsu| Backup::reopen(&lsu, &wanted).await)?;
                State::Writing(Open::new(backup, entry))
            }
            other => {
                let what = format!("mode {other:#x} is neither STSP_OPEN_READ nor STSP_OPEN_WRITE");
                return Err(Error::new(Kind::InvalidArgument, what));
            }
        };

        drop(entered);
        Ok(Self {
            subject,
            span,
            lsu: lsu.clone(),
            state: Mutex::new(state),
            child: Child::of(server),
        })
    }

    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub fn span(&self) -> &Span {
        &self.span
    }

    pub fn server(&self) -> &Arc<Server> {
        self.child.server()
    }

    pub fn write(&self, data: &[u8], offset: u64) -> Result<u64> {
        match &mut *self.lock()? {
            State::Writing(open) => open.call(|image| self.write_all(image, data, offset)),
            other => Err(not_open(other, "writing")),
        }
    }

    fn write_all(&self, image: &mut Place<Backup>, data: &[u8], offset: u64) -> Result<u64> {
        let mut rest = data;
        let mut offset = offset;
        // A write of nothing is passed on too: it brings the error of a part that failed meanwhile.
        loop {
            let backup = image.get()?;
            match backup.fill(rest, offset)? {
                Filled::PartNeeded if backup.try_next_part()? => {}
                Filled::PartNeeded => bridge::lend(&self.lsu, image, |backup| backup.next_part().boxed())?,
                Filled::Taken(len) => {
                    rest = rest.split_at(len).1;
                    offset += len as u64;
                }
            }
            if rest.is_empty() {
                return Ok(data.len() as u64);
            }
        }
    }

    pub fn read(&self, to: &mut [u8], offset: u64) -> Result<u64> {
        match &mut *self.lock()? {
            State::Reading(open) => open.call(|image| self.read_all(image, to, offset)),
            other => Err(not_open(other, "reading")),
        }
    }

    fn read_all(&self, image: &mut Place<Restore>, to: &mut [u8], offset: u64) -> Result<u64> {
        image.get()?.begin(offset, to.len());
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let len = rest.len();
            match image.get()?.take(rest, at)? {
                Taken::Bytes(0) => break,
                Taken::Bytes(taken) => done += taken,
                Taken::FetchNeeded => bridge::lend(&self.lsu, image, move |restore| restore.fetch(at, len).boxed())?,
            }
        }
        Ok(done as u64)
    }

    pub fn write_meta(&self, data: &[u8], offset: u64) -> Result<u64> {
        match &mut *self.lock()? {
            State::Writing(open) => meta::write_at(open.image.get()?.meta(), data, offset)?,
            State::Reading(open) => {
                open.image.get()?.may_write_meta()?;
                self.load_meta(&mut open.image)?;
                open.image.get()?.write_meta(data, offset)?;
            }
            State::Closed => return Err(not_open(&State::Closed, "writing")),
        }
        Ok(data.len() as u64)
    }

    pub fn read_meta(&self, to: &mut [u8], offset: u64) -> Result<u64> {
        match &mut *self.lock()? {
            State::Writing(open) => Ok(meta::read_at(open.image.get()?.meta(), to, offset) as u64),
            State::Reading(open) => {
                self.load_meta(&mut open.image)?;
                open.image.get()?.read_meta(to, offset).map(|len| len as u64)
            }
            State::Closed => Err(not_open(&State::Closed, "reading")),
        }
    }

    fn load_meta(&self, image: &mut Place<Restore>) -> Result<()> {
        if image.get()?.has_meta() {
            return Ok(());
        }
        bridge::lend(&self.lsu, image, |restore| restore.load_meta().boxed())
    }

    /// Full parts of a writer are on the store then, and changed metadata of a reader.
    pub fn flush(&self) -> Result<()> {
        let _entered = self.span.enter();
        match &mut *self.lock()? {
            State::Writing(open) => open
                .call(|image| bridge::lend(&self.lsu, image, |backup| backup.flush().boxed()).map(|()| 0))
                .map(drop),
            State::Reading(open) => {
                if !open.image.get()?.needs_save() {
                    return Ok(());
                }
                bridge::lend(&self.lsu, &mut open.image, |restore| restore.save_meta().boxed())
            }
            State::Closed => Err(not_open(&State::Closed, "flushing")),
        }
    }

    pub fn info(&self) -> Result<stsp_image_info_t> {
        let lsu = &self.lsu.config().name;
        match &mut *self.lock()? {
            State::Writing(open) => {
                let backup = open.image.get()?;
                let flags = STSP_II_IMAGE_PENDING | STSP_II_BUSY_WRITE;
                let created = unix_seconds(backup.created());
                Ok(info(lsu, backup.def(), flags, backup.size(), created, 0))
            }
            State::Reading(open) => Ok(info_of(lsu, open.image.get()?.image())),
            State::Closed => Err(not_open(&State::Closed, "queries")),
        }
    }

    /// Ends the handle whatever happens; the handle is out of the table already.
    pub fn close(&self, flags: u32) -> Result<()> {
        let _entered = self.span.enter();
        let state = std::mem::replace(&mut *self.lock()?, State::Closed);
        match state {
            State::Writing(Open { image, timer, entry }) => {
                let backup = image.take()?;
                let complete = flags & STSP_CLOSEF_COMPLETE != 0;
                let outcome = if complete {
                    "written complete"
                } else {
                    "written incomplete"
                };
                self.summarise(&backup.stats(), timer, outcome, || {
                    let closed = bridge::run(&self.lsu, async move |_| {
                        if complete {
                            backup.complete().await
                        } else {
                            backup.incomplete().await
                        }
                    });
                    drop(entry);
                    closed.map(drop)
                })
            }
            State::Reading(Open { image, timer, entry }) => {
                let mut restore = image.take()?;
                self.summarise(&restore.stats(), timer, "read", || {
                    let saved = if restore.needs_save() {
                        bridge::run(&self.lsu, async move |_| restore.save_meta().await)
                    } else {
                        drop(restore);
                        Ok(())
                    };
                    drop(entry);
                    saved
                })
            }
            State::Closed => Err(not_open(&State::Closed, "closing")),
        }
    }

    /// Runs a close and tells the host and the log, in one line, what the image did and waited for.
    fn summarise(
        &self,
        stats: &ImageStats,
        mut timer: CallTimer,
        outcome: &'static str,
        close: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        timer.begin();
        let blocked = stats.blocked();
        let since = Instant::now();
        let closed = close();
        let outcome = if closed.is_ok() { outcome } else { "failed" };
        let line = format!("{}: {}", self.subject, stats.close(&timer, blocked, since, outcome));
        tracing::info!("{line}");
        self.server().session.add(STSP_LOG_INFO, format!("vastost {line}"));
        closed
    }

    /// Drops what the handle holds without completing it, unless a call is under way on it.
    pub fn cut_off(&self) {
        if let Ok(mut state) = self.state.try_lock() {
            *state = State::Closed;
        }
    }

    /// A panic inside an earlier call leaves the handle unusable but for its close.
    fn lock(&self) -> Result<MutexGuard<'_, State>> {
        let broken = |_| {
            let what = "an earlier call on this image failed inside the plug-in; close it";
            Error::new(Kind::Internal, what)
        };
        self.state.lock().map_err(broken)
    }
}

/// Refuses flags that no version of the header names.
pub fn check_close_flags(flags: u32) -> Result<()> {
    if flags & !STSP_CLOSEF_COMPLETE != 0 {
        return Err(Error::new(
            Kind::InvalidArgument,
            format!("flags {flags:#x}: only STSP_CLOSEF_COMPLETE is known"),
        ));
    }
    Ok(())
}

/// Removes an image by its definition; refused while it is open in this process.
pub fn delete(open_images: &Arc<OpenImages>, lsu: &Lsu, def: ImageDef) -> Result<()> {
    let _entry = open_images.open(open_key(lsu, &def.id), Use::Delete)?;
    bridge::run(lsu, async move |lsu| delete::delete(&lsu, &def).await)
}

fn open_key(lsu: &Lsu, id: &ImageId) -> OpenKey {
    let config = lsu.config();
    OpenKey {
        endpoint: lsu.endpoint().to_owned(),
        bucket: config.bucket.clone(),
        prefix: config.prefix.clone(),
        id: id.clone(),
    }
}

fn not_open(state: &State, purpose: &str) -> Error {
    match state {
        State::Closed => Error::new(Kind::BadHandle, "the image has been closed"),
        State::Writing(..) => Error::new(
            Kind::AccessDenied,
            format!("the image is open for writing, not for {purpose}"),
        ),
        State::Reading(..) => Error::new(
            Kind::AccessDenied,
            format!("the image is open for reading, not for {purpose}"),
        ),
    }
}
