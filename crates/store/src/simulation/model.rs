//! What ought to be in the repository.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::BackupId;

/// Bytes of a chunk.
pub(super) const CHUNK: usize = 4096;

/// What a volume holds: at so many chunks from its start, the chunk of a seed. All else is zero.
pub(super) type Volume = BTreeMap<u64, u64>;

/// Chunks of the volumes: their maps have leaves of their own.
pub(super) const VOLUME_CHUNKS: u64 = 1500;

/// The bytes of a chunk.
pub(super) fn chunk(seed: u64) -> Vec<u8> {
    let line = format!("line of chunk {seed}, which compresses well; ");
    line.bytes().cycle().take(CHUNK).collect()
}

/// What is known of a backup.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub volume: Volume,
    /// It was reported as committed.
    pub committed: bool,
    /// Its commit was refused for good: it must not be there.
    pub refused: bool,
    /// Somebody has begun to delete it.
    pub deleted: bool,
}

/// All backups that anybody tried to make.
#[derive(Debug, Default)]
pub(super) struct Model {
    backups: Mutex<BTreeMap<BackupId, Known>>,
    violations: Mutex<Vec<String>>,
}

impl Model {
    pub fn backups(&self) -> MutexGuard<'_, BTreeMap<BackupId, Known>> {
        self.backups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was seen that must not be.
    pub fn violated(&self, what: String) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// The first of these.
    pub fn verdict(&self) -> Result<(), String> {
        let violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        violations.first().map_or(Ok(()), |first| Err(first.clone()))
    }
}
