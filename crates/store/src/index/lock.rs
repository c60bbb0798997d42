//! The lock file that keeps processes of one host from writing the index at once.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// A lock on the index folder, let go when dropped, or by the system when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no process writes.
    pub(crate) fn shared(folder: &Path) -> Result<Self, Error> {
        Self::take(folder, FlockOperation::LockShared)
    }

    /// Waits until no process writes or is about to open the database.
    pub(crate) fn exclusive(folder: &Path) -> Result<Self, Error> {
        Self::take(folder, FlockOperation::LockExclusive)
    }

    fn take(folder: &Path, operation: FlockOperation) -> Result<Self, Error> {
        let path = folder.join("lock");
        let failed = |source| Error::Cache { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        loop {
            match flock(&file, operation) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(failed(errno.into())),
                Ok(()) => return Ok(Self { _file: file }),
            }
        }
    }
}
