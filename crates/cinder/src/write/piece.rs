//! [`Piece`]: a part of a volume on its way into an object.

use crate::blocks::Blocks;
use crate::document::BlockHash;
use crate::error::Error;
use crate::volume::Volume;

/// Bytes of a piece where hash blocks are not larger: 256 KiB. Eight of them fit into a core's cache.
pub(super) const PIECE_BYTES: u64 = 256 << 10;

/// Zeros to hash and compress where a volume has a hole.
static ZEROS: [u8; PIECE_BYTES as usize] = [0; PIECE_BYTES as usize];

/// Bytes of a volume, or zeros that were not read.
#[derive(Debug, Default)]
pub(super) struct Piece {
    buffer: Vec<u8>,
    length: usize,
    hole: bool,
}

/// Bytes of the pieces for blocks of this size: whole blocks, 256 KiB if they fit.
pub(super) fn piece_bytes(blocks: &Blocks) -> u64 {
    blocks.bytes() * (PIECE_BYTES / blocks.bytes()).max(1)
}

impl Piece {
    /// Reads `length` bytes (at most those of a piece) of the volume from `offset` on.
    pub(super) fn read(&mut self, volume: &dyn Volume, offset: u64, length: u64) -> Result<(), Error> {
        let end = offset + length;
        self.length = length as usize;
        let mut data = volume.next_data(offset, end)?;
        self.hole = data.is_none() && self.length <= ZEROS.len();
        if self.hole {
            return Ok(());
        }
        if self.buffer.len() < self.length {
            self.buffer.resize(self.length, 0);
        }
        let mut rest = self.buffer.get_mut(..self.length).unwrap_or_default();
        let mut at = offset;
        while at < end {
            let (from, to) = data.map_or((end, end), |extent| (extent.offset.max(at), extent.end().min(end)));
            let Some((hole, after)) = rest.split_at_mut_checked((from - at) as usize) else { break };
            hole.fill(0);
            let Some((part, after)) = after.split_at_mut_checked((to - from) as usize) else { break };
            volume.read_at(from, part)?;
            (rest, at) = (after, to);
            if at < end {
                data = volume.next_data(at, end)?;
            }
        }
        Ok(())
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        let all = if self.hole { &ZEROS[..] } else { &self.buffer };
        all.get(..self.length).unwrap_or_default()
    }

    /// Appends the hashes of its blocks, of which it has whole ones from number `first` on.
    pub(super) fn hash(
        &self,
        volume: &dyn Volume,
        blocks: &Blocks,
        first: u64,
        hashes: &mut Vec<BlockHash>,
    ) -> Result<(), Error> {
        let bytes = self.bytes();
        if self.hole {
            let lengths = bytes.chunks(blocks.bytes() as usize).map(|block| block.len() as u64);
            hashes.extend(lengths.map(|length| blocks.hash_of_zeros(length)));
            return Ok(());
        }
        let mut known = Vec::new();
        let count = blocks.count(bytes.len() as u64) as usize;
        volume.known_hashes(blocks.bytes(), first, count, &mut known)?;
        let known = known.into_iter().chain(std::iter::repeat(None));
        let parts = bytes.chunks(blocks.bytes() as usize).zip(known);
        hashes.extend(parts.map(|(block, known)| known.unwrap_or_else(|| blocks.hash(block))));
        Ok(())
    }
}
