//! An image as the command line shows it: one JSON schema for `ls`, `info`, `put` and `get`, see docs/user/cli-json.md.

use std::error::Error;

use serde::Serialize;
use serde_json::Value;
use vastost::catalog::format::escape::unescape;
use vastost::catalog::format::image_id::{ImageDef, ImageId};
use vastost::catalog::format::record::{Content, PartRecord, Pending, PendingState, Sidecar, Writer};
use vastost::catalog::lsu::Lsu;
use vastost::catalog::meta::Meta;
use vastost::catalog::records::{Described, Image};
use vastost::engine::checksum::Crc64;

use crate::args::Global;
use crate::name::shown;
use crate::output;
use crate::site::Site;
use crate::wait::wait;

/// All fields of the schema. Unknown ones are null; the fields of `info` are left out elsewhere.
#[derive(Serialize)]
pub struct Shown {
    pub lsu: String,
    pub bucket: String,
    pub basename: String,
    pub date: u64,
    pub state: &'static str,
    pub size: u64,
    pub policy: String,
    #[serde(rename = "type")]
    pub image_type: u32,
    pub created: String,
    pub completed: Option<String>,
    pub key: String,
    pub etag: Option<String>,
    pub crc64nvme: Option<Crc64>,
    pub parts: usize,
    pub writer: Writer,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub more: Option<More>,
}

/// What `info` adds.
#[derive(Serialize)]
pub struct More {
    pub version_id: Option<String>,
    pub meta_size: u64,
    /// When `repair` made this sidecar, RFC 3339.
    pub rebuilt: Option<String>,
    pub retention: Option<Value>,
    pub upload_id: Option<String>,
    pub part_list: Vec<PartRecord>,
}

/// The document that `--json` prints.
#[derive(Serialize)]
pub struct Document {
    pub schema: u32,
    pub images: Vec<Shown>,
}

impl Shown {
    /// The basename for people; the field is escaped as in keys.
    pub fn name(&self) -> String {
        unescape(&self.basename).map_or_else(|| self.basename.clone(), |basename| shown(&basename))
    }

    /// True when `get` can read it.
    pub fn can_be_read(&self) -> bool {
        matches!(self.state, "complete" | "pending")
    }

    pub fn new(lsu: &Lsu, image: &Described) -> Self {
        match image {
            Described::Here(Image::Complete(sidecar)) => complete(lsu, "complete", sidecar),
            Described::Here(Image::Pending { record, held }) => unfinished(lsu, record, *held),
            Described::Deleting(sidecar) => complete(lsu, "deleting", sidecar),
        }
    }

    /// With everything that is recorded.
    pub fn full(lsu: &Lsu, image: &Described) -> Self {
        let of = |content: Option<&Content>, meta: &Option<Meta>| More {
            version_id: content.and_then(|content| content.data.version_id.clone()),
            meta_size: meta.as_ref().map_or(0, meta_size),
            rebuilt: None,
            retention: None,
            upload_id: None,
            part_list: content.map(|content| content.parts.clone()).unwrap_or_default(),
        };

        let more = match image {
            Described::Here(Image::Complete(sidecar)) | Described::Deleting(sidecar) => More {
                rebuilt: sidecar.rebuilt.clone(),
                retention: sidecar.retention.clone(),
                ..of(Some(&sidecar.content), &sidecar.meta)
            },
            Described::Here(Image::Pending { record, .. }) => More {
                upload_id: record.upload_id.clone(),
                ..of(record.content.as_ref(), &record.meta)
            },
        };

        Self {
            more: Some(more),
            ..Self::new(lsu, image)
        }
    }
}

/// Prints the record of the image that a command has just handled.
pub fn print_json(global: &Global, lsu: &str, id: ImageId) -> Result<(), Box<dyn Error>> {
    let catalog = Site::open(global)?.catalog()?;
    let lsu = catalog.lsu(lsu)?;
    let image = describe(&lsu, id)?;
    output::json(&Document {
        schema: 1,
        images: vec![Shown::new(&lsu, &image)],
    })
}

/// The record of one image.
pub fn describe(lsu: &Lsu, id: ImageId) -> vastost::error::Result<Described> {
    wait(lsu, lsu.describe_any(&id))
}

fn complete(lsu: &Lsu, state: &'static str, sidecar: &Sidecar) -> Shown {
    let completed = Some(sidecar.completed.clone());
    let content = Some(&sidecar.content);
    Shown {
        completed,
        ..base(lsu, state, &sidecar.image, content, &sidecar.created, &sidecar.writer)
    }
}

fn unfinished(lsu: &Lsu, pending: &Pending, held: bool) -> Shown {
    let state = match pending.state {
        PendingState::Writing if held => "writing",
        PendingState::Writing => "abandoned",
        PendingState::Incomplete => "pending",
    };
    let shown = base(
        lsu,
        state,
        &pending.image,
        pending.content.as_ref(),
        &pending.created,
        &pending.writer,
    );
    Shown {
        key: pending.key.clone(),
        ..shown
    }
}

fn base(
    lsu: &Lsu,
    state: &'static str,
    def: &ImageDef,
    content: Option<&Content>,
    created: &str,
    by: &Writer,
) -> Shown {
    Shown {
        lsu: lsu.config().name.clone(),
        bucket: lsu.bucket().to_string(),
        basename: def.id.basename.to_string(),
        date: def.id.date,
        state,
        size: content.map_or(0, |content| content.data.size),
        policy: def.policy.to_string(),
        image_type: def.image_type,
        created: created.to_owned(),
        completed: None,
        key: content.map(|content| content.data.key.clone()).unwrap_or_default(),
        etag: content.map(|content| content.data.etag.clone()),
        crc64nvme: content.map(|content| content.crc64nvme),
        parts: content.map_or(0, |content| content.parts.len()),
        writer: by.clone(),
        more: None,
    }
}

/// Inline metadata are base64 with padding.
fn meta_size(meta: &Meta) -> u64 {
    match meta {
        Meta::Object { size, .. } => *size,
        Meta::Inline { inline } => {
            let padding = inline.bytes().rev().take_while(|byte| *byte == b'=').count();
            (inline.len() / 4 * 3).saturating_sub(padding) as u64
        }
    }
}
