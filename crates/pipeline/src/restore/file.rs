//! Filling a file or a device.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use cinderblock_store::map::PieceContent;

use super::compare::Comparison;
use super::plan::{Job, Wanted};
use super::run::{Failure, Run};
use crate::engine::Progress;
use crate::lanes::Lanes;

/// Chunks that are located and grouped together: 16,384, which is 512 MiB at 32 KiB chunks, take 1 MiB of memory. The
/// more, the fewer frames are decompressed twice because their chunks lie far from each other in the volume.
const WINDOW_CHUNKS: usize = 16_384;

/// A kind of target.
enum Place<'f> {
    New,
    Existing(Comparison<'f>),
}

impl Run<'_> {
    /// Writes everything that is not zero into a file of holes.
    pub(super) fn fill_new(&self, file: &File) -> Result<(), Failure> {
        self.fill(file, Place::New)
    }

    /// Writes what differs, and makes it durable.
    pub(super) fn fill_existing(&self, file: &File) -> Result<(), Failure> {
        self.fill(file, Place::Existing(Comparison::new(file, self.record.volume_bytes)))?;
        if self.goes_on()? {
            file.sync_all().map_err(|source| Failure::Target { operation: "syncing", offset: 0, source })?;
        }
        Ok(())
    }

    fn fill(&self, file: &File, mut place: Place<'_>) -> Result<(), Failure> {
        self.goes_on()?;
        self.warm();
        Lanes::with(self.pool, self.in_flight, |lanes| {
            // What is queued need not be done after a failure.
            self.plan_file(lanes, file, &mut place).unwrap_or_else(|failure| self.fail(failure));
        });
        Ok(())
    }

    fn plan_file<'t>(&'t self, lanes: &Lanes<'_, 't>, file: &'t File, place: &mut Place<'_>) -> Result<(), Failure> {
        let mut window: Vec<Wanted> = Vec::new();
        self.each_leaf(|leaf| {
            for piece in &leaf.pieces {
                let wanted = self.finder.wanted(piece)?;
                if piece.content == PieceContent::Zeros {
                    add(&self.counters.zero, piece.length);
                }
                match (&mut *place, wanted) {
                    (Place::New, None) => Progress::add(&self.progress().done_bytes, piece.length),
                    (Place::New, Some(wanted)) => window.push(wanted),
                    (Place::Existing(comparison), None) => {
                        comparison.zeros(self, piece.offset, piece.length, &mut window)?;
                    }
                    (Place::Existing(comparison), Some(wanted)) => comparison.chunk(self, wanted, &mut window)?,
                }
                if window.len() >= WINDOW_CHUNKS {
                    self.dispatch(lanes, file, &mut window)?;
                }
            }
            Ok(())
        })?;
        if let Place::Existing(comparison) = place {
            comparison.flush(self, &mut window)?;
        }
        self.dispatch(lanes, file, &mut window)
    }

    fn dispatch<'t>(&'t self, lanes: &Lanes<'_, 't>, file: &'t File, window: &mut Vec<Wanted>) -> Result<(), Failure> {
        let wanted = std::mem::take(window);
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let (jobs, planned) = self.plan(rest)?;
            rest = rest.get(planned..).unwrap_or_default();
            self.start(lanes, file, jobs)?;
        }
        Ok(())
    }

    fn start<'t>(&'t self, lanes: &Lanes<'_, 't>, file: &'t File, jobs: Vec<Job>) -> Result<(), Failure> {
        for job in jobs {
            if !self.goes_on()? {
                return Ok(());
            }
            let permit = self.budget.permit(job.memory_bytes());
            lanes.start(move || {
                let _permit = permit;
                let fetched = self.goes_on().and_then(|go| match go {
                    true => self.fetch(&job, &mut |offset, bytes| self.write(file, offset, bytes)),
                    false => Ok(()),
                });
                if let Err(failure) = fetched {
                    self.fail(failure);
                }
            });
        }
        Ok(())
    }

    /// Writes verified bytes.
    pub(super) fn write(&self, file: &File, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        self.touched.store(true, Ordering::Relaxed);
        file.write_all_at(bytes, offset).map_err(|source| Failure::Target { operation: "writing", offset, source })?;
        let written = bytes.len() as u64;
        add(&self.counters.written, written);
        Progress::add(&self.progress().stored_bytes, written);
        Progress::add(&self.progress().done_bytes, written);
        Ok(())
    }
}

pub(super) fn add(counter: &AtomicU64, bytes: u64) {
    counter.fetch_add(bytes, Ordering::Relaxed);
}
