//! What is stored as one volume is backed up again and again, a little changed each time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::extents::{copy_sparse, data_units};
use crate::sample::Random;

/// Bytes of a place that changes: 64 KiB.
const RUN: u64 = 64 << 10;
/// Where it may begin: at the blocks of a file system, 4 KiB, which is no tool's grid.
const BLOCK: u64 = 4 << 10;
/// One in how many bytes of data changes from one backup to the next: 2 %.
const ONE_IN: u64 = 50;

/// A volume that changes.
#[derive(Debug)]
pub struct Growing {
    path: PathBuf,
    random: Random,
}

impl Growing {
    /// A copy of `volume` as the new file `path`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(volume: &Path, path: &Path) -> Result<Self> {
        copy_sparse(volume, path)?;
        Ok(Self { path: path.to_owned(), random: Random::new(2) })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Overwrites 2 % of the volume's data with bytes that compress to half, in runs of 64 KiB that begin at any
    /// block of 4 KiB. The same in every run of the program.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn change(&mut self) -> Result<()> {
        let context = || format!("cannot change {}", self.path.display());
        let file = File::options().read(true).write(true).open(&self.path).with_context(context)?;
        let units: Vec<_> = data_units(&file, BLOCK)?.into_iter().filter(|unit| unit.length as u64 >= RUN).collect();
        let bytes: u64 = units.iter().map(|unit| unit.length as u64).sum();
        anyhow::ensure!(!units.is_empty(), "{} has no data to change", self.path.display());
        let mut run = vec![0; RUN as usize];
        for _ in 0..(bytes / ONE_IN).div_ceil(RUN) {
            let unit = &units[(self.random.next_u64() % units.len() as u64) as usize];
            let places = (unit.length as u64 - RUN) / BLOCK + 1;
            let offset = unit.offset + self.random.next_u64() % places * BLOCK;
            self.random.fill_half_compressible(&mut run);
            file.write_all_at(&run, offset).with_context(context)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_two_percent_change_each_time_and_holes_stay() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        let mut bytes = vec![0; 16 << 20];
        Random::new(9).fill(&mut bytes);
        let file = File::create_new(&one).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file.set_len(64 << 20).unwrap();
        let mut growing = Growing::new(&one, &other).unwrap();
        growing.change().unwrap();
        let after = std::fs::read(growing.path()).unwrap();
        assert!(after[16 << 20..].iter().all(|&byte| byte == 0));
        let changed = bytes.chunks(4096).zip(after.chunks(4096)).filter(|(a, b)| a != b).count();
        let most = ((16 << 20) / 50_u64).div_ceil(RUN) * (RUN / BLOCK);
        assert!((most as usize / 2..=most as usize).contains(&changed), "{changed} of {most}");
    }
}
