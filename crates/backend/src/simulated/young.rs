//! [`Young`]: changes that a listing may not show yet.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use crate::ObjectName;

/// The changes of the last while, each with what was there before.
#[derive(Debug, Default)]
pub(super) struct Young {
    objects: BTreeMap<ObjectName, Vec<Past>>,
    /// The same changes, the oldest first.
    order: VecDeque<(Duration, ObjectName)>,
}

#[derive(Debug)]
struct Past {
    /// When the change was made.
    at: Duration,
    /// The object's size in bytes before, if it was there.
    before: Option<u64>,
}

impl Young {
    /// Takes note of a change at the moment `at`, not earlier than any noted so far.
    pub(super) fn note(&mut self, at: Duration, name: ObjectName, before: Option<u64>) {
        self.objects.entry(name.clone()).or_default().push(Past { at, before });
        self.order.push_back((at, name));
    }

    /// Forgets the changes that are `age` old or older.
    pub(super) fn forget(&mut self, now: Duration, age: Duration) {
        while let Some((at, name)) = self.order.front().filter(|(at, _)| *at + age <= now) {
            if let Some(past) = self.objects.get_mut(name) {
                past.retain(|past| past.at > *at);
                if past.is_empty() {
                    self.objects.remove(name);
                }
            }
            self.order.pop_front();
        }
    }

    /// The object's size as it was at `moment`, or none, if it is `current` now.
    pub(super) fn state_at(&self, moment: Duration, name: &ObjectName, current: Option<u64>) -> Option<u64> {
        let past = self.objects.get(name).and_then(|past| past.iter().find(|past| past.at > moment));
        past.map_or(current, |past| past.before)
    }

    /// The objects with this prefix that were changed, whether they are there or not.
    pub(super) fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a ObjectName> {
        let from = self.objects.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map(|(name, _)| name).take_while(move |name| name.as_str().starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_object_is_as_it_was_at_each_moment_until_that_is_forgotten() {
        let mut young = Young::default();
        let name = ObjectName::new("packs/a").unwrap();
        young.note(at(10), name.clone(), None);
        young.note(at(20), name.clone(), Some(5));
        let states = |young: &Young| [9, 10, 19, 20].map(|moment| young.state_at(at(moment), &name, None));
        assert_eq!(states(&young), [None, Some(5), Some(5), None]);
        assert_eq!(young.names("packs/").count(), 1);
        assert_eq!(young.names("q").count() + young.names("index/").count(), 0);

        young.forget(at(15), at(5));
        assert_eq!(states(&young), [Some(5), Some(5), Some(5), None]);
        young.forget(at(25), at(5));
        assert_eq!(states(&young), [None; 4]);
        assert_eq!(young.names("").count(), 0);
    }
}
