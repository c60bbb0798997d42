//! [`Piece`]: a part of a volume on its way into an object.

use cinderblock_chunker::is_zero;
use cinderblock_pipeline::PageBuffer;

use crate::blocks::Blocks;
use crate::compression::{Algorithm, Ring, RingEncoder};
use crate::document::BlockHash;
use crate::error::Error;
use crate::volume::Volume;

/// Bytes of a piece where hash blocks are not larger: 4 MiB. A compressor's tables and window fall out of the processor's cache while
/// the other lanes are served: with pieces of 2 MiB a backup takes 1.1 times as long, and no less with 8 MiB.
pub(super) const PIECE_BYTES: u64 = 4 << 20;

/// Bytes that are read, and hashed while they are in the cache: 256 KiB.
const STEP_BYTES: u64 = 256 << 10;

/// Zeros to hash and compress where a volume has them.
pub(super) static ZEROS: [u8; PIECE_BYTES as usize] = [0; PIECE_BYTES as usize];

/// Bytes of an object, which is a part of a volume, or zeros that were not read.
#[derive(Debug, Default)]
pub(super) struct Piece {
    room: Room,
    /// Where it begins in the object.
    at: usize,
    length: usize,
    /// Whether all of it is zero, read or not.
    zeros: bool,
}

/// Where the bytes are.
#[derive(Debug)]
enum Room {
    Buffer(PageBuffer),
    /// At the place in the ring that they have in the object.
    Ring(Ring),
}

impl Default for Room {
    fn default() -> Self {
        Self::Buffer(PageBuffer::default())
    }
}

impl Room {
    /// Memory for the bytes of the object from `at` on.
    fn bytes_mut(&mut self, at: usize, length: usize) -> &mut [u8] {
        match self {
            Self::Buffer(buffer) => buffer.resize(length),
            Self::Ring(ring) => ring.bytes_mut(at..at + length),
        }
    }
}

/// Bytes of the pieces for blocks of this size: whole blocks, 4 MiB if they fit.
pub(super) fn piece_bytes(blocks: &Blocks) -> u64 {
    whole_blocks(blocks, PIECE_BYTES)
}

/// Bytes of what is read and hashed at once: whole blocks, 256 KiB if they fit.
pub(super) fn step_bytes(blocks: &Blocks) -> u64 {
    whole_blocks(blocks, STEP_BYTES)
}

fn whole_blocks(blocks: &Blocks, bytes: u64) -> u64 {
    blocks.bytes() * (bytes / blocks.bytes()).max(1)
}

impl Piece {
    /// What follows are the pieces of an object of so many bytes, each of `piece` bytes at most.
    pub(super) fn begin(&mut self, algorithm: Algorithm, object: u64, piece: u64) {
        if algorithm != Algorithm::Zstd || !RingEncoder::<Vec<u8>>::pays(object) {
            if self.ring().is_some() {
                self.room = Room::default();
            }
            return;
        }
        match &mut self.room {
            Room::Ring(ring) if ring.span_bytes() >= object => ring.clear(),
            room => {
                // Not both at once. Where there is no ring to be had, all goes on without.
                *room = Room::default();
                let before = RingEncoder::<Vec<u8>>::bytes_before(piece as usize);
                *room = Ring::new(object, piece as usize, before).map(Room::Ring).unwrap_or_default();
            }
        }
    }

    /// Reads `length` bytes (at most those of a piece) of the volume from `offset`, where a block begins; they are those from `at` on of
    /// the object. Appends the hashes of their blocks, if they are wanted.
    pub(super) fn read(
        &mut self,
        volume: &dyn Volume,
        blocks: &Blocks,
        (offset, length, at): (u64, u64, u64),
        mut hashes: Option<&mut Vec<BlockHash>>,
    ) -> Result<(), Error> {
        (self.at, self.length, self.zeros) = (at as usize, length as usize, true);
        // A ring is zero where nothing is written.
        if self.length <= ZEROS.len() && volume.next_data(offset, offset + length)?.is_none() {
            if let Some(hashes) = hashes {
                hashes.extend(blocks.hashes_of_zeros(length));
            }
            return Ok(());
        }
        let mut from = offset;
        for step in self.room.bytes_mut(self.at, self.length).chunks_mut(step_bytes(blocks) as usize) {
            let filled = fill(volume, from, step)?;
            let zeros = !filled || is_zero(step);
            self.zeros &= zeros;
            match &mut hashes {
                Some(hashes) if zeros => hashes.extend(blocks.hashes_of_zeros(step.len() as u64)),
                Some(hashes) => hash(volume, blocks, from / blocks.bytes(), step, hashes)?,
                None => {}
            }
            from += step.len() as u64;
        }
        Ok(())
    }

    /// Whether all bytes are zero.
    pub(super) fn is_zero(&self) -> bool {
        self.zeros
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // Of many zeros, these few are in the cache.
        match (ZEROS.get(..self.length), &self.room) {
            (Some(zeros), _) if self.zeros => zeros,
            (_, Room::Buffer(buffer)) => buffer.get(..self.length).unwrap_or_default(),
            (_, Room::Ring(ring)) => ring.bytes(self.at..self.end()),
        }
    }

    /// Where it ends in the object.
    pub(super) fn end(&self) -> usize {
        self.at + self.length
    }

    /// The ring that the bytes are in, those of holes, too.
    pub(super) fn ring(&self) -> Option<&Ring> {
        match &self.room {
            Room::Ring(ring) => Some(ring),
            Room::Buffer(_) => None,
        }
    }

    /// Becomes each of the pieces before it in turn, all of zeros, and then itself again. Nothing was written there: in a ring, they are zero.
    pub(super) fn after_zeros(&mut self, mut take: impl FnMut(&Self) -> Result<(), Error>) -> Result<(), Error> {
        let (at, length, zeros) = (self.at, self.length, self.zeros);
        self.zeros = true;
        let mut from = 0;
        while from < at {
            (self.at, self.length) = (from, (at - from).min(ZEROS.len()));
            take(self)?;
            from = self.end();
        }
        (self.at, self.length, self.zeros) = (at, length, zeros);
        Ok(())
    }
}

/// Reads the volume's bytes from `offset` on; where it has holes, zeros. Whether there was anything to read.
fn fill(volume: &dyn Volume, offset: u64, into: &mut [u8]) -> Result<bool, Error> {
    let mut filled = false;
    let end = offset + into.len() as u64;
    let (mut at, mut rest) = (offset, into);
    while at < end {
        let data = volume.next_data(at, end)?;
        let (from, to) = data.map_or((end, end), |extent| (extent.offset.max(at), extent.end().min(end)));
        let Some((hole, after)) = rest.split_at_mut_checked((from - at) as usize) else { break };
        hole.fill(0);
        let Some((part, after)) = after.split_at_mut_checked((to - from) as usize) else { break };
        if !part.is_empty() {
            volume.read_at(from, part)?;
            filled = true;
        }
        (rest, at) = (after, to);
    }
    Ok(filled)
}

/// Blocks that are hashed together: of blocks of one byte, a piece has millions.
const TOGETHER: usize = 64;

/// Appends the hashes of blocks, the first of which has number `first`.
fn hash(
    volume: &dyn Volume,
    blocks: &Blocks,
    first: u64,
    bytes: &[u8],
    hashes: &mut Vec<BlockHash>,
) -> Result<(), Error> {
    let mut known = Vec::new();
    let count = blocks.count(bytes.len() as u64) as usize;
    volume.known_hashes(blocks.bytes(), first, count, &mut known)?;
    known.resize(count, None);
    let block_bytes = blocks.bytes() as usize;
    for (bytes, known) in bytes.chunks(block_bytes.saturating_mul(TOGETHER)).zip(known.chunks(TOGETHER)) {
        let parts = || bytes.chunks(block_bytes).zip(known);
        let unknown: Vec<&[u8]> = parts().filter(|(_, known)| known.is_none()).map(|(block, _)| block).collect();
        let mut hashed = blocks.hashes(&unknown).into_iter();
        hashes.extend(parts().filter_map(|(_, known)| known.or_else(|| hashed.next())));
    }
    Ok(())
}
