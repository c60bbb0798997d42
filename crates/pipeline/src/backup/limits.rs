//! How much of a backup is under way at once.

use cinderblock_store::pack::{FAR_PACK_TARGET_BYTES, FRAME_TARGET_BYTES, PACK_TARGET_BYTES};

use crate::engine::Settings;

/// How much is under way at once. Memory is about `segments` × 1 MiB + `frames` × 0.5 MiB + the pack that is being filled + `uploads` packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub buffer_bytes: usize,
    pub segments: u64,
    pub frames: u64,
    pub pack_bytes: usize,
    /// Packs that are being stored at once.
    pub uploads: usize,
}

/// Uploads for which there should be room on a storage that wants several requests at once, so that the line is in use while others wait for an answer.
const UPLOADS_UNDER_WAY: usize = 3;

/// Most bytes of packs that are on their way at once, whatever the memory: 2 GiB. A line of 7 MB/s moves them within a request's longest time.
const MAX_UPLOADING: usize = 2 << 30;

impl Limits {
    /// `in_flight`: how many requests at once the storage wants.
    pub(super) fn new(settings: Settings, in_flight: usize, chunk_bytes: usize, largest_chunk: usize) -> Self {
        let memory = settings.memory_bytes;
        let threads = settings.threads as u64;
        // A multiple of the chunk size: all are powers of two. Content-defined cutting wants room for several chunks.
        let content = if largest_chunk > chunk_bytes { (2 * largest_chunk).next_power_of_two() } else { 0 };
        let buffer_bytes = (1 << 20).max(chunk_bytes).max(content);
        let affordable = (memory / 4 / buffer_bytes) as u64;
        let frame_bytes = FRAME_TARGET_BYTES.max(largest_chunk) * 2;
        let segments = (threads * 6).min(affordable).max(1);
        let frames = (threads * 8).min((memory / 8 / frame_bytes) as u64).max(1);
        let (pack_bytes, uploads) = match in_flight {
            0 | 1 => (PACK_TARGET_BYTES.min(memory / 6), 1),
            _ => {
                // A quarter is left for what the backup remembers of its new chunks, and for an earlier one that it is made from.
                let taken = segments as usize * buffer_bytes + frames as usize * frame_bytes + memory / 4;
                let left = memory.saturating_sub(taken).max(memory / 3);
                let pack_bytes = FAR_PACK_TARGET_BYTES.min(left / (1 + UPLOADS_UNDER_WAY));
                // One more is being filled.
                (pack_bytes, (left.min(MAX_UPLOADING) / pack_bytes - 1).clamp(1, in_flight))
            }
        };
        Self { buffer_bytes, segments, frames, pack_bytes, uploads }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_packs_on_their_way_stay_within_the_memory() {
        for (mebibytes, threads) in [(96, 1), (96, 64), (192, 2), (192, 64), (1024, 8), (16 << 10, 8)] {
            let settings = Settings { threads, memory_bytes: mebibytes << 20 };
            let far = Limits::new(settings, 32, 32 << 10, 32 << 10);
            let packs = (1 + far.uploads) * far.pack_bytes;
            let taken = far.segments as usize * far.buffer_bytes + far.frames as usize * 2 * FRAME_TARGET_BYTES + packs;
            assert!(taken <= settings.memory_bytes / 4 * 3, "{far:?}");
            assert!((3..=32).contains(&far.uploads) && far.uploads * far.pack_bytes <= MAX_UPLOADING, "{far:?}");
            // Where the storage answers at once, one is stored while another is filled.
            let near = Limits::new(settings, 1, 32 << 10, 32 << 10);
            assert_eq!(near.uploads, 1);
        }
        // From a gigabyte on, packs are as large as they get.
        let ample = Limits::new(Settings { threads: 2, memory_bytes: 1 << 30 }, 32, 32 << 10, 32 << 10);
        assert_eq!((ample.pack_bytes, ample.uploads), (128 << 20, 4));
        // As the command has it: a pack that is filled, and three that are on their way, in 124 MiB.
        let command = Limits::new(Settings { threads: 2, memory_bytes: 192 << 20 }, 32, 32 << 10, 32 << 10);
        assert_eq!((command.pack_bytes, command.uploads), (31 << 20, 3));
    }
}
