//! [`Own`]: the objects that a backup has made, to be deleted again if it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::layout::ObjectPrefix;

/// Names of objects that one backup has published, or may have. Another one under the same prefix, which was begun in the same
/// second for the same id, has its own.
#[derive(Debug, Default)]
pub(crate) struct Own(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// Numbers of data objects, as runs: the first, and the one behind the last.
    data: BTreeMap<u64, u64>,
    documents: Vec<String>,
    others: BTreeSet<String>,
}

impl Own {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes data object `number`, named `name`.
    pub(super) fn data<T>(
        &self,
        number: u64,
        name: &str,
        publish: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.names().add(number);
        self.published(name, publish())
    }

    /// Publishes a document.
    pub(super) fn document<T>(&self, name: &str, publish: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.names().documents.push(name.to_owned());
        self.published(name, publish())
    }

    /// After any other failure the object may be there nevertheless.
    fn published<T>(&self, name: &str, published: Result<T, Error>) -> Result<T, Error> {
        if matches!(&published, Err(Error::Backend(error)) if error.is_already_exists()) {
            self.names().others.insert(name.to_owned());
        }
        published
    }

    /// Calls `delete` with each name, the documents first, and the metadata first of all.
    pub(crate) fn each(
        &self,
        prefix: &ObjectPrefix,
        mut delete: impl FnMut(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let names = self.names();
        let documents = names.documents.iter().rev().cloned();
        let data = names.data.iter().flat_map(|(first, end)| *first..*end).map(|number| prefix.data(number));
        documents.chain(data).filter(|name| !names.others.contains(name)).try_for_each(|name| delete(&name))
    }
}

impl Names {
    fn add(&mut self, number: u64) {
        let before = self.data.range(..=number).next_back().map(|(first, end)| (*first, *end));
        let first = match before {
            Some((_, end)) if end > number => return,
            Some((first, end)) if end == number => first,
            _ => number,
        };
        let end = self.data.remove(&(number + 1)).unwrap_or(number + 1);
        self.data.insert(first, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_any_order_become_runs() {
        let mut names = Names::default();
        for number in [5, 3, 4, 4, 9, 1, 2, 7] {
            names.add(number);
        }
        assert_eq!(names.data.into_iter().collect::<Vec<_>>(), [(1, 6), (7, 8), (9, 10)]);
    }
}
