//! `verify`, `gc`, `repair` and `usage` through the built command line, in stores that somebody else has changed.

/// NetBackup's list against the store.
mod against;
pub use against::lines;
/// What is asked again before it is believed.
mod again;
/// Every class of finding, alone and all together.
mod findings;
/// What gc removes, and what it leaves.
mod gc;
/// No finding where nothing is wrong, beside living writers.
mod healthy;
/// Records that speak of other places than their own.
mod places;
/// One table: how each class of finding comes about.
mod plants;
/// Deletes in buckets with locks, versions, quotas.
mod removal;
/// Records made anew from what is left.
mod repair;
/// Audits cut short and gone on with.
mod resume;
/// What a reader's keys can do.
#[cfg(feature = "minio-tests")]
mod rights;
/// Parts of an audit, by shard, client, name, day.
mod selection;
/// Figures, and what polls are told.
mod usage;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use vastost::catalog::audit::report::{Class, Finding, Level, Report, Severity};
use vastost::config::credentials::KeyPair;
use vastost::ost::abi::STSP_CLOSEF_COMPLETE;
use vastost_testkit::host::{Definition, HostServer};

use crate::cli::{Run, command, to_run};
use crate::foreign::{Foreign, SessionKeys};
use vastost_testkit::test_store::{CALL, Site, Wish, write_all};

/// Parts of 5 MiB, and CRCs that the server need not know.
const MD5: &str = "[integrity]\nwire = \"md5\"\n";
#[cfg(feature = "minio-tests")]
const CRC: &str = "[integrity]\nwire = \"crc64nvme\"\n";

/// A site with the plug-in open on it, and a stranger with keys.
pub struct Yard {
    pub site: Site,
    pub server: HostServer,
    pub foreign: Foreign,
}

/// An image on the store and where its objects are.
pub struct Kept {
    pub def: Definition,
    /// As reports name it.
    pub name: String,
    pub data: Vec<u8>,
    pub sidecar_key: String,
    pub data_key: String,
    pub record: Value,
}

/// What tells one finding from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub class: Class,
    pub severity: Severity,
    pub lsu: String,
    pub image: Option<String>,
    pub key: Option<String>,
}

impl Yard {
    pub fn new(wish: &Wish) -> Self {
        Self::beside_writers(&wish.alone())
    }

    /// One in which audits run while images are written and deleted.
    pub fn beside_writers(wish: &Wish) -> Self {
        let site = Site::new(&wish.small_parts());
        if wish.lock {
            crate::sdk::Sdk::new(&site).create_locked_bucket();
        }
        let server = site.open();
        let foreign = Foreign::new(&site);
        Self { site, server, foreign }
    }

    /// Writes an image with metadata beside it and closes it complete.
    pub fn keep(&self, def: &Definition, data: Vec<u8>, meta: &[u8]) -> Kept {
        // With a policy none of the object's metadata are empty, which strangers could not put again.
        let def = &Definition {
            policy: b"Gold".to_vec(),
            ..def.clone()
        };
        let image = self.server.create("main", def).expect("create");
        write_all(&image, &data, 0, CALL);
        if !meta.is_empty() {
            image.write_meta(meta, 0).expect("write metadata");
        }
        image.close(STSP_CLOSEF_COMPLETE).expect("close");
        let sidecar_key = format!("catalog/{}.json", place(def));
        let record = self.foreign.get_json(&sidecar_key);
        let data_key = record["data"]["key"].as_str().expect("a data key").to_owned();
        Kept {
            def: def.clone(),
            name: name(def),
            data,
            sidecar_key,
            data_key,
            record,
        }
    }

    /// The bytes of a kept image as the plug-in restores them.
    pub fn assert_restores(&self, image: &Kept) {
        // Through a process of its own: this one may remember a record that was replaced.
        let target = format!("main/{}", String::from_utf8_lossy(&image.def.basename));
        let got = self
            .run(&["get", &format!("{target}:{}", image.def.date), "-"])
            .expect(0);
        assert!(got.stdout() == image.data, "{target} is not what was written");
    }

    pub fn run(&self, args: &[&str]) -> Run {
        crate::cli::run(&self.site, args)
    }

    /// An audit of LSU `main` at any age of debris, with its report checked against its schema.
    pub fn verify(&self, args: &[&str]) -> (i32, Report) {
        self.audit(&[&["main", "--older-than", "0s"], args].concat())
    }

    pub fn audit(&self, args: &[&str]) -> (i32, Report) {
        report_of(self.run(&[&["--json", "verify"], args].concat()))
    }

    /// What an audit at that level names, sorted.
    pub fn findings(&self, level: Level) -> Vec<Seen> {
        seen(&self.verify(flags(level)).1)
    }

    /// Runs as somebody who has other keys.
    #[cfg_attr(not(feature = "minio-tests"), allow(dead_code))]
    pub fn run_as(&self, keys: &SessionKeys, args: &[&str]) -> Run {
        let text = std::fs::read_to_string(&self.site.config).expect("the configuration");
        let text = text.replace("source = \"file\", file = \"keys.toml\"", "source = \"aws\"");
        let config = self.site.folder.path().join("reader.toml");
        std::fs::write(&config, text).expect("write the configuration");
        let mut command: Command = command(&config);
        command
            .env("AWS_ACCESS_KEY_ID", &keys.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key);
        command
            .env("AWS_SESSION_TOKEN", &keys.session_token)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        to_run(command.args(args).output().expect("start"))
    }
}

impl Kept {
    /// One finding about this image.
    pub fn finding(&self, class: Class, key: &str) -> Seen {
        let image = Some(self.name.clone());
        let key = Some(key.to_owned());
        Seen {
            class,
            severity: class.severity(),
            lsu: "main".into(),
            image,
            key,
        }
    }
}

/// A configuration with keys of somebody who may do everything but some actions, everywhere or to one key. Only the embedded
/// server can be asked for that.
pub fn somebody_else(yard: &Yard, denied: &[(&str, Option<&str>)]) -> PathBuf {
    let keys = KeyPair {
        access_key_id: "somebody-else".into(),
        secret_access_key: "s3cret-of-the-other".into(),
        ..yard.site.keys.clone()
    };
    let server = yard.site.embedded();
    server.add_keys(&keys);
    for (action, key) in denied {
        match key {
            Some(key) => server.deny_key(&keys.access_key_id, action, key),
            None => server.deny(&keys.access_key_id, action),
        }
    }
    let file = yard.site.folder.path().join("other-keys.toml");
    vastost_testkit::test_store::write_private(&file, &keys.to_file_text());
    let text = std::fs::read_to_string(&yard.site.config).expect("the configuration");
    let config = yard.site.folder.path().join("other.toml");
    std::fs::write(&config, text.replace("keys.toml", "other-keys.toml")).expect("write the configuration");
    config
}

/// A report that its schema accepts, with the exit code of its run.
pub fn report_of(run: Run) -> (i32, Report) {
    let json = run.json();
    let schema: Value =
        serde_json::from_str(include_str!("../../docs/user/verify-report.schema.json")).expect("a schema");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let wrong: Vec<_> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    (run.code, serde_json::from_value(json).expect("a report"))
}

pub fn seen(report: &Report) -> Vec<Seen> {
    let one = |finding: &Finding| {
        let Finding {
            class,
            severity,
            lsu,
            image,
            key,
            ..
        } = finding.clone();
        Seen {
            class,
            severity,
            lsu,
            image,
            key,
        }
    };
    let mut all: Vec<_> = report.findings.iter().map(one).collect();
    all.sort();
    all
}

pub fn flags(level: Level) -> &'static [&'static str] {
    match level {
        Level::Quick => &["--quick"],
        Level::Default => &[],
        Level::Deep => &["--deep"],
    }
}

/// What the keys of an image of NetBackup's naming have in common.
pub fn place(def: &Definition) -> String {
    let basename = String::from_utf8_lossy(&def.basename);
    let client = basename.rsplitn(4, '_').nth(3).unwrap_or("other");
    format!(
        "{client}/{}/{basename}.{}",
        vastost::catalog::format::image_id::day_of(def.date),
        def.date
    )
}

/// An image as reports name it.
pub fn name(def: &Definition) -> String {
    format!("{}:{}", String::from_utf8_lossy(&def.basename), def.date)
}
