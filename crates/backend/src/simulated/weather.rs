//! [`Weather`]: what may happen to the actors of a simulation.

use std::time::Duration;

use super::random::Random;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// What may happen to the actors of a simulation, and how often.
///
/// Probabilities are from 0 (never) to 1 (always), for each operation. A listing is one operation for each page. Times are virtual.
///
/// ```
/// use std::time::Duration;
///
/// use cinderblock_backend::simulated::Weather;
///
/// let weather = Weather { crash: 0.001, pause: 0.01, longest_pause: Duration::from_secs(3600), ..Weather::calm() };
/// assert_eq!(Weather::default(), Weather::calm());
/// # let _ = weather;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Weather {
    /// How likely an actor stands still, while all others go on: half of the times before the operation takes effect, else
    /// after that and before it returns.
    pub pause: f64,
    /// The longest of these pauses. Each order of magnitude from a millisecond to this is as likely.
    pub longest_pause: Duration,
    /// How likely an actor crashes at an operation. Whether that still happens is as likely as not.
    pub crash: f64,
    /// How likely an operation fails, with [`Error::Io`](crate::Error::Io), and has no effect.
    pub failure: f64,
    /// How likely a change is made, and yet reported as failed with [`Error::Io`](crate::Error::Io). If it fails on its
    /// own, that is the error.
    pub lost_answer: f64,
    /// How likely a change is reported as failed with [`Error::Io`](crate::Error::Io) and made later all the same, as by
    /// a request that stayed in the network. A change whose actor crashes has the same probability of being made later.
    /// What can't be made by then, because the name was taken or the object is gone, is dropped.
    pub late_effect: f64,
    /// The longest time from such a report to the change. Each order of magnitude from a millisecond is as likely.
    pub latest_effect: Duration,
    /// How likely a listing lags behind, if `settle_delay` is not zero. Half of those that do show the store as it was
    /// at one moment, the others each object as it was at a moment of its own.
    pub lag: f64,
    /// The bound of that lag: a listing shows every change of this age or older. It is what
    /// [`settle_delay`](crate::Backend::settle_delay) says.
    pub settle_delay: Duration,
    /// The most by which the clock of an actor, [`ActorHandle::now`](super::ActorHandle::now), is ahead or behind.
    pub clock_skew: Duration,
    /// The most that one operation takes.
    pub operation_time: Duration,
    /// The most objects of one page of a listing; between two pages, others can go on. Each listing draws its own,
    /// from 1 to this. 0 counts as 1.
    pub listing_page: u64,
}

impl Weather {
    /// Nothing happens but that the actors take turns: operations of at most 20 ms, listings in pages of at most 1000, clocks
    /// that agree.
    pub const fn calm() -> Weather {
        Weather {
            pause: 0.0,
            longest_pause: Duration::ZERO,
            crash: 0.0,
            failure: 0.0,
            lost_answer: 0.0,
            late_effect: 0.0,
            latest_effect: Duration::ZERO,
            lag: 0.0,
            settle_delay: Duration::ZERO,
            clock_skew: Duration::ZERO,
            operation_time: Duration::from_millis(20),
            listing_page: 1000,
        }
    }

    /// Everything happens: pauses of up to 3 days, crashes once in 1000 operations, failures of all kinds once in 50, changes
    /// that come up to an hour late, listings that lag by up to 10 minutes, clocks 6 hours off, pages of at most 8.
    pub const fn rough() -> Weather {
        Weather {
            pause: 0.01,
            longest_pause: DAY.saturating_mul(3),
            crash: 0.001,
            failure: 0.01,
            lost_answer: 0.005,
            late_effect: 0.005,
            latest_effect: HOUR,
            lag: 0.5,
            settle_delay: MINUTE.saturating_mul(10),
            clock_skew: HOUR.saturating_mul(6),
            listing_page: 8,
            ..Weather::calm()
        }
    }

    /// A mixture that the seed chooses: each kind of trouble is absent from about half of all seeds, and of different
    /// strength in the others. Trouble that hides other trouble, as a crash hides all that would come after it, is
    /// so absent from many runs.
    pub fn from_seed(seed: u64) -> Weather {
        let mut random = Random::new(seed ^ 0x7765_6174_6865_7221);
        let mut pick = |choices: &[f64]| {
            let choice = random.below(2 * choices.len() as u64) as usize;
            choices.get(choice).copied().unwrap_or(0.0)
        };
        let mut weather = Weather {
            pause: pick(&[0.001, 0.01, 0.1]),
            crash: pick(&[0.0003, 0.003, 0.03]),
            failure: pick(&[0.001, 0.01, 0.1]),
            lost_answer: pick(&[0.001, 0.01, 0.1]),
            late_effect: pick(&[0.001, 0.01, 0.1]),
            lag: pick(&[0.1, 0.5, 1.0]),
            ..Weather::calm()
        };
        let mut pick = |choices: &[Duration]| {
            let choice = random.below(choices.len() as u64) as usize;
            choices.get(choice).copied().unwrap_or_default()
        };
        weather.longest_pause = pick(&[SECOND, HOUR, DAY * 3]);
        weather.latest_effect = pick(&[SECOND, MINUTE, HOUR]);
        weather.settle_delay = pick(&[Duration::ZERO, SECOND, MINUTE * 10]);
        weather.clock_skew = pick(&[Duration::ZERO, MINUTE, HOUR * 6]);
        weather.listing_page = [1, 4, 1000].get(random.below(3) as usize).copied().unwrap_or(1);
        weather
    }
}

impl Default for Weather {
    /// [`Weather::calm`].
    fn default() -> Weather {
        Weather::calm()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_choose_mixtures_with_and_without_each_kind_of_trouble() {
        let all: Vec<Weather> = (0..200).map(Weather::from_seed).collect();
        let troubles: [fn(&Weather) -> f64; 6] =
            [|w| w.pause, |w| w.crash, |w| w.failure, |w| w.lost_answer, |w| w.late_effect, |w| w.lag];
        for trouble in troubles {
            let without = all.iter().filter(|weather| trouble(weather) == 0.0).count();
            assert!((60..140).contains(&without), "absent from {without} of 200 seeds");
        }
        assert_eq!(Weather::from_seed(7), Weather::from_seed(7));
    }
}
