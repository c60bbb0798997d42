//! Random bytes for names that are never used twice.

use crate::error::Error;

/// Fills `bytes` from the system's random source; in a simulation, from its seed.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    #[cfg(test)]
    if seeded::fill(bytes) {
        return Ok(());
    }
    getrandom::fill(bytes).map_err(|source| Error::Random { source })
}

/// Names that a seed determines, for threads that ask for it.
#[cfg(test)]
pub(crate) mod seeded {
    use std::cell::Cell;

    thread_local! {
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on, what this thread takes for random follows from `seed`.
    pub(crate) fn seed(seed: Option<u64>) {
        STATE.set(seed);
    }

    /// The next number of this thread (splitmix64), where it has a seed.
    pub(crate) fn next() -> Option<u64> {
        let state = STATE.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
        STATE.set(Some(state));
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    }

    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        for part in bytes.chunks_mut(8) {
            let Some(number) = next() else { return false };
            part.copy_from_slice(&number.to_le_bytes()[..part.len()]);
        }
        true
    }
}
