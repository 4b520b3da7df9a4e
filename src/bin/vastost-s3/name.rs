//! Names of images on the command line: `LSU/basename` or `LSU/basename:date`, bytes as they are.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use vastost::catalog::escape::{Name, escape};
use vastost::catalog::image_id::{DATE_MAX, ImageId, parse_basename};
use vastost::catalog::list::{Filter, Listing};
use vastost::catalog::lsu::Lsu;
use vastost::ost::abi::STSP_NAME_SIZE;
use vastost::ost::host::{Definition, HostFilter, HostServer};

/// Candidates that an error lists before it says "and more".
const CANDIDATES_MAX: usize = 20;

/// An image as the user named it.
pub struct ImageName {
    pub lsu: String,
    pub basename: Vec<u8>,
    pub date: Option<u64>,
}

impl ImageName {
    pub fn parse(text: &OsStr) -> Result<Self, Box<dyn Error>> {
        let (lsu, rest) = split(text)?;
        let wrong = |why: &str| format!("{}: {why}; an image is named LSU/basename or LSU/basename:date", show(text));
        let rest = rest.filter(|rest| !rest.is_empty()).ok_or_else(|| wrong("no image is named"))?;
        let (basename, date) = match rest.iter().rposition(|byte| *byte == b':').map(|at| rest.split_at(at)) {
            Some((basename, date)) if is_date(date) => {
                (basename, Some(parse_date(date).ok_or_else(|| wrong("the date is too late"))?))
            }
            _ => (rest, None),
        };
        if basename.is_empty() {
            return Err(wrong("the basename is empty").into());
        }
        if basename.len() >= STSP_NAME_SIZE {
            return Err(wrong(&format!("a basename has at most {} bytes", STSP_NAME_SIZE - 1)).into());
        }
        Ok(Self { lsu, basename: basename.to_vec(), date })
    }

    /// The definition under which to create it: with the date given, else the one in the basename, else now.
    pub fn to_create(&self) -> Definition {
        let date = self.date.or_else(|| parse_basename(&self.basename).map(|(_, ctime)| ctime));
        let now = || u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        Definition::new(self.basename.clone(), date.unwrap_or_else(now))
    }

    /// The one image that is meant, by the plug-in's listing when no date was given.
    pub fn find(&self, server: &HostServer) -> Result<Definition, Box<dyn Error>> {
        if let Some(date) = self.date {
            return Ok(Definition::new(self.basename.clone(), date));
        }
        let client = self.id(0)?.client().to_vec();
        let filter = HostFilter { client, basename_prefix: self.basename.clone(), ..HostFilter::default() };
        let mut dates = Vec::new();
        server.for_each_image(&self.lsu, &filter, |def, _| {
            dates.extend((def.basename == self.basename).then_some(def.date))
        })?;
        Ok(Definition::new(self.basename.clone(), self.only(&dates)?))
    }

    /// As [`ImageName::find`], by the records on the store.
    pub fn find_in(&self, lsu: &Lsu) -> Result<ImageId, Box<dyn Error>> {
        if let Some(date) = self.date {
            return self.id(date);
        }
        let basename = Name::new(self.basename.clone());
        let client = Some(Name::new(self.id(0)?.client()));
        let mut listing = Listing::new(lsu, Filter { client, basename_prefix: basename.clone(), ..Filter::default() });
        let mut dates = Vec::new();
        while let Some(listed) = listing.next_image()? {
            dates.extend((listed.id.basename == basename).then_some(listed.id.date));
        }
        self.id(self.only(&dates)?)
    }

    fn id(&self, date: u64) -> Result<ImageId, Box<dyn Error>> {
        Ok(ImageId::new(Name::new(self.basename.clone()), date)?)
    }

    fn only(&self, dates: &[u64]) -> Result<u64, Box<dyn Error>> {
        let name = format!("{}/{}", self.lsu, shown(&self.basename));
        match dates {
            [] => Err(format!("no image {name}; `vastost-s3 ls {}` shows what there is", self.lsu).into()),
            [only] => Ok(*only),
            several => {
                let named: Vec<_> = several.iter().take(CANDIDATES_MAX).map(|date| format!("{name}:{date}")).collect();
                let more = if several.len() > CANDIDATES_MAX { ", …" } else { "" };
                let count = several.len();
                Err(format!("{name} means {count} images, name one with its date: {}{more}", named.join(", ")).into())
            }
        }
    }
}

/// A basename for people: as it is typed, or escaped when a terminal could not show it.
pub fn shown(basename: &[u8]) -> String {
    match std::str::from_utf8(basename) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => escape(basename),
    }
}

/// A name as it was typed.
pub fn to_name(text: &OsString) -> Name {
    Name::new(text.as_bytes())
}

/// What `LSU[/REST]` names.
type Place<'a> = (String, Option<&'a [u8]>);

/// `LSU` and what follows the first slash, if there is one.
pub fn split(text: &OsStr) -> Result<Place<'_>, Box<dyn Error>> {
    let bytes = text.as_bytes();
    let (lsu, rest) = match bytes.iter().position(|byte| *byte == b'/') {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
        None => (bytes, None),
    };
    match std::str::from_utf8(lsu) {
        Ok(lsu) if !lsu.is_empty() => Ok((lsu.to_owned(), rest)),
        _ => Err(format!("{}: no LSU is named; images are named LSU/basename", show(text)).into()),
    }
}

/// The first second that `--since` means.
pub fn since(text: &str) -> Result<u64, String> {
    moment(text, 0)
}

/// The last second that `--until` means: a day is meant as a whole.
pub fn until(text: &str) -> Result<u64, String> {
    moment(text, 86_399)
}

fn moment(text: &str, into_day: u64) -> Result<u64, String> {
    let wrong = || "a date is yyyy-mm-dd (UTC) or seconds since 1970".to_owned();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| wrong());
    }
    let day: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?.timestamp().as_second();
    Ok(u64::try_from(start).map_err(|_| wrong())? + into_day)
}

fn is_date(tail: &[u8]) -> bool {
    tail.len() > 1 && tail.iter().skip(1).all(u8::is_ascii_digit)
}

fn parse_date(tail: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(tail.get(1..)?).ok()?;
    digits.parse().ok().filter(|date| *date <= DATE_MAX)
}

fn show(text: &OsStr) -> String {
    format!("{:?}", text.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lsu_basename_and_perhaps_date() {
        let parse = |text: &str| ImageName::parse(OsStr::new(text)).map(|n| (n.lsu, n.basename, n.date)).ok();
        assert_eq!(parse("a/b"), Some(("a".into(), b"b".to_vec(), None)));
        assert_eq!(parse("a/b/c:12"), Some(("a".into(), b"b/c".to_vec(), Some(12))));
        assert_eq!(parse("a/b:x"), Some(("a".into(), b"b:x".to_vec(), None)));
        for wrong in ["a", "a/", "/b", "a/:12", "", "a/b:99999999999999"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_date_to_create_is_given_or_in_the_name() {
        let date = |text: &str| ImageName::parse(OsStr::new(text)).unwrap().to_create().date;
        assert_eq!(date("l/db_1795305600_C1_F1"), 1_795_305_600);
        assert_eq!(date("l/db_1795305600_C1_F1:7"), 7);
        assert!(date("l/db") > 1_700_000_000);
    }

    #[test]
    fn days_are_meant_whole() {
        assert_eq!((since("1970-01-02"), until("1970-01-02")), (Ok(86_400), Ok(172_799)));
        assert_eq!(since("12"), Ok(12));
        assert!(since("yesterday").is_err() && since("1969-12-31").is_err() && since("").is_err());
    }
}
