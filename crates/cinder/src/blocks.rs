//! [`Blocks`]: the SHA-256 of a volume's hash blocks.

use std::sync::{Arc, OnceLock};

use cinderblock_chunker::is_zero;
use cinderblock_store::sha256;
use sha2::{Digest, Sha256};

use crate::document::BlockHash;

/// The grid of hash blocks, and the hash of a block of zeros, which is computed once, when it is first wanted: how long a block is
/// may be anything that a document or an option says.
#[derive(Clone, Debug)]
pub struct Blocks {
    bytes: u64,
    zeros: Arc<OnceLock<BlockHash>>,
}

fn zeros(bytes: u64) -> BlockHash {
    let mut hasher = Sha256::new();
    let piece = [0; 4096];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(piece.len() as u64);
        hasher.update(piece.get(..length as usize).unwrap_or(&piece));
        left -= length;
    }
    hasher.finalize().into()
}

impl Blocks {
    /// Blocks of `bytes` bytes, at least 1.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, zeros: Arc::default() }
    }

    /// Bytes of a block; the last one of a volume may be shorter.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of one block (or the shorter last one) with these bytes.
    pub fn hash(&self, block: &[u8]) -> BlockHash {
        if block.len() as u64 == self.bytes && is_zero(block) {
            self.hash_of_zeros(self.bytes)
        } else {
            Sha256::digest(block).into()
        }
    }

    /// The hashes of blocks, in their order: together they take less time than one by one.
    pub fn hashes(&self, blocks: &[&[u8]]) -> Vec<BlockHash> {
        let are_zeros = |block: &[u8]| block.len() as u64 == self.bytes && is_zero(block);
        let zeros: Vec<bool> = blocks.iter().map(|block| are_zeros(block)).collect();
        let others: Vec<&[u8]> =
            blocks.iter().zip(&zeros).filter(|(_, zeros)| !**zeros).map(|(block, _)| *block).collect();
        let mut others = sha256::digests(&others).into_iter();
        let hash = |zeros: bool| if zeros { None } else { others.next() };
        zeros.into_iter().map(hash).map(|hash| hash.unwrap_or_else(|| self.hash_of_zeros(self.bytes))).collect()
    }

    /// The hash of a block of zeros that has `length` bytes.
    pub fn hash_of_zeros(&self, length: u64) -> BlockHash {
        if length == self.bytes { *self.zeros.get_or_init(|| zeros(length)) } else { zeros(length) }
    }

    /// The hashes of the blocks of `length` zeros, which begin where a block does.
    pub(crate) fn hashes_of_zeros(&self, length: u64) -> impl Iterator<Item = BlockHash> {
        let (whole, rest) = (length / self.bytes, length % self.bytes);
        let block = (whole > 0).then(|| self.hash_of_zeros(self.bytes));
        let last = (rest > 0).then(|| self.hash_of_zeros(rest));
        block.into_iter().flat_map(move |hash| std::iter::repeat_n(hash, whole as usize)).chain(last)
    }

    /// How many blocks `bytes` bytes are.
    pub fn count(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_have_the_hash_of_their_length() {
        let blocks = Blocks::new(10_000);
        for length in [1, 4096, 9999, 10_000] {
            let expected: BlockHash = Sha256::digest(vec![0; length]).into();
            assert_eq!(blocks.hash(&vec![0; length]), expected);
            assert_eq!(blocks.hash_of_zeros(length as u64), expected);
        }
        let (zeros, data) = (vec![0; 10_000], vec![7; 10_000]);
        let several: [&[u8]; 6] = [&data, &zeros, &data, &zeros[..5], &data[..7], &zeros];
        assert_eq!(blocks.hashes(&several), several.map(|block| blocks.hash(block)));
        assert_eq!((blocks.count(0), blocks.count(1), blocks.count(10_000), blocks.count(10_001)), (0, 1, 1, 2));
    }
}
