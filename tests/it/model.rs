//! A store in the hands of many: random sequences of backups, deletes, copies of whole LSUs by foreign tools, damage to
//! records and data, locks, missing rights, full quotas, processes that die at some request, `repair`, `gc`, `undelete` and
//! `verify`, held against a model that knows which bytes must still exist. Buckets are plain, keep versions, or have Object
//! Lock; the last of four LSUs lies in another bucket.
//!
//! After every step: the data that an image still needs are on the store, byte for byte, and so is what is not ours; an image
//! that nobody has touched restores. At the end, and now and then: each image that was reported complete and not deleted
//! restores, or `verify` names it. At the very end everything can be removed: there is no state without a way out.
//! `VASTOST_MODEL_SEQUENCES` says how many sequences run (100 when it is not set), `VASTOST_MODEL_SEED` at which one they
//! begin; a failure prints its own.

mod known;
mod store;

mod damage;
mod strangers;

mod crash;
mod ours;

mod checks;

use store::World;
use vastost_testkit::test_store::Wish;

/// Steps of one sequence.
const STEPS: usize = 18;

/// SplitMix64: small, and the same everywhere.
pub enum Dice {
    Thrown(u64),
    /// Never the least: nothing out of the ordinary happens.
    Steady,
}

impl Dice {
    fn next(&mut self) -> u64 {
        let Self::Thrown(state) = self else { return 0 };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(if matches!(self, Self::Steady) {
            end - 1
        } else {
            self.next() % end
        })
        .expect("small")
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    /// True once in so many throws.
    pub fn once_in(&mut self, throws: usize) -> bool {
        self.below(throws) == 0
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

fn run(wish: &Wish, usual: u64) {
    let first = number("VASTOST_MODEL_SEED", 0);
    let count = number("VASTOST_MODEL_SEQUENCES", usual);
    let world = World::new(wish);
    for seed in first..first + count {
        let mut sequence = world.sequence(seed);
        for _ in 0..STEPS {
            sequence.step();
        }
        sequence.end();
    }
}

#[test]
fn nothing_needed_is_lost_on_the_embedded_server() {
    run(&Wish::default(), 100);
}

#[cfg(feature = "minio-tests")]
#[test]
fn nothing_needed_is_lost_on_minio() {
    run(
        &Wish {
            minio: true,
            ..Wish::default()
        },
        20,
    );
}
