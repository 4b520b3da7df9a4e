//! A store to test against, and data that tell where they came from.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use vastost::config::credentials::KeyPair;
use vastost::embedded::EmbeddedServer;
use vastost::ost::host::{self, Definition, HostServer};

/// A day that the cases use: 2026-11-22.
pub const DATE: u64 = 1_795_305_600;
pub const MIB: u64 = 1 << 20;

/// An S3 server with a bucket of its own for one test, and a configuration that names it `t` with LSU `main`.
pub struct Site {
    pub config: PathBuf,
    pub folder: TempDir,
    pub bucket: String,
    pub keys: KeyPair,
    pub url: String,
    _server: Option<EmbeddedServer>,
}

/// What a test wants different from the usual.
#[derive(Clone, Default)]
pub struct Wish {
    /// Text behind the usual configuration: sections such as `[integrity]`.
    pub settings: String,
    /// Use the real server of `VASTOST_TEST_ENDPOINT` in place of the embedded one.
    pub minio: bool,
}

impl Site {
    pub fn new(wish: &Wish) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let bucket = format!("vastost-test-{}-{number}-{:08x}", std::process::id(), rand_u32());
        let (server, url, keys) = if wish.minio { minio() } else { embedded(folder.path()) };
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
        std::fs::write(&config, text).expect("write the configuration");
        let site = Self { config, folder, bucket, keys, url, _server: server };
        site.create_bucket();
        site
    }

    /// Creates the bucket through our own client, which fails with what is wrong when the server is not there.
    fn create_bucket(&self) {
        let config = vastost::config::Config::load(&self.config).expect("a valid configuration");
        let engine = vastost::objstore::engine::Engine::start(&config).expect("an engine");
        let server = config.server("t").expect("server t");
        let store = vastost::objstore::client::Store::new(&engine, &config, server, None).expect("a store");
        let (owned, bucket) = (store.clone(), self.bucket.clone());
        let made = store.run(async move { owned.create_bucket(&bucket).await });
        made.unwrap_or_else(|e| panic!("no bucket could be made at {}: {e}", self.url));
        engine.stop();
    }

    /// Opens the server through the plug-in's C functions.
    pub fn open(&self) -> HostServer {
        host::init().expect("stsp_init");
        host::open_server("VastData:t", &self.config, None).expect("stsp_open_server")
    }
}

fn embedded(folder: &Path) -> (Option<EmbeddedServer>, String, KeyPair) {
    let keys = KeyPair { access_key_id: "vastost-test".into(), secret_access_key: "s3cret/with+signs".into() };
    let store = folder.join("store");
    std::fs::create_dir(&store).expect("a folder for the store");
    let server = EmbeddedServer::start(&store, &keys).expect("the embedded server");
    let url = server.url();
    (Some(server), url, keys)
}

fn minio() -> (Option<EmbeddedServer>, String, KeyPair) {
    let url = std::env::var("VASTOST_TEST_ENDPOINT").expect(
        "VASTOST_TEST_ENDPOINT must name a running MinIO: `docker compose up -d --wait`, or tests/minio.sh start",
    );
    let given = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let keys = KeyPair {
        access_key_id: given("VASTOST_TEST_ACCESS_KEY", "vastost-test"),
        secret_access_key: given("VASTOST_TEST_SECRET_KEY", "vastost-test-secret"),
    };
    (None, url, keys)
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
    for (index, byte) in buffer.iter_mut().enumerate() {
        let at = offset + index as u64;
        let word = (at / 8).wrapping_add(seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        *byte = word.to_le_bytes()[(at % 8) as usize];
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

/// Writes a whole image in calls of `call` bytes and closes it complete.
pub fn backup(server: &HostServer, def: &Definition, data: &[u8], call: usize) {
    let image = server.create("main", def).expect("create");
    let mut offset = 0;
    for chunk in data.chunks(call) {
        assert_eq!(image.write(chunk, offset).expect("write"), chunk.len() as u64);
        offset += chunk.len() as u64;
    }
    image.close(vastost::ost::abi::STSP_CLOSEF_COMPLETE).expect("close");
}

/// Reads a whole image in calls of `call` bytes.
pub fn restore(server: &HostServer, def: &Definition, call: usize) -> Vec<u8> {
    let image = server.open("main", def, vastost::ost::abi::STSP_OPEN_READ).expect("open");
    let (mut data, mut buffer) = (Vec::new(), vec![0; call]);
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
