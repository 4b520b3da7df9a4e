//! What NetBackup's catalog expects on the store, read from the output of `bpimagelist -l`.
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
//! Any input is either understood or refused with file, line and reason. Left out: which storage server a volume belongs
//! to, since the lines do not tell; callers choose by the volumes' ids. Limit: lines of [`LINE_MAX`] bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::catalog::format::image_id::parse_basename;
use crate::error::{Error, Kind, Result, ResultExt};

/// The longest line that is read; real ones have a few hundred bytes.
pub const LINE_MAX: usize = 64 << 10;

/// NetBackup's media type of disk.
const MEDIA_TYPE_DISK: u64 = 0;

/// A fragment on a disk pool's volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// `<client>_<ctime>`.
    pub backup_id: Vec<u8>,
    /// Seconds since 1970.
    pub backup_time: u64,
    pub copy: u32,
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// The volume's id, such as `@aaaab`.
    pub volume: Vec<u8>,
    /// The media server that wrote it.
    pub host: Vec<u8>,
}

/// How many fragments were passed over, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// On tape, or on any other media than disk.
    pub not_disk: u64,
    /// On a basic disk, or on a volume that was not chosen.
    pub other_volume: u64,
    /// No backup data: the fragment number is below 1.
    pub not_data: u64,
}

/// Reads fragments line by line; ends after the first error.
pub struct Fragments<R> {
    reader: R,
    file: String,
    line_number: u64,
    line: Vec<u8>,
    image: Option<(Vec<u8>, u64)>,
    /// The last image has no fragment yet.
    is_bare: bool,
    /// The last line has no end.
    is_cut: bool,
    skipped: Skipped,
    ended: bool,
}

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

impl Fragment {
    /// The basename of its OST image.
    pub fn basename(&self) -> Vec<u8> {
        let mut name = self.copy_name();
        name.extend_from_slice(format!("_F{}", self.number).as_bytes());
        name
    }

    fn copy_name(&self) -> Vec<u8> {
        let mut name = self.backup_id.clone();
        name.extend_from_slice(format!("_C{}", self.copy).as_bytes());
        name
    }
}

impl<R: BufRead> Fragments<R> {
    /// `file` is what messages call the input.
    pub fn new(reader: R, file: &str) -> Self {
        Self {
            reader,
            file: file.into(),
            line_number: 0,
            line: Vec::new(),
            image: None,
            is_bare: false,
            is_cut: false,
            skipped: Skipped::default(),
            ended: false,
        }
    }

    /// Refuses a list that was cut: it ends within a line, or between an image and its fragments.
    fn check_end(&self) -> Result<()> {
        let whole = "take the list again";
        match &self.image {
            _ if self.is_cut => Err(self.bad(&format!("the list ends within this line, so it is not whole: {whole}"))),
            Some((backup_id, _)) if self.is_bare => {
                let image = String::from_utf8_lossy(backup_id);
                Err(self.bad(&format!(
                    "the list ends before the fragments of {image}, so it is not whole: {whole}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// What was passed over so far; nothing is counted as another volume's but basic disks.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    fn next_fragment(&mut self) -> Result<Option<Fragment>> {
        while self.read_line()? {
            let fields = fields(&self.line).map_err(|why| self.bad(why))?;
            let kind = fields.first().map_or(&b""[..], Vec::as_slice);
            match kind {
                b"" | b"HISTO" => {}
                b"IMAGE" => {
                    self.image = Some(image(&fields).map_err(|why| self.bad(&why))?);
                    self.is_bare = true;
                }
                b"FRAG" => {
                    self.is_bare = false;
                    let Some((backup_id, time)) = &self.image else {
                        return Err(self.bad("FRAG before the first IMAGE"));
                    };
                    let parsed = fragment(&fields, backup_id, *time, &mut self.skipped);
                    if let Some(fragment) = parsed.map_err(|why| self.bad(&why))? {
                        return Ok(Some(fragment));
                    }
                }
                other => return Err(self.bad(&unknown(other, self.line_number))),
            }
        }
        Ok(None)
    }

    /// The next line without its end; false at the end of the file.
    fn read_line(&mut self) -> Result<bool> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(LINE_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line);
        let read = read.or_kind(Kind::Io, || {
            format!("read line {} of {}", self.line_number + 1, self.file)
        })?;
        if read == 0 {
            return Ok(false);
        }
        self.line_number += 1;
        self.is_cut = self.line.last() != Some(&b'\n');
        if self.line.len() > LINE_MAX {
            return Err(self.bad(&format!("the line is longer than {LINE_MAX} bytes")));
        }
        Ok(true)
    }

    fn bad(&self, why: &str) -> Error {
        let what = format!("{}: line {}: {why}", self.file, self.line_number);
        Error::new(Kind::InvalidArgument, what)
    }
}

impl<R: BufRead> Iterator for Fragments<R> {
    type Item = Result<Fragment>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_fragment().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
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
        let (basename, size) = (fragment.basename(), fragment.size);
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
        let (backup_time, seen) = (fragment.backup_time, AtomicBool::new(false));
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

/// The fields of a line; one that begins with a quotation mark ends with one and may hold spaces.
fn fields(line: &[u8]) -> std::result::Result<Vec<Vec<u8>>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = line.trim_ascii();
    while let Some(first) = rest.first() {
        let quoted = *first == b'"';
        let body = if quoted {
            rest.get(1..).unwrap_or_default()
        } else {
            rest
        };
        let end = body.iter().position(|byte| {
            if quoted {
                *byte == b'"'
            } else {
                byte.is_ascii_whitespace()
            }
        });
        let end = match end {
            Some(end) => end,
            None if quoted => return Err("a quotation mark is not closed"),
            None => body.len(),
        };
        let (field, after) = body.split_at_checked(end).unwrap_or((body, &[]));
        fields.push(field.to_vec());
        rest = if quoted {
            after.get(1..).unwrap_or_default()
        } else {
            after
        }
        .trim_ascii_start();
    }
    Ok(fields)
}

/// Backup id and backup time of an IMAGE line.
fn image(fields: &[Vec<u8>]) -> std::result::Result<(Vec<u8>, u64), String> {
    let backup_id = field(fields, 5, "backup id")?;
    let time = number(fields, 13, "backup time")?;
    let ctime = backup_id
        .rsplit(|byte| *byte == b'_')
        .next()
        .filter(|ctime| ctime.len() < backup_id.len());
    if !ctime.is_some_and(|ctime| !ctime.is_empty() && ctime.iter().all(u8::is_ascii_digit)) {
        return Err(format!(
            "backup id {:?} does not end in a time",
            String::from_utf8_lossy(backup_id)
        ));
    }
    Ok((backup_id.to_vec(), time))
}

/// The fragment of a FRAG line; None for one that is counted as skipped.
fn fragment(
    fields: &[Vec<u8>],
    backup_id: &[u8],
    backup_time: u64,
    skipped: &mut Skipped,
) -> std::result::Result<Option<Fragment>, String> {
    let copy = number(fields, 1, "copy number")?;
    let copy = u32::try_from(copy).map_err(|_| format!("copy number {copy} is too large"))?;
    if number(fields, 5, "media type")? != MEDIA_TYPE_DISK {
        skipped.not_disk += 1;
        return Ok(None);
    }
    let fragment_number = signed(fields, 2, "fragment number")?;
    if fragment_number < 1 {
        skipped.not_data += 1;
        return Ok(None);
    }
    let volume = field(fields, 8, "id or path")?;
    if is_path(volume) {
        skipped.other_volume += 1;
        return Ok(None);
    }
    let too_large = |_| format!("fragment number {fragment_number} is too large");
    let fragment_number = u32::try_from(fragment_number).map_err(too_large)?;
    let (kilobytes, remainder) = (number(fields, 3, "KB")?, number(fields, 4, "remainder")?);
    let size = kilobytes
        .checked_mul(1024)
        .and_then(|bytes| bytes.checked_add(remainder));
    let size = size.ok_or_else(|| format!("{kilobytes} KB are more than 64 bits can count in bytes"))?;
    Ok(Some(Fragment {
        backup_id: backup_id.to_vec(),
        backup_time,
        copy,
        number: fragment_number,
        size,
        volume: volume.to_vec(),
        host: field(fields, 9, "host")?.to_vec(),
    }))
}

/// `/path`, `C:\path`, `\\server\path`: a basic disk.
fn is_path(volume: &[u8]) -> bool {
    matches!(volume, [b'/' | b'\\', ..] | [_, b':', ..])
}

fn field<'a>(fields: &'a [Vec<u8>], at: usize, name: &str) -> std::result::Result<&'a [u8], String> {
    fields.get(at).map(Vec::as_slice).ok_or_else(|| {
        let count = fields.len().saturating_sub(1);
        format!("the line has {count} fields, {name} is field {at}; is this the output of `bpimagelist -l`?")
    })
}

fn number(fields: &[Vec<u8>], at: usize, name: &str) -> std::result::Result<u64, String> {
    let text = field(fields, at, name)?;
    let parsed = std::str::from_utf8(text)
        .ok()
        .filter(|text| !text.starts_with('+'))
        .and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        format!(
            "{name} (field {at}) is {:?}, not a number",
            String::from_utf8_lossy(text)
        )
    })
}

fn signed(fields: &[Vec<u8>], at: usize, name: &str) -> std::result::Result<i64, String> {
    let text = field(fields, at, name)?;
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        format!(
            "{name} (field {at}) is {:?}, not a number",
            String::from_utf8_lossy(text)
        )
    })
}

/// Why a line of another kind is refused, with what it probably is.
fn unknown(kind: &[u8], line_number: u64) -> String {
    let text: String = String::from_utf8_lossy(kind).chars().take(40).collect();
    let hint = match kind {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file is UTF-16, as PowerShell writes it; save it as ASCII or UTF-8",
        [b'{' | b'[', ..] => "this is JSON; use `bpimagelist -l`",
        [0xef, 0xbb, 0xbf, ..] if line_number == 1 => "the file begins with a byte order mark; save it without",
        _ => "IMAGE, HISTO or FRAG was expected, as `bpimagelist -l` prints them",
    };
    format!("{text:?}: {hint}")
}

#[cfg(test)]
#[path = "bpimagelist_tests.rs"]
mod tests;
