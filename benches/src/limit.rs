//! The limit: the least work of a deduplicating backup, on the same threads.
//!
//! - **Backup**, [`Limit::backup`]: the volume's data extents are read by `pread` into reused
//!   buffers of 1 MiB, chunks of 32 KiB that are all zero are skipped, each other chunk is
//!   BLAKE3'd and looked up in a set in memory; new ones are SHA-256'd and compressed with zstd at
//!   level 1 in frames of up to 256 KiB. The frames are counted and dropped.
//! - **Restore**, [`Archive::restore`]: frames in memory are decompressed, their chunks BLAKE3'd,
//!   compared with their ids and `pwrite`d to a new sparse file.
//! - **Restore over an older version**, [`Archive::restore_over`]: what data the file has is read and BLAKE3'd chunk by chunk;
//!   only the frames of chunks that differ are decompressed, and only these chunks BLAKE3'd and `pwrite`d.
//! - **Verify**, [`Archive::verify`]: every frame in memory is decompressed, every chunk BLAKE3'd
//!   and compared with its id.
//!
//! There is no index on disk, no format, no fsync and nothing is stored, so a real backup cannot
//! be faster than this on the same cores; how much slower it is, is what its design costs.

mod archive;
mod over;
mod worker;

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

pub use archive::Archive;
use worker::{Place, Stored, Worker};

use crate::extents::data_units;

/// Bytes of a chunk: 32 KiB, the default of cinderblock and the block size of Cinder's hash lists.
pub const CHUNK: usize = 32 << 10;

/// Most plain bytes of a frame: 256 KiB, that of cinderblock's packs.
pub const FRAME: usize = 256 << 10;

/// Level of zstd: 1, cinderblock's default.
pub const LEVEL: i32 = 1;

/// The BLAKE3 of a chunk.
type Id = [u8; 32];

/// What one backup did, in bytes, numbers of chunks and seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Backup {
    /// Wall time.
    pub seconds: f64,
    /// Bytes read: those of the data extents, widened to whole chunks.
    pub read_bytes: u64,
    /// Chunks read.
    pub chunks: u64,
    /// Those of them that were all zero.
    pub zero_chunks: u64,
    /// Those of them that were not seen before.
    pub new_chunks: u64,
    /// Plain bytes of the new chunks.
    pub new_bytes: u64,
    /// Compressed bytes of the new chunks.
    pub stored_bytes: u64,
}

impl Backup {
    /// Adds what a later or a parallel part did.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.read_bytes += other.read_bytes;
        self.chunks += other.chunks;
        self.zero_chunks += other.zero_chunks;
        self.new_chunks += other.new_chunks;
        self.new_bytes += other.new_bytes;
        self.stored_bytes += other.stored_bytes;
    }
}

/// Backs volumes up at the limit, and remembers which chunks it has seen.
#[derive(Debug)]
pub struct Limit {
    threads: usize,
    seen: Seen,
}

impl Limit {
    /// An empty "repository", worked on by `threads` threads (at least 1).
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.max(1), seen: Seen::default() }
    }

    /// Backs up the volume in the file `path`.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn backup(&self, path: &Path) -> Result<Backup> {
        self.run(path, false).map(|(backup, _)| backup)
    }

    /// Backs up `path`; with `keep`, also hands back the new frames and the volume's map.
    fn run(&self, path: &Path, keep: bool) -> Result<(Backup, Stored)> {
        let began = Instant::now();
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let units = data_units(&file, CHUNK as u64).with_context(|| format!("in {}", path.display()))?;
        let next = AtomicUsize::new(0);
        let parts = on_threads(self.threads, || {
            let mut worker = Worker::new(&self.seen, keep)?;
            while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                worker.back_up(&file, *unit).with_context(|| format!("cannot back up {}", path.display()))?;
            }
            worker.finish()
        })?;
        let mut backup = Backup::default();
        let mut stored = Stored::default();
        for (part, frames) in parts {
            backup.add(&part);
            stored.append(frames);
        }
        backup.seconds = began.elapsed().as_secs_f64();
        Ok((backup, stored))
    }
}

/// The ids seen, in 64 parts so that threads seldom wait for each other.
#[derive(Debug)]
struct Seen([Mutex<HashSet<Id>>; 64]);

impl Default for Seen {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Seen {
    /// Adds `id`; tells whether it is new.
    fn insert(&self, id: &Id) -> bool {
        let part = &self.0[usize::from(id[31]) % self.0.len()];
        part.lock().unwrap_or_else(PoisonError::into_inner).insert(*id)
    }
}

/// Runs `work` once on each of `threads` threads and gathers the results.
fn on_threads<T: Send>(threads: usize, work: impl Fn() -> Result<T> + Sync) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Random;

    /// Two volumes: 40 chunks of data, a hole, zeros; and the same with one chunk changed.
    fn volumes(folder: &Path) -> [std::path::PathBuf; 2] {
        let mut bytes = vec![0; 40 * CHUNK];
        Random::new(5).fill_half_compressible(&mut bytes);
        bytes.resize(44 * CHUNK + 100, 0);
        let one = folder.join("one.img");
        std::fs::write(&one, &bytes).unwrap();
        bytes[7 * CHUNK + 3] ^= 1;
        let other = folder.join("other.img");
        std::fs::write(&other, &bytes).unwrap();
        [one, other]
    }

    #[test]
    fn a_second_volume_stores_only_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = volumes(folder.path());
        let limit = Limit::new(2);
        let first = limit.backup(&one).unwrap();
        assert_eq!((first.chunks, first.zero_chunks, first.new_chunks), (45, 5, 40));
        assert_eq!((first.read_bytes, first.new_bytes), (44 * CHUNK as u64 + 100, 40 * CHUNK as u64));
        assert!(first.stored_bytes < first.new_bytes * 6 / 10);
        let second = limit.backup(&other).unwrap();
        assert_eq!((second.zero_chunks, second.new_chunks, second.new_bytes), (5, 1, CHUNK as u64));
    }

    #[test]
    fn every_volume_restores_byte_for_byte_and_sparse() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let volumes = volumes(folder.path());
        let archive = Archive::of(&volumes, 3).unwrap();
        for (number, volume) in volumes.iter().enumerate() {
            let target = folder.path().join(format!("restored-{number}"));
            archive.restore(number, &target).unwrap();
            crate::extents::compare(volume, &target).unwrap();
            let allocated = target.metadata().unwrap().blocks() * 512;
            assert!(allocated <= volume.metadata().unwrap().len() - 4 * CHUNK as u64, "{allocated}");
        }
        archive.verify().unwrap();
    }

    #[test]
    fn a_restore_over_another_version_leaves_the_volume_and_no_data_where_it_has_none() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = volumes(folder.path());
        let archive = Archive::of(&[&one, &other], 2).unwrap();
        let target = folder.path().join("target");
        let mut bytes = std::fs::read(&one).unwrap();
        // Data where the volume has zeros, zeros where it has data, and a tail.
        bytes[42 * CHUNK..43 * CHUNK].fill(3);
        bytes[..CHUNK].fill(0);
        bytes.resize(46 * CHUNK, 1);
        std::fs::write(&target, bytes).unwrap();
        for (number, volume) in [(1, &other), (0, &one), (0, &one)] {
            archive.restore_over(number, &target).unwrap();
            crate::extents::compare(volume, &target).unwrap();
        }
        assert!(target.metadata().unwrap().blocks() * 512 < 45 * CHUNK as u64);
    }
}
