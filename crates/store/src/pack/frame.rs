//! Frames: consecutive chunks, compressed together.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::id::ChunkId;
use crate::pack::FRAME_MAX_BYTES;
use crate::pack::directory::{Codec, FrameEntry};
use crate::seal::TAG_BYTES;
use crate::sha256;

/// How new chunks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// zstd at this level, 1 to 19.
    Zstd(i32),
}

impl Compression {
    /// Lowest and highest zstd level.
    pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;
}

impl Default for Compression {
    /// zstd at level 1: on volumes, higher levels cost several times the time for a few percent.
    fn default() -> Self {
        Compression::Zstd(1)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            Compression::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = Error;

    /// Takes `none`, `zstd` (level 1) and `zstd:LEVEL`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let level = match text.split_once(':') {
            None if text == "none" => return Ok(Compression::None),
            None if text == "zstd" => return Ok(Compression::default()),
            Some(("zstd", level)) => level.parse().ok().filter(|level| Self::LEVELS.contains(level)),
            _ => None,
        };
        level.map(Compression::Zstd).ok_or_else(|| Error::InvalidId {
            kind: "compression",
            text: text.to_owned(),
            reason: "it has to be none, zstd or zstd:LEVEL with a level from 1 to 19".to_owned(),
        })
    }
}

/// A chunk of a frame that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameChunk {
    /// Its id.
    pub id: ChunkId,
    /// Its plain length in bytes, 1 to [`FRAME_MAX_BYTES`].
    pub length: u32,
}

/// A frame as it is stored, with what the directory says about it.
#[derive(Clone, Debug)]
pub struct EncodedFrame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entry: FrameEntry,
    pub(crate) chunks: Vec<FrameChunk>,
    pub(crate) hashes: Vec<[u8; 32]>,
}

impl EncodedFrame {
    /// Stored length in bytes, without the tag of a sealed frame.
    pub fn stored_bytes(&self) -> usize {
        self.entry.stored_bytes as usize
    }

    /// Plain length in bytes.
    pub fn plain_bytes(&self) -> usize {
        self.entry.plain_bytes as usize
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }
}

thread_local! {
    // zstd contexts are large and slow to make: one a thread, used again for every frame.
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    // A frame is compressed here and then copied to a buffer of its own length: packs keep hundreds of them.
    static COMPRESSED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn compress(level: i32, plain: &[u8], into: &mut Vec<u8>) -> Result<(), Error> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let failed = |source| Error::Compression { source };
        let mut compressor = match slot.take() {
            Some((had, compressor)) if had == level => compressor,
            _ => {
                let mut compressor = zstd::bulk::Compressor::new(level).map_err(failed)?;
                // A frame states its content size; the chunks' own ids are the checksum.
                compressor.include_checksum(false).map_err(failed)?;
                compressor
            }
        };
        into.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        compressor.compress_to_buffer(plain, into).map_err(failed)?;
        *slot = Some((level, compressor));
        Ok(())
    })
}

/// Makes a frame of consecutive chunks: `plain` is all of them, one after the other, and `chunks` tells them apart.
/// Chunks of volumes get their SHA-256 (Cinder's hash of a block) here, where they are new, and never again.
///
/// `hashed` says whether to compute them: not for map nodes, nor for chunks of content-defined chunking, which no list
/// of Cinder's can name.
///
/// # Errors
/// [`Error::TooLarge`] where `plain` is longer than [`FRAME_MAX_BYTES`]; [`Error::Compression`].
///
/// # Panics
/// Where the lengths of `chunks` do not add up to that of `plain`.
pub fn encode(
    plain: &[u8],
    chunks: Vec<FrameChunk>,
    hashed: bool,
    compression: Compression,
) -> Result<EncodedFrame, Error> {
    if plain.len() > FRAME_MAX_BYTES {
        return Err(Error::TooLarge { what: "a frame", bytes: plain.len() as u64, limit: FRAME_MAX_BYTES as u64 });
    }
    let total: usize = chunks.iter().map(|chunk| chunk.length as usize).sum();
    assert_eq!(total, plain.len(), "the chunks of a frame make up its bytes");
    let mut hashes = Vec::new();
    if hashed {
        let mut rest = plain;
        let each = chunks.iter().map(|chunk| {
            let (bytes, after) = rest.split_at(chunk.length as usize);
            rest = after;
            bytes
        });
        hashes = sha256::digests(&each.collect::<Vec<_>>());
    }
    let compressed = match compression {
        Compression::None => None,
        Compression::Zstd(level) => COMPRESSED.with_borrow_mut(|scratch| {
            scratch.clear();
            compress(level, plain, scratch)?;
            // Less than 1/64 saved is not worth a decompression of every read.
            Ok::<_, Error>((scratch.len() < plain.len() - plain.len() / 64).then(|| with_room(scratch)))
        })?,
    };
    let codec = if compressed.is_some() { Codec::Zstd } else { Codec::Stored };
    let bytes = compressed.unwrap_or_else(|| with_room(plain));
    let entry = FrameEntry {
        stored_bytes: bytes.len() as u32,
        plain_bytes: plain.len() as u32,
        chunks: chunks.len() as u32,
        codec,
        hashed,
    };
    Ok(EncodedFrame { bytes, entry, chunks, hashes })
}

/// A copy that need not grow, and so move, for the tag of a sealed frame.
pub(crate) fn with_room(bytes: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(bytes.len() + TAG_BYTES);
    copy.extend_from_slice(bytes);
    copy
}

/// The plain bytes of a frame whose directory entry was checked, into a buffer that is used again.
/// `object` and `offset` say where the frame stands, for the error.
///
/// # Errors
/// [`Error::Damaged`] where the frame does not decompress to the length that the directory states.
pub fn decode(
    object: &dyn fmt::Display,
    offset: u64,
    entry: &FrameEntry,
    stored: &[u8],
    plain: &mut Vec<u8>,
) -> Result<(), Error> {
    let damaged = |reason: String| Error::damaged(object, offset, reason);
    let length = entry.plain_bytes as usize;
    if length > FRAME_MAX_BYTES {
        return Err(damaged(format!("a frame of {length} bytes")));
    }
    plain.clear();
    match entry.codec {
        Codec::Stored => plain.extend_from_slice(stored),
        Codec::Zstd => DECOMPRESSOR.with_borrow_mut(|slot| {
            let decompressor = match slot {
                Some(decompressor) => decompressor,
                None => slot.insert(zstd::bulk::Decompressor::new().map_err(|source| Error::Compression { source })?),
            };
            plain.reserve(length);
            // zstd stops at the buffer's capacity, which may be above the length: the check below is the exact one.
            decompressor
                .decompress_to_buffer(stored, plain)
                .map_err(|error| damaged(format!("a frame does not decompress ({error})")))
                .map(drop)
        })?,
    }
    if plain.len() != length {
        return Err(damaged(format!("a frame has {} plain bytes instead of {length}", plain.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    fn frame(plain: &[u8], compression: Compression) -> Result<EncodedFrame, Error> {
        let chunk = FrameChunk { id: ChunkId::of(plain), length: plain.len() as u32 };
        encode(plain, vec![chunk], true, compression)
    }

    #[test]
    fn frames_round_trip_and_noise_is_stored() -> Result<(), Error> {
        let mut noise = vec![0; 100_000];
        getrandom::fill(&mut noise).map_err(|source| Error::Random { source })?;
        for (plain, compression, codec) in [
            (vec![7; 100_000], Compression::Zstd(1), Codec::Zstd),
            (vec![7; 100_000], Compression::None, Codec::Stored),
            (noise, Compression::Zstd(1), Codec::Stored),
        ] {
            let encoded = frame(&plain, compression)?;
            assert_eq!(encoded.entry.codec, codec);
            let mut back = Vec::new();
            decode(&"x", 0, &encoded.entry, &encoded.bytes, &mut back)?;
            assert!(back == plain);
            let sha: [u8; 32] = sha2::Sha256::digest(&plain).into();
            assert_eq!(encoded.hashes, [sha]);
        }
        Ok(())
    }

    #[test]
    fn a_bomb_is_refused_at_the_stated_length() -> Result<(), Error> {
        let bomb = frame(&vec![0; 8 << 20], Compression::Zstd(1))?;
        let entry = FrameEntry { plain_bytes: 1000, ..bomb.entry };
        let mut plain = Vec::new();
        assert!(decode(&"x", 0, &entry, &bomb.bytes, &mut plain).is_err());
        assert!(plain.capacity() < 1 << 20);
        let entry = FrameEntry { plain_bytes: u32::MAX, ..bomb.entry };
        assert!(decode(&"x", 0, &entry, &bomb.bytes, &mut plain).is_err());
        Ok(())
    }

    #[test]
    fn compression_as_people_write_it() -> Result<(), Error> {
        for (text, value) in
            [("none", Compression::None), ("zstd", Compression::Zstd(1)), ("zstd:19", Compression::Zstd(19))]
        {
            assert_eq!(text.parse::<Compression>()?, value);
        }
        for text in ["", "zstd:", "zstd:0", "zstd:20", "zstd:-1", "gzip", "none:1"] {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
        Ok(())
    }
}
