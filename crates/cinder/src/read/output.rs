//! [`Output`]: the file or device that a volume is restored to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cinderblock_chunker::is_zero;
use cinderblock_pipeline::{Progress, make_zero};

use super::existing::{block_length, with_bytes};
use super::group::{Sink, Task};
use crate::error::Error;

/// A target that is open for writing.
#[derive(Debug)]
pub(super) struct Output<'a> {
    file: &'a File,
    path: &'a Path,
    /// Whether what is not written reads as zeros.
    is_new: bool,
    progress: &'a Progress,
    /// Set before the first byte is changed.
    touched: AtomicBool,
    written: AtomicU64,
    zero: AtomicU64,
}

impl<'a> Output<'a> {
    pub(super) fn new(file: &'a File, path: &'a Path, is_new: bool, progress: &'a Progress) -> Self {
        let (touched, written, zero) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        Self { file, path, is_new, progress, touched, written, zero }
    }

    /// Whether an existing target was changed.
    pub(super) fn partly_written(&self) -> bool {
        !self.is_new && self.touched.load(Ordering::Relaxed)
    }

    /// Bytes that were written, and bytes that were zero.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.zero.load(Ordering::Relaxed))
    }

    pub(super) fn failed(&self, operation: &'static str, offset: u64, source: io::Error) -> Error {
        let partly_written = self.partly_written();
        let path = self.path.to_owned();
        cinderblock_pipeline::Error::Target { operation, path, offset, partly_written, source }.into()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.touched.store(true, Ordering::Relaxed);
        self.file.write_all_at(bytes, offset).map_err(|source| self.failed("writing", offset, source))?;
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.progress.stored_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a part of the target zero.
    pub(super) fn zeros(&self, offset: u64, length: u64) -> Result<(), Error> {
        self.zero.fetch_add(length, Ordering::Relaxed);
        if self.is_new || length == 0 {
            return Ok(());
        }
        self.touched.store(true, Ordering::Relaxed);
        make_zero(self.file, offset, length).map_err(|source| self.failed("zeroing", offset, source))
    }
}

/// What is to be done with a part of the volume.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The target has it already.
    Same,
    Zeros,
    Data,
}

impl Sink for Output<'_> {
    /// Writes what is not zero.
    fn take(&self, _task: &Task<'_>, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.put(offset, bytes, None)
    }
}

impl Output<'_> {
    /// Writes what is not zero over an existing target, and makes zero what is: in every layer, or a block that became zero since
    /// the backup before would keep its old bytes. With `compare`, what the target has already is left alone.
    pub(super) fn overwrite(&self, offset: u64, bytes: &[u8], compare: bool) -> Result<(), Error> {
        if !compare {
            return self.put(offset, bytes, None);
        }
        with_bytes((self.file, self.path), offset, bytes.len(), |there| self.put(offset, bytes, Some(there)))
    }

    fn put(&self, offset: u64, bytes: &[u8], there: Option<&[u8]>) -> Result<(), Error> {
        // A run of blocks of one kind: where it begins, and which kind it is.
        let (mut start, mut kind) = (0, Part::Same);
        let mut at = 0;
        while at < bytes.len() {
            let length = block_length(offset + at as u64, offset + bytes.len() as u64);
            let block = bytes.get(at..at + length).unwrap_or_default();
            let next = match there.and_then(|there| there.get(at..at + length)) {
                Some(there) if there == block => Part::Same,
                _ if is_zero(block) => Part::Zeros,
                _ => Part::Data,
            };
            if next != kind {
                self.flush(offset, bytes, start..at, kind)?;
                (start, kind) = (at, next);
            }
            at += length;
        }
        self.flush(offset, bytes, start..at, kind)
    }

    fn flush(&self, offset: u64, bytes: &[u8], run: std::ops::Range<usize>, kind: Part) -> Result<(), Error> {
        let (at, length) = (offset + run.start as u64, run.len() as u64);
        match kind {
            Part::Same => Ok(()),
            Part::Zeros => self.zeros(at, length),
            Part::Data => self.write(at, bytes.get(run).unwrap_or_default()),
        }
    }
}
