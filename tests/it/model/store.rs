//! The store that all share, and how each of them gets at it.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockLegalHold, ObjectLockLegalHoldStatus};
use bytes::Bytes;
use serde_json::Value;
use vastost::catalog::format::keys::Folder;
use vastost::catalog::lsu::Lsu;
use vastost::config::{Bucket, Config};
use vastost::engine::checksum::Md5Sum;
use vastost::engine::process::Engine;
use vastost::engine::runtime::Runtime;
use vastost::error::{Error, Kind};
use vastost::objstore::s3::store::Store;
use vastost::objstore::s3::types::WireCheck;

use super::Dice;
use super::known::Known;
use crate::sdk::Sdk;
use vastost_testkit::test_store::{Site, Wish};

/// The prefixes of the LSUs. All but the last lie in one bucket.
pub const PREFIXES: [&str; 4] = ["", "side", "third", "far"];

/// What the server is like, for all sequences.
pub struct World {
    wish: Wish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketKind {
    Plain,
    Versioned,
    /// With Object Lock, and so with versions.
    Locked,
}

/// One sequence, in buckets of its own.
pub struct Sequence {
    pub site: Site,
    pub sdk: Sdk,
    pub kind: BucketKind,
    engine: Option<Engine>,
    pub store: Store,
    pub lsus: Vec<Lsu>,
    pub dice: Dice,
    pub seed: u64,
    pub images: Vec<Known>,
    /// What is not ours, by bucket and key.
    pub foreign: BTreeMap<(Bucket, String), Vec<u8>>,
    /// Uploads that are not ours, by id.
    pub uploads: Vec<String>,
    pub count: u64,
    pub told: Vec<String>,
}

impl World {
    pub fn new(wish: &Wish) -> Self {
        let more = "[[server.t.lsu]]\nname = \"third\"\nbucket = \"BUCKET\"\nprefix = \"third\"\n\
                    [[server.t.lsu]]\nname = \"far\"\nbucket = \"BUCKET-far\"\nprefix = \"far\"\n";
        Self {
            wish: wish.small_parts().with(more).alone(),
        }
    }

    pub fn sequence(&self, seed: u64) -> Sequence {
        let kind = match seed % 4 {
            0 | 1 => BucketKind::Plain,
            2 => BucketKind::Versioned,
            _ => BucketKind::Locked,
        };
        let site = Site::new(&if kind == BucketKind::Locked {
            self.wish.locked()
        } else {
            self.wish.clone()
        });
        let mut sdk = Sdk::new(&site);
        for bucket in [site.bucket.clone(), format!("{}-far", site.bucket).into()] {
            sdk.bucket = bucket;
            if kind == BucketKind::Locked {
                sdk.create_locked_bucket();
            } else if sdk.bucket != site.bucket {
                sdk.run(sdk.client.create_bucket().bucket(&sdk.bucket).send())
                    .expect("a bucket");
            }
            if kind == BucketKind::Versioned {
                sdk.set_versioning(BucketVersioningStatus::Enabled);
            }
        }
        let config = Config::load(&site.config).expect("a configuration");
        let engine = Engine::start(&config).expect("an engine");
        let server = config.server("t").expect("server t").clone();
        let store = Store::new(&engine, &config, &server, None).expect("a store");
        let of_prefix = |prefix: &&str| {
            let wanted = if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}/")
            };
            let found = server
                .lsus
                .iter()
                .find(|lsu| !lsu.bucket.ends_with("-missing") && lsu.prefix == wanted);
            Lsu::new(store.clone(), &config, &server, found.expect("an LSU"))
        };
        let lsus = PREFIXES.iter().map(of_prefix).collect();
        Sequence {
            site,
            sdk,
            kind,
            engine: Some(engine),
            store,
            lsus,
            dice: Dice::Thrown(seed),
            seed,
            images: Vec::new(),
            foreign: BTreeMap::new(),
            uploads: Vec::new(),
            count: 0,
            told: vec![format!("{kind:?}")],
        }
    }
}

impl Sequence {
    pub fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    pub fn fail(&self, what: &str) -> ! {
        panic!("seed {}: {what}\n{}", self.seed, self.told.join("\n"))
    }

    pub fn is_embedded(&self) -> bool {
        self.site.is_embedded()
    }

    pub fn keeps_versions(&self) -> bool {
        self.kind != BucketKind::Plain
    }

    pub fn do_async<T, F>(&self, act: impl FnOnce(Store) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.runtime().run(act(self.store.clone()))
    }

    /// Runs work that borrows what it works on.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime().handle().block_on(work)
    }

    fn runtime(&self) -> &Runtime {
        self.engine.as_ref().expect("an engine").runtime()
    }

    pub fn bucket(&self, lsu: usize) -> Bucket {
        self.lsus[lsu].bucket().clone()
    }

    pub fn prefix(&self, lsu: usize) -> String {
        self.lsus[lsu].keys().prefix().to_owned()
    }

    pub fn get(&self, bucket: &Bucket, key: &str) -> Option<Vec<u8>> {
        let bucket = bucket.clone();
        let owned = key.to_owned();
        match self.do_async(|store| async move { store.get_small(&bucket, &owned, 64 << 20).await }) {
            Ok(bytes) => Some(bytes.to_vec()),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => self.fail(&format!("get {key}: {error}")),
        }
    }

    pub fn put_object(&self, bucket: &Bucket, key: &str, body: Vec<u8>, metadata: Vec<(String, String)>) {
        let bucket = bucket.clone();
        let key = key.to_owned();
        let check = WireCheck::Md5(Md5Sum::of(&body));
        let put = |store: Store| async move {
            store
                .put(&bucket, &key, Bytes::from(body), check, &metadata, false)
                .await
        };
        self.do_async(put).expect("put");
    }

    pub fn metadata(&self, bucket: &Bucket, key: &str) -> Vec<(String, String)> {
        let bucket = bucket.clone();
        let key = key.to_owned();
        let head = self.do_async(|store| async move { store.head(&bucket, &key).await });
        head.map(|object| object.metadata.into_iter().collect())
            .unwrap_or_default()
    }

    /// As any S3 tool removes an object: where the bucket keeps versions, a marker lies over them.
    pub fn remove(&self, bucket: &Bucket, key: &str) {
        let bucket = bucket.clone();
        let key = key.to_owned();
        self.do_async(|store| async move { store.delete(&bucket, &key, None).await })
            .expect("delete");
    }

    pub fn keys_under(&self, bucket: &Bucket, prefix: &str) -> Vec<String> {
        let bucket = bucket.clone();
        let prefix = prefix.to_owned();
        let listed = self.do_async(|store| async move { store.list(&bucket, &prefix, false, None, None).await });
        listed
            .expect("list")
            .objects
            .into_iter()
            .map(|object| object.key)
            .collect()
    }

    /// Versions and markers of one key.
    pub fn versions(&self, bucket: &Bucket, key: &str) -> usize {
        let bucket = bucket.clone();
        let key = key.to_owned();
        self.do_async(|store| async move { store.list_versions(&bucket, &key).await })
            .expect("versions")
            .len()
    }

    /// The keys of an image's data, those that only older versions have among them.
    pub fn data_keys(&self, known: &Known) -> Vec<String> {
        let below = self.lsus[known.lsu].keys().of_image(Folder::Data, &known.id);
        let bucket = self.bucket(known.lsu);
        if !self.keeps_versions() {
            return self.keys_under(&bucket, &below);
        }
        self.do_async(|store| async move { store.list_versioned_keys(&bucket, &below).await })
            .expect("versions")
    }

    pub fn hold(&self, bucket: &Bucket, key: &str, on: bool) {
        let status = if on {
            ObjectLockLegalHoldStatus::On
        } else {
            ObjectLockLegalHoldStatus::Off
        };
        let hold = ObjectLockLegalHold::builder().status(status).build();
        let put = self
            .sdk
            .client
            .put_object_legal_hold()
            .bucket(bucket)
            .key(key)
            .legal_hold(hold);
        self.sdk.run(put.send()).expect("a legal hold");
    }

    /// The keys of an LSU, without what is not ours.
    pub fn keys_of_lsu(&self, lsu: usize) -> Vec<String> {
        let bucket = self.bucket(lsu);
        let prefix = self.prefix(lsu);
        let others = |key: &String| prefix.is_empty() && PREFIXES[1..].iter().any(|other| key.starts_with(other));
        let foreign = |key: &String| self.foreign.contains_key(&(bucket.clone(), key.clone()));
        self.keys_under(&bucket, &prefix)
            .into_iter()
            .filter(|key| !others(key) && !foreign(key))
            .collect()
    }

    /// Where the data lie that a record of this LSU names: in the LSU where they are now, wherever the record was written.
    pub fn data_key(&self, lsu: usize, record: &Value) -> String {
        self.place_here(lsu, record["data"]["key"].as_str().expect("a key"))
    }

    /// A stored key's place under the prefix of this LSU.
    pub fn place_here(&self, lsu: usize, stored: &str) -> String {
        let place = stored.find("backups/").map_or(stored, |at| &stored[at..]);
        format!("{}{place}", self.prefix(lsu))
    }

    pub fn sidecar_key(&self, known: &Known) -> String {
        self.lsus[known.lsu].keys().sidecar(&known.id)
    }

    pub fn pending_keys(&self, known: &Known) -> Vec<String> {
        let keys = self.lsus[known.lsu].keys();
        self.keys_under(&self.bucket(known.lsu), &keys.of_image(Folder::Pending, &known.id))
    }

    /// One of the images that fit.
    pub fn choose(&mut self, of: impl Fn(&Known) -> bool) -> Option<usize> {
        let fits: Vec<usize> = (0..self.images.len())
            .filter(|index| of(&self.images[*index]))
            .collect();
        self.dice.pick(&fits).copied()
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop();
        }
    }
}
