//! A few decoded frames of map nodes: a frame holds neighbours, which are wanted next.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use crate::id::PackId;
use crate::pack::FRAME_TARGET_BYTES;

type Frames = LruCache<(PackId, u32), Arc<Vec<u8>>>;

/// A bounded cache of plain frames.
#[derive(Debug)]
pub(crate) struct NodeCache {
    frames: Mutex<Frames>,
}

impl NodeCache {
    pub(crate) fn new(memory_bytes: usize) -> Self {
        let frames = NonZeroUsize::new(memory_bytes / FRAME_TARGET_BYTES).unwrap_or(NonZeroUsize::MIN);
        Self { frames: Mutex::new(LruCache::new(frames)) }
    }

    /// The frame, read by `load` where it is not there. Two threads may load the same frame: both get the right bytes.
    pub(crate) fn get<E>(
        &self,
        pack: PackId,
        frame: u32,
        load: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Arc<Vec<u8>>, E> {
        if let Some(found) = self.lock().get(&(pack, frame)) {
            return Ok(Arc::clone(found));
        }
        let loaded = Arc::new(load()?);
        self.put(pack, frame, Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Whether the frame is there.
    pub(crate) fn has(&self, pack: PackId, frame: u32) -> bool {
        self.lock().contains(&(pack, frame))
    }

    /// Takes a frame in.
    pub(crate) fn put(&self, pack: PackId, frame: u32, plain: Arc<Vec<u8>>) {
        // Nothing writes larger frames of nodes; kept, a few of them would take all memory.
        if plain.len() <= 2 * FRAME_TARGET_BYTES {
            self.lock().put((pack, frame), plain);
        }
    }

    /// How many frames it keeps.
    pub(crate) fn capacity(&self) -> usize {
        self.lock().cap().get()
    }

    /// Forgets everything, for when the repository changed underneath.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
