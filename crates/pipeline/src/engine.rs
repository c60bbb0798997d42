//! What all pipelines share: worker threads, a memory budget, cancellation and progress.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cinderblock_store::{Error as StoreError, PackId, Record, Repository};
use rayon::ThreadPool;

use crate::error::Error;
use crate::lanes;

/// How much of the machine a pipeline may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Worker threads for hashing and compression.
    pub threads: usize,
    /// Memory for buffers and for the repository's index, in bytes. The process as a whole takes some 20 MiB more.
    pub memory_bytes: usize,
}

impl Settings {
    /// Least memory that is taken: 96 MiB, whatever is asked for.
    pub const MIN_MEMORY_BYTES: usize = 96 << 20;
    /// 256 MiB.
    pub const DEFAULT_MEMORY_BYTES: usize = 256 << 20;
}

impl Default for Settings {
    /// As many threads as the machine has cores, and 256 MiB.
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: Self::DEFAULT_MEMORY_BYTES,
        }
    }
}

/// Worker threads and settings; made once, used for any number of operations.
#[derive(Debug)]
pub struct Engine {
    pub(crate) pool: ThreadPool,
    settings: Settings,
}

impl Engine {
    /// Starts the worker threads.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let settings = Settings {
            threads: settings.threads.max(1),
            memory_bytes: settings.memory_bytes.max(Settings::MIN_MEMORY_BYTES),
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(settings.threads)
            .thread_name(|number| format!("worker {number}"))
            .build()
            .map_err(|source| Error::Threads { source })?;
        Ok(Self { pool, settings })
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.settings
    }
}

/// Most packs whose directories are read ahead because a record names them: 128, about 300,000 chunks, fit into
/// the repository's memory.
pub(crate) const MAX_WARMED_PACKS: usize = 128;

/// How many requests at once a repository's storage wants: 1 where it answers at once. More than 64 would only be threads.
pub(crate) fn in_flight(repository: &Repository) -> usize {
    repository.backend().requests_in_flight().clamp(1, 64)
}

/// Which packs' directories are read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmed {
    /// All, or none where there are more than [`MAX_WARMED_PACKS`]: the index is quicker then.
    IfFew,
    /// As many as the repository's memory has room for.
    AllThatFit,
}

/// Reads the directories of the packs that a record names, all at once: what is in them is then found without the index.
/// It is a hint: what can't be read may not be needed. One of the errors, if there are any.
pub(crate) fn warm(pool: &ThreadPool, repository: &Repository, record: &Record, warmed: Warmed) -> Option<StoreError> {
    // The notes of damage, which the first pack would have read, come together with the packs.
    let packs = record.map_packs.iter().chain(&record.data_packs);
    let packs: Vec<Option<PackId>> = [None].into_iter().chain(packs.copied().map(Some)).collect();
    let few = packs.len() <= MAX_WARMED_PACKS + 1;
    if !few && warmed == Warmed::IfFew {
        return None;
    }
    let first = Mutex::new(None);
    let load = |id: &Option<PackId>| {
        if !few && !repository.has_room_nearby() {
            return Ok(());
        }
        let loaded = match id {
            Some(id) => repository.pack(*id).map(drop),
            None => repository.load_notes(),
        };
        if let Err(error) = loaded {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
        Ok::<(), StoreError>(())
    };
    lanes::for_each(pool, in_flight(repository), &packs, load)
        .err()
        .or(first.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Asks a running pipeline to stop, from any thread or from a signal handler.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that a signal handler or another thread sets to true.
    pub fn from_flag(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self, partly_written: bool) -> Result<(), Error> {
        if self.is_cancelled() { Err(Error::Cancelled { partly_written }) } else { Ok(()) }
    }
}

/// How far a pipeline is; read it from another thread while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes that there are to do (of the volume; of packs when verifying); 0 while that is not known.
    pub total_bytes: AtomicU64,
    /// Bytes that are done, holes and zeros included.
    pub done_bytes: AtomicU64,
    /// Bytes read from the source, from the target, or from packs.
    pub read_bytes: AtomicU64,
    /// Plain bytes of chunks that were new to the repository.
    pub new_bytes: AtomicU64,
    /// Bytes stored in the repository, or written to the target.
    pub stored_bytes: AtomicU64,
}

impl Progress {
    /// Sets all to zero, for the next operation.
    pub fn reset(&self) {
        let Self { total_bytes, done_bytes, read_bytes, new_bytes, stored_bytes } = self;
        for counter in [total_bytes, done_bytes, read_bytes, new_bytes, stored_bytes] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn add(counter: &AtomicU64, bytes: u64) {
        counter.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What accompanies a running pipeline.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// To stop it.
    pub cancel: CancelToken,
    /// To watch it.
    pub progress: Arc<Progress>,
}
