//! `doctor`: checks everything that a backup needs, with the result of each check and how to fix a failure.
//!
//! After a failed check only those that depend on it are left out. Probe objects are removed also when a check fails.
//! Requests are tried a few times within seconds, so that a busy server passes and a dead one is reported quickly.

mod advice;
mod clock;
mod host;
mod lsu;
mod network;
mod report;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use vastost::catalog::cluster::Cluster;
use vastost::config::credentials::{KeyPair, Source};
use vastost::config::{Config, Server};
use vastost::engine::process::Engine;
use vastost::error::Kind;

use crate::args;
use crate::args::Global;
use crate::wait::wait_for;
use crate::{FOUND_PROBLEMS, Outcome, chain, configuration, credentials, interrupt};
use report::Report;

type Done = Result<(), Box<dyn Error>>;

/// Tries of one request: a server that is busy may refuse some.
const ATTEMPTS_MAX: u32 = 6;
/// Longest wait between them.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// One request with its tries, where the server may not be there yet.
const TRIAL_MAX: Duration = Duration::from_secs(15);
/// One request with its tries.
const OPERATION_MAX: Duration = Duration::from_secs(60);

pub fn run(global: &Global, _: &args::Doctor) -> Outcome {
    interrupt::watch()?;
    let mut report = Report::new(global);
    match configuration::find(global) {
        Err(error) => report.fail(
            "config",
            chain(error.as_ref()),
            "correct the file, or write one with `vastost-s3 init`",
        )?,
        Ok(config) => {
            let servers = config.servers.len();
            let path = config.path.display();
            report.pass(
                "config",
                format!("{path}, {servers} server{}", if servers == 1 { "" } else { "s" }),
            )?;
            all(global, &patience(config), &mut report)?;
        }
    }

    let failed = report.end()?;
    Ok(if failed {
        ExitCode::from(FOUND_PROBLEMS)
    } else {
        ExitCode::SUCCESS
    })
}

/// An LSU, and what an image that was tried in it showed, or why it failed.
pub type Tried = (String, Result<String, String>);

/// For `init`: tries one image in each LSU of a new configuration. Returns what was done, or why it failed.
pub fn try_images(config: &Config) -> Result<Vec<Tried>, Box<dyn Error>> {
    let mut config = patience(config.clone());
    config.retry.operation_timeout = config.retry.operation_timeout.min(TRIAL_MAX);
    let engine = Engine::start(&config)?;
    let mut tried = Vec::new();
    for server in config.servers.values() {
        let cluster = Cluster::open(&engine, &config, server, None);
        for lsu in &server.lsus {
            let done = match &cluster {
                Ok(cluster) => lsu::try_image(cluster, &lsu.name),
                Err(error) => Err(error.to_string()),
            };
            tried.push((lsu.name.clone(), done));
        }
    }
    engine.stop();
    Ok(tried)
}

fn all(global: &Global, config: &Config, report: &mut Report) -> Done {
    let chosen: Vec<_> = match &global.server {
        Some(name) => vec![config.server(name)?],
        None => config.servers.values().collect(),
    };
    host::check(config, report)?;
    let engine = Engine::start(config)?;
    for server in &chosen {
        report.scope(if chosen.len() > 1 { &server.name } else { "" });
        check_server(config, server, &engine, report)?;
    }
    engine.stop();
    Ok(())
}

fn patience(mut config: Config) -> Config {
    config.retry.attempts = config.retry.attempts.min(ATTEMPTS_MAX);
    config.retry.backoff_max = config.retry.backoff_max.min(BACKOFF_MAX);
    config.retry.operation_timeout = config.retry.operation_timeout.min(OPERATION_MAX);
    config
}

fn check_server(config: &Config, server: &Server, engine: &Engine, report: &mut Report) -> Done {
    let keys = check_credentials(server, report)?;
    let addresses = network::check(config, server, engine, report)?;
    if addresses.is_empty() || !clock::check(config, server, engine, &addresses, report)? {
        return Ok(());
    }
    let Some(given) = keys else {
        // Without keys nothing can be signed; the credentials check has said so.
        return server.lsus.iter().try_for_each(|lsu| {
            let advice = "give doctor keys, as the credentials check says";
            report.warn(
                &format!("{} list", lsu.name),
                "not checked: there are no keys".into(),
                advice,
            )
        });
    };

    let cluster = match Cluster::open(engine, config, server, given) {
        Ok(cluster) => cluster,
        Err(error) => return report.fail("client", error.to_string(), "correct what the message names"),
    };
    if !check_signature(server, &cluster, report)? {
        return Ok(());
    }
    for lsu in &server.lsus {
        interrupt::check()?;
        lsu::check(config, server, &cluster, &lsu.name, report)?;
    }
    check_discovery(server, &cluster, report)
}

/// The keys to pass on (inner None: the library gets them itself), or None without keys.
fn check_credentials(server: &Server, report: &mut Report) -> Result<Option<Option<KeyPair>>, Box<dyn Error>> {
    let check = "credentials";
    match &server.credentials {
        Source::File(path) => match KeyPair::load(path) {
            Ok(pair) => {
                report.pass(
                    check,
                    format!("file {}, access key {}", path.display(), pair.access_key_id),
                )?;
                Ok(Some(None))
            }
            Err(error) => {
                report.fail(
                    check,
                    error.to_string(),
                    "make the file readable by its owner alone, with the two keys",
                )?;
                Ok(None)
            }
        },
        Source::NetBackup => match credentials::from_environment() {
            Some(pair) => {
                let id = &pair.access_key_id;
                report.pass(
                    check,
                    format!("NetBackup's own in jobs; here access key {id} of the environment"),
                )?;
                Ok(Some(Some(pair)))
            }
            None => {
                let advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to have them and the LSUs checked";
                report.warn(check, "NetBackup's own, which cannot be seen from here".into(), advice)?;
                Ok(None)
            }
        },
        Source::Profile(name) => report.pass(check, format!("AWS profile {name}")).map(|()| Some(None)),
        Source::Aws => report
            .pass(check, "the AWS chain: environment, default profile, …".into())
            .map(|()| Some(None)),
    }
}

/// One authenticated request; false when the store does not accept us.
fn check_signature(server: &Server, cluster: &Cluster, report: &mut Report) -> Result<bool, Box<dyn Error>> {
    let answer = match server.lsus.first() {
        Some(first) => wait_for(cluster, cluster.lsu(&first.name)?.reach()),
        None => wait_for(cluster, cluster.buckets()).map(drop),
    };
    match answer {
        Ok(()) => report.pass("signature", "accepted".into())?,
        Err(error) if error.kind() == Kind::LsuNotFound => report.pass("signature", "accepted".into())?,
        Err(error) => {
            let advice = match error.kind() {
                Kind::Unauthorized if error.to_string().contains("ExpiredToken") => {
                    "the temporary keys have expired: get new ones, and put them where the configuration takes keys from"
                }
                Kind::Unauthorized => "correct access key and secret; check the clock when both are right",
                Kind::AccessDenied => "give this key the right to list, read, write and delete in the LSUs' buckets",
                _ => "check that an S3 service answers at the endpoint",
            };
            report.fail("signature", error.to_string(), advice)?;
            // Another bucket may well be ours.
            return Ok(error.kind() == Kind::AccessDenied && server.lsus.len() > 1);
        }
    }

    Ok(true)
}

fn check_discovery(server: &Server, cluster: &Cluster, report: &mut Report) -> Done {
    let Some(prefix) = &server.bucket_prefix else {
        return Ok(());
    };
    match wait_for(cluster, cluster.buckets()) {
        Ok(buckets) => {
            let found = buckets
                .iter()
                .filter(|bucket| server.discovered(bucket).is_some())
                .count();
            report.pass("discovery", format!("{found} buckets begin with {prefix}"))
        }
        Err(error) => report.fail(
            "discovery",
            error.to_string(),
            "let the key list buckets, or name the LSUs one by one",
        ),
    }
}
