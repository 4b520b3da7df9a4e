//! Images ↔ object keys, both ways. The only file that spells keys.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::escape::{Name, escape, unescape};
use super::image_id::ImageId;
use crate::error::{Error, Kind, Result};

/// VAST's longest path component, and that of its NFS view.
pub const SEGMENT_MAX: usize = 255;

/// The bytes that a basename may have after escaping, so that every key of its image fits; fewer with a later date.
pub fn basename_max(date: u64) -> usize {
    SEGMENT_MAX.saturating_sub(format!(".{date}.0123456789abcdef.json").len())
}

/// What makes the keys of one create unlike those of any other: 16 random hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt(String);

/// The keys of one LSU.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
}

impl Attempt {
    /// Hex digits.
    const LEN: usize = 16;

    pub fn new() -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        // A version 4 UUID has six fixed bits; folded, none is left fixed.
        Self(format!("{:016x}", high ^ low.rotate_left(17)))
    }

    fn parse(text: &str) -> Option<Self> {
        (text.len() == Self::LEN && text.bytes().all(is_hex_digit)).then(|| Self(text.into()))
    }
}

impl Default for Attempt {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Keys {
    /// `prefix` is empty or ends with a slash.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Refuses an image whose keys would not fit a path component.
    pub fn check(&self, id: &ImageId) -> Result<()> {
        let len = escape(id.basename.as_bytes()).len();
        let max = basename_max(id.date);
        if len > max {
            let what = format!(
                "image name {id} is too long: its basename has {len} bytes after escaping, with this date at most {max} are possible"
            );
            return Err(Error::new(Kind::InvalidArgument, what));
        }
        Ok(())
    }

    pub fn data(&self, id: &ImageId, attempt: &Attempt) -> String {
        format!("{}.{attempt}.nbk", self.path("backups", id))
    }

    pub fn sidecar(&self, id: &ImageId) -> String {
        format!("{}.json", self.path("catalog", id))
    }

    pub fn pending(&self, id: &ImageId, attempt: &Attempt) -> String {
        format!("{}.{attempt}.json", self.path("pending", id))
    }

    pub fn meta(&self, id: &ImageId, attempt: &Attempt) -> String {
        format!("{}.{attempt}.bin", self.path("meta", id))
    }

    /// Where `repair` keeps a sidecar that it replaces.
    pub fn replaced(&self, id: &ImageId, attempt: &Attempt) -> String {
        format!("{}.{attempt}.json", self.path("replaced", id))
    }

    pub fn lsu(&self) -> String {
        format!("{}lsu.json", self.prefix)
    }

    /// What all keys of an image in a folder begin with.
    pub fn of_image(&self, folder: Folder, id: &ImageId) -> String {
        format!("{}{}/{}", self.prefix, folder.name(), self.place(id))
    }

    /// What all keys of a folder begin with, of one client or all.
    pub fn folder(&self, folder: Folder, client: Option<&Name>) -> String {
        let client = client
            .map(|client| format!("{}/", escape(client.as_bytes())))
            .unwrap_or_default();
        format!("{}{}/{client}", self.prefix, folder.name())
    }

    /// What the keys of the capability probe's short-lived objects begin with.
    pub fn probes(&self) -> String {
        format!("{}probe/", self.prefix)
    }

    /// True for the key of a probe's object: `probe/`, 32 hex digits, and what it was for, or an image of `doctor` below
    /// that. Anything else there is not ours.
    pub fn is_probe(&self, key: &str) -> bool {
        let Some(name) = key.strip_prefix(&self.probes()) else {
            return false;
        };
        let (digits, purpose) = name.split_once('-').unwrap_or((name, ""));
        if digits.len() != 32 || !digits.bytes().all(is_hex_digit) {
            return false;
        }
        if purpose.starts_with("image/") {
            let own = Self::new(&format!("{}{digits}-image/", self.probes()));
            let folders = [Folder::Catalog, Folder::Pending, Folder::Data, Folder::Meta];
            return folders.into_iter().any(|folder| own.parse(folder, key).is_some());
        }
        purpose.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) && purpose.len() <= 16
    }

    /// The image that `key` belongs to, and the attempt where the folder has one; None for foreign keys.
    pub fn parse(&self, folder: Folder, key: &str) -> Option<(ImageId, Option<Attempt>)> {
        let path = key
            .strip_prefix(&self.prefix)?
            .strip_prefix(folder.name())?
            .strip_prefix('/')?;
        let (client, rest) = path.split_once('/')?;
        let (day, file) = rest.split_once('/')?;
        let stem = file.strip_suffix(folder.suffix())?;
        let (stem, attempt) = if folder == Folder::Catalog {
            (stem, None)
        } else {
            let (stem, attempt) = stem.rsplit_once('.')?;
            (stem, Some(Attempt::parse(attempt)?))
        };

        let (basename, date) = stem.rsplit_once('.')?;
        let canonical = date == "0" || !date.starts_with('0');
        let date = date
            .parse()
            .ok()
            .filter(|_| canonical && date.bytes().all(|b| b.is_ascii_digit()))?;
        let id = ImageId::new(Name::new(unescape(basename)?), date).ok()?;
        (id.day() == day && escape(id.client()) == client).then_some((id, attempt))
    }

    /// The attempt that a stored `key` belongs to, and that key under this LSU's own prefix: a record carries absolute keys,
    /// and an LSU may have been copied or moved since. None when its place is not one of this image's in the folder.
    pub fn own(&self, folder: Folder, id: &ImageId, key: &str) -> Option<(Attempt, String)> {
        let place = format!("{}/{}", folder.name(), self.place(id));
        let file = key.strip_suffix(folder.suffix())?;
        let attempt = Attempt::parse(file.get(file.len().checked_sub(Attempt::LEN)?..)?)?;
        let prefix = file.strip_suffix(&attempt.0)?.strip_suffix(&place)?;
        let whole = prefix.is_empty() || prefix.ends_with('/');
        whole.then(|| {
            let own = format!("{}{place}{attempt}{}", self.prefix, folder.suffix());
            (attempt, own)
        })
    }

    /// What orders an image among all others, whatever the folder: its keys' common part.
    pub fn place(&self, id: &ImageId) -> String {
        format!("{}/{}/{}.", escape(id.client()), id.day(), stem(id))
    }

    fn path(&self, folder: &str, id: &ImageId) -> String {
        format!("{}{folder}/{}", self.prefix, self.place(id).trim_end_matches('.'))
    }
}

/// Where objects of one kind lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// Sidecars.
    Catalog,
    Pending,
    Data,
    /// Image metadata that are too large for the sidecar.
    Meta,
}

impl Folder {
    pub(in crate::catalog) fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Pending => "pending",
            Self::Data => "backups",
            Self::Meta => "meta",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Catalog | Self::Pending => ".json",
            Self::Data => ".nbk",
            Self::Meta => ".bin",
        }
    }
}

fn is_hex_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn stem(id: &ImageId) -> String {
    format!("{}.{}", escape(id.basename.as_bytes()), id.date)
}

#[cfg(test)]
mod tests {
    use super::super::image_id::DATE_MAX;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_as_documented() {
        let id = ImageId::new(Name::new("db01_1795305600_C1_F1"), 1_795_305_600).unwrap();
        let keys = Keys::new("site/");
        let attempt = Attempt::parse("00112233445566ff").unwrap();
        assert_eq!(
            keys.sidecar(&id),
            "site/catalog/db01/20261122/db01_1795305600_C1_F1.1795305600.json"
        );
        assert_eq!(
            keys.data(&id, &attempt),
            "site/backups/db01/20261122/db01_1795305600_C1_F1.1795305600.00112233445566ff.nbk"
        );
    }

    #[test]
    fn names_that_do_not_fit_a_segment_are_refused() {
        let keys = Keys::new("");
        let id = |len: usize| ImageId::new(Name::new(vec![b'x'; len]), 1).unwrap();
        assert!(keys.check(&id(231)).is_ok());
        assert_eq!(keys.sidecar(&id(231)).rsplit('/').next().unwrap().len(), 231 + 7);
        assert!(keys.check(&id(232)).unwrap_err().to_string().contains("too long"));
        let today = ImageId::new(Name::new(vec![b'x'; 223]), 1_795_305_600).unwrap();
        let told = keys.check(&today).unwrap_err().to_string();
        assert!(
            told.contains("223 bytes after escaping, with this date at most 222"),
            "{told}"
        );
    }

    #[test]
    fn a_stored_key_is_ours_at_its_own_place_alone_whatever_its_prefix() {
        let id = ImageId::new(Name::new("db01_1795305600_C1_F1"), 1_795_305_600).unwrap();
        let other = ImageId::new(Name::new("db01_1795305600_C1_F1"), 1_795_305_601).unwrap();
        let here = Keys::new("test/");
        let attempt = Attempt::parse("00112233445566ff").unwrap();
        for prefix in ["", "prod/", "a/b/", "test/"] {
            let key = Keys::new(prefix).data(&id, &attempt);
            let own = here.own(Folder::Data, &id, &key).unwrap();
            assert_eq!(own, (attempt.clone(), here.data(&id, &attempt)), "{key}");
            assert_eq!(here.own(Folder::Data, &other, &key), None);
            assert_eq!(here.own(Folder::Meta, &id, &key), None);
        }
        let glued = format!("x{}", Keys::new("").data(&id, &attempt));
        for foreign in ["", ".nbk", "backups/x.nbk", glued.as_str(), "é23456789abcdef.nbk"] {
            assert_eq!(here.own(Folder::Data, &id, foreign), None, "{foreign}");
        }
    }

    #[test]
    fn only_what_a_probe_names_is_a_probe() {
        let keys = Keys::new("site/");
        assert!(keys.is_probe("site/probe/0123456789abcdef0123456789abcdef-put"));
        let image = "site/probe/0123456789abcdef0123456789abcdef-image";
        assert!(keys.is_probe(&format!("{image}/catalog/other/20261122/doctor.1795305600.json")));
        assert!(!keys.is_probe(&format!("{image}/thesis.pdf")));
        for foreign in [
            "site/probe/thesis.pdf",
            "site/probe/backups/x",
            "probe/0123456789abcdef0123456789abcdef-put",
        ] {
            assert!(!keys.is_probe(foreign), "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn keys_parse_back(basename in proptest::collection::vec(1u8.., 1..60), date in 0..=DATE_MAX, prefix in "([a-z]{1,4}/){0,2}") {
            let keys = Keys::new(&prefix);
            let attempt = Attempt::new();
            let id = ImageId::new(Name::new(basename), date).unwrap();
            prop_assert_eq!(keys.parse(Folder::Catalog, &keys.sidecar(&id)), Some((id.clone(), None)));
            let with_attempt = Some((id.clone(), Some(attempt.clone())));
            prop_assert_eq!(keys.parse(Folder::Pending, &keys.pending(&id, &attempt)), with_attempt.clone());
            prop_assert_eq!(keys.parse(Folder::Data, &keys.data(&id, &attempt)), with_attempt.clone());
            prop_assert_eq!(keys.parse(Folder::Meta, &keys.meta(&id, &attempt)), with_attempt);
            prop_assert_eq!(keys.parse(Folder::Catalog, &keys.pending(&id, &attempt)), None);
        }

        #[test]
        fn no_foreign_key_is_taken_for_a_record(key in "[a-z0-9./_=-]{0,40}") {
            let keys = Keys::new("");
            if let Some((id, _)) = keys.parse(Folder::Catalog, &key) {
                prop_assert_eq!(keys.sidecar(&id), key);
            }
        }
    }
}
