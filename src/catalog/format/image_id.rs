//! What names an image: basename and date; and what NetBackup's basename tells of the client.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::escape::Name;
use crate::error::{Error, Kind, Result};

/// 9999-12-30T22:00:00Z: the last second that calendar arithmetic is safe for in every time zone.
pub const DATE_MAX: u64 = 253_402_207_200;
/// Images whose basename names no client lie under this one.
pub const CLIENT_OTHER: &[u8] = b"other";

/// An image's identity in its LSU.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageId {
    pub basename: Name,
    /// Seconds since 1970, UTC.
    pub date: u64,
}

/// The identity and the properties that NetBackup gives an image when it creates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDef {
    #[serde(flatten)]
    pub id: ImageId,
    #[serde(default)]
    pub policy: Name,
    #[serde(default, rename = "type")]
    pub image_type: u32,
}

impl ImageId {
    pub fn new(basename: Name, date: u64) -> Result<Self> {
        if basename.is_empty() {
            return Err(Error::new(Kind::InvalidArgument, "an image needs a basename"));
        }
        if date > DATE_MAX {
            let what = format!("date {date} of image {basename} is later than {DATE_MAX}, the end of the calendar");
            return Err(Error::new(Kind::InvalidArgument, what));
        }
        Ok(Self { basename, date })
    }

    /// The client in `<client>_<ctime>_C<copy>_<kind>`, or `other`.
    pub fn client(&self) -> &[u8] {
        parse_basename(self.basename.as_bytes()).map_or(CLIENT_OTHER, |(client, _)| client)
    }

    /// The image date's day in UTC, `yyyymmdd`.
    pub fn day(&self) -> String {
        day_of(self.date)
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.basename, self.date)
    }
}

impl ImageDef {
    /// True when every field that `asked` fills in is this image's own.
    pub fn answers_to(&self, asked: &Self) -> bool {
        let policy = asked.policy.is_empty() || asked.policy == self.policy;
        let image_type = asked.image_type == 0 || asked.image_type == self.image_type;
        self.id == asked.id && policy && image_type
    }
}

/// The day of a date in UTC, `yyyymmdd`.
pub fn day_of(date: u64) -> String {
    let seconds = i64::try_from(date.min(DATE_MAX)).unwrap_or_default();
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let day = time.to_zoned(jiff::tz::TimeZone::UTC).date();
    format!("{:04}{:02}{:02}", day.year(), day.month(), day.day())
}

/// Client and ctime of a basename such as `db01_1699999999_C1_F1`; clients may hold underscores themselves.
pub fn parse_basename(basename: &[u8]) -> Option<(&[u8], u64)> {
    let mut fields = basename.rsplitn(4, |byte| *byte == b'_');
    let _kind = fields.next()?;
    let copy = fields.next()?;
    let ctime = fields.next()?;
    let client = fields.next().filter(|client| !client.is_empty())?;
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if !copy.strip_prefix(b"C").is_some_and(digits) || !digits(ctime) || !(9..=11).contains(&ctime.len()) {
        return None;
    }
    Some((client, std::str::from_utf8(ctime).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(basename: &str) -> String {
        let id = ImageId::new(Name::new(basename), 0).unwrap();
        String::from_utf8_lossy(id.client()).into_owned()
    }

    #[test]
    fn the_client_comes_from_the_basename_or_is_other() {
        assert_eq!(client("db01_1699999999_C1_F1"), "db01");
        assert_eq!(client("db_01.example.com_1699999999_C2_IM"), "db_01.example.com");
        for odd in [
            "db",
            "_1699999999_C1_F1",
            "db_12_C1_F1",
            "db_1699999999_X1_F1",
            "db_1699999999_C_F1",
            "db_1699999999",
        ] {
            assert_eq!(client(odd), "other", "{odd}");
        }
    }

    #[test]
    fn days_are_utc() {
        assert_eq!(day_of(0), "19700101");
        assert_eq!(day_of(1_795_305_599), "20261121");
        assert_eq!(day_of(1_795_305_600), "20261122");
        assert_eq!(day_of(DATE_MAX), "99991230");
        assert!(ImageId::new(Name::new("x"), DATE_MAX + 1).is_err());
        assert!(ImageId::new(Name::default(), 0).is_err());
    }
}
