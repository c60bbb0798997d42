//! A group of works: up to eight objects that one thread writes side by side.

use rayon::prelude::*;

use super::piece::{Piece, piece_bytes};
use super::run::Run;
use super::sink::{Sink, Written};
use crate::compression::Algorithm;
use crate::document::BlockHash;
use crate::error::Error;
use crate::md5::{Md5, update_many};

/// One data object to be written.
#[derive(Debug)]
pub(super) struct Work {
    /// Its number, from 1.
    pub number: u64,
    /// First byte of the volume that it holds; a multiple of the hash block.
    pub offset: u64,
    /// How many bytes of the volume it holds; at least 1.
    pub length: u64,
    /// The hashes that its blocks had when they were found to have changed. None for a full backup.
    pub expected: Option<Vec<BlockHash>>,
}

/// A data object that is stored.
#[derive(Debug)]
pub(super) struct Done {
    pub number: u64,
    pub offset: u64,
    pub length: u64,
    pub md5: [u8; 16],
    /// Whether it was compressed, or would not have been smaller.
    pub compressed: bool,
    pub stored_bytes: u64,
    /// Hashes of its blocks, where they were not known before.
    pub hashes: Vec<BlockHash>,
}

/// A lane: a work on its way.
struct Lane<'w> {
    work: &'w Work,
    /// Bytes of it that are done.
    at: u64,
    piece: Piece,
    hashes: Vec<BlockHash>,
}

/// What one pass over the works found and stored.
struct Passed {
    md5: [u8; 16],
    hashes: Vec<BlockHash>,
    written: Written,
}

impl Lane<'_> {
    /// Takes the next piece; an empty one at the end.
    fn fill(&mut self, run: &Run<'_>, hashed: bool) -> Result<(), Error> {
        let length = (self.work.length - self.at).min(piece_bytes(&run.blocks));
        let offset = self.work.offset + self.at;
        let before = self.hashes.len();
        let hashes = hashed.then_some(&mut self.hashes);
        self.piece.read(run.volume, &run.blocks, (offset, length), hashes)?;
        if let Some(expected) = &self.work.expected
            && self.hashes.get(before..) != expected.get(before..self.hashes.len())
        {
            return Err(Error::VolumeChanged { offset, length });
        }
        self.at += length;
        Ok(())
    }
}

/// Writes the objects, and tells the ledger.
pub(super) fn write(run: &Run<'_>, works: &[Work]) -> Result<(), Error> {
    let all: Vec<&Work> = works.iter().collect();
    let algorithm = run.compression.algorithm();
    let passed = pass(run, &all, algorithm, true)?;
    let (mut again, mut before) = (Vec::new(), Vec::new());
    for (work, passed) in all.into_iter().zip(passed) {
        match passed.written {
            Written::Stored(bytes) => run.stored(done(work, passed, algorithm != Algorithm::None, bytes))?,
            Written::NotSmaller => {
                again.push(work);
                before.push(passed);
            }
        }
    }
    // Compressed bytes are not kept until it is known whether they are fewer: that would take an object's size of memory.
    // What does not shrink is read a second time.
    let second = pass(run, &again, Algorithm::None, false)?;
    for ((work, first), second) in again.into_iter().zip(before).zip(second) {
        if first.md5 != second.md5 {
            return Err(Error::VolumeChanged { offset: work.offset, length: work.length });
        }
        run.stored(done(work, first, false, work.length))?;
    }
    Ok(())
}

fn done(work: &Work, passed: Passed, compressed: bool, stored_bytes: u64) -> Done {
    let Passed { md5, hashes, .. } = passed;
    let hashes = if work.expected.is_some() { Vec::new() } else { hashes };
    Done { number: work.number, offset: work.offset, length: work.length, md5, compressed, stored_bytes, hashes }
}

fn pass(run: &Run<'_>, works: &[&Work], algorithm: Algorithm, hashed: bool) -> Result<Vec<Passed>, Error> {
    let mut sinks = Vec::with_capacity(works.len());
    for work in works {
        let (name, writer) = run.begin_object(work.number)?;
        sinks.push(Sink::new(name, writer, algorithm, work.length)?);
    }
    let lane = |work| Lane { work, at: 0, piece: Piece::default(), hashes: Vec::new() };
    let mut lanes: Vec<Lane<'_>> = works.iter().map(|work| lane(*work)).collect();
    let mut md5s = vec![Md5::new(); works.len()];
    while lanes.iter().any(|lane| lane.at < lane.work.length) {
        run.check()?;
        // With as many groups as threads, each does all of its own; a thread that has none helps.
        lanes.par_iter_mut().try_for_each(|lane| lane.fill(run, hashed))?;
        let pieces: Vec<&[u8]> = lanes.iter().map(|lane| lane.piece.bytes()).collect();
        let write = || sinks.par_iter_mut().zip(&pieces).try_for_each(|(sink, piece)| sink.write(piece));
        let ((), written) = rayon::join(|| update_many(&mut md5s, &pieces), write);
        written?;
        if hashed {
            run.passed(pieces.iter().map(|piece| piece.len() as u64).sum(), works);
        }
    }
    let ends = sinks.into_par_iter().zip(lanes).zip(md5s).map(|((sink, lane), md5)| {
        let written = sink.finish(run.own, lane.work.number)?;
        Ok(Passed { md5: md5.finish(), hashes: lane.hashes, written })
    });
    ends.collect()
}
