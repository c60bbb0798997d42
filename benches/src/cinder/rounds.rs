//! What one round measures, step by step, the real driver and ours in turn.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::ours::Ours;
use super::real::{Oracle, Real, Timed};
use super::{Form, busy};
use crate::extents::{compare, compare_beginning, copy_dense, copy_sparse};
use crate::measure::Measured;
use crate::rounds::in_turn;
use crate::sample::{change_blocks, write_garbage};

/// The steps of a round, in their order.
pub const STEPS: [&str; 7] = [
    "full backup",
    "increment, unchanged",
    "increment, 1 % changed",
    "restore to a new file",
    "restore over garbage",
    "restore over the same",
    "export",
];

/// Bytes of a hash block of Cinder's, the default of both: what an increment compares.
const BLOCK: u64 = 32 << 10;
/// A restored volume is a whole number of these: 1 GiB.
const GIB: u64 = 1 << 30;

/// One step of one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// One of [`STEPS`].
    pub name: &'static str,
    /// What the real driver took, if it is there.
    pub real: Option<Timed>,
    /// What our process took.
    pub ours: Measured,
    /// Processor seconds that other processes used while the two ran.
    pub others: f64,
}

/// What is measured.
#[derive(Debug)]
pub struct Bench {
    program: PathBuf,
    oracle: Option<Oracle>,
    work: PathBuf,
    volume: PathBuf,
    /// `volume` with 1 % of its blocks changed.
    changed: PathBuf,
    dense: bool,
}

/// Both sides of one round.
struct Pair<'a> {
    bench: &'a Bench,
    ours: Ours,
    real: Option<Real>,
    real_first: bool,
    /// What is restored to, removed after each.
    target: PathBuf,
}

impl Bench {
    /// A bench of the command `program` on `volume` or, with `dense`, on a copy without holes. It
    /// makes in the folder `work` what it needs: up to seven times the volume's length.
    ///
    /// # Errors
    /// The volume cannot be copied.
    pub fn new(program: PathBuf, oracle: Option<Oracle>, work: &Path, volume: &Path, dense: bool) -> Result<Self> {
        let copy = if dense { copy_dense } else { copy_sparse };
        let changed = work.join("changed.img");
        copy(volume, &changed)?;
        change_blocks(&changed, BLOCK, 100, 1)?;
        let volume = if dense {
            let dense = work.join("volume.img");
            copy(volume, &dense)?;
            dense
        } else {
            volume.to_owned()
        };
        Ok(Self { program, oracle, work: work.to_owned(), volume, changed, dense })
    }

    /// Measures all [`STEPS`] in the form `form`, and tells `report` of each. Every restored volume
    /// is compared with its original, which is not measured.
    ///
    /// # Errors
    /// A command fails, or a restored volume differs.
    pub fn round(&self, form: &Form, real_first: bool, mut report: impl FnMut(&Step)) -> Result<Vec<Step>> {
        let folder = self.work.join("round");
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let real = self.oracle.as_ref().map(|oracle| Real::new(oracle, &folder.join("real"), form)).transpose()?;
        let ours = Ours::new(&self.program, &folder.join("ours"), form)?;
        let pair = Pair { bench: self, ours, real, real_first, target: folder.join("restored.img") };
        let mut steps = Vec::new();
        pair.measure(|step| {
            report(&step);
            steps.push(step);
        })?;
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        Ok(steps)
    }

    fn length(&self) -> Result<u64> {
        Ok(self.volume.metadata().with_context(|| format!("cannot read {}", self.volume.display()))?.len())
    }
}

impl Pair<'_> {
    fn measure(mut self, mut done: impl FnMut(Step)) -> Result<()> {
        let mut names = STEPS.into_iter();
        let mut name = || names.next().unwrap_or_default();
        let volume = &self.bench.volume;

        let (mut real_full, mut ours_full) = (None, None);
        let mut full_seconds = None;
        for (volume, increment) in [(volume, false), (volume, true), (&self.bench.changed, true)] {
            let (real, ours) = (&mut self.real, &self.ours);
            let real_parent = real_full.clone().filter(|_| increment);
            let ours_parent = ours_full.clone().filter(|_| increment);
            let ((real, ours), others) = with_busy(|| {
                let real = || real.as_mut().map(|real| real.backup(volume, real_parent.as_deref())).transpose();
                in_turn(self.real_first, real, || ours.backup(volume, ours_parent.as_ref()))
            })?;
            let timed = real.as_ref().map(|(_, timed)| *timed);
            let used = timed.map_or(0.0, |timed| timed.process.cpu) + ours.1.cpu;
            done(Step { name: name(), real: timed, ours: ours.1, others: others - used });
            if !increment {
                (real_full, ours_full, full_seconds) = (real.map(|(id, _)| id), Some(ours.0), timed);
            }
        }
        let ours_full = ours_full.context("there is no full backup")?;

        for target in [Target::New, Target::Garbage, Target::Same] {
            let existing = target != Target::New;
            let real = || {
                let (Some(real), Some(id)) = (&self.real, &real_full) else { return Ok(None) };
                self.prepare(target, self.bench.length()?.next_multiple_of(GIB))?;
                let (timed, busy) = with_busy(|| real.restore(id, &self.target, existing))?;
                self.check()?;
                Ok(Some((timed, busy - timed.process.cpu)))
            };
            let ours = || {
                self.prepare(target, self.bench.length()?)?;
                let (measured, busy) = with_busy(|| self.ours.restore(&ours_full, &self.target, existing))?;
                compare(volume, &self.target)?;
                self.check()?;
                Ok((measured, busy - measured.cpu))
            };
            let (real, (ours, others)) = in_turn(self.real_first, real, ours)?;
            let others = others + real.map_or(0.0, |(_, others)| others);
            done(Step { name: name(), real: real.map(|(timed, _)| timed), ours, others });
        }

        // The repository and the exported objects take room: the real driver's are not needed.
        self.real = None;
        let backup = self.ours.fill_repository(volume)?;
        let ((place, measured), busy) = with_busy(|| self.ours.export(&backup))?;
        self.ours.restore_exported(&place, &self.target)?;
        compare(volume, &self.target)?;
        done(Step { name: name(), real: full_seconds, ours: measured, others: busy - measured.cpu });
        Ok(())
    }

    /// Makes what is restored over.
    fn prepare(&self, target: Target, length: u64) -> Result<()> {
        match target {
            Target::New => Ok(()),
            Target::Garbage => write_garbage(&self.target, length, 2),
            Target::Same => {
                let copy = if self.bench.dense { copy_dense } else { copy_sparse };
                copy(&self.bench.volume, &self.target)?;
                let file = fs::File::options().write(true).open(&self.target)?;
                file.set_len(length).with_context(|| format!("cannot extend {}", self.target.display()))
            }
        }
    }

    /// Compares what was restored, and removes it.
    fn check(&self) -> Result<()> {
        compare_beginning(&self.target, &self.bench.volume)?;
        fs::remove_file(&self.target).with_context(|| format!("cannot remove {}", self.target.display()))
    }
}

/// What a restore finds at its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    New,
    Garbage,
    Same,
}

/// Runs `work`; the processor seconds that everybody used meanwhile.
fn with_busy<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let before = busy::seconds()?;
    let done = work()?;
    Ok((done, busy::seconds()? - before))
}
