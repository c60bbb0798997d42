//! [`Retaining`]: keeps objects as a service with Object Lock does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::decorator::pass_on;
use crate::{Backend, Error, ObjectName, Retention};

/// Lets objects of another backend be kept from being deleted. What is kept is only known to this process: it is for tests, and
/// has the time of day that it is told.
///
/// A retention can be prolonged and not shortened; a [`delete`](Backend::delete) before its end is refused with
/// [`Error::Retained`].
#[derive(Debug)]
pub struct Retaining<B> {
    inner: B,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: SystemTime,
    kept: BTreeMap<ObjectName, SystemTime>,
    requests: u64,
}

impl<B: Backend> Retaining<B> {
    /// The same backend, at this time of day.
    pub fn new(inner: B, now: SystemTime) -> Retaining<B> {
        Retaining { inner, state: Mutex::new(State { now, kept: BTreeMap::new(), requests: 0 }) }
    }

    /// Sets the time of day.
    pub fn set_time(&self, now: SystemTime) {
        self.state().now = now;
    }

    /// How many objects were asked to be kept so far, each as often as it was.
    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend> Backend for Retaining<B> {
    pass_on! {
        create put get read_into get_tail size list list_foreign remove_leftovers settle_delay requests_in_flight location
    }

    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(until) = state.kept.get(name).copied().filter(|until| *until > state.now) {
            return Err(Error::Retained { name: name.clone(), until });
        }
        self.inner.delete(name)?;
        state.kept.remove(name);
        Ok(())
    }

    fn retain(&self, names: &[ObjectName], retention: Retention) -> Result<(), Error> {
        for name in names {
            self.inner.size(name)?;
            let mut state = self.state();
            state.requests += 1;
            let until = state.kept.entry(name.clone()).or_insert(retention.whole_seconds());
            *until = (*until).max(retention.whole_seconds());
        }
        Ok(())
    }

    fn retained(&self, names: &[ObjectName]) -> Result<Vec<Option<SystemTime>>, Error> {
        let state = self.state();
        Ok(names.iter().map(|name| state.kept.get(name).copied()).collect())
    }

    fn can_retain(&self) -> Result<bool, Error> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Memory, RetentionMode};

    #[test]
    fn what_is_kept_can_be_kept_longer_and_not_shorter() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let backend = Retaining::new(Memory::new(), at(0));
        let names = [ObjectName::new("a").unwrap()];
        let keep = |seconds| Retention { until: at(seconds), mode: RetentionMode::Compliance };
        assert!(backend.retain(&names, keep(10)).unwrap_err().is_not_found());
        backend.put(&names[0], &[b"x"]).unwrap();
        backend.retain(&names, keep(10)).unwrap();
        backend.retain(&names, keep(5)).unwrap();
        assert_eq!(backend.retained(&names).unwrap(), [Some(at(10))]);
        backend.set_time(at(9));
        assert!(matches!(backend.delete(&names[0]), Err(Error::Retained { until, .. }) if until == at(10)));
        backend.set_time(at(10));
        backend.delete(&names[0]).unwrap();
        assert!(matches!(Memory::new().retain(&names, keep(1)), Err(Error::CannotRetain { .. })));
    }
}
