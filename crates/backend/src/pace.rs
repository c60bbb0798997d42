//! [`Pace`]: so many bytes a second, whoever moves them.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bytes a second that all threads share.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: NonZeroU64,
    /// When all bytes that were granted so far have passed.
    free: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: NonZeroU64) -> Pace {
        Pace { bytes_per_second, free: Mutex::new(Instant::now()) }
    }

    /// Waits until these bytes have had their time.
    pub(crate) fn wait(&self, bytes: u64) {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let time = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let now = Instant::now();
        let end = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            // Beyond what the clock can tell, there is nothing to wait for.
            let end = now.max(*free).checked_add(time).unwrap_or(now);
            *free = end;
            end
        };
        sleep(end.saturating_duration_since(now));
    }
}
