//! A storage that is far away, without the waiting: it wants many requests at once, and holds those that a test chooses until so many of them are
//! under way together.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use cinderblock_backend::{Backend, Error, ForeignName, Memory, ObjectInfo, ObjectName, ObjectWriter, Tail};
use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::{BackupOptions, Engine, Settings, Source};
use cinderblock_store::{OpenOptions, Repository, VolumeId};

/// Requests at once that it says it wants.
pub const IN_FLIGHT: usize = 16;

/// Chunk size of the repositories, in bytes.
pub const CHUNK: usize = 32 << 10;

/// A request that is held: how many bytes it moves, and the name of its object.
pub type Chosen = Box<dyn Fn(&str, usize) -> bool + Send + Sync>;

/// What happens when so many are together: an error for the one that came last.
pub type Met = Box<dyn Fn() -> Result<(), Error> + Send + Sync>;

struct Hold {
    chosen: Chosen,
    together: usize,
    met: Met,
}

#[derive(Default)]
struct State {
    hold: Option<Arc<Hold>>,
    open: bool,
    /// Requests under way that are chosen, and their bytes; the most that there were; all that there were.
    now: (usize, usize),
    most: (usize, usize),
    all: usize,
    gave_up: bool,
}

#[derive(Default)]
pub struct Far {
    pub storage: Memory,
    state: Mutex<State>,
    changed: Condvar,
}

impl std::fmt::Debug for Far {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Far")
    }
}

/// What was seen of the requests that were held.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub requests_at_once: usize,
    pub bytes_at_once: usize,
    pub requests: usize,
}

impl Far {
    /// Holds requests until `together` of them are under way; from then on they pass. `met` decides about the last one.
    pub fn hold(
        &self,
        together: usize,
        chosen: impl Fn(&str, usize) -> bool + Send + Sync + 'static,
        met: impl Fn() -> Result<(), Error> + Send + Sync + 'static,
    ) {
        let hold = Hold { chosen: Box::new(chosen), together, met: Box::new(met) };
        *self.state() = State { hold: Some(Arc::new(hold)), ..State::default() };
    }

    /// What there was of them. It fails where they never were together: then the first one has waited in vain.
    pub fn seen(&self) -> Seen {
        let state = self.state();
        assert!(!state.gave_up && state.open, "at most {} were under way together", state.most.0);
        Seen { requests_at_once: state.most.0, bytes_at_once: state.most.1, requests: state.all }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn around<T>(
        &self,
        name: &ObjectName,
        bytes: usize,
        perform: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.state();
        let Some(hold) = state.hold.clone().filter(|hold| (hold.chosen)(name.as_str(), bytes)) else {
            drop(state);
            return perform();
        };
        state.all += 1;
        state.now = (state.now.0 + 1, state.now.1 + bytes);
        state.most = (state.most.0.max(state.now.0), state.most.1.max(state.now.1));
        let mut verdict = Ok(());
        if !state.open && state.now.0 >= hold.together {
            state.open = true;
            verdict = (hold.met)();
            self.changed.notify_all();
        }
        while !state.open {
            // Only a pipeline that does one thing after the other ever waits so long.
            let (next, waited) =
                self.changed.wait_timeout(state, Duration::from_secs(60)).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() && !state.open {
                (state.open, state.gave_up) = (true, true);
            }
        }
        drop(state);
        let result = verdict.and_then(|()| perform());
        let mut state = self.state();
        state.now = (state.now.0 - 1, state.now.1 - bytes);
        result
    }
}

impl Backend for Far {
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        self.storage.create(name)
    }
    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        self.around(name, bytes, || self.storage.put(name, parts))
    }
    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        self.around(name, 0, || self.storage.get(name, limit))
    }
    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.around(name, buf.len(), || self.storage.read_into(name, offset, buf))
    }
    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        self.storage.get_tail(name, len)
    }
    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        self.storage.size(name)
    }
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        self.storage.list(prefix, visit)
    }
    fn list_foreign(&self, prefix: &str, visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>) -> Result<(), Error> {
        self.storage.list_foreign(prefix, visit)
    }
    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.storage.delete(name)
    }
    fn settle_delay(&self) -> Duration {
        Duration::ZERO
    }
    fn requests_in_flight(&self) -> usize {
        IN_FLIGHT
    }
    fn location(&self) -> String {
        "far away".to_owned()
    }
}

/// A host that uses a repository in a storage.
pub struct Host {
    pub repository: Repository,
    pub engine: Engine,
    _cache: tempfile::TempDir,
}

impl Host {
    /// One with an empty cache, two threads and 96 MiB.
    pub fn new<B: Backend + 'static>(storage: &Arc<B>) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let storage = Arc::clone(storage) as Arc<dyn Backend>;
        let repository = Repository::open(storage, &OpenOptions::new(cache.path())).unwrap();
        let engine = Engine::new(Settings { threads: 2, memory_bytes: Settings::MIN_MEMORY_BYTES }).unwrap();
        Self { repository, engine, _cache: cache }
    }
}

pub fn create(storage: &dyn Backend) {
    Repository::create(storage, ChunkSize::new(CHUNK as u64).unwrap()).unwrap();
}

/// 56 MiB that neither repeat nor compress: four full packs in 96 MiB of memory, and a part of one.
pub fn volume() -> Vec<u8> {
    let mut bytes = vec![0; 56 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

pub fn source(volume: &[u8]) -> Source {
    Source::stream(Box::new(std::io::Cursor::new(volume.to_vec())), "test")
}

pub fn options(name: &str) -> BackupOptions {
    BackupOptions::new(VolumeId::new(name).unwrap())
}
