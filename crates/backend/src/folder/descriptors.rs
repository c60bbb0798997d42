//! The files that [`read_into`](crate::Backend::read_into) keeps open.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ObjectName;

/// How many files stay open: a restore reads from a few packs at a time, and the usual limit of a process is 1024.
pub(super) const CAPACITY: usize = 64;

/// Open files by object, the least recently used going first.
///
/// Invariant: no object is here whose deletion by the same [`Folder`](super::Folder) has returned.
#[derive(Default)]
pub(super) struct Descriptors(Mutex<Open>);

#[derive(Default)]
struct Open {
    files: HashMap<ObjectName, (Arc<File>, u64)>,
    /// Counts uses; each file carries the count of its last one.
    uses: u64,
    /// Counts calls of `forget`.
    deletions: u64,
}

impl Descriptors {
    /// The open file, or else the number of deletions so far, to be given to [`insert`](Self::insert).
    pub(super) fn get(&self, name: &ObjectName) -> Result<Arc<File>, u64> {
        let mut open = self.lock();
        let open = &mut *open;
        open.uses += 1;
        match open.files.get_mut(name) {
            Some((file, last_use)) => {
                *last_use = open.uses;
                Ok(Arc::clone(file))
            }
            None => Err(open.deletions),
        }
    }

    /// Keeps a file that was opened after `deletions` was read, unless something was deleted since: that may
    /// have been this object.
    pub(super) fn insert(&self, name: &ObjectName, file: Arc<File>, deletions: u64) {
        let mut open = self.lock();
        if open.deletions != deletions {
            return;
        }
        let mut evicted = None;
        if open.files.len() >= CAPACITY {
            let oldest = open.files.iter().min_by_key(|(_, (_, last_use))| *last_use).map(|(name, _)| name.clone());
            evicted = oldest.and_then(|oldest| open.files.remove(&oldest));
        }
        open.uses += 1;
        let last_use = open.uses;
        let replaced = open.files.insert(name.clone(), (file, last_use));
        drop(open);
        // Closing a file can wait for a network; no other thread has to.
        drop((evicted, replaced));
    }

    /// Closes the object's file and returns the number of deletions.
    pub(super) fn forget(&self, name: &ObjectName) -> u64 {
        let mut open = self.lock();
        open.deletions += 1;
        let deletions = open.deletions;
        let closed = open.files.remove(name);
        drop(open);
        drop(closed);
        deletions
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing that holds the lock panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> ObjectName {
        ObjectName::new(format!("o{n}")).unwrap()
    }

    fn any_file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn the_least_recently_used_file_is_closed_first() {
        let descriptors = Descriptors::default();
        for n in 0..CAPACITY {
            descriptors.insert(&name(n), any_file(), 0);
        }
        assert!(descriptors.get(&name(0)).is_ok());
        descriptors.insert(&name(CAPACITY), any_file(), 0);

        assert!(descriptors.get(&name(0)).is_ok());
        assert!(descriptors.get(&name(1)).is_err());
        assert!(descriptors.get(&name(CAPACITY)).is_ok());
        assert_eq!(descriptors.lock().files.len(), CAPACITY);
    }

    #[test]
    fn a_file_that_was_opened_before_a_deletion_is_not_kept_after_it() {
        let descriptors = Descriptors::default();
        let deletions = descriptors.get(&name(1)).unwrap_err();
        descriptors.forget(&name(1));
        descriptors.insert(&name(1), any_file(), deletions);
        assert!(descriptors.get(&name(1)).is_err());
    }
}
