//! [`Rewrite`]: the write pass over an existing target.

use std::io::Read;

use cinderblock_pipeline::PageBuffer;

use super::group::Task;
use super::output::Output;
use super::record::{Kind, Record};
use crate::compression::{Algorithm, Decoder};
use crate::crew::Crew;
use crate::error::Error;
use crate::md5::{Md5, update_many};
use crate::storage::{ChunkedStorage, ObjectReader};

/// Writes what the check pass has recorded. Bytes that are not held any more are read and checked again, piece by piece, before
/// they are written: no byte that is not what it was when its whole object was checked reaches the target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewrite<'a> {
    pub storage: &'a dyn ChunkedStorage,
    pub crew: &'a Crew,
    pub record: &'a Record,
    pub output: &'a Output<'a>,
}

/// An object of which pieces are read again.
struct Lane<'t, 's> {
    task: &'t Task<'t>,
    decoder: Option<Decoder<ObjectReader<'s>>>,
    /// Byte of the object where the decoder is.
    at: u64,
    /// The next piece to look at.
    next: usize,
    /// The one that was read last.
    current: Option<usize>,
    buffer: PageBuffer,
}

impl Rewrite<'_> {
    /// Writes what differs of some tasks, side by side.
    ///
    /// # Errors
    /// [`Error::DamagedObject`] where an object is not any more what it was; whatever target or storage say; a request to stop.
    pub(super) fn run(&self, tasks: &[Task<'_>]) -> Result<(), Error> {
        for task in tasks {
            self.crew.check()?;
            self.write_known(task)?;
        }
        let lane = |task| Lane { task, decoder: None, at: 0, next: 0, current: None, buffer: PageBuffer::default() };
        let mut lanes: Vec<Lane<'_, '_>> = tasks.iter().map(lane).collect();
        loop {
            for lane in &mut lanes {
                self.crew.check()?;
                self.fill(lane)?;
            }
            lanes.retain(|lane| lane.current.is_some());
            if lanes.is_empty() {
                return Ok(());
            }
            let before = |lane: &Lane<'_, '_>| self.record.before(lane.task, lane.current.unwrap_or_default());
            let mut md5s: Vec<Md5> = lanes.iter().map(before).collect();
            let pieces: Vec<&[u8]> = lanes.iter().map(|lane| &*lane.buffer).collect();
            update_many(&mut md5s, &pieces);
            for (lane, md5) in lanes.iter().zip(md5s) {
                let piece = lane.current.unwrap_or_default();
                if !self.record.agrees(lane.task, piece, md5) {
                    return Err(lane.task.damaged("its bytes changed after they had been checked"));
                }
                self.write(lane.task, piece, &lane.buffer)?;
            }
        }
    }

    /// Writes zeros, and what is held.
    fn write_known(&self, task: &Task<'_>) -> Result<(), Error> {
        let pieces = self.record.pieces(task);
        let mut piece = 0;
        while piece < pieces {
            let start = piece;
            while piece < pieces && self.record.kind(task, piece) == Kind::Zeros {
                piece += 1;
            }
            if piece > start {
                let (from, to) = (self.record.range(task, start).start, self.record.range(task, piece - 1).end);
                for range in task.ranges {
                    let (from, to) = (range.start.max(from), range.end.min(to));
                    self.output.zeros(from, to.saturating_sub(from))?;
                }
            } else {
                if let Some(bytes) = self.record.let_go(task, piece) {
                    self.write(task, piece, &bytes)?;
                    // It is done.
                    self.record.written(task, piece);
                }
                piece += 1;
            }
        }
        Ok(())
    }

    fn write(&self, task: &Task<'_>, piece: usize, bytes: &[u8]) -> Result<(), Error> {
        let again = self.record.kind(task, piece) == Kind::Mixed;
        let start = self.record.range(task, piece).start;
        task.wanted(start, bytes, |offset, part| self.output.overwrite(offset, part, again))
    }

    /// Reads the next piece whose bytes are needed; none after the last one.
    fn fill<'s>(&'s self, lane: &mut Lane<'_, 's>) -> Result<(), Error> {
        let task = lane.task;
        let mut pieces = lane.next..self.record.pieces(task);
        lane.current = pieces.find(|piece| self.record.kind(task, *piece).needs_bytes());
        let Some(piece) = lane.current else {
            (lane.decoder, lane.next) = (None, usize::MAX);
            return Ok(());
        };
        lane.next = piece + 1;
        let range = self.record.range(task, piece);
        let start = range.start - task.object.offset;
        let plain = task.object.algorithm == Algorithm::None;
        if plain && lane.at < start {
            lane.decoder = None;
        }
        let decoder = match &mut lane.decoder {
            Some(decoder) => decoder,
            slot => {
                lane.at = if plain { start } else { 0 };
                slot.insert(task.decode_from(self.storage, lane.at)?)
            }
        };
        // What is decompressed on the way there is not looked at.
        while lane.at < start {
            self.crew.check()?;
            let length = (start - lane.at).min(self.record.piece_bytes());
            decoder.read_exact(lane.buffer.resize(length as usize)).map_err(|error| task.failed(error))?;
            lane.at += length;
        }
        let length = range.end - range.start;
        decoder.read_exact(lane.buffer.resize(length as usize)).map_err(|error| task.failed(error))?;
        lane.at += length;
        Ok(())
    }
}
