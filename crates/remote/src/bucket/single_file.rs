//! [`SingleFile`]: one thread at a time for each name.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cinderblock_backend::ObjectName;

/// Lets the threads of this process do something to an object one after the other.
#[derive(Debug, Default)]
pub(super) struct SingleFile {
    inside: Mutex<HashSet<ObjectName>>,
    left: Condvar,
}

/// Whoever has it is alone with a name.
pub(super) struct Alone<'a> {
    file: &'a SingleFile,
    name: &'a ObjectName,
}

impl SingleFile {
    /// Waits until nobody else is at this name.
    pub(super) fn enter<'a>(&'a self, name: &'a ObjectName) -> Alone<'a> {
        let mut inside = self.lock();
        while !inside.insert(name.clone()) {
            inside = self.left.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        Alone { file: self, name }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ObjectName>> {
        // A set is whole after each of its operations.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.file.lock().remove(self.name);
        self.file.left.notify_all();
    }
}
