//! The demo's S3 server: in a process of its own, over a folder that can be kept.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use vastost::config::Config;
use vastost::config::credentials::KeyPair;
use vastost_testkit::embedded::EmbeddedServer;

use super::{Failure, LSU};
use crate::Outcome;
use crate::init::files;
use crate::output;

fn keys() -> KeyPair {
    KeyPair {
        access_key_id: "demo".into(),
        secret_access_key: "demo-secret".into(),
        session_token: None,
    }
}

/// `--serve`: the demo's S3 server over a kept folder, until Ctrl-C.
pub fn serve(folder: &Path, until_eof: bool) -> Outcome {
    let config = folder.join("vastost.toml");
    let port = if config.exists() {
        Config::load(&config)?.server("demo")?.endpoint.port
    } else {
        0
    };
    let server = EmbeddedServer::start(&folder.join("store"), &keys(), (Ipv4Addr::LOCALHOST, port))?;
    output::line(&format!("serving {} at {}", folder.display(), server.url()))?;
    output::flush()?;
    if until_eof {
        // The parent holds the other end: it closes when the parent ends, however it ends.
        std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::park();
    }
}

/// The S3 server in a process of its own; ends with this value.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    /// Prepares `folder` and serves it on a free port.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        if folder.join("vastost.toml").exists() {
            return Err(format!(
                "{} holds a demo already; serve it with `demo --serve`, or choose another folder",
                folder.display()
            )
            .into());
        }

        std::fs::create_dir_all(folder.join("store").join(LSU))
            .map_err(|e| format!("create {}: {e}", folder.display()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["demo", "--until-eof", "--serve"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("start the S3 server: {e}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        let server = Self { child, url };
        if !server.url.starts_with("http://") {
            return Err("the S3 server did not start".into());
        }
        server.write_config(folder)?;
        Ok(server)
    }

    fn write_config(&self, folder: &Path) -> Result<(), Failure> {
        files::write(&folder.join("keys.toml"), &keys().to_file_text(), 0o600, false)?;
        let text = format!(
            "# Made by vastost-s3 demo.\nstate_dir = \"state\"\n\n[server.demo]\nendpoints = [\"{}\"]\n\
             credentials = {{ source = \"file\", file = \"keys.toml\" }}\n\n[[server.demo.lsu]]\nname = \"{LSU}\"\n",
            self.url
        );
        files::write(&folder.join("vastost.toml"), &text, 0o644, false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
