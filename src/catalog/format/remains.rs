//! What a sidecar that cannot be used still tells. A rebuilt one must agree with it: `repair` never makes a smaller or a
//! different image out of a record that tells size or CRC, and it keeps whatever can still be read.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::image_id::{ImageDef, ImageId};
use super::keys::{Folder, Keys};
use super::parse::own_meta;
use super::record::{Content, PartRecord, Pending, Writer, check_parts, crc_of};
use crate::catalog::meta::Meta;
use crate::engine::checksum::Crc64;

/// The legible fields of a damaged sidecar.
#[derive(Debug, Default)]
pub struct Remains {
    pub def: Option<ImageDef>,
    /// The data object that it names, when that is one of the image's own places.
    pub data_key: Option<String>,
    pub etag: Option<String>,
    pub size: Option<u64>,
    pub crc64nvme: Option<Crc64>,
    pub parts: Option<Vec<PartRecord>>,
    pub meta: Option<Meta>,
    pub created: Option<String>,
    pub completed: Option<String>,
    pub writer: Option<Writer>,
    /// All top-level fields, known or not.
    pub fields: Map<String, Value>,
}

impl Remains {
    /// Reads what can be read. A record that describes another image says nothing of this one.
    pub fn read(keys: &Keys, id: &ImageId, bytes: &[u8]) -> Self {
        if super::shape::check(bytes).is_err() {
            return Self::scan(bytes);
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else {
            return Self::scan(bytes);
        };
        let def: Option<ImageDef> = field(fields.get("image"));
        if def.as_ref().is_some_and(|def| def.id != *id) {
            return Self::default();
        }
        let data = fields.get("data");
        let key: Option<String> = field(data.and_then(|data| data.get("key")));
        let mut meta: Option<Meta> = field(fields.get("meta"));
        if own_meta(keys, id, &mut meta).is_err() {
            meta = None;
        }
        Self {
            data_key: key.and_then(|key| keys.own(Folder::Data, id, &key)).map(|(_, own)| own),
            etag: field(data.and_then(|data| data.get("etag"))),
            size: field(data.and_then(|data| data.get("size"))),
            crc64nvme: field(fields.get("crc64nvme")),
            parts: field(fields.get("parts")),
            meta,
            created: field(fields.get("created")),
            completed: field(fields.get("completed")),
            writer: field(fields.get("writer")),
            def,
            fields,
        }
    }

    /// Size and CRC out of text that is no JSON any more: a sidecar tells the data first, its CRC next, then the parts.
    fn scan(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let after = |name: &str| {
            text.split_once(name)
                .map(|(_, rest)| rest.trim_start_matches([':', ' ', '"']))
        };
        let size = after("\"size\"").map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        let crc =
            after("\"crc64nvme\"").map(|rest| rest.chars().take_while(char::is_ascii_hexdigit).collect::<String>());
        Self {
            size: size.and_then(|digits| digits.parse().ok()),
            crc64nvme: crc.and_then(|digits| field(Some(&Value::from(digits)))),
            ..Self::default()
        }
    }

    /// Adds what the record of the image's own writing tells, where this one does not.
    pub fn add_pending(&mut self, pending: &Pending) {
        if self.size.is_none() && self.crc64nvme.is_none() && self.parts.is_none() {
            self.size = Some(pending.sent.iter().map(|part| part.size).sum());
            self.crc64nvme = Some(crc_of(&pending.sent));
            self.parts = Some(pending.sent.clone());
        }
        self.def = self.def.take().or_else(|| Some(pending.image.clone()));
        self.meta = self.meta.take().or_else(|| pending.meta.clone());
        self.created = self.created.take().or_else(|| Some(pending.created.clone()));
        self.writer = self.writer.take().or_else(|| Some(pending.writer.clone()));
    }

    /// What it says of the data as a whole, when that is consistent.
    pub fn whole(&self) -> Option<(u64, &[PartRecord])> {
        let size = self.size?;
        let parts = self.parts.as_deref()?;
        let sound = check_parts(parts) == Ok(size) && Some(crc_of(parts)) == self.crc64nvme;
        sound.then_some((size, parts))
    }

    /// Refuses `content` when it is not what the record speaks of. A CRC that holds outweighs a size that does not: one of
    /// the fields is the damaged one.
    pub fn agrees_with(&self, content: &Content) -> Result<(), String> {
        let size = content.data.size;
        let by_crc = self.crc64nvme.map(|crc| crc == content.crc64nvme);
        let by_parts = self
            .parts
            .as_deref()
            .and_then(|parts| Some((check_parts(parts).ok()?, crc_of(parts))));
        let by_parts = by_parts.map(|told| told == (size, content.crc64nvme));
        if by_crc == Some(true) || by_parts == Some(true) {
            return Ok(());
        }
        let told = |size: u64| {
            format!(
                "the old record tells {size} bytes, the object has {}",
                content.data.size
            )
        };

        match self.size {
            Some(other) if other != size => Err(told(other)),
            _ if by_crc == Some(false) || by_parts == Some(false) => {
                Err("the object's bytes do not have the CRC64NVME of the old record".into())
            }
            _ => Ok(()),
        }
    }
}

fn field<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    serde_json::from_value(value?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::escape::Name;
    use super::super::record::DataObject;
    use super::*;

    fn content(size: u64, crc: u64) -> Content {
        let data = DataObject {
            key: "k".into(),
            size,
            etag: String::new(),
            version_id: None,
        };
        Content {
            data,
            crc64nvme: Crc64(crc),
            parts: Vec::new(),
        }
    }

    fn read(text: &str) -> Remains {
        Remains::read(
            &Keys::new(""),
            &ImageId::new(Name::new("x"), 1).unwrap(),
            text.as_bytes(),
        )
    }

    #[test]
    fn a_record_that_tells_size_or_crc_is_held_to() {
        for told in [
            r#"{"data":{"size":10},"crc64nvme":"00000000000000aa"}"#,
            r#"{"schema":1,"data":{"key":"k","size":10},"crc64nvme":"00000000000000aa","parts":[{"num"#,
        ] {
            let remains = read(told);
            assert!(remains.agrees_with(&content(10, 0xaa)).is_ok(), "{told}");
            assert!(
                remains.agrees_with(&content(5, 0xbb)).unwrap_err().contains("10 bytes"),
                "{told}"
            );
            assert!(
                remains
                    .agrees_with(&content(10, 0xbb))
                    .unwrap_err()
                    .contains("CRC64NVME"),
                "{told}"
            );
            // The size is the damaged field.
            assert!(remains.agrees_with(&content(9, 0xaa)).is_ok(), "{told}");
        }

        assert!(read("junk").agrees_with(&content(1, 1)).is_ok());
        let other = r#"{"image":{"basename":"y","date":1},"data":{"size":10}}"#;
        assert!(
            read(other).agrees_with(&content(1, 1)).is_ok(),
            "another image's record says nothing"
        );
    }
}
