//! What this host must give: a state directory, memory, file descriptors.

use std::path::Path;

use vastost::config::{Config, size_text};

use super::Done;
use super::report::Report;
use crate::output::human_size;

/// Descriptors beside those of connections: the host's own files, libraries, logs.
const OTHER_FILES: u64 = 64;

pub fn check(config: &Config, report: &mut Report) -> Done {
    state_dir(&config.state_dir, report)?;
    memory(config.pool.budget_bytes, report)?;
    files(config, report)
}

fn state_dir(folder: &Path, report: &mut Report) -> Done {
    let path = folder.display();
    let was_there = folder.exists();
    let draft = folder.join(format!("doctor-{}.tmp", std::process::id()));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&draft, b"vastost doctor"));
    let removed = written.and_then(|()| std::fs::remove_file(&draft));
    if !was_there {
        // Whoever needs it first makes it, and it is theirs then; it may hold nothing of ours.
        let _ = std::fs::remove_dir(folder);
    }
    match removed {
        Ok(()) if was_there => report.pass("state directory", format!("{path} is writable")),
        Ok(()) => report.pass("state directory", format!("{path} can be made")),
        Err(error) => {
            let advice = "set state_dir to a folder that NetBackup's processes may write; without it each probes anew and no usage is known";
            report.fail("state directory", format!("{path}: {error}"), advice)
        }
    }
}

fn memory(budget: u64, report: &mut Report) -> Done {
    let Some(available) = meminfo("MemAvailable:") else {
        return report.warn(
            "memory",
            "/proc/meminfo does not tell what is available".into(),
            "compare with [pool] budget",
        );
    };
    let seen = format!("{} available, pool budget {} for each process", human_size(available), size_text(budget));
    if available < budget {
        return report.warn("memory", seen, "lower [pool] budget, or give the host more memory, before it swaps");
    }
    report.pass("memory", seen)
}

fn meminfo(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn files(config: &Config, report: &mut Report) -> Done {
    let Some(limit) = open_files_limit() else {
        return report.warn(
            "open files",
            "/proc/self/limits tells no limit".into(),
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
    let soft = text.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}
