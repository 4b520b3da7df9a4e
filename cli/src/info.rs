//! `info`: all that is recorded of one image.

use std::process::ExitCode;

use crate::Outcome;
use crate::args::{Global, Info};
use crate::image::{Document, More, Shown, describe};
use crate::name::ImageName;
use crate::output::{human_size, json, line, utc};
use crate::site::Site;

pub fn run(global: &Global, args: &Info) -> Outcome {
    let name = ImageName::parse(&args.image)?;
    let catalog = Site::open(global)?.catalog()?;
    let lsu = catalog.lsu(&name.lsu)?;
    let id = name.find_in(&lsu, args.newest)?;
    let shown = Shown::full(&lsu, &describe(&lsu, id)?);
    if global.json {
        json(&Document {
            schema: 1,
            images: vec![shown],
        })?;
    } else {
        table(&shown)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(image: &Shown) -> Result<(), Box<dyn std::error::Error>> {
    let none = || "-".to_owned();
    let crc = image.crc64nvme.map_or_else(none, |crc| format!("{:016x}", crc.0));
    let rows = [
        ("image", format!("{}/{}:{}", image.lsu, image.name(), image.date)),
        ("date", utc(image.date)),
        ("state", image.state.to_owned()),
        ("size", format!("{} ({} bytes)", human_size(image.size), image.size)),
        (
            "policy",
            if image.policy.is_empty() {
                none()
            } else {
                image.policy.clone()
            },
        ),
        ("type", image.image_type.to_string()),
        ("created", image.created.clone()),
        ("completed", image.completed.clone().unwrap_or_else(none)),
        ("bucket", image.bucket.clone()),
        ("key", image.key.clone()),
        ("ETag", image.etag.clone().unwrap_or_else(none)),
        ("CRC64NVME", crc),
        (
            "writer",
            format!(
                "{}, process {}, vastost {}",
                image.writer.host, image.writer.pid, image.writer.version
            ),
        ),
    ];
    for (label, value) in rows {
        line(&format!("{label:<10} {value}"))?;
    }
    image.more.as_ref().map_or(Ok(()), more)
}

fn more(more: &More) -> Result<(), Box<dyn std::error::Error>> {
    line(&format!("{:<10} {} bytes", "metadata", more.meta_size))?;
    let given = [("version", more.version_id.clone()), ("upload", more.upload_id.clone())];
    let retention = more.retention.as_ref().map(ToString::to_string);
    for (label, value) in given
        .into_iter()
        .chain([("rebuilt", more.rebuilt.clone()), ("retention", retention)])
    {
        if let Some(value) = value {
            line(&format!("{label:<10} {value}"))?;
        }
    }
    line(&format!("{:<10} {}", "parts", more.part_list.len()))?;

    for part in &more.part_list {
        let crc = format!("{:016x}", part.crc64nvme.0);
        line(&format!(
            "  {:>5}  offset {:>14}  size {:>11}  {crc}  {}",
            part.number, part.offset, part.size, part.etag
        ))?;
    }

    Ok(())
}
