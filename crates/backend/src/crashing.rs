//! [`Crashing`]: what a store may look like after a crash at any moment of what was done.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::decorator::pass_on;
use crate::{Backend, Error, Memory, ObjectName, ObjectWriter};

/// A store in memory that remembers every change, and can make the store as a crash could have left it: of the whole host, or
/// of the storage, at any moment.
///
/// A change is durable when its call has returned. Until then it is in flight, and a crash may leave it made or not, even
/// if another thread has already seen it. So there is one store for each number of changes that had returned, and
/// for each choice among those in flight then. With calls from one thread, these are the stores before and after each
/// change.
///
/// A failing call has no effect here: put [`Faulty`](crate::Faulty) around this, not inside.
///
/// ```
/// use cinderblock_backend::{Backend, Crashing, Memory, ObjectName};
///
/// let backend = Crashing::new(Memory::new());
/// let [pack, record] = ["packs/ab", "backups/1"].map(|name| ObjectName::new(name).unwrap());
/// backend.put(&pack, &[b"chunks"])?;
/// backend.put(&record, &[b"needs packs/ab"])?;
///
/// assert_eq!(backend.crashes(4).count(), 3);
/// for crash in backend.crashes(4) {
///     assert!(crash.store.size(&record).is_err() || crash.store.size(&pack).is_ok(), "{crash:?}");
/// }
/// # Ok::<(), cinderblock_backend::Error>(())
/// ```
#[derive(Debug)]
pub struct Crashing {
    inner: Memory,
    /// What was there in the beginning.
    base: Memory,
    journal: Mutex<Journal>,
}

#[derive(Debug, Default)]
struct Journal {
    /// Counts calls that begin or return: a clock.
    events: u64,
    /// The calls that have not returned: when each began.
    open: BTreeMap<u64, Option<Step>>,
    /// The changes of calls that have returned, in the order in which they did.
    changes: Vec<Change>,
    /// How many changes took effect.
    effects: u64,
}

/// A change that was made.
#[derive(Clone, Debug)]
struct Step {
    /// The how-manieth it was to take effect.
    effect: u64,
    name: ObjectName,
    /// The object that was created; none for one that was deleted.
    bytes: Option<Arc<[u8]>>,
}

#[derive(Clone, Debug)]
struct Change {
    began: u64,
    returned: u64,
    step: Step,
}

/// A store as a crash could have left it, from [`Crashing::crashes`].
#[derive(Debug)]
pub struct Crash {
    /// How many changes had returned: all of these are in the store.
    pub returned: usize,
    /// The objects of changes that were in flight and are in the store as well.
    pub kept: Vec<ObjectName>,
    /// The objects of changes that were in flight and are lost.
    pub lost: Vec<ObjectName>,
    /// The store.
    pub store: Memory,
}

impl Crashing {
    /// Goes on from what is in `memory`, which counts as durable.
    pub fn new(memory: Memory) -> Crashing {
        Crashing { base: memory.snapshot(), inner: memory, journal: Mutex::default() }
    }

    /// The number of changes whose calls have returned.
    pub fn changes(&self) -> usize {
        self.journal().changes.len()
    }

    /// The store with the first `n` changes, in the order in which their calls returned; all, if there are no more.
    pub fn state_after(&self, n: usize) -> Memory {
        let changes = self.journal().changes.clone();
        self.state(changes.iter().take(n))
    }

    /// The store after each number of changes, from none to all: as [`state_after`](Crashing::state_after).
    pub fn prefixes(&self) -> impl Iterator<Item = Memory> + '_ {
        (0..=self.changes()).map(|n| self.state_after(n))
    }

    /// All stores that a crash could have left until now, each choice of changes once: those of the first so many calls
    /// to return, without the next, with every subset of the others that were in flight when that one had yet to
    /// return; and the store with all changes. Only the `bound` last to begin, at most 16, are chosen from, any others kept:
    /// at most 2^`bound` stores for each change.
    ///
    /// Calls that have not returned by now are left out.
    pub fn crashes(&self, bound: u32) -> impl Iterator<Item = Crash> + '_ {
        let changes = self.journal().changes.clone();
        let bound = bound.min(16);
        (0..=changes.len()).flat_map(move |returned| self.crashes_after(&changes, returned, bound))
    }

    /// With the first `returned` changes and without the next: with it, all would be as after `returned + 1`.
    fn crashes_after(&self, changes: &[Change], returned: usize, bound: u32) -> Vec<Crash> {
        let (durable, rest) = changes.split_at(returned);
        let Some((next, rest)) = rest.split_first() else {
            return vec![Crash { returned, kept: Vec::new(), lost: Vec::new(), store: self.state(durable.iter()) }];
        };
        // Just before the next one returns, most are in flight.
        let mut flying: Vec<&Change> = rest.iter().filter(|change| change.began < next.returned).collect();
        flying.sort_by_key(|change| std::cmp::Reverse(change.began));
        let (chosen, older) = flying.split_at(flying.len().min(bound as usize));
        let subset = |lost: u32| {
            let is_lost = |at: usize| lost >> at & 1 == 1;
            let of_chosen = |wanted: bool| {
                chosen.iter().enumerate().filter(move |(at, _)| is_lost(*at) == wanted).map(|(_, change)| *change)
            };
            let kept: Vec<&Change> = older.iter().copied().chain(of_chosen(false)).collect();
            let store = self.state(durable.iter().chain(kept.iter().copied()));
            let names = |change: &Change| change.step.name.clone();
            let lost = std::iter::once(next).chain(of_chosen(true)).map(names).collect();
            Crash { returned, kept: kept.into_iter().map(names).collect(), lost, store }
        };
        (0..1_u32 << chosen.len()).map(subset).collect()
    }

    fn state<'a>(&self, changes: impl Iterator<Item = &'a Change>) -> Memory {
        let mut steps: Vec<&Step> = changes.map(|change| &change.step).collect();
        steps.sort_by_key(|step| step.effect);
        let store = self.base.snapshot();
        for step in steps {
            store.set(&step.name, step.bytes.clone());
        }
        store
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, name: &ObjectName, bytes: Option<Arc<[u8]>>) -> Result<(), Error> {
        let call = Call::begin(self);
        let result = self.perform(&call, name, bytes);
        // Made, and not yet durable: others may see it and go on.
        thread::yield_now();
        drop(call);
        result
    }

    /// Creates the object of these bytes, or deletes it if there are none.
    fn perform(&self, call: &Call<'_>, name: &ObjectName, bytes: Option<Arc<[u8]>>) -> Result<(), Error> {
        // Changes take effect in the order that the journal says.
        let mut journal = self.journal();
        match &bytes {
            Some(bytes) => self.inner.insert(name.clone(), Arc::clone(bytes))?,
            None => self.inner.delete(name)?,
        }
        let step = Step { effect: journal.effects, name: name.clone(), bytes };
        journal.effects += 1;
        journal.open.insert(call.began, Some(step));
        Ok(())
    }
}

/// A call that has begun; dropped, it returns.
struct Call<'a> {
    store: &'a Crashing,
    began: u64,
}

impl<'a> Call<'a> {
    fn begin(store: &'a Crashing) -> Call<'a> {
        let mut journal = store.journal();
        journal.events += 1;
        let began = journal.events;
        journal.open.insert(began, None);
        Call { store, began }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut journal = self.store.journal();
        journal.events += 1;
        let returned = journal.events;
        // A call that failed has made no step.
        if let Some(step) = journal.open.remove(&self.began).flatten() {
            journal.changes.push(Change { began: self.began, returned, step });
        }
    }
}

struct CrashingWriter<'a> {
    store: &'a Crashing,
    name: ObjectName,
    bytes: Vec<u8>,
}

impl Write for CrashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for CrashingWriter<'_> {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        self.store.put(&self.name, &[&self.bytes])
    }
}

impl Backend for Crashing {
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        Ok(Box::new(CrashingWriter { store: self, name: name.clone(), bytes: Vec::new() }))
    }

    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
        self.change(name, Some(parts.concat().into()))
    }

    pass_on! { get read_into get_tail size list list_foreign settle_delay location }

    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.change(name, None)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::*;

    fn name(text: &str) -> ObjectName {
        ObjectName::new(text).unwrap()
    }

    fn names(store: &dyn Backend) -> Vec<String> {
        let mut names = Vec::new();
        store
            .list("", &mut |object| {
                names.push(object.name.to_string());
                Ok(())
            })
            .unwrap();
        names
    }

    #[test]
    fn one_thread_leaves_the_stores_between_its_changes() {
        let memory = Memory::new();
        memory.put(&name("old"), &[b"o"]).unwrap();
        let backend = Crashing::new(memory);
        backend.put(&name("a"), &[b"1", b"2"]).unwrap();
        backend.put(&name("a"), &[b"refused"]).unwrap_err();
        let mut writer = backend.create(&name("b")).unwrap();
        writer.write_all(b"345").unwrap();
        let mut dropped = backend.create(&name("never")).unwrap();
        dropped.write_all(b"x").unwrap();
        drop(dropped);
        backend.delete(&name("old")).unwrap();
        backend.delete(&name("old")).unwrap_err();
        writer.finish().unwrap();

        let expected: [&[&str]; 4] = [&["old"], &["a", "old"], &["a"], &["a", "b"]];
        assert_eq!(backend.changes(), 3);
        assert_eq!(backend.prefixes().map(|store| names(&store)).collect::<Vec<_>>(), expected);
        let crashes: Vec<Crash> = backend.crashes(4).collect();
        assert_eq!(crashes.iter().map(|crash| names(&crash.store)).collect::<Vec<_>>(), expected);
        assert_eq!((crashes[1].returned, &crashes[1].lost[..]), (1, &[name("old")][..]));
        assert_eq!(crashes[3].store.get(&name("a"), 9).unwrap(), b"12");
        assert_eq!(backend.state_after(9).get(&name("b"), 9).unwrap(), b"345");
    }

    /// Changes that all begin before the first returns.
    fn overlapping(count: usize) -> Crashing {
        let backend = Crashing::new(Memory::new());
        let (begun, made) = (Barrier::new(count), Barrier::new(count));
        thread::scope(|scope| {
            for n in 0..count {
                let (backend, begun, made) = (&backend, &begun, &made);
                scope.spawn(move || {
                    let call = Call::begin(backend);
                    begun.wait();
                    backend.perform(&call, &name(&n.to_string()), Some(Arc::from([1]))).unwrap();
                    made.wait();
                });
            }
        });
        backend
    }

    #[test]
    fn changes_in_flight_are_there_in_every_subset() {
        let backend = overlapping(3);
        let stores: Vec<Vec<String>> = backend.crashes(4).map(|crash| names(&crash.store)).collect();
        assert_eq!(stores.len(), 8);
        assert_eq!(BTreeSet::from_iter(stores).len(), 8, "each subset of three comes once");
        assert_eq!(backend.prefixes().count(), 4);
    }

    #[test]
    fn the_bound_keeps_the_number_of_stores_small() {
        let backend = overlapping(10);
        assert_eq!(backend.crashes(9).count(), 1024);
        assert!(backend.crashes(2).count() <= 10 * 4 + 1);
        assert_eq!(backend.crashes(0).count(), 11);
        let all_but_one_kept = backend.crashes(0).next().unwrap();
        assert_eq!((all_but_one_kept.kept.len(), all_but_one_kept.lost.len()), (9, 1));
    }

    #[test]
    fn what_followed_a_returned_change_is_never_there_without_it() {
        let backend = Crashing::new(Memory::new());
        thread::scope(|scope| {
            for side in 0..4 {
                let backend = &backend;
                scope.spawn(move || {
                    for n in 0..20 {
                        backend.put(&name(&format!("{side}/pack-{n}")), &[b"x"]).unwrap();
                        backend.put(&name(&format!("{side}/record-{n}")), &[b"x"]).unwrap();
                    }
                });
            }
        });
        let mut crashes = 0;
        for crash in backend.crashes(6) {
            crashes += 1;
            for record in names(&crash.store).iter().filter(|name| name.contains("record")) {
                let pack = name(&record.replace("record", "pack"));
                assert!(crash.store.size(&pack).is_ok(), "{record} is there without its pack after {crash:?}");
            }
        }
        assert!(crashes > 160, "{crashes}");
    }
}
