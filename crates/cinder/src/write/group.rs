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
struct Lane<'r> {
    work: Work,
    /// Bytes of it that are read.
    at: u64,
    piece: Piece,
    /// Whether the piece is still to be hashed and compressed.
    ready: bool,
    hashes: Vec<BlockHash>,
    /// Where it goes; none as long as all that was read is zero.
    object: Option<Object<'r>>,
    /// The MD5 of the first reading, where this is the second one.
    first: Option<[u8; 16]>,
}

/// An object that is being written.
struct Object<'r> {
    sink: Sink<'r>,
    md5: Md5,
}

impl<'r> Object<'r> {
    fn new(run: &'r Run<'_>, work: &Work, algorithm: Algorithm, piece: &Piece) -> Result<Self, Error> {
        let (name, writer) = run.begin_object(work.number)?;
        Ok(Self { sink: Sink::new(name, writer, algorithm, (work.length, piece))?, md5: Md5::new() })
    }
}

impl<'r> Lane<'r> {
    fn new(run: &Run<'_>, work: Work, mut piece: Piece) -> Self {
        piece.begin(run.compression.algorithm(), work.length, piece_bytes(&run.blocks));
        Self { work, at: 0, piece, ready: false, hashes: Vec::new(), object: None, first: None }
    }

    /// Takes the next piece. Of one that is not zero, the zeros before it are written.
    fn fill(&mut self, run: &'r Run<'_>) -> Result<(), Error> {
        let length = (self.work.length - self.at).min(piece_bytes(&run.blocks));
        let offset = self.work.offset + self.at;
        let before = self.hashes.len();
        let hashes = self.first.is_none().then_some(&mut self.hashes);
        self.piece.read(run.volume, &run.blocks, (offset, length, self.at), hashes)?;
        if self.first.is_none() {
            match &self.work.expected {
                Some(expected) if self.hashes.get(before..) != expected.get(before..self.hashes.len()) => {
                    return Err(Error::VolumeChanged { offset, length });
                }
                Some(_) => {}
                // An increment's progress is that of its scan.
                None => run.reporter.passed(length),
            }
        }
        if self.object.is_none() && !self.piece.is_zero() {
            let mut object = Object::new(run, &self.work, run.compression.algorithm(), &self.piece)?;
            object.md5 = run.zeros.md5(self.at, &run.crew)?;
            self.piece.after_zeros(|zeros| {
                run.check()?;
                object.sink.write(zeros)
            })?;
            self.object = Some(object);
        }
        self.at += length;
        Ok(())
    }

    /// Goes on until there is something to hash and compress, or the end.
    fn fill_past_zeros(&mut self, run: &'r Run<'_>) -> Result<(), Error> {
        while !self.ready && self.at < self.work.length {
            run.check()?;
            self.fill(run)?;
            self.ready = self.object.is_some();
        }
        Ok(())
    }

    /// Stores the object, of which all was read. Gives the lane back if it has to be read again.
    fn finish(mut self, run: &'r Run<'_>) -> Result<Ended<'r>, Error> {
        let increment = self.work.expected.is_some();
        let Some(Object { sink, md5 }) = self.object.take() else {
            let hashes = if increment { Vec::new() } else { self.hashes };
            run.write_zeros(&self.work, hashes)?;
            return Ok(Ended::Stored(self.piece));
        };
        let (md5, &Work { number, offset, length, .. }) = (md5.finish(), &self.work);
        let written = sink.finish(run.own, number)?;
        let stored_bytes = match (written, self.first) {
            (Written::Stored(_), Some(first)) if first != md5 => return Err(Error::VolumeChanged { offset, length }),
            (Written::Stored(bytes), _) => bytes,
            // Compressed bytes are not kept until it is known whether they are fewer: that would take an object's size of
            // memory. What does not shrink is read a second time.
            (Written::NotSmaller, _) => {
                self.object = Some(Object::new(run, &self.work, Algorithm::None, &self.piece)?);
                (self.at, self.first) = (0, Some(md5));
                return Ok(Ended::Again(Box::new(self)));
            }
        };
        let compressed = self.first.is_none() && run.compression.algorithm() != Algorithm::None;
        let hashes = if increment { Vec::new() } else { self.hashes };
        run.stored(Done { number, offset, length, md5, compressed, stored_bytes, hashes })?;
        Ok(Ended::Stored(self.piece))
    }
}

/// What becomes of a lane at the end of its work.
enum Ended<'r> {
    /// The object is stored; the buffer is for the next one.
    Stored(Piece),
    /// It is not, and to be read again.
    Again(Box<Lane<'r>>),
}

/// Writes the objects that `next` gives, and tells the ledger. Another one begins as soon as one ends, so that all lanes are in use
/// for as long as there are works.
pub(super) fn write<'r>(run: &'r Run<'_>, next: &mut dyn FnMut() -> Result<Option<Work>, Error>) -> Result<(), Error> {
    let mut lanes: Vec<Lane<'r>> = Vec::new();
    let mut free: Vec<Piece> = Vec::new();
    loop {
        loop {
            while lanes.len() < run.lanes()
                && let Some(work) = next()?
            {
                lanes.push(Lane::new(run, work, free.pop().unwrap_or_default()));
            }
            // With as many groups as threads, each does all of its own; a thread that has none helps.
            lanes.par_iter_mut().filter(|lane| !lane.ready).try_for_each(|lane| lane.fill_past_zeros(run))?;
            let zeros: Vec<Lane<'r>> = lanes.extract_if(.., |lane| lane.object.is_none()).collect();
            if zeros.is_empty() {
                break;
            }
            finish(run, zeros, &mut lanes, &mut free)?;
        }
        if lanes.is_empty() {
            return Ok(());
        }
        write_pieces(&mut lanes)?;
        let ended = lanes.extract_if(.., |lane| lane.at == lane.work.length).collect();
        finish(run, ended, &mut lanes, &mut free)?;
    }
}

/// Hashes and compresses the pieces of all lanes.
fn write_pieces(lanes: &mut [Lane<'_>]) -> Result<(), Error> {
    let parts = lanes.iter_mut().filter_map(|lane| {
        lane.ready = false;
        Some((lane.object.as_mut()?, &lane.piece))
    });
    let mut parts: Vec<(&mut Object<'_>, &Piece)> = parts.collect();
    let mut md5s: Vec<Md5> = parts.iter().map(|(object, _)| object.md5.clone()).collect();
    let pieces: Vec<&[u8]> = parts.iter().map(|(_, piece)| piece.bytes()).collect();
    let write = || parts.par_iter_mut().try_for_each(|(object, piece)| object.sink.write(piece));
    let ((), written) = rayon::join(|| update_many(&mut md5s, &pieces), write);
    for ((object, _), md5) in parts.into_iter().zip(md5s) {
        object.md5 = md5;
    }
    written
}

fn finish<'r>(
    run: &'r Run<'_>,
    ended: Vec<Lane<'r>>,
    lanes: &mut Vec<Lane<'r>>,
    free: &mut Vec<Piece>,
) -> Result<(), Error> {
    let ended: Result<Vec<Ended<'r>>, Error> = ended.into_par_iter().map(|lane| lane.finish(run)).collect();
    for ended in ended? {
        match ended {
            Ended::Stored(piece) => free.push(piece),
            Ended::Again(lane) => lanes.push(*lane),
        }
    }
    Ok(())
}
