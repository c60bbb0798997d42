//! What an existing target holds already.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cinderblock_chunker::is_zero;
use cinderblock_pipeline::PageBuffer;
use rustix::fs::{FileType, SeekFrom, fstat, seek};
use rustix::io::Errno;

use super::group::{Sink, Task};
use super::record::{Kind, Record};
use crate::error::Error;
use crate::md5::Md5;

/// Bytes of a target that are compared at once: 64 KiB, on the grid of what is zero or not as one.
pub(super) const BLOCK_BYTES: u64 = 64 << 10;

/// Bytes of a block that are compared first where the block before it was different: 4 KiB.
const FIRST_BYTES: usize = 4 << 10;

thread_local! {
    static BUFFER: RefCell<PageBuffer> = RefCell::default();
}

/// Calls `look` with bytes of a target.
pub(super) fn with_bytes<T>(
    (file, path): (&File, &Path),
    offset: u64,
    length: usize,
    look: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    BUFFER.with_borrow_mut(|buffer| {
        let bytes = buffer.resize(length);
        file.read_exact_at(bytes, offset).map_err(|source| reading_failed(path, offset, source))?;
        look(bytes)
    })
}

fn reading_failed(path: &Path, offset: u64, source: io::Error) -> Error {
    let path = path.to_owned();
    cinderblock_pipeline::Error::Target { operation: "reading", path, offset, partly_written: false, source }.into()
}

/// The bytes from `at` on, as far as they are in one block of the grid, and not beyond `end`.
pub(super) fn block_length(at: u64, end: u64) -> usize {
    (BLOCK_BYTES - at % BLOCK_BYTES).min(end - at) as usize
}

/// Compares objects with a target while they are checked, and records what is to be written.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    target: (&'a File, &'a Path),
    /// Whether the file system is asked for holes.
    sparse: bool,
    record: &'a Record,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(file: &'a File, path: &'a Path, record: &'a Record) -> Self {
        let sparse = fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Self { target: (file, path), sparse, record }
    }

    /// Where the first byte from `at` on is that is not in a hole, as far as that is known; at most `end`.
    fn next_data(&self, at: u64, end: u64) -> u64 {
        if !self.sparse {
            return at;
        }
        match seek(self.target.0, SeekFrom::Data(at)) {
            Ok(data) => data.clamp(at, end),
            Err(Errno::NXIO) => end,
            // What is not known is read.
            Err(_) => at,
        }
    }

    /// Whether the target is zero in a part of one block.
    fn is_zero_block(&self, at: u64, length: usize, was_same: bool) -> Result<bool, Error> {
        let first = if was_same { 0 } else { length.min(FIRST_BYTES) };
        Ok((first == 0 || with_bytes(self.target, at, first, |there| Ok(is_zero(there)))?)
            && with_bytes(self.target, at + first as u64, length - first, |there| Ok(is_zero(there)))?)
    }

    /// Compares the target with zeros where a task's parts are.
    pub(super) fn zeros(&self, task: &Task<'_>) -> Result<(), Error> {
        for piece in 0..self.record.pieces(task) {
            let piece = self.record.range(task, piece);
            let first = task.ranges.partition_point(|range| range.end <= piece.start);
            for range in task.ranges.get(first..).unwrap_or_default() {
                let part = range.start.max(piece.start)..range.end.min(piece.end);
                if part.is_empty() {
                    break;
                }
                self.record.add(task, part.start, self.zero_part(part.clone())?);
            }
        }
        Ok(())
    }

    fn zero_part(&self, part: Range<u64>) -> Result<Kind, Error> {
        let (mut at, mut was_same) = (self.next_data(part.start, part.end), false);
        while at < part.end {
            let length = block_length(at, part.end);
            if !self.is_zero_block(at, length, was_same)? {
                return Ok(Kind::Zeros);
            }
            was_same = true;
            at += length as u64;
        }
        Ok(Kind::Same)
    }

    /// Compares bytes with the target, block by block. As soon as it has both what is the same and what is not, it need not know
    /// more; of a block that is different it mostly needs the beginning only.
    fn compare(&self, offset: u64, bytes: &[u8]) -> Result<Kind, Error> {
        let end = offset + bytes.len() as u64;
        if is_zero(bytes) {
            return self.zero_part(offset..end);
        }
        let (mut same, mut different, mut was_same) = (false, false, true);
        let (mut at, mut left) = (offset, bytes);
        while !(left.is_empty() || same && different) {
            let (block, rest) = left.split_at_checked(block_length(at, end)).unwrap_or((left, &[]));
            let (first, second) = block.split_at_checked(FIRST_BYTES).filter(|_| !was_same).unwrap_or((block, &[]));
            was_same = with_bytes(self.target, at, first.len(), |there| Ok(there == first))?
                && with_bytes(self.target, at + first.len() as u64, second.len(), |there| Ok(there == second))?;
            (same, different) = (same || was_same, different || !was_same);
            at += block.len() as u64;
            left = rest;
        }
        Ok(match (same, different) {
            (true, true) => Kind::Mixed,
            (false, true) => Kind::Data,
            (_, false) => Kind::Same,
        })
    }
}

impl Sink for Comparison<'_> {
    fn take(&self, task: &Task<'_>, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.record.add(task, offset, self.compare(offset, bytes)?);
        Ok(())
    }

    fn end_piece(&self, task: &Task<'_>, at: u64, bytes: &[u8], md5: &Md5) {
        self.record.end(task, at, bytes, md5);
    }
}
