//! `repair`: rebuilds records from what is still on the store.

use vastost::catalog::maintain::repair::{Repaired, apply, plan};

use crate::args::{Global, Repair};
use crate::maintenance::{Acts, Done, run_all};
use crate::wait::wait;
use crate::{Outcome, chain};

pub fn run(global: &Global, args: &Repair) -> Outcome {
    let deep = args.deep;
    let acts = Acts {
        plan: &|found| found.fix.as_ref().and_then(plan),
        act: &|lsu, found| {
            let Some(fix) = found.fix.clone() else {
                return Done::NotNeeded;
            };
            match wait(lsu, apply(lsu, &fix, deep)) {
                Ok(Repaired::Yes(what)) => {
                    tracing::info!(lsu = found.finding.lsu, key = found.finding.key, "repaired: {what}");
                    Done::Yes(what)
                }
                Ok(Repaired::NotNeeded) => Done::NotNeeded,
                Err(error) => Done::Failed(chain(&error)),
            }
        },
        nothing: "nothing to repair",
    };
    run_all(global, &args.maintenance, &acts)
}
