//! What an existing target holds already, so that only the rest is written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use cinderblock_chunker::{Extent, is_zero};
use rayon::prelude::*;

use super::extents::DataWalk;
use super::file::add;
use super::plan::Wanted;
use super::run::{Failure, Run};
use crate::engine::Progress;
use crate::target::make_zero;

/// Bytes of the target that are read at once, unless one chunk is longer: 1 MiB.
const UNIT_BYTES: u64 = 1 << 20;

/// Units that are compared together: 256, which is 256 MiB of the target.
const BATCH_UNITS: usize = 256;

/// Bytes that are made zero or left alone as one: 64 KiB, a multiple of what file systems can free.
const ZERO_BYTES: u64 = 64 << 10;

/// A part of the target that one thread looks at.
#[derive(Debug)]
enum Unit {
    /// Chunks that follow each other.
    Chunks(Vec<Wanted>),
    /// Should be zero, and is no hole.
    Zeros(Extent),
}

/// Compares an existing target with the volume, from the start to the end, many parts at once.
#[derive(Debug)]
pub(super) struct Comparison<'f> {
    file: &'f File,
    walk: DataWalk<'f>,
    units: Vec<Unit>,
    /// Chunks for the next unit, and their bytes.
    open: Vec<Wanted>,
    open_bytes: u64,
}

impl<'f> Comparison<'f> {
    pub(super) fn new(file: &'f File, volume_bytes: u64) -> Self {
        let walk = DataWalk::new(file, volume_bytes);
        Self { file, walk, units: Vec::new(), open: Vec::new(), open_bytes: 0 }
    }

    /// The next piece of the volume is this chunk. Chunks that have to be written come out in `differing`, at the
    /// latest with [`flush`](Self::flush).
    pub(super) fn chunk(&mut self, run: &Run<'_>, wanted: Wanted, differing: &mut Vec<Wanted>) -> Result<(), Failure> {
        let (offset, length) = (wanted.offset, u64::from(wanted.length));
        if self.walk.next_data(offset, offset + length)?.is_none() {
            // A hole: chunks that are all zero are not stored as chunks.
            differing.push(wanted);
            return Ok(());
        }
        let follows = self.open.last().is_none_or(|last| last.offset + u64::from(last.length) == offset);
        if !follows || self.open_bytes + length > UNIT_BYTES {
            self.close(run, differing)?;
        }
        self.open.push(wanted);
        self.open_bytes += length;
        Ok(())
    }

    /// The next piece of the volume is zero.
    pub(super) fn zeros(
        &mut self,
        run: &Run<'_>,
        offset: u64,
        length: u64,
        differing: &mut Vec<Wanted>,
    ) -> Result<(), Failure> {
        let (mut at, end) = (offset, offset + length);
        while let Some(data) = self.walk.next_data(at, end)? {
            unchanged(run, data.offset - at);
            let unit = Extent { offset: data.offset, length: data.length.min(UNIT_BYTES - data.offset % UNIT_BYTES) };
            at = unit.end();
            self.add(run, Unit::Zeros(unit), differing)?;
        }
        unchanged(run, end - at);
        Ok(())
    }

    fn close(&mut self, run: &Run<'_>, differing: &mut Vec<Wanted>) -> Result<(), Failure> {
        if self.open.is_empty() {
            return Ok(());
        }
        self.open_bytes = 0;
        let chunks = std::mem::take(&mut self.open);
        self.add(run, Unit::Chunks(chunks), differing)
    }

    fn add(&mut self, run: &Run<'_>, unit: Unit, differing: &mut Vec<Wanted>) -> Result<(), Failure> {
        self.units.push(unit);
        if self.units.len() >= BATCH_UNITS {
            self.compare(run, differing)?;
        }
        Ok(())
    }

    /// Compares what was not compared yet.
    pub(super) fn flush(&mut self, run: &Run<'_>, differing: &mut Vec<Wanted>) -> Result<(), Failure> {
        self.close(run, differing)?;
        self.compare(run, differing)
    }

    fn compare(&mut self, run: &Run<'_>, differing: &mut Vec<Wanted>) -> Result<(), Failure> {
        let (units, file) = (std::mem::take(&mut self.units), self.file);
        let found: Result<Vec<Vec<Wanted>>, Failure> =
            run.pool.install(|| units.into_par_iter().map(|unit| look(run, file, unit)).collect());
        differing.extend(found?.into_iter().flatten());
        Ok(())
    }
}

/// Looks at one part; the chunks of it that differ. What should be zero is made so at once.
fn look(run: &Run<'_>, file: &File, unit: Unit) -> Result<Vec<Wanted>, Failure> {
    if !run.goes_on()? {
        return Ok(Vec::new());
    }
    let mut buffers = run.budget.buffers();
    let extent = match &unit {
        Unit::Zeros(extent) => *extent,
        Unit::Chunks(chunks) => Extent {
            offset: chunks.first().map_or(0, |chunk| chunk.offset),
            length: chunks.iter().map(|chunk| u64::from(chunk.length)).sum(),
        },
    };
    let (bytes, ..) = buffers.split(extent.length as usize);
    let failed = |source| Failure::Target { operation: "reading", offset: extent.offset, source };
    file.read_exact_at(bytes, extent.offset).map_err(failed)?;
    Progress::add(&run.progress().read_bytes, extent.length);
    match unit {
        Unit::Zeros(extent) => clear(run, file, extent, bytes).map(|()| Vec::new()),
        Unit::Chunks(mut chunks) => {
            let mut rest: &[u8] = bytes;
            chunks.retain(|chunk| {
                let Some((bytes, after)) = rest.split_at_checked(chunk.length as usize) else { return true };
                rest = after;
                let same = run.repository.ids().chunk(bytes) == chunk.id;
                if same {
                    unchanged(run, chunk.length.into());
                }
                !same
            });
            Ok(chunks)
        }
    }
}

fn unchanged(run: &Run<'_>, bytes: u64) {
    add(&run.counters.unchanged, bytes);
    Progress::add(&run.progress().done_bytes, bytes);
}

/// Makes zero what is not, in runs of 64 KiB blocks; `bytes` is what the extent holds.
fn clear(run: &Run<'_>, file: &File, extent: Extent, bytes: &[u8]) -> Result<(), Failure> {
    let mut dirty: Option<Extent> = None;
    let (mut at, mut rest) = (extent.offset, bytes);
    while !rest.is_empty() {
        let length = (ZERO_BYTES - at % ZERO_BYTES).min(rest.len() as u64);
        let (block, after) = rest.split_at(length as usize);
        if is_zero(block) {
            unchanged(run, length);
            punch(run, file, dirty.take())?;
        } else {
            dirty.get_or_insert(Extent { offset: at, length: 0 }).length += length;
        }
        (at, rest) = (at + length, after);
    }
    punch(run, file, dirty)
}

/// Makes a part of the target zero: as a hole where that is possible.
fn punch(run: &Run<'_>, file: &File, extent: Option<Extent>) -> Result<(), Failure> {
    let Some(Extent { offset, length }) = extent else { return Ok(()) };
    run.touched.store(true, Ordering::Relaxed);
    make_zero(file, offset, length).map_err(|source| Failure::Target { operation: "zeroing", offset, source })?;
    add(&run.counters.written, length);
    Progress::add(&run.progress().stored_bytes, length);
    Progress::add(&run.progress().done_bytes, length);
    Ok(())
}
