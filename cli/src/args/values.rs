//! Values that options take: sizes, ages, shards, numbers of jobs.

use std::time::Duration;

use vastost::catalog::audit::shard::Shard;

pub fn size(text: &str) -> Result<u64, String> {
    vastost::config::parse_size(text).ok_or_else(|| "a size is a whole number with a unit, such as \"256 MiB\"".into())
}

/// A size that is not 0.
pub fn some_size(text: &str) -> Result<u64, String> {
    size(text)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size above 0 with a unit, such as \"256 MiB\"".into())
}

/// `90s`, `15 min`, `24h`, `7d`.
pub fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "an age is a whole number with s, min, h or d, such as 24h".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

pub fn shard(text: &str) -> Result<Shard, String> {
    Shard::parse(text).ok_or_else(|| "a shard is K/N with K from 1 to N, such as 2/8".into())
}

/// Concurrent jobs.
pub fn jobs(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|jobs| (1..=256).contains(jobs))
        .ok_or_else(|| "a number from 1 to 256".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_of_nothing_is_refused() {
        assert!(some_size("0B").is_err() && some_size("0").is_err() && some_size("1 B") == Ok(1));
    }

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(age("0s"), Ok(Duration::ZERO));
        assert_eq!(age("15 min"), Ok(Duration::from_secs(900)));
        assert_eq!(age("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in [
            "",
            "5",
            "h",
            "-1h",
            "1.5h",
            "99999999999999999999s",
            "99999999999999999d",
        ] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
