//! Frames in memory: restore and verify at the limit.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use zstd::bulk::Decompressor;

use super::worker::Frame;
use super::{FRAME, Id, Limit, Place, on_threads};

/// Volumes backed up into frames in memory.
#[derive(Debug)]
pub struct Archive {
    pub(super) limit: Limit,
    pub(super) frames: Vec<Frame>,
    /// Where the chunk of an id is: the number of its frame, and its place there.
    whereabouts: HashMap<Id, (usize, Place)>,
    pub(super) volumes: Vec<Volume>,
}

#[derive(Debug)]
pub(super) struct Volume {
    /// In bytes.
    pub length: u64,
    /// For every frame that the volume needs, its number and what goes where.
    pub plan: Vec<(usize, Vec<Target>)>,
}

/// A chunk of a frame that goes to a place of a volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// Where it is in the frame, its length and its id.
    pub chunk: Place,
    /// Where it goes in the volume, in bytes.
    pub offset: u64,
}

impl Archive {
    /// An archive of nothing yet, worked on by `threads` threads (at least 1).
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { limit: Limit::new(threads), frames: Vec::new(), whereabouts: HashMap::new(), volumes: Vec::new() }
    }

    /// Backs up `volumes` in order, on `threads` threads (at least 1), and keeps their frames: as
    /// many bytes of memory as all of [`Backup::stored_bytes`](super::Backup::stored_bytes).
    ///
    /// # Errors
    /// A volume cannot be opened or read.
    pub fn of(volumes: &[impl AsRef<Path>], threads: usize) -> Result<Self> {
        let mut archive = Self::new(threads);
        volumes.iter().try_for_each(|path| archive.add(path.as_ref()))?;
        Ok(archive)
    }

    /// Backs up the volume in the file `path`, as the next one.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn add(&mut self, path: &Path) -> Result<()> {
        let (_, stored) = self.limit.run(path, true)?;
        for frame in stored.frames {
            let number = self.frames.len();
            self.whereabouts.extend(frame.chunks.iter().map(|chunk| (chunk.id, (number, *chunk))));
            self.frames.push(frame);
        }
        let length = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        self.volumes.push(Volume { length, plan: plan(&stored.map, &self.whereabouts)? });
        Ok(())
    }

    /// Restores the volume with that number (from 0, in the order given) to the new file
    /// `target`; the wall seconds it took.
    ///
    /// # Errors
    /// There is no such volume, `target` exists or cannot be written, or a frame is damaged.
    pub fn restore(&self, number: usize, target: &Path) -> Result<f64> {
        let volume = self.volumes.get(number).with_context(|| format!("there is no volume {number}"))?;
        let began = Instant::now();
        let file = File::create_new(target).with_context(|| format!("cannot create {}", target.display()))?;
        file.set_len(volume.length)?;
        let next = AtomicUsize::new(0);
        on_threads(self.limit.threads, || {
            let mut reader = FrameReader::new()?;
            while let Some((frame, targets)) = volume.plan.get(next.fetch_add(1, Ordering::Relaxed)) {
                write(&file, reader.read(&self.frames[*frame])?, targets)?;
            }
            Ok(())
        })
        .with_context(|| format!("cannot restore to {}", target.display()))?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Checks every chunk of every frame; the wall seconds it took.
    ///
    /// # Errors
    /// A frame is damaged.
    pub fn verify(&self) -> Result<f64> {
        let began = Instant::now();
        let next = AtomicUsize::new(0);
        on_threads(self.limit.threads, || {
            let mut reader = FrameReader::new()?;
            while let Some(frame) = self.frames.get(next.fetch_add(1, Ordering::Relaxed)) {
                let plain = reader.read(frame)?;
                frame.chunks.iter().try_for_each(|chunk| check(plain, chunk))?;
            }
            Ok(())
        })?;
        Ok(began.elapsed().as_secs_f64())
    }
}

/// Groups a volume's chunks by frame, each group in the order of the volume.
fn plan(map: &[Place], whereabouts: &HashMap<Id, (usize, Place)>) -> Result<Vec<(usize, Vec<Target>)>> {
    let mut targets = Vec::with_capacity(map.len());
    for place in map {
        let &(frame, chunk) = whereabouts.get(&place.id).context("a chunk of the map is in no frame")?;
        targets.push((frame, Target { chunk, offset: place.offset }));
    }
    targets.sort_unstable_by_key(|(frame, target)| (*frame, target.offset));
    let group = |group: &[(usize, Target)]| (group[0].0, group.iter().map(|&(_, target)| target).collect());
    Ok(targets.chunk_by(|a, b| a.0 == b.0).map(group).collect())
}

/// Checks the chunks of `targets`, which lie in the frame `plain`, and writes them to `file`.
pub(super) fn write(file: &File, plain: &[u8], targets: &[Target]) -> Result<()> {
    for run in targets.chunk_by(follows) {
        for target in run {
            check(plain, &target.chunk)?;
        }
        let start = run[0].chunk.offset as usize;
        let length: usize = run.iter().map(|target| target.chunk.length).sum();
        file.write_all_at(&plain[start..start + length], run[0].offset)?;
    }
    Ok(())
}

/// Whether `next` comes right after `this` in the frame and in the volume.
fn follows(this: &Target, next: &Target) -> bool {
    let length = this.chunk.length as u64;
    this.chunk.offset + length == next.chunk.offset && this.offset + length == next.offset
}

fn check(frame: &[u8], chunk: &Place) -> Result<()> {
    let start = chunk.offset as usize;
    let bytes = frame.get(start..start + chunk.length).context("a frame is too short")?;
    ensure!(blake3::hash(bytes).as_bytes() == &chunk.id, "a chunk is not what its id says");
    Ok(())
}

/// A decompressor and its buffer, reused from frame to frame.
pub(super) struct FrameReader {
    decompressor: Decompressor<'static>,
    plain: Vec<u8>,
}

impl FrameReader {
    pub fn new() -> Result<Self> {
        Ok(Self { decompressor: Decompressor::new()?, plain: Vec::with_capacity(FRAME) })
    }

    pub fn read(&mut self, frame: &Frame) -> Result<&[u8]> {
        self.plain.clear();
        self.decompressor.decompress_to_buffer(&frame.compressed, &mut self.plain)?;
        Ok(&self.plain)
    }
}
