//! Names of images on the command line: `LSU/basename` or `LSU/basename:date`.
//!
//! A basename may be typed plainly or in the escaping of keys ([`vastost::catalog::format::escape`]): every command
//! accepts what `ls` prints for a name that is hard to type. [`spelling`] has both forms, [`dates`] the dates.

mod dates;
mod spelling;

use std::error::Error;
use std::ffi::OsStr;

use vastost::catalog::format::escape::Name;
use vastost::catalog::format::image_id::{DATE_MAX, ImageId, parse_basename};
use vastost::catalog::format::keys::basename_max;
use vastost::catalog::list::{Filter, Listing};
use vastost::catalog::lsu::Lsu;
use vastost::catalog::records::{Described, Image};
use vastost::error::{Found, Kind};
use vastost::ost::abi::{STSP_II_IMAGE_CREATED, STSP_NAME_SIZE};
use vastost::ost::status::{STSP_ECORRUPT, STSP_ENOENT};
use vastost_testkit::host::{Definition, HostFilter, HostServer};

use crate::image::describe;
use crate::output::utc;
use crate::wait::wait;

pub use dates::{now, since, until};
use spelling::show;
pub use spelling::{full_name, shown, split, to_name, typed};

/// Candidates that an error lists before it says how many more there are.
const CANDIDATES_MAX: usize = 20;
/// A date further ahead is no difference between clocks.
const AHEAD_MAX: u64 = 86_400;

/// An image as the user named it.
pub struct ImageName {
    pub lsu: String,
    pub basename: Vec<u8>,
    pub date: Option<u64>,
    /// The text after the last colon if it is not a date: it belongs to the basename.
    tail: Option<String>,
}

impl ImageName {
    pub fn parse(text: &OsStr) -> Result<Self, Box<dyn Error>> {
        let (lsu, rest) = split(text)?;
        let wrong = |why: &str| {
            format!(
                "{}: {why}; an image is named LSU/basename or LSU/basename:date",
                show(text)
            )
        };

        let rest = rest
            .filter(|rest| !rest.is_empty())
            .ok_or_else(|| wrong("no image is named"))?;
        let last = rest.iter().rposition(|byte| *byte == b':').map(|at| rest.split_at(at));
        let (basename, date, tail) = match last {
            Some((basename, date)) if is_date(date) => (
                basename,
                Some(parse_date(date).ok_or_else(|| wrong("the date is too late"))?),
                None,
            ),
            Some((_, tail)) => (rest, None, Some(String::from_utf8_lossy(tail).into_owned())),
            None => (rest, None, None),
        };

        if basename.is_empty() {
            return Err(wrong("the basename is empty").into());
        }
        let basename = typed(basename);
        if basename.contains(&0) {
            return Err(wrong("a basename has no NUL byte").into());
        }
        let name = Self {
            lsu,
            basename,
            date,
            tail,
        };

        if name.basename.len() >= STSP_NAME_SIZE {
            let max = basename_max(name.own_date().unwrap_or_else(now));
            return Err(wrong(&format!(
                "with this date a basename has at most {max} bytes after escaping"
            ))
            .into());
        }

        Ok(name)
    }

    /// Warnings about creating an image with this name and `date`, one sentence each.
    pub fn doubts(&self, date: u64) -> Vec<String> {
        let tail = self.tail.as_ref().map(|tail| {
            let name = self.shown();
            format!("{tail:?} is no date in seconds since 1970, so it is taken as part of the name {name}")
        });
        let ahead = (date > now().saturating_add(AHEAD_MAX))
            .then(|| format!("the date of {} is {}, which is in the future", self.shown(), utc(date)));
        tail.into_iter().chain(ahead).collect()
    }

    /// The definition to create: with the given date, else the one in the basename, else now.
    pub fn to_create(&self) -> Definition {
        Definition::new(self.basename.clone(), self.own_date().unwrap_or_else(now))
    }

    /// The given date, or the one in the basename.
    pub fn own_date(&self) -> Option<u64> {
        self.date
            .or_else(|| parse_basename(&self.basename).map(|(_, ctime)| ctime))
    }

    /// The image that is meant, from the records on the store. With `newest` it is the latest complete one of that
    /// basename, or the latest of all when none is complete.
    pub fn find_in(&self, lsu: &Lsu, newest: bool) -> Result<ImageId, Box<dyn Error>> {
        let is_complete = |id: &ImageId| -> Result<bool, Box<dyn Error>> {
            match describe(lsu, id.clone()).if_found() {
                Ok(found) => Ok(matches!(found, Some(Described::Here(Image::Complete(_))))),
                // It may be the one that is meant: the command says what is wrong with it.
                Err(error) if error.kind() == Kind::Corrupt => Ok(true),
                Err(error) => Err(error.into()),
            }
        };
        self.choose(newest, || self.dates_in(lsu), is_complete)
    }

    /// As [`ImageName::find_in`] without `newest`. If no list shows the image, its date is looked for in the versions
    /// of the client's sidecars: the image may have been deleted outside the plug-in.
    pub fn find_deleted_in(&self, lsu: &Lsu) -> Result<ImageId, Box<dyn Error>> {
        let dates = || match self.dates_in(lsu)? {
            none if none.is_empty() => self.hidden_dates_in(lsu),
            dates => Ok(dates),
        };
        self.choose(false, dates, |_| Ok(true))
    }

    fn dates_in(&self, lsu: &Lsu) -> Result<Vec<u64>, Box<dyn Error>> {
        let basename = Name::new(self.basename.clone());
        let mut dates = Vec::new();
        let client = Some(Name::new(self.id(0)?.client()));
        let filter = Filter {
            client,
            basename_prefix: basename.clone(),
            ..Filter::default()
        };
        for listed in wait(lsu, Listing::new(lsu, filter).all())? {
            dates.extend((listed.id.basename == basename).then_some(listed.id.date));
        }
        Ok(dates)
    }

    fn hidden_dates_in(&self, lsu: &Lsu) -> Result<Vec<u64>, Box<dyn Error>> {
        let client = Name::new(self.id(0)?.client());
        let why = match wait(lsu, lsu.images_in_history(&client)) {
            Ok(ids) => {
                let ids = ids.iter().filter(|id| id.basename.as_bytes() == self.basename);
                let dates: Vec<_> = ids.map(|id| id.date).collect();
                if !dates.is_empty() {
                    return Ok(dates);
                }
                "no version of its sidecar is left".to_owned()
            }
            Err(error) => format!("versions cannot be listed: {error}"),
        };
        let name = self.shown();
        let way_out = "from NetBackup's catalog or a list of the bucket's versions";
        Err(
            format!("no image {name} ({why}); one that no list shows is named with its date, {name}:DATE, {way_out}")
                .into(),
        )
    }

    /// As [`ImageName::find_in`], by the plug-in.
    pub fn find(&self, server: &HostServer, newest: bool) -> Result<ImageId, Box<dyn Error>> {
        let dates = || -> Result<Vec<u64>, Box<dyn Error>> {
            let client = self.id(0)?.client().to_vec();
            let mut dates = Vec::new();
            let filter = HostFilter {
                client,
                basename_prefix: self.basename.clone(),
                ..HostFilter::default()
            };
            server.for_each_image(&self.lsu, &filter, |def, _| {
                dates.extend((def.basename == self.basename).then_some(def.date));
            })?;
            Ok(dates)
        };

        let is_complete = |id: &ImageId| -> Result<bool, Box<dyn Error>> {
            match server.info(&self.lsu, &Definition::new(id.basename.as_bytes(), id.date)) {
                Ok(info) => Ok(info.flags & STSP_II_IMAGE_CREATED != 0),
                // Deleted, or being deleted.
                Err(error) if error.code == STSP_ENOENT => Ok(false),
                // As above: do not choose an older image instead of a damaged one.
                Err(error) if error.code == STSP_ECORRUPT => Ok(true),
                Err(error) => Err(error.into()),
            }
        };

        self.choose(newest, dates, is_complete)
    }

    /// The image with the date that was given, else one of those that have the basename.
    fn choose(
        &self,
        newest: bool,
        dates: impl FnOnce() -> Result<Vec<u64>, Box<dyn Error>>,
        is_complete: impl Fn(&ImageId) -> Result<bool, Box<dyn Error>>,
    ) -> Result<ImageId, Box<dyn Error>> {
        if let Some(date) = self.date {
            if newest {
                return Err(format!("{} has a date: --newest chooses among images without one", self.shown()).into());
            }
            return self.id(date);
        }

        let mut dates = dates()?;
        dates.sort_unstable_by(|a, b| b.cmp(a));
        dates.dedup();
        let latest = match dates.as_slice() {
            [] => {
                let lsu = &self.lsu;
                return Err(format!("no image {}; `vastost-s3 ls {lsu}` shows what there is", self.shown()).into());
            }
            [only] => return self.id(*only),
            several if !newest => return Err(self.ambiguous(several).into()),
            [latest, ..] => *latest,
        };

        for date in dates {
            let id = self.id(date)?;
            if is_complete(&id)? {
                return Ok(id);
            }
        }

        self.id(latest)
    }

    fn ambiguous(&self, dates: &[u64]) -> String {
        let name = self.shown();
        let count = dates.len();
        let named = dates
            .iter()
            .rev()
            .take(CANDIDATES_MAX)
            .map(|date| format!("{name}:{date}"))
            .collect::<Vec<_>>();
        let more = match count.saturating_sub(CANDIDATES_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = named.join(", ");
        format!("{name} means {count} images: choose one by its date, or the latest with --newest: {named}{more}")
    }

    fn id(&self, date: u64) -> Result<ImageId, Box<dyn Error>> {
        Ok(ImageId::new(Name::new(self.basename.clone()), date)?)
    }

    /// `LSU/basename` for people.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.lsu, shown(&self.basename))
    }
}

fn is_date(tail: &[u8]) -> bool {
    tail.len() > 1 && tail.iter().skip(1).all(u8::is_ascii_digit)
}

fn parse_date(tail: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(tail.get(1..)?).ok()?;
    digits.parse().ok().filter(|date| *date <= DATE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lsu_basename_and_perhaps_date() {
        let parse = |text: &str| {
            ImageName::parse(OsStr::new(text))
                .map(|n| (n.lsu, n.basename, n.date))
                .ok()
        };
        assert_eq!(parse("a/b"), Some(("a".into(), b"b".to_vec(), None)));
        assert_eq!(parse("a/b/c:12"), Some(("a".into(), b"b/c".to_vec(), Some(12))));
        assert_eq!(parse("a/b:x"), Some(("a".into(), b"b:x".to_vec(), None)));
        for wrong in ["a", "a/", "/b", "a/:12", "", "a/b:99999999999999", "a/b=00"] {
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
    fn a_tail_that_is_no_date_and_a_date_ahead_are_doubted() {
        let doubts = |text: &str| {
            let name = ImageName::parse(OsStr::new(text)).unwrap();
            name.doubts(name.to_create().date).len()
        };
        assert_eq!(
            (doubts("l/x:abc"), doubts("l/x:"), doubts("l/x:253402207200")),
            (1, 1, 1)
        );
        assert_eq!((doubts("l/x"), doubts("l/x=3Aabc"), doubts("l/x:1")), (0, 0, 0));
    }
}
