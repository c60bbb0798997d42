//! The index at scale: a repository of chunks that have an id and no data to speak of, and what the index makes of it.
//!
//! Packs, directories and segments are written by the store's own session, so that the index is made from what it is made from anywhere.
//! Each step is a process of its own, for its memory.

mod chunks;
mod follow;
mod look;
mod made;
mod point;
mod storage;

pub use chunks::Chunks;
pub use follow::Followed;
pub use look::Looked;
pub use made::Made;
pub use point::{Point, Results};
pub use storage::Unsynced;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use cinderblock_store::{OpenOptions, Repository};

/// Opens the repository in `folder`, with its index beside it, as a command with so much memory does.
///
/// # Errors
/// It is not there, or can't be read.
pub fn open(folder: &Path, memory_mib: usize) -> Result<Repository> {
    let storage = Arc::new(Unsynced::open(&folder.join("repository"))?);
    // The command gives the store a quarter of its memory.
    let options = OpenOptions { memory_bytes: (memory_mib << 20) / 4, ..OpenOptions::new(folder.join("cache")) };
    Repository::open(storage, &options).context("the repository can't be opened")
}
