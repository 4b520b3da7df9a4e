//! How much memory this process may still take, by the limits that its host or container sets.
//!
//! A host that runs out of memory inside a call of ours would be aborted, and its job with it: Rust's own allocations
//! cannot fail otherwise. So a call that begins with less than [`RESERVE`] left is refused before it does anything, and
//! what is sized by the host, the store or a record is asked for with [`zeroed`] or [`lengthen`], which fail with an error.
//!
//! Limits: RLIMIT_AS, read at every call since a host may change it; RLIMIT_DATA and the memory limits of the process's
//! control groups, version 1 and 2, looked at once a second where there are none and every 10 ms where there are. File
//! pages that the kernel can take back count as left. What cannot be read is no limit. Left out: limits on swap, and what
//! other processes of the same control group take in the next moment.

use std::collections::TryReserveError;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};

use crate::config::size_text;
use crate::error::{Error, Kind, Result};

/// What must be left when a call begins.
pub const RESERVE: u64 = 32 << 20;
/// Between two looks at the other limits, where there is none and where there is one.
const LOOK_MS: (u64, u64) = (1_000, 10);
/// Version 1 writes "no limit" as the largest number of whole pages.
const UNLIMITED: u64 = 1 << 60;

/// One limit on this process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// `RLIMIT_AS`, or the control group's folder.
    pub name: String,
    pub bytes: u64,
    pub left_bytes: u64,
}

/// Fails when less than [`RESERVE`] is left of a limit. Costs well below a microsecond where there is none.
pub fn check() -> Result<()> {
    enough(address_space().as_slice())?;
    enough(others(false).as_deref().map_or(&[], |limits| limits))
}

/// The same after memory was given back.
pub fn check_again() -> Result<()> {
    enough(&limits())
}

/// Every limit that there is.
pub fn limits() -> Vec<Limit> {
    let others = others(true);
    address_space()
        .into_iter()
        .chain(others.iter().flat_map(|found| found.iter().cloned()))
        .collect()
}

/// `len` zeros, for what `what` needs them for; fails where they are not to be had.
pub fn zeroed(len: usize, what: impl FnOnce() -> String) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|error| not_to_be_had(len, &what(), error))?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Makes `bytes` longer by zeros; fails where the memory is not to be had.
pub fn lengthen(bytes: &mut Vec<u8>, len: usize, what: impl FnOnce() -> String) -> Result<()> {
    let more = len.saturating_sub(bytes.len());
    bytes
        .try_reserve(more)
        .map_err(|error| not_to_be_had(more, &what(), error))?;
    bytes.resize(len.max(bytes.len()), 0);
    Ok(())
}

fn not_to_be_had(len: usize, what: &str, error: TryReserveError) -> Error {
    Error::with_source(
        Kind::NoMemory,
        format!("{what}: {} of memory are not to be had", size_text(len as u64)),
        error,
    )
}

fn enough(limits: &[Limit]) -> Result<()> {
    let Some(short) = limits.iter().find(|limit| limit.left_bytes < RESERVE) else {
        return Ok(());
    };
    let what = format!(
        "{} MiB of memory are left below {} ({}), and a call needs {}: raise the limit, or lower [pool] budget",
        short.left_bytes >> 20,
        short.name,
        size_text(short.bytes),
        size_text(RESERVE)
    );
    Err(Error::new(Kind::NoMemory, what))
}

/// The limit that a host may set at any moment: one system call where there is none.
fn address_space() -> Option<Limit> {
    process_limit("RLIMIT_AS", Resource::RLIMIT_AS, 0)
}

/// A limit of the process, with what `field` of `/proc/self/statm` says is used of it, in pages.
fn process_limit(name: &str, resource: Resource, field: usize) -> Option<Limit> {
    let (bytes, _) = getrlimit(resource).ok()?;
    if bytes >= UNLIMITED {
        return None;
    }
    let text = read_short(Path::new("/proc/self/statm"))?;
    let pages = text.split_whitespace().nth(field)?.parse::<u64>().ok()?;
    let used = pages.checked_mul(page_bytes())?;
    Some(Limit {
        name: name.into(),
        bytes,
        left_bytes: bytes.saturating_sub(used),
    })
}

fn page_bytes() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| n.try_into().ok())
        .unwrap_or(4096)
}

/// What the other limits had left at the last look. Read without a lock, since another thread may hold one at a fork.
static OTHERS: ArcSwapOption<Vec<Limit>> = ArcSwapOption::const_empty();
static NEXT_LOOK_MS: AtomicU64 = AtomicU64::new(0);

fn others(now: bool) -> Option<Arc<Vec<Limit>>> {
    let clock = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(0, |at| {
        u64::try_from(at.tv_sec()).unwrap_or(0) * 1_000 + u64::try_from(at.tv_nsec()).unwrap_or(0) / 1_000_000
    });
    if !now && clock < NEXT_LOOK_MS.load(Relaxed) {
        return OTHERS.load_full();
    }
    let mut found = group_limits(Path::new("/sys/fs/cgroup"), &read_text(Path::new("/proc/self/cgroup")));
    // What is private and writable.
    found.extend(process_limit("RLIMIT_DATA", Resource::RLIMIT_DATA, 5));
    let found = Arc::new(found);
    let wait = if found.is_empty() { LOOK_MS.0 } else { LOOK_MS.1 };
    NEXT_LOOK_MS.store(clock + wait, Relaxed);
    // Nothing to look at costs the next calls one comparison.
    OTHERS.store((!found.is_empty()).then(|| Arc::clone(&found)));
    Some(found)
}

/// The limits of the process's control group and of those around it. `own` is `/proc/self/cgroup`.
fn group_limits(root: &Path, own: &str) -> Vec<Limit> {
    let mut limits = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let one = controllers.split(',').any(|name| name == "memory");
        if !controllers.is_empty() && !one {
            continue;
        }
        let mount = if one { root.join("memory") } else { root.to_path_buf() };
        let own = mount.join(path.trim_start_matches('/'));
        // Inside a container the outer part of the path may not be there; the mount itself then is the group.
        let around = own.ancestors().take_while(|folder| folder.starts_with(&mount));
        limits.extend(around.filter_map(|folder| group_limit(folder, one)));
    }
    limits
}

fn group_limit(folder: &Path, version_one: bool) -> Option<Limit> {
    let names = match version_one {
        true => ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_"],
        false => ["memory.max", "memory.current", ""],
    };
    let [limit, usage, prefix] = names;
    let number = |name: &str| read_short(&folder.join(name))?.trim().parse::<u64>().ok();
    let bytes = number(limit).filter(|bytes| *bytes < UNLIMITED)?;
    let mut left_bytes = bytes.saturating_sub(number(usage)?);

    if left_bytes < 2 * RESERVE {
        // Pages of files are taken back before anything fails.
        let stat = read_text(&folder.join("memory.stat"));
        let of = |name: &str| {
            let value = |line: &str| {
                line.strip_prefix(prefix)?
                    .strip_prefix(name)?
                    .trim()
                    .parse::<u64>()
                    .ok()
            };
            stat.lines().find_map(value).unwrap_or(0)
        };
        left_bytes = left_bytes
            .saturating_add(of("inactive_file "))
            .saturating_add(of("active_file "))
            .min(bytes);
    }

    Some(Limit {
        name: format!("the control group's limit {}", folder.join(limit).display()),
        bytes,
        left_bytes,
    })
}

/// A file of a few numbers, into memory that is there.
fn read_short(path: &Path) -> Option<String> {
    let mut buffer = [0; 256];
    let len = File::open(path).ok()?.read(&mut buffer).ok()?;
    std::str::from_utf8(buffer.get(..len)?).ok().map(ToOwned::to_owned)
}

fn read_text(path: &Path) -> String {
    let mut text = String::new();
    // A text that cannot be read names no limit.
    let _ = File::open(path).and_then(|file| file.take(64 << 10).read_to_string(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn group(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_limits_of_a_group_and_those_around_it_count_in_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let stat = "inactive_file 10485760\nactive_file 5242880\nanon 1\n";
        group(
            &root.path().join("a"),
            &[("memory.max", "1073741824\n"), ("memory.current", "1000\n")],
        );
        let inner = [
            ("memory.max", "104857600\n"),
            ("memory.current", "99614720\n"),
            ("memory.stat", stat),
        ];
        group(&root.path().join("a/b"), &inner);
        group(
            &root.path().join("a/b/c"),
            &[("memory.max", "max\n"), ("memory.current", "1\n")],
        );
        let found = group_limits(root.path(), "0::/a/b/c\n");
        let left: Vec<_> = found
            .iter()
            .map(|limit| (limit.bytes >> 20, limit.left_bytes >> 20))
            .collect();
        // 5 MiB are free, and 15 MiB hold pages of files.
        assert_eq!(left, [(100, 20), (1024, 1023)]);
        let short = enough(&found).unwrap_err();
        assert_eq!(short.kind(), Kind::NoMemory);
        assert!(short.to_string().contains("20 MiB of memory are left") && short.to_string().contains("100 MiB"));
        let one = [
            ("memory.limit_in_bytes", "52428800\n"),
            ("memory.usage_in_bytes", "52428800\n"),
        ];
        group(&root.path().join("memory"), &one);
        let found = group_limits(root.path(), "5:cpu:/x\n4:memory:/docker/not-here\n");
        assert_eq!(found.iter().map(|limit| limit.left_bytes).collect::<Vec<_>>(), [0]);
        assert!(group_limits(root.path(), "nonsense\n").is_empty());
    }

    #[test]
    fn what_is_not_to_be_had_is_an_error() {
        let refused = zeroed(isize::MAX as usize, || "read the metadata".into()).unwrap_err();
        assert_eq!(refused.kind(), Kind::NoMemory);
        assert!(refused.to_string().starts_with("read the metadata: "), "{refused}");
        assert_eq!(zeroed(3, String::new).unwrap(), [0; 3]);
    }
}
