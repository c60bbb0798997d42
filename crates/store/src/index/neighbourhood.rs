//! Directories of packs in memory, and every chunk in them by id.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::damage::Wrong;
use crate::id::{ChunkId, PackId};
use crate::pack::PackReader;
use crate::repository::Location;

/// Bytes of memory that a chunk of a loaded directory takes: id, length, and its entry in the map.
const BYTES_PER_CHUNK: usize = 70;

/// Chunk ids are uniformly distributed: their first bytes are a hash.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[derive(Debug)]
struct Loaded {
    pack: Arc<PackReader>,
    /// Met since the last look for something to drop.
    met: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    packs: HashMap<u32, Loaded>,
    numbers: HashMap<PackId, u32>,
    /// In order of loading, for the second-chance replacement.
    queue: VecDeque<u32>,
    chunks: HashMap<u64, (u32, u32), BuildHasherDefault<Identity>>,
    next: u32,
}

/// A bounded set of loaded pack directories.
#[derive(Debug)]
pub(crate) struct Neighbourhood {
    inner: RwLock<Inner>,
    max_chunks: usize,
    /// Taken while a pack is being loaded, so that workers that miss it together load it once. One for each first byte of an id, so that
    /// many different ones can be under way.
    loading: Box<[Mutex<()>]>,
}

impl Neighbourhood {
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self {
            inner: RwLock::default(),
            max_chunks: (memory_bytes / BYTES_PER_CHUNK).max(crate::pack::PACK_MAX_CHUNKS),
            loading: (0..=u8::MAX).map(|_| Mutex::default()).collect(),
        }
    }

    /// Guards the loading of a pack.
    pub(crate) fn loading(&self, id: PackId) -> MutexGuard<'_, ()> {
        let [first, ..] = *id.as_bytes();
        let lock = &self.loading[usize::from(first)];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any pack fits beside those that are there.
    pub(crate) fn has_room(&self) -> bool {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.chunks.len() + crate::pack::PACK_MAX_CHUNKS <= self.max_chunks
    }

    pub(crate) fn pack(&self, id: PackId) -> Option<Arc<PackReader>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = inner.packs.get(inner.numbers.get(&id)?)?;
        loaded.met.store(true, Ordering::Relaxed);
        Some(Arc::clone(&loaded.pack))
    }

    /// Fills in the places of chunks that are in loaded packs.
    pub(crate) fn locate(&self, ids: &[ChunkId], places: &mut [Option<Location>]) {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        for (id, place) in ids.iter().zip(places) {
            if place.is_some() {
                continue;
            }
            let Some((number, slot)) = inner.chunks.get(&id.prefix()) else { continue };
            let Some(loaded) = inner.packs.get(number) else { continue };
            if loaded.pack.directory().ids().get(*slot as usize) == Some(id) {
                if !loaded.met.load(Ordering::Relaxed) {
                    loaded.met.store(true, Ordering::Relaxed);
                }
                *place = Some(Location { pack: Arc::clone(&loaded.pack), slot: *slot });
            }
        }
    }

    /// Takes a pack in, but for the slots that are `damaged`, and drops others where there are too many chunks.
    pub(crate) fn insert(&self, pack: Arc<PackReader>, damaged: Option<&Wrong>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        if inner.numbers.contains_key(&pack.id()) {
            return;
        }
        while inner.chunks.len() + pack.directory().ids().len() > self.max_chunks {
            let Some(oldest) = inner.queue.pop_front() else { break };
            let Some(loaded) = inner.packs.get(&oldest) else { continue };
            if loaded.met.swap(false, Ordering::Relaxed) {
                inner.queue.push_back(oldest);
                continue;
            }
            for id in loaded.pack.directory().ids() {
                if inner.chunks.get(&id.prefix()).is_some_and(|(number, _)| *number == oldest) {
                    inner.chunks.remove(&id.prefix());
                }
            }
            inner.numbers.remove(&loaded.pack.id());
            inner.packs.remove(&oldest);
        }
        let number = inner.next;
        inner.next = inner.next.wrapping_add(1);
        inner.chunks.reserve(pack.directory().ids().len());
        for (slot, id) in pack.directory().ids().iter().enumerate() {
            if damaged.is_none_or(|damaged| !damaged.contains(slot as u32)) {
                inner.chunks.insert(id.prefix(), (number, slot as u32));
            }
        }
        inner.numbers.insert(pack.id(), number);
        inner.packs.insert(number, Loaded { pack, met: AtomicBool::new(false) });
        inner.queue.push_back(number);
    }

    /// Forgets everything, for when the repository changed underneath.
    pub(crate) fn clear(&self) {
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = Inner::default();
    }
}
