//! `[server.<name>]`: endpoints, credentials, LSUs, of which no two may lie in one place.

use toml::Spanned;

use super::file::File;
use super::raw::{RawCredentials, RawLsu, RawServer};
use crate::config::credentials::Source;
use crate::config::folders::{LSU_FOLDERS, folder_around};
use crate::config::{Endpoint, Lsu, Server, Tls, is_bucket_name};
use crate::error::Result;

impl File<'_> {
    pub fn server(&self, key: &str, name: String, raw: RawServer) -> Result<Server> {
        let urls = raw.endpoints.get_ref();
        let endpoint = Endpoint::parse(urls).map_err(|valid| {
            // A URL with a user part may hold a password.
            let shown = if urls.iter().any(|url| url.contains('@')) {
                "[…]".into()
            } else {
                format!("{urls:?}")
            };
            self.refuse(raw.endpoints.span().start, &format!("{key}.endpoints"), &shown, &valid)
        })?;

        let credentials = match &raw.credentials {
            Some(given) => self.credentials(&format!("{key}.credentials"), given)?,
            None => Source::NetBackup,
        };

        let bucket_prefix = raw.bucket_prefix.map(Spanned::into_inner);
        let lsus = self.lsus(key, raw.lsu, bucket_prefix.as_deref())?;

        Ok(Server {
            name,
            endpoint,
            region: raw.region.map_or_else(|| "us-east-1".into(), Spanned::into_inner),
            tls: Tls {
                ca_file: raw.tls.ca_file.as_ref().map(|file| self.path_of(file)),
                server_name: raw.tls.server_name.map(Spanned::into_inner),
            },
            credentials,
            lsus,
            bucket_prefix,
        })
    }

    fn credentials(&self, key: &str, given: &Spanned<RawCredentials>) -> Result<Source> {
        let raw = given.get_ref();
        let start = raw.source.span().start;
        let source = match (raw.source.get_ref().as_str(), &raw.file, &raw.profile) {
            ("netbackup", None, None) => Source::NetBackup,
            ("aws", None, None) => Source::Aws,
            ("file", Some(file), None) => Source::File(self.path_of(file)),
            ("profile", None, Some(profile)) => Source::Profile(profile.get_ref().clone()),
            (other, ..) => {
                let valid = "\"netbackup\", \"aws\", \"file\" with file = \"…\", or \"profile\" with profile = \"…\"";
                return Err(self.refuse(start, &format!("{key}.source"), &format!("{other:?}"), valid));
            }
        };

        Ok(source)
    }

    fn lsus(&self, key: &str, raw: Vec<Spanned<RawLsu>>, discovered: Option<&str>) -> Result<Vec<Lsu>> {
        let mut lsus: Vec<Lsu> = Vec::with_capacity(raw.len());
        for given in raw {
            let start = given.span().start;
            let lsu = self.lsu(&format!("{key}.lsu"), given.into_inner())?;
            if lsus.len() == 1024 || lsus.iter().any(|other| other.name == lsu.name) {
                let value = format!("{:?}", lsu.name);
                return Err(self.refuse(
                    start,
                    &format!("{key}.lsu.name"),
                    &value,
                    "unique, and at most 1024 LSUs",
                ));
            }

            let twin = lsus
                .iter()
                .find(|other| other.bucket == lsu.bucket && other.prefix == lsu.prefix);
            if let Some(twin) = twin {
                let value = format!("{:?}", lsu.bucket);
                let valid = format!("another bucket or prefix than that of LSU {}", twin.name);
                return Err(self.refuse(start, &format!("{key}.lsu.bucket"), &value, &valid));
            }

            if let Some((value, valid)) = overlap(&lsu, &lsus, discovered) {
                return Err(self.refuse(start, &format!("{key}.lsu.prefix"), &value, &valid));
            }

            lsus.push(lsu);
        }

        Ok(lsus)
    }

    fn lsu(&self, key: &str, raw: RawLsu) -> Result<Lsu> {
        let start = raw.name.span().start;
        let name = raw.name.into_inner();
        self.word(&format!("{key}.name"), &name, start)?;
        let bucket = raw.bucket.map_or_else(|| name.clone(), Spanned::into_inner);
        if !is_bucket_name(&bucket) {
            let valid = "an S3 bucket name: 3 to 63 characters of a-z 0-9 . -";
            return Err(self.refuse(start, &format!("{key}.bucket"), &format!("{bucket:?}"), valid));
        }

        let prefix = raw.prefix.map(Spanned::into_inner).unwrap_or_default();
        let prefix = if prefix.is_empty() || prefix.ends_with('/') {
            prefix
        } else {
            format!("{prefix}/")
        };

        let portable = |b: u8| b.is_ascii_alphanumeric() || b"._-/=".contains(&b);
        if prefix.starts_with('/') || prefix.contains("//") || prefix.len() > 256 || !prefix.bytes().all(portable) {
            let valid = "segments of A-Z a-z 0-9 . _ = - joined by single slashes, at most 256 bytes";
            return Err(self.refuse(start, &format!("{key}.prefix"), &format!("{prefix:?}"), valid));
        }

        Ok(Lsu {
            name,
            bucket: bucket.into(),
            prefix,
            description: raw.description.map(Spanned::into_inner).unwrap_or_default(),
            capacity_bytes: raw.capacity.map_or(0, |size| size.get_ref().0),
        })
    }
}

/// The prefix of an LSU that lies in a folder of another one, and what would be valid. A bucket that discovery takes is
/// an LSU without a prefix.
fn overlap(lsu: &Lsu, others: &[Lsu], discovered: Option<&str>) -> Option<(String, String)> {
    let inside = |inner: &Lsu, outer_name: &str, outer_prefix: &str| {
        let folder = folder_around(&inner.prefix, outer_prefix)?;
        let valid = format!(
            "outside {outer_prefix}{folder}/, where LSU {outer_name} keeps its objects in bucket {}: give LSU {} a prefix whose part behind \"{outer_prefix}\" begins with none of {}",
            inner.bucket,
            inner.name,
            LSU_FOLDERS.join(", ")
        );
        Some((format!("{:?}", inner.prefix), valid))
    };

    let found = discovered.is_some_and(|prefix| lsu.bucket.starts_with(prefix));
    let discovery = found.then(|| inside(lsu, &lsu.bucket, "")).flatten();
    let mut same_bucket = others.iter().filter(|other| other.bucket == lsu.bucket);

    discovery.or_else(|| {
        same_bucket
            .find_map(|other| inside(lsu, &other.name, &other.prefix).or_else(|| inside(other, &lsu.name, &lsu.prefix)))
    })
}
