//! Deleting what is of no more use, on a storage that may not let this process.

use cinderblock_backend::{Backend, ObjectName};

use crate::error::Error;

/// Whether the storage has deleted what was of no more use, or does not let this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    Done,
    Refused,
}

/// Deletes what may be gone already, if the storage lets this process.
pub(crate) fn delete(backend: &dyn Backend, name: &ObjectName) -> Result<Deletion, Error> {
    match backend.discard(name) {
        Ok(()) => Ok(Deletion::Done),
        Err(error) if error.is_delete_refused() => Ok(Deletion::Refused),
        Err(error) => Err(error.into()),
    }
}
