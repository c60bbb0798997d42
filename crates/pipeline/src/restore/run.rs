//! What the threads of one restore share.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cinderblock_store::map::{Leaf, PieceContent};
use cinderblock_store::pack::FRAME_MAX_BYTES;
use cinderblock_store::{Error as StoreError, Location, Record, Repository};
use rayon::ThreadPool;

use super::RestoreSummary;
use super::budget::Budget;
use super::plan::{Job, Plan, Wanted};
use crate::engine::{Control, Engine, Progress, warm};
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
    Lost {
        offset: u64,
        length: u64,
        source: StoreError,
    },
    /// The target failed.
    Target {
        operation: &'static str,
        offset: u64,
        source: io::Error,
    },
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
    pub control: &'a Control,
    pub budget: Budget,
    pub counters: Counters,
    /// Set before the first byte of a file or device is changed.
    pub touched: AtomicBool,
    failure: Mutex<Option<Failure>>,
    stopped: AtomicBool,
    /// Whether the index was brought up to date.
    refreshed: Mutex<bool>,
    /// A pack that the record names and that can't be read: probably why a chunk is missing.
    unreadable_pack: Mutex<Option<StoreError>>,
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
        Self {
            pool: &engine.pool,
            repository,
            record,
            control,
            budget: Budget::new(budget_bytes),
            counters: Counters::default(),
            touched: AtomicBool::new(false),
            failure: Mutex::default(),
            stopped: AtomicBool::new(false),
            refreshed: Mutex::new(false),
            unreadable_pack: Mutex::default(),
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
            Some(Failure::Lost { offset, length, source }) => {
                Error::Unrestorable { offset, length, partly_written, source }
            }
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
        if let Some(error) = warm(self.pool, self.repository, self.record) {
            lock(&self.unreadable_pack).get_or_insert(error);
        }
    }

    /// Brings the index up to date and forgets what is in memory, for a reader that misses something which a
    /// garbage collector may have moved; once for a restore. Whether this call did it.
    pub(super) fn refresh(&self) -> Result<bool, StoreError> {
        let mut refreshed = lock(&self.refreshed);
        if *refreshed {
            return Ok(false);
        }
        *refreshed = true;
        self.repository.forget_packs();
        self.repository.refresh_index()?;
        Ok(true)
    }

    /// Calls `visit` for all leaves of the map in order, until it fails or another thread did.
    pub(super) fn each_leaf(&self, mut visit: impl FnMut(Leaf) -> Result<(), Failure>) -> Result<(), Failure> {
        let size = self.record.volume_bytes;
        let (mut position, mut searched) = (0, None);
        'again: loop {
            for leaf in self.repository.leaves(self.record, position..size) {
                if !self.goes_on()? {
                    return Ok(());
                }
                let unreadable = match leaf {
                    Ok(leaf) => {
                        position = leaf.offset + leaf.length;
                        visit(leaf)?;
                        continue;
                    }
                    Err(unreadable) => unreadable,
                };
                let (offset, length) = (unreadable.offset, unreadable.length);
                let lost = |source| Failure::Lost { offset, length, source };
                if unreadable.error.is_damage() && self.refresh().map_err(lost)? {
                    continue 'again;
                }
                if let StoreError::ChunkMissing { id } = unreadable.error
                    && searched != Some(id)
                {
                    // Looking for it loads the directory that has it.
                    searched = Some(id);
                    let mut found = false;
                    let search = self.repository.search(&HashSet::from([id]), &mut |_, _| found = true);
                    search.map_err(lost)?;
                    if found {
                        continue 'again;
                    }
                }
                return Err(lost(self.likely_cause(unreadable.error)));
            }
            return Ok(());
        }
    }

    /// Why a chunk is missing: the pack that should have it, where that is known to be unreadable.
    pub(super) fn likely_cause(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::ChunkMissing { .. } => lock(&self.unreadable_pack).take().unwrap_or(error),
            other => other,
        }
    }

    /// A piece of the map as a wanted chunk; none for zeros.
    pub(super) fn wanted(&self, piece: &cinderblock_store::map::Piece) -> Result<Option<Wanted>, Failure> {
        let PieceContent::Chunk(id) = piece.content else { return Ok(None) };
        match u32::try_from(piece.length) {
            // A map may claim any length; no pack has such a chunk.
            Ok(length) if length as usize <= FRAME_MAX_BYTES => Ok(Some(Wanted { id, offset: piece.offset, length })),
            _ => Err(self.wrong_length(piece.offset, piece.length)),
        }
    }

    pub(super) fn wrong_length(&self, offset: u64, length: u64) -> Failure {
        let reason = format!("it gives the chunk at byte {offset} {length} bytes, which it does not have");
        Failure::Lost { offset, length, source: StoreError::BadMap { backup: self.record.id, reason } }
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
        Ok((plan.jobs(), planned))
    }

    fn plan_group(&self, wanted: &[Wanted], plan: &mut Plan) -> Result<(), Failure> {
        let Some(first) = wanted.first() else { return Ok(()) };
        let lost = |source| Failure::Lost { offset: first.offset, length: first.length.into(), source };
        let ids: Vec<_> = wanted.iter().map(|chunk| chunk.id).collect();
        let mut places = Vec::new();
        self.repository.locate(&ids, &mut places).map_err(lost)?;
        if places.iter().any(Option::is_none) && self.refresh().map_err(lost)? {
            self.repository.locate(&ids, &mut places).map_err(lost)?;
        }
        if places.iter().any(Option::is_none) {
            self.search_missing(wanted, &mut places).map_err(lost)?;
        }
        for (chunk, place) in wanted.iter().zip(places) {
            let (offset, length) = (chunk.offset, u64::from(chunk.length));
            let Some(location) = place else {
                let source = self.likely_cause(StoreError::ChunkMissing { id: chunk.id });
                return Err(Failure::Lost { offset, length, source });
            };
            if !plan.add(*chunk, location) {
                return Err(self.wrong_length(offset, length));
            }
        }
        Ok(())
    }

    /// Looks for what the index does not know in all packs.
    fn search_missing(&self, wanted: &[Wanted], places: &mut [Option<Location>]) -> Result<(), StoreError> {
        let missing = wanted.iter().zip(places.iter()).filter(|(_, place)| place.is_none());
        let missing = missing.map(|(chunk, _)| chunk.id).collect();
        let mut found = std::collections::HashMap::new();
        self.repository.search(&missing, &mut |id, location| {
            found.insert(id, location);
        })?;
        for (chunk, place) in wanted.iter().zip(places) {
            if place.is_none() {
                *place = found.get(&chunk.id).cloned();
            }
        }
        Ok(())
    }
}
