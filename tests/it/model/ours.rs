//! What our own commands do, through the catalog as the command line does it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use vastost::catalog::audit::fix::Fix;
use vastost::catalog::audit::report::Level;
use vastost::catalog::audit::run::{Audited, Checkpoint, run};
use vastost::catalog::audit::{Found, Options};
use vastost::catalog::delete;
use vastost::catalog::format::escape::Name;
use vastost::catalog::format::image_id::{ImageDef, ImageId};
use vastost::catalog::list::Filter;
use vastost::catalog::maintain::{gc, repair, undelete};
use vastost::catalog::write::backup::Backup;
use vastost::error::{Error, Kind};

use super::crash::ANY;
use super::known::{Known, Record, State};
use super::store::{BucketKind, Sequence};
use vastost_testkit::test_store::{DATE, PART, pattern};

/// More than a record takes inline: these are an object of their own.
const LARGE_META: usize = 100_000;

/// Nothing of these deletes has happened.
const RIGHT: &str = "DeleteObjectVersion";

fn def_of(id: &ImageId) -> ImageDef {
    ImageDef {
        id: id.clone(),
        policy: Name::new("Gold"),
        image_type: 1,
    }
}

/// The definition by which NetBackup deletes: name and date alone.
pub fn any_def(id: &ImageId) -> ImageDef {
    ImageDef {
        id: id.clone(),
        policy: Name::default(),
        image_type: 0,
    }
}

fn in_words<T: std::fmt::Debug>(done: &Result<T, Error>) -> String {
    done.as_ref()
        .map_or_else(ToString::to_string, |done| format!("{done:?}"))
}

impl Sequence {
    fn new_image(&mut self) -> (usize, ImageId, Vec<u8>, Vec<u8>) {
        self.count += 1;
        let lsu = self.dice.below(self.lsus.len());
        let name = format!("db{}_{}_C1_F1", self.dice.below(3), DATE + self.count);
        let id = ImageId::new(Name::new(name), DATE + self.count).expect("an image");
        let size = match self.dice.below(30) {
            0 | 1 => 0,
            2..=4 => PART + 1_000,
            _ => 1 + self.dice.below(4_000),
        };
        let meta = match self.dice.below(6) {
            0 => b"metadata".to_vec(),
            1 => pattern(LARGE_META, self.count),
            _ => Vec::new(),
        };
        (lsu, id, pattern(size, self.seed << 8 | self.count), meta)
    }

    pub fn put(&mut self) {
        let (lsu, id, bytes, meta) = self.new_image();
        self.tell(format!(
            "put {id} into LSU {lsu}, {} bytes, {} of metadata",
            bytes.len(),
            meta.len()
        ));
        let of = self.lsus[lsu].clone();
        let def = def_of(&id);
        // An image of several parts can be left whole and without a sidecar.
        let times = if bytes.len() > PART { 2 } else { 4 };
        let (done, died) = self.at_risk_in(times, ANY, |sequence| {
            sequence.wait(async {
                let mut backup = Backup::create(&of, def).await?;
                backup.write(&bytes, 0).await?;
                backup.meta().extend_from_slice(&meta);
                backup.complete().await
            })
        });
        self.closed(lsu, id, bytes, meta, done, died);
    }

    fn closed(&mut self, lsu: usize, id: ImageId, bytes: Vec<u8>, meta: Vec<u8>, done: Result<u64, Error>, died: bool) {
        match done {
            // It may have died when only its pending record was left to remove.
            Ok(_) => self.completed(lsu, id, bytes, meta, died),
            Err(error) if died => {
                self.tell(format!("  {error}"));
                self.after_writer(lsu, id, bytes, meta);
            }
            Err(error) => self.fail(&format!("complete: {error}")),
        }
    }

    fn completed(&mut self, lsu: usize, id: ImageId, bytes: Vec<u8>, meta: Vec<u8>, died: bool) {
        let text = self
            .get(&self.bucket(lsu), &self.lsus[lsu].keys().sidecar(&id))
            .expect("a sidecar");
        let record: Value = serde_json::from_slice(&text).expect("JSON");
        let data_key = self.data_key(lsu, &record);
        self.images.push(Known {
            lsu,
            id,
            bytes,
            meta,
            state: State::Complete,
            data_key,
            record: Record::Good,
            data_good: true,
            given_up: false,
            left: died,
            held: false,
            copied: false,
            mended: false,
        });
    }

    /// Closed incomplete.
    pub fn pend(&mut self) {
        let (lsu, id, bytes, meta) = self.new_image();
        self.tell(format!("leave {id} of LSU {lsu} incomplete"));
        let of = self.lsus[lsu].clone();
        let def = def_of(&id);
        let (done, died) = self.at_risk(|sequence| {
            sequence.wait(async {
                let mut backup = Backup::create(&of, def).await?;
                backup.write(&bytes, 0).await?;
                backup.meta().extend_from_slice(&meta);
                backup.incomplete().await
            })
        });
        if let (Err(error), false) = (done, died) {
            self.fail(&format!("incomplete: {error}"));
        }
        self.after_writer(lsu, id, bytes, meta);
    }

    pub fn resume(&mut self) {
        let Some(index) = self.choose(|known| known.state == State::Pending && known.record == Record::Good) else {
            return;
        };
        let known = self.images[index].clone();
        self.tell(format!("go on with {} of LSU {}", known.id, known.lsu));
        let more = pattern(700, self.seed);
        let of = self.lsus[known.lsu].clone();
        let def = def_of(&known.id);
        let mut bytes = known.bytes.clone();
        let (done, died) = self.at_risk(|sequence| {
            sequence.wait(async {
                let mut backup = Backup::reopen(&of, &def).await?;
                // What a dead writer could not send is gone.
                let kept = usize::try_from(backup.size()).expect("small");
                assert!(kept <= bytes.len(), "more than was written");
                bytes.truncate(kept);
                bytes.extend_from_slice(&more);
                backup.write(&more, kept as u64).await?;
                backup.meta().clone_from(&known.meta);
                backup.complete().await
            })
        });
        match done {
            // `gc` without a grace period took it, or its writer died too early.
            Err(error) if !died && error.kind() == Kind::NotFound => {
                self.tell(format!("  {error}"));
                self.images.remove(index);
            }
            done => {
                self.images.remove(index);
                self.closed(known.lsu, known.id, bytes, known.meta, done, died);
            }
        }
    }

    pub fn delete(&mut self) {
        let Some(index) = self.choose(|known| !matches!(known.state, State::Deleted | State::Deleting)) else {
            return;
        };
        let known = self.images[index].clone();
        let bucket = self.bucket(known.lsu);
        let full = self.is_embedded() && self.dice.once_in(3);
        let denied = self.is_embedded() && self.keeps_versions() && self.dice.once_in(5);
        let keys = self.site.keys.access_key_id.clone();
        let lsu = self.lsus[known.lsu].clone();
        let def = any_def(&known.id);
        let before = self.versions_of(&known);
        // Without a mark the order of what goes is all that tells of a delete.
        let (times, operation) = if full { (2, "DeleteObject") } else { (4, ANY) };
        let (done, died) = self.at_risk_in(times, operation, |sequence| {
            if full {
                sequence.site.embedded().set_quota(&bucket, Some(1)).expect("a quota");
            }
            if denied {
                sequence.site.embedded().deny(&keys, RIGHT);
            }
            let done = sequence.do_async(|_| async move { delete::delete(&lsu, &def).await });
            if full {
                sequence.site.embedded().set_quota(&bucket, None).expect("no quota");
            }
            if denied {
                sequence.site.embedded().allow(&keys, RIGHT);
            }
            done
        });
        let how = format!("full: {full}, without the right: {denied}, died: {died}");
        self.tell(format!(
            "delete {} of LSU {}, {how}: {}",
            known.id,
            known.lsu,
            in_words(&done)
        ));
        match done {
            Ok(()) => self.deleted(index),
            Err(_) if died => {
                if known.state == State::Complete {
                    self.check_half_deleted(&known);
                    self.images[index].state = State::Deleting;
                    self.look_again();
                }
            }
            Err(error) if known.held || denied => {
                // The store is asked for locks before anything is put.
                if known.held && known.must_restore() && self.versions_of(&known) != before {
                    self.fail(&format!("a delete that a lock refused changed something: {known:?}"));
                }
                let refused = matches!(error.kind(), Kind::Locked | Kind::AccessDenied);
                if known.must_restore() && !refused {
                    self.fail(&format!("delete: {error}"));
                }
            }
            // A record that cannot be read, or none: the image stays.
            Err(_) if known.record != Record::Good || known.state != State::Complete => {}
            Err(error) => self.fail(&format!("delete: {error}")),
        }
    }

    /// Versions of its sidecar and of its data.
    fn versions_of(&self, known: &Known) -> Option<[usize; 2]> {
        let count = |key: &str| self.versions(&self.bucket(known.lsu), key);
        known
            .held
            .then(|| [count(&self.sidecar_key(known)), count(&known.data_key)])
    }

    /// As long as the sidecar says that the image is complete, a delete has removed nothing.
    fn check_half_deleted(&self, known: &Known) {
        let text = self
            .get(&self.bucket(known.lsu), &self.sidecar_key(known))
            .unwrap_or_default();
        let record: Value = serde_json::from_slice(&text).unwrap_or_default();
        if known.must_restore() && record["state"] == "complete" && !self.is_whole(known) {
            self.fail(&format!(
                "its delete died, and its sidecar speaks of data that are gone: {known:?}"
            ));
        }
    }

    fn deleted(&mut self, index: usize) {
        let known = self.images[index].clone();
        if known.held && !known.bytes.is_empty() && self.get(&self.bucket(known.lsu), &known.data_key).is_none() {
            self.fail(&format!("{} was locked, and its delete was done", known.id));
        }
        // The data that its own record did not name come back with `repair`.
        self.images[index].state = if known.record == Record::Astray {
            State::Deleting
        } else {
            State::Deleted
        };
        if known.record != Record::Astray {
            self.check_gone(&known);
        }
    }

    /// A finished delete is final: it leaves no older versions.
    pub fn check_gone(&self, known: &Known) {
        for key in [self.sidecar_key(known), known.data_key.clone()] {
            if self.keeps_versions() && !key.is_empty() && self.versions(&self.bucket(known.lsu), &key) > 0 {
                self.fail(&format!("{key} was deleted and has versions: {known:?}"));
            }
        }
    }

    pub fn audited(&self, lsu: usize, level: Level) -> Result<Audited, Error> {
        let options = Options {
            level,
            leftovers: true,
            filter: Filter::default(),
            shard: None,
            grace_seconds: 0,
            jobs: 4,
            limit_rate: None,
        };
        let cancel = Arc::new(AtomicBool::new(false));
        let lsus = [self.lsus[lsu].clone()];
        self.wait(run(&lsus, &options, Checkpoint::default(), &cancel, &mut |_| {}))
    }

    fn level(&mut self) -> Level {
        *self
            .dice
            .pick(&[Level::Quick, Level::Default, Level::Deep])
            .expect("some")
    }

    pub fn repair_lsu(&mut self, lsu: usize) {
        let level = self.level();
        self.tell(format!("repair LSU {lsu} ({level:?})"));
        let audited = self.audited(lsu, level).expect("an audit");
        let ((told, refused), died) = self.at_risk(|sequence| {
            let mut told = Vec::new();
            let mut refused = Vec::new();
            for (of, found) in audited.found {
                let Found { fix: Some(fix), .. } = found else {
                    continue;
                };
                if repair::plan(&fix).is_some() {
                    let delete = if let Fix::FinishDelete(id) = &fix {
                        Some(id.clone())
                    } else {
                        None
                    };
                    let done = sequence.do_async(|_| async move { repair::apply(&of, &fix, true).await });
                    told.push(format!("  {}", in_words(&done)));
                    refused.extend(delete.filter(|_| done.is_err()));
                }
            }
            (told, refused)
        });
        self.told.extend(told);
        for known in self
            .images
            .iter()
            .filter(|known| known.lsu == lsu && refused.contains(&known.id))
        {
            if !died && self.is_whole(known) {
                self.fail(&format!(
                    "a delete was taken back, and repair calls that an error: {known:?}"
                ));
            }
        }
        self.look_again();
        for known in self
            .images
            .iter_mut()
            .filter(|known| known.lsu == lsu && known.state == State::Complete)
        {
            known.mended |= known.record != Record::Good || !known.data_good;
            // What could be repaired is good now; damaged data behind a record that tells nothing become what they are.
            if !died && known.can_be_repaired() {
                known.record = Record::Good;
            }
        }
    }

    pub fn gc_lsu(&mut self, lsu: usize, orphans: bool) {
        let level = self.level();
        self.tell(format!("gc LSU {lsu} ({level:?}), orphan data: {orphans}"));
        let audited = self.audited(lsu, level).expect("an audit");
        let (told, _) = self.at_risk(|sequence| {
            let mut told = Vec::new();
            for (of, found) in audited.found {
                let Found { fix: Some(fix), .. } = found else {
                    continue;
                };
                if gc::plan(&fix, orphans).is_some() {
                    let done = sequence.do_async(|_| async move { gc::remove(&of, &fix, 0).await });
                    told.push(format!("  {}", in_words(&done)));
                }
            }
            told
        });
        self.told.extend(told);
        let keeps_versions = self.keeps_versions();
        for known in self.images.iter_mut().filter(|known| known.lsu == lsu) {
            // Asked for in so many words: nothing but its record said that these data are an image, and no version says so.
            let is_orphan = match known.state {
                State::Pending => !matches!(known.record, Record::Good | Record::Later),
                _ => known.record == Record::Missing && (known.copied || !keeps_versions),
            };
            known.given_up |= orphans && is_orphan;
        }
        self.look_again();
    }

    pub fn undelete(&mut self) {
        let harmed = |known: &Known| {
            let complete = known.state == State::Complete && (known.record != Record::Good || !known.data_good);
            (complete || known.state == State::Deleting) && known.record != Record::Later && !known.given_up
        };
        let Some(index) = self.choose(harmed) else { return };
        let known = self.images[index].clone();
        let lsu = self.lsus[known.lsu].clone();
        let id = known.id.clone();
        let (done, died) =
            self.at_risk(|sequence| sequence.do_async(|_| async move { undelete::undelete(&lsu, &id).await }));
        self.tell(format!(
            "undelete {} of LSU {}: {}",
            known.id,
            known.lsu,
            in_words(&done)
        ));
        let restores = self.is_whole(&known);
        let can = self.kind != BucketKind::Plain && known.state == State::Complete && known.record != Record::Astray;
        if can && !known.mended && !known.copied && !died && !restores {
            self.fail(&format!("undelete does not bring {} back", known.id));
        }
        if restores {
            let text = self
                .get(&self.bucket(known.lsu), &self.sidecar_key(&known))
                .expect("a sidecar");
            let record: Value = serde_json::from_slice(&text).expect("JSON");
            if record["state"] == "complete" {
                let data_key = self.data_key(known.lsu, &record);
                let found = &mut self.images[index];
                found.data_key = data_key;
                (found.state, found.record, found.data_good) = (State::Complete, Record::Good, true);
            }
        }
        self.look_again();
    }
}
