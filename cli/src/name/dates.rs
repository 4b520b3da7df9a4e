//! Dates of images as options take them, and the present.

/// The first second that `--since` means.
pub fn since(text: &str) -> Result<u64, String> {
    moment(text, 0)
}

/// The last second that `--until` means: the end of the day.
pub fn until(text: &str) -> Result<u64, String> {
    moment(text, 86_399)
}

fn moment(text: &str, into_day: u64) -> Result<u64, String> {
    let wrong = || "a date is yyyy-mm-dd (UTC) or seconds since 1970".to_owned();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| wrong());
    }
    let day: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
    let start = day
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_err(|_| wrong())?
        .timestamp()
        .as_second();
    Ok(u64::try_from(start).map_err(|_| wrong())? + into_day)
}

/// Seconds since 1970 by this host's clock.
pub fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_meant_whole() {
        assert_eq!((since("1970-01-02"), until("1970-01-02")), (Ok(86_400), Ok(172_799)));
        assert_eq!(since("12"), Ok(12));
        assert!(since("yesterday").is_err() && since("1969-12-31").is_err() && since("").is_err());
    }
}
