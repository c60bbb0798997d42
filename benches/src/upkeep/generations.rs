//! The volumes as they change from backup to backup.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::extents::copy_sparse;
use crate::limit::CHUNK;
use crate::sample::Random;
use crate::volumes::NAMES;

/// Copies of the five volumes that change a little from one generation to the next.
#[derive(Debug)]
pub struct Generations {
    paths: [PathBuf; 5],
    blocks: usize,
    random: Random,
}

impl Generations {
    /// Copies `volumes` into the new folder `folder`. Each [`advance`](Self::advance) will change `blocks`
    /// blocks in each.
    ///
    /// # Errors
    /// The folder exists, or a volume cannot be copied.
    pub fn new(volumes: &[PathBuf; 5], folder: &Path, blocks: usize) -> Result<Self> {
        std::fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let paths = NAMES.map(|name| folder.join(name));
        for (volume, copy) in volumes.iter().zip(&paths) {
            copy_sparse(volume, copy)?;
        }
        Ok(Self { paths, blocks, random: Random::new(20) })
    }

    /// The copies, in the order of [`NAMES`].
    #[must_use]
    pub fn paths(&self) -> &[PathBuf; 5] {
        &self.paths
    }

    /// Fills blocks of 32 KiB anywhere in each volume with bytes that compress to half. The same
    /// blocks with the same bytes in every run.
    ///
    /// # Errors
    /// A copy cannot be written.
    pub fn advance(&mut self) -> Result<()> {
        let mut bytes = vec![0; CHUNK];
        for path in &self.paths {
            let write = || format!("cannot write {}", path.display());
            let file = OpenOptions::new().write(true).open(path).with_context(write)?;
            let blocks = (file.metadata()?.len() / CHUNK as u64).max(1);
            for _ in 0..self.blocks {
                self.random.fill_half_compressible(&mut bytes);
                let offset = self.random.next_u64() % blocks * CHUNK as u64;
                file.write_all_at(&bytes, offset).with_context(write)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_changes_the_copies_by_the_blocks_named_and_never_the_volumes() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = NAMES.map(|name| folder.path().join(name));
        for path in &volumes {
            std::fs::write(path, vec![0; 64 * CHUNK]).unwrap();
        }
        let mut generations = Generations::new(&volumes, &folder.path().join("copies"), 5).unwrap();
        generations.advance().unwrap();
        for (volume, copy) in volumes.iter().zip(generations.paths()) {
            let (volume, copy) = (std::fs::read(volume).unwrap(), std::fs::read(copy).unwrap());
            assert_eq!(volume, vec![0; 64 * CHUNK]);
            let changed = volume.chunks(CHUNK).zip(copy.chunks(CHUNK)).filter(|(a, b)| a != b).count();
            assert!((1..=5).contains(&changed), "{changed} blocks changed");
        }
    }
}
