//! The images of one bench in the LSU, and those that an earlier one left there.
//!
//! All belong to client `vastost-bench`, and their names say which run wrote them. A run holds one more image open for
//! writing from start to end, the guard: its lease shows other benches, on any host, that this one is alive. Images
//! without a living guard were left by a bench that was killed; the next bench removes them.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use vastost::catalog::delete;
use vastost::catalog::format::escape::Name;
use vastost::catalog::format::image_id::{ImageDef, ImageId};
use vastost::catalog::list::{Filter, Listing};
use vastost::catalog::lsu::Lsu;
use vastost::catalog::records::Image;
use vastost::catalog::write::backup::Backup;
use vastost::error::{Found, Kind};
use vastost_testkit::host::Definition;

use crate::chain;
use crate::wait::wait;

const CLIENT: &str = "vastost-bench";
/// The guard's name has this in place of the number.
const GUARD: &str = "guard";

/// The run, and its open image on the store. It has its own engine, so that it takes no buffer of the measured one.
pub struct Guard {
    lsu: Lsu,
    run: Run,
    claim: Option<Backup>,
    count: usize,
}

/// The common part of the names of one bench's images.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    id: String,
    date: u64,
}

/// Rounds of clean-up, a second apart: the server may still be finishing requests that were cut off.
const ROUNDS: u32 = 4;

/// What became of the images of earlier runs.
#[derive(Default)]
pub struct Swept {
    pub removed: usize,
    /// Why some of them are still there.
    pub failed: Option<String>,
    /// Images of a bench that is at work, or whose lease has not passed yet.
    pub in_use: usize,
}

impl Guard {
    /// Removes what earlier runs left, and begins one.
    pub fn take(lsu: &Lsu) -> Result<(Self, Swept), Box<dyn Error>> {
        let swept = sweep(lsu, None)?;
        let mut id = uuid::Uuid::new_v4().simple().to_string();
        id.truncate(8);
        let run = Run {
            id,
            date: crate::name::now(),
        };
        let claim = Some(wait(lsu, Backup::create(lsu, def(run.image(GUARD)?)))?);
        Ok((
            Self {
                lsu: lsu.clone(),
                run,
                claim,
                count: 0,
            },
            swept,
        ))
    }

    /// Names for further images of this run.
    pub fn names(&mut self, count: usize) -> Vec<Definition> {
        let from = self.count;
        self.count += count;
        (from..self.count)
            .map(|n| Definition::new(self.run.basename(&n.to_string()), self.run.date))
            .collect()
    }

    /// Removes what is left of this run.
    pub fn release(mut self) -> Result<(), Box<dyn Error>> {
        self.claim = None;
        sweep(&self.lsu, Some(&self.run))?
            .failed
            .map_or(Ok(()), |failed| Err(failed.into()))
    }
}

impl Run {
    fn basename(&self, image: &str) -> String {
        format!("{CLIENT}_{}_C1_{}.{image}", self.date, self.id)
    }

    fn image(&self, image: &str) -> vastost::error::Result<ImageId> {
        ImageId::new(Name::new(self.basename(image)), self.date)
    }

    /// The run that an image is of; None for one that merely has a client of our name.
    fn of(id: &ImageId) -> Option<Self> {
        let basename = std::str::from_utf8(id.basename.as_bytes()).ok()?;
        let (run, image) = basename.rsplit_once('_')?.1.split_once('.')?;
        let found = Self {
            id: run.to_owned(),
            date: id.date,
        };
        let is_id = run.len() == 8 && run.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_image = image == GUARD || (!image.is_empty() && image.bytes().all(|byte| byte.is_ascii_digit()));
        (is_id && is_image && found.basename(image) == basename).then_some(found)
    }

    /// True while its bench may be alive.
    fn is_alive(&self, lsu: &Lsu) -> vastost::error::Result<bool> {
        match wait(lsu, lsu.describe(&self.image(GUARD)?)) {
            Ok(Image::Pending { held, .. }) => Ok(held),
            Ok(Image::Complete(_)) => Ok(false),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Removes the images of `only`, or of every run that is not alive. The guards are checked after the listing, so that a
/// run that begins meanwhile is seen to be alive.
fn sweep(lsu: &Lsu, only: Option<&Run>) -> Result<Swept, Box<dyn Error>> {
    let mut swept = Swept::default();
    for (run, images) in list(lsu, only)? {
        if only.is_none() && run.is_alive(lsu)? {
            swept.in_use += images.len();
            continue;
        }
        match remove(lsu, &run, images) {
            Ok(count) => swept.removed += count,
            Err(error) => swept.failed = Some(error.to_string()),
        }
    }
    Ok(swept)
}

fn list(lsu: &Lsu, only: Option<&Run>) -> Result<BTreeMap<Run, Vec<ImageId>>, Box<dyn Error>> {
    let days = only.map_or(Filter::default(), |run| Filter {
        date_from: run.date,
        date_to: run.date,
        ..Filter::default()
    });
    let mut listing = Listing::new(
        lsu,
        Filter {
            client: Some(Name::new(CLIENT)),
            ..days
        },
    );
    let mut found: BTreeMap<Run, Vec<ImageId>> = BTreeMap::new();
    for listed in wait(lsu, listing.all())? {
        if let Some(run) = Run::of(&listed.id).filter(|run| only.is_none_or(|only| only == run)) {
            found.entry(run).or_default().push(listed.id);
        }
    }
    Ok(found)
}

/// Removes as much as it can, the guard last; the error names how many are left, and why the first.
fn remove(lsu: &Lsu, run: &Run, mut images: Vec<ImageId>) -> Result<usize, Box<dyn Error>> {
    let guard = run.image(GUARD)?;
    let count = images.len();
    images.sort_by_key(|id| *id == guard);
    let mut failure = String::new();

    for round in 0..ROUNDS {
        if round > 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
        let mut left = Vec::new();
        for id in std::mem::take(&mut images) {
            if id == guard && !left.is_empty() {
                left.push(id);
                break;
            }
            if let Err(error) = remove_one(lsu, id.clone()) {
                failure = chain(&error);
                left.push(id);
            }
        }
        if left.is_empty() {
            return Ok(count);
        }
        images = left;
    }

    Err(format!(
        "{} of client {CLIENT} could not be removed: {failure}",
        crate::output::counted(images.len() as u64, "image")
    )
    .into())
}

fn remove_one(lsu: &Lsu, id: ImageId) -> vastost::error::Result<()> {
    // Somebody else may be faster.
    wait(lsu, delete::delete(lsu, &def(id))).if_found().map(drop)
}

fn def(id: ImageId) -> ImageDef {
    ImageDef {
        id,
        policy: Name::default(),
        image_type: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(basename: &str) -> Option<String> {
        Run::of(&ImageId::new(Name::new(basename), 1_795_305_600).unwrap()).map(|run| run.id)
    }

    #[test]
    fn only_names_that_bench_makes_are_of_a_run() {
        let run = Run {
            id: "0123abcd".into(),
            date: 1_795_305_600,
        };
        for image in ["guard", "0", "17"] {
            assert_eq!(run_of(&run.basename(image)), Some("0123abcd".into()));
            assert_eq!(run.image(image).unwrap().client(), CLIENT.as_bytes());
        }
        for other in [
            "vastost-bench_1795305600_C1_F1",
            "vastost-bench_1795305601_C1_0123abcd.0",
            "x_1795305600_C1_0123abcd.0",
        ] {
            assert_eq!(run_of(other), None, "{other}");
        }
    }
}
