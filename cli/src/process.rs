//! CPU time of this process or of some of its threads, and its memory.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

/// One tick of /proc/PID/stat: always 1/100 s in user space, see proc(5).
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads since the process began.
pub fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    let time = |t: nix::sys::time::TimeVal| {
        let micros = t.tv_sec().saturating_mul(1_000_000).saturating_add(t.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// User and system time of the living threads of that name.
pub fn thread_time(name: &str) -> Duration {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let of_name = tasks
        .flatten()
        .map(|task| task.path())
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name));
    TICK * of_name.filter_map(|task| ticks(&task)).sum::<u32>()
}

/// Fields 14 and 15 of the line; the second field may hold spaces, and ends with the last parenthesis.
fn ticks(task: &Path) -> Option<u32> {
    let text = fs::read_to_string(task.join("stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

/// The most memory that this process had resident since it began or [`reset_peak_rss`]; 0 where the kernel does not
/// say.
pub fn peak_rss_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// Resets the peak; if the kernel does not allow that, it stays the peak of the whole process.
pub fn reset_peak_rss() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}
