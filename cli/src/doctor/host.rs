//! Requirements on this host: files that only we change, writable folders, memory, file descriptors.

use std::path::Path;

use vastost::config::warnings::{Warning, warnings};
use vastost::config::{Config, size_text};
use vastost::engine::memory::{self, RESERVE};

use super::Done;
use super::report::Report;
use crate::folder_trial::{folder_of_log, try_folder};
use crate::output::human_size;

/// Descriptors beside those of connections: the host's own files, libraries, logs.
const OTHER_FILES: u64 = 64;

/// Memory of a process besides its part buffers, approximately.
const BESIDE_POOL: u64 = 64 << 20;

const STATE_ADVICE: &str =
    "set state_dir to a folder that NetBackup's processes may write; without it each probes anew and no usage is known";
const METRICS_ADVICE: &str =
    "set [metrics] dir to a folder that NetBackup's processes may write; without it there are no counters";
const LOG_ADVICE: &str =
    "set [log] file in a folder that NetBackup's processes may write; without it there is no log of the plug-in's own";

pub fn check(config: &Config, report: &mut Report) -> Done {
    for Warning { what, advice } in warnings(config) {
        report.warn("files", what, advice)?;
    }
    folder("state directory", &config.state_dir, STATE_ADVICE, report)?;
    if let Some(metrics) = &config.metrics.dir {
        folder("metrics folder", metrics, METRICS_ADVICE, report)?;
    }
    if let Some(log) = folder_of_log(config) {
        folder("log folder", log, LOG_ADVICE, report)?;
    }
    memory(config.pool.budget_bytes, report)?;
    limits(config.pool.budget_bytes, report)?;
    proxies(report)?;
    descriptors(config, report)
}

fn folder(check: &str, folder: &Path, advice: &str, report: &mut Report) -> Done {
    let path = folder.display();
    match try_folder(folder) {
        Ok(true) => report.pass(check, format!("{path} is writable")),
        Ok(false) => report.pass(check, format!("{path} can be made")),
        Err(error) => report.fail(check, format!("{path}: {error}"), advice),
    }
}

fn memory(budget: u64, report: &mut Report) -> Done {
    let Some(available) = meminfo("MemAvailable:") else {
        return report.warn(
            "memory",
            "/proc/meminfo has no MemAvailable".into(),
            "compare with [pool] budget",
        );
    };

    let seen = format!(
        "{} available, pool budget {} for each process",
        human_size(available),
        size_text(budget)
    );

    if available < budget {
        return report.warn(
            "memory",
            seen,
            "lower [pool] budget, or give the host more memory, before it swaps",
        );
    }

    report.pass("memory", seen)
}

fn meminfo(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Memory allowed by the limits of the process and of its control group, against part buffers and the rest.
fn limits(budget: u64, report: &mut Report) -> Done {
    for limit in memory::limits() {
        let needed = budget + BESIDE_POOL;
        let left = human_size(limit.left_bytes);
        let seen = format!("{} is {}, {left} left", limit.name, human_size(limit.bytes));
        if limit.left_bytes >= needed {
            report.pass("memory limit", format!("{seen}, up to {} needed", human_size(needed)))?;
            continue;
        }
        let advice = format!(
            "raise the limit to {} and what the host's own memory needs, or lower [pool] budget; calls that begin with less than {} left return STSP_ENOMEM",
            human_size(needed),
            size_text(RESERVE)
        );
        report.warn("memory limit", seen, &advice)?;
    }
    Ok(())
}

/// Other S3 tools follow these; a user who has set them must know that we do not.
fn proxies(report: &mut Report) -> Done {
    let names = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let set: Vec<_> = names
        .into_iter()
        .filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
        .collect();
    if set.is_empty() {
        return Ok(());
    }
    let seen = format!(
        "{} set here and not followed: connections go straight to the endpoint",
        set.join(", ")
    );
    report.warn(
        "proxy",
        seen,
        "let this host reach the endpoint's addresses directly; a proxy cannot be configured",
    )
}

fn descriptors(config: &Config, report: &mut Report) -> Done {
    let Some(limit) = open_files_limit() else {
        return report.warn(
            "open files",
            "/proc/self/limits has no limit of open files".into(),
            "compare with [transfer] connections",
        );
    };
    let needed = config.transfer.connections as u64 * config.servers.len() as u64 + OTHER_FILES;
    let seen = format!("limit {limit}, up to {needed} needed");
    if limit < needed {
        return report.fail(
            "open files",
            seen,
            "raise the limit (ulimit -n, LimitNOFILE), or lower [transfer] connections",
        );
    }
    report.pass("open files", seen)
}

fn open_files_limit() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let soft = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_whitespace()
        .next()?;
    if soft == "unlimited" {
        Some(u64::MAX)
    } else {
        soft.parse().ok()
    }
}
