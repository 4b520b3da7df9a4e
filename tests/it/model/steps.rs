//! The world of a sequence and what can happen in it. Our own commands go through the catalog, as the command line does;
//! strangers go straight to the store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use serde_json::Value;
use vastost::catalog::audit::report::Level;
use vastost::catalog::audit::run::{Audited, Checkpoint, run};
use vastost::catalog::audit::{Found, Options};
use vastost::catalog::backup::Backup;
use vastost::catalog::escape::Name;
use vastost::catalog::image_id::{ImageDef, ImageId};
use vastost::catalog::list::Filter;
use vastost::catalog::lsu::Lsu;
use vastost::catalog::restore::Restore;
use vastost::catalog::{delete, gc, repair};
use vastost::config::Config;
use vastost::error::{Error, Kind};
use vastost::objstore::checksum::Md5Sum;
use vastost::objstore::client::{Store, WireCheck};
use vastost::objstore::engine::Engine;

use super::known::{Known, Record, State};
use super::{Dice, damage};
use crate::common::{DATE, PART, Site, Wish, pattern};

/// The prefixes of the LSUs, all in one bucket.
const PREFIXES: [&str; 3] = ["", "side", "third"];

/// One store and one process.
pub struct World {
    wish: Wish,
}

/// One sequence, in a bucket of its own.
pub struct Sequence {
    site: Site,
    engine: Option<Engine>,
    store: Store,
    lsus: Vec<Lsu>,
    dice: Dice,
    seed: u64,
    images: Vec<Known>,
    count: u64,
    told: Vec<String>,
}

impl World {
    pub fn new(wish: &Wish) -> Self {
        let third = "[[server.t.lsu]]\nname = \"third\"\nbucket = \"BUCKET\"\nprefix = \"third\"\n";
        Self { wish: wish.small_parts().with(third) }
    }

    pub fn sequence(&self, seed: u64) -> Sequence {
        let site = Site::new(&self.wish);
        let config = Config::load(&site.config).expect("a configuration");
        let engine = Engine::start(&config).expect("an engine");
        let server = config.server("t").expect("server t").clone();
        let store = Store::new(&engine, &config, &server, None).expect("a store");
        let of_prefix = |prefix: &&str| {
            let wanted = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
            let found = server.lsus.iter().find(|lsu| lsu.bucket == site.bucket && lsu.prefix == wanted);
            Lsu::new(store.clone(), &config, &server, found.expect("an LSU"))
        };
        let lsus = PREFIXES.iter().map(of_prefix).collect();
        let (images, told) = (Vec::new(), Vec::new());
        Sequence { site, engine: Some(engine), store, lsus, dice: Dice(seed), seed, images, count: 0, told }
    }
}

impl Sequence {
    pub fn step(&mut self) {
        match self.dice.below(16) {
            0..=3 => self.put(),
            4 => self.pend(),
            5 => self.resume(),
            6 | 7 => self.delete(),
            8 => self.copy(false),
            9 => self.copy(true),
            10 | 11 => self.damage_record(),
            12 => self.damage_data(),
            13 => self.repair(),
            14 => self.gc(),
            _ => self.verify(),
        }
        self.check_bytes();
    }

    pub fn end(mut self) {
        self.verify();
        for lsu in 0..self.lsus.len() {
            self.repair_lsu(lsu);
            self.check_bytes();
            self.gc_lsu(lsu, false);
            self.check_bytes();
        }
        self.verify();
        self.check_repaired();
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    fn fail(&self, what: &str) -> ! {
        panic!("seed {}: {what}\n{}", self.seed, self.told.join("\n"))
    }

    fn do_async<T, F>(&self, act: impl FnOnce(Store) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.store.run(act(self.store.clone()))
    }

    // What strangers do.

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let (bucket, owned) = (self.site.bucket.clone(), key.to_owned());
        match self.do_async(|store| async move { store.get_small(&bucket, &owned, 64 << 20).await }) {
            Ok(bytes) => Some(bytes.to_vec()),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => self.fail(&format!("get {key}: {error}")),
        }
    }

    fn put_object(&self, key: &str, body: Vec<u8>, metadata: Vec<(String, String)>) {
        let (bucket, key, check) = (self.site.bucket.clone(), key.to_owned(), WireCheck::Md5(Md5Sum::of(&body)));
        let put =
            self.do_async(
                |store| async move { store.put(&bucket, &key, Bytes::from(body), check, &metadata, false).await },
            );
        put.expect("put");
    }

    fn metadata(&self, key: &str) -> Vec<(String, String)> {
        let (bucket, key) = (self.site.bucket.clone(), key.to_owned());
        let head = self.do_async(|store| async move { store.head(&bucket, &key).await });
        head.map(|object| object.metadata.into_iter().collect()).unwrap_or_default()
    }

    fn remove(&self, key: &str) {
        let (bucket, key) = (self.site.bucket.clone(), key.to_owned());
        self.do_async(|store| async move { store.delete(&bucket, &key, None).await }).expect("delete");
    }

    fn prefix(&self, lsu: usize) -> String {
        self.lsus[lsu].keys().prefix().to_owned()
    }

    fn keys_of_lsu(&self, lsu: usize) -> Vec<String> {
        let prefix = self.prefix(lsu);
        let others = |key: &String| prefix.is_empty() && (key.starts_with("side/") || key.starts_with("third/"));
        self.site.keys_under(&prefix).into_iter().filter(|key| !others(key)).collect()
    }

    /// What `cp --recursive`, or `mv`, of any S3 tool does. Large images get other ETags.
    fn copy(&mut self, and_remove: bool) {
        let (from, to) = (self.dice.below(3), self.dice.below(3));
        if from == to || !self.keys_of_lsu(to).is_empty() || self.images.iter().any(|known| known.lsu == to) {
            return;
        }
        let keep_metadata = self.dice.below(4) > 0;
        self.tell(format!("copy LSU {from} to {to}, then remove: {and_remove}, metadata: {keep_metadata}"));
        let (source, target) = (self.prefix(from), self.prefix(to));
        let keys = self.keys_of_lsu(from);
        for key in &keys {
            let place = key.strip_prefix(&source).expect("below the prefix");
            let metadata = if keep_metadata { self.metadata(key) } else { Vec::new() };
            let body = self.get(key).expect("it is listed");
            self.put_object(&format!("{target}{place}"), body, metadata);
        }
        let copies: Vec<_> = self.images.iter().filter(|known| known.lsu == from).cloned().collect();
        for known in copies {
            let data_key = known.data_key.strip_prefix(&source).map(|place| format!("{target}{place}"));
            self.images.push(Known { lsu: to, data_key: data_key.unwrap_or_default(), ..known });
        }
        if and_remove {
            keys.iter().for_each(|key| self.remove(key));
            self.images.retain(|known| known.lsu != from);
        }
    }

    fn choose(&mut self, of: impl Fn(&Known) -> bool) -> Option<usize> {
        let fits: Vec<usize> = (0..self.images.len()).filter(|index| of(&self.images[*index])).collect();
        self.dice.pick(&fits).copied()
    }

    fn damage_record(&mut self) {
        let Some(index) = self.choose(|known| known.state == State::Complete && known.record == Record::Good) else {
            return;
        };
        let known = self.images[index].clone();
        let key = self.lsus[known.lsu].keys().sidecar(&known.id);
        let Some(text) = self.get(&key) else { self.fail(&format!("{key} is gone")) };
        let other =
            self.choose(|other| other.state == State::Complete && other.record == Record::Good && other.id != known.id);
        let other = other.map(|other| &self.images[other]);
        let elsewhere = other.map_or_else(String::new, |other| other.data_key.clone());
        let other_text = other.and_then(|other| self.get(&self.lsus[other.lsu].keys().sidecar(&other.id)));
        let (damaged, record) = damage::sidecar(&mut self.dice, &text, other_text.as_deref(), &elsewhere);
        self.tell(format!("damage sidecar {key}: {record:?}"));
        match damaged {
            None => self.remove(&key),
            Some(body) => self.put_object(&key, body, Vec::new()),
        }
        self.images[index].record = record;
    }

    fn damage_data(&mut self) {
        let Some(index) = self.choose(|known| known.state == State::Complete && known.data_good) else { return };
        let known = self.images[index].clone();
        let damaged = damage::data(&mut self.dice, &known);
        self.tell(format!("damage data {}: {:?} bytes", known.data_key, damaged.as_ref().map(Vec::len)));
        match damaged {
            None => self.remove(&known.data_key),
            Some(body) => self.put_object(&known.data_key, body, self.metadata(&known.data_key)),
        }
        self.images[index].data_good = false;
    }

    // What we do.

    fn new_image(&mut self) -> (usize, ImageDef, Vec<u8>) {
        self.count += 1;
        let lsu = self.dice.below(3);
        let id =
            ImageId::new(Name::new(format!("db{}_{}_C1_F1", self.dice.below(3), DATE + self.count)), DATE + self.count);
        let size = match self.dice.below(30) {
            0 | 1 => 0,
            2 => PART + 1_000,
            _ => 1 + self.dice.below(4_000),
        };
        let def = ImageDef { id: id.expect("an image"), policy: Name::new("Gold"), image_type: 1 };
        (lsu, def, pattern(size, self.seed << 8 | self.count))
    }

    fn put(&mut self) {
        let (lsu, def, bytes) = self.new_image();
        self.tell(format!("put {} into LSU {lsu}, {} bytes", def.id, bytes.len()));
        let mut backup = Backup::create(&self.lsus[lsu], def.clone()).expect("create");
        backup.write(&bytes, 0).expect("write");
        if self.dice.below(3) == 0 {
            backup.meta().extend_from_slice(b"metadata");
        }
        backup.complete().expect("complete");
        self.completed(lsu, def.id, bytes);
    }

    fn completed(&mut self, lsu: usize, id: ImageId, bytes: Vec<u8>) {
        let text = self.get(&self.lsus[lsu].keys().sidecar(&id)).expect("a sidecar");
        let record: Value = serde_json::from_slice(&text).expect("JSON");
        let data_key = record["data"]["key"].as_str().expect("a key").to_owned();
        let (state, record) = (State::Complete, Record::Good);
        self.images.push(Known { lsu, id, bytes, state, data_key, record, data_good: true, given_up: false });
    }

    /// Closed incomplete.
    fn pend(&mut self) {
        let (lsu, def, bytes) = self.new_image();
        self.tell(format!("leave {} of LSU {lsu} incomplete", def.id));
        let mut backup = Backup::create(&self.lsus[lsu], def.clone()).expect("create");
        backup.write(&bytes, 0).expect("write");
        backup.incomplete().expect("incomplete");
        let (state, record, data_key) = (State::Pending, Record::Good, String::new());
        self.images.push(Known { lsu, id: def.id, bytes, state, data_key, record, data_good: true, given_up: false });
    }

    fn resume(&mut self) {
        let Some(index) = self.choose(|known| known.state == State::Pending) else { return };
        let known = self.images[index].clone();
        let def = ImageDef { id: known.id.clone(), policy: Name::new("Gold"), image_type: 1 };
        let mut backup = match Backup::reopen(&self.lsus[known.lsu], &def) {
            // `gc` without a grace period took it.
            Err(error) if error.kind() == Kind::NotFound => {
                self.images.remove(index);
                return;
            }
            other => other.expect("reopen"),
        };
        self.tell(format!("go on with {} of LSU {}", known.id, known.lsu));
        let more = pattern(700, self.seed);
        let mut bytes = known.bytes.clone();
        backup.write(&more, bytes.len() as u64).expect("write");
        bytes.extend_from_slice(&more);
        backup.complete().expect("complete");
        self.images.remove(index);
        self.completed(known.lsu, known.id, bytes);
    }

    fn delete(&mut self) {
        let Some(index) = self.choose(|known| known.state != State::Deleted) else { return };
        let known = self.images[index].clone();
        let def = ImageDef { id: known.id.clone(), policy: Name::default(), image_type: 0 };
        let lsu = self.lsus[known.lsu].clone();
        let done = self.do_async(|_| async move { delete::delete(&lsu, &def).await });
        self.tell(format!(
            "delete {} of LSU {}: {}",
            known.id,
            known.lsu,
            done.as_ref().map_or_else(ToString::to_string, |()| "done".into())
        ));
        match done {
            Ok(()) => self.images[index].state = State::Deleted,
            // A sidecar that cannot be read, or none: the image stays.
            Err(_) if known.record != Record::Good || known.state == State::Pending => {}
            Err(error) => self.fail(&format!("delete: {error}")),
        }
    }

    fn audited(&self, lsu: usize, level: Level) -> Audited {
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
        run(&[self.lsus[lsu].clone()], &options, Checkpoint::default(), &cancel, &mut |_| {}).expect("an audit")
    }

    fn repair(&mut self) {
        let lsu = self.dice.below(3);
        self.repair_lsu(lsu);
    }

    fn repair_lsu(&mut self, lsu: usize) {
        self.tell(format!("repair LSU {lsu}"));
        for (of, found) in self.audited(lsu, Level::Quick).found {
            let Found { remedy: Some(remedy), .. } = found else { continue };
            if repair::plan(&remedy).is_some() {
                let done = self.do_async(|_| async move { repair::mend(&of, &remedy, true).await });
                self.tell(format!("  {done:?}"));
            }
        }
        // What could be repaired is good now; damaged data behind a record that tells nothing become what they are.
        let repaired =
            |known: &&mut Known| known.lsu == lsu && known.state == State::Complete && known.record != Record::Good;
        for known in self.images.iter_mut().filter(repaired) {
            if known.data_good && !known.given_up {
                known.record = Record::Good;
            }
        }
    }

    fn gc(&mut self) {
        let (lsu, orphans) = (self.dice.below(3), self.dice.below(2) == 0);
        self.gc_lsu(lsu, orphans);
    }

    fn gc_lsu(&mut self, lsu: usize, orphans: bool) {
        self.tell(format!("gc LSU {lsu}, orphan data: {orphans}"));
        for (of, found) in self.audited(lsu, Level::Quick).found {
            let Found { remedy: Some(remedy), .. } = found else { continue };
            if gc::plan(&remedy, orphans).is_some() {
                let done = self.do_async(|_| async move { gc::remove(&of, &remedy).await });
                self.tell(format!("  {done:?}"));
            }
        }
        for known in self.images.iter_mut().filter(|known| known.lsu == lsu) {
            // Asked for in so many words: nothing but its record said that these data are an image.
            known.given_up |= orphans && known.record == Record::Missing;
        }
    }

    // What must hold.

    fn check_bytes(&self) {
        for known in self.images.iter().filter(|known| known.is_needed()) {
            if self.get(&known.data_key).as_ref() != Some(&known.bytes) {
                self.fail(&format!("the data of {} in LSU {} are not on the store: {known:?}", known.id, known.lsu));
            }
            // The bytes are there at every step; that they are reached through the record is looked at now and then.
            if self.told.len().is_multiple_of(3)
                && known.must_restore()
                && self.restored(known).as_ref() != Some(&known.bytes)
            {
                self.fail(&format!("{} of LSU {} does not restore", known.id, known.lsu));
            }
        }
    }

    fn restored(&self, known: &Known) -> Option<Vec<u8>> {
        let mut restore = Restore::open(&self.lsus[known.lsu], &known.id).ok()?;
        let mut bytes = vec![0; known.bytes.len() + 1];
        let mut done = 0;
        loop {
            let got = restore.read(&mut bytes[done..], done as u64).ok()?;
            done += got;
            if got == 0 || done == bytes.len() {
                bytes.truncate(done);
                return Some(bytes);
            }
        }
    }

    fn verify(&mut self) {
        for lsu in 0..self.lsus.len() {
            let report = self.audited(lsu, Level::Deep).report;
            let named: BTreeSet<String> = report.findings.iter().filter_map(|finding| finding.image.clone()).collect();
            for known in self.images.iter().filter(|known| known.lsu == lsu && known.must_be_known()) {
                let good = self.restored(known).as_ref() == Some(&known.bytes);
                if !good && !named.contains(&known.id.to_string()) {
                    self.fail(&format!("verify says nothing of {} in LSU {lsu}: {known:?}", known.id));
                }
            }
            for known in self.images.iter().filter(|known| known.lsu == lsu && known.state == State::Deleted) {
                let back = self
                    .images
                    .iter()
                    .any(|other| other.lsu == lsu && other.id == known.id && other.state != State::Deleted);
                if !back && self.restored(known).is_some() {
                    self.fail(&format!("{} of LSU {lsu} was deleted and is back", known.id));
                }
            }
        }
    }

    /// After `repair` every image whose bytes are on the store restores, whatever was done to its record.
    fn check_repaired(&self) {
        for known in self.images.iter().filter(|known| known.is_needed()) {
            if self.restored(known).as_ref() != Some(&known.bytes) {
                self.fail(&format!("{} of LSU {} was not repaired: {known:?}", known.id, known.lsu));
            }
        }
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop();
        }
    }
}
