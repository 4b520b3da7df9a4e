//! `init`: a configuration that `doctor` passes, from options, the AWS environment, and questions on a terminal.

mod ask;
pub mod files;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use vastost::catalog::cluster::Cluster;
use vastost::config::credentials::{KeyPair, Source};
use vastost::config::{Config, Endpoint, Server};
use vastost::engine::process::Engine;

use crate::args::{Global, Init};
use crate::credentials::{from_environment, variable};
use crate::output;
use crate::output::{complain, line};
use crate::wait::wait_for;
use crate::{Outcome, doctor};

/// What goes into the file.
struct Plan<'a> {
    args: &'a Init,
    endpoints: Vec<String>,
    /// Name and bucket.
    lsus: Vec<(String, String)>,
    keys: Keys,
}

/// Where the keys come from.
enum Keys {
    Profile(String),
    Pair(KeyPair),
}

/// What was done.
struct Written {
    /// The file with the keys, where they are not a profile's.
    keys: Option<PathBuf>,
    /// Where the old keys are now.
    kept: Option<PathBuf>,
    /// Buckets.
    created: Vec<String>,
}

pub fn run(global: &Global, args: &Init) -> Outcome {
    if global.config.is_some() {
        return Err("init writes the file that --output names; --config is what other commands read".into());
    }
    if args.endpoints.is_empty() || args.lsus.is_empty() {
        // Refuse before asking questions.
        files::refuse_overwrite(args, None)?;
    }
    let plan = Plan {
        args,
        endpoints: endpoints(args)?,
        lsus: lsus(args)?,
        keys: keys(args)?,
    };

    let text = files::text(&plan)?;
    // An invalid configuration is not written.
    let config = Config::parse(&text, &args.output)?;
    let written = write(&plan, &text, &config)?;
    if !global.quiet && !global.json {
        tell(&plan, &written)?;
    }
    // The files are written in any case. An image shows whether the LSUs can be used; `doctor` says why not.
    let tried = doctor::try_images(&config)?;

    for (lsu, outcome) in &tried {
        match outcome {
            Ok(done) if !global.quiet && !global.json => line(&format!("LSU {lsu}: {done}"))?,
            Ok(_) => {}
            Err(why) => complain(&format!(
                "LSU {lsu} cannot be used yet: {why}; `vastost-s3 doctor` says why"
            )),
        }
    }

    if global.json {
        output::json(&document(args, &written, tried))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates buckets when asked to, which tries the keys, and then writes the files.
fn write(plan: &Plan<'_>, text: &str, config: &Config) -> Result<Written, Box<dyn Error>> {
    let args = plan.args;
    let keys = match &plan.keys {
        Keys::Pair(pair) => Some((files::keys_path(args), pair.to_file_text())),
        Keys::Profile(_) => None,
    };
    files::refuse_overwrite(args, Some(text))?;
    if let Some((path, keys)) = &keys {
        files::refuse_keys(args, path, keys)?;
    }
    let created = if args.create {
        create_buckets(config, &plan.keys)?
    } else {
        Vec::new()
    };

    let mut kept = None;
    if let Some((path, keys)) = &keys {
        kept = files::keep_old(path, keys)?;
        files::write_new(args, path, keys, files::SECRET_MODE)?;
    }
    files::write_new(args, &args.output, text, 0o644)?;
    Ok(Written {
        keys: keys.map(|(path, _)| path),
        kept,
        created,
    })
}

fn document(args: &Init, written: &Written, tried: Vec<doctor::Tried>) -> Value {
    let of = |(lsu, outcome): doctor::Tried| {
        let usable = outcome.is_ok();
        json!({ "lsu": lsu, "usable": usable, "detail": outcome.unwrap_or_else(|why| why) })
    };
    let name = |file: &Option<PathBuf>| file.as_ref().map(|file| file.display().to_string());
    json!({
        "schema": 1,
        "config": args.output.display().to_string(),
        "keys": name(&written.keys),
        "keys_kept": name(&written.kept),
        "server": args.name,
        "created": written.created,
        "lsus": tried.into_iter().map(of).collect::<Vec<_>>(),
    })
}

fn endpoints(args: &Init) -> Result<Vec<String>, Box<dyn Error>> {
    if args.endpoints.is_empty() {
        let valid = |text: &str| Endpoint::parse(&ask::words(text)).map(drop);
        let answer = ask::until_valid("S3 endpoint, such as https://s3.vast1.example.com", "--endpoint", valid)?;
        return Ok(ask::words(&answer));
    }
    Endpoint::parse(&args.endpoints).map_err(|valid| format!("--endpoint must be {valid}"))?;
    Ok(args.endpoints.clone())
}

fn lsus(args: &Init) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let given = if args.lsus.is_empty() {
        let some = |text: &str| {
            if ask::words(text).is_empty() {
                Err("at least one name".to_owned())
            } else {
                Ok(())
            }
        };
        ask::words(&ask::until_valid(
            "Names of the LSUs (NAME or NAME=BUCKET, with spaces between)",
            "--lsu",
            some,
        )?)
    } else {
        args.lsus.clone()
    };

    let pair = |lsu: &String| match lsu.split_once('=') {
        Some((name, bucket)) => (name.to_owned(), bucket.to_owned()),
        None => (lsu.clone(), lsu.clone()),
    };
    Ok(given.iter().map(pair).collect())
}

/// An option or a pair in the environment, else a profile, else questions.
fn keys(args: &Init) -> Result<Keys, Box<dyn Error>> {
    if args.access_key.is_none() {
        if let Some(pair) = from_environment() {
            return Ok(Keys::Pair(pair));
        }
        if let Some(profile) = variable("AWS_PROFILE") {
            return Ok(Keys::Profile(profile));
        }
    }

    let access_key_id = match &args.access_key {
        Some(id) => id.clone(),
        None => {
            let source = "--access-key with AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
            ask::until_valid("Access key id", source, |_| Ok(()))?
        }
    };

    let Some(secret_access_key) = variable("AWS_SECRET_ACCESS_KEY") else {
        let secret_access_key = ask::secret("Secret access key (not shown)", "AWS_SECRET_ACCESS_KEY")?;
        return Ok(Keys::Pair(KeyPair {
            access_key_id,
            secret_access_key,
            session_token: None,
        }));
    };

    // A token beside the secret belongs to the same keys, unless the environment names others.
    let is_same = variable("AWS_ACCESS_KEY_ID").is_none_or(|id| id == access_key_id);
    let session_token = variable("AWS_SESSION_TOKEN").filter(|_| is_same);
    Ok(Keys::Pair(KeyPair {
        access_key_id,
        secret_access_key,
        session_token,
    }))
}

/// Makes the buckets that are missing. The keys are not in their file yet, and are passed as NetBackup passes its own.
fn create_buckets(config: &Config, keys: &Keys) -> Result<Vec<String>, Box<dyn Error>> {
    let engine = Engine::start(config)?;
    let mut created = Vec::new();
    for server in config.servers.values() {
        let cluster = match keys {
            Keys::Profile(_) => Cluster::open(&engine, config, server, None)?,
            Keys::Pair(pair) => {
                let handed = Server {
                    credentials: Source::NetBackup,
                    ..server.clone()
                };
                Cluster::open(&engine, config, &handed, Some(pair.clone()))?
            }
        };
        for lsu in &server.lsus {
            let made = wait_for(&cluster, cluster.lsu(&lsu.name)?.create_bucket());
            if made.map_err(|error| error.context("the buckets are not complete, so nothing was written"))? {
                created.push(lsu.bucket.to_string());
            }
        }
    }

    engine.stop();
    Ok(created)
}

fn tell(plan: &Plan<'_>, written: &Written) -> Result<(), Box<dyn Error>> {
    let output = plan.args.output.display();
    line(&format!("Wrote {output}"))?;
    if let Some(file) = &written.keys {
        line(&format!("Wrote {} with the keys, mode 0600", file.display()))?;
    }
    if let Some(file) = &written.kept {
        line(&format!("Kept the keys that were there as {}", file.display()))?;
    }
    for bucket in &written.created {
        line(&format!("Created bucket {bucket}"))?;
    }
    line("")?;
    line("Next:")?;
    line(&format!(
        "  vastost-s3 --config {output} doctor    # checks all of it, and says what is missing"
    ))?;
    line(&format!(
        "NetBackup's storage server is VastData:{}; it looks for the file beside the plug-in and at",
        plan.args.name
    ))?;
    line("/etc/vastost/vastost.toml. The user that NetBackup's processes run as must be able to read it and the keys.")
}

/// Whether there is somebody to ask.
fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}
