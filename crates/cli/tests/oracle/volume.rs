//! Volumes, and how they change from one backup to the next.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::common::noise;

/// How long a volume is, in chunks and hash blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    OneByte,
    /// Less than a chunk, and not a multiple of the hash block.
    Short,
    OneChunk,
    FourChunks,
    /// More than three chunks, and not a multiple of the hash block.
    Ragged,
}

/// What is in it at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Bytes that do not compress.
    Noise,
    /// Bytes that do.
    Text,
    /// Half of the blocks are holes of the file, alone and in runs, across boundaries of chunks.
    Holes,
    /// Zeros that are not holes.
    Zeros,
}

/// How it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    OneBlock,
    /// A byte in every third block, and a run of blocks from the end of the first chunk to the start of the third.
    Scattered,
    /// Blocks that had data become zero.
    Zeroed,
    /// The last byte changes.
    Tail,
    /// It loses five eighths, to no boundary. No GiB less.
    Shrank,
}

impl Size {
    pub fn bytes(self, chunk: usize, block: usize) -> usize {
        match self {
            Size::OneByte => 1,
            Size::Short => chunk / 2 + 13,
            Size::OneChunk => chunk,
            Size::FourChunks => 4 * chunk,
            Size::Ragged => 3 * chunk + block + 77,
        }
    }
}

impl Fill {
    pub fn volume(self, size: usize, block: usize, seed: u64) -> Vec<u8> {
        match self {
            Fill::Noise => noise(seed, size),
            Fill::Text => noise(seed, size).iter().map(|byte| b"cinder  "[usize::from(byte & 7)]).collect(),
            Fill::Holes => {
                let mut volume = noise(seed, size);
                for (number, block) in volume.chunks_mut(block).enumerate() {
                    if number % 7 % 2 == 1 || (12..20).contains(&(number % 29)) {
                        block.fill(0);
                    }
                }
                volume
            }
            Fill::Zeros => vec![0; size],
        }
    }
}

impl Change {
    /// The volume after the change. The same change twice changes it again.
    pub fn after(self, volume: &[u8], chunk: usize, block: usize, seed: u64) -> Vec<u8> {
        let mut after = volume.to_vec();
        let blocks = volume.len().div_ceil(block);
        match self {
            Change::Nothing => {}
            Change::OneBlock => {
                let at = seed as usize % blocks * block;
                for byte in after[at..].iter_mut().take(9) {
                    *byte = !*byte;
                }
            }
            Change::Scattered => {
                for byte in after.iter_mut().skip(seed as usize % 3 * block / 2).step_by(3 * block) {
                    *byte ^= 0x5a;
                }
                let run = noise(seed, chunk + 3 * block);
                for (byte, new) in after.iter_mut().skip(chunk - block - 5).zip(run) {
                    *byte = new;
                }
            }
            Change::Zeroed => {
                let first = seed as usize % 2;
                for (number, block) in after.chunks_mut(block).enumerate() {
                    if number % 4 == first || number % 5 == 0 {
                        block.fill(0);
                    }
                }
            }
            Change::Tail => *after.last_mut().unwrap() ^= 0x5a,
            Change::Shrank => after.truncate((volume.len() * 3 / 8).max(1)),
        }
        after
    }
}

/// Writes a volume's file; with `holes` where 4 KiB are zero.
pub fn write(path: &Path, volume: &[u8], holes: bool) {
    let file = File::create(path).unwrap();
    file.set_len(volume.len() as u64).unwrap();
    for (number, page) in volume.chunks(4096).enumerate() {
        if !holes || page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, number as u64 * 4096).unwrap();
        }
    }
}

/// What a restore of the last of these backups gives, oldest first: a volume that became shorter leaves the end of the longer one.
pub fn restored(volumes: &[Vec<u8>]) -> Vec<u8> {
    let mut restored: Vec<u8> = Vec::new();
    for volume in volumes {
        let rest = restored.split_off(volume.len().min(restored.len()));
        restored.clone_from(volume);
        restored.extend(rest);
    }
    restored
}
