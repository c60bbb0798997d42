//! The workers' part: reading, finding zeros, hashing, looking up.

use std::sync::Arc;

use cinderblock_chunker::{Extent, is_zero};
use cinderblock_store::{ChunkId, PackId, Repository};

use crate::backup::plan::Reads;
use crate::buffer::{Buffer, BufferPool};
use crate::error::Error;
use crate::source::VolumeFile;

/// Bytes of a volume, cut into chunks.
#[derive(Debug)]
pub(super) struct Segment {
    pub buffer: Buffer,
    /// Where its chunks lie in the volume, in order; in the buffer they follow each other without gaps.
    pub chunks: Vec<Extent>,
}

/// What a worker found out about a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Only zeros.
    Zeros,
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
    /// The buffer's bytes that were filled.
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
    Ok(Segment { buffer, chunks })
}

/// Finds zeros, hashes the rest, and looks it up.
pub(super) fn hash(repository: &Repository, segment: Segment) -> Result<Hashed, Error> {
    let Segment { buffer, chunks } = segment;
    let mut found = Vec::with_capacity(chunks.len());
    // Ids to look up, and where their answers belong.
    let (mut wanted, mut answers) = (Vec::new(), Vec::new());
    let mut rest: &[u8] = &buffer;
    let mut bytes = 0;
    for extent in chunks {
        let Some((chunk, after)) = rest.split_at_checked(extent.length as usize) else { break };
        rest = after;
        bytes += extent.length;
        if is_zero(chunk) {
            found.push((extent, Found::Zeros));
            continue;
        }
        let id = ChunkId::of(chunk);
        answers.push(found.len());
        wanted.push(id);
        found.push((extent, Found::Unknown(id)));
    }
    let (mut packs, mut unknown) = (Vec::new(), 0);
    if !wanted.is_empty() {
        let mut places = Vec::new();
        repository.locate(&wanted, &mut places)?;
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
    let buffer = (unknown > 0).then(|| Arc::new(buffer));
    Ok(Hashed { chunks: found, buffer, packs, bytes })
}
