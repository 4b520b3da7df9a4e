//! A store to test against, and data that tell where they came from.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use tempfile::TempDir;
use vastost::config::Bucket;
use vastost::config::credentials::KeyPair;
use vastost::engine::process::Engine;
use vastost::objstore::s3::store::Store;
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_READ};

use crate::embedded::EmbeddedServer;
use crate::host::{self, Definition, HostImage, HostServer};

/// A day that the cases use: 2026-11-22.
pub const DATE: u64 = 1_795_305_600;
/// The call that NetBackup makes by default.
pub const CALL: usize = 256 << 10;
/// The smallest part that S3 takes, so that small images have several.
pub const PART: usize = 5 << 20;

/// An S3 server with a bucket of its own for one test, and a configuration that names it `t` with LSU `main`.
pub struct Site {
    pub config: PathBuf,
    /// The same with the server's own address, whatever the plug-in's configuration has.
    pub direct: PathBuf,
    pub folder: TempDir,
    pub bucket: Bucket,
    pub keys: KeyPair,
    pub url: String,
    server: Option<EmbeddedServer>,
    at_real_server: bool,
}

/// What a test wants different from the usual.
#[derive(Clone, Default)]
pub struct Wish {
    /// Text behind the usual configuration: sections such as `[integrity]`.
    pub settings: String,
    /// Use the real server of `VASTOST_TEST_ENDPOINT` in place of the embedded one.
    pub minio: bool,
    /// Use the MinIO at this address.
    pub at: Option<String>,
    /// A bucket with Object Lock, and so with versions.
    pub lock: bool,
}

impl Wish {
    /// The same server with parts of 5 MiB.
    pub fn small_parts(&self) -> Self {
        self.with("[transfer]\npart_size = \"5 MiB\"\nimage_size_max = \"8 GiB\"\n")
    }

    /// The same server with one setting in place of another.
    pub fn replaced(&self, from: &str, to: &str) -> Self {
        Self {
            settings: self.settings.replace(from, to),
            ..self.clone()
        }
    }

    /// The same server for a test in which nobody else is at work: audits need not wait for others, which takes most of
    /// their time.
    pub fn alone(&self) -> Self {
        let look = "[integrity]\nsecond_look = \"100 ms\"\n";
        if self.settings.contains("[integrity]\n") {
            self.replaced("[integrity]\n", look)
        } else {
            self.with(look)
        }
    }

    /// The same server with a bucket that has Object Lock.
    pub fn locked(&self) -> Self {
        Self {
            lock: true,
            ..self.clone()
        }
    }

    /// The same server with further settings. `BUCKET` stands for the name of the bucket, `BUCKET-far` for that of another.
    pub fn with(&self, settings: &str) -> Self {
        Self {
            settings: format!("{}{settings}", self.settings),
            ..self.clone()
        }
    }
}

impl Site {
    pub fn new(wish: &Wish) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let bucket = format!("vastost-test-{}-{number}-{:08x}", std::process::id(), rand_u32());
        let (server, url, keys) = match &wish.at {
            Some(url) => (None, url.clone(), minio_keys()),
            None if wish.minio => minio(),
            None => embedded(folder.path()),
        };
        let keys_file = folder.path().join("keys.toml");
        write_private(&keys_file, &keys.to_file_text());
        let config = folder.path().join("vastost.toml");
        let text = format!(
            "state_dir = \"state\"\n[server.t]\nendpoints = [\"{url}\"]\n\
             credentials = {{ source = \"file\", file = \"keys.toml\" }}\n\
             [[server.t.lsu]]\nname = \"main\"\nbucket = \"{bucket}\"\ncapacity = \"1 TB\"\n\
             [[server.t.lsu]]\nname = \"side\"\nbucket = \"{bucket}\"\nprefix = \"side\"\n\
             [[server.t.lsu]]\nname = \"missing\"\nbucket = \"{bucket}-missing\"\n{}",
            wish.settings
        );
        let text = text.replace("\"BUCKET", &format!("\"{bucket}"));
        let direct = folder.path().join("direct.toml");
        for path in [&config, &direct] {
            std::fs::write(path, &text).expect("write the configuration");
        }
        let site = Self {
            config,
            direct,
            folder,
            bucket: bucket.into(),
            keys,
            url,
            at_real_server: server.is_none(),
            server,
        };

        // A bucket with Object Lock is made by whoever wants one.
        if !wish.lock {
            site.create_bucket();
        }
        site
    }

    pub fn is_embedded(&self) -> bool {
        self.server.is_some()
    }

    /// The embedded server itself, for what no request can ask of it.
    pub fn embedded(&self) -> &EmbeddedServer {
        self.server.as_ref().expect("the embedded server")
    }

    /// From now on the plug-in finds the server at `urls`; the test itself still goes straight to it.
    pub fn point_at(&self, urls: &[String]) {
        let urls: Vec<_> = urls.iter().map(|url| format!("\"{url}\"")).collect();
        let text = std::fs::read_to_string(&self.direct).expect("read the configuration");
        let text = text.replace(&format!("\"{}\"", self.url), &urls.join(", "));
        std::fs::write(&self.config, text).expect("write the configuration");
    }

    /// Creates the bucket through our own client, which fails with what is wrong when the server is not there.
    fn create_bucket(&self) {
        let owned = self.bucket.clone();
        let bucket = self.url.clone();
        let made = self.with_store(move |store| async move { store.create_bucket(&owned).await });
        made.unwrap_or_else(|e| panic!("no bucket could be made at {bucket}: {e}"));
    }

    /// Does something to the bucket behind the plug-in's back.
    pub fn with_store<T, F>(&self, act: impl FnOnce(Store) -> F) -> Result<T, vastost::error::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, vastost::error::Error>> + Send + 'static,
    {
        let config = vastost::config::Config::load(&self.direct).expect("a valid configuration");
        let engine = Engine::start(&config).expect("an engine");
        let server = config.server("t").expect("server t");
        let store = Store::new(&engine, &config, server, None).expect("a store");
        let done = engine.runtime().run(act(store.clone()));
        drop(store);
        engine.stop();
        done
    }

    /// Every key of the bucket that begins with `prefix`.
    pub fn keys_under(&self, prefix: &str) -> Vec<String> {
        let bucket = self.bucket.clone();
        let prefix = prefix.to_owned();
        let listed = self.with_store(move |store| async move { store.list(&bucket, &prefix, false, None, None).await });
        listed
            .expect("list the bucket")
            .objects
            .into_iter()
            .map(|object| object.key)
            .collect()
    }

    /// Ends the embedded server: from now on nothing answers.
    pub fn stop_server(&mut self) {
        self.server = None;
    }

    /// Starts the embedded server again, where it was and on what it had.
    pub fn start_server(&mut self) {
        let address = self
            .url
            .strip_prefix("http://")
            .and_then(|address| address.parse().ok());
        let address: SocketAddr = address.expect("an address");
        let store = self.folder.path().join("store");
        self.server = Some(EmbeddedServer::start(&store, &self.keys, address).expect("the embedded server again"));
    }

    /// Opens the server through the plug-in's C functions.
    pub fn open(&self) -> HostServer {
        host::init().expect("stsp_init");
        host::open_server("VastData:t", &self.config, None).expect("stsp_open_server")
    }
}

impl Drop for Site {
    /// Takes the buckets away: what a run of all tests stores fills a small disk. The header is MinIO's, and empties a bucket
    /// that has no Object Lock; what stays goes with the server's folder. A test that fails keeps its buckets to be looked at.
    fn drop(&mut self) {
        if !self.at_real_server || std::thread::panicking() {
            return;
        }
        let client = sdk_client(&self.url, &self.keys);
        let bucket = self.bucket.clone();
        let remove = async move {
            let removals = [bucket.to_string(), format!("{bucket}-far")].map(|bucket| {
                let delete = client.delete_bucket().bucket(bucket).customize();
                let delete = delete.mutate_request(|request| {
                    request.headers_mut().insert("x-minio-force-delete", "true");
                });
                tokio::time::timeout(Duration::from_secs(10), delete.send())
            });
            futures::future::join_all(removals).await;
        };
        // A thread of its own: some tests let go of their site inside a runtime.
        let removed = std::thread::spawn(move || current_thread_runtime().block_on(remove));
        drop(removed.join());
    }
}

pub fn current_thread_runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime")
}

/// The SDK as it comes: no retries, no checksums but those that a test asks for.
pub fn sdk_client(url: &str, keys: &KeyPair) -> Client {
    let id = keys.access_key_id.clone();
    let secret = keys.secret_access_key.clone();
    // Between two calls nothing runs that would see a server close the connection: an idle one is not used again.
    let http = aws_smithy_http_client::Builder::new().pool_idle_timeout(Duration::from_secs(1));
    let settings = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http.build_http())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .force_path_style(true)
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Client::from_conf(settings.build())
}

fn embedded(folder: &Path) -> (Option<EmbeddedServer>, String, KeyPair) {
    let keys = KeyPair {
        access_key_id: "vastost-test".into(),
        secret_access_key: "s3cret/with+signs".into(),
        session_token: None,
    };
    let store = folder.join("store");
    std::fs::create_dir(&store).expect("a folder for the store");
    let server = EmbeddedServer::start(&store, &keys, (own_loopback(), 0)).expect("the embedded server");
    let url = server.url();
    (Some(server), url, keys)
}

/// An address of 127.0.0.0/8 that nobody else uses: a server that a test stops finds its port free when it starts again. At
/// 127.0.0.1 another server, or the near end of a connection, may have taken it.
fn own_loopback() -> Ipv4Addr {
    let [_, a, b, c] = rand_u32().to_be_bytes();
    Ipv4Addr::new(127, 1 + a % 254, b, 1 + c % 254)
}

fn minio() -> (Option<EmbeddedServer>, String, KeyPair) {
    let url = std::env::var("VASTOST_TEST_ENDPOINT").expect(
        "VASTOST_TEST_ENDPOINT must name a running MinIO: `docker compose up -d --wait`, or tests/minio.sh start",
    );
    (None, url, minio_keys())
}

fn minio_keys() -> KeyPair {
    let given = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    KeyPair {
        access_key_id: given("VASTOST_TEST_ACCESS_KEY", "vastost-test"),
        secret_access_key: given("VASTOST_TEST_SECRET_KEY", "vastost-test-secret"),
        session_token: None,
    }
}

pub fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("write a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("set its mode");
}

fn rand_u32() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    let hash = std::collections::hash_map::RandomState::new().build_hasher().finish();
    u32::try_from(hash & 0xffff_ffff).unwrap_or_default()
}

/// Bytes of an image by seed and offset: every eight-byte word differs from its neighbours and from other seeds.
pub fn fill(buffer: &mut [u8], seed: u64, offset: u64) {
    let word = |at: u64| {
        (at / 8)
            .wrapping_add(seed << 40)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_le_bytes()
    };
    let head = (offset.wrapping_neg() % 8).min(buffer.len() as u64) as usize;
    let (first, rest) = buffer.split_at_mut(head);
    for (at, byte) in (offset..).zip(first) {
        *byte = word(at)[(at % 8) as usize];
    }
    for (at, bytes) in (offset + head as u64..).step_by(8).zip(rest.chunks_mut(8)) {
        bytes.copy_from_slice(&word(at)[..bytes.len()]);
    }
}

pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut data = vec![0; len];
    fill(&mut data, seed, 0);
    data
}

/// A basename as NetBackup makes them.
pub fn image(client: &str, number: u64) -> Definition {
    Definition::new(format!("{client}_{}_C1_F1", DATE + number), DATE + number)
}

/// Writes `data` from `offset` on in calls of `call` bytes.
pub fn write_all(image: &HostImage, data: &[u8], offset: u64, call: usize) {
    for (index, chunk) in data.chunks(call).enumerate() {
        let at = offset + (index * call) as u64;
        assert_eq!(image.write(chunk, at).expect("write"), chunk.len() as u64);
    }
}

/// Writes a whole image in calls of `call` bytes and closes it complete.
pub fn backup(server: &HostServer, def: &Definition, data: &[u8], call: usize) {
    let image = server.create("main", def).expect("create");
    write_all(&image, data, 0, call);
    image.close(STSP_CLOSEF_COMPLETE).expect("close");
}

/// Reads a whole open image in calls of `call` bytes and closes it.
pub fn read_all(image: &HostImage, call: usize) -> Vec<u8> {
    let mut data = Vec::new();
    let mut buffer = vec![0; call];
    loop {
        let len = image.read(&mut buffer, data.len() as u64).expect("read") as usize;
        data.extend_from_slice(&buffer[..len]);
        if len < call {
            break;
        }
    }
    image.close(0).expect("close");
    data
}

/// Reads a whole image in calls of `call` bytes.
pub fn restore(server: &HostServer, def: &Definition, call: usize) -> Vec<u8> {
    read_all(&server.open("main", def, STSP_OPEN_READ).expect("open"), call)
}
