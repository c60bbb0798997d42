//! How much of a backup is under way at once.

use cinderblock_store::pack::{FRAME_TARGET_BYTES, PACK_TARGET_BYTES};

use crate::engine::Engine;

/// How much is under way at once. Memory is about `segments` × 1 MiB + `frames` × 0.5 MiB + 2 packs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub buffer_bytes: usize,
    pub segments: u64,
    pub frames: u64,
    pub pack_bytes: usize,
}

impl Limits {
    pub(super) fn new(engine: &Engine, chunk_bytes: usize, largest_chunk: usize) -> Self {
        let memory = engine.settings().memory_bytes;
        let threads = engine.settings().threads as u64;
        // A multiple of the chunk size: all are powers of two. Content-defined cutting wants room for several chunks.
        let content = if largest_chunk > chunk_bytes { (2 * largest_chunk).next_power_of_two() } else { 0 };
        let buffer_bytes = (1 << 20).max(chunk_bytes).max(content);
        let affordable = (memory / 4 / buffer_bytes) as u64;
        let frame_bytes = FRAME_TARGET_BYTES.max(largest_chunk) * 2;
        Self {
            buffer_bytes,
            segments: (threads * 6).min(affordable).max(1),
            frames: (threads * 8).min((memory / 8 / frame_bytes) as u64).max(1),
            pack_bytes: PACK_TARGET_BYTES.min(memory / 6),
        }
    }
}
