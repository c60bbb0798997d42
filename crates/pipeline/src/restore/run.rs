//! What the threads of one restore share.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cinderblock_store::map::Leaf;
use cinderblock_store::{Record, Repository};
use rayon::ThreadPool;

use super::RestoreSummary;
use super::budget::Budget;
use super::find::{Finder, Lost};
use super::plan::{Job, Plan, Reach, Wanted};
use crate::engine::{Control, Engine, Progress, Warmed, in_flight, warm};
use crate::error::Error;

/// Chunks that are looked up at once: few enough that, each in another full pack, the directories take 38 MiB.
const GROUP_CHUNKS: usize = 64;

/// Memory of the directories of the packs that one plan reads, beyond which another plan is begun: 16 MiB.
const MAX_DIRECTORY_BYTES: usize = 16 << 20;

/// Why a restore ended early; becomes an [`Error`] once it is known whether the target was touched.
#[derive(Debug)]
pub(super) enum Failure {
    Cancelled,
    /// A part of the volume is lost.
    Lost(Lost),
    /// The target failed.
    Target {
        operation: &'static str,
        offset: u64,
        source: io::Error,
    },
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Failure::Lost(lost)
    }
}

/// Counters of a restore, in bytes.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub read: AtomicU64,
    pub written: AtomicU64,
    pub unchanged: AtomicU64,
    pub zero: AtomicU64,
}

/// One restore.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub pool: &'a ThreadPool,
    pub repository: &'a Repository,
    pub record: &'a Record,
    pub finder: Finder<'a>,
    pub control: &'a Control,
    pub budget: Budget,
    /// Requests at once that the storage wants.
    pub in_flight: usize,
    reach: Reach,
    pub counters: Counters,
    /// Set before the first byte of a file or device is changed.
    pub touched: AtomicBool,
    failure: Mutex<Option<Failure>>,
    stopped: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Run<'a> {
    /// `budget_bytes`: memory for jobs in flight.
    pub(super) fn new(
        engine: &'a Engine,
        repository: &'a Repository,
        record: &'a Record,
        control: &'a Control,
        budget_bytes: usize,
    ) -> Self {
        control.progress.total_bytes.store(record.volume_bytes, Ordering::Relaxed);
        let in_flight = in_flight(repository);
        Self {
            pool: &engine.pool,
            repository,
            record,
            finder: Finder::new(repository, record),
            control,
            budget: Budget::new(budget_bytes),
            in_flight,
            reach: Reach::new(in_flight, budget_bytes),
            counters: Counters::default(),
            touched: AtomicBool::new(false),
            failure: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.control.progress
    }

    /// Remembers the first failure, and lets all threads stop.
    pub(super) fn fail(&self, failure: Failure) {
        lock(&self.failure).get_or_insert(failure);
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Fails where the user asked to stop; false where another thread failed.
    pub(super) fn goes_on(&self) -> Result<bool, Failure> {
        if self.control.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        Ok(!self.stopped.load(Ordering::Relaxed))
    }

    /// The error of a failed restore, if it failed. Call it when no thread works any more. `stays` says whether what
    /// was written is still there.
    pub(super) fn outcome(&self, result: Result<(), Failure>, target: &Path, stays: bool) -> Result<(), Error> {
        let failure = lock(&self.failure).take().or(result.err());
        let partly_written = stays && self.touched.load(Ordering::Relaxed);
        Err(match failure {
            None => return Ok(()),
            Some(Failure::Cancelled) => Error::Cancelled { partly_written },
            Some(Failure::Lost(lost)) => lost.into_error(partly_written),
            Some(Failure::Target { operation, offset, source }) => {
                Error::Target { operation, path: target.to_owned(), offset, partly_written, source }
            }
        })
    }

    pub(super) fn summary(&self, milliseconds: u64) -> RestoreSummary {
        let counters = &self.counters;
        RestoreSummary {
            volume_bytes: self.record.volume_bytes,
            read_bytes: counters.read.load(Ordering::Relaxed),
            written_bytes: counters.written.load(Ordering::Relaxed),
            unchanged_bytes: counters.unchanged.load(Ordering::Relaxed),
            zero_bytes: counters.zero.load(Ordering::Relaxed),
            milliseconds,
        }
    }

    /// Reads ahead what the record names, and remembers what could not be read.
    pub(super) fn warm(&self) {
        // A host without an index would have to read the whole repository's to find what these packs have.
        let all = self.record.hints_complete && !self.repository.has_index();
        let warmed = if all { Warmed::AllThatFit } else { Warmed::IfFew };
        if let Some(error) = warm(self.pool, self.repository, self.record, warmed) {
            self.finder.unreadable(error);
        }
    }

    /// Calls `visit` for all leaves of the map in order, until it fails or another thread did.
    pub(super) fn each_leaf(&self, mut visit: impl FnMut(Leaf) -> Result<(), Failure>) -> Result<(), Failure> {
        self.finder.each_leaf(0..self.record.volume_bytes, |leaf| match self.goes_on()? {
            true => visit(leaf).map(|()| true),
            false => Ok(false),
        })
    }

    /// Finds chunks, and plans how to read them: the reads, and how many of the chunks they are for. It ends early where
    /// the chunks lie in so many packs that their directories would take too much memory.
    pub(super) fn plan(&self, wanted: &[Wanted]) -> Result<(Vec<Job>, usize), Failure> {
        let mut plan = Plan::default();
        let mut planned = 0;
        for group in wanted.chunks(GROUP_CHUNKS) {
            self.plan_group(group, &mut plan)?;
            planned += group.len();
            if plan.directory_bytes() > MAX_DIRECTORY_BYTES {
                break;
            }
        }
        Ok((plan.jobs(self.reach), planned))
    }

    fn plan_group(&self, wanted: &[Wanted], plan: &mut Plan) -> Result<(), Failure> {
        for (chunk, location) in wanted.iter().zip(self.finder.locate(wanted)?) {
            if !plan.add(*chunk, location) {
                return Err(self.finder.wrong_length(chunk.offset, chunk.length.into()).into());
            }
        }
        Ok(())
    }
}
