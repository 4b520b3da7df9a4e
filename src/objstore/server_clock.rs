//! What time it is for the server, from the `Date` header of its answers. A proxy before it may have a clock of its own:
//! what is not the store's own answer is not heard ([`super::lease`] decides).
//!
//! Ages of objects, and with them whether a writer is alive, are counted by the server's clock on both ends: neither the
//! clock of the host that writes nor that of the host that judges matters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::header::DATE;
use http::{HeaderMap, HeaderValue};

/// Remembers the last `Date`; clones share it. Monotonic time carries it on between answers.
#[derive(Clone, Default)]
pub struct ServerClock {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    start: OnceLock<Instant>,
    /// The server's seconds since 1970 at `start`; 0 before the first answer.
    at_start: AtomicU64,
}

impl ServerClock {
    /// Takes the time that an answer tells, seconds since 1970.
    pub fn hear(&self, seconds: u64) {
        let start = *self.shared.start.get_or_init(Instant::now);
        self.shared.at_start.store(seconds.saturating_sub(start.elapsed().as_secs()), Ordering::Relaxed);
    }

    /// Seconds since 1970.
    pub fn now(&self) -> Option<u64> {
        let start = self.shared.start.get()?;
        let at_start = self.shared.at_start.load(Ordering::Relaxed);
        (at_start > 0).then(|| at_start + start.elapsed().as_secs())
    }
}

/// The time that an answer tells, seconds since 1970; None where it tells none.
pub fn date_of(headers: &HeaderMap) -> Option<u64> {
    parse_http_date(headers.get(DATE)?.to_str().ok()?)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that servers send: RFC 9110, 5.6.7.
fn parse_http_date(text: &str) -> Option<u64> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from(time.timestamp().as_second()).ok()
}

/// `19941106T084937Z`, as requests are signed with it.
pub fn parse_amz_date(value: &HeaderValue) -> Option<u64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", value.to_str().ok()?).ok()?;
    u64::try_from(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_tells_the_time() {
        let (clock, mut headers) = (ServerClock::default(), HeaderMap::new());
        assert_eq!(clock.now(), None);
        assert_eq!(date_of(&headers), None);
        for (date, seconds) in [("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777), ("nonsense", 784_111_777)] {
            headers.insert(DATE, date.parse().unwrap());
            date_of(&headers).into_iter().for_each(|seconds| clock.hear(seconds));
            assert!(clock.now().is_some_and(|now| (seconds..seconds + 5).contains(&now)), "{date}");
        }
    }

    #[test]
    fn signing_times_are_read_as_they_are_written() {
        assert_eq!(parse_amz_date(&HeaderValue::from_static("19941106T084937Z")), Some(784_111_777));
        assert_eq!(parse_amz_date(&HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")), None);
    }
}
