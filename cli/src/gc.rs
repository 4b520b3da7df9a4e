//! `gc`: removes what no image needs.

use vastost::catalog::maintain::gc::{Removed, plan, remove};

use crate::args::{Gc, Global};
use crate::maintenance::{Acts, Done, run_all};
use crate::wait::wait;
use crate::{Outcome, chain};

pub fn run(global: &Global, args: &Gc) -> Outcome {
    let grace_seconds = args.maintenance.older_than.as_secs();
    let acts = Acts {
        plan: &|found| found.fix.as_ref().and_then(|fix| plan(fix, args.orphan_data)),
        act: &|lsu, found| {
            let Some(fix) = found.fix.clone() else {
                return Done::NotNeeded;
            };
            let key = found.finding.key.clone().unwrap_or_default();
            match wait(lsu, remove(lsu, &fix, grace_seconds)) {
                Ok(Removed::Yes) => {
                    tracing::info!(lsu = found.finding.lsu, key, "removed: {}", found.finding.found);
                    Done::Yes(String::new())
                }
                Ok(Removed::NotNeeded) => Done::NotNeeded,
                Ok(Removed::Kept(why)) => Done::Kept(why.into()),
                Err(error) => Done::Failed(chain(&error)),
            }
        },
        nothing: "nothing to remove",
    };

    run_all(global, &args.maintenance, &acts)
}
