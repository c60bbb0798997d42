//! [`CASES`]: which chains the two drivers write for each other.

use super::volume::{Change, Fill, Size};

/// Sizes of data objects and hash blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// 64 KiB and 4 KiB.
    Small,
    /// 128 KiB and 32 KiB.
    Medium,
    /// No options: Cinder's defaults, nearly 2 GB and 32 KiB.
    Default,
}

/// Who writes the full backup, the first increment and the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    AllReal,
    AllOurs,
    OursBetween,
    RealBetween,
}

/// One of the two drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Real,
    Ours,
}

/// A chain: a full backup and two increments, with a change before each of these.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub size: Size,
    pub fill: Fill,
    pub first: Change,
    pub second: Change,
    pub compression: &'static str,
    pub pieces: Pieces,
    pub writers: Writers,
}

impl Pieces {
    /// What the options say, in bytes.
    pub fn options(self) -> Option<(usize, usize)> {
        match self {
            Pieces::Small => Some((64 << 10, 4 << 10)),
            Pieces::Medium => Some((128 << 10, 32 << 10)),
            Pieces::Default => None,
        }
    }
}

impl Writers {
    pub fn sides(self) -> [Side; 3] {
        match self {
            Writers::AllReal => [Side::Real, Side::Real, Side::Real],
            Writers::AllOurs => [Side::Ours, Side::Ours, Side::Ours],
            Writers::OursBetween => [Side::Real, Side::Ours, Side::Real],
            Writers::RealBetween => [Side::Ours, Side::Real, Side::Ours],
        }
    }
}

impl Case {
    /// What the volume's size and changes are measured in. A default chunk would be too long for that.
    pub fn units(&self) -> (usize, usize) {
        self.pieces.options().unwrap_or((128 << 10, 32 << 10))
    }

    /// The volume at each of the three backups.
    pub fn volumes(&self) -> [Vec<u8>; 3] {
        let (chunk, block) = self.units();
        let seed = self.size as u64 * 100 + self.fill as u64 * 10 + self.second as u64;
        let full = self.fill.volume(self.size.bytes(chunk, block), block, seed);
        let first = self.first.after(&full, chunk, block, seed + 1);
        let second = self.second.after(&first, chunk, block, seed + 2);
        [full, first, second]
    }

    /// Every value, for a check that all pairs of them are there.
    pub fn values(&self) -> [String; 7] {
        [
            format!("size {:?}", self.size),
            format!("fill {:?}", self.fill),
            format!("first {:?}", self.first),
            format!("then {:?}", self.second),
            format!("compression {}", self.compression),
            format!("pieces {:?}", self.pieces),
            format!("writers {:?}", self.writers),
        ]
    }
}

const fn case(
    size: Size,
    fill: Fill,
    first: Change,
    second: Change,
    compression: &'static str,
    pieces: Pieces,
    writers: Writers,
) -> Case {
    Case { size, fill, first, second, compression, pieces, writers }
}

use Change::{Nothing, OneBlock, Scattered, Shrank, Tail, Zeroed};
use Fill::{Holes, Noise, Text, Zeros};
use Pieces::{Default, Medium, Small};
use Size::{FourChunks, OneByte, OneChunk, Ragged, Short};
use Writers::{AllOurs, AllReal, OursBetween, RealBetween};

/// Every pair of values of two columns is in some row.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case(OneByte, Noise, Shrank, Shrank, "bz2", Medium, AllReal),
    case(Short, Text, Scattered, Zeroed, "zlib", Medium, AllReal),
    case(OneChunk, Holes, Scattered, OneBlock, "zlib", Default, AllReal),
    case(FourChunks, Zeros, Zeroed, Scattered, "none", Medium, AllReal),
    case(FourChunks, Text, OneBlock, Tail, "zstd", Default, AllReal),
    case(Ragged, Holes, Tail, Zeroed, "none", Small, AllReal),
    case(Ragged, Noise, Nothing, Tail, "gzip", Small, AllReal),
    case(Ragged, Text, Scattered, Nothing, "bz2", Default, AllReal),
    case(Ragged, Holes, Nothing, Nothing, "zlib", Default, AllReal),
    case(OneByte, Text, Tail, Shrank, "zstd", Medium, AllOurs),
    case(OneByte, Holes, Zeroed, Nothing, "gzip", Default, AllOurs),
    case(Short, Noise, OneBlock, Nothing, "none", Small, AllOurs),
    case(Short, Noise, Tail, Tail, "none", Small, AllOurs),
    case(OneChunk, Zeros, Shrank, Tail, "zlib", Medium, AllOurs),
    case(OneChunk, Holes, Scattered, Nothing, "zstd", Medium, AllOurs),
    case(OneChunk, Text, Nothing, Shrank, "gzip", Default, AllOurs),
    case(FourChunks, Noise, Scattered, OneBlock, "zstd", Medium, AllOurs),
    case(FourChunks, Zeros, Nothing, Zeroed, "bz2", Default, AllOurs),
    case(Ragged, Text, OneBlock, Scattered, "gzip", Medium, AllOurs),
    case(OneByte, Zeros, Scattered, Tail, "gzip", Small, OursBetween),
    case(OneByte, Text, Zeroed, Zeroed, "zlib", Medium, OursBetween),
    case(Short, Holes, Nothing, Scattered, "zstd", Medium, OursBetween),
    case(Short, Zeros, Tail, OneBlock, "gzip", Default, OursBetween),
    case(OneChunk, Zeros, Shrank, Nothing, "none", Small, OursBetween),
    case(OneChunk, Noise, Tail, Scattered, "bz2", Default, OursBetween),
    case(FourChunks, Holes, OneBlock, Shrank, "zlib", Small, OursBetween),
    case(Ragged, Holes, Shrank, OneBlock, "zstd", Medium, OursBetween),
    case(OneByte, Text, Nothing, OneBlock, "none", Small, RealBetween),
    case(OneByte, Zeros, OneBlock, OneBlock, "bz2", Small, RealBetween),
    case(OneByte, Text, Scattered, Scattered, "none", Small, RealBetween),
    case(Short, Holes, Zeroed, Tail, "bz2", Small, RealBetween),
    case(Short, Text, Shrank, Zeroed, "gzip", Default, RealBetween),
    case(Short, Zeros, Scattered, Shrank, "none", Default, RealBetween),
    case(OneChunk, Noise, OneBlock, Zeroed, "zstd", Small, RealBetween),
    case(OneChunk, Noise, Zeroed, Scattered, "zlib", Small, RealBetween),
    case(FourChunks, Text, Tail, Nothing, "zlib", Medium, RealBetween),
    case(FourChunks, Noise, Shrank, Scattered, "gzip", Default, RealBetween),
    case(FourChunks, Text, Zeroed, OneBlock, "gzip", Default, RealBetween),
    case(Ragged, Zeros, Zeroed, Shrank, "zstd", Default, RealBetween),
];
