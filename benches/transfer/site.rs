//! Where the clients work: the server's process, a scratch folder in memory, the plug-in and its configurations.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::args::MIB;
use super::server::CONTROL;

/// A day of images: 2026-11-22.
const DATE: u64 = 1_795_305_600;
const DEFAULT_PLUGIN: &str = "plugin/libvastost.so";

pub struct Site {
    folder: TempDir,
    server: Child,
    http: u16,
    https: Option<u16>,
    pub plugin: PathBuf,
    next_date: AtomicU64,
}

/// What the server has done since it started.
#[derive(Clone, Copy)]
pub struct ServerFigures {
    pub requests: u64,
    pub cpu_s: f64,
}

impl Site {
    /// Starts the server, and ends the program with a word when the plug-in is not there.
    pub fn new(tls: bool) -> Self {
        let plugin = plugin();
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::with_prefix_in("vastost-", memory) } else { TempDir::new() };
        let folder = folder.expect("a scratch folder");
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        if tls {
            write_certificate(folder.path());
            command.arg("--tls").arg(folder.path());
        }
        let mut server = command.spawn().expect("start the server");
        let mut ports = BufReader::new(server.stdout.take().expect("its output")).lines();
        let mut port = || ports.next().expect("a port").expect("a line").parse::<u16>().expect("a number");
        let (http, https) = (port(), tls.then(&mut port));
        // What is written to it is gone, and a client that removes or replaces it hurts nobody.
        symlink("/dev/null", folder.path().join("null")).expect("link the sink");
        write_private(
            &folder.path().join("keys.toml"),
            "access_key_id = \"bench\"\nsecret_access_key = \"bench-secret\"\n",
        );
        let site = Self { folder, server, http, https, plugin, next_date: AtomicU64::new(DATE) };
        site.compile_host();
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Host and port of http.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    pub fn url(&self, tls: bool) -> String {
        match self.https.filter(|_| tls) {
            // The name in the certificate.
            Some(port) => format!("https://localhost:{port}"),
            None => format!("http://{}", self.address()),
        }
    }

    /// The date of the first of up to 1,000 images that do not exist yet.
    pub fn fresh_date(&self) -> u64 {
        self.next_date.fetch_add(1000, Ordering::Relaxed)
    }

    /// A configuration with the given `[integrity] wire` and every default.
    pub fn config(&self, wire: &str, tls: bool) -> PathBuf {
        let path = self.path(&format!("{wire}-{tls}.toml"));
        let ca = if tls { "tls = { ca_file = \"cert.pem\" }\n" } else { "" };
        let text = format!(
            "state_dir = \"state\"\n[server.t]\nendpoints = [\"{}\"]\n\
             credentials = {{ source = \"file\", file = \"keys.toml\" }}\n{ca}\
             [[server.t.lsu]]\nname = \"main\"\nbucket = \"bench\"\n[integrity]\nwire = \"{wire}\"\n",
            self.url(tls)
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
                file.write_all(&block).expect("fill the source: is there room in memory?");
            }
        }
        path
    }

    pub fn figures(&self) -> ServerFigures {
        let mut socket = TcpStream::connect(self.address()).expect("connect to the server");
        socket.write_all(format!("GET /{CONTROL} HTTP/1.1\r\n\r\n").as_bytes()).expect("ask the server");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("the server's answer");
        let numbers: Vec<u64> = text.lines().last().unwrap_or_default().split(' ').flat_map(str::parse).collect();
        ServerFigures { requests: numbers[0], cpu_s: numbers[1] as f64 / 1e6 }
    }

    fn compile_host(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c99", "-Wall", "-Wextra", "-O2", "-I"]).arg(root.join("include"));
        compiler.arg(root.join("benches/transfer/host.c")).args(["-ldl", "-pthread", "-o"]).arg(self.path("host"));
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

/// `VASTOST_PLUGIN`, else where README's command puts it.
fn plugin() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root("target"), PathBuf::from);
    let path = std::env::var_os("VASTOST_PLUGIN").map_or_else(|| target.join(DEFAULT_PLUGIN), PathBuf::from);
    if !path.is_file() {
        eprintln!(
            "{}: no plug-in there. Build it as README says, or name it by VASTOST_PLUGIN:\n    \
             cargo rustc --profile plugin --lib --crate-type cdylib --no-default-features",
            path.display()
        );
        exit(2);
    }
    path
}

/// A path below the repository.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn write_certificate(folder: &Path) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    fs::write(folder.join("cert.pem"), made.cert.pem()).expect("write the certificate");
    write_private(&folder.join("key.pem"), &made.signing_key.serialize_pem());
}

fn write_private(path: &Path, text: &str) {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("write a private file");
}
