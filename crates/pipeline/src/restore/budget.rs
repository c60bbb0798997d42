//! A bound on the memory of jobs in flight, and the buffers that they use again and again.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cinderblock_store::ChunkId;
use cinderblock_store::pack::directory::ChunkPlace;

/// A buffer that grew beyond this (4 MiB) is not kept for the next job.
const KEEP_BYTES: usize = 4 << 20;

/// Bytes that jobs in flight may take together. One job alone may take more: else it would never run.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// The last one used comes first: its memory is in the processor's cache.
    spare: Vec<Buffers>,
}

/// What a job works in.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Stored bytes. Only grows, so that nothing is cleared before it is read into: take the part that is needed.
    stored: Vec<u8>,
    /// A plain frame.
    pub plain: Vec<u8>,
    /// The chunks of a frame.
    pub chunks: Vec<FrameChunk>,
}

/// A chunk of a frame that is being looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameChunk {
    pub id: ChunkId,
    pub place: ChunkPlace,
    /// Whether its bytes are right, once they were checked.
    pub verdict: Option<bool>,
}

impl Buffers {
    /// `length` bytes to read into, and the other buffers. Where the bytes are elsewhere, take none.
    pub(crate) fn split(&mut self, length: usize) -> (&mut [u8], &mut Vec<u8>, &mut Vec<FrameChunk>) {
        if self.stored.len() < length {
            self.stored.resize(length, 0);
        }
        (self.stored.get_mut(..length).unwrap_or_default(), &mut self.plain, &mut self.chunks)
    }
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), freed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for a job of so many bytes.
    pub(crate) fn permit(&self, bytes: usize) -> Permit<'_> {
        let mut state = self.state();
        while state.taken > 0 && state.taken.saturating_add(bytes) > self.limit {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.taken = state.taken.saturating_add(bytes);
        Permit { budget: self, bytes }
    }

    /// Buffers for a job that runs now.
    pub(crate) fn buffers(&self) -> Borrowed<'_> {
        Borrowed { buffers: self.state().spare.pop().unwrap_or_default(), budget: self }
    }
}

/// Room for a job; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<'b> {
    budget: &'b Budget,
    bytes: usize,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.budget.state().taken -= self.bytes;
        self.budget.freed.notify_all();
    }
}

/// Buffers in use; given back when dropped.
#[derive(Debug)]
pub(crate) struct Borrowed<'b> {
    budget: &'b Budget,
    buffers: Buffers,
}

impl Deref for Borrowed<'_> {
    type Target = Buffers;

    fn deref(&self) -> &Buffers {
        &self.buffers
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Buffers {
        &mut self.buffers
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut buffers = std::mem::take(&mut self.buffers);
        if buffers.stored.len() > KEEP_BYTES {
            buffers.stored = Vec::new();
        }
        if buffers.plain.capacity() > KEEP_BYTES {
            buffers.plain = Vec::new();
        }
        self.budget.state().spare.push(buffers);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn never_more_than_the_limit_is_taken_but_for_one_alone() {
        let budget = Budget::new(100);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (budget, now, most) = (&budget, &now, &most);
                scope.spawn(move || {
                    for round in 0..50 {
                        let bytes = 20 + (thread * 7 + round) % 60;
                        let permit = budget.permit(bytes);
                        let taken = now.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(taken, Ordering::SeqCst);
                        now.fetch_sub(bytes, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 100);
        drop(budget.permit(1000));
        assert_eq!(budget.state().taken, 0);
    }
}
