//! Volumes with large holes, and whether a file is one.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cinderblock_chunker::DataExtents;

use super::CHUNK;

/// Bytes that `seed` determines and that do not compress (splitmix64).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A volume: all that no extent covers is zero.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub size: u64,
    /// Offset and bytes, in order.
    pub extents: Vec<(u64, Vec<u8>)>,
}

impl Image {
    /// One that ends with its last extent. Each has so many chunks of noise.
    pub fn of_chunks(extents: &[(u64, u64, usize)]) -> Self {
        let extents: Vec<_> =
            extents.iter().map(|(offset, seed, chunks)| (*offset, noise(*seed, chunks * CHUNK))).collect();
        let size = extents.last().map_or(0, |(offset, bytes)| offset + bytes.len() as u64);
        Self { size, extents }
    }

    /// The same with other chunks from chunk `first` of an extent on.
    pub fn with_chunks(&self, extent: usize, first: usize, seed: u64, chunks: usize) -> Self {
        let mut image = self.clone();
        let bytes = &mut image.extents[extent].1;
        bytes[first * CHUNK..(first + chunks) * CHUNK].copy_from_slice(&noise(seed, chunks * CHUNK));
        image
    }

    /// Makes a file with holes of it.
    pub fn write(&self, path: &Path) {
        let file = File::create(path).unwrap();
        file.set_len(self.size).unwrap();
        for (offset, bytes) in &self.extents {
            file.write_all_at(bytes, *offset).unwrap();
        }
    }

    /// Whether a file has exactly these bytes.
    pub fn is_in(&self, path: &Path) -> bool {
        let file = File::open(path).unwrap();
        let right = |(offset, bytes): &(u64, Vec<u8>)| {
            let mut read = vec![0; bytes.len()];
            file.read_exact_at(&mut read, *offset).is_ok() && read == *bytes
        };
        file.metadata().unwrap().len() == self.size
            && self.extents.iter().all(right)
            && DataExtents::new(file.as_fd(), self.size).all(|data| self.is_zero_besides(&file, data.unwrap()))
    }

    fn is_zero_besides(&self, file: &File, data: cinderblock_chunker::Extent) -> bool {
        let mut read = vec![0; data.length as usize];
        file.read_exact_at(&mut read, data.offset).unwrap();
        for (offset, bytes) in &self.extents {
            let from = offset.clamp(&data.offset, &data.end()) - data.offset;
            let end = (offset + bytes.len() as u64).clamp(data.offset, data.end()) - data.offset;
            read[from as usize..end as usize].fill(0);
        }
        cinderblock_chunker::is_zero(&read)
    }
}
