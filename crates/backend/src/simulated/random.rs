//! [`Random`]: the numbers that decide a simulation, the same for one seed for ever.

use std::time::Duration;

/// SplitMix64, as Vigna published it (<https://prng.di.unimi.it/splitmix64.c>). It is written out here so that a seed
/// means the same with every version of every crate.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `limit - 1`; 0 for a limit of 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// True with this probability. What can't or must happen draws no number.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        // 53 bits, which a double holds exactly: no rounding that could differ elsewhere.
        probability >= 1.0 || ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// From zero to `limit`, each as likely.
    pub(super) fn duration(&mut self, limit: Duration) -> Duration {
        let limit = nanos(limit);
        if limit == 0 { Duration::ZERO } else { Duration::from_nanos(self.below(limit.saturating_add(1))) }
    }

    /// From zero to `limit`, each order of magnitude above a millisecond as likely.
    pub(super) fn magnitude(&mut self, limit: Duration) -> Duration {
        const MILLISECOND_BITS: u64 = 20;
        let limit = nanos(limit);
        let bits = u64::from(u64::BITS - limit.leading_zeros());
        let drawn = MILLISECOND_BITS + self.below(bits.saturating_sub(MILLISECOND_BITS) + 1);
        let below = 1_u64.checked_shl(drawn as u32).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(below).min(limit))
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.below(end as u64 + 1) as usize;
            items.swap(end, other);
        }
    }
}

/// Whole nanoseconds, at most the 584 years that 64 bits hold.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// FNV-1a, 64 bits, of `bytes` after what `hash` stands for.
pub(super) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The FNV-1a hash of nothing.
pub(super) const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next(), random.next(), random.next()], expected);
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv(FNV_START, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(FNV_START, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn drawn_values_keep_within_their_limits_and_reach_both_ends() {
        let mut random = Random::new(1);
        let day = Duration::from_secs(86_400);
        let drawn: Vec<Duration> = (0..10_000).map(|_| random.magnitude(day)).collect();
        assert!(drawn.iter().all(|pause| *pause <= day));
        assert!(drawn.iter().filter(|pause| **pause < Duration::from_secs(1)).count() > 1000);
        assert!(drawn.iter().filter(|pause| **pause > Duration::from_secs(3600)).count() > 1000);
        assert_eq!(random.magnitude(Duration::ZERO), Duration::ZERO);

        let few = Duration::from_nanos(2);
        let drawn: Vec<Duration> = (0..100).map(|_| random.duration(few)).collect();
        assert!([0, 1, 2].iter().all(|n| drawn.contains(&Duration::from_nanos(*n))));
        assert!(drawn.iter().all(|duration| *duration <= few));

        let hits = (0..10_000).filter(|_| random.chance(0.25)).count();
        assert!((2000..3000).contains(&hits), "{hits} of 10000 with a probability of a quarter");
        assert!(random.chance(1.0) && !random.chance(0.0));
    }
}
