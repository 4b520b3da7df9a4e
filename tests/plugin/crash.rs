//! A client is killed with -9 at its N-th request, once before the request is passed on and once after it took effect,
//! for every N of every operation. After each crash a fresh process must find every image that was reported complete
//! byte for byte intact; the interrupted one absent, pending and resumable, or complete; `verify` naming all debris and
//! nothing else; `gc` removing all of it; and a second `verify` clean. See docs/user/durability.md.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::hosts::{SMALL_PARTS, host};
use crate::plugin;
use vastost_testkit::proxy::{Action, Proxy};
use vastost_testkit::test_store::{DATE, Site, Wish};

/// Images that nothing is done to.
const BYSTANDERS: [u64; 2] = [1, 2];
/// More requests than any operation here makes: a sweep that does not end is a fault of the rig.
const REQUESTS_MAX: usize = 200;

/// When the client dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    BeforeForward,
    AfterEffect,
}

/// What is done with what a crash left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    CleanUp,
    Resume,
}

/// A bucket of its own, its server behind a proxy for the clients that are to die.
struct Rig {
    site: Site,
    proxy: Proxy,
    /// The configuration by way of the proxy.
    through: PathBuf,
    next: u64,
}

/// One test for each way to die and what is done then: most of their time is waiting, and they wait side by side.
macro_rules! sweeps {
    ($($name:ident: $step:literal, $prepare:expr, $allowed:expr;)*) => {$(
        mod $name {
            use super::{Then, Way, sweep};

            #[test]
            fn before_a_request_and_cleaned_up() {
                sweep($step, &$prepare, &$allowed, Way::BeforeForward, Then::CleanUp);
            }

            #[test]
            fn before_a_request_and_resumed() {
                sweep($step, &$prepare, &$allowed, Way::BeforeForward, Then::Resume);
            }

            #[test]
            fn after_a_request_and_cleaned_up() {
                sweep($step, &$prepare, &$allowed, Way::AfterEffect, Then::CleanUp);
            }

            #[test]
            fn after_a_request_and_resumed() {
                sweep($step, &$prepare, &$allowed, Way::AfterEffect, Then::Resume);
            }
        }
    )*};
}

sweeps! {
    a_one_part_backup_dies: "one", [], ["absent", "pending", "complete"];
    a_backup_of_many_parts_with_metadata_dies: "many-parts", [], ["absent", "pending", "complete"];
    an_incomplete_close_dies: "incomplete", [], ["absent", "pending"];
    a_re_open_and_completion_dies: "finish", ["incomplete"], ["pending", "complete"];
    a_delete_dies: "delete", ["many-parts"], ["complete", "absent"];
    an_overwrite_attempt_dies: "overwrite", ["many-parts"], ["complete"];
    a_metadata_write_dies: "rewrite", ["many-parts"], ["complete"];
}

#[test]
fn a_gc_dies_before_every_odd_request() {
    gc_dies(Way::BeforeForward, 1);
}

#[test]
fn a_gc_dies_before_every_even_request() {
    gc_dies(Way::BeforeForward, 2);
}

#[test]
fn a_gc_dies_after_every_odd_request() {
    gc_dies(Way::AfterEffect, 1);
}

#[test]
fn a_gc_dies_after_every_even_request() {
    gc_dies(Way::AfterEffect, 2);
}

/// Every second request from the first one on: most of the time is waited, and the other half runs beside it.
fn gc_dies(way: Way, first: usize) {
    let mut rig = Rig::new();
    for number in (first..REQUESTS_MAX).step_by(2) {
        // A dead writer's upload with parts, an image closed incomplete, a delete that stopped half-way.
        let upload = rig.image_dead_at("many-parts", "UploadPart", Way::AfterEffect);
        let incomplete = rig.image(&["incomplete"]);
        let deleting = rig.half_deleted();
        let died = rig.cli_dies(&["gc", "main", "--older-than", "0s", "--yes"], number, way);
        let told = format!("gc, request {number}, {way:?}");
        rig.bystanders_are_whole(&told);
        for victim in [upload, incomplete] {
            assert!(["absent", "pending"].contains(&rig.state(victim).as_str()), "{told}");
        }
        assert_eq!(rig.state(deleting), "absent", "{told}");
        rig.clean_up(&BTreeSet::new(), &told);
        if !died {
            assert!(number > 10, "a gc makes more requests than {number}");
            break;
        }
    }
}

#[test]
fn a_repair_dies_before_every_odd_request() {
    repair_dies(Way::BeforeForward, 1);
}

#[test]
fn a_repair_dies_before_every_even_request() {
    repair_dies(Way::BeforeForward, 2);
}

#[test]
fn a_repair_dies_after_every_odd_request() {
    repair_dies(Way::AfterEffect, 1);
}

#[test]
fn a_repair_dies_after_every_even_request() {
    repair_dies(Way::AfterEffect, 2);
}

/// Every second request from the first one on: most of the time is waited, and the other half runs beside it.
fn repair_dies(way: Way, first: usize) {
    let mut rig = Rig::new();
    for number in (first..REQUESTS_MAX).step_by(2) {
        let lost = rig.image(&["many-parts"]);
        let damaged = rig.image(&["one"]);
        rig.spoil(&rig.key_of("catalog/", lost), None);
        rig.spoil(&rig.key_of("catalog/", damaged), Some("{\"schema\":1,"));
        let unfinished = rig.image_dead_at("many-parts", "CompleteMultipartUpload", Way::AfterEffect);
        let deleting = rig.half_deleted();
        let repair = ["repair", "main", "--older-than", "0s", "--yes"];
        let died = rig.cli_dies(&repair, number, way);
        let told = format!("repair, request {number}, {way:?}");
        rig.bystanders_are_whole(&told);
        rig.cli(&repair, 0);
        for victim in [lost, damaged, unfinished] {
            assert_eq!(rig.state(victim), "complete", "{told}");
        }
        assert_eq!(rig.state(deleting), "absent", "{told}");
        rig.clean_up(&[lost, damaged, unfinished].into(), &told);
        for victim in [lost, damaged, unfinished] {
            rig.step("delete", victim);
        }
        if !died {
            assert!(number > 10, "a repair makes more requests than {number}");
            break;
        }
    }
}

/// Kills a host that does `step` at each of its requests, on images that `prepare` made.
fn sweep(step: &str, prepare: &[&str], allowed: &[&str], way: Way, then: Then) {
    let mut rig = Rig::new();
    for number in 1..REQUESTS_MAX {
        let victim = rig.image(prepare);
        let died = rig.host_dies(step, victim, number, way);
        let requests = rig
            .proxy
            .recent()
            .iter()
            .map(|r| format!("{} {}", r.operation(), r.folder()))
            .collect::<Vec<_>>();
        let told = format!("{step}, request {number}, {way:?}: {requests:?}");
        let state = rig.state(victim);
        assert!(allowed.contains(&state.as_str()), "{state} after {told}");
        if then == Then::Resume && state == "pending" {
            rig.step("resume", victim);
            assert_eq!(rig.state(victim), "complete", "resumed after {told}");
        }
        let whole = rig.state(victim) == "complete";
        rig.clean_up(&if whole { [victim].into() } else { BTreeSet::new() }, &told);
        rig.bystanders_are_whole(&told);
        if whole {
            rig.step("delete", victim);
        }
        if !died {
            assert!(number > 2, "{told}");
            break;
        }
    }
}

impl Rig {
    fn new() -> Self {
        let wish = Wish {
            settings: SMALL_PARTS.into(),
            minio: true,
            ..Wish::default()
        };
        let site = Site::new(&wish.alone());
        let proxy = Proxy::start(&site.url);
        let through = site.config.with_file_name("through.toml");
        let text = std::fs::read_to_string(&site.config).unwrap();
        std::fs::write(&through, text.replace(&site.url, &proxy.url())).unwrap();
        let rig = Self {
            site,
            proxy,
            through,
            next: 10,
        };
        rig.step("many-parts", BYSTANDERS[0]);
        rig.step("one", BYSTANDERS[1]);
        // The probe of the endpoint is done once for each of its two names, and is not what is counted here.
        let warm_up = rig.spawn_host("one", 3, &rig.through);
        finish(warm_up, 0);
        rig.step("delete", 3);
        rig
    }

    /// A fresh image that has gone through `steps`.
    fn image(&mut self, steps: &[&str]) -> u64 {
        self.next += 1;
        for step in steps {
            self.step(step, self.next);
        }
        self.next
    }

    /// A fresh image whose writer died at its first request of an operation.
    fn image_dead_at(&mut self, step: &str, operation: &'static str, way: Way) -> u64 {
        let victim = self.image(&[]);
        let pid = Arc::new(AtomicU32::new(0));
        let owned = Arc::clone(&pid);
        self.proxy
            .script(move |request| match request.operation() == operation {
                true => lethal(&owned, way),
                false => Action::Forward,
            });
        let child = self.spawn_host(step, victim, &self.through);
        pid.store(child.id(), Ordering::SeqCst);
        finish(child, -1);
        self.proxy.wait_idle();
        victim
    }

    /// An image whose delete stopped after its sidecar was marked.
    fn half_deleted(&mut self) -> u64 {
        let victim = self.image(&["one"]);
        let pid = Arc::new(AtomicU32::new(0));
        let owned = Arc::clone(&pid);
        self.proxy
            .script(move |request| match request.is("PutObject", "catalog") {
                true => lethal(&owned, Way::AfterEffect),
                false => Action::Forward,
            });
        let child = self.spawn_host("delete", victim, &self.through);
        pid.store(child.id(), Ordering::SeqCst);
        finish(child, -1);
        self.proxy.wait_idle();
        victim
    }

    /// Runs a step to its end, without the proxy.
    fn step(&self, step: &str, image: u64) -> String {
        finish(self.spawn_host(step, image, &self.site.config), 0)
    }

    /// What a fresh process finds of an image; of a complete one every byte is compared.
    fn state(&self, image: u64) -> String {
        self.step("check", image).lines().next().unwrap_or_default().to_owned()
    }

    fn spawn_host(&self, step: &str, image: u64, config: &PathBuf) -> Child {
        let mut command = Command::new(host());
        command.arg(plugin()).arg(config).args([step, &image.to_string()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// True when the host came to its `number`-th request and died there.
    fn host_dies(&self, step: &str, image: u64, number: usize, way: Way) -> bool {
        let pid = self.arm(number, way);
        self.dies(self.spawn_host(step, image, &self.through), &pid, number)
    }

    fn cli_dies(&self, args: &[&str], number: usize, way: Way) -> bool {
        let pid = self.arm(number, way);
        let child = self.spawn_cli(args, &self.through);
        self.dies(child, &pid, number)
    }

    fn arm(&self, number: usize, way: Way) -> Arc<AtomicU32> {
        let pid = Arc::new(AtomicU32::new(0));
        let owned = Arc::clone(&pid);
        let before = self.proxy.requests().len();
        self.proxy
            .script(move |request| match request.number == before + number {
                true => lethal(&owned, way),
                false => Action::Forward,
            });
        pid
    }

    fn dies(&self, child: Child, pid: &AtomicU32, number: usize) -> bool {
        pid.store(child.id(), Ordering::SeqCst);
        let output = child.wait_with_output().unwrap();
        self.proxy.wait_idle();
        let text = String::from_utf8_lossy(&output.stderr);
        let died = self.proxy.recent().len() >= number;
        assert_eq!(
            output.status.success(),
            !died,
            "request {number}: {} {text}",
            output.status
        );
        died
    }

    fn spawn_cli(&self, args: &[&str], config: &PathBuf) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vastost-s3"));
        command
            .arg("--config")
            .arg(config)
            .arg("--json")
            .args(args)
            .env_remove("VASTOST_CONFIG");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn cli(&self, args: &[&str], code: i32) -> Value {
        serde_json::from_str(&finish(self.spawn_cli(args, &self.site.config), code)).unwrap()
    }

    fn bystanders_are_whole(&self, told: &str) {
        for image in BYSTANDERS {
            assert_eq!(self.state(image), "complete", "{told}");
        }
    }

    /// `verify` names all debris and nothing else, `gc` removes it, and a second `verify` is clean.
    fn clean_up(&self, whole: &BTreeSet<u64>, told: &str) {
        let keep = self.kept(whole);
        let debris: BTreeSet<_> = self.things().difference(&keep).cloned().collect();
        let findings = self.findings(told);
        for finding in &findings {
            let key = finding["key"].as_str().unwrap_or_default();
            assert_eq!(finding["severity"], "warning", "{finding} after {told}");
            assert!(
                debris.iter().any(|thing| thing.ends_with(key)),
                "{finding} is no debris of {debris:?} after {told}"
            );
        }
        for thing in &debris {
            assert!(
                findings.iter().any(|finding| names(finding, thing)),
                "{thing} is not named after {told}: {findings:?}"
            );
        }
        self.cli(&["gc", "main", "--older-than", "0s", "--yes"], 0);
        self.complete_what_is_whole(&keep, told);
        assert_eq!(self.things(), keep, "after gc, {told}");
        assert_eq!(self.findings(told), [Value::Null; 0], "after gc, {told}");
    }

    /// What died when all its parts were on the store is kept by `gc`, and completed by `repair`; then it can be deleted.
    fn complete_what_is_whole(&self, keep: &BTreeSet<String>, told: &str) {
        let left: Vec<_> = self.things().difference(keep).cloned().collect();
        let pending: Vec<_> = left.iter().filter(|thing| thing.starts_with("pending/")).collect();
        if pending.is_empty() {
            return;
        }
        self.cli(&["repair", "main", "--older-than", "0s", "--yes"], 0);
        for record in pending {
            let date: u64 = record
                .rsplit('.')
                .nth(2)
                .and_then(|date| date.parse().ok())
                .expect("a date");
            assert_eq!(self.state(date - DATE), "complete", "{record} after {told}");
            self.step("delete", date - DATE);
        }
    }

    fn findings(&self, told: &str) -> Vec<Value> {
        let report = self.cli(&["verify", "main", "--deep", "--older-than", "0s"], 0);
        assert_eq!(
            report["summary"]["lsus"]["main"]["notes"],
            serde_json::json!([]),
            "{told}"
        );
        report["findings"].as_array().unwrap().clone()
    }

    /// What the bucket must hold for the bystanders and for `whole`: by their sidecars.
    fn kept(&self, whole: &BTreeSet<u64>) -> BTreeSet<String> {
        let mut keep = BTreeSet::new();
        for image in BYSTANDERS.iter().chain(whole) {
            let key = self.key_of("catalog/", *image);
            let bucket = self.site.bucket.clone();
            let owned = key.clone();
            let bytes = self
                .site
                .with_store(move |store| async move { store.get_small(&bucket, &owned, 1 << 24).await });
            let sidecar: Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
            keep.insert(key);
            keep.insert(sidecar["data"]["key"].as_str().unwrap().to_owned());
            keep.extend(sidecar["meta"]["key"].as_str().map(ToOwned::to_owned));
        }
        // What repair replaced is kept on purpose.
        keep.extend(self.site.keys_under("replaced/"));
        keep
    }

    /// Every key of the bucket, and every upload as `upload <id> <key>`.
    fn things(&self) -> BTreeSet<String> {
        let bucket = self.site.bucket.clone();
        let uploads = self
            .site
            .with_store(move |store| async move { store.list_uploads(&bucket, None).await });
        let uploads = uploads
            .unwrap()
            .uploads
            .into_iter()
            .map(|upload| format!("upload {} {}", upload.id, upload.key));
        self.site.keys_under("").into_iter().chain(uploads).collect()
    }

    fn key_of(&self, folder: &str, image: u64) -> String {
        let name = format!("crash_{}_", DATE + image);
        self.site
            .keys_under(folder)
            .into_iter()
            .find(|key| key.contains(&name))
            .expect("a key of the image")
    }

    /// Removes an object or overwrites it, behind the plug-in's back.
    fn spoil(&self, key: &str, with: Option<&str>) {
        use vastost::objstore::s3::types::WireCheck;
        let bucket = self.site.bucket.clone();
        let key = key.to_owned();
        let body = with.map(|text| bytes::Bytes::from(text.to_owned()));
        let done = self.site.with_store(move |store| async move {
            match body {
                Some(body) => store
                    .put(&bucket, &key, body, WireCheck::None, &[], false)
                    .await
                    .map(drop),
                None => store.delete(&bucket, &key, None).await,
            }
        });
        done.unwrap();
    }
}

/// True when a finding stands for a thing: the thing itself, or all that belongs to its attempt or its deleted image.
fn names(finding: &Value, thing: &str) -> bool {
    let key = finding["key"].as_str().unwrap_or_default();
    let image = finding["image"].as_str().unwrap_or_default();
    let stem = |key: &str| {
        key.rsplit('/')
            .next()
            .and_then(|file| file.rsplit_once('.'))
            .map(|(stem, _)| stem.to_owned())
    };
    match finding["class"].as_str() {
        Some("pending-stale") => stem(key) == stem(thing),
        Some("delete-unfinished") => thing.contains(&image.replace(':', ".")),
        Some("orphan-upload") => thing.starts_with("upload ") && thing.ends_with(key),
        _ => thing == key,
    }
}

/// The client's death at a request; the client is dead before anything further happens to it.
fn lethal(pid: &Arc<AtomicU32>, way: Way) -> Action {
    let pid = Arc::clone(pid);
    let murder = Box::new(move || {
        while pid.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let pid = pid.load(Ordering::SeqCst);
        // Parts travel side by side: another request of this client may have come first.
        match kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("kill {pid}: {error}"),
        }
        let alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        while alive() {
            std::thread::yield_now();
        }
    });
    match way {
        Way::BeforeForward => Action::Before(murder),
        Way::AfterEffect => Action::After(murder),
    }
}

/// Waits for a client's end and gives what it printed; `code` -1 means that it was killed.
fn finish(child: Child, code: i32) -> String {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code().unwrap_or(-1),
        code,
        "{} {text} {stderr}",
        output.status
    );
    text
}
