//! [`Fate`]: what becomes of one operation.

use std::time::Duration;

use super::random::Random;
use super::weather::Weather;
use crate::Kind;

/// What becomes of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) effect: Effect,
    pub(super) answer: Answer,
}

/// Whether and when an operation is performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Now,
    Never,
    /// After this time: changes only.
    Later(Duration),
}

/// What the actor hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What the storage says.
    True,
    /// A failure, whatever happened.
    Failure,
    /// Nothing any more.
    Crash,
}

impl Fate {
    pub(super) fn draw(weather: &Weather, random: &mut Random, kind: Kind) -> Fate {
        // Before the operation that makes it visible, an object that is written has no effect that could come late.
        let is_change = matches!(kind, Kind::Put | Kind::Finish | Kind::Delete);
        if random.chance(weather.crash) {
            let effect = if is_change && random.chance(weather.late_effect) {
                Effect::Later(random.magnitude(weather.latest_effect))
            } else if random.chance(0.5) {
                Effect::Now
            } else {
                Effect::Never
            };
            return Fate { effect, answer: Answer::Crash };
        }
        if random.chance(weather.failure) {
            return Fate { effect: Effect::Never, answer: Answer::Failure };
        }
        if is_change && random.chance(weather.lost_answer) {
            return Fate { effect: Effect::Now, answer: Answer::Failure };
        }
        if is_change && random.chance(weather.late_effect) {
            let delay = random.magnitude(weather.latest_effect);
            return Fate { effect: Effect::Later(delay), answer: Answer::Failure };
        }
        Fate { effect: Effect::Now, answer: Answer::True }
    }

    /// The fate for the log; `succeeded` if it was performed without an error of its own.
    pub(super) fn outcome(self, succeeded: bool) -> &'static str {
        match (self.answer, self.effect) {
            (Answer::True, _) if succeeded => "ok",
            (Answer::True, _) => "refused",
            (Answer::Failure, Effect::Now) if succeeded => "ok, answer lost",
            (Answer::Failure, Effect::Now) => "refused, answer lost",
            (Answer::Failure, Effect::Never) => "failed",
            (Answer::Failure, Effect::Later(_)) => "failed, comes late",
            (Answer::Crash, Effect::Now) if succeeded => "ok, then crashed",
            (Answer::Crash, Effect::Now) => "refused, then crashed",
            (Answer::Crash, Effect::Never) => "crashed before",
            (Answer::Crash, Effect::Later(_)) => "crashed, comes late",
        }
    }
}
