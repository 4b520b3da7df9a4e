//! One bucket: every version and upload in memory, each beside its JSON on disk. What changes both does so under one lock.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use s3s::S3Result;

use super::disk;
use super::disk::{NewFile, Span};
use super::errors::{OrInternal, no_such_upload, quota_exceeded};
use super::record::{Settings, Upload, Version, Versioning};
use super::store::{Ids, lock, now};

pub struct Bucket {
    folder: PathBuf,
    ids: Arc<Ids>,
    state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    pub settings: Settings,
    /// The versions of each key, oldest first; no key has none.
    pub keys: BTreeMap<String, Vec<Arc<Stored>>>,
    /// By key, then id: ids grow, so those of a key are in the order of their beginning.
    pub uploads: BTreeMap<(String, String), Upload>,
    /// Bytes of all versions.
    pub used_bytes: u64,
}

/// A version that is in the bucket, or was: who reads it goes on while it is removed.
pub struct Stored {
    pub version: Version,
    data: PathBuf,
    removed: AtomicBool,
}

impl Bucket {
    /// Reads the folder, and removes what a killed server left half done.
    pub fn load(folder: &Path, ids: &Arc<Ids>) -> io::Result<Self> {
        for name in ["objects", "data", "uploads"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let _ = fs::remove_dir_all(folder.join("tmp"));
        fs::create_dir(folder.join("tmp"))?;
        let bucket = Self {
            folder: folder.to_owned(),
            ids: Arc::clone(ids),
            state: Mutex::default(),
        };
        let settings = disk::read_json(&folder.join("bucket.json"))?.unwrap_or_default();
        let mut state = State {
            settings,
            ..State::default()
        };
        bucket.load_versions(&mut state)?;
        bucket.load_uploads(&mut state)?;
        bucket.remove_unnamed(&state)?;
        *bucket.lock() = state;
        Ok(bucket)
    }

    fn load_versions(&self, state: &mut State) -> io::Result<()> {
        let mut names = disk::names(&self.folder.join("objects"))?;
        names.sort_unstable();
        for name in names {
            let path = self.folder.join("objects").join(name);
            let Some(version) = disk::read_json::<Version>(&path)? else {
                continue;
            };
            self.ids.seen(&version.id);
            let versions = state.keys.entry(version.key.clone()).or_default();
            // An overwrite that was killed between its two steps: the later one counts.
            if let Some(at) = versions.iter().position(|stored| version.null && stored.version.null) {
                let older = versions.remove(at);
                state.used_bytes -= older.version.size;
                self.forget(&older)?;
            }
            state.used_bytes += version.size;
            versions.push(self.stored(version));
        }
        Ok(())
    }

    fn load_uploads(&self, state: &mut State) -> io::Result<()> {
        let ids = state
            .keys
            .values()
            .flatten()
            .filter_map(|stored| stored.version.upload.as_ref());
        let completed: HashSet<_> = ids.map(|upload| upload.id.clone()).collect();

        for id in disk::names(&self.folder.join("uploads"))? {
            let folder = self.folder.join("uploads").join(&id);
            let upload = disk::read_json::<Upload>(&folder.join("upload.json"))?;
            let Some(mut upload) = upload.filter(|_| !completed.contains(&id)) else {
                fs::remove_dir_all(&folder)?;
                continue;
            };
            self.ids.seen(&id);
            for name in disk::names(&folder)?.iter().filter(|name| *name != "upload.json") {
                if let Some(part) = disk::read_json::<super::record::Part>(&folder.join(name))? {
                    upload.parts.insert(part.number, part);
                }
            }
            state.uploads.insert((upload.key.clone(), id), upload);
        }

        Ok(())
    }

    fn remove_unnamed(&self, state: &State) -> io::Result<()> {
        let of_versions = state.keys.values().flatten().flat_map(|stored| &stored.version.parts);
        let of_uploads = state.uploads.values().flat_map(|upload| upload.parts.values());
        let named: HashSet<_> = of_versions.chain(of_uploads).map(|part| part.file.as_str()).collect();
        for name in disk::names(&self.folder.join("data"))? {
            self.ids.seen(&name);
            if !named.contains(name.as_str()) {
                fs::remove_file(self.folder.join("data").join(name))?;
            }
        }
        Ok(())
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.keys.is_empty() && state.uploads.is_empty()
    }

    pub fn next_id(&self) -> String {
        self.ids.next()
    }

    /// A place for the bytes of a body.
    pub fn new_file(&self) -> NewFile {
        NewFile::at(self.folder.join("data").join(self.ids.next()))
    }

    pub fn data(&self, file: &str) -> PathBuf {
        self.folder.join("data").join(file)
    }

    fn tmp(&self) -> PathBuf {
        self.folder.join("tmp").join(self.ids.next())
    }

    fn stored(&self, version: Version) -> Arc<Stored> {
        Arc::new(Stored {
            version,
            data: self.folder.join("data"),
            removed: AtomicBool::new(false),
        })
    }

    fn object_path(&self, id: &str) -> PathBuf {
        self.folder.join("objects").join(format!("{id}.json"))
    }

    pub fn upload_folder(&self, id: &str) -> PathBuf {
        self.folder.join("uploads").join(id)
    }

    pub fn save_settings(&self, state: &mut State, settings: Settings) -> S3Result<()> {
        disk::write_json(&self.tmp(), &self.folder.join("bucket.json"), &settings).or_internal("save bucket.json")?;
        state.settings = settings;
        Ok(())
    }

    /// Makes `version` the current one of its key, with an id and a time of its own; where the bucket keeps no versions it
    /// takes the place of the last.
    pub fn insert(&self, state: &mut State, mut version: Version) -> S3Result<Arc<Stored>> {
        (version.id, version.modified) = (self.ids.next(), now());
        version.null = state.settings.versioning != Versioning::Enabled;
        let path = self.object_path(&version.id);
        disk::write_json(&self.tmp(), &path, &version).or_internal("save object")?;
        if version.null {
            self.remove(state, &version.key.clone(), "null")?;
        }
        let key = version.key.clone();
        let stored = self.stored(version);
        state.used_bytes += stored.version.size;
        state.keys.entry(key).or_default().push(Arc::clone(&stored));
        Ok(stored)
    }

    /// Puts `version` in the place of the one with its id.
    pub fn replace(&self, state: &mut State, version: Version) -> S3Result<()> {
        disk::write_json(&self.tmp(), &self.object_path(&version.id), &version).or_internal("save object")?;
        let versions = state
            .keys
            .get_mut(&version.key)
            .map(Vec::as_mut_slice)
            .unwrap_or_default();
        if let Some(place) = versions.iter_mut().find(|stored| stored.version.id == version.id) {
            *place = self.stored(version);
        }
        Ok(())
    }

    /// Removes the version with this id, as S3 shows it, for good; None when there is none.
    pub fn remove(&self, state: &mut State, key: &str, shown_id: &str) -> S3Result<Option<Arc<Stored>>> {
        let Some(versions) = state.keys.get_mut(key) else {
            return Ok(None);
        };
        let Some(at) = versions.iter().position(|stored| stored.version.shown_id() == shown_id) else {
            return Ok(None);
        };
        let stored = versions.remove(at);
        if versions.is_empty() {
            state.keys.remove(key);
        }
        state.used_bytes = state.used_bytes.saturating_sub(stored.version.size);
        self.forget(&stored).or_internal("remove object")?;
        Ok(Some(stored))
    }

    /// The record goes now, the data with the last reader.
    fn forget(&self, stored: &Arc<Stored>) -> io::Result<()> {
        fs::remove_file(self.object_path(&stored.version.id))?;
        stored.removed.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub fn insert_upload(&self, upload: Upload) -> S3Result<()> {
        let folder = self.upload_folder(&upload.id);
        fs::create_dir(&folder).or_internal("begin upload")?;
        disk::write_json(&self.tmp(), &folder.join("upload.json"), &upload).or_internal("begin upload")?;
        self.lock()
            .uploads
            .insert((upload.key.clone(), upload.id.clone()), upload);
        Ok(())
    }

    /// Adds a part, or puts it in the place of the one with its number.
    pub fn insert_part(&self, key: &str, id: &str, part: super::record::Part) -> S3Result<()> {
        let mut state = self.lock();
        state.check_quota(part.size)?;
        let upload = state.upload_mut(key, id)?;
        let path = self.upload_folder(id).join(format!("{}.json", part.number));
        disk::write_json(&self.tmp(), &path, &part).or_internal("save part")?;
        if let Some(before) = upload.parts.insert(part.number, part) {
            let _ = fs::remove_file(self.data(&before.file));
        }
        Ok(())
    }

    /// Takes the upload off, with the files of those of its parts that are in `but`.
    pub fn remove_upload(&self, state: &mut State, key: &str, id: &str, but: &HashSet<String>) -> S3Result<()> {
        let upload = state
            .uploads
            .remove(&(key.to_owned(), id.to_owned()))
            .ok_or_else(no_such_upload)?;
        fs::remove_dir_all(self.upload_folder(id)).or_internal("remove upload")?;
        for part in upload.parts.values().filter(|part| !but.contains(&part.file)) {
            let _ = fs::remove_file(self.data(&part.file));
        }
        Ok(())
    }
}

impl State {
    /// The newest version of a key, be it a delete marker.
    pub fn newest(&self, key: &str) -> Option<&Arc<Stored>> {
        self.keys.get(key)?.last()
    }

    /// The object that a plain GET of the key gives.
    pub fn current(&self, key: &str) -> Option<&Arc<Stored>> {
        self.newest(key).filter(|stored| !stored.version.marker)
    }

    pub fn version(&self, key: &str, shown_id: &str) -> Option<&Arc<Stored>> {
        self.keys
            .get(key)?
            .iter()
            .find(|stored| stored.version.shown_id() == shown_id)
    }

    pub fn upload(&self, key: &str, id: &str) -> S3Result<&Upload> {
        self.uploads
            .get(&(key.to_owned(), id.to_owned()))
            .ok_or_else(no_such_upload)
    }

    fn upload_mut(&mut self, key: &str, id: &str) -> S3Result<&mut Upload> {
        self.uploads
            .get_mut(&(key.to_owned(), id.to_owned()))
            .ok_or_else(no_such_upload)
    }

    /// As MinIO counts: what is there and what comes must stay below the quota.
    pub fn check_quota(&self, more_bytes: u64) -> S3Result<()> {
        let full = |quota| self.used_bytes.saturating_add(more_bytes) >= quota;
        if self.settings.quota_bytes.is_some_and(full) {
            Err(quota_exceeded())
        } else {
            Ok(())
        }
    }
}

impl Stored {
    /// Where the bytes from `offset` on are, in order.
    pub fn spans(&self, mut offset: u64, mut len: u64) -> Vec<Span> {
        let mut spans = Vec::new();
        for part in &self.version.parts {
            if offset >= part.size {
                offset -= part.size;
                continue;
            }
            let here = len.min(part.size - offset);
            if here == 0 {
                break;
            }
            spans.push(Span {
                path: self.data.join(&part.file),
                offset,
                len: here,
            });
            (offset, len) = (0, len - here);
        }
        spans
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if self.removed.load(Ordering::Relaxed) {
            for part in &self.version.parts {
                let _ = fs::remove_file(self.data.join(&part.file));
            }
        }
    }
}
