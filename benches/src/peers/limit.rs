//! The limit's part of a [course](super::course).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::course::{Course, RESTORED, Subject};
use crate::limit::{Archive, Backup, Limit};
use crate::measure::Measured;

/// The limit's frames of all that a course backs up, in memory, which it restores from and verifies.
///
/// They are made once, unmeasured: what a backup takes is measured by a [`Runner`] that drops its frames.
#[derive(Debug)]
pub struct Frames {
    archive: Archive,
    threads: usize,
}

impl Frames {
    /// The frames of `volumes` and of the changed volume of `course`, on `threads` threads; the copy is made in the folder `work`.
    ///
    /// # Errors
    /// A volume cannot be read, or the copy not be made.
    pub fn of(volumes: &[PathBuf; 5], course: &Course, work: &Path, threads: usize) -> Result<Self> {
        let mut archive = Archive::of(volumes, threads)?;
        let changed = work.join("changed.img");
        course.make_changed(&changed)?;
        archive.add(&changed)?;
        fs::remove_file(&changed)?;
        Ok(Self { archive, threads })
    }

    /// A limit that has seen nothing.
    #[must_use]
    pub fn runner(&self) -> Runner<'_> {
        Runner { frames: self, limit: Limit::new(self.threads), done: Backup::default() }
    }
}

/// The limit as it runs a course.
#[derive(Debug)]
pub struct Runner<'a> {
    frames: &'a Frames,
    limit: Limit,
    done: Backup,
}

impl Subject for Runner<'_> {
    fn backup(&mut self, source: &Path, _volume: &str) -> Result<Measured> {
        let backup = self.limit.backup(source)?;
        self.done.add(&backup);
        Ok(Measured::of_wall(backup.seconds))
    }

    /// The backups of a course are the volumes, in order, until after the one that is restored.
    fn restore(&mut self, backup: usize, target: &Path) -> Result<Measured> {
        anyhow::ensure!(backup == RESTORED, "the limit restores one volume only");
        self.frames.archive.restore(backup, target).map(Measured::of_wall)
    }

    fn restore_over(&mut self, backup: usize, target: &Path) -> Result<Option<Measured>> {
        anyhow::ensure!(backup == RESTORED, "the limit restores one volume only");
        self.frames.archive.restore_over(backup, target).map(Measured::of_wall).map(Some)
    }

    fn verify(&mut self) -> Result<Option<Measured>> {
        self.frames.archive.verify().map(Measured::of_wall).map(Some)
    }

    fn stored_bytes(&self) -> Result<u64> {
        Ok(self.done.stored_bytes)
    }
}
