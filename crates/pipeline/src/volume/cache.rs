//! A bounded cache in which each entry is made once, however many threads want it at the same time.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

/// Memory of an entry beside its value, in bytes: a rough figure for the table's slot and two allocations.
const ENTRY_BYTES: usize = 256;

/// Locked while the value is being made, so that others wait for it rather than make it again.
type Slot<V> = Arc<Mutex<Option<Arc<V>>>>;

struct Inner<K, V> {
    /// With the bytes that each was taken to have.
    slots: LruCache<K, (Slot<V>, usize)>,
    bytes: usize,
}

/// Values that may take so many bytes together; the least recently used go first.
pub(super) struct Cache<K, V> {
    inner: Mutex<Inner<K, V>>,
    limit: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Hash + Eq, V> Cache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { inner: Mutex::new(Inner { slots: LruCache::unbounded(), bytes: 0 }), limit }
    }

    /// The value, made by `make` where it is not there, of `bytes` bytes. One that is larger than the limit is not kept, and a
    /// failure neither.
    pub(super) fn get<E>(&self, key: K, bytes: usize, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let slot = self.slot(key, bytes);
        let mut value = lock(&slot);
        if let Some(value) = &*value {
            return Ok(Arc::clone(value));
        }
        let made = Arc::new(make()?);
        *value = Some(Arc::clone(&made));
        Ok(made)
    }

    fn slot(&self, key: K, bytes: usize) -> Slot<V> {
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        let mut inner = lock(&self.inner);
        if let Some((slot, _)) = inner.slots.get(&key) {
            return Arc::clone(slot);
        }
        let slot = Slot::default();
        if bytes > self.limit {
            return slot;
        }
        let mut dropped = Vec::new();
        while inner.bytes > self.limit - bytes {
            let Some((_, (old, had))) = inner.slots.pop_lru() else { break };
            inner.bytes -= had;
            dropped.push(old);
        }
        inner.bytes += bytes;
        inner.slots.put(key, (Arc::clone(&slot), bytes));
        // Memory is given back when no other thread waits for this.
        drop(inner);
        drop(dropped);
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn get(cache: &Cache<u32, u32>, key: u32, made: &AtomicUsize) -> u32 {
        let value = cache.get(key, 744, || {
            made.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(2));
            Ok::<_, Infallible>(key * 2)
        });
        *value.unwrap()
    }

    #[test]
    fn threads_that_want_the_same_at_once_make_it_once() {
        let (cache, made) = (Cache::new(100_000), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|key| assert_eq!(get(&cache, key, &made), key * 2)));
            }
        });
        assert_eq!(made.into_inner(), 20);
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_limit_is_kept() {
        // Room for three.
        let (cache, made) = (Cache::new(3000), AtomicUsize::new(0));
        for key in [1, 2, 3, 1, 4] {
            get(&cache, key, &made);
        }
        assert_eq!(made.load(Ordering::Relaxed), 4);
        assert_eq!(lock(&cache.inner).bytes, 3000);
        get(&cache, 1, &made);
        assert_eq!(made.load(Ordering::Relaxed), 4);
        get(&cache, 2, &made);
        assert_eq!(made.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn what_is_too_large_or_failed_is_not_kept() {
        let cache: Cache<u32, u32> = Cache::new(1000);
        assert_eq!(*cache.get(1, 800, || Ok::<_, ()>(7)).unwrap(), 7);
        assert_eq!(lock(&cache.inner).bytes, 0);
        assert_eq!(cache.get(2, 10, || Err("no")).unwrap_err(), "no");
        assert_eq!(*cache.get(2, 10, || Ok::<_, ()>(8)).unwrap(), 8);
    }
}
