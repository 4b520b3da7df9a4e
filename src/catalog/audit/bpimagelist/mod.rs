//! What NetBackup's catalog expects on the store, read from the output of `bpimagelist -l`.
//!
//! | file | what it is |
//! |---|---|
//! | `line` | one line: its fields, and the fragment that they describe |
//! | `fragments` | the lines of a list one after the other, refused where they cannot be understood |
//!
//! [`Expected`] is what all of them add up to: the OST images that must be on the store.
//!
//! The fields are those of Veritas article 100017904, "How to interpret the different fields in bpimagelist -l output".
//! An `IMAGE` line names a backup; the `FRAG` lines after it are its fragments, one OST image each:
//!
//! ```text
//! IMAGE <client> <date1> <date2> <version> <backupid> <policy> … field 13: backup time
//! HISTO -1 -1 …
//! FRAG <copy> <fragment> <KB> <remainder> <media type> <density> <file> <id or path> <host> …
//! ```
//!
//! Assumed, because no public page says it: media type 0 is disk and 2 is tape; volumes of disk pools have ids such as
//! `@aaaab` where basic disks have a path; fragments that hold no backup data have numbers below 1. A fragment is the
//! OST image `<backupid>_C<copy>_F<fragment>` of `KB * 1024 + remainder` bytes. NetBackup keeps further images beside
//! them, such as `<backupid>_C<copy>_HDR`, of which the catalog gives no size.
//!
//! Any input is either understood or refused with file, line and reason. Left out: which storage server a volume
//! belongs to, since the lines do not tell; callers choose by the volumes' ids. Limit: lines of 64 KiB.

mod line;
mod fragments;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::fragments::Fragments;
use self::line::{Fragment, Skipped};
use crate::catalog::format::image_id::parse_basename;
use crate::error::{Error, Kind, Result, ResultExt};

/// The OST images that NetBackup expects, by basename.
#[derive(Debug, Default)]
pub struct Expected {
    images: BTreeMap<Vec<u8>, ExpectedImage>,
    /// `<backupid>_C<copy>` of each fragment.
    copies: BTreeSet<Vec<u8>>,
    /// The ids of all disk pools' volumes in the list, chosen or not.
    volumes: BTreeSet<Vec<u8>>,
    skipped: Skipped,
}

/// One OST image that NetBackup expects.
#[derive(Debug)]
pub struct ExpectedImage {
    /// Bytes.
    pub size: u64,
    /// When the backup was made: the date of the image.
    pub backup_time: u64,
    /// Where NetBackup says it is.
    pub place: Arc<Place>,
    seen: AtomicBool,
}

/// A volume and the media server that wrote to it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub volume: String,
    pub host: String,
}

/// What NetBackup knows of a basename.
#[derive(Debug)]
pub enum Known<'a> {
    /// A fragment: the size is known.
    Fragment(&'a ExpectedImage),
    /// A fragment of that name, of another date: another image.
    OtherDate(&'a ExpectedImage),
    /// Belongs to a copy that NetBackup knows, such as its header; no size is known.
    Companion,
    Nothing,
}
impl Expected {
    /// Reads a file that holds the output of `bpimagelist -l`; `volumes` chooses by id, empty takes every disk pool.
    pub fn open(path: &Path, volumes: &BTreeSet<Vec<u8>>) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).or_kind(Kind::Io, || format!("open {name}"))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            let what = format!("{name} is a folder; a file with the output of `bpimagelist -l` is needed");
            return Err(Error::new(Kind::InvalidArgument, what));
        }
        Self::read(BufReader::new(file), &name, volumes)
    }

    /// As [`Self::open`], from any reader.
    pub fn read(reader: impl BufRead, file: &str, volumes: &BTreeSet<Vec<u8>>) -> Result<Self> {
        let mut fragments = Fragments::new(reader, file);
        let mut expected = Self::default();
        let mut places = BTreeSet::new();
        let mut unchosen = 0;

        while let Some(fragment) = fragments.next().transpose()? {
            if !expected.volumes.contains(&fragment.volume) {
                expected.volumes.insert(fragment.volume.clone());
            }
            if !volumes.is_empty() && !volumes.contains(&fragment.volume) {
                unchosen += 1;
                continue;
            }
            expected
                .add(&fragment, &mut places)
                .map_err(|why| fragments.bad(&why))?;
        }

        fragments.check_end()?;
        expected.skipped = fragments.skipped();
        expected.skipped.other_volume += unchosen;

        Ok(expected)
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    pub fn len(&self) -> usize {
        self.images.len()
    }

    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// True when a fragment of the list lies on this volume.
    pub fn has_volume(&self, id: &[u8]) -> bool {
        self.volumes.contains(id)
    }

    /// The ids of the volumes that the list names.
    pub fn volumes(&self) -> impl Iterator<Item = &[u8]> {
        self.volumes.iter().map(Vec::as_slice)
    }

    /// What NetBackup knows of an image on the store.
    pub fn look_up(&self, basename: &[u8], date: u64) -> Known<'_> {
        if let Some(image) = self.images.get(basename) {
            // The time in the backup id is the backup's own as well.
            let own_time = parse_basename(basename).map(|(_, ctime)| ctime);
            let is_same = date == image.backup_time || Some(date) == own_time;
            return if is_same {
                Known::Fragment(image)
            } else {
                Known::OtherDate(image)
            };
        }

        let copy = basename
            .iter()
            .rposition(|byte| *byte == b'_')
            .and_then(|end| basename.split_at_checked(end));
        match copy {
            // A numbered fragment that is not listed is not a companion of those that are.
            Some((copy, kind)) if self.copies.contains(copy) && !is_fragment(kind) => Known::Companion,
            _ => Known::Nothing,
        }
    }

    /// All of them, by basename.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &ExpectedImage)> {
        self.images.iter().map(|(basename, image)| (basename.as_slice(), image))
    }

    fn add(&mut self, fragment: &Fragment, places: &mut BTreeSet<Arc<Place>>) -> std::result::Result<(), String> {
        let basename = fragment.basename();
        let size = fragment.size;
        if let Some(known) = self.images.get(&basename) {
            let name = String::from_utf8_lossy(&basename);
            // The same list twice is no contradiction.
            return if known.size == size {
                Ok(())
            } else {
                Err(format!("{name} again, with another size"))
            };
        }

        self.copies.insert(fragment.copy_name());
        let place = intern(places, fragment);
        let backup_time = fragment.backup_time;
        let seen = AtomicBool::new(false);

        self.images.insert(
            basename,
            ExpectedImage {
                size,
                backup_time,
                place,
                seen,
            },
        );

        Ok(())
    }
}

impl ExpectedImage {
    /// It is on the store.
    pub fn mark_seen(&self) {
        self.seen.store(true, Ordering::Relaxed);
    }

    pub fn was_seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }
}

/// Millions of images lie in a handful of places.
fn intern(places: &mut BTreeSet<Arc<Place>>, fragment: &Fragment) -> Arc<Place> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let place = Place {
        volume: text(&fragment.volume),
        host: text(&fragment.host),
    };
    if let Some(known) = places.get(&place) {
        return known.clone();
    }
    let place = Arc::new(place);
    places.insert(place.clone());
    place
}

/// `_F` and a number.
fn is_fragment(kind: &[u8]) -> bool {
    kind.strip_prefix(b"_F")
        .is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
#[path = "bpimagelist_tests.rs"]
mod tests;
