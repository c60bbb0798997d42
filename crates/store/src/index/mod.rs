//! Where chunks are: RocksDB on disk, and the directories of the packs in use in memory.
//!
//! The index is a cache (invariant I3). It lives in a folder of the host, never in the repository; deleted, it is rebuilt
//! from the index segments, and those from the packs' directories.
//!
//! **RocksDB** maps the first 10 bytes of a chunk's id to a pack's number and the chunk's slot in that pack: 16 bytes.
//! The rest stands in the pack's directory. **The neighbourhood** keeps directories that were met: chunks that were
//! written together are looked up together, so that after one look-up in RocksDB the next thousand are answered from memory.
//!
//! **Several processes of one host** share the folder, though RocksDB lets only one process write. A process opens
//! the database for reading, and only to follow new segments does it take an exclusive file lock, open it for writing,
//! add what is new, and close it. Readers hold every file of the database open from the start, so that a writer that
//! compacts and deletes files does not disturb them; the moment of opening is guarded by a shared lock.

mod database;
mod entry;
mod follow;
mod intake;
mod lock;
#[cfg(test)]
pub(crate) mod memory;
mod neighbourhood;
mod share;
mod sort;
#[cfg(test)]
mod tests;

pub(crate) use database::PackEntry;
pub(crate) use follow::{open, rebuild};
pub(crate) use neighbourhood::Neighbourhood;
pub(crate) use share::Share;

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::id::{ChunkId, PackId};

/// The database in a host's folder of a repository.
fn folder(folder: &Path) -> PathBuf {
    folder.join("index")
}

/// Whether there is an index in a host's folder of a repository.
pub(crate) fn is_there(folder: &Path) -> bool {
    self::folder(folder).join("CURRENT").exists()
}

/// What answers where a chunk is.
pub(crate) trait Index: Send + Sync + std::fmt::Debug {
    /// The pack and slot of a chunk. The first 10 bytes of the id decide: the directory has the rest.
    fn locate(&self, id: &ChunkId) -> Result<Option<(PackEntry, u32)>, Error>;

    /// Up to `count` packs of the same content that came after this one: mostly they were written after it, by the same session.
    fn packs_after(&self, pack: &PackEntry, count: u32) -> Result<Vec<PackId>, Error>;

    /// Whether it knows a pack.
    fn has_pack(&self, id: PackId) -> Result<bool, Error>;

    /// The packs that it knows.
    fn packs(&self) -> Result<Vec<PackEntry>, Error>;
}
