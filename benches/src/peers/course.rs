//! The course that each tool and the limit run: the steps of one round.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::results::Round;
use crate::extents::{compare, copy_dense, copy_sparse};
use crate::limit::CHUNK;
use crate::measure::Measured;
use crate::sample::change_blocks;
use crate::volumes::NAMES;

/// Position of the volume that is backed up again, unchanged and changed: web.img.
pub const AGAIN: usize = 1;
/// Position of the volume that is restored, also over the one at [`AGAIN`]: web-day2.img.
pub const RESTORED: usize = 2;
/// One in how many chunks is changed: 1 %.
const CHANGED_ONE_IN: u64 = 100;

/// A step of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The first volume, into an empty repository.
    First,
    /// The other four of the family.
    Family,
    /// One of them again, as it is.
    Unchanged,
    /// The same with 1 % of its chunks changed, at random.
    Changed,
    /// A volume to a new file.
    Restore,
    /// A volume over an older version of it.
    RestoreOver,
    /// Reading and checking all stored bytes.
    Verify,
}

impl Step {
    /// All steps, in the order in which they run.
    pub const ALL: [Self; 7] =
        [Self::First, Self::Family, Self::Unchanged, Self::Changed, Self::Restore, Self::RestoreOver, Self::Verify];

    /// What it is called in tables and plots.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::First => "first backup",
            Self::Family => "four similar volumes",
            Self::Unchanged => "one again, unchanged",
            Self::Changed => "1 % of chunks changed",
            Self::Restore => "restore to a new file",
            Self::RestoreOver => "restore over an older version",
            Self::Verify => "verify all data",
        }
    }
}

/// A tool with an empty repository, or the limit.
pub trait Subject {
    /// Backs up the volume in the file `source`, as the next backup of the volume named `volume`.
    ///
    /// # Errors
    /// The command fails.
    fn backup(&mut self, source: &Path, volume: &str) -> Result<Measured>;

    /// Restores the backup of that number, from 0, to the new file `target`.
    ///
    /// # Errors
    /// The command fails.
    fn restore(&mut self, backup: usize, target: &Path) -> Result<Measured>;

    /// Restores the backup of that number over an older version of it in the file `target`. `None` where it only
    /// writes new files.
    ///
    /// # Errors
    /// The command fails, or that backup was not restored to a new file before.
    fn restore_over(&mut self, backup: usize, target: &Path) -> Result<Option<Measured>>;

    /// Reads and checks every stored byte. `None` where it can't.
    ///
    /// # Errors
    /// The command fails.
    fn verify(&mut self) -> Result<Option<Measured>>;

    /// Bytes that are stored.
    ///
    /// # Errors
    /// A folder cannot be listed.
    fn stored_bytes(&self) -> Result<u64>;
}

/// The volumes of a course, and where copies of them are made.
#[derive(Debug)]
pub struct Course {
    volumes: [PathBuf; 5],
    work: PathBuf,
    dense: bool,
}

impl Course {
    /// A course with `volumes`, as they are or `dense`: without holes, as a block device shows them. Copies go into the folder
    /// `work`, one or two at a time.
    #[must_use]
    pub fn new(volumes: &[PathBuf; 5], work: &Path, dense: bool) -> Self {
        Self { volumes: volumes.clone(), work: work.to_owned(), dense }
    }

    /// Makes the copy of a volume in which 1 % of the chunks are changed, as the new file `path`. The same in every run.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_changed(&self, path: &Path) -> Result<()> {
        self.copy(AGAIN, path)?;
        change_blocks(path, CHUNK as u64, CHANGED_ONE_IN, 1)
    }

    /// Runs all steps with `subject`, whose repository is empty. Each restored volume is compared with its original, which is not measured.
    ///
    /// # Errors
    /// The subject fails, a restored volume differs, or a copy cannot be made.
    pub fn run(&self, subject: &mut dyn Subject) -> Result<Round> {
        let mut round = Round::default();
        for (step, positions) in [(Step::First, &[0][..]), (Step::Family, &[1, 2, 3, 4]), (Step::Unchanged, &[AGAIN])] {
            let mut all = Measured::default();
            for &position in positions {
                all.add(&self.back_up(subject, position).with_context(|| step.title())?);
            }
            round.add(step, all);
        }
        let changed = self.work.join("changed.img");
        self.make_changed(&changed)?;
        round.add(Step::Changed, subject.backup(&changed, NAMES[AGAIN]).context(Step::Changed.title())?);
        fs::remove_file(&changed)?;

        let (target, volume) = (self.work.join("restored.img"), &self.volumes[RESTORED]);
        let restore = subject.restore(RESTORED, &target).context(Step::Restore.title())?;
        compare(volume, &target)?;
        fs::remove_file(&target)?;
        round.add(Step::Restore, restore);

        self.copy(AGAIN, &target)?;
        match subject.restore_over(RESTORED, &target).context(Step::RestoreOver.title())? {
            Some(over) => {
                compare(volume, &target)?;
                round.add(Step::RestoreOver, over);
            }
            None => round.add(Step::RestoreOver, restore),
        }
        fs::remove_file(&target)?;
        if let Some(verify) = subject.verify().context(Step::Verify.title())? {
            round.add(Step::Verify, verify);
        }
        round.stored_bytes = subject.stored_bytes()?;
        Ok(round)
    }

    fn back_up(&self, subject: &mut dyn Subject, position: usize) -> Result<Measured> {
        if !self.dense {
            return subject.backup(&self.volumes[position], NAMES[position]);
        }
        let copy = self.work.join(NAMES[position]);
        copy_dense(&self.volumes[position], &copy)?;
        let measured = subject.backup(&copy, NAMES[position])?;
        fs::remove_file(&copy)?;
        Ok(measured)
    }

    fn copy(&self, position: usize, path: &Path) -> Result<()> {
        let copy = if self.dense { copy_dense } else { copy_sparse };
        copy(&self.volumes[position], path)
    }
}
