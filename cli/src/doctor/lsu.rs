//! One LSU: all that a backup, a restore and a deletion do to its bucket, on objects of our own.

use std::error::Error as StdError;

use futures::future::{BoxFuture, FutureExt};
use vastost::catalog::cluster::Cluster;
use vastost::catalog::lsu::{Capabilities, Locking, Lsu, WireMode};
use vastost::catalog::trial::image::TrialImage;
use vastost::catalog::trial::objects::TrialObjects;
use vastost::config::{Config, Server, WireChoice};
use vastost::error::{Kind, Result};

use super::Done;
use super::advice::advice;
use super::report::Report;
use crate::name::now;
use crate::output::human_size;
use crate::temporary::TemporaryFolder;
use crate::wait::wait;

pub fn check(config: &Config, server: &Server, cluster: &Cluster, name: &str, report: &mut Report) -> Done {
    let lsu = &cluster.lsu(name)?;
    if !list(server, lsu, report)? {
        return Ok(());
    }
    let Some(locking) = locking(lsu, report)? else {
        return Ok(());
    };
    let mut objects = TrialObjects::new(lsu);
    let told = single_requests(&mut objects, lsu, &locking, report);
    // Also when the report could not be printed or Ctrl-C came.
    let removed = wait(lsu, objects.remove());
    let put = told?;
    if put && let Err(error) = removed {
        return tell(report, lsu, "delete", &Err(error), "");
    }
    if put && capabilities(config, lsu, report)? {
        image(cluster, lsu, report)?;
    }
    Ok(())
}

fn list(server: &Server, lsu: &Lsu, report: &mut Report) -> std::result::Result<bool, Box<dyn StdError>> {
    match wait(lsu, lsu.reach()) {
        Ok(()) => report.pass(&name(lsu, "list"), format!("bucket {}", lsu.bucket()))?,
        Err(error) => {
            let missing = format!(
                "create bucket {} on the cluster, or correct `bucket` of LSU {} in server.{}",
                lsu.bucket(),
                lsu.config().name,
                server.name
            );
            let right = advice(&error, lsu.bucket());
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
fn locking(lsu: &Lsu, report: &mut Report) -> std::result::Result<Option<Locking>, Box<dyn StdError>> {
    let check = name(lsu, "default retention");
    match wait(lsu, lsu.locking()) {
        Ok(Locking::ByDefault(how)) => {
            let seen = format!("bucket {} locks every object that is put: {how}", lsu.bucket());
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
            let advice = advice(&error, lsu.bucket());
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
    objects: &mut TrialObjects,
    lsu: &Lsu,
    locking: &Locking,
    report: &mut Report,
) -> std::result::Result<bool, Box<dyn StdError>> {
    let put = wait(lsu, objects.put());
    tell(report, lsu, "put", &put, "an object, and HEAD of it")?;
    if put.is_err() {
        return Ok(false);
    }
    if *locking == Locking::OnRequest {
        tell(
            report,
            lsu,
            "locks",
            &wait(lsu, objects.see_locks()),
            "retention and legal hold can be read",
        )?;
    }

    tell(
        report,
        lsu,
        "abort",
        &wait(lsu, objects.abort()),
        "an upload was begun, listed and aborted",
    )?;
    uploads(lsu, report)?;
    Ok(true)
}

fn tell(report: &mut Report, lsu: &Lsu, step: &str, outcome: &Result<()>, seen: &str) -> Done {
    match outcome {
        Ok(()) => report.pass(&name(lsu, step), seen.into()),
        Err(error) => report.fail(&name(lsu, step), error.to_string(), &advice(error, lsu.bucket())),
    }
}

/// The image alone, without a report of its steps; in words.
pub fn try_image(cluster: &Cluster, name: &str) -> std::result::Result<String, String> {
    let lsu = &cluster.lsu(name).map_err(|error| error.to_string())?;
    let bucket = lsu.bucket();
    match wait(lsu, locking_of_a_bucket_that_serves(lsu)) {
        Ok(Locking::ByDefault(how)) => return Err(format!("bucket {bucket} locks every object: {how}")),
        Ok(_) => {}
        Err(error) if error.kind() == Kind::LsuNotFound => return Err(format!("bucket {bucket} is not there yet")),
        Err(error) => return Err(error.to_string()),
    }

    let state = TemporaryFolder::new("doctor").map_err(|error| error.to_string())?;
    let image = TrialImage::new(cluster, name, &state.path(), now()).map_err(|error| error.to_string())?;
    let done = IMAGE_STEPS.iter().try_for_each(|(_, act)| wait(lsu, act(&image)));
    let swept = wait(lsu, image.sweep());
    done.and(swept)
        .map_err(|error| format!("{error}; {}", advice(&error, bucket)))?;
    Ok(format!(
        "an image of {} was written, read back and deleted",
        human_size(image.size())
    ))
}

async fn locking_of_a_bucket_that_serves(lsu: &Lsu) -> Result<Locking> {
    lsu.reach().await?;
    let locking = lsu.locking().await.unwrap_or(Locking::Off);
    if !matches!(locking, Locking::ByDefault(_)) {
        lsu.probe_again().await?;
    }
    Ok(locking)
}

type Step = for<'a> fn(&'a TrialImage) -> BoxFuture<'a, Result<()>>;
const IMAGE_STEPS: [(&str, Step); 4] = [
    ("multipart", |image| image.write().boxed()),
    ("re-open", |image| image.complete().boxed()),
    ("ranged get", |image| image.read().boxed()),
    ("delete", |image| image.delete().boxed()),
];

/// The image, step by step; steps that depend on a failed one are left out.
fn image(cluster: &Cluster, lsu: &Lsu, report: &mut Report) -> Done {
    // Usage figures of this image are nobody's.
    let state = TemporaryFolder::new("doctor")?;
    let image = TrialImage::new(cluster, &lsu.config().name, &state.path(), now())?;
    let told = image_steps(&image, lsu, report);
    let swept = wait(lsu, image.sweep());
    told?;
    swept.map_or_else(|error| tell(report, lsu, "clean up", &Err(error), ""), |()| Ok(()))
}

fn image_steps(image: &TrialImage, lsu: &Lsu, report: &mut Report) -> Done {
    let size = human_size(image.size());
    let seen = [
        format!("an image of {size}, a part and one byte, closed incomplete"),
        "opened again with its part copied on the server, and completed".to_owned(),
        "every byte is what was written".to_owned(),
        "the image is gone, and nothing of it is left".to_owned(),
    ];
    for ((step, act), seen) in IMAGE_STEPS.into_iter().zip(seen) {
        let done = wait(lsu, act(image));
        tell(report, lsu, step, &done, &seen)?;
        if done.is_err() {
            break;
        }
    }
    Ok(())
}

/// Probes the bucket even if its capabilities are cached, and caches the result; false when the probe fails.
fn capabilities(config: &Config, lsu: &Lsu, report: &mut Report) -> std::result::Result<bool, Box<dyn StdError>> {
    let found = match wait(lsu, lsu.probe_again()) {
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

fn checksums(config: &Config, lsu: &Lsu, found: Capabilities, report: &mut Report) -> Done {
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

fn uploads(lsu: &Lsu, report: &mut Report) -> Done {
    let check = name(lsu, "list uploads");
    match wait(lsu, lsu.count_uploads()) {
        Ok((count, are_more)) => {
            let more = if are_more { " or more" } else { "" };
            report.pass(&check, format!("{count}{more} under way"))
        }
        Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Unauthorized) => {
            let right = advice(&error, lsu.bucket());
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

fn name(lsu: &Lsu, step: &str) -> String {
    format!("{} {step}", lsu.config().name)
}
