//! What happens in a sequence, and what must hold after each step and at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vastost::catalog::audit::report::Level;
use vastost::catalog::delete;
use vastost::catalog::format::image_id::ImageId;
use vastost::catalog::lsu::Lsu;
use vastost::catalog::maintain::undelete;
use vastost::catalog::restore::Restore;
use vastost::error::Kind;

use super::known::{Known, Record, State};
use super::ours::any_def;
use super::store::Sequence;

impl Sequence {
    pub fn step(&mut self) {
        // In a plain bucket nothing is locked and nothing comes back.
        match self.dice.below(if self.keeps_versions() { 27 } else { 24 }) {
            0..=4 => self.put(),
            5 => self.pend(),
            6 => self.resume(),
            7 | 8 => self.delete(),
            9 => self.copy_lsu(false),
            10 => self.copy_lsu(true),
            11..=13 => self.damage_record(),
            14 => self.damage_pending(),
            15 | 16 => self.damage_data(),
            17 => self.leave_foreign(),
            18 => self.lock_image(),
            19 => self.undelete(),
            20 | 21 => {
                let lsu = self.dice.below(self.lsus.len());
                self.repair_lsu(lsu);
            }
            22 => {
                let lsu = self.dice.below(self.lsus.len());
                let orphans = self.dice.once_in(2);
                self.gc_lsu(lsu, orphans);
            }
            23 => self.verify(),
            24 => self.lock_image(),
            _ => self.undelete(),
        }
        self.check_bytes();
    }

    pub fn end(mut self) {
        self.verify();
        // Whoever gives everything up need not have tidied up before.
        if !self.dice.once_in(4) {
            self.tidy_up();
        }
        self.remove_everything();
    }

    fn tidy_up(&mut self) {
        for lsu in 0..self.lsus.len() {
            if self.dice.once_in(2) {
                self.gc_lsu(lsu, false);
                self.check_bytes();
            }
            self.repair_lsu(lsu);
            self.check_bytes();
            let orphans = self.dice.once_in(2);
            self.gc_lsu(lsu, orphans);
            self.check_bytes();
            // The first of them may have died on the way.
            self.repair_lsu_alive(lsu);
        }
        self.verify();
        self.check_repaired();
    }

    fn check_bytes(&self) {
        for known in self.images.iter().filter(|known| known.is_needed()) {
            if self.get(&self.bucket(known.lsu), &known.data_key).as_ref() != Some(&known.bytes) {
                self.fail(&format!(
                    "the data of {} in LSU {} are not on the store: {known:?}",
                    known.id, known.lsu
                ));
            }
            // The bytes are there at every step; that they are reached through the record is looked at now and then.
            if self.told.len().is_multiple_of(3) && known.must_restore() {
                self.check_restores(known);
            }
        }
        for known in self.images.iter().filter(|known| known.record == Record::Later) {
            self.check_later(known);
        }
        for ((bucket, key), bytes) in &self.foreign {
            if self.get(bucket, key).as_ref() != Some(bytes) {
                self.fail(&format!("{bucket}/{key}, which is not ours, is gone"));
            }
        }
    }

    /// What a later version wrote stays as it is.
    fn check_later(&self, known: &Known) {
        let keys = match known.state {
            State::Complete | State::Deleting => vec![self.sidecar_key(known)],
            _ => self.pending_keys(known),
        };
        let bucket = self.bucket(known.lsu);
        let is_later = |key: &String| {
            let record = self
                .get(&bucket, key)
                .and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            record.is_some_and(|record| record["schema"] == 2)
        };
        if !keys.iter().any(is_later) {
            self.fail(&format!("the record of a later version is gone or changed: {known:?}"));
        }
    }

    fn check_restores(&self, known: &Known) {
        let Some((bytes, meta)) = self.restored(known) else {
            self.fail(&format!("{} of LSU {} does not restore", known.id, known.lsu));
        };
        if bytes != known.bytes || (meta != known.meta && !known.mended) {
            self.fail(&format!(
                "{} of LSU {} restores otherwise: {known:?}",
                known.id, known.lsu
            ));
        }
    }

    /// True when the image restores and its data object is there, which an empty image does not need for that.
    pub fn is_whole(&self, known: &Known) -> bool {
        let is_there = known.data_key.is_empty()
            || self.get(&self.bucket(known.lsu), &known.data_key).as_ref() == Some(&known.bytes);
        is_there && self.restored(known).is_some_and(|(bytes, _)| bytes == known.bytes)
    }

    /// Bytes and metadata, as a host reads them.
    pub fn restored(&self, known: &Known) -> Option<(Vec<u8>, Vec<u8>)> {
        self.wait(async {
            let mut restore = Restore::open(&self.lsus[known.lsu], &known.id).await.ok()?;
            let mut bytes = vec![0; known.bytes.len() + 1];
            let len = restore.read(&mut bytes, 0).await.ok()?;
            bytes.truncate(len);
            let mut meta = vec![0; known.meta.len() + 1];
            restore.load_meta().await.ok()?;
            let len = restore.read_meta(&mut meta, 0).ok()?;
            meta.truncate(len);
            Some((bytes, meta))
        })
    }

    fn verify(&mut self) {
        self.tell("verify");
        for lsu in 0..self.lsus.len() {
            let report = self.audited(lsu, Level::Deep).expect("an audit").report;
            let named: BTreeSet<String> = report
                .findings
                .iter()
                .filter_map(|finding| finding.image.clone())
                .collect();
            for known in self
                .images
                .iter()
                .filter(|known| known.lsu == lsu && known.must_be_known())
            {
                let good = self.restored(known).is_some_and(|(bytes, _)| bytes == known.bytes);
                if !good && !named.contains(&known.id.to_string()) {
                    self.fail(&format!("verify says nothing of {} in LSU {lsu}: {known:?}", known.id));
                }
            }
            for known in self
                .images
                .iter()
                .filter(|known| known.lsu == lsu && known.state == State::Deleted)
            {
                if self.restored(known).is_some() {
                    self.fail(&format!("{} of LSU {lsu} was deleted and is back", known.id));
                }
            }
        }
    }

    fn repair_lsu_alive(&mut self, lsu: usize) {
        let dice = std::mem::replace(&mut self.dice, super::Dice::Steady);
        self.repair_lsu(lsu);
        self.dice = dice;
    }

    /// After `repair` every image whose bytes are on the store restores, whatever was done to its record.
    fn check_repaired(&self) {
        for known in self.images.iter() {
            if known.state == State::Closing {
                self.fail(&format!(
                    "{} of LSU {} was whole and was not completed: {known:?}",
                    known.id, known.lsu
                ));
            }
            if known.can_be_repaired() {
                self.check_restores(known);
            }
        }
    }

    /// There is no state without a way out: whoever wants an image gone gets it gone, and all that is left is not ours.
    fn remove_everything(&mut self) {
        self.tell("remove everything");
        self.release_all();
        let mut left_to_later = BTreeMap::<usize, Vec<String>>::new();
        for known in self.images.clone() {
            if known.record == Record::Later {
                left_to_later.entry(known.lsu).or_default().push(known.id.to_string());
                continue;
            }
            let lsu = self.lsus[known.lsu].clone();
            let id = known.id.clone();
            if self.dice.once_in(2) {
                self.delete_without_data(&known);
            }
            let done = self.do_async(|_| async move { delete::force_delete(&lsu, &id).await });
            match done {
                Ok(()) => {
                    let named = matches!(known.record, Record::Good | Record::Telling | Record::Silent);
                    if known.state == State::Complete && named {
                        self.check_gone(&known);
                    }
                }
                // Gone already, or only its data are left; or a marker lies over its sidecar, which is taken away first.
                Err(error) if error.kind() == Kind::NotFound => self.remove_hidden(&known),
                Err(error) => self.fail(&format!("{} cannot be removed: {error}: {known:?}", known.id)),
            }
        }
        self.images.retain(|known| known.record == Record::Later);
        let dice = std::mem::replace(&mut self.dice, super::Dice::Steady);
        for lsu in 0..self.lsus.len() {
            self.gc_lsu(lsu, true);
            let is_later = |key: &String| {
                let named = |id: &String| {
                    let (name, date) = id.rsplit_once(':').expect("name and date");
                    key.contains(&format!("{name}.{date}"))
                };
                left_to_later.get(&lsu).is_some_and(|ids| ids.iter().any(named))
            };
            let left: Vec<_> = self.keys_of_lsu(lsu).into_iter().filter(|key| !is_later(key)).collect();
            let prefix = self.prefix(lsu);
            let ours = |key: &&String| {
                ["backups/", "catalog/", "pending/", "meta/"]
                    .iter()
                    .any(|folder| key.strip_prefix(&prefix).is_some_and(|place| place.starts_with(folder)))
            };
            if let Some(key) = left.iter().find(ours) {
                self.fail(&format!("{key} of LSU {lsu} cannot be removed"));
            }
        }
        self.dice = dice;
        self.check_bytes();
        self.check_uploads();
    }

    /// A sidecar that nobody can read any more keeps no image from being deleted once its data are gone.
    fn delete_without_data(&self, known: &Known) {
        let is_there = self.get(&self.bucket(known.lsu), &self.sidecar_key(known)).is_some();
        if !is_there || !self.data_keys(known).is_empty() {
            return;
        }
        let lsu = self.lsus[known.lsu].clone();
        let def = any_def(&known.id);
        if let Err(error) = self.do_async(|_| async move { delete::delete(&lsu, &def).await }) {
            self.fail(&format!(
                "{} has no data and cannot be deleted: {error}: {known:?}",
                known.id
            ));
        }
    }

    fn remove_hidden(&self, known: &Known) {
        let lsu = self.lsus[known.lsu].clone();
        let id = known.id.clone();
        if self.keeps_versions() {
            let back = |lsu: Lsu, id: ImageId| async move { undelete::undelete(&lsu, &id).await };
            let _ = self.do_async(|_| back(lsu.clone(), id.clone()));
            let _ = self.do_async(|_| async move { delete::force_delete(&lsu, &id).await });
        }
    }

    fn check_uploads(&self) {
        let mut there = Vec::new();
        for lsu in [0, self.lsus.len() - 1] {
            let bucket = self.bucket(lsu);
            let page = self.do_async(|store| async move { store.list_uploads(&bucket, None).await });
            there.extend(page.expect("uploads").uploads.into_iter().map(|upload| upload.id));
        }
        for id in &self.uploads {
            if !there.contains(id) {
                self.fail(&format!("upload {id}, which is not ours, is gone"));
            }
        }
    }
}
