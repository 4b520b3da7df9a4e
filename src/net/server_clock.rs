//! What time it is for the server, from the `Date` header of its answers. A proxy before it may have a clock of its own:
//! what is not the store's own answer is not heard ([`crate::objstore::transport::checkout`] decides).
//!
//! Ages of objects, and with them whether a writer is alive, are counted by the server's clock on both ends: neither the
//! clock of the host that writes nor that of the host that judges matters.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::DATE;
use http::{HeaderMap, HeaderValue};

/// How long the clock of an address that says no more counts beside the others.
const RECENT: Duration = Duration::from_secs(600);

/// Remembers the earliest time that each address told lately; clones share it. Monotonic time carries it on between answers.
///
/// The nodes of a cluster may disagree, and several of them may answer at one address. The earliest time counts: by it
/// everything is younger, and a writer that one node would call dead lives. A clock that was set forward is believed once
/// nothing has told the earlier time for [`RECENT`].
#[derive(Clone, Default)]
pub struct ServerClock {
    told: Arc<Mutex<HashMap<SocketAddr, Told>>>,
}

/// What an address said, seconds since 1970, and when.
#[derive(Clone, Copy)]
struct Told {
    seconds: u64,
    heard: Instant,
}

impl Told {
    fn now(self) -> u64 {
        self.seconds.saturating_add(self.heard.elapsed().as_secs())
    }
}

impl ServerClock {
    /// Takes the time that an answer tells, seconds since 1970.
    pub fn hear(&self, address: SocketAddr, seconds: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Addresses come and go with the name's answers.
        told.retain(|_, told| told.heard.elapsed() <= RECENT);
        let new = Told {
            seconds,
            heard: Instant::now(),
        };
        // Answers tell whole seconds.
        let earliest = |old: &mut Told| {
            *old = if new.now() <= old.now().saturating_add(1) {
                new
            } else {
                *old
            }
        };
        told.entry(address).and_modify(earliest).or_insert(new);
    }

    /// Seconds since 1970.
    pub fn now(&self) -> Option<u64> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.values().map(|told| told.now()).min()
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
    fn the_earliest_answer_of_an_address_tells_the_time() {
        let clock = ServerClock::default();
        let mut headers = HeaderMap::new();
        let address = "192.0.2.1:80".parse().unwrap();
        assert_eq!(clock.now(), None);
        assert_eq!(date_of(&headers), None);

        for (date, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("nonsense", 784_111_777),
        ] {
            headers.insert(DATE, date.parse().unwrap());
            date_of(&headers)
                .into_iter()
                .for_each(|seconds| clock.hear(address, seconds));
            assert!(
                clock.now().is_some_and(|now| (seconds..seconds + 5).contains(&now)),
                "{date}"
            );
        }

        // Another node at the same address, whose clock is fast, and one whose clock is slow.
        clock.hear(address, 784_115_377);
        assert!(clock.now().is_some_and(|now| now < 784_111_790));
        clock.hear(address, 784_111_000);
        assert!(clock.now().is_some_and(|now| now < 784_111_010));
    }

    #[test]
    fn of_several_addresses_the_earliest_time_counts() {
        let clock = ServerClock::default();
        let addresses = ["192.0.2.1:80", "192.0.2.2:80", "[2001:db8::1]:80"].map(|text| text.parse().unwrap());
        for (address, seconds) in addresses.into_iter().zip([784_111_777, 784_112_617, 784_111_778]) {
            clock.hear(address, seconds);
        }
        assert!(clock.now().is_some_and(|now| (784_111_777..784_111_782).contains(&now)));
    }

    #[test]
    fn signing_times_are_read_as_they_are_written() {
        assert_eq!(
            parse_amz_date(&HeaderValue::from_static("19941106T084937Z")),
            Some(784_111_777)
        );
        assert_eq!(
            parse_amz_date(&HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
            None
        );
    }
}
