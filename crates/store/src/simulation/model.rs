//! What ought to be in the repository.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cinderblock_backend::Memory;

use crate::id::{BackupId, ChunkId};
use crate::seal::Seal;

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
#[derive(Debug)]
pub(super) struct Model {
    /// The store without its weather.
    pub storage: Arc<Memory>,
    seal: Seal,
    backups: Mutex<BTreeMap<BackupId, Known>>,
    /// Chunks and nodes a copy of which went bad, and when that was last: at the how manyth time. None of them is repaired.
    rotten: Mutex<BTreeMap<ChunkId, u64>>,
    /// The same, with those that were repaired.
    ever_rotten: Mutex<BTreeMap<ChunkId, u64>>,
    rotted: AtomicU64,
    violations: Mutex<Vec<String>>,
}

impl Model {
    pub fn new(storage: Arc<Memory>, seal: Seal) -> Self {
        Self {
            storage,
            seal,
            backups: Mutex::default(),
            rotten: Mutex::default(),
            ever_rotten: Mutex::default(),
            rotted: AtomicU64::new(0),
            violations: Mutex::default(),
        }
    }

    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    pub fn rotten(&self) -> MutexGuard<'_, BTreeMap<ChunkId, u64>> {
        self.rotten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies of these went bad.
    pub fn rot(&self, ids: impl Iterator<Item = ChunkId>) {
        let time = self.rotted.fetch_add(1, Ordering::Relaxed) + 1;
        let ids: Vec<(ChunkId, u64)> = ids.map(|id| (id, time)).collect();
        self.rotten().extend(ids.iter().copied());
        self.ever_rotten.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    /// How often anything went bad.
    pub fn rotted(&self) -> u64 {
        self.rotted.load(Ordering::Relaxed)
    }

    /// Whether a copy of this went bad after so many times.
    pub fn rotted_since(&self, id: &ChunkId, times: u64) -> bool {
        let rotten = self.ever_rotten.lock().unwrap_or_else(PoisonError::into_inner);
        rotten.get(id).is_some_and(|time| *time > times)
    }

    /// Whether anything ever went bad.
    pub fn has_rotted(&self) -> bool {
        self.rotted() > 0
    }

    /// A repair is done that began when these were rotten. What went bad since then may not have been seen.
    pub fn healed(&self, before: &BTreeMap<ChunkId, u64>) {
        self.rotten().retain(|id, time| before.get(id) != Some(time));
    }

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
