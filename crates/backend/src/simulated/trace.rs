//! [`Trace`]: what happened in a simulation, as a hash and, if asked for, as text.

use std::collections::HashMap;
use std::time::Duration;

use super::random::{FNV_START, fnv};

/// What happened, in order.
///
/// The hash does not know the names of objects, only which is which: the first that an operation names is 0, the next
/// that is another is 1. So code that draws random names has the same trace as long as it does the same.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) hash: u64,
    pub(super) operations: u64,
    pub(super) log: Option<Vec<String>>,
    ordinals: HashMap<String, u32>,
}

/// One thing that happened.
pub(super) struct Entry<'a> {
    pub(super) clock: Duration,
    pub(super) actor: usize,
    pub(super) actor_name: &'a str,
    /// What was done, as a verb.
    pub(super) verb: &'static str,
    /// The object or prefix; empty where there is none.
    pub(super) name: &'a str,
    pub(super) outcome: &'static str,
}

impl Trace {
    pub(super) fn new() -> Trace {
        Trace { hash: FNV_START, operations: 0, log: None, ordinals: HashMap::new() }
    }

    pub(super) fn record(&mut self, entry: &Entry<'_>) {
        let next = self.ordinals.len() as u32;
        let ordinal = match self.ordinals.get(entry.name) {
            Some(ordinal) => *ordinal,
            None => *self.ordinals.entry(entry.name.to_owned()).or_insert(next),
        };
        let mut hash = fnv(self.hash, &(entry.clock.as_nanos() as u64).to_le_bytes());
        hash = fnv(hash, &(entry.actor as u64).to_le_bytes());
        hash = fnv(hash, entry.verb.as_bytes());
        hash = fnv(hash, &ordinal.to_le_bytes());
        self.hash = fnv(hash, entry.outcome.as_bytes());
        if let Some(log) = &mut self.log {
            let Entry { clock, actor_name, verb, name, outcome, .. } = entry;
            let separator = if name.is_empty() { "" } else { " " };
            log.push(format!("{:.6} {actor_name}: {verb}{separator}{name}: {outcome}", clock.as_secs_f64()));
        }
    }

    /// When the object was first named by an operation, among all names; the last for one that never was.
    pub(super) fn ordinal(&self, name: &str) -> u32 {
        self.ordinals.get(name).copied().unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(names: &[&str]) -> u64 {
        let mut trace = Trace::new();
        for name in names {
            let entry = Entry { clock: Duration::ZERO, actor: 1, actor_name: "a", verb: "put", name, outcome: "ok" };
            trace.record(&entry);
        }
        trace.hash
    }

    #[test]
    fn the_hash_knows_which_object_is_which_but_not_its_name() {
        assert_eq!(trace(&["x", "y", "x"]), trace(&["p", "q", "p"]));
        assert_ne!(trace(&["x", "y", "x"]), trace(&["x", "y", "y"]));
        assert_ne!(trace(&["x", "y"]), trace(&["x", "y", "x"]));
    }
}
