//! [`Made`]: how an index is made from segments.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::command::bytes_in;
use crate::index::open;
use crate::measure::peak_mib;

/// What making the index took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Made {
    /// Wall seconds.
    pub seconds: f64,
    /// Bytes of the index on the disk.
    pub bytes: u64,
    /// Packs that it knows.
    pub packs: u64,
    /// Peak resident memory in MiB.
    pub peak_mib: f64,
}

impl Made {
    /// Makes the index of the repository in `folder`, from its segments.
    ///
    /// # Errors
    /// What the store says; a segment or a pack that was not read.
    pub fn measure(folder: &Path, memory_mib: usize) -> Result<Self> {
        let repository = open(folder, memory_mib)?;
        let start = Instant::now();
        let report = repository.rebuild_index()?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(report.damage.is_empty() && report.adopted_packs == 0, "not all was in segments: {report:?}");
        let folder = repository.index_folder().join("index");
        let bytes = bytes_in(&folder)?;
        ensure!(bytes > 0, "there is nothing in {}", folder.display());
        Ok(Self { seconds, bytes, packs: report.packs, peak_mib: peak_mib(std::process::id())? })
    }
}
