//! [`Followed`]: how long the index takes to follow what was added.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::index::{Chunks, open};
use crate::measure::peak_mib;

/// What following took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Followed {
    /// Chunks that were added.
    pub chunks: u64,
    /// Wall seconds of bringing them into the index.
    pub seconds: f64,
    /// Peak resident memory in MiB, with making the chunks.
    pub peak_mib: f64,
}

impl Followed {
    /// Adds `count` chunks to the repository in `folder`, and measures how the index follows.
    ///
    /// # Errors
    /// What the store says; a chunk that is not found afterwards.
    pub fn measure(folder: &Path, chunks: Chunks, count: u64, memory_mib: usize) -> Result<Self> {
        let repository = open(folder, memory_mib)?;
        repository.prepare_index()?;
        // Not the numbers that misses have.
        Chunks { count, ..chunks }.add(&repository, chunks.count)?;
        let start = Instant::now();
        repository.refresh_index()?;
        let seconds = start.elapsed().as_secs_f64();
        for number in (chunks.count..chunks.count + count).step_by(997) {
            ensure!(repository.indexed_place(&Chunks::id(number))?.is_some(), "chunk {number} was not found");
        }
        Ok(Self { chunks: count, seconds, peak_mib: peak_mib(std::process::id())? })
    }
}
