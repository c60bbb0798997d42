//! A worker's part: from a read of a pack of the source to frames of the target, every chunk checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cinderblock_store::pack::frame::{self, Compression, EncodedFrame, FrameChunk};
use cinderblock_store::pack::{Content, DecodedFrame, FRAME_TARGET_BYTES, PackReader, moved};
use cinderblock_store::{ChunkId, Error as StoreError};
use rayon::ThreadPool;

use crate::buffer::JobMemory;
use crate::engine::{Control, Progress, in_flight};
use crate::error::Error;
use crate::restore::find::{Finder, other_bytes, read_error};
use crate::restore::plan::{Job, Placed};

/// What the workers of a copy share.
pub(super) struct Worker<'a> {
    pub pool: &'a ThreadPool,
    pub finder: Finder<'a>,
    pub control: &'a Control,
    pub compression: Compression,
    /// Whether new frames get the SHA-256 of their chunks.
    pub hashed: bool,
    /// Set where the copy has failed elsewhere.
    pub stopped: AtomicBool,
}

/// What came out of a job.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub frames: Vec<EncodedFrame>,
    /// Of these, frames that are as they were.
    pub kept: u64,
    /// Stored bytes that were read.
    pub read_bytes: u64,
}

/// Chunks that will make up a frame.
#[derive(Debug, Default)]
struct Open {
    plain: Vec<u8>,
    chunks: Vec<FrameChunk>,
    hashes: Vec<Option<[u8; 32]>>,
}

impl Worker<'_> {
    /// Does a job. `pack` is the job's pack with its hashes; without it, frames that are hashed are made anew.
    pub(super) fn work(&self, job: &Job, pack: Option<&Arc<PackReader>>) -> Result<Moved, Error> {
        let mut stored = JobMemory::zeroed(job.length, in_flight(self.finder.repository));
        let read = self.finder.repository.backend().read_into(job.pack.object(), job.from, &mut stored);
        // Of threads that wait for a storage there are more than that can compute.
        self.pool.install(|| self.work_on(job, pack, &mut stored, read))
    }

    fn work_on(
        &self,
        job: &Job,
        pack: Option<&Arc<PackReader>>,
        stored: &mut [u8],
        read: Result<(), cinderblock_backend::Error>,
    ) -> Result<Moved, Error> {
        let (mut moved, mut frame) = (Moved::default(), Open::default());
        if let Err(error) = read {
            self.rescue(&job.pack, &job.chunks, read_error(&job.pack, error), &mut frame, &mut moved)?;
        } else {
            self.count(job.length as u64, &mut moved);
            let mut plain = Vec::new();
            for of_frame in job.chunks.chunk_by(|a, b| a.frame == b.frame) {
                self.control.cancel.check(false)?;
                if self.stopped.load(Ordering::Relaxed) {
                    return Ok(moved);
                }
                let Some(number) = of_frame.first().map(|chunk| chunk.frame) else { continue };
                match job.pack.decode_frame(number, job.from, stored, &mut plain) {
                    Ok(decoded) => self.frame(pack.unwrap_or(&job.pack), of_frame, decoded, &mut frame, &mut moved)?,
                    Err(error) => self.rescue(&job.pack, of_frame, error, &mut frame, &mut moved)?,
                }
            }
        }
        self.close(&mut frame, &mut moved)?;
        Ok(moved)
    }

    fn count(&self, bytes: u64, moved: &mut Moved) {
        moved.read_bytes += bytes;
        Progress::add(&self.control.progress.read_bytes, bytes);
    }

    fn frame(
        &self,
        pack: &PackReader,
        wanted: &[Placed],
        DecodedFrame { stored, plain }: DecodedFrame<'_>,
        open: &mut Open,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        let directory = pack.directory();
        let Some(number) = wanted.first().map(|chunk| chunk.frame) else { return Ok(()) };
        let Some(entry) = directory.frames().get(number as usize) else { return Ok(()) };
        // Each chunk is wanted once, so that this is all of them.
        if wanted.len() == entry.chunks as usize
            && let Ok(frame) = moved::keep(self.finder.repository.ids(), pack, number, stored, plain)
            && has_right_hashes(pack, number, plain)
        {
            moved.frames.push(frame);
            moved.kept += 1;
            return Ok(());
        }
        let is_hashed = !directory.frame_hashes(number).is_empty();
        for want in wanted {
            let place = directory.place(want.slot);
            let bytes =
                place.and_then(|place| plain.get(place.offset as usize..(place.offset + place.length) as usize));
            let id = want.wanted.id;
            match bytes {
                Some(bytes)
                    if bytes.len() == want.wanted.length as usize
                        && self.finder.repository.ids().is_authentic(Content::Data, &id, bytes) =>
                {
                    self.add(id, bytes, is_hashed.then(|| moved::hash(bytes)), open, moved)?;
                }
                _ => {
                    let error = other_bytes(pack, number, &id);
                    self.rescue(pack, std::slice::from_ref(want), error, open, moved)?;
                }
            }
        }
        Ok(())
    }

    /// Has the chunks from wherever else they are.
    fn rescue(
        &self,
        pack: &PackReader,
        placed: &[Placed],
        error: StoreError,
        open: &mut Open,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        let wanted: Vec<_> = placed.iter().map(|chunk| chunk.wanted).collect();
        let mut ids = wanted.iter().map(|chunk| chunk.id);
        // They come in the order in which they are wanted.
        let read = self.finder.rescue(pack, &wanted, error, |_, bytes| match ids.next() {
            Some(id) => self.add(id, bytes, None, open, moved),
            None => Ok(()),
        })?;
        self.count(read, moved);
        Ok(())
    }

    fn add(
        &self,
        id: ChunkId,
        bytes: &[u8],
        hash: Option<[u8; 32]>,
        open: &mut Open,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        if !open.plain.is_empty() && open.plain.len() + bytes.len() > FRAME_TARGET_BYTES {
            self.close(open, moved)?;
        }
        open.plain.extend_from_slice(bytes);
        open.chunks.push(FrameChunk { id, length: bytes.len() as u32 });
        open.hashes.push(hash);
        Ok(())
    }

    fn close(&self, open: &mut Open, moved: &mut Moved) -> Result<(), Error> {
        let Open { plain, chunks, hashes } = std::mem::take(open);
        if plain.is_empty() {
            return Ok(());
        }
        // A frame has the hashes of all of its chunks or of none.
        let frame = if self.hashed || hashes.iter().any(Option::is_some) {
            let mut rest = plain.as_slice();
            let all = chunks.iter().zip(hashes).map(|(chunk, hash)| {
                let (bytes, after) = rest.split_at_checked(chunk.length as usize).unwrap_or_default();
                rest = after;
                hash.unwrap_or_else(|| moved::hash(bytes))
            });
            let all = all.collect();
            moved::gather(&plain, chunks, all, self.compression)?
        } else {
            frame::encode(&plain, chunks, false, self.compression)?
        };
        moved.frames.push(frame);
        Ok(())
    }
}

/// Whether the SHA-256 of a frame's chunks, if it has them, are theirs: nothing else ever checks them, and Cinder's incremental backups
/// rely on them.
fn has_right_hashes(pack: &PackReader, number: u32, plain: &[u8]) -> bool {
    let directory = pack.directory();
    directory.frame_chunks(number).zip(directory.frame_hashes(number)).all(|((_, place), hash)| {
        let bytes = plain.get(place.offset as usize..(place.offset + place.length) as usize);
        bytes.is_some_and(|bytes| moved::hash(bytes) == *hash)
    })
}
