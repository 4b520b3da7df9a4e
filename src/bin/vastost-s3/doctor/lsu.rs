//! One LSU: all that a backup, a restore and a deletion do to its bucket, on objects of our own.

use vastost::config::{self, Config, Server, WireChoice};
use vastost::error::{Kind, Result};
use vastost::objstore::client::Store;
use vastost::objstore::probe::{self, Capabilities};

use super::Done;
use super::probe_objects::ProbeObjects;
use super::report::Report;

const RIGHTS: &str = "give the key the right to list, read, write and delete in this bucket";

pub fn check(config: &Config, server: &Server, store: &Store, lsu: &config::Lsu, report: &mut Report) -> Done {
    if !list(server, store, lsu, report)? {
        return Ok(());
    }
    let mut objects = ProbeObjects::new(store, &lsu.bucket, &lsu.prefix);
    let told = write_and_read(&mut objects, lsu, report);
    // Also when the report could not be printed or Ctrl-C came.
    let removed = objects.remove();
    told?;
    let gone = removed.and_then(|()| objects.expect_gone());
    tell(report, lsu, "delete", &gone, "the object is gone")?;
    capabilities(config, store, lsu, report)?;
    uploads(store, lsu, report)
}

fn list(
    server: &Server,
    store: &Store,
    lsu: &config::Lsu,
    report: &mut Report,
) -> std::result::Result<bool, Box<dyn std::error::Error>> {
    let (owned, bucket, prefix) = (store.clone(), lsu.bucket.clone(), lsu.prefix.clone());
    let listed = store.run(async move { owned.list(&bucket, &prefix, true, None, None).await });
    match listed {
        Ok(_) => report.pass(&name(lsu, "list"), format!("bucket {}", lsu.bucket))?,
        Err(error) => {
            let missing = format!(
                "create bucket {} on the cluster, or correct `bucket` of LSU {} in server.{}",
                lsu.bucket, lsu.name, server.name
            );
            let advice = if error.kind() == Kind::LsuNotFound { &missing } else { RIGHTS };
            report.fail(&name(lsu, "list"), error.to_string(), advice)?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn write_and_read(objects: &mut ProbeObjects, lsu: &config::Lsu, report: &mut Report) -> Done {
    tell(report, lsu, "put", &objects.put(), "an object, and HEAD of it")?;
    let uploaded = objects.upload();
    tell(report, lsu, "multipart", &uploaded, "two parts")?;
    if uploaded.is_ok() {
        tell(report, lsu, "ranged get", &objects.read_range(), "200 bytes across two parts")?;
    }
    Ok(())
}

fn tell(report: &mut Report, lsu: &config::Lsu, step: &str, outcome: &Result<()>, seen: &str) -> Done {
    match outcome {
        Ok(()) => report.pass(&name(lsu, step), seen.into()),
        Err(error) => {
            let advice = match error.kind() {
                Kind::AccessDenied | Kind::Unauthorized => RIGHTS,
                Kind::NoSpace => "make room: the bucket's quota or the cluster's capacity is used up",
                Kind::Network | Kind::Timeout | Kind::Unavailable => {
                    "look at the cluster and the network: requests do not get through"
                }
                _ => "the store does not do what backups need; ask its administrator with this message",
            };
            report.fail(&name(lsu, step), error.to_string(), advice)
        }
    }
}

fn capabilities(config: &Config, store: &Store, lsu: &config::Lsu, report: &mut Report) -> Done {
    let (owned, bucket, prefix) = (store.clone(), lsu.bucket.clone(), lsu.prefix.clone());
    let found = match store.run(async move { probe::probe(&owned, &bucket, &prefix).await }) {
        Ok(found) => found,
        Err(error) => return tell(report, lsu, "capabilities", &Err(error), ""),
    };
    let conditional = name(lsu, "conditional write");
    if found.conditional_put {
        report.pass(&conditional, "If-None-Match is honoured".into())?;
    } else {
        let advice = "nothing to do: two hosts that write one image at once are then told apart by who was last";
        report.warn(&conditional, "If-None-Match is not honoured".into(), advice)?;
    }
    checksums(config, lsu, found, report)
}

fn checksums(config: &Config, lsu: &config::Lsu, found: Capabilities, report: &mut Report) -> Done {
    let check = name(lsu, "checksums");
    let etag = if found.etag_is_md5 { "ETags are MD5" } else { "ETags are not MD5" };
    match (config.integrity.wire, found.crc64nvme) {
        (WireChoice::Crc64Nvme, false) => {
            let advice = "set [integrity] wire = \"auto\": the server does not check what is asked of it";
            return report.fail(&check, format!("CRC64NVME is not checked by the server; {etag}"), advice);
        }
        (_, true) => report.pass(&check, format!("CRC64NVME is checked by the server; {etag}"))?,
        (_, false) => report.pass(&check, format!("CRC64NVME is not checked by the server, MD5 serves; {etag}"))?,
    }
    if found.etag_is_md5 {
        return Ok(());
    }
    let advice = "nothing to do when the bucket is encrypted: parts are then proven by their checksums alone";
    report.warn(&name(lsu, "ETags"), "an object's ETag is not its MD5".into(), advice)
}

fn uploads(store: &Store, lsu: &config::Lsu, report: &mut Report) -> Done {
    let (owned, bucket) = (store.clone(), lsu.bucket.clone());
    let check = name(lsu, "list uploads");
    match store.run(async move { owned.list_uploads(&bucket, None).await }) {
        Ok(page) => {
            let more = if page.next.is_some() { " or more" } else { "" };
            report.pass(&check, format!("{}{more} under way", page.uploads.len()))
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
