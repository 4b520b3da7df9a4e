//! One LSU: all that a backup, a restore and a deletion do to its bucket, on objects of our own.

use std::error::Error as StdError;

use vastost::config;
use vastost::config::{Config, Server, WireChoice};
use vastost::error::{Kind, Result};
use vastost::objstore::s3::bucket_rules::Locking;
use vastost::objstore::s3::capabilities::{Capabilities, WireMode};
use vastost::objstore::s3::store::Store;

use super::Done;
use super::advice::advice;
use super::probe_image::ProbeImage;
use super::probe_objects::ProbeObjects;
use super::report::Report;
use crate::output::human_size;

pub fn check(config: &Config, server: &Server, store: &Store, lsu: &config::Lsu, report: &mut Report) -> Done {
    if !list(server, store, lsu, report)? {
        return Ok(());
    }
    let Some(locking) = locking(store, lsu, report)? else {
        return Ok(());
    };
    let mut objects = ProbeObjects::new(store, &lsu.bucket, &lsu.prefix);
    let told = single_requests(&mut objects, store, lsu, &locking, report);
    // Also when the report could not be printed or Ctrl-C came.
    let removed = objects.remove();
    let put = told?;
    if put && let Err(error) = removed {
        return tell(report, lsu, "delete", &Err(error), "");
    }
    if put && capabilities(config, store, lsu, report)? {
        image(config, server, store, lsu, report)?;
    }
    Ok(())
}

fn list(
    server: &Server,
    store: &Store,
    lsu: &config::Lsu,
    report: &mut Report,
) -> std::result::Result<bool, Box<dyn StdError>> {
    let (owned, bucket, prefix) = (store.clone(), lsu.bucket.clone(), lsu.prefix.clone());
    let listed = store.run(async move { owned.list(&bucket, &prefix, true, None, None).await });
    match listed {
        Ok(_) => report.pass(&name(lsu, "list"), format!("bucket {}", lsu.bucket))?,
        Err(error) => {
            let missing = format!(
                "create bucket {} on the cluster, or correct `bucket` of LSU {} in server.{}",
                lsu.bucket, lsu.name, server.name
            );
            let right = advice(&error, &lsu.bucket);
            let advice = if error.kind() == Kind::LsuNotFound {
                &missing
            } else {
                &right
            };
            report.fail(&name(lsu, "list"), error.to_string(), advice)?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// None if the bucket locks every new object: then nothing is written, since nothing could be deleted.
fn locking(
    store: &Store,
    lsu: &config::Lsu,
    report: &mut Report,
) -> std::result::Result<Option<Locking>, Box<dyn StdError>> {
    let (owned, bucket) = (store.clone(), lsu.bucket.clone());
    let check = name(lsu, "default retention");
    match store.run(async move { owned.locking(&bucket).await }) {
        Ok(Locking::ByDefault(how)) => {
            let seen = format!("bucket {} locks every object that is put: {how}", lsu.bucket);
            let advice = "remove the bucket's default retention: records change while an image is written, and neither they \
                          nor expired images could be removed; lock images by NetBackup's own retention";
            report.fail(&check, seen, advice)?;
            return Ok(None);
        }
        Ok(locking) => {
            report.pass(&check, "none: objects can be deleted".into())?;
            return Ok(Some(locking));
        }
        Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Unauthorized) => {
            let advice = advice(&error, &lsu.bucket);
            report.warn(
                &check,
                error.to_string(),
                &format!("{advice}: whether new objects are locked is not known"),
            )?;
        }
        // Many stores have no locks and do not know the request.
        Err(error) => report.pass(&check, format!("the store does not report locks ({:?})", error.kind()))?,
    }
    Ok(Some(Locking::Off))
}

/// Single requests with rights of their own; true when objects can be put.
fn single_requests(
    objects: &mut ProbeObjects,
    store: &Store,
    lsu: &config::Lsu,
    locking: &Locking,
    report: &mut Report,
) -> std::result::Result<bool, Box<dyn StdError>> {
    let put = objects.put();
    tell(report, lsu, "put", &put, "an object, and HEAD of it")?;
    if put.is_err() {
        return Ok(false);
    }
    if *locking == Locking::OnRequest {
        tell(
            report,
            lsu,
            "locks",
            &objects.see_locks(),
            "retention and legal hold can be read",
        )?;
    }
    tell(
        report,
        lsu,
        "abort",
        &objects.abort(),
        "an upload was begun, listed and aborted",
    )?;
    uploads(store, lsu, report)?;
    Ok(true)
}

fn tell(report: &mut Report, lsu: &config::Lsu, step: &str, outcome: &Result<()>, seen: &str) -> Done {
    match outcome {
        Ok(()) => report.pass(&name(lsu, step), seen.into()),
        Err(error) => report.fail(&name(lsu, step), error.to_string(), &advice(error, &lsu.bucket)),
    }
}

/// The image alone, without a report of its steps; in words.
pub fn try_image(
    config: &Config,
    server: &Server,
    store: &Store,
    lsu: &config::Lsu,
) -> std::result::Result<String, String> {
    let (owned, bucket, prefix) = (store.clone(), lsu.bucket.clone(), lsu.prefix.clone());
    let locking = store.run(async move {
        owned.list(&bucket, &prefix, true, None, None).await?;
        let locking = owned.locking(&bucket).await.unwrap_or(Locking::Off);
        if !matches!(locking, Locking::ByDefault(_)) {
            owned.probe_again(&bucket, &prefix, false).await?;
        }
        Ok(locking)
    });
    match locking {
        Ok(Locking::ByDefault(how)) => return Err(format!("bucket {} locks every object: {how}", lsu.bucket)),
        Ok(_) => {}
        Err(error) if error.kind() == Kind::LsuNotFound => {
            return Err(format!("bucket {} is not there yet", lsu.bucket));
        }
        Err(error) => return Err(error.to_string()),
    }
    let image = ProbeImage::new(config, server, store, lsu).map_err(|error| error.to_string())?;
    let done = IMAGE_STEPS.iter().try_for_each(|(_, act)| act(&image));
    let swept = image.sweep();
    done.and(swept)
        .map_err(|error| format!("{error}; {}", advice(&error, &lsu.bucket)))?;
    Ok(format!(
        "an image of {} was written, read back and deleted",
        human_size(image.size())
    ))
}

type Step = fn(&ProbeImage) -> Result<()>;
const IMAGE_STEPS: [(&str, Step); 4] = [
    ("multipart", ProbeImage::write),
    ("re-open", ProbeImage::complete),
    ("ranged get", ProbeImage::read),
    ("delete", ProbeImage::delete),
];

/// The image, step by step; steps that depend on a failed one are left out.
fn image(config: &Config, server: &Server, store: &Store, lsu: &config::Lsu, report: &mut Report) -> Done {
    let image = ProbeImage::new(config, server, store, lsu)?;
    let told = image_steps(&image, lsu, report);
    let swept = image.sweep();
    told?;
    swept.map_or_else(|error| tell(report, lsu, "clean up", &Err(error), ""), |()| Ok(()))
}

fn image_steps(image: &ProbeImage, lsu: &config::Lsu, report: &mut Report) -> Done {
    let size = human_size(image.size());
    let seen = [
        format!("an image of {size}, a part and one byte, closed incomplete"),
        "opened again with its part copied on the server, and completed".to_owned(),
        "every byte is what was written".to_owned(),
        "the image is gone, and nothing of it is left".to_owned(),
    ];
    for ((step, act), seen) in IMAGE_STEPS.into_iter().zip(seen) {
        let done = act(image);
        tell(report, lsu, step, &done, &seen)?;
        if done.is_err() {
            break;
        }
    }
    Ok(())
}

/// Probes the bucket even if its capabilities are cached, and caches the result; false when the probe fails.
fn capabilities(
    config: &Config,
    store: &Store,
    lsu: &config::Lsu,
    report: &mut Report,
) -> std::result::Result<bool, Box<dyn StdError>> {
    let (owned, bucket, prefix) = (store.clone(), lsu.bucket.clone(), lsu.prefix.clone());
    let found = match store.run(async move { owned.probe_again(&bucket, &prefix, false).await }) {
        Ok(found) => found,
        Err(error) => {
            tell(report, lsu, "capabilities", &Err(error), "")?;
            return Ok(false);
        }
    };
    let conditional = name(lsu, "conditional write");
    if found.conditional_put {
        report.pass(&conditional, "If-None-Match is honoured".into())?;
    } else {
        let advice = "nothing to do: when two hosts write one image at once, the later record wins";
        report.warn(&conditional, "If-None-Match is not honoured".into(), advice)?;
    }
    if !found.user_metadata {
        let advice =
            "let x-amz-meta-* pass: without it verify warns of every image, and a lost sidecar cannot be rebuilt";
        report.fail(
            &name(lsu, "user metadata"),
            "an object comes back without its x-amz-meta-*".into(),
            advice,
        )?;
    }
    checksums(config, lsu, found, report)?;
    Ok(true)
}

fn checksums(config: &Config, lsu: &config::Lsu, found: Capabilities, report: &mut Report) -> Done {
    let check = name(lsu, "checksums");
    let etag = if found.etag_is_md5 {
        "ETags are MD5"
    } else {
        "ETags are not MD5"
    };
    let wire = WireMode::choose(config.integrity.wire, found);
    if wire == WireMode::Crc64 && !found.crc64nvme {
        let advice = "set [integrity] wire = \"auto\": the server does not check what is asked of it";
        report.fail(
            &check,
            format!("CRC64NVME is not checked by the server, or wrong; {etag}"),
            advice,
        )?;
    } else if wire == WireMode::None || config.integrity.wire == WireChoice::None {
        let advice = "set [integrity] wire = \"auto\" unless something else proves the bytes";
        report.warn(
            &check,
            "[integrity] wire is \"none\": nothing proves the bytes that are sent".into(),
            advice,
        )?;
    } else if !wire.is_proven_by(found) {
        let seen = format!("the server checks neither CRC64NVME nor Content-MD5; {etag}");
        let advice = "nothing proves the bytes on the wire, so each image is read back and compared when it is closed, which \
                      takes as long as a restore; ask for a store that checks one of the two";
        report.warn(&check, seen, advice)?;
    } else if wire == WireMode::Crc64 {
        report.pass(&check, format!("CRC64NVME is checked by the server; {etag}"))?;
    } else {
        let how = if found.content_md5 {
            "Content-MD5 is checked by the server"
        } else {
            "ETags prove the bytes"
        };
        let crc = if found.crc64nvme {
            ""
        } else {
            "CRC64NVME is not checked by the server, or wrong; "
        };
        report.pass(&check, format!("{crc}{how}; {etag}"))?;
    }
    if found.etag_is_md5 && found.composite_etag {
        return Ok(());
    }
    let seen = if found.etag_is_md5 {
        "the ETag of an object of several parts is not made by the usual rule"
    } else {
        "an object's ETag is not its MD5"
    };
    let advice = "nothing to do: checksums prove the parts; a re-opened image is read back when it is closed";
    report.warn(&name(lsu, "ETags"), seen.into(), advice)
}

fn uploads(store: &Store, lsu: &config::Lsu, report: &mut Report) -> Done {
    let (owned, bucket) = (store.clone(), lsu.bucket.clone());
    let check = name(lsu, "list uploads");
    match store.run(async move { owned.list_uploads(&bucket, None).await }) {
        Ok(page) => {
            let more = if page.next.is_some() { " or more" } else { "" };
            report.pass(&check, format!("{}{more} under way", page.uploads.len()))
        }
        Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Unauthorized) => {
            let right = advice(&error, &lsu.bucket);
            let advice = format!(
                "{right}, for the whole bucket: without it verify, gc and repair cannot see what crashed jobs left"
            );
            report.fail(&check, error.to_string(), &advice)
        }
        Err(error) => {
            let advice = "nothing breaks, but uploads of crashed jobs cannot be found: let a lifecycle rule abort them after some days";
            report.warn(&check, error.to_string(), advice)
        }
    }
}

fn name(lsu: &config::Lsu, step: &str) -> String {
    format!("{} {step}", lsu.name)
}
