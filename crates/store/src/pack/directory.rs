//! A pack's directory: which frames and chunks it holds, in order.

use std::ops::Range;

use bincode::{Decode, Encode};

use crate::codec;
use crate::error::Error;
use crate::id::ChunkId;
use crate::pack::{DIRECTORY_MAX_BYTES, FRAME_MAX_BYTES, PACK_MAX_CHUNKS};
use crate::seal::Framing;

/// How a frame is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Codec {
    /// As it is.
    Stored,
    /// As one zstd frame that states its content size.
    Zstd,
}

/// A frame, as the directory lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FrameEntry {
    /// Stored length in bytes, without the tag of a sealed frame.
    pub stored_bytes: u32,
    /// Plain length in bytes, at most [`FRAME_MAX_BYTES`].
    pub plain_bytes: u32,
    /// Number of chunks, at least one.
    pub chunks: u32,
    /// How it is stored.
    pub codec: Codec,
    /// Whether the directory has the SHA-256 of its chunks.
    pub hashed: bool,
}

/// The lists, as they are encoded; frames follow each other without gaps, and so do the chunks in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Lists {
    pub frames: Vec<FrameEntry>,
    /// Of all chunks of all frames.
    pub ids: Vec<ChunkId>,
    /// Plain lengths of the same chunks.
    pub lengths: Vec<u32>,
    /// SHA-256 of the chunks of the hashed frames; empty where this is the copy in an index segment.
    pub hashes: Vec<[u8; 32]>,
}

/// A checked directory, with the places worked out.
#[derive(Clone, Debug)]
pub struct Directory {
    lists: Lists,
    /// First slot and stored offset of each frame.
    places: Vec<(u32, u32)>,
    framing: Framing,
    /// End of the last frame: where the directory starts.
    end: u32,
}

/// Where a chunk is in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Its frame, counted from 0.
    pub frame: u32,
    /// Its first byte in the plain frame.
    pub offset: u32,
    /// Its plain length in bytes.
    pub length: u32,
}

impl Directory {
    /// Checks lists that stand at byte `at` of `object`: what they say adds up, and nothing in them makes a reader
    /// allocate more than the format allows.
    pub(crate) fn new(
        (object, at): (&str, u64),
        lists: Lists,
        framing: Framing,
        with_hashes: bool,
    ) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::damaged(object, at, reason);
        if lists.ids.len() > PACK_MAX_CHUNKS || lists.ids.len() != lists.lengths.len() {
            return Err(damaged("the directory's lists have wrong lengths"));
        }
        let (mut slot, mut offset, mut hashed) = (0_u32, framing.first, 0_usize);
        let mut places = Vec::with_capacity(lists.frames.len());
        for frame in &lists.frames {
            places.push((slot, offset));
            let next = slot.checked_add(frame.chunks).filter(|_| frame.chunks > 0);
            let lengths = next.and_then(|next| lists.lengths.get(slot as usize..next as usize));
            let (Some(next), Some(lengths)) = (next, lengths) else {
                return Err(damaged("a frame of the directory has a wrong number of chunks"));
            };
            let plain: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
            if plain != u64::from(frame.plain_bytes) || plain > FRAME_MAX_BYTES as u64 || lengths.contains(&0) {
                return Err(damaged("a frame of the directory has a wrong plain length"));
            }
            // A frame that did not get shorter is stored as it is: a reader never allocates more than a plain frame.
            let too_long = frame.stored_bytes > frame.plain_bytes;
            if too_long || (frame.codec == Codec::Stored && frame.stored_bytes != frame.plain_bytes) {
                return Err(damaged("a frame of the directory has a wrong stored length"));
            }
            offset = match frame.stored_bytes.checked_add(framing.tag).and_then(|length| offset.checked_add(length)) {
                Some(offset) => offset,
                None => return Err(damaged("the frames of the directory are too long")),
            };
            hashed += if frame.hashed { frame.chunks as usize } else { 0 };
            slot = next;
        }
        if slot as usize != lists.ids.len() {
            return Err(damaged("the directory lists chunks outside of every frame"));
        }
        if lists.hashes.len() != if with_hashes { hashed } else { 0 } {
            return Err(damaged("the directory's list of hashes has a wrong length"));
        }
        Ok(Self { lists, places, framing, end: offset })
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        codec::encode("a directory", &self.lists)
    }

    pub(crate) fn decode((object, at): (&str, u64), bytes: &[u8], framing: Framing) -> Result<Self, Error> {
        let lists = codec::decode_within::<Lists, { DIRECTORY_MAX_BYTES as usize }>(object, at, bytes)?;
        Self::new((object, at), lists, framing, true)
    }

    /// The lists without the SHA-256 hashes, as an index segment carries them.
    pub(crate) fn summary(&self) -> Lists {
        Lists { hashes: Vec::new(), ..self.lists.clone() }
    }

    /// Drops the SHA-256 hashes: 32 bytes a chunk that only an export to Cinder needs.
    pub(crate) fn without_hashes(mut self) -> Self {
        self.lists.hashes = Vec::new();
        self
    }

    /// The SHA-256 hashes of the chunks of all hashed frames, in order.
    pub fn hashes(&self) -> &[[u8; 32]] {
        &self.lists.hashes
    }

    /// The SHA-256 hashes of a frame's chunks, in order; none where it is not hashed, or where the hashes were not read.
    pub fn frame_hashes(&self, frame: u32) -> &[[u8; 32]] {
        let hashed = |entry: &&FrameEntry| entry.hashed;
        let before = self.frames().iter().take(frame as usize).filter(hashed);
        let from: usize = before.map(|entry| entry.chunks as usize).sum();
        match self.frames().get(frame as usize).filter(hashed) {
            Some(entry) => self.hashes().get(from..from + entry.chunks as usize).unwrap_or_default(),
            None => &[],
        }
    }

    /// The frames, in order.
    pub fn frames(&self) -> &[FrameEntry] {
        &self.lists.frames
    }

    /// The ids of all chunks, in order: a chunk's number here is its slot.
    pub fn ids(&self) -> &[ChunkId] {
        &self.lists.ids
    }

    /// Stored offset of a frame in the pack, in bytes.
    pub fn frame_offset(&self, frame: u32) -> Option<u64> {
        self.places.get(frame as usize).map(|(_, offset)| u64::from(*offset))
    }

    /// The bytes of the pack that a frame takes: its stored ones and, where it is sealed, its tag.
    pub fn frame_range(&self, frame: u32) -> Option<Range<u64>> {
        let from = self.frame_offset(frame)?;
        let stored = self.lists.frames.get(frame as usize)?.stored_bytes;
        Some(from..from + u64::from(stored) + u64::from(self.framing.tag))
    }

    /// Length of all frames in the pack, with their tags, in bytes.
    pub fn frames_length(&self) -> u64 {
        u64::from(self.end - self.framing.first)
    }

    /// The first slot of a frame.
    pub fn first_slot(&self, frame: u32) -> Option<u32> {
        self.places.get(frame as usize).map(|(slot, _)| *slot)
    }

    /// The chunks of a frame: id and place of each.
    pub fn frame_chunks(&self, frame: u32) -> impl Iterator<Item = (ChunkId, ChunkPlace)> + '_ {
        let first = self.first_slot(frame).unwrap_or(0) as usize;
        let count = self.lists.frames.get(frame as usize).map_or(0, |entry| entry.chunks as usize);
        let ids = self.lists.ids.iter().skip(first).take(count);
        let lengths = self.lists.lengths.iter().skip(first).take(count);
        let mut offset = 0;
        ids.zip(lengths).map(move |(id, length)| {
            let place = ChunkPlace { frame, offset, length: *length };
            offset += length;
            (*id, place)
        })
    }

    /// Where the chunk in a slot is.
    pub fn place(&self, slot: u32) -> Option<ChunkPlace> {
        let length = *self.lists.lengths.get(slot as usize)?;
        let frame = self.places.partition_point(|(first, _)| *first <= slot).checked_sub(1)?;
        let first = self.places.get(frame)?.0;
        let before = self.lists.lengths.get(first as usize..slot as usize)?;
        Some(ChunkPlace { frame: frame as u32, offset: before.iter().sum(), length })
    }

    /// Sum of the stored lengths of all frames, without tags, in bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.lists.frames.iter().map(|frame| u64::from(frame.stored_bytes)).sum()
    }

    /// Sum of the plain lengths of all frames, in bytes.
    pub fn plain_bytes(&self) -> u64 {
        self.lists.frames.iter().map(|frame| u64::from(frame.plain_bytes)).sum()
    }

    pub(crate) fn end(&self) -> u64 {
        u64::from(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(stored: u32, plain: u32, chunks: u32) -> FrameEntry {
        FrameEntry { stored_bytes: stored, plain_bytes: plain, chunks, codec: Codec::Zstd, hashed: false }
    }

    fn lists() -> Lists {
        Lists {
            frames: vec![frame(10, 30, 2), frame(5, 7, 1)],
            ids: (0..3).map(|n| ChunkId::from_bytes([n; 32])).collect(),
            lengths: vec![10, 20, 7],
            hashes: vec![],
        }
    }

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        let mut lists = lists();
        lists.frames[0].hashed = true;
        lists.frames[1].plain_bytes = 100_000;
        lists.frames[1].stored_bytes = 70_000;
        lists.lengths[2] = 100_000;
        lists.hashes = vec![[8; 32], [9; 32]];
        let bytes = Directory::new(("x", 0), lists.clone(), Framing::PLAIN, true)?.encode()?;
        let mut expected = vec![2, 10, 30, 2, 1, 1, 0xfc, 0x70, 0x11, 0x01, 0x00, 0xfc, 0xa0, 0x86, 0x01, 0x00];
        expected.extend([1, 1, 0, 3]);
        for n in 0..3 {
            expected.extend([n; 32]);
        }
        expected.extend([3, 10, 20, 0xfc, 0xa0, 0x86, 0x01, 0x00, 2]);
        expected.extend([8; 32]);
        expected.extend([9; 32]);
        assert_eq!(bytes, expected);
        assert_eq!(Directory::decode(("x", 0), &bytes, Framing::PLAIN)?.lists, lists);
        Ok(())
    }

    #[test]
    fn places_follow_each_other() -> Result<(), Error> {
        let directory = Directory::new(("x", 0), lists(), Framing::PLAIN, true)?;
        assert_eq!(directory.place(0), Some(ChunkPlace { frame: 0, offset: 0, length: 10 }));
        assert_eq!(directory.place(1), Some(ChunkPlace { frame: 0, offset: 10, length: 20 }));
        assert_eq!(directory.place(2), Some(ChunkPlace { frame: 1, offset: 0, length: 7 }));
        assert_eq!(directory.place(3), None);
        assert_eq!((directory.frame_offset(1), directory.end()), (Some(74), 79));
        Ok(())
    }

    #[test]
    fn frames_of_sealed_packs_end_with_their_tags() -> Result<(), Error> {
        let directory = Directory::new(("x", 0), lists(), Framing::SEALED, true)?;
        assert_eq!((directory.frame_range(0), directory.frame_range(1)), (Some(96..122), Some(122..143)));
        assert_eq!((directory.end(), directory.frames_length(), directory.stored_bytes()), (143, 47, 15));
        Ok(())
    }

    #[test]
    fn lists_that_do_not_add_up_are_refused() {
        let broken: [fn(&mut Lists); 9] = [
            |l| l.lengths[0] = 11,
            |l| l.lengths[0] = 0,
            |l| l.frames[0].chunks = 0,
            |l| l.frames[0].chunks = u32::MAX,
            |l| l.frames[0].stored_bytes = u32::MAX,
            |l| l.frames.truncate(1),
            |l| l.ids.truncate(1),
            |l| l.hashes.push([0; 32]),
            |l| l.frames[0].codec = Codec::Stored,
        ];
        for (number, breaking) in broken.iter().enumerate() {
            let mut lists = lists();
            breaking(&mut lists);
            assert!(Directory::new(("x", 0), lists, Framing::PLAIN, true).is_err(), "{number}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(directory) = Directory::decode(("x", 0), &bytes, Framing::PLAIN) {
                for slot in 0..directory.ids().len() as u32 + 1 {
                    let _ = directory.place(slot);
                }
            }
        }
    }
}
