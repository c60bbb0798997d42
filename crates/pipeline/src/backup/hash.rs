//! The workers' part: reading, finding zeros, hashing, looking up.

use std::sync::Arc;

use cinderblock_chunker::{Extent, is_zero};
use cinderblock_store::{ChunkId, PackId, Session};

use crate::backup::plan::Reads;
use crate::buffer::{Buffer, BufferPool};
use crate::error::Error;
use crate::restore::plan::Wanted;
use crate::source::VolumeFile;
use crate::volume::BackupVolume;

/// Bytes of a volume, cut into chunks.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// None where there are no chunks but those that are kept.
    pub buffer: Option<Buffer>,
    /// Where its chunks lie in the volume, in order; in the buffer they follow each other without gaps.
    pub chunks: Vec<Extent>,
    /// Chunks of an earlier backup that stay as they are, in order: between the others, and without bytes.
    pub kept: Vec<Wanted>,
    /// How many bytes of the chunks the source gave.
    pub read_bytes: u64,
}

/// What a worker found out about a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Only zeros.
    Zeros,
    /// Kept from an earlier backup; the buffer does not have its bytes.
    Kept(ChunkId),
    /// The repository has it.
    Known(ChunkId),
    /// The repository does not have it.
    Unknown(ChunkId),
}

/// A segment, looked at.
#[derive(Debug)]
pub(super) struct Hashed {
    pub chunks: Vec<(Extent, Found)>,
    /// The bytes, where there are unknown chunks: the others are not needed any more.
    pub buffer: Option<Arc<Buffer>>,
    /// Packs in which chunks were found.
    pub packs: Vec<PackId>,
    /// Bytes that the source gave.
    pub bytes: u64,
}

/// Fills a buffer from a file.
pub(super) fn read(
    source: &VolumeFile,
    reads: &Reads,
    pool: &Arc<BufferPool>,
    chunk_bytes: u32,
) -> Result<Segment, Error> {
    let mut buffer = pool.take();
    let mut chunks = Vec::with_capacity(reads.bytes / chunk_bytes as usize + reads.extents.len());
    let mut rest = buffer.as_mut_slice();
    for extent in &reads.extents {
        let Some((part, after)) = rest.split_at_mut_checked(extent.length as usize) else { break };
        source.read_at(extent.offset, part)?;
        rest = after;
        let starts = (extent.offset..extent.end()).step_by(chunk_bytes as usize);
        chunks.extend(starts.map(|offset| {
            let length = u64::from(chunk_bytes).min(extent.end() - offset);
            Extent { offset, length }
        }));
    }
    Ok(Segment { buffer: Some(buffer), chunks, kept: Vec::new(), read_bytes: reads.bytes as u64 })
}

/// Finds zeros, hashes the rest, and looks it up. What is kept is of `base`.
pub(super) fn hash(session: &Session<'_>, base: Option<&BackupVolume<'_>>, segment: Segment) -> Result<Hashed, Error> {
    let Segment { buffer, chunks, kept, read_bytes } = segment;
    let mut found = Vec::with_capacity(chunks.len() + kept.len());
    // Ids to look up, and where their answers belong.
    let (mut wanted, mut answers) = (Vec::new(), Vec::new());
    let ids = session.repository().ids();
    let mut rest: &[u8] = buffer.as_deref().unwrap_or_default();
    for extent in chunks {
        let Some((chunk, after)) = rest.split_at_checked(extent.length as usize) else { break };
        rest = after;
        if is_zero(chunk) {
            found.push((extent, Found::Zeros));
            continue;
        }
        let id = ids.chunk(chunk);
        answers.push(found.len());
        wanted.push(id);
        found.push((extent, Found::Unknown(id)));
    }
    let (mut packs, mut unknown) = (Vec::new(), 0);
    if !wanted.is_empty() {
        let mut places = Vec::new();
        session.locate(&wanted, &mut places)?;
        for ((at, id), place) in answers.into_iter().zip(wanted).zip(places) {
            let Some(place) = place else {
                unknown += 1;
                continue;
            };
            // Neighbours are mostly in one pack.
            if packs.last() != Some(&place.pack.id()) {
                packs.push(place.pack.id());
            }
            if let Some((_, found)) = found.get_mut(at) {
                *found = Found::Known(id);
            }
        }
    }
    if let (Some(base), [_, ..]) = (base, kept.as_slice()) {
        base.locate_kept(session, &kept, &mut packs)?;
        found.extend(kept.iter().map(|chunk| {
            let extent = Extent { offset: chunk.offset, length: chunk.length.into() };
            (extent, Found::Kept(chunk.id))
        }));
        found.sort_unstable_by_key(|(extent, _)| extent.offset);
    }
    let buffer = buffer.filter(|_| unknown > 0).map(Arc::new);
    Ok(Hashed { chunks: found, buffer, packs, bytes: read_bytes })
}
