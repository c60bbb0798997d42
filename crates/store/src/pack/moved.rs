//! Frames for chunks that move from one pack to another, of the same repository or of another one.

use crate::error::Error;
use crate::id::Ids;
use crate::pack::PackReader;
use crate::pack::frame::{self, Compression, EncodedFrame, FrameChunk};

/// A frame as it is, neither compressed nor hashed anew. `stored` and `plain` are its bytes as they are stored, and decompressed; every
/// chunk is checked against its id, as `ids` make it. A frame that is hashed needs a `pack` that was read with its hashes.
///
/// # Errors
/// [`Error::Damaged`] where a chunk has other bytes, or the hashes are missing.
pub fn keep(ids: &Ids, pack: &PackReader, number: u32, stored: &[u8], plain: &[u8]) -> Result<EncodedFrame, Error> {
    let directory = pack.directory();
    let damaged = |reason: String| Error::damaged(pack.object(), directory.frame_offset(number).unwrap_or(0), reason);
    let Some(entry) = directory.frames().get(number as usize) else {
        return Err(damaged(format!("there is no frame {number}")));
    };
    let hashes = directory.frame_hashes(number).to_vec();
    if entry.hashed && hashes.len() != entry.chunks as usize {
        return Err(damaged(format!("frame {number} lacks its hashes")));
    }
    if stored.len() != entry.stored_bytes as usize || plain.len() != entry.plain_bytes as usize {
        return Err(damaged(format!("frame {number} has another length")));
    }
    let mut chunks = Vec::with_capacity(entry.chunks as usize);
    for (id, place) in directory.frame_chunks(number) {
        let from = place.offset as usize;
        let bytes = plain.get(from..from + place.length as usize).unwrap_or_default();
        if !ids.is_authentic(pack.content(), &id, bytes) {
            return Err(damaged(format!("chunk {id} has other bytes")));
        }
        chunks.push(FrameChunk { id, length: place.length });
    }
    Ok(EncodedFrame { bytes: frame::with_room(stored), entry: *entry, chunks, hashes })
}

/// A new frame of volume data whose chunks, all of them, have these SHA-256 hashes already. The chunks' bytes were checked before.
///
/// # Errors
/// As [`frame::encode`].
///
/// # Panics
/// Where there are not as many hashes as chunks, or as [`frame::encode`].
pub fn gather(
    plain: &[u8],
    chunks: Vec<FrameChunk>,
    hashes: Vec<[u8; 32]>,
    compression: Compression,
) -> Result<EncodedFrame, Error> {
    assert_eq!(hashes.len(), chunks.len(), "every chunk has a hash");
    let mut frame = frame::encode(plain, chunks, false, compression)?;
    frame.entry.hashed = true;
    frame.hashes = hashes;
    Ok(frame)
}

/// The SHA-256 of a chunk of a volume.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}
