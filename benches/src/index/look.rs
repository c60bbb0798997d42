//! [`Looked`]: how long opening and looking up take.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use cinderblock_store::{ChunkId, Repository};
use serde::{Deserialize, Serialize};

use crate::index::{Chunks, open, peak_mib};
use crate::sample::Random;

/// Chunks in one look-up: those of one read of the pipeline, 1 MiB.
const BATCH: usize = 32;

/// Packs whose directories are in memory for hits in the neighbourhood.
const NEAR_PACKS: u64 = 64;

/// Look-ups that are measured, and as many before them: they fill the caches.
const MISSES: u64 = 1 << 20;
const HITS: u64 = 1 << 18;
const NEAR_HITS: u64 = 1 << 23;
const WITH_DIRECTORY: u64 = 1 << 10;

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
        let peak_mib = peak_mib()?;
        Ok(Self { memory_mib, open_ms, miss_us, near_hit_us, random_hit_us, random_hit_with_directory_us, peak_mib })
    }
}

fn micros(start: Instant, count: u64) -> f64 {
    start.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn batches(count: u64, mut number: impl FnMut() -> u64) -> Vec<ChunkId> {
    (0..count).map(|_| Chunks::id(number())).collect()
}

fn misses(repository: &Repository, chunks: Chunks, random: &mut Random) -> Result<f64> {
    let mut places = Vec::new();
    let mut micros_of = |ids: &[ChunkId]| {
        let start = Instant::now();
        let mut found = 0;
        for batch in ids.chunks(BATCH) {
            repository.locate(batch, &mut places)?;
            found += places.iter().flatten().count();
        }
        ensure!(found == 0, "{found} chunks were found that are not there");
        Ok(micros(start, ids.len() as u64))
    };
    let mut unknown = || chunks.count * 2 + random.next_u64() % (1 << 60);
    micros_of(&batches(MISSES, &mut unknown))?;
    micros_of(&batches(MISSES, &mut unknown))
}

fn hits(repository: &Repository, chunks: Chunks, random: &mut Random) -> Result<f64> {
    let micros_of = |ids: &[ChunkId]| {
        let start = Instant::now();
        for id in ids {
            ensure!(repository.indexed_place(id)?.is_some(), "chunk {id} was not found");
        }
        Ok(micros(start, ids.len() as u64))
    };
    let mut known = || random.next_u64() % chunks.count;
    micros_of(&batches(HITS, &mut known))?;
    micros_of(&batches(HITS, &mut known))
}

fn hits_with_directory(repository: &Repository, chunks: Chunks, random: &mut Random) -> Result<f64> {
    let mut places = Vec::new();
    let mut micros_of = |ids: &[ChunkId]| {
        let start = Instant::now();
        for id in ids {
            repository.locate(std::slice::from_ref(id), &mut places)?;
            ensure!(places.iter().all(Option::is_some), "chunk {id} was not found");
        }
        Ok(micros(start, ids.len() as u64))
    };
    let mut known = || random.next_u64() % chunks.count;
    micros_of(&batches(WITH_DIRECTORY, &mut known))?;
    micros_of(&batches(WITH_DIRECTORY, &mut known))
}

fn near_hits(repository: &Repository, chunks: Chunks) -> Result<f64> {
    let mut places = Vec::new();
    let near: Vec<_> = (0..chunks.count.min(NEAR_PACKS * chunks.in_a_pack)).map(Chunks::id).collect();
    repository.locate(&near, &mut places)?;
    let start = Instant::now();
    let mut count = 0;
    while count < NEAR_HITS {
        for batch in near.chunks(BATCH) {
            repository.locate_nearby(batch, &mut places);
            ensure!(places.iter().all(Option::is_some), "a chunk was not found nearby");
        }
        count += near.len() as u64;
    }
    Ok(micros(start, count))
}
