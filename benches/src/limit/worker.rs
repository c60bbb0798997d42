//! One thread of a backup.

use std::fs::File;
use std::hint::black_box;
use std::mem;
use std::os::unix::fs::FileExt;

use anyhow::Result;
use sha2::{Digest, Sha256};
use zstd::bulk::Compressor;

use super::{Backup, CHUNK, FRAME, Id, LEVEL, Seen};
use crate::extents::{UNIT, Unit};

static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// A chunk in a frame or in a volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes, at most [`CHUNK`].
    pub length: usize,
    pub id: Id,
}

/// A compressed frame and what is in it.
#[derive(Debug)]
pub(super) struct Frame {
    pub compressed: Vec<u8>,
    pub chunks: Vec<Place>,
}

/// What a backup leaves behind where it is kept.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub frames: Vec<Frame>,
    /// The volume's chunks that are not zero.
    pub map: Vec<Place>,
}

impl Stored {
    pub fn append(&mut self, mut other: Self) {
        self.frames.append(&mut other.frames);
        self.map.append(&mut other.map);
    }
}

/// The buffers and counts of one thread.
pub(super) struct Worker<'a> {
    seen: &'a Seen,
    compressor: Compressor<'static>,
    buffer: Vec<u8>,
    frame: Vec<u8>,
    compressed: Vec<u8>,
    done: Backup,
    /// `None` where frames are dropped.
    stored: Option<Stored>,
    /// The chunks of `frame`; empty where frames are dropped.
    in_frame: Vec<Place>,
}

impl<'a> Worker<'a> {
    pub fn new(seen: &'a Seen, keep: bool) -> Result<Self> {
        Ok(Self {
            seen,
            compressor: Compressor::new(LEVEL)?,
            buffer: vec![0; UNIT],
            frame: Vec::with_capacity(FRAME),
            compressed: Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME)),
            done: Backup::default(),
            stored: keep.then(Stored::default),
            in_frame: Vec::new(),
        })
    }

    /// Reads one unit and deals with its chunks.
    pub fn back_up(&mut self, file: &File, unit: Unit) -> Result<()> {
        let mut buffer = mem::take(&mut self.buffer);
        let bytes = &mut buffer[..unit.length];
        file.read_exact_at(bytes, unit.offset)?;
        self.done.read_bytes += bytes.len() as u64;
        let mut offset = unit.offset;
        for chunk in bytes.chunks(CHUNK) {
            self.chunk(chunk, offset)?;
            offset += chunk.len() as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    fn chunk(&mut self, chunk: &[u8], offset: u64) -> Result<()> {
        self.done.chunks += 1;
        if chunk == &ZEROS[..chunk.len()] {
            self.done.zero_chunks += 1;
            return Ok(());
        }
        let id: Id = *blake3::hash(chunk).as_bytes();
        let length = chunk.len();
        if let Some(stored) = &mut self.stored {
            stored.map.push(Place { offset, length, id });
        }
        if !self.seen.insert(&id) {
            return Ok(());
        }
        self.done.new_chunks += 1;
        self.done.new_bytes += length as u64;
        black_box(Sha256::digest(chunk));
        if self.frame.len() + length > FRAME {
            self.close_frame()?;
        }
        if self.stored.is_some() {
            self.in_frame.push(Place { offset: self.frame.len() as u64, length, id });
        }
        self.frame.extend_from_slice(chunk);
        Ok(())
    }

    fn close_frame(&mut self) -> Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        self.compressed.clear();
        self.compressor.compress_to_buffer(&self.frame, &mut self.compressed)?;
        self.done.stored_bytes += self.compressed.len() as u64;
        black_box(&self.compressed);
        self.frame.clear();
        if let Some(stored) = &mut self.stored {
            let chunks = mem::take(&mut self.in_frame);
            stored.frames.push(Frame { compressed: self.compressed.clone(), chunks });
        }
        Ok(())
    }

    /// Compresses the last frame.
    pub fn finish(mut self) -> Result<(Backup, Stored)> {
        self.close_frame()?;
        Ok((self.done, self.stored.unwrap_or_default()))
    }
}
