//! Splitting an audit: images are spread by a hash of their basename, so that any number of machines cover each once.

use crate::catalog::format::escape::Name;
use crate::engine::checksum::Crc64;

/// Shard `number` of `of`, written `K/N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1 on.
    pub number: u32,
    pub of: u32,
}

impl Shard {
    pub fn parse(text: &str) -> Option<Self> {
        let (number, of) = text.split_once('/')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let shard = Self {
            number: number.parse().ok()?,
            of: of.parse().ok()?,
        };
        (digits(number) && digits(of) && (1..=shard.of).contains(&shard.number)).then_some(shard)
    }

    /// True when the image is this shard's.
    pub fn has(self, basename: &Name) -> bool {
        let hash = Crc64::of(basename.as_bytes()).0;
        // The high half: CRCs of names that differ in their last digit differ little in the low one.
        ((hash >> 32) ^ hash) % u64::from(self.of) == u64::from(self.number - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_k_of_n_and_cover_every_image_once_and_evenly() {
        assert_eq!(Shard::parse("2/3"), Some(Shard { number: 2, of: 3 }));
        for wrong in ["0/3", "4/3", "1/0", "1", "a/b", "1/2/3", "-1/2", "+1/2"] {
            assert_eq!(Shard::parse(wrong), None, "{wrong}");
        }
        let mut sizes = [0usize; 7];
        for number in 0..7_000u64 {
            let basename = Name::new(format!("db{}_{number}_C1_F1", number % 10));
            let takers: Vec<_> = (1..=7)
                .filter(|number| Shard { number: *number, of: 7 }.has(&basename))
                .collect();
            assert_eq!(takers.len(), 1);
            sizes[takers[0] as usize - 1] += 1;
        }
        assert!(sizes.iter().all(|size| (800..1200).contains(size)), "{sizes:?}");
    }
}
