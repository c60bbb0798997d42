//! Frames in memory, whose chunks are verified when they are first wanted.

use std::sync::atomic::{AtomicU8, Ordering};

use cinderblock_store::pack::directory::{ChunkPlace, Codec};
use cinderblock_store::pack::{Content, PackReader};
use cinderblock_store::{ChunkId, Error as StoreError, Ids, Repository};

use crate::restore::find::read_error;

const UNKNOWN: u8 = 0;
const RIGHT: u8 = 1;
const WRONG: u8 = 2;

/// The plain bytes of a frame.
pub(super) struct Frame {
    ids: Ids,
    plain: Vec<u8>,
    /// Of each chunk, by its number in the frame.
    verdicts: Vec<AtomicU8>,
}

impl Frame {
    /// Reads a frame of a pack and decompresses it.
    pub(super) fn load(repository: &Repository, pack: &PackReader, number: u32) -> Result<Self, StoreError> {
        let directory = pack.directory();
        let (Some(entry), Some(range)) = (directory.frames().get(number as usize), directory.frame_range(number))
        else {
            let reason = format!("there is no frame {number}");
            return Err(StoreError::Damaged { object: pack.object().to_string(), offset: 0, reason });
        };
        let mut stored = vec![0; (range.end - range.start) as usize];
        let read = repository.backend().read_into(pack.object(), range.start, &mut stored);
        read.map_err(|error| read_error(pack, error))?;
        let mut plain = Vec::new();
        pack.decode_frame(number, range.start, &mut stored, &mut plain)?;
        if entry.codec == Codec::Stored {
            stored.truncate(entry.stored_bytes as usize);
            plain = stored;
        }
        let verdicts = (0..entry.chunks).map(|_| AtomicU8::new(UNKNOWN)).collect();
        Ok(Self { ids: repository.ids().clone(), plain, verdicts })
    }

    /// The bytes of chunk `index` of the frame, which lies at `place`, if they are those that `id` names.
    pub(super) fn chunk(&self, index: u32, place: ChunkPlace, id: &ChunkId) -> Option<&[u8]> {
        let from = place.offset as usize;
        let bytes = self.plain.get(from..from + place.length as usize)?;
        let verdict = self.verdicts.get(index as usize)?;
        // Two threads may come to the same verdict at once.
        let right = match verdict.load(Ordering::Relaxed) {
            UNKNOWN => {
                let right = self.ids.is_authentic(Content::Data, id, bytes);
                verdict.store(if right { RIGHT } else { WRONG }, Ordering::Relaxed);
                right
            }
            known => known == RIGHT,
        };
        right.then_some(bytes)
    }
}
