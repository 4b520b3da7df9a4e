//! Which clients there are, and the command line that makes each move the same bytes the same way.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use vastost::engine::checksum::{Crc64, Crc64Hasher};
use vastost_testkit::repository;

use super::args::{Direction, IN_FLIGHT, MIB, PART};
use super::peers::Peers;
use super::site::{ACCESS_KEY, BUCKET, Place, SECRET_KEY, Site};
use super::store::ZEROS;

/// Images moved side by side by the plug-in: with four parts each on their way, its default, that makes eight.
pub const STREAMS: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The plug-in, with this `[integrity] wire`.
    Plugin(&'static str),
    /// Raw sockets, with CRC64NVME or without.
    Limit(bool),
    Sdk(bool),
    Crt(bool),
    S5cmd,
    Rclone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub name: &'static str,
    pub kind: Kind,
    /// What an upload proves on the wire.
    pub proof: &'static str,
}

const fn client(name: &'static str, kind: Kind, proof: &'static str) -> Client {
    Client { name, kind, proof }
}

pub const CLIENTS: [Client; 10] = [
    client("limit", Kind::Limit(false), "nothing"),
    client("limit-crc64nvme", Kind::Limit(true), "CRC64NVME"),
    client("vastost-crc64nvme", Kind::Plugin("crc64nvme"), "CRC64NVME"),
    client("vastost-md5", Kind::Plugin("md5"), "MD5, CRC64NVME"),
    client("sdk", Kind::Sdk(false), "nothing"),
    client("sdk-crc64nvme", Kind::Sdk(true), "CRC64NVME"),
    client("crt", Kind::Crt(false), "nothing"),
    client("crt-crc64nvme", Kind::Crt(true), "CRC64NVME"),
    client("s5cmd", Kind::S5cmd, "its default"),
    client("rclone", Kind::Rclone, "its default"),
];

/// One transfer of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    pub client: Client,
    pub direction: Direction,
    pub place: Place,
    pub bytes: u64,
    /// Of the plug-in.
    pub streams: u64,
    /// Of the plug-in's first image.
    pub date: u64,
}

/// A program with arguments and environment.
pub struct Invocation {
    pub program: OsString,
    pub args: Vec<OsString>,
    pub env: Vec<(&'static str, String)>,
}

impl Client {
    pub fn is_peer(&self) -> bool {
        matches!(self.kind, Kind::Crt(_) | Kind::S5cmd | Kind::Rclone)
    }

    pub fn is_plugin(&self) -> bool {
        matches!(self.kind, Kind::Plugin(_))
    }

    pub fn speaks_tls(&self) -> bool {
        matches!(self.kind, Kind::Plugin(_) | Kind::Crt(_))
    }

    pub fn is_there(&self, peers: &Peers) -> bool {
        match self.kind {
            Kind::Crt(_) => peers.python.is_some(),
            Kind::S5cmd => peers.s5cmd.is_some(),
            Kind::Rclone => peers.rclone.is_some(),
            _ => true,
        }
    }
}

impl Job {
    pub fn invocation(&self, site: &Site, peers: &Peers) -> Invocation {
        match self.client.kind {
            Kind::Plugin(wire) => {
                let numbers = [self.streams, self.bytes / self.streams, self.date];
                host(site, &site.config(wire, self.place), self.direction.name(), &numbers)
            }
            Kind::Limit(crc) => self.own("limit", crc, site),
            Kind::Sdk(crc) => self.own("sdk", crc, site),
            Kind::Crt(crc) => self.crt(crc, site, peers),
            Kind::S5cmd => self.s5cmd(site, peers),
            Kind::Rclone => self.rclone(site, peers),
        }
    }

    /// What is downloaded: on MinIO what the same client has uploaded.
    fn source_key(&self, uploaded: &str) -> String {
        if self.place == Place::Minio {
            uploaded.into()
        } else {
            format!("{ZEROS}{}", self.bytes)
        }
    }

    fn own(&self, role: &str, crc: bool, site: &Site) -> Invocation {
        let program = std::env::current_exe().expect("own path");
        let mut args = vec![
            role.to_owned(),
            self.direction.name().into(),
            site.address(),
            self.bytes.to_string(),
        ];
        args.extend(crc.then(|| "--crc".into()));
        invocation(&program, &args)
    }

    fn crt(&self, crc: bool, site: &Site, peers: &Peers) -> Invocation {
        let python = peers.python.as_ref().expect("a client that is there");
        let (key, file) = match self.direction {
            Direction::Up => ("crt".into(), site.source(self.bytes)),
            Direction::Down => (self.source_key("crt"), site.path("null")),
        };
        let script = repository("bench/transfer/crt.py").display().to_string();
        let mut args = vec![
            script,
            self.direction.name().into(),
            site.url(self.place),
            key,
            self.bytes.to_string(),
        ];
        args.push(file.display().to_string());
        if crc {
            args.extend(["--crc".into(), crc_of_zeros(self.bytes).to_base64()]);
        }
        if self.place == Place::Https {
            args.extend(["--ca".into(), site.path("cert.pem").display().to_string()]);
        }
        invocation(python, &args)
    }

    fn s5cmd(&self, site: &Site, peers: &Peers) -> Invocation {
        let program = peers.s5cmd.as_ref().expect("a client that is there");
        let size = (PART / MIB).to_string();
        let many = IN_FLIGHT.to_string();
        let mut args: Vec<String> = [
            "--endpoint-url",
            &site.url(self.place),
            "cp",
            "--part-size",
            &size,
            "--concurrency",
            &many,
        ]
        .map(Into::into)
        .into();
        // It writes beside its target and renames, so the sink must be a real file.
        args.extend(match self.direction {
            Direction::Up => [
                site.source(self.bytes).display().to_string(),
                format!("s3://{BUCKET}/s5cmd"),
            ],
            Direction::Down => [
                format!("s3://{BUCKET}/{}", self.source_key("s5cmd")),
                site.path("sink").display().to_string(),
            ],
        });
        invocation(program, &args)
    }

    fn rclone(&self, site: &Site, peers: &Peers) -> Invocation {
        let program = peers.rclone.as_ref().expect("a client that is there");
        let size = format!("{}Mi", PART / MIB);
        let many = IN_FLIGHT.to_string();
        let mut args: Vec<String> =
            // Without --ignore-times the second run would find the file there and move nothing.
            ["copyto", "--ignore-times", "--s3-no-check-bucket", "--s3-chunk-size", &size, "--s3-upload-concurrency", &many]
                .map(Into::into)
                .into();
        args.extend(["--multi-thread-streams", &many, "--multi-thread-chunk-size", &size].map(Into::into));
        args.extend(match self.direction {
            Direction::Up => [
                site.source(self.bytes).display().to_string(),
                format!("bench:{BUCKET}/rclone"),
            ],
            Direction::Down => [
                format!("bench:{BUCKET}/{}", self.source_key("rclone")),
                site.path("sink").display().to_string(),
            ],
        });
        let mut called = invocation(program, &args);
        called.env.extend([
            ("RCLONE_CONFIG", site.path("rclone.conf").display().to_string()),
            ("RCLONE_CONFIG_BENCH_TYPE", "s3".into()),
            ("RCLONE_CONFIG_BENCH_PROVIDER", "Other".into()),
            ("RCLONE_CONFIG_BENCH_ENDPOINT", site.url(self.place)),
            ("RCLONE_CONFIG_BENCH_ENV_AUTH", "true".into()),
        ]);
        called
    }
}

impl Invocation {
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().cloned());
        command
    }
}

/// The C host in one of its modes, with the numbers that the mode takes; see host.c.
pub fn host(site: &Site, config: &Path, mode: &str, numbers: &[u64]) -> Invocation {
    let plugin = site.plugin.display().to_string();
    let mut args = vec![plugin, config.display().to_string(), mode.into()];
    args.extend(numbers.iter().map(u64::to_string));
    invocation(&site.path("host"), &args)
}

fn invocation(program: &Path, args: &[String]) -> Invocation {
    let env = vec![
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
        ("AWS_REGION", "us-east-1".into()),
        // No client may look for credentials on the network.
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
    ];
    Invocation {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        env,
    }
}

fn crc_of_zeros(bytes: u64) -> Crc64 {
    let block = vec![0; usize::try_from(MIB).expect("fits memory")];
    let mut hasher = Crc64Hasher::default();
    for _ in 0..bytes / MIB {
        hasher.update(&block);
    }
    hasher.value()
}
