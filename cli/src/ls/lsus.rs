//! `ls` without an LSU: the LSUs of a server, each with its usage as this host knows it. An LSU whose bucket is missing
//! or refused is listed too; the reason is on stderr, and the exit code is 1. A server that does not answer is an
//! error.

use std::error::Error;
use std::process::ExitCode;

use serde_json::{Value, json};
use vastost::error::Kind;
use vastost::ost::abi::{STSP_LSUF_ACTIVE, STSP_LSUF_CAPACITY_KNOWN, STSP_LSUF_USED_KNOWN};
use vastost_testkit::host::LsuInfo;

use super::Done;
use crate::args::{Global, Ls};
use crate::output;
use crate::output::{complain, human_size, line, raw};
use crate::site::{Catalog, Site};
use crate::wait::wait;
use crate::{FOUND_PROBLEMS, Outcome};

/// An LSU as the plug-in lists it, and why it cannot be used.
struct Row {
    info: LsuInfo,
    fault: Option<Fault>,
}

struct Fault {
    /// For the table.
    word: &'static str,
    error: String,
}

pub fn run(global: &Global, args: &Ls) -> Outcome {
    let found = {
        let plugin = Site::open(global)?.plugin()?;
        plugin.server.lsus()?
    };
    let rows = with_faults(global, found)?;
    if global.json {
        let lsus: Vec<_> = rows.iter().map(to_json).collect();
        output::unread_is_fine(output::json(&json!({ "schema": 1, "lsus": lsus })))?;
    } else if args.print0 {
        rows.iter()
            .try_for_each(|row| raw(format!("{}\0", row.info.name).as_bytes()))?;
    } else if global.quiet {
        rows.iter().try_for_each(|row| line(&row.info.name))?;
    } else {
        output::unread_is_fine(table(&rows))?;
    }

    let faults: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((&row.info.name, row.fault.as_ref()?)))
        .collect();
    faults
        .iter()
        .for_each(|(name, fault)| complain(&format!("LSU {name}: {}", fault.error)));
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND_PROBLEMS)
    })
}

/// The plug-in's list says which LSUs cannot be used. The reason comes from the store.
fn with_faults(global: &Global, found: Vec<LsuInfo>) -> Result<Vec<Row>, Box<dyn Error>> {
    if found.iter().all(is_active) {
        return Ok(found.into_iter().map(|info| Row { info, fault: None }).collect());
    }
    let catalog = Site::open(global)?.catalog()?;
    let row = |info: LsuInfo| -> Result<Row, Box<dyn Error>> {
        let fault = if is_active(&info) {
            None
        } else {
            Some(fault(&catalog, &info.name)?)
        };
        Ok(Row { info, fault })
    };
    found.into_iter().map(row).collect()
}

fn fault(catalog: &Catalog, name: &str) -> Result<Fault, Box<dyn Error>> {
    let lsu = catalog.lsu(name)?;
    Ok(match wait(&lsu, lsu.label()) {
        Ok(_) => Fault {
            word: "(not reached)",
            error: "it did not answer at first, and does now: ask again".into(),
        },
        Err(error) => {
            let word = match error.kind() {
                Kind::LsuNotFound => "(bucket missing)",
                Kind::AccessDenied => "(bucket refused)",
                _ => "(not reached)",
            };
            Fault {
                word,
                error: error.to_string(),
            }
        }
    })
}

fn is_active(lsu: &LsuInfo) -> bool {
    lsu.flags & STSP_LSUF_ACTIVE != 0
}

impl Row {
    fn capacity(&self) -> Option<u64> {
        self.known(STSP_LSUF_CAPACITY_KNOWN, self.info.capacity_bytes)
    }

    /// The usage known to this host means nothing for a missing LSU.
    fn used(&self, value: u64) -> Option<u64> {
        self.known(STSP_LSUF_USED_KNOWN, value).filter(|_| self.fault.is_none())
    }

    fn known(&self, flag: u32, value: u64) -> Option<u64> {
        (self.info.flags & flag != 0).then_some(value)
    }
}

fn table(rows: &[Row]) -> Done {
    let width = |name: fn(&LsuInfo) -> &str| rows.iter().map(|row| name(&row.info).len()).max().unwrap_or(0).max(6);
    let name_width = width(|lsu| &lsu.name);
    let bucket_width = width(|lsu| &lsu.bucket);
    let print = |name: &str, bucket: &str, used: &str, capacity: &str, label: &str| {
        let text = format!("{name:<name_width$}  {bucket:<bucket_width$}  {used:>10}  {capacity:>10}  {label}");
        line(text.trim_end())
    };
    print("LSU", "BUCKET", "USED", "CAPACITY", "LABEL")?;
    rows.iter().try_for_each(|row| {
        let shown = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), human_size);
        let lsu = &row.info;
        let used = shown(row.used(row.info.used_bytes));
        let capacity = shown(row.capacity());
        let label = row.fault.as_ref().map_or(lsu.label.as_str(), |fault| fault.word);
        print(&lsu.name, &lsu.bucket, &used, &capacity, label)
    })
}

fn to_json(row: &Row) -> Value {
    let lsu = &row.info;
    json!({
        "name": lsu.name,
        "bucket": lsu.bucket,
        "label": lsu.label,
        "description": lsu.description,
        "active": row.fault.is_none(),
        "error": row.fault.as_ref().map(|fault| &fault.error),
        "capacity": row.capacity(),
        "used": row.used(lsu.used_bytes),
        "images": row.used(lsu.images),
    })
}
