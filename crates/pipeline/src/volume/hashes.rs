//! SHA-256 hashes of chunks, as the directories of packs have them.

use std::sync::OnceLock;

use cinderblock_store::pack::PackReader;
use sha2::{Digest, Sha256};

/// The hashes of one pack.
pub(super) struct PackHashes {
    hashes: Vec<[u8; 32]>,
    /// Of each frame, the number of its first hash; none where it is not hashed.
    first: Vec<Option<usize>>,
}

impl PackHashes {
    pub(super) fn new(pack: &PackReader) -> Self {
        let directory = pack.directory();
        let mut next = 0;
        let first = directory.frames().iter().map(|frame| {
            let first = frame.hashed.then_some(next);
            next += if frame.hashed { frame.chunks as usize } else { 0 };
            first
        });
        Self { first: first.collect(), hashes: directory.hashes().to_vec() }
    }

    /// The hash of chunk `index` of a frame.
    pub(super) fn get(&self, frame: u32, index: u32) -> Option<[u8; 32]> {
        let first = (*self.first.get(frame as usize)?)?;
        self.hashes.get(first + index as usize).copied()
    }
}

/// The hash of so many zeros, worked out when it is first wanted.
pub(super) struct ZeroHash {
    length: u64,
    hash: OnceLock<[u8; 32]>,
}

impl ZeroHash {
    pub(super) fn new(length: u64) -> Self {
        Self { length, hash: OnceLock::new() }
    }

    pub(super) fn get(&self) -> [u8; 32] {
        *self.hash.get_or_init(|| {
            let (mut hasher, zeros, mut left) = (Sha256::new(), [0; 4096], self.length);
            while left > 0 {
                let part = zeros.get(..left as usize).unwrap_or(&zeros);
                hasher.update(part);
                left -= part.len() as u64;
            }
            hasher.finalize().into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_zeros_is_that_of_so_many_zeros() {
        for length in [0, 1, 4095, 4096, 4097, 32_768] {
            let expected: [u8; 32] = Sha256::digest(vec![0; length]).into();
            assert_eq!(ZeroHash::new(length as u64).get(), expected);
        }
    }
}
