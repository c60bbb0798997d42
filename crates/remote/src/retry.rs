//! When a request that failed is sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Settings;

/// The longest pause before a repetition.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Repetitions for somebody who never answered, however long an attempt takes.
const LEAST_REPETITIONS: u32 = 2;

/// Whether a failure may pass by itself.
pub(crate) trait Passing {
    /// True if the same request may succeed a moment later.
    fn is_passing(&self) -> bool;
}

/// Whether a service has answered anything yet. Shared by all that speak to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contact(Arc<AtomicBool>);

impl Contact {
    /// It has.
    pub(crate) fn made(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_made(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The attempts at one operation, of which the first is no repetition.
#[derive(Debug)]
pub(crate) struct Tries {
    /// Repetitions that there may be, and that there were.
    most: u32,
    made: u32,
    contact: Contact,
    /// As long as there is no contact; but for the first attempts, however long they take.
    first_deadline: Instant,
    deadline: Instant,
    pause: Duration,
}

impl Tries {
    /// Before the first attempt.
    pub(crate) fn begin(settings: &Settings, contact: &Contact) -> Tries {
        let now = Instant::now();
        let after = |duration| now.checked_add(duration).unwrap_or(now);
        Tries {
            most: settings.retries,
            made: 0,
            contact: contact.clone(),
            first_deadline: after(settings.first_answer.min(settings.retry_for)),
            deadline: after(settings.retry_for),
            pause: settings.first_pause,
        }
    }

    /// Waits until it is time for the next attempt, or gives the error back where there is to be none: because it is
    /// final, or because there were enough.
    pub(crate) async fn again<E: Passing>(&mut self, error: E) -> Result<(), E> {
        let pause = self.pause.mul_f64(jitter());
        let is_early = self.contact.is_made() || self.made < LEAST_REPETITIONS;
        let deadline = if is_early { self.deadline } else { self.first_deadline };
        let in_time = Instant::now().checked_add(pause).is_some_and(|then| then <= deadline);
        if !error.is_passing() || self.made >= self.most || !in_time {
            return Err(error);
        }
        self.made += 1;
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// 0.5 to 1.5, so that those that were refused together do not come back together.
fn jitter() -> f64 {
    // Without random numbers there is no spread, which is all that is lost.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    0.5 + f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;

    #[derive(Debug)]
    struct Failure(bool);

    impl Passing for Failure {
        fn is_passing(&self) -> bool {
            self.0
        }
    }

    fn attempts(settings: &Settings, passing: bool) -> u32 {
        attempts_with(settings, passing, &Contact::default())
    }

    fn attempts_with(settings: &Settings, passing: bool, contact: &Contact) -> u32 {
        let runtime = runtime::shared().unwrap();
        runtime.block_on(async {
            let mut tries = Tries::begin(settings, contact);
            let mut attempts = 1;
            while tries.again(Failure(passing)).await.is_ok() {
                attempts += 1;
            }
            attempts
        })
    }

    #[test]
    fn what_may_pass_is_tried_again_until_there_were_enough() {
        let settings = Settings { retries: 3, first_pause: Duration::from_micros(10), ..Settings::default() };
        assert_eq!(attempts(&settings, true), 4);
        assert_eq!(attempts(&Settings { retry_for: Duration::ZERO, ..settings }, true), 1);
    }

    #[test]
    fn who_never_answered_is_given_up_sooner() {
        let settings = Settings {
            retries: 5,
            first_answer: Duration::ZERO,
            first_pause: Duration::from_micros(10),
            ..Settings::default()
        };
        let contact = Contact::default();
        assert_eq!(attempts_with(&settings, true, &contact), 1 + LEAST_REPETITIONS);
        contact.clone().made();
        assert_eq!(attempts_with(&settings, true, &contact), 6);
    }

    #[test]
    fn what_is_final_is_not_tried_again() {
        assert_eq!(attempts(&Settings::default(), false), 1);
    }
}
