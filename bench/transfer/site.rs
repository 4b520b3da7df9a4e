//! Where the clients work: the server's process, a scratch folder in memory, the plug-in and its configurations.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use vastost_testkit::repository;

use super::args::MIB;
use super::minio::Minio;
use super::server::CONTROL;

/// A day of images: 2026-11-22.
const DATE: u64 = 1_795_305_600;

/// What tests/minio.sh gives its server; the other one takes any.
pub const ACCESS_KEY: &str = "vastost-test";
pub const SECRET_KEY: &str = "vastost-test-secret";
pub const BUCKET: &str = "bench";

/// Which server a client talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Http,
    Https,
    /// A real MinIO, which writes what it gets.
    Minio,
}

pub struct Site {
    // Before the folder, which has its data.
    pub minio: Option<Minio>,
    folder: TempDir,
    server: Child,
    http: u16,
    https: u16,
    pub plugin: PathBuf,
    next_date: AtomicU64,
}

/// What the servers have done since they started.
#[derive(Clone, Copy)]
pub struct ServerFigures {
    /// Not MinIO's.
    pub requests: u64,
    pub cpu_s: f64,
}

impl Site {
    /// Starts the server, and ends the program with a word when the plug-in is not there.
    pub fn new() -> Self {
        let plugin = plugin();
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            TempDir::with_prefix_in("vastost-", memory)
        } else {
            TempDir::new()
        };
        let folder = folder.expect("a scratch folder");
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        write_certificate(folder.path());
        command
            .arg("serve")
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut server = command.spawn().expect("start the server");
        let mut ports = BufReader::new(server.stdout.take().expect("its output")).lines();
        let mut port = || {
            ports
                .next()
                .expect("a port")
                .expect("a line")
                .parse::<u16>()
                .expect("a number")
        };
        let http = port();
        let https = port();
        // What is written to it is gone, and a client that removes or replaces it hurts nobody.
        symlink("/dev/null", folder.path().join("null")).expect("link the sink");
        write_private(
            &folder.path().join("keys.toml"),
            &format!("access_key_id = \"{ACCESS_KEY}\"\nsecret_access_key = \"{SECRET_KEY}\"\n"),
        );
        let site = Self {
            minio: None,
            folder,
            server,
            http,
            https,
            plugin,
            next_date: AtomicU64::new(DATE),
        };
        site.compile("host");
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Host and port of http.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    pub fn url(&self, place: Place) -> String {
        match place {
            Place::Http => format!("http://{}", self.address()),
            // The name in the certificate.
            Place::Https => format!("https://localhost:{}", self.https),
            Place::Minio => self.minio.as_ref().expect("a MinIO that was started").url.clone(),
        }
    }

    /// The date of the first of up to 1,000 images that do not exist yet.
    pub fn fresh_date(&self) -> u64 {
        self.next_date.fetch_add(1000, Ordering::Relaxed)
    }

    /// A configuration with the given `[integrity] wire` and every default.
    pub fn config(&self, wire: &str, place: Place) -> PathBuf {
        let tables = format!("[integrity]\nwire = \"{wire}\"\n");
        self.write_config(&format!("{wire}-{place:?}"), &[self.url(place)], BUCKET, &tables)
    }

    /// A configuration of one server with the LSU `main` in `bucket`, every default, and what `tables` says.
    pub fn write_config(&self, name: &str, endpoints: &[String], bucket: &str, tables: &str) -> PathBuf {
        let path = self.path(&format!("{name}.toml"));
        let tls = endpoints.iter().any(|url| url.starts_with("https:"));
        let ca = if tls { "tls = { ca_file = \"cert.pem\" }\n" } else { "" };
        // What a server was found to do is kept by its name and URL.
        let text = format!(
            "state_dir = \"state\"\n[server.t]\nendpoints = {endpoints:?}\n\
             credentials = {{ source = \"file\", file = \"keys.toml\" }}\n{ca}\
             [[server.t.lsu]]\nname = \"main\"\nbucket = \"{bucket}\"\n{tables}"
        );
        fs::write(&path, text).expect("write the configuration");
        path
    }

    /// A file of `bytes` zeros, in memory and without holes; made once.
    pub fn source(&self, bytes: u64) -> PathBuf {
        let path = self.path(&format!("source-{bytes}"));
        if !path.exists() {
            let mut file = fs::File::create(&path).expect("make the source");
            let block = vec![0; usize::try_from(MIB).expect("fits memory")];
            for _ in 0..bytes / MIB {
                file.write_all(&block)
                    .expect("fill the source: is there room in memory?");
            }
        }
        path
    }

    pub fn figures(&self) -> ServerFigures {
        let text = self.control("");
        let numbers: Vec<u64> = text
            .lines()
            .last()
            .unwrap_or_default()
            .split(' ')
            .flat_map(str::parse)
            .collect();
        // Only one of the two is at work at a time.
        let minio_s = self.minio.as_ref().map_or(0.0, Minio::cpu_s);
        ServerFigures {
            requests: numbers[0],
            cpu_s: numbers[1] as f64 / 1e6 + minio_s,
        }
    }

    /// Asks the server itself for something, which it does not count.
    pub fn control(&self, what: &str) -> String {
        let mut socket = TcpStream::connect(self.address()).expect("connect to the server");
        socket
            .write_all(format!("GET /{CONTROL}/{what} HTTP/1.1\r\n\r\n").as_bytes())
            .expect("ask the server");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("the server's answer");
        text
    }

    /// Compiles a host program; it lies in the folder by the same name then.
    pub fn compile(&self, name: &str) {
        let source = repository(&format!("bench/transfer/{name}.c"));
        let mut compiler = Command::new("cc");
        compiler
            .args(["-std=c99", "-Wall", "-Wextra", "-O2", "-I"])
            .arg(repository("include"));
        compiler
            .arg(source)
            .args(["-ldl", "-pthread", "-o"])
            .arg(self.path(name));
        let status = compiler.status().expect("a C compiler: cc");
        assert!(status.success(), "{compiler:?}: {status}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Its standard input ends, and so does it.
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

/// `VASTOST_PLUGIN`, else where `cargo build --release` puts it.
fn plugin() -> PathBuf {
    vastost_bench::built("VASTOST_PLUGIN", "libvastost.so").unwrap_or_else(|why| {
        eprintln!("{why}");
        exit(2)
    })
}

/// Where figures and the other clients stay.
pub fn target_folder() -> PathBuf {
    let target = vastost_bench::target().join("transfer");
    fs::create_dir_all(&target).expect("make a folder below target/");
    target
}

fn write_certificate(folder: &Path) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    fs::write(folder.join("cert.pem"), made.cert.pem()).expect("write the certificate");
    write_private(&folder.join("key.pem"), &made.signing_key.serialize_pem());
}

fn write_private(path: &Path, text: &str) {
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("write a private file");
}
