//! [`Clock`]: the time of day, and waiting.

use std::fmt;
use std::time::Duration;

use crate::time::Timestamp;

/// Where a repository takes the time from. Clocks serve people and liveness only: nothing is lost where one is wrong.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day, as this host sees it.
    fn now(&self) -> Timestamp;

    /// Returns after so long.
    fn sleep(&self, duration: Duration);
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}
