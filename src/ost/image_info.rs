//! The properties of an image, as C sees them.

use super::abi::{STSP_II_BUSY_WRITE, STSP_II_IMAGE_CREATED, STSP_II_IMAGE_PENDING, stsp_image_info_t, to_field};
use super::bridge;
use crate::catalog::format::image_id::ImageDef;
use crate::catalog::format::record::unix_seconds;
use crate::catalog::lsu::Lsu;
use crate::catalog::records::Image;
use crate::error::{Error, Kind, Result};

/// The properties of an image that need not be open.
pub fn info_by_name(lsu: &Lsu, def: &ImageDef) -> Result<stsp_image_info_t> {
    let id = def.id.clone();
    let image = bridge::run(lsu, async move |lsu| lsu.describe(&id).await)?;
    if !definition_of(&image).answers_to(def) {
        let what = format!("image {} has another policy or type than asked for", def.id);
        return Err(Error::new(Kind::NotFound, what));
    }
    Ok(info_of(&lsu.config().name, &image))
}

pub fn definition_of(image: &Image) -> &ImageDef {
    match image {
        Image::Complete(sidecar) => &sidecar.image,
        Image::Pending { record, .. } => &record.image,
    }
}

pub fn info_of(lsu: &str, image: &Image) -> stsp_image_info_t {
    match image {
        Image::Complete(sidecar) => {
            let created = unix_seconds(&sidecar.created);
            let completed = unix_seconds(&sidecar.completed);
            info(
                lsu,
                &sidecar.image,
                STSP_II_IMAGE_CREATED,
                sidecar.content.data.size,
                created,
                completed,
            )
        }
        Image::Pending { record: pending, held } => {
            let busy = if *held { STSP_II_BUSY_WRITE } else { 0 };
            let size = pending.content.as_ref().map_or(0, |content| content.data.size);
            info(
                lsu,
                &pending.image,
                STSP_II_IMAGE_PENDING | busy,
                size,
                unix_seconds(&pending.created),
                0,
            )
        }
    }
}

pub fn info(lsu: &str, def: &ImageDef, flags: u32, size: u64, created: u64, completed: u64) -> stsp_image_info_t {
    stsp_image_info_t {
        struct_size: 0,
        flags,
        size,
        created,
        completed,
        image_type: def.image_type,
        reserved: 0,
        date: def.id.date,
        basename: to_field(def.id.basename.as_bytes()),
        policy: to_field(def.policy.as_bytes()),
        lsu: to_field(lsu.as_bytes()),
    }
}
