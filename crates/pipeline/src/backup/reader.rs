//! The reader thread, for what has to be read from start to end: streams, and content-defined chunking.

use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;

use cinderblock_chunker::{ContentChunker, DataExtents, Extent};
use cinderblock_store::MAX_VOLUME_BYTES;
use crossbeam_channel::Sender;

use crate::backup::hash::Segment;
use crate::buffer::{Buffer, BufferPool};
use crate::engine::CancelToken;
use crate::error::Error;
use crate::source::VolumeFile;

/// What the reader sends.
#[derive(Debug)]
pub(super) enum Step {
    /// The next part of the volume.
    Segment(Segment),
    /// The end: the volume's size in bytes.
    End(u64),
    /// Reading failed.
    Failed(Error),
}

/// How the bytes are cut.
pub(super) enum Cutter {
    Fixed(u64),
    Content(ContentChunker),
}

/// Reads until the end, a failure, a request to stop, or until nobody listens. `read` chooses what, and returns the volume's
/// size in bytes.
pub(super) fn run(
    cutter: Cutter,
    pool: &Arc<BufferPool>,
    cancel: &CancelToken,
    out: &Sender<Step>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<u64, Error>,
) {
    let mut reader = Reader { cutter, pool, cancel, out, carried: Vec::new(), offset: 0 };
    let _ = out.send(match read(&mut reader) {
        Ok(bytes) => Step::End(bytes),
        Err(error) => Step::Failed(error),
    });
}

/// Reads a source from start to end.
pub(super) struct Reader<'a> {
    cutter: Cutter,
    pool: &'a Arc<BufferPool>,
    cancel: &'a CancelToken,
    out: &'a Sender<Step>,
    /// Bytes behind the last cut, which belong to the next segment.
    carried: Vec<u8>,
    /// Where they lie in the volume.
    offset: u64,
}

impl Reader<'_> {
    pub(super) fn stream(&mut self, mut stream: Box<dyn Read + Send>, name: &str) -> Result<u64, Error> {
        loop {
            let mut buffer = self.pool.take();
            let mut filled = self.restore_carried(&mut buffer);
            let mut last = false;
            while let Some(free @ [_, ..]) = buffer.as_mut_slice().get_mut(filled..) {
                self.cancel.check(false)?;
                match stream.read(free) {
                    Ok(0) => {
                        last = true;
                        break;
                    }
                    Ok(count) => filled += count,
                    // A signal: the loop looks whether it asks to stop.
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(source) => {
                        let offset = self.offset + filled as u64;
                        return Err(Error::ReadSource { path: name.to_owned(), offset, source });
                    }
                }
            }
            let end = self.offset + filled as u64;
            if end > MAX_VOLUME_BYTES {
                return Err(Error::SourceTooLarge { path: name.to_owned(), limit: MAX_VOLUME_BYTES });
            }
            self.send(buffer, filled, last)?;
            if last {
                return Ok(end);
            }
        }
    }

    pub(super) fn file(&mut self, source: &VolumeFile) -> Result<u64, Error> {
        for extent in DataExtents::new(source.file().as_fd(), source.size()) {
            let extent = extent.map_err(|error| source.not_chunked(error))?;
            // A hole is a cut: what is behind it is cut as if it stood alone.
            self.offset = extent.offset;
            let mut at = extent.offset;
            while at < extent.end() {
                self.cancel.check(false)?;
                let mut buffer = self.pool.take();
                let carried = self.restore_carried(&mut buffer);
                let free = buffer.len() - carried;
                let count = (extent.end() - at).min(free as u64) as usize;
                if let Some(part) = buffer.as_mut_slice().get_mut(carried..carried + count) {
                    source.read_at(at, part)?;
                }
                at += count as u64;
                self.send(buffer, carried + count, at == extent.end())?;
            }
        }
        source.check_size()?;
        Ok(source.size())
    }

    fn restore_carried(&mut self, buffer: &mut Buffer) -> usize {
        let length = self.carried.len();
        if let Some(start) = buffer.as_mut_slice().get_mut(..length) {
            start.copy_from_slice(&self.carried);
        }
        self.carried.clear();
        length
    }

    /// Cuts what is in the buffer and hands it on, but for the tail that could still grow.
    fn send(&mut self, buffer: Buffer, filled: usize, last: bool) -> Result<(), Error> {
        let bytes = buffer.get(..filled).unwrap_or_default();
        let mut lengths = Vec::new();
        let used = match &self.cutter {
            Cutter::Content(chunker) => chunker.cut(bytes, last, &mut lengths),
            Cutter::Fixed(size) => {
                // Buffers are whole chunks long: only the last one is filled in part.
                lengths.extend(bytes.chunks(*size as usize).map(|chunk| chunk.len() as u32));
                filled
            }
        };
        self.carried.extend_from_slice(bytes.get(used..).unwrap_or_default());
        let mut chunks = Vec::with_capacity(lengths.len());
        for length in lengths {
            chunks.push(Extent { offset: self.offset, length: length.into() });
            self.offset += u64::from(length);
        }
        let read_bytes = chunks.iter().map(|chunk| chunk.length).sum();
        let segment = Segment { buffer: Some(buffer), chunks, kept: Vec::new(), read_bytes };
        if !segment.chunks.is_empty() && self.out.send(Step::Segment(segment)).is_err() {
            // The backup has failed elsewhere: that is the error which counts.
            return Err(Error::Cancelled { partly_written: false });
        }
        Ok(())
    }
}
