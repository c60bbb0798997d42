//! [`Plot`]: what a run is about, so that rare meetings are not left to chance alone.

use std::time::Duration;

use cinderblock_backend::simulated::Weather;

use super::actors::below;
use crate::gc::GcOptions;

const HOUR: Duration = Duration::from_secs(3600);

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plot {
    /// A bit of everything.
    Medley,
    /// Writers stand still for days and go on, or crash, while others collect.
    Sleepers,
    /// The same with writers that may not delete anything, and are fenced while they commit.
    Appenders,
    /// Several collectors at once, who move everything all the time.
    Crowd,
    /// Long sessions that renew themselves on a storage whose listings lag.
    Renewals,
    /// Bits flip in packs, and are repaired, while others write and collect.
    Rot,
}

impl Plot {
    /// The plot of a seed.
    pub fn of(seed: u64) -> Self {
        match seed % 10 {
            0..4 => Plot::Medley,
            4 => Plot::Sleepers,
            5 => Plot::Appenders,
            6 => Plot::Crowd,
            7 => Plot::Renewals,
            _ => Plot::Rot,
        }
    }

    /// Whether a writer may not delete anything: some are such in every plot.
    pub fn appends_only(self) -> bool {
        self == Plot::Appenders || below(3) == 0
    }

    /// The weather of all who have none of their own.
    pub fn weather(self, seed: u64) -> Weather {
        match self {
            Plot::Medley => Weather::from_seed(seed),
            // A collector stands still between its fence and its verdict, too.
            Plot::Appenders => {
                Weather { pause: 0.2, longest_pause: HOUR, settle_delay: Duration::ZERO, ..Weather::calm() }
            }
            Plot::Sleepers => Weather { settle_delay: Duration::ZERO, ..Weather::calm() },
            Plot::Crowd => Weather { pause: 0.03, longest_pause: HOUR, listing_page: 4, ..Weather::calm() },
            Plot::Rot => Weather { pause: 0.02, longest_pause: 24 * HOUR, crash: 0.002, ..Weather::calm() },
            Plot::Renewals => Weather {
                lag: 1.0,
                settle_delay: Duration::from_secs(600),
                pause: 0.01,
                longest_pause: HOUR,
                ..Weather::calm()
            },
        }
    }

    pub fn weather_of_writers(self) -> Option<Weather> {
        let sleepy = Weather { pause: 0.15, longest_pause: 72 * HOUR, crash: 0.04, ..Weather::calm() };
        match self {
            Plot::Sleepers => Some(sleepy),
            Plot::Appenders => Some(Weather { pause: 0.3, longest_pause: 3 * HOUR, crash: 0.0, ..Weather::calm() }),
            _ => None,
        }
    }

    /// How many writers, collectors, readers, deleters and repairers there are; for the last ones, something flips bits.
    pub fn cast(self) -> [u64; 5] {
        match self {
            Plot::Medley => [1 + below(3), 1 + below(2), below(2), below(3), 0],
            Plot::Sleepers => [2 + below(2), 1, 0, below(2), 0],
            Plot::Appenders => [2, 2, 0, 0, 0],
            Plot::Crowd => [1 + below(2), 3, 0, 1 + below(2), 0],
            Plot::Renewals => [1 + below(2), 2, 0, 1, 0],
            Plot::Rot => [1 + below(2), 1 + below(2), below(2), below(2), 1 + below(2)],
        }
    }

    /// How often a writer gives a sign of life before it has written all.
    pub fn renewals(self) -> u64 {
        match self {
            Plot::Medley | Plot::Rot => below(2),
            Plot::Sleepers | Plot::Appenders => 0,
            Plot::Crowd => below(3),
            Plot::Renewals => 1 + below(6),
        }
    }

    /// How many of the times that a writer may work in between are open to it.
    pub fn patience(self) -> u64 {
        if self == Plot::Medley { 4 } else { 3 }
    }

    /// How often a collector runs.
    pub fn collections(self) -> u64 {
        match self {
            Plot::Medley | Plot::Crowd | Plot::Rot => 1 + below(3),
            Plot::Sleepers | Plot::Appenders | Plot::Renewals => 4 + below(4),
        }
    }

    pub fn options(self) -> GcOptions {
        let hours = |choices: [u64; 3]| Duration::from_secs(choices[below(3) as usize]);
        let (grace, fence_after) = match self {
            Plot::Sleepers => (Duration::ZERO, hours([900, 900, 7200])),
            Plot::Appenders => (Duration::ZERO, hours([900, 900, 900])),
            Plot::Renewals => (Duration::ZERO, 240 * HOUR),
            Plot::Crowd => (hours([0, 0, 3600]), hours([7200, 86_400, 86_400])),
            Plot::Medley => (hours([0, 10, 3600]), hours([900, 7200, 86_400])),
            Plot::Rot => (hours([0, 3600, 86_400]), hours([7200, 86_400, 86_400])),
        };
        let repack_below = if matches!(self, Plot::Crowd | Plot::Rot) { 100 } else { [0, 50, 100][below(3) as usize] };
        GcOptions { grace, fence_after, repack_below, gather: true, dry_run: self == Plot::Medley && below(20) == 0 }
    }
}
