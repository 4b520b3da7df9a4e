//! `init`: a configuration that `doctor` passes, from options, the AWS environment, and questions on a terminal.

mod ask;
pub mod files;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use vastost::config::credentials::KeyPair;
use vastost::config::{Config, Endpoint};
use vastost::error::Kind;
use vastost::objstore::client::Store;
use vastost::objstore::engine::Engine;

use crate::args::{Global, Init};
use crate::credentials::{from_environment, variable};
use crate::output::{self, complain, line};
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

pub fn run(global: &Global, args: &Init) -> Outcome {
    if global.config.is_some() {
        return Err("init writes the file that --output names; --config is what other commands read".into());
    }
    let keys_file = files::keys_path(args);
    if args.endpoints.is_empty() || args.lsus.is_empty() {
        // Nobody answers questions for nothing.
        files::refuse_overwrite(args, &args.output, None)?;
    }
    let plan = Plan { args, endpoints: endpoints(args)?, lsus: lsus(args)?, keys: keys(args)? };
    let text = files::text(&plan)?;
    files::refuse_overwrite(args, &args.output, Some(&text))?;
    if let Keys::Pair(pair) = &plan.keys {
        files::refuse_overwrite(args, &keys_file, Some(&pair.to_file_text()))?;
    }
    // What the checker refuses is not written.
    let config = Config::parse(&text, &args.output)?;
    if let Keys::Pair(pair) = &plan.keys {
        files::write_new(args, &keys_file, &pair.to_file_text(), 0o600)?;
    }
    files::write_new(args, &args.output, &text, 0o644)?;
    let created = if args.create { create_buckets(&config)? } else { Vec::new() };
    let keys_file = matches!(plan.keys, Keys::Pair(_)).then_some(keys_file);
    if !global.quiet && !global.json {
        tell(&plan, keys_file.as_deref(), &created)?;
    }
    // What was written is there in any case; whether it serves is seen by an image. Where it does not, `doctor` tells more.
    let tried = doctor::try_images(&config)?;
    for (lsu, outcome) in &tried {
        match outcome {
            Ok(done) if !global.quiet && !global.json => line(&format!("LSU {lsu}: {done}"))?,
            Ok(_) => {}
            Err(why) => complain(&format!("LSU {lsu} cannot be used yet: {why}; `vastost-s3 doctor` tells more")),
        }
    }
    if global.json {
        let of = |(lsu, outcome): doctor::Tried| {
            let usable = outcome.is_ok();
            json!({ "lsu": lsu, "usable": usable, "detail": outcome.unwrap_or_else(|why| why) })
        };
        output::json(&json!({
            "schema": 1,
            "config": args.output.display().to_string(),
            "keys": keys_file.map(|file| file.display().to_string()),
            "server": args.name,
            "created": created,
            "lsus": tried.into_iter().map(of).collect::<Vec<_>>(),
        }))?;
    }
    Ok(ExitCode::SUCCESS)
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
        let some = |text: &str| if ask::words(text).is_empty() { Err("at least one name".to_owned()) } else { Ok(()) };
        ask::words(&ask::until_valid("Names of the LSUs (NAME or NAME=BUCKET, with spaces between)", "--lsu", some)?)
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
        return Ok(Keys::Pair(KeyPair { access_key_id, secret_access_key, session_token: None }));
    };
    // A token beside the secret is of the same keys, unless the environment names others.
    let is_same = variable("AWS_ACCESS_KEY_ID").is_none_or(|id| id == access_key_id);
    let session_token = variable("AWS_SESSION_TOKEN").filter(|_| is_same);
    Ok(Keys::Pair(KeyPair { access_key_id, secret_access_key, session_token }))
}

fn create_buckets(config: &Config) -> Result<Vec<String>, Box<dyn Error>> {
    let engine = Engine::start(config)?;
    let mut created = Vec::new();
    for server in config.servers.values() {
        let store = Store::new(&engine, config, server, None)?;
        for lsu in &server.lsus {
            let (owned, bucket) = (store.clone(), lsu.bucket.clone());
            let made = store.run(async move {
                match owned.head_bucket(&bucket).await {
                    Err(error) if error.kind() == Kind::LsuNotFound => {
                        owned.create_bucket(&bucket).await.map(|()| true)
                    }
                    other => other.map(|()| false),
                }
            });
            let path = config.path.display();
            if made.map_err(|error| error.context(format!("{path} is written, but its buckets are not complete")))? {
                created.push(lsu.bucket.clone());
            }
        }
    }
    engine.stop();
    Ok(created)
}

fn tell(plan: &Plan<'_>, keys_file: Option<&Path>, created: &[String]) -> Result<(), Box<dyn Error>> {
    let output = plan.args.output.display();
    line(&format!("Wrote {output}"))?;
    if let Some(file) = keys_file {
        line(&format!("Wrote {} with the keys, mode 0600", file.display()))?;
    }
    for bucket in created {
        line(&format!("Created bucket {bucket}"))?;
    }
    line("")?;
    line("Next:")?;
    line(&format!("  vastost-s3 --config {output} doctor    # checks all of it, and says what is missing"))?;
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
