//! What an existing target holds already.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cinderblock_chunker::{DataExtents, is_zero};

use super::group::{Sink, Task};
use crate::error::Error;

/// Bytes of a target that are read at once where it should be zero: 1 MiB.
const READ_BYTES: u64 = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `look` with bytes of a target.
pub(super) fn with_bytes<T>(
    (file, path): (&File, &Path),
    offset: u64,
    length: usize,
    look: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let bytes = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact_at(bytes, offset).map_err(|source| reading_failed(path, offset, source))?;
        look(bytes)
    })
}

fn reading_failed(path: &Path, offset: u64, source: io::Error) -> Error {
    let path = path.to_owned();
    cinderblock_pipeline::Error::Target { operation: "reading", path, offset, partly_written: false, source }.into()
}

/// Compares objects with a target while they are checked: those whose parts it holds already need not be read again.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    target: (&'a File, &'a Path),
    /// For each task, by its place, whether the target is different somewhere.
    differs: Vec<AtomicBool>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(file: &'a File, path: &'a Path, tasks: usize) -> Self {
        let differs = std::iter::repeat_with(AtomicBool::default).take(tasks).collect();
        Self { target: (file, path), differs }
    }

    /// Whether some of a task's parts are different in the target.
    pub(super) fn differs(&self, task: &Task<'_>) -> bool {
        self.differs.get(task.place).is_none_or(|differs| differs.load(Ordering::Relaxed))
    }

    fn found_different(&self, task: &Task<'_>) {
        if let Some(differs) = self.differs.get(task.place) {
            differs.store(true, Ordering::Relaxed);
        }
    }

    /// Compares the target with zeros where a task's parts are.
    pub(super) fn zeros(&self, task: &Task<'_>) -> Result<(), Error> {
        let (file, path) = self.target;
        for range in task.ranges {
            for data in DataExtents::within(file.as_fd(), range.clone()) {
                let data = data.map_err(|error| reading_failed(path, range.start, io::Error::other(error)))?;
                let mut at = data.offset;
                while at < data.end() && !self.differs(task) {
                    let length = READ_BYTES.min(data.end() - at);
                    if !with_bytes(self.target, at, length as usize, |bytes| Ok(is_zero(bytes)))? {
                        self.found_different(task);
                    }
                    at += length;
                }
            }
        }
        Ok(())
    }
}

impl Sink for Comparison<'_> {
    fn take(&self, task: &Task<'_>, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if !self.differs(task) && !with_bytes(self.target, offset, bytes.len(), |there| Ok(there == bytes))? {
            self.found_different(task);
        }
        Ok(())
    }
}
