//! `ls`: the LSUs, or the images of one, page by page: a bucket of millions of images takes no more memory than one.

use std::error::Error;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use serde_json::{Value, json};
use vastost::catalog::escape::Name;
use vastost::catalog::image_id::DATE_MAX;
use vastost::catalog::list::{Filter, Listed, Listing};
use vastost::catalog::lsu::{Image, Lsu};
use vastost::error::Kind;
use vastost::ost::abi::{STSP_LSUF_ACTIVE, STSP_LSUF_CAPACITY_KNOWN, STSP_LSUF_USED_KNOWN};
use vastost::ost::host::LsuInfo;

use crate::args::{Global, Ls};
use crate::image::Shown;
use crate::name::split;
use crate::output::{self, complain, human_size, line, raw, utc};
use crate::site::Site;
use crate::{COULD_NOT_RUN, Outcome, chain};

/// Records fetched at once.
const RECORDS_AT_ONCE: usize = 16;

type Done = Result<(), Box<dyn Error>>;

pub fn run(global: &Global, args: &Ls) -> Outcome {
    let Some(place) = &args.place else { return lsus(global) };
    let (lsu, prefix) = split(place)?;
    let catalog = Site::open(global)?.catalog()?;
    let lsu = catalog.lsu(&lsu)?;
    let listing = Listing::new(&lsu, filter(args, prefix.unwrap_or_default()));
    if global.quiet && !global.json {
        return names(&lsu, listing);
    }
    images(global, &lsu, listing)
}

fn filter(args: &Ls, prefix: &[u8]) -> Filter {
    Filter {
        client: args.client.as_ref().map(|client| Name::new(client.as_bytes())),
        basename_prefix: Name::new(prefix),
        date_from: args.since.unwrap_or(0),
        date_to: args.until.unwrap_or(DATE_MAX),
        complete: !args.pending,
        pending: !args.complete,
    }
}

/// One name a line, as the other commands take them.
fn names(lsu: &Lsu, mut listing: Listing) -> Outcome {
    while let Some(listed) = listing.next_image()? {
        let mut text = format!("{}/", lsu.config().name).into_bytes();
        text.extend_from_slice(listed.id.basename.as_bytes());
        text.extend_from_slice(format!(":{}\n", listed.id.date).as_bytes());
        raw(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn images(global: &Global, lsu: &Lsu, mut listing: Listing) -> Outcome {
    let mut printer = Printer { json: global.json, count: 0, bytes: 0, unreadable: 0 };
    if global.json {
        raw(b"{\"schema\":1,\"images\":[")?;
    }
    loop {
        let page = next_few(&mut listing)?;
        if page.is_empty() {
            break;
        }
        for image in describe_all(lsu, page)? {
            printer.print(lsu, image)?;
        }
    }
    printer.end()
}

fn next_few(listing: &mut Listing) -> vastost::error::Result<Vec<Listed>> {
    let mut few = Vec::with_capacity(RECORDS_AT_ONCE);
    while few.len() < RECORDS_AT_ONCE {
        let Some(listed) = listing.next_image()? else { break };
        few.push(listed);
    }
    Ok(few)
}

fn describe_all(lsu: &Lsu, page: Vec<Listed>) -> vastost::error::Result<Vec<vastost::error::Result<Image>>> {
    let owned = lsu.clone();
    lsu.store().run(async move {
        let described = page.iter().map(|listed| owned.describe(&listed.id));
        Ok(futures::future::join_all(described).await)
    })
}

/// Prints images as they come, and what is to be said at the end.
struct Printer {
    json: bool,
    count: u64,
    bytes: u64,
    unreadable: u64,
}

impl Printer {
    fn print(&mut self, lsu: &Lsu, image: vastost::error::Result<Image>) -> Done {
        let image = match image {
            Ok(image) => Shown::new(lsu, &image),
            // Deleted between the listing and the record.
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            Err(error) if error.kind() == Kind::Corrupt => {
                self.unreadable += 1;
                complain(&chain(&error));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.count += 1;
        self.bytes += image.size;
        if self.json {
            let comma = if self.count > 1 { ",\n" } else { "\n" };
            return raw(format!("{comma}{}", serde_json::to_string(&image)?).as_bytes());
        }
        if self.count == 1 {
            line(&format!("{:<20}  {:<9}  {:>10}  BASENAME", "DATE", "STATE", "SIZE"))?;
        }
        let size = human_size(image.size);
        line(&format!("{:<20}  {:<9}  {size:>10}  {}", utc(image.date), image.state, image.name()))
    }

    fn end(self) -> Outcome {
        if self.json {
            raw(b"\n]}\n")?;
        } else if std::io::stderr().is_terminal() {
            let plural = if self.count == 1 { "" } else { "s" };
            output::flush()?;
            output::hint(&format!("{} image{plural}, {}", self.count, human_size(self.bytes)));
        }
        Ok(if self.unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::from(COULD_NOT_RUN) })
    }
}

fn lsus(global: &Global) -> Outcome {
    let plugin = Site::open(global)?.plugin()?;
    let found = plugin.server.lsus()?;
    if global.json {
        let lsus: Vec<_> = found.iter().map(lsu_json).collect();
        output::json(&json!({ "schema": 1, "lsus": lsus }))?;
    } else if global.quiet {
        found.iter().try_for_each(|lsu| line(&lsu.name))?;
    } else {
        lsu_table(&found)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lsu_table(lsus: &[LsuInfo]) -> Done {
    let width = |name: fn(&LsuInfo) -> &str| lsus.iter().map(|lsu| name(lsu).len()).max().unwrap_or(0).max(6);
    let (name_width, bucket_width) = (width(|lsu| &lsu.name), width(|lsu| &lsu.bucket));
    let row = |name: &str, bucket: &str, used: &str, capacity: &str, label: &str| {
        let text = format!("{name:<name_width$}  {bucket:<bucket_width$}  {used:>10}  {capacity:>10}  {label}");
        line(text.trim_end())
    };
    row("LSU", "BUCKET", "USED", "CAPACITY", "LABEL")?;
    for lsu in lsus {
        let known = |flag: u32, bytes: u64| if lsu.flags & flag != 0 { human_size(bytes) } else { "-".into() };
        let used = known(STSP_LSUF_USED_KNOWN, lsu.used_bytes);
        let capacity = known(STSP_LSUF_CAPACITY_KNOWN, lsu.capacity_bytes);
        let label = if lsu.flags & STSP_LSUF_ACTIVE == 0 { "(bucket missing or refused)" } else { &lsu.label };
        row(&lsu.name, &lsu.bucket, &used, &capacity, label)?;
    }
    Ok(())
}

fn lsu_json(lsu: &LsuInfo) -> Value {
    let known = |flag: u32, value: u64| (lsu.flags & flag != 0).then_some(value);
    json!({
        "name": lsu.name,
        "bucket": lsu.bucket,
        "label": lsu.label,
        "description": lsu.description,
        "active": lsu.flags & STSP_LSUF_ACTIVE != 0,
        "capacity": known(STSP_LSUF_CAPACITY_KNOWN, lsu.capacity_bytes),
        "used": known(STSP_LSUF_USED_KNOWN, lsu.used_bytes),
        "images": known(STSP_LSUF_USED_KNOWN, lsu.images),
    })
}
