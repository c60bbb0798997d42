//! The reader thread for a volume that is given as what differs from an earlier backup, its base: whole chunks of the
//! base are kept by their ids; chunks that a part covers in part are put together.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cinderblock_chunker::Extent;
use cinderblock_store::{Chunking, MAX_VOLUME_BYTES};
use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::backup::Chunker;
use crate::backup::hash::Segment;
use crate::backup::reader::Step;
use crate::buffer::BufferPool;
use crate::engine::CancelToken;
use crate::error::Error;
use crate::source::{Overlay, Part, Parts};
use crate::volume::BackupVolume;

/// Most kept chunks in a segment: 1,024, those of a leaf.
const MAX_KEPT: usize = 1024;

/// A base is read in an eighth of the engine's memory.
pub(super) const BASE_MEMORY: usize = 8;

/// Refuses what cannot be backed up.
pub(super) fn check(overlay: &Overlay, chunker: Chunker) -> Result<(), Error> {
    if chunker != Chunker::Fixed {
        let reason = "a volume that is given as changes can only be cut at multiples of the chunk size".to_owned();
        return Err(Error::BadSource { path: PathBuf::from(&overlay.name), reason });
    }
    if overlay.volume_bytes > MAX_VOLUME_BYTES {
        return Err(Error::SourceTooLarge { path: overlay.name.clone(), limit: MAX_VOLUME_BYTES });
    }
    Ok(())
}

/// What the reader is to do.
pub(super) struct Reading<'a> {
    pub name: &'a str,
    pub base: Option<&'a BackupVolume<'a>>,
    pub volume_bytes: u64,
    pub chunk_bytes: u64,
    pub pool: &'a Arc<BufferPool>,
    pub cancel: &'a CancelToken,
}

/// Reads the parts while `take` takes what comes of them, and gives back what that does.
pub(super) fn run<T>(
    parts: Parts,
    reading: &Reading<'_>,
    take: impl FnOnce(Receiver<Step>) -> Result<T, Error>,
) -> Result<T, Error> {
    let (given, incoming) = bounded(0);
    // Not scoped: parts that do not come must not keep a backup that was cancelled, or has failed, from returning.
    std::thread::spawn(move || {
        for part in parts {
            if given.send(Some(part)).is_err() {
                return;
            }
        }
        let _ = given.send(None);
    });
    std::thread::scope(|threads| {
        let (sender, steps) = bounded(0);
        // Closed when the backup has ended, in whatever way.
        let (_running, ended) = bounded(0);
        threads.spawn(move || {
            let mut reader = Reader::new(reading, &sender);
            let step = match reader.read(&incoming, &ended) {
                Ok(()) => Step::End(reading.volume_bytes),
                Err(error) => Step::Failed(error),
            };
            let _ = sender.send(step);
        });
        take(steps)
    })
}

/// Puts chunks together, in the order of the volume.
///
/// Invariant: everything before `at` is in a segment, and `at` is where a chunk begins (or the volume ends). The buffer has
/// the bytes from `at` to `open_end`, of one chunk that is not whole yet, behind the `filled` bytes of whole ones.
struct Reader<'a> {
    reading: &'a Reading<'a>,
    out: &'a Sender<Step>,
    segment: Segment,
    filled: usize,
    at: u64,
    open_end: u64,
    /// Where the last part ended.
    parts_end: u64,
}

impl<'a> Reader<'a> {
    fn new(reading: &'a Reading<'a>, out: &'a Sender<Step>) -> Self {
        Self { reading, out, segment: Segment::default(), filled: 0, at: 0, open_end: 0, parts_end: 0 }
    }

    fn read(&mut self, parts: &Receiver<Option<io::Result<Part>>>, ended: &Receiver<()>) -> Result<(), Error> {
        loop {
            self.reading.cancel.check(false)?;
            let part = select! {
                recv(parts) -> part => part,
                recv(ended) -> _ => return Err(Error::Cancelled { partly_written: false }),
                default(Duration::from_millis(100)) => continue,
            };
            match part {
                Ok(Some(Ok(part))) => self.part(&part)?,
                Ok(Some(Err(source))) => return Err(self.failed(self.parts_end, source)),
                Ok(None) => {
                    self.keep_until(self.reading.volume_bytes)?;
                    return self.flush();
                }
                // The iterator has panicked.
                Err(_) => return Err(self.failed(self.parts_end, io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn failed(&self, offset: u64, source: io::Error) -> Error {
        Error::ReadSource { path: self.reading.name.to_owned(), offset, source }
    }

    fn part(&mut self, part: &Part) -> Result<(), Error> {
        let (mut offset, mut rest) = (part.offset, part.bytes.as_slice());
        let end = offset.checked_add(rest.len() as u64).filter(|end| *end <= self.reading.volume_bytes);
        let wrong = |reason| Err(self.failed(offset, io::Error::new(io::ErrorKind::InvalidData, reason)));
        match end {
            None => return wrong("a part lies behind the volume's end"),
            Some(_) if offset < self.parts_end => return wrong("a part begins before the one before it ends"),
            Some(end) => self.parts_end = end,
        }
        while !rest.is_empty() {
            self.keep_until(offset - offset % self.reading.chunk_bytes)?;
            self.fill_from_base(offset)?;
            let chunk_end = self.chunk_end(self.at);
            let (now, after) = rest.split_at(rest.len().min((chunk_end - offset) as usize));
            self.buffer(offset, now.len()).copy_from_slice(now);
            self.segment.read_bytes += now.len() as u64;
            (offset, rest) = (offset + now.len() as u64, after);
            self.open_end = offset;
            if offset == chunk_end {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Where the chunk ends that begins at `start`.
    fn chunk_end(&self, start: u64) -> u64 {
        (start + self.reading.chunk_bytes).min(self.reading.volume_bytes)
    }

    /// The place of bytes of the volume, from `at` on, in the buffer.
    fn buffer(&mut self, from: u64, length: usize) -> &mut [u8] {
        let start = self.filled + (from - self.at) as usize;
        let buffer = self.segment.buffer.get_or_insert_with(|| self.reading.pool.take());
        buffer.as_mut_slice().get_mut(start..start + length).unwrap_or_default()
    }

    /// Fills the open chunk up to a place with what the base has there.
    fn fill_from_base(&mut self, to: u64) -> Result<(), Error> {
        let (from, base) = (self.open_end, self.reading.base);
        let bytes = self.buffer(from, (to - from) as usize);
        match base {
            Some(base) => base.read_at(from, bytes).map_err(|error| base.as_base(error))?,
            None => bytes.fill(0),
        }
        self.open_end = to;
        Ok(())
    }

    /// The open chunk is whole.
    fn close(&mut self) -> Result<(), Error> {
        let length = self.open_end - self.at;
        self.segment.chunks.push(Extent { offset: self.at, length });
        self.filled += length as usize;
        self.at = self.open_end;
        if self.room() == 0 { self.flush() } else { Ok(()) }
    }

    /// Bytes of whole chunks that still go into the segment.
    fn room(&mut self) -> u64 {
        let buffer = self.segment.buffer.get_or_insert_with(|| self.reading.pool.take());
        let free = (buffer.len() - self.filled) as u64;
        free - free % self.reading.chunk_bytes
    }

    /// Sends the segment. No chunk is open.
    fn flush(&mut self) -> Result<(), Error> {
        self.reading.cancel.check(false)?;
        let segment = std::mem::take(&mut self.segment);
        self.filled = 0;
        if (!segment.chunks.is_empty() || !segment.kept.is_empty()) && self.out.send(Step::Segment(segment)).is_err() {
            // The backup has failed elsewhere: that is the error which counts.
            return Err(Error::Cancelled { partly_written: false });
        }
        Ok(())
    }

    /// Everything up to the beginning of a chunk, or the volume's end, is as in the base.
    fn keep_until(&mut self, end: u64) -> Result<(), Error> {
        if self.at == end {
            return Ok(());
        }
        if self.open_end > self.at {
            self.fill_from_base(self.chunk_end(self.at))?;
            self.close()?;
        }
        if let Some(base) = self.reading.base {
            let kept = match base.record().chunking {
                Chunking::Fixed => self.keep(base, end),
                Chunking::Content { .. } => self.copy(base, self.at, end),
            };
            kept.map_err(|error| base.as_base(error))?;
        }
        (self.at, self.open_end) = (end, end);
        Ok(())
    }

    fn keep(&mut self, base: &BackupVolume<'_>, end: u64) -> Result<(), Error> {
        base.each_chunk(self.at, end, |chunk| {
            let chunk_end = self.chunk_end(chunk.offset);
            if chunk.offset + u64::from(chunk.length) != chunk_end {
                // The last chunk of a volume that has grown or shrunk since.
                return self.copy(base, chunk.offset, chunk_end);
            }
            self.segment.kept.push(chunk);
            if self.segment.kept.len() >= MAX_KEPT { self.flush() } else { Ok(()) }
        })
    }

    /// Reads whole chunks of the base.
    fn copy(&mut self, base: &BackupVolume<'_>, from: u64, end: u64) -> Result<(), Error> {
        let chunk_bytes = self.reading.chunk_bytes;
        self.at = from;
        while let Some(data) = base.next_data(self.at, end)? {
            self.at = data.offset - data.offset % chunk_bytes;
            let stop = data.end().next_multiple_of(chunk_bytes).min(end).min(self.at + self.room());
            let bytes = self.buffer(self.at, (stop - self.at) as usize);
            base.read_at(data.offset - data.offset % chunk_bytes, bytes)?;
            while self.at < stop {
                self.open_end = self.chunk_end(self.at);
                self.close()?;
            }
        }
        Ok(())
    }
}
