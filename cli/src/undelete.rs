//! `undelete`: brings images back whose records or data were deleted or overwritten outside the plug-in, from the
//! versions that the bucket keeps, and images whose delete was only marked.

use std::process::ExitCode;

use serde_json::json;
use vastost::catalog::maintain::undelete::undelete;

use crate::args::{Global, Undelete};
use crate::name::{ImageName, shown};
use crate::output;
use crate::output::{complain, line};
use crate::site::Site;
use crate::wait::wait;
use crate::{COULD_NOT_RUN, Outcome, chain};

pub fn run(global: &Global, args: &Undelete) -> Outcome {
    let names = args
        .images
        .iter()
        .map(|image| ImageName::parse(image))
        .collect::<Result<Vec<_>, _>>()?;
    let catalog = Site::open(global)?.catalog()?;
    let mut images = Vec::new();
    let mut failed = false;

    for name in &names {
        let date = name.date.map(|date| format!(":{date}")).unwrap_or_default();
        let shown = format!("{}/{}{date}", name.lsu, shown(&name.basename));
        let done = catalog.lsu(&name.lsu).and_then(|lsu| {
            let id = name.find_deleted_in(&lsu)?;
            Ok(wait(&lsu, undelete(&lsu, &id))?)
        });
        match done {
            Ok(done) => {
                if !global.json && !global.quiet {
                    let what = if done.is_empty() {
                        "it is complete as it is".to_owned()
                    } else {
                        done.join("; ")
                    };
                    // The others come back whether somebody reads of it or not.
                    output::unread_is_fine(line(&format!("{shown}: {what}")))?;
                }
                images.push(json!({ "image": shown, "outcome": if done.is_empty() { "not-needed" } else { "done" }, "detail": done }));
            }
            Err(error) => {
                let text = chain(error.as_ref());
                complain(&text);
                images.push(json!({ "image": shown, "outcome": "failed", "detail": [text] }));
                failed = true;
            }
        }
    }

    if global.json {
        output::unread_is_fine(output::json(&json!({ "schema": 1, "images": images })))?;
    }
    Ok(if failed {
        ExitCode::from(COULD_NOT_RUN)
    } else {
        ExitCode::SUCCESS
    })
}
