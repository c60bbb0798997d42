//! Reading chunks of a pack: read, decompress, verify, hand over.

use std::sync::atomic::Ordering;

use cinderblock_store::Error as StoreError;
use cinderblock_store::pack::{Content, PackReader};

use super::budget::FrameChunk;
use super::find::{other_bytes, read_error};
use super::plan::{Job, Placed};
use super::run::{Failure, Run};
use crate::buffer::JobMemory;
use crate::engine::Progress;

/// Takes verified bytes and their place in the volume.
pub(super) type Emit<'e> = dyn FnMut(u64, &[u8]) -> Result<(), Failure> + Send + 'e;

impl Run<'_> {
    /// Does a job: every wanted chunk is verified, and handed over together with those that follow it both in the frame and
    /// in the volume.
    pub(super) fn fetch(&self, job: &Job, emit: &mut Emit<'_>) -> Result<(), Failure> {
        if self.in_flight <= 1 {
            let mut buffers = self.budget.buffers();
            let (stored, plain, chunks) = buffers.split(job.length);
            return match self.repository.backend().read_into(job.pack.object(), job.from, stored) {
                Ok(()) => self.deliver(job, stored, (plain, chunks), emit),
                Err(error) => self.rescue(&job.pack, &job.chunks, read_error(&job.pack, error), emit),
            };
        }
        // Memory of its own, that is given back with the permit: many jobs are waiting for their bytes, and of the buffers that are used again there
        // are as many as workers.
        let mut stored = JobMemory::zeroed(job.length, self.in_flight);
        match self.repository.backend().read_into(job.pack.object(), job.from, &mut stored) {
            Ok(()) => self.pool.install(|| {
                let mut buffers = self.budget.buffers();
                let (_, plain, chunks) = buffers.split(0);
                self.deliver(job, &mut stored, (plain, chunks), emit)
            }),
            Err(error) => self.rescue(&job.pack, &job.chunks, read_error(&job.pack, error), emit),
        }
    }

    /// A worker's part of a job whose bytes are there.
    fn deliver(
        &self,
        job: &Job,
        stored: &mut [u8],
        (plain, chunks): (&mut Vec<u8>, &mut Vec<FrameChunk>),
        emit: &mut Emit<'_>,
    ) -> Result<(), Failure> {
        self.counters.read.fetch_add(job.length as u64, Ordering::Relaxed);
        Progress::add(&self.progress().read_bytes, job.length as u64);
        for of_frame in job.chunks.chunk_by(|a, b| a.frame == b.frame) {
            if !self.goes_on()? {
                return Ok(());
            }
            let Some(number) = of_frame.first().map(|chunk| chunk.frame) else { continue };
            match job.pack.decode_frame(number, job.from, stored, plain) {
                Ok(frame) => self.judge(&job.pack, number, of_frame, frame.plain, chunks, emit)?,
                Err(error) => self.rescue(&job.pack, of_frame, error, emit)?,
            }
        }
        Ok(())
    }

    fn judge(
        &self,
        pack: &PackReader,
        number: u32,
        wanted: &[Placed],
        plain: &[u8],
        chunks: &mut Vec<FrameChunk>,
        emit: &mut Emit<'_>,
    ) -> Result<(), Failure> {
        chunks.clear();
        let listed = pack.directory().frame_chunks(number);
        chunks.extend(listed.map(|(id, place)| FrameChunk { id, place, verdict: None }));
        let first_slot = pack.directory().first_slot(number).unwrap_or(0);
        // What was verified and not handed over yet: place in the volume, and in the frame.
        let (mut at, mut run) = (0, 0..0);
        for want in wanted {
            let chunk = want.slot.checked_sub(first_slot).and_then(|index| chunks.get_mut(index as usize));
            let good = chunk.and_then(|chunk| {
                let from = chunk.place.offset as usize;
                let range = from..from + chunk.place.length as usize;
                let bytes = plain.get(range.clone())?;
                let verdict = chunk.verdict.get_or_insert_with(|| {
                    chunk.id == want.wanted.id && self.repository.ids().is_authentic(Content::Data, &chunk.id, bytes)
                });
                (*verdict && bytes.len() == want.wanted.length as usize).then_some(range)
            });
            let Some(range) = good else {
                let error = other_bytes(pack, number, &want.wanted.id);
                self.rescue(pack, std::slice::from_ref(want), error, emit)?;
                continue;
            };
            if range.start == run.end && at + run.len() as u64 == want.wanted.offset && !run.is_empty() {
                run.end = range.end;
                continue;
            }
            hand_over(plain, at, run, emit)?;
            (at, run) = (want.wanted.offset, range);
        }
        hand_over(plain, at, run, emit)
    }

    /// Has the chunks from wherever else they are.
    fn rescue(
        &self,
        pack: &PackReader,
        placed: &[Placed],
        error: StoreError,
        emit: &mut Emit<'_>,
    ) -> Result<(), Failure> {
        let wanted: Vec<_> = placed.iter().map(|chunk| chunk.wanted).collect();
        let read = self.finder.rescue(pack, &wanted, error, |offset, bytes| match self.goes_on()? {
            true => emit(offset, bytes),
            false => Ok(()),
        })?;
        self.counters.read.fetch_add(read, Ordering::Relaxed);
        Ok(())
    }
}

fn hand_over(plain: &[u8], at: u64, run: std::ops::Range<usize>, emit: &mut Emit<'_>) -> Result<(), Failure> {
    match plain.get(run) {
        Some(bytes) if !bytes.is_empty() => emit(at, bytes),
        _ => Ok(()),
    }
}
