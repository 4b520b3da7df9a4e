//! `usage`: what the LSUs hold, counted on the store; NetBackup's polls answer from the figure that this leaves.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

use serde_json::{Value, json};
use vastost::catalog::audit::report::Count;
use vastost::catalog::maintain::recount::{self, Recount};

use crate::args::{Global, Usage};
use crate::output;
use crate::output::{complain, human_size, line};
use crate::site::Site;
use crate::wait::wait;
use crate::{COULD_NOT_RUN, Outcome, chain};

pub fn run(global: &Global, args: &Usage) -> Outcome {
    let catalog = Site::open(global)?.catalog()?;
    let mut counted = Vec::new();
    let mut failures = Vec::new();
    for lsu in catalog.lsus(&args.lsus)? {
        let name = lsu.config().name.clone();
        match wait(&lsu, recount::take(&lsu)) {
            Ok(recount) => counted.push((name, lsu.config().capacity_bytes, recount)),
            Err(error) => failures.push(format!("{name}: {}", chain(&error))),
        }
    }

    if counted.is_empty() {
        return Err(failures.join("; ").into());
    }
    let printed = if global.json {
        let lsus: Vec<_> = counted
            .iter()
            .map(|(name, capacity, recount)| to_json(name, *capacity, recount))
            .collect();
        output::json(&output::with_error(json!({ "schema": 1, "lsus": lsus }), &failures))
    } else {
        table(&counted, args)
    };

    output::unread_is_fine(printed)?;
    failures.iter().for_each(|failure| complain(failure));
    // The figures of the other LSUs are good, but not all that was asked for.
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(COULD_NOT_RUN)
    })
}

fn to_json(name: &str, capacity: u64, recount: &Recount) -> Value {
    let many = |counts: &BTreeMap<String, Count>, key: &str| -> Vec<Value> {
        let one = |(name, count): (&String, &Count)| json!({ key: name, "images": count.images, "bytes": count.bytes });
        counts.iter().map(one).collect()
    };
    json!({
        "name": name,
        "capacity": (capacity > 0).then_some(capacity),
        "images": recount.complete.images,
        "bytes": recount.complete.bytes,
        "other": { "images": recount.other.images, "bytes": recount.other.bytes },
        "clients": many(&recount.clients, "client"),
        "days": many(&recount.days, "day"),
        "list_requests": recount.list_requests,
    })
}

fn table(counted: &[(String, u64, Recount)], args: &Usage) -> Result<(), Box<dyn Error>> {
    let width = counted.iter().map(|(name, ..)| name.len()).max().unwrap_or(0).max(6);
    line(&format!(
        "{:<width$}  {:>9}  {:>10}  {:>10}  {:>5}",
        "LSU", "IMAGES", "SIZE", "UNFINISHED", "FULL"
    ))?;

    for (name, capacity, recount) in counted {
        let Count { images, bytes } = recount.complete;
        let full = (bytes + recount.other.bytes).saturating_mul(100).checked_div(*capacity);
        let full = full.map_or("-".to_owned(), |percent| format!("{percent} %"));
        let size = human_size(bytes);
        let other = human_size(recount.other.bytes);
        line(&format!(
            "{name:<width$}  {images:>9}  {size:>10}  {other:>10}  {full:>5}"
        ))?;
    }

    for (name, _, recount) in counted {
        if args.by_client {
            part(name, "CLIENT", &recount.clients)?;
        }
        if args.by_day {
            part(name, "DAY", &recount.days)?;
        }
    }

    Ok(())
}

fn part(lsu: &str, title: &str, counts: &BTreeMap<String, Count>) -> Result<(), Box<dyn Error>> {
    let width = counts.keys().map(String::len).max().unwrap_or(0).max(title.len());
    line("")?;
    line(lsu)?;
    line(&format!("  {title:<width$}  {:>9}  {:>10}", "IMAGES", "SIZE"))?;
    counts.iter().try_for_each(|(name, count)| {
        line(&format!(
            "  {name:<width$}  {:>9}  {:>10}",
            count.images,
            human_size(count.bytes)
        ))
    })
}
