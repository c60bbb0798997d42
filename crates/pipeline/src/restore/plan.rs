//! From wanted chunks to reads: chunks of one frame are decompressed together, neighbouring frames are read together.

use std::collections::HashMap;
use std::sync::Arc;

use cinderblock_store::pack::PackReader;
use cinderblock_store::{ChunkId, Location};

/// How far one request may reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Stored bytes up to which neighbouring frames are read in one request.
    pub read_bytes: u64,
    /// Bytes between two wanted frames that are read along rather than beginning another request.
    gap_bytes: u64,
}

impl Reach {
    /// For a storage that answers at once: 1 MiB, which a core's cache still holds while it is decompressed, and gaps of 64 KiB.
    const NEAR: Self = Self { read_bytes: 1 << 20, gap_bytes: 64 << 10 };

    /// For a storage that wants so many requests at once, where jobs may take so many bytes together. Far away a request costs time and, often, money:
    /// it may be 16 MiB, but not so much that fewer than 8 are under way. Bytes that nobody wants cost the time of the line: gaps may be 512 KiB, which at
    /// 200 MB/s takes what one of 20 requests at once adds to a latency of 50 ms.
    pub(crate) fn new(in_flight: usize, budget_bytes: usize) -> Self {
        if in_flight <= 1 {
            return Self::NEAR;
        }
        let read_bytes = (budget_bytes as u64 / 8).clamp(Self::NEAR.read_bytes, 16 << 20);
        Self { read_bytes, gap_bytes: (read_bytes / 8).min(512 << 10) }
    }
}

/// Memory of a chunk of a directory: its id and its length.
const BYTES_PER_LISTED_CHUNK: usize = 36;

/// A chunk that is wanted at a place of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub id: ChunkId,
    /// First byte in the volume.
    pub offset: u64,
    /// Length that the map gives, in bytes.
    pub length: u32,
}

/// A wanted chunk, and where in a pack it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub wanted: Wanted,
    pack: u32,
    pub frame: u32,
    pub slot: u32,
}

/// One read of one pack.
#[derive(Debug)]
pub(crate) struct Job {
    pub pack: Arc<PackReader>,
    /// First byte in the pack.
    pub from: u64,
    /// Bytes to read.
    pub length: usize,
    /// What is in it, by frame and then in the order of the volume; never empty.
    pub chunks: Vec<Placed>,
    /// Plain bytes of the largest frame.
    largest_frame: usize,
}

impl Job {
    /// Memory that it takes while it runs, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.length + self.largest_frame
    }

    /// Plain bytes that it restores.
    pub(crate) fn wanted_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.wanted.length as usize).sum()
    }

    fn first_offset(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.wanted.offset).min().unwrap_or(0)
    }
}

/// Collects chunks of a part of the volume.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    packs: Vec<Arc<PackReader>>,
    numbers: HashMap<cinderblock_store::PackId, u32>,
    chunks: Vec<Placed>,
    directory_bytes: usize,
}

impl Plan {
    /// Adds a chunk; false where its pack's directory gives it no place, or a length other than the map's.
    pub(crate) fn add(&mut self, wanted: Wanted, location: Location) -> bool {
        let Location { pack, slot } = location;
        let Some(place) = pack.directory().place(slot).filter(|place| place.length == wanted.length) else {
            return false;
        };
        let next = self.packs.len() as u32;
        let number = *self.numbers.entry(pack.id()).or_insert(next);
        if number == next {
            self.directory_bytes += pack.directory().ids().len() * BYTES_PER_LISTED_CHUNK;
            self.packs.push(pack);
        }
        self.chunks.push(Placed { wanted, pack: number, frame: place.frame, slot });
        true
    }

    /// About the memory that the directories of its packs take, in bytes.
    pub(crate) fn directory_bytes(&self) -> usize {
        self.directory_bytes
    }

    /// The reads, in the order in which the volume first needs them.
    pub(crate) fn jobs(mut self, reach: Reach) -> Vec<Job> {
        self.chunks.sort_unstable_by_key(|chunk| (chunk.pack, chunk.frame, chunk.wanted.offset));
        let mut jobs: Vec<Job> = Vec::new();
        for of_pack in self.chunks.chunk_by(|a, b| a.pack == b.pack) {
            let Some(pack) = of_pack.first().and_then(|chunk| self.packs.get(chunk.pack as usize)) else { continue };
            let directory = pack.directory();
            let mut open: Option<Job> = None;
            for of_frame in of_pack.chunk_by(|a, b| a.frame == b.frame) {
                let Some(number) = of_frame.first().map(|chunk| chunk.frame) else { continue };
                let (Some(range), Some(entry)) =
                    (directory.frame_range(number), directory.frames().get(number as usize))
                else {
                    continue;
                };
                let (from, end) = (range.start, range.end);
                let plain = entry.plain_bytes as usize;
                match &mut open {
                    Some(job)
                        if end - job.from <= reach.read_bytes
                            && from - (job.from + job.length as u64) <= reach.gap_bytes =>
                    {
                        job.length = (end - job.from) as usize;
                        job.largest_frame = job.largest_frame.max(plain);
                        job.chunks.extend_from_slice(of_frame);
                    }
                    _ => {
                        let length = (end - from) as usize;
                        jobs.extend(open.replace(Job {
                            pack: Arc::clone(pack),
                            from,
                            length,
                            chunks: of_frame.to_vec(),
                            largest_frame: plain,
                        }));
                    }
                }
            }
            jobs.extend(open);
        }
        jobs.sort_by_cached_key(Job::first_offset);
        jobs
    }
}
