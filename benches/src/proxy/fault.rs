//! What a proxy does wrong, as a seed decides.

use std::time::Duration;

/// How often a proxy does what, each from 0 (never) to 1 (always). Together they are at most 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Requests and seed together decide, so that a run can be done again.
    pub seed: u64,
    /// Resets the connection in the middle of a request's or an answer's body, or after the request before its answer.
    pub cut: f64,
    /// Ends an answer in good order, in the middle of its body.
    pub truncate: f64,
    /// Answers 500, 503 or 429 by itself.
    pub refuse: f64,
    /// Holds a request for up to [`delay_for`](Faults::delay_for).
    pub delay: f64,
    /// The longest delay.
    pub delay_for: Duration,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The request does not get through whole.
    CutRequest,
    /// The answer does not.
    CutAnswer,
    Truncate,
    Refuse(u16),
    Delay(Duration),
}

impl Fault {
    /// As the counts name it.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Fault::None => None,
            Fault::CutRequest | Fault::CutAnswer => Some("cut"),
            Fault::Truncate => Some("truncated"),
            Fault::Refuse(_) => Some("refused"),
            Fault::Delay(_) => Some("delayed"),
        }
    }
}

impl Faults {
    /// What happens to the request with this number.
    pub(super) fn of(&self, request: u64) -> Fault {
        let first = mix(self.seed ^ mix(request));
        let second = mix(first);
        let mut point = fraction(first);
        let mut falls_into = |rate: f64| {
            let within = point < rate;
            point -= rate;
            within
        };
        if falls_into(self.cut) {
            if second.is_multiple_of(2) { Fault::CutRequest } else { Fault::CutAnswer }
        } else if falls_into(self.truncate) {
            Fault::Truncate
        } else if falls_into(self.refuse) {
            Fault::Refuse(match second % 3 {
                0 => 500,
                1 => 503,
                _ => 429,
            })
        } else if falls_into(self.delay) {
            Fault::Delay(self.delay_for.mul_f64(fraction(second)))
        } else {
            Fault::None
        }
    }
}

/// One step of SplitMix64: equal inputs give equal outputs, near ones give far ones.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// From 0 to below 1.
fn fraction(number: u64) -> f64 {
    (number >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_kept_and_seeds_differ() {
        let faults = Faults { cut: 0.1, truncate: 0.1, refuse: 0.2, ..Faults::default() };
        let all: Vec<Fault> = (0..10_000).map(|request| faults.of(request)).collect();
        let share = |name| all.iter().filter(|fault| fault.name() == name).count();
        for (name, expected) in [(Some("cut"), 1000), (Some("truncated"), 1000), (Some("refused"), 2000), (None, 6000)]
        {
            assert!(share(name).abs_diff(expected) < 200, "{name:?}: {}", share(name));
        }
        for fault in [Fault::CutRequest, Fault::CutAnswer, Fault::Refuse(500), Fault::Refuse(503), Fault::Refuse(429)] {
            assert!(all.contains(&fault), "{fault:?} never happens");
        }
        let again: Vec<Fault> = (0..10_000).map(|request| faults.of(request)).collect();
        assert_eq!(all, again);
        let other = Faults { seed: 1, ..faults };
        assert!((0..100).any(|request| other.of(request) != faults.of(request)));
    }
}
