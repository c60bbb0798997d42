//! What one round measures, step by step, the limit and the command in turn.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Cinderblock;
use crate::extents::{compare, copy_dense, copy_sparse};
use crate::limit::{Archive, Backup, Limit};
use crate::measure::Measured;
use crate::report::{Round, Step};
use crate::volumes::{NAMES, make_sparse_4t};

/// Position of the volume that is backed up a second time, unchanged: web.img.
const UNCHANGED: usize = 1;
/// Position of the volume that is restored, also over the one at `UNCHANGED`: web-day2.img.
const RESTORED: usize = 2;

/// The command, the volumes and the limit.
#[derive(Debug)]
pub struct Bench {
    program: PathBuf,
    work: PathBuf,
    volumes: [PathBuf; 5],
    command_threads: Option<usize>,
    limit_threads: usize,
    /// The limit's frames of all volumes, which it restores from and verifies.
    archive: Archive,
}

impl Bench {
    /// A bench of the command `program` on `volumes`, which puts repositories and copies into the
    /// folder `work`. `threads` are the limit's and the command's; without it, all cores and the
    /// command's own default.
    ///
    /// # Errors
    /// The cores cannot be counted, or a volume cannot be read.
    pub fn new(program: PathBuf, work: &Path, volumes: [PathBuf; 5], threads: Option<usize>) -> Result<Self> {
        let limit_threads = match threads {
            Some(threads) => threads.max(1),
            None => std::thread::available_parallelism().context("cannot count the cores")?.get(),
        };
        let archive = Archive::of(&volumes, limit_threads)?;
        Ok(Self { program, work: work.to_owned(), volumes, command_threads: threads, limit_threads, archive })
    }

    /// Threads of the limit.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.limit_threads
    }

    /// Measures the volumes as they are: backups, restores, verification and the stored bytes.
    /// Every restored volume is compared with its original, which is not measured.
    ///
    /// # Errors
    /// The command fails, or a restored volume differs.
    pub fn sparse(&self, limit_first: bool, round: &mut Round) -> Result<()> {
        let mut pair = self.pair(limit_first)?;
        let mut restored = String::new();
        let steps = ["first", "family", "unchanged"];
        for (name, positions) in steps.into_iter().zip([&[0][..], &[1, 2, 3, 4], &[UNCHANGED]]) {
            let mut both = Both::default();
            for &position in positions {
                let id = pair.backup(&self.volumes[position], NAMES[position], &mut both)?;
                if position == RESTORED {
                    restored = id;
                }
            }
            round.limit_stored_bytes += both.limit.stored_bytes;
            round.steps.push(both.step(name));
        }

        let (target, volume) = (self.work.join("restored.img"), &self.volumes[RESTORED]);
        let limit_restore = || {
            let seconds = self.archive.restore(RESTORED, &target)?;
            compare(volume, &target)?;
            fs::remove_file(&target)?;
            anyhow::Ok(seconds)
        };
        let restore = || {
            let measured = pair.command.restore(&restored, &target)?;
            compare(volume, &target)?;
            fs::remove_file(&target)?;
            anyhow::Ok(measured)
        };
        let (limit, measured) = in_turn(limit_first, limit_restore, restore)?;
        round.steps.push(Step { name: "restore", measured, limit: Some(limit) });

        let over = |restore: &dyn Fn() -> Result<Measured>| {
            copy_sparse(&self.volumes[UNCHANGED], &target)?;
            let measured = restore()?;
            compare(volume, &target)?;
            fs::remove_file(&target)?;
            anyhow::Ok(measured)
        };
        let limit_restore = || over(&|| self.archive.restore_over(RESTORED, &target).map(Measured::of_wall));
        let restore = || over(&|| pair.command.restore_existing(&restored, &target));
        let (limit, measured) = in_turn(limit_first, limit_restore, restore)?;
        round.steps.push(Step { name: "restore over an older version", measured, limit: Some(limit.wall) });

        let (limit, measured) = in_turn(limit_first, || self.archive.verify(), || pair.command.verify())?;
        round.steps.push(Step { name: "verify", measured, limit: Some(limit) });
        round.stored_bytes = pair.command.stored_bytes()?;
        pair.remove()
    }

    /// Measures backups of the volumes without their holes, as block devices would show them. One
    /// dense copy exists at a time.
    ///
    /// # Errors
    /// The command fails, or a copy does.
    pub fn dense(&self, limit_first: bool, round: &mut Round) -> Result<()> {
        let mut pair = self.pair(limit_first)?;
        let copy = self.work.join("dense.img");
        let steps = ["first, dense", "family, dense", "unchanged, dense"];
        for (name, positions) in steps.into_iter().zip([&[0][..], &[1, 2, 3, 4], &[UNCHANGED]]) {
            let mut both = Both::default();
            for &position in positions {
                copy_dense(&self.volumes[position], &copy)?;
                pair.backup(&copy, NAMES[position], &mut both)?;
                fs::remove_file(&copy)?;
            }
            round.steps.push(both.step(name));
        }
        pair.remove()
    }

    /// Measures backups of a sparse volume of 4 TiB with 2 GiB of data.
    ///
    /// # Errors
    /// The command fails, or the volume cannot be made.
    pub fn sparse_4t(&self, limit_first: bool, round: &mut Round) -> Result<()> {
        let mut pair = self.pair(limit_first)?;
        let volume = self.work.join("sparse-4t.img");
        make_sparse_4t(&volume)?;
        for name in ["sparse 4 TiB", "sparse 4 TiB, unchanged"] {
            let mut both = Both::default();
            pair.backup(&volume, "sparse-4t", &mut both)?;
            round.steps.push(both.step(name));
        }
        fs::remove_file(&volume)?;
        pair.remove()
    }

    /// An empty repository, and a limit that has seen nothing.
    fn pair(&self, limit_first: bool) -> Result<Pair> {
        let folder = self.work.join("cinderblock");
        let command = Cinderblock::init(&self.program, &folder, self.command_threads)?;
        Ok(Pair { command, folder, limit: Limit::new(self.limit_threads), limit_first })
    }
}

/// A repository of the command and its counterpart at the limit, given the same volumes.
struct Pair {
    command: Cinderblock,
    folder: PathBuf,
    limit: Limit,
    limit_first: bool,
}

impl Pair {
    /// Backs `source` up on both sides; the id of the command's backup.
    fn backup(&mut self, source: &Path, volume_id: &str, both: &mut Both) -> Result<String> {
        let (limit, command) = (&self.limit, &mut self.command);
        let (done, (id, measured)) =
            in_turn(self.limit_first, || limit.backup(source), || command.backup(source, volume_id))?;
        both.limit.add(&done);
        both.measured.add(&measured);
        Ok(id)
    }

    fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }
}

/// What a step took so far, on both sides.
#[derive(Default)]
struct Both {
    limit: Backup,
    measured: Measured,
}

impl Both {
    fn step(self, name: &'static str) -> Step {
        Step { name, measured: self.measured, limit: Some(self.limit.seconds) }
    }
}

/// Runs both, `one` first or last: whoever comes second finds the processor's caches warm, so the
/// rounds alternate.
pub(crate) fn in_turn<A, B>(
    one_first: bool,
    one: impl FnOnce() -> Result<A>,
    other: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    if one_first {
        let one = one()?;
        Ok((one, other()?))
    } else {
        let other = other()?;
        Ok((one()?, other))
    }
}
