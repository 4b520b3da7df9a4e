//! How long each part of an upload is.
//!
//! S3 takes 10,000 parts. Parts of one size would either cap the image (16 MiB: 156 GiB) or make every small image hold
//! a large buffer, so the size doubles every 1,000 parts until 10,000 of them reach the largest image configured.
//!
//! A part may come out smaller than planned where the pool has no larger buffer, as long as the largest parts from then
//! on still reach. What was lost is made up for: an image that is behind goes on with the largest parts. With 16 MiB and
//! 1 TB the largest are 128 MiB, and some 1,900 parts behind the first 1,000 may be of 16 MiB.

use super::{PART_SIZE_MAX, PARTS_MAX};

/// Parts of one size before the next doubling.
const STEP_PARTS: u32 = 1_000;

/// Part sizes by part number; pure arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartPlan {
    first_bytes: u64,
    largest_bytes: u64,
    image_max_bytes: u64,
}

impl PartPlan {
    /// A plan that begins with parts of `first_bytes` and reaches at least `image_max_bytes` within S3's limits.
    pub fn new(first_bytes: u64, image_max_bytes: u64) -> Self {
        let mut plan = Self {
            first_bytes,
            largest_bytes: first_bytes,
            image_max_bytes,
        };
        while plan.reach_bytes() < image_max_bytes && plan.largest_bytes < PART_SIZE_MAX {
            plan.largest_bytes = (plan.largest_bytes * 2).min(PART_SIZE_MAX);
        }
        // Doubling every step may come too late for the largest images: then all parts are of the size that is needed.
        if plan.reach_bytes() < image_max_bytes {
            let even = image_max_bytes.div_ceil(u64::from(PARTS_MAX)).min(PART_SIZE_MAX);
            plan = Self {
                first_bytes: even,
                largest_bytes: even,
                image_max_bytes,
            };
        }
        plan
    }

    /// The size of part `number`, counted from 1.
    pub fn part_bytes(&self, number: u32) -> u64 {
        let doublings = (number.max(1) - 1) / STEP_PARTS;
        self.first_bytes
            .saturating_mul(1 << doublings.min(32))
            .min(self.largest_bytes)
    }

    /// The size of part `number` of an image that has `offset` bytes before it: as planned, or the largest when it is behind.
    pub fn part_bytes_at(&self, number: u32, offset: u64) -> u64 {
        let reach = offset.saturating_add(self.rest_bytes(number));
        if reach < self.image_max_bytes {
            self.largest_bytes
        } else {
            self.part_bytes(number)
        }
    }

    /// True when an image that has `offset` bytes before part `number` still reaches its largest size.
    pub fn reaches(&self, number: u32, offset: u64) -> bool {
        let left = u64::from((PARTS_MAX + 1).saturating_sub(number));
        offset.saturating_add(left.saturating_mul(self.largest_bytes)) >= self.image_max_bytes
    }

    /// What the parts from `number` on hold as planned.
    fn rest_bytes(&self, number: u32) -> u64 {
        let mut at = number.max(1);
        let mut sum = 0_u64;
        while at <= PARTS_MAX {
            let next = (at - 1) / STEP_PARTS * STEP_PARTS + STEP_PARTS + 1;
            sum = sum.saturating_add(self.part_bytes(at).saturating_mul(u64::from(next - at)));
            at = next;
        }
        sum
    }

    pub fn largest_part_bytes(&self) -> u64 {
        self.largest_bytes
    }

    /// The bytes of an image that uses every part.
    pub fn reach_bytes(&self) -> u64 {
        self.rest_bytes(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PART_SIZE_MIN;
    use proptest::prelude::*;

    #[test]
    fn the_default_plan_reaches_one_terabyte_with_parts_of_at_most_128_mib() {
        let plan = PartPlan::new(16 << 20, 1_000_000_000_000);
        assert_eq!(plan.part_bytes(1), 16 << 20);
        assert_eq!(plan.part_bytes(1000), 16 << 20);
        assert_eq!(plan.part_bytes(1001), 32 << 20);
        assert_eq!(plan.largest_part_bytes(), 128 << 20);
        assert!(plan.reach_bytes() >= 1_000_000_000_000);
    }

    #[test]
    fn an_image_of_small_parts_is_made_up_for_with_the_largest() {
        let plan = PartPlan::new(16 << 20, 1_000_000_000_000);
        assert_eq!(plan.part_bytes_at(1001, 1000 * (16 << 20)), 32 << 20);
        let mut number = 1_u32;
        let mut offset = 0_u64;
        let mut small = 0;
        while number <= PARTS_MAX {
            // The pool never has a larger buffer, but where nothing else will do.
            let size = if plan.reaches(number + 1, offset + (16 << 20)) {
                16 << 20
            } else {
                plan.part_bytes_at(number, offset)
            };
            small += u32::from(size == 16 << 20);
            (number, offset) = (number + 1, offset + size);
        }
        assert!(offset >= 1_000_000_000_000, "{offset}");
        assert!((2_800..3_000).contains(&small), "{small}");
    }

    proptest! {
        #[test]
        fn every_plan_reaches_its_image_within_the_limits(first in PART_SIZE_MIN..1 << 30, image in 1..PART_SIZE_MAX * 10_000) {
            let plan = PartPlan::new(first, image);
            prop_assert!(plan.reach_bytes() >= image);
            prop_assert!(plan.largest_part_bytes() <= PART_SIZE_MAX);
        }

        #[test]
        fn sizes_never_shrink(first in PART_SIZE_MIN..1 << 30, image in 1..PART_SIZE_MAX * 10_000, number in 1u32..PARTS_MAX) {
            let plan = PartPlan::new(first, image);
            prop_assert!(plan.part_bytes(number) <= plan.part_bytes(number + 1));
        }
    }
}
