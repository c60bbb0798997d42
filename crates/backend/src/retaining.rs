//! [`Retaining`]: keeps objects as a service with Object Lock does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::{Backend, Error, ForeignName, ObjectInfo, ObjectName, ObjectWriter, Retention, Tail};

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
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        self.inner.create(name)
    }

    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
        self.inner.put(name, parts)
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        self.inner.get(name, limit)
    }

    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.inner.read_into(name, offset, buf)
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        self.inner.get_tail(name, len)
    }

    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        self.inner.size(name)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        self.inner.list(prefix, visit)
    }

    fn list_foreign(&self, prefix: &str, visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>) -> Result<(), Error> {
        self.inner.list_foreign(prefix, visit)
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

    fn remove_leftovers(&self, prefix: &str, older_than: Duration, dry_run: bool) -> Result<crate::Leftovers, Error> {
        self.inner.remove_leftovers(prefix, older_than, dry_run)
    }

    fn settle_delay(&self) -> Duration {
        self.inner.settle_delay()
    }

    fn requests_in_flight(&self) -> usize {
        self.inner.requests_in_flight()
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

#[cfg(test)]
mod tests {
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
