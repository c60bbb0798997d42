//! [`Looked`]: how long opening and looking up take.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use cinderblock_store::{ChunkId, Repository};
use serde::{Deserialize, Serialize};

use crate::index::{Chunks, open};
use crate::measure::peak_mib;
use crate::report::median_seconds;
use crate::sample::Random;

/// Chunks in one look-up: those of one read of the pipeline, 1 MiB.
const BATCH: usize = 32;

/// Packs whose directories are in memory for hits in the neighbourhood.
const NEAR_PACKS: u64 = 64;

/// Look-ups that are measured, and as many before them: they fill the caches.
const MISSES: u64 = 1 << 20;
const HITS: u64 = 1 << 18;
const NEAR_HITS: u64 = 1 << 20;
const WITH_DIRECTORY: u64 = 1 << 12;

/// Look-ups that are timed together, a millisecond or so: of many such blocks the median counts, which other processes that want the
/// processor for some of them do not change.
const BLOCK: usize = 128;

/// What opening and looking up took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Looked {
    /// `--memory` of the command, in MiB.
    pub memory_mib: usize,
    /// Milliseconds to open the index, with the listing of segments.
    pub open_ms: f64,
    /// Microseconds for a chunk that is not there.
    pub miss_us: f64,
    /// Microseconds for a chunk of a pack whose directory is in memory.
    pub near_hit_us: f64,
    /// Microseconds for any chunk: its pack and slot.
    pub random_hit_us: f64,
    /// The same, with reading the pack's directory and looking into it.
    pub random_hit_with_directory_us: f64,
    /// Peak resident memory in MiB.
    pub peak_mib: f64,
}

impl Looked {
    /// Measures all.
    ///
    /// # Errors
    /// What the store says; a chunk that is not found though it is there, or found though it is not.
    pub fn measure(folder: &Path, chunks: Chunks, memory_mib: usize) -> Result<Self> {
        let repository = open(folder, memory_mib)?;
        let start = Instant::now();
        repository.prepare_index()?;
        let open_ms = start.elapsed().as_secs_f64() * 1e3;
        let mut random = Random::new(memory_mib as u64);
        let miss_us = misses(&repository, chunks, &mut random)?;
        let random_hit_us = hits(&repository, chunks, &mut random)?;
        let with_directory = |random: &mut Random| hits_with_directory(&repository, chunks, random);
        let random_hit_with_directory_us = with_directory(&mut random)?;
        let near_hit_us = near_hits(&repository, chunks)?;
        let peak_mib = peak_mib(std::process::id())?;
        Ok(Self { memory_mib, open_ms, miss_us, near_hit_us, random_hit_us, random_hit_with_directory_us, peak_mib })
    }
}

/// Looks chunks up, block by block; the median of the microseconds that one takes.
fn micros_each(ids: &[ChunkId], mut look: impl FnMut(&[ChunkId]) -> Result<()>) -> Result<f64> {
    let mut blocks = Vec::with_capacity(ids.len() / BLOCK + 1);
    for block in ids.chunks(BLOCK) {
        let start = Instant::now();
        look(block)?;
        blocks.push(start.elapsed().as_secs_f64() * 1e6 / block.len() as f64);
    }
    Ok(median_seconds(blocks).unwrap_or(f64::NAN))
}

fn chunks_of(count: u64, mut number: impl FnMut() -> u64) -> Vec<ChunkId> {
    (0..count).map(|_| Chunks::id(number())).collect()
}

/// Looks up twice as many as are measured: the first half fills the caches.
fn twice(count: u64, mut number: impl FnMut() -> u64, mut look: impl FnMut(&[ChunkId]) -> Result<()>) -> Result<f64> {
    micros_each(&chunks_of(count, &mut number), &mut look)?;
    micros_each(&chunks_of(count, &mut number), &mut look)
}

fn misses(repository: &Repository, chunks: Chunks, random: &mut Random) -> Result<f64> {
    let mut places = Vec::new();
    let unknown = || chunks.count * 2 + random.next_u64() % (1 << 60);
    twice(MISSES, unknown, |block| {
        for batch in block.chunks(BATCH) {
            repository.locate(batch, &mut places)?;
            ensure!(places.iter().all(Option::is_none), "a chunk was found that is not there");
        }
        Ok(())
    })
}

fn hits(repository: &Repository, chunks: Chunks, random: &mut Random) -> Result<f64> {
    let known = || random.next_u64() % chunks.count;
    twice(HITS, known, |block| {
        for id in block {
            ensure!(repository.indexed_place(id)?.is_some(), "chunk {id} was not found");
        }
        Ok(())
    })
}

fn hits_with_directory(repository: &Repository, chunks: Chunks, random: &mut Random) -> Result<f64> {
    let mut places = Vec::new();
    let known = || random.next_u64() % chunks.count;
    twice(WITH_DIRECTORY, known, |block| {
        for id in block {
            repository.locate(std::slice::from_ref(id), &mut places)?;
            ensure!(places.iter().all(Option::is_some), "chunk {id} was not found");
        }
        Ok(())
    })
}

fn near_hits(repository: &Repository, chunks: Chunks) -> Result<f64> {
    let mut places = Vec::new();
    let near = chunks.count.min(NEAR_PACKS * chunks.in_a_pack);
    repository.locate(&(0..near).map(Chunks::id).collect::<Vec<_>>(), &mut places)?;
    let mut next = 0;
    let in_order = || {
        next = (next + 1) % near;
        next
    };
    twice(NEAR_HITS, in_order, |block| {
        for batch in block.chunks(BATCH) {
            repository.locate_nearby(batch, &mut places);
            ensure!(places.iter().all(Option::is_some), "a chunk was not found nearby");
        }
        Ok(())
    })
}
