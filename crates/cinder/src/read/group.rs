//! A group of data objects that one thread reads side by side.

use std::io::{self, Read};
use std::ops::Range;

use cinderblock_pipeline::PageBuffer;
use rayon::prelude::*;

use crate::compression::{Damage, Decoder};
use crate::crew::Crew;
use crate::document::ExtraMetadata;
use crate::error::Error;
use crate::layer::{Layer, LayerObject};
use crate::md5::{Md5, update_many};
use crate::storage::{ChunkedStorage, ObjectReader};

/// Plain bytes of an object that are worked on at once, unless a record needs larger ones: 256 KiB.
pub(crate) const PIECE_BYTES: u64 = 256 << 10;

/// Objects that are read side by side at most: the lanes of two SIMD registers.
const MAX_LANES: u64 = 16;

/// Memory of one lane in bytes besides its piece, rounded up: zstd with the largest window that is accepted.
const LANE_BYTES: u64 = 10 << 20;

/// What to read of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    /// Its place among those that are read; for the sink to tell them apart.
    pub place: usize,
    pub layer: &'a Layer,
    pub object: &'a LayerObject,
    /// Parts of the volume that are wanted: in order, within the object. All of the object is read and checked.
    pub ranges: &'a [Range<u64>],
}

impl Task<'_> {
    /// The error of an object whose bytes are not what they should be.
    pub(crate) fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::DamagedObject {
            object: format!("{}/{}", self.layer.container, self.layer.name(self.object)),
            offset: self.object.offset,
            length: self.object.length,
            reason: reason.into(),
        }
    }

    /// The error of an object that is not there.
    pub(crate) fn missing(&self) -> Error {
        Error::MissingObject {
            object: format!("{}/{}", self.layer.container, self.layer.name(self.object)),
            offset: self.object.offset,
            length: self.object.length,
        }
    }

    /// The error of a read: damage is told apart from a storage that failed.
    pub(crate) fn failed(&self, error: io::Error) -> Error {
        if let Some(damage) = Damage::of(&error) {
            return self.damaged(damage.to_string());
        }
        match cinderblock_backend::Error::from_io("read", self.layer.name(self.object), error) {
            cinderblock_backend::Error::Io { source, .. } => {
                Error::ReadObject { object: self.layer.name(self.object), source }
            }
            error if error.is_not_found() => self.missing(),
            // Shorter than it was when it was opened.
            cinderblock_backend::Error::UnexpectedEnd { .. } => self.damaged("it was cut short meanwhile"),
            error => error.into(),
        }
    }

    pub(crate) fn open<'s>(&self, storage: &'s dyn ChunkedStorage, from: u64) -> Result<ObjectReader<'s>, Error> {
        let extra_metadata = self.layer.metadata.extra_metadata.as_ref().map(ExtraMetadata::value);
        let (container, name) = (&self.layer.container, self.layer.name(self.object));
        storage.get_object_reader_at(container, &name, extra_metadata, from).map_err(|error| match error {
            Error::Backend(error) if error.is_not_found() => self.missing(),
            error => error,
        })
    }

    /// Begins to read the object's plain bytes.
    pub(crate) fn decode<'s>(&self, storage: &'s dyn ChunkedStorage) -> Result<Decoder<ObjectReader<'s>>, Error> {
        self.decode_from(storage, 0)
    }

    /// The same from stored byte `from` on, which is another one than 0 only where nothing is compressed.
    pub(super) fn decode_from<'s>(
        &self,
        storage: &'s dyn ChunkedStorage,
        from: u64,
    ) -> Result<Decoder<ObjectReader<'s>>, Error> {
        let reader = self.open(storage, from)?;
        let length = self.object.length.saturating_sub(from);
        Decoder::new(self.object.algorithm, reader, length).map_err(|error| self.failed(error))
    }

    /// Calls `each` with the wanted parts of bytes that begin at byte `start` of the volume, and their places.
    pub(super) fn wanted(
        &self,
        start: u64,
        bytes: &[u8],
        mut each: impl FnMut(u64, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let end = start + bytes.len() as u64;
        let first = self.ranges.partition_point(|range| range.end <= start);
        for range in self.ranges.get(first..).unwrap_or_default() {
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from >= to {
                break;
            }
            each(from, bytes.get((from - start) as usize..(to - start) as usize).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Compares the MD5 of all its bytes with what the metadata say.
    pub(crate) fn check_md5(&self, md5: [u8; 16]) -> Result<(), Error> {
        if md5 == self.object.md5 {
            Ok(())
        } else {
            Err(self.damaged("its bytes do not have the MD5 that its metadata state"))
        }
    }
}

/// Takes an object's bytes, in order for each object, from many threads at once.
pub(crate) trait Sink: Sync {
    /// Takes bytes of a task that are wanted, and their place in the volume.
    ///
    /// # Errors
    /// Any; the task then ends with it.
    fn take(&self, task: &Task<'_>, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Takes all bytes of a piece, wanted or not, after the wanted ones were taken: the piece begins at byte `at` of the object,
    /// and `md5` is that of the object up to the piece's end.
    fn end_piece(&self, task: &Task<'_>, at: u64, bytes: &[u8], md5: &Md5) {
        let _ = (task, at, bytes, md5);
    }
}

/// Where objects are read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub storage: &'a dyn ChunkedStorage,
    pub crew: &'a Crew,
    /// Bytes of a piece.
    pub piece_bytes: u64,
}

/// How many objects are read at once within so much memory: those of a group, and groups.
pub(crate) fn lanes(memory_bytes: usize, threads: usize) -> (usize, u64) {
    lanes_of(memory_bytes as u64 / 2, threads, lane_bytes(PIECE_BYTES))
}

/// The same for lanes of so many bytes.
pub(super) fn lanes_of(memory_bytes: u64, threads: usize, lane_bytes: u64) -> (usize, u64) {
    let affordable = (memory_bytes / lane_bytes).max(1);
    let groups = (threads.max(1) as u64).min(affordable);
    ((affordable / groups).clamp(1, MAX_LANES) as usize, groups)
}

/// Memory of a lane, whatever the algorithm.
pub(super) fn lane_bytes(piece_bytes: u64) -> u64 {
    PageBuffer::memory_bytes(piece_bytes as usize) as u64 + LANE_BYTES
}

struct Lane<'t, 's> {
    task: &'t Task<'t>,
    decoder: Option<Decoder<ObjectReader<'s>>>,
    at: u64,
    piece: PageBuffer,
    filled: usize,
    failure: Option<Error>,
}

impl<'s> Lane<'_, 's> {
    /// Reads the next piece; nothing at the end, or after a failure.
    fn fill(&mut self, storage: &'s dyn ChunkedStorage, piece_bytes: u64) {
        self.filled = 0;
        let length = (self.task.object.length - self.at).min(piece_bytes) as usize;
        if length == 0 || self.failure.is_some() {
            return;
        }
        if let Err(error) = self.try_fill(storage, length) {
            self.failure = Some(error);
        }
    }

    fn try_fill(&mut self, storage: &'s dyn ChunkedStorage, length: usize) -> Result<(), Error> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            slot => slot.insert(self.task.decode(storage)?),
        };
        decoder.read_exact(self.piece.resize(length)).map_err(|error| self.task.failed(error))?;
        self.filled = length;
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.piece.get(..self.filled).unwrap_or_default()
    }

    /// Hands over what is wanted of the piece.
    fn deliver(&mut self, sink: &dyn Sink, md5: &Md5) {
        if self.filled == 0 {
            return;
        }
        let start = self.task.object.offset + self.at;
        let delivered = self.task.wanted(start, self.bytes(), |offset, part| sink.take(self.task, offset, part));
        match delivered {
            Ok(()) => sink.end_piece(self.task, self.at, self.bytes(), md5),
            Err(error) => self.failure = Some(error),
        }
        self.at += self.filled as u64;
    }

    fn finish(self, md5: Md5) -> Result<(), Error> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        if let Some(decoder) = self.decoder {
            decoder.finish().map_err(|error| self.task.failed(error))?;
        }
        self.task.check_md5(md5.finish())
    }
}

impl Reader<'_> {
    /// Reads objects side by side; what became of each. Whether an object's bytes were right is only known at its end: what
    /// was handed over must not be believed before.
    ///
    /// # Errors
    /// A request to stop.
    pub(crate) fn read(&self, tasks: &[Task<'_>], sink: &dyn Sink) -> Result<Vec<Result<(), Error>>, Error> {
        let lane = |task| Lane { task, decoder: None, at: 0, piece: PageBuffer::default(), filled: 0, failure: None };
        let mut lanes: Vec<Lane<'_, '_>> = tasks.iter().map(lane).collect();
        let mut md5s = vec![Md5::new(); tasks.len()];
        while lanes.iter().any(|lane| lane.failure.is_none() && lane.at < lane.task.object.length) {
            self.crew.check()?;
            lanes.par_iter_mut().for_each(|lane| lane.fill(self.storage, self.piece_bytes));
            let pieces: Vec<&[u8]> = lanes.iter().map(Lane::bytes).collect();
            update_many(&mut md5s, &pieces);
            lanes.par_iter_mut().zip(&md5s).for_each(|(lane, md5)| lane.deliver(sink, md5));
        }
        Ok(lanes.into_par_iter().zip(md5s).map(|(lane, md5)| lane.finish(md5)).collect())
    }
}
