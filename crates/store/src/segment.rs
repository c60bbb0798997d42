//! Index segments: the directories of packs that one session wrote, without the SHA-256 hashes.
//!
//! The index is rebuilt from the segments alone, in a few large reads instead of one for every pack.

use bincode::{Decode, Encode};
use cinderblock_backend::Backend;

use crate::codec;
use crate::error::Error;
use crate::id::{PackId, SegmentId, SessionId};
use crate::layout;
use crate::object::{Header, Kind, get_envelope, put_envelope};
use crate::pack::directory::{Directory, Lists};
use crate::pack::{Content, FinishedPack, PackReader};
use crate::seal::Seal;

/// Bytes of directories at which a session writes a segment and begins another: 4 MiB, some 100,000 chunks.
pub(crate) const SEGMENT_TARGET_BYTES: usize = 4 << 20;

/// The body of a segment.
#[derive(Encode, Decode)]
struct Body {
    /// Segments that this one takes the place of: a garbage collector wrote it, and removes them.
    replaces: Vec<SegmentId>,
    packs: Vec<PackSummary>,
}

/// Packs at which a session writes a segment, whatever their directories' size: 2 GiB stored, so that an interrupted backup
/// of large chunks does not lose more than that.
pub(crate) const SEGMENT_MAX_PACKS: usize = 64;

/// What a segment says about one pack.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PackSummary {
    pub id: PackId,
    /// Whether it holds map nodes rather than volume data.
    pub map: bool,
    /// Length of the whole object in bytes.
    pub object_bytes: u64,
    /// The directory, without hashes.
    pub lists: Lists,
}

impl PackSummary {
    pub(crate) fn of_finished(pack: &FinishedPack) -> Self {
        Self {
            id: pack.id,
            map: pack.content == Content::Map,
            object_bytes: pack.object_bytes(),
            lists: pack.directory.summary(),
        }
    }

    pub(crate) fn of_reader(pack: &PackReader) -> Self {
        Self {
            id: pack.id(),
            map: pack.content() == Content::Map,
            object_bytes: pack.object_bytes(),
            lists: pack.directory().summary(),
        }
    }

    /// About the bytes that it takes in a segment.
    pub(crate) fn encoded_bytes(&self) -> usize {
        64 + self.lists.frames.len() * 12 + self.lists.ids.len() * 36
    }
}

/// Writes a segment; its name, and its length in bytes.
pub(crate) fn write(
    backend: &dyn Backend,
    seal: &Seal,
    session: SessionId,
    packs: &[PackSummary],
) -> Result<(SegmentId, u64), Error> {
    replace(backend, (seal, session), packs, &[])
}

/// Writes a segment that takes the place of others.
pub(crate) fn replace(
    backend: &dyn Backend,
    (seal, session): (&Seal, SessionId),
    packs: &[PackSummary],
    old: &[SegmentId],
) -> Result<(SegmentId, u64), Error> {
    let id = SegmentId::random()?;
    let header = Header { kind: Kind::Segment, repository: seal.repository(), id: *id.as_bytes(), session };
    let body = Body { replaces: old.to_vec(), packs: packs.to_vec() };
    let bytes =
        put_envelope(backend, seal, &layout::segment(id)?, &header, &codec::encode("an index segment", &body)?)?;
    Ok((id, bytes))
}

/// Reads and checks a segment; the session that wrote it and its packs.
pub(crate) fn read(backend: &dyn Backend, seal: &Seal, id: SegmentId) -> Result<(SessionId, Vec<PackSummary>), Error> {
    let name = layout::segment(id)?;
    let (header, body) = get_envelope(backend, seal, &name, Kind::Segment)?;
    header.expect(name.as_str(), &[Kind::Segment], seal.repository(), *id.as_bytes())?;
    let Body { packs, .. } = codec::decode(name.as_str(), 64, &body)?;
    for pack in &packs {
        Directory::new((name.as_str(), 64), pack.lists.clone(), seal.framing(), false)?;
    }
    Ok((header.session, packs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChunkId;
    use crate::pack::directory::{Codec, FrameEntry};

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        let frame = FrameEntry { stored_bytes: 5, plain_bytes: 9, chunks: 1, codec: Codec::Zstd, hashed: true };
        let lists =
            Lists { frames: vec![frame], ids: vec![ChunkId::from_bytes([6; 32])], lengths: vec![9], hashes: vec![] };
        let summary = PackSummary { id: PackId::from_bytes([4; 16]), map: false, object_bytes: 200, lists };
        let mut expected = vec![0, 1];
        expected.extend([4; 16]);
        expected.extend([0, 200, 1, 5, 9, 1, 1, 1, 1]);
        expected.extend([6; 32]);
        expected.extend([1, 9, 0]);
        assert_eq!(codec::encode("x", &Body { replaces: vec![], packs: vec![summary] })?, expected);
        Ok(())
    }
}
