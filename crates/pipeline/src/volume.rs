//! A backup read as a volume: at any place, by any number of threads.
//!
//! A read finds its chunks in the map, groups them by frame, and copies them out of frames that were decompressed and
//! verified. Neighbouring reads meet the same leaves and frames, so those are kept for a while.

mod cache;
mod frames;
mod hashes;
mod leaves;
mod request;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use cinderblock_backend::for_each_in_flight;
use cinderblock_chunker::Extent;
use cinderblock_store::map::{Leaf, PieceContent};
use cinderblock_store::pack::directory::ChunkPlace;
use cinderblock_store::pack::{FRAME_TARGET_BYTES, PackReader};
use cinderblock_store::{Chunking, Error as StoreError, Location, PackId, Record, Repository, Session};

use self::cache::Cache;
use self::frames::Frame;
use self::hashes::{PackHashes, ZeroHash};
use self::leaves::{Leaves, pieces_from};
use self::request::Request;
use crate::engine::in_flight;
use crate::error::Error;
use crate::restore::find::{Finder, Lost, other_bytes};
use crate::restore::plan::Wanted;

/// Chunks that are looked up at once: few enough that, each in another full pack, the directories take 38 MiB.
const GROUP_CHUNKS: usize = 64;

/// Most frames that one read has on their way at once, where the storage wants several requests at once.
const MAX_FRAMES_AT_ONCE: usize = 8;

/// A backup of a repository, read as the volume that it is of.
///
/// What it hands out is verified, chunk by chunk, as a restore does it, and it makes the same attempts before it gives a part up
/// as lost. Any number of threads may call its methods at once. Reads that go on where others ended are cheap as long
/// as their number of places is small beside what the memory holds: a place needs up to two frames, 512 KiB.
pub struct BackupVolume<'a> {
    finder: Finder<'a>,
    chunk_bytes: u64,
    leaves: Leaves,
    frames: Cache<(PackId, u32), Frame>,
    hashes: Cache<PackId, PackHashes>,
    zeros: ZeroHash,
    /// Of a volume's last chunk, which may be shorter.
    last_zeros: ZeroHash,
    /// Frames that one read has on their way at once.
    frames_at_once: usize,
}

/// A chunk that is wanted, and where it is.
struct Placed {
    wanted: Wanted,
    pack: Arc<PackReader>,
    place: ChunkPlace,
    /// Its number in its frame.
    index: u32,
}

impl<'a> BackupVolume<'a> {
    /// The volume of a backup. It keeps up to `memory_bytes` of what was read, three quarters of it as plain frames; a read
    /// in progress takes one frame more, or up to eight, if there is room for them four times, where the storage wants several requests at once. Nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Store`] where the record's chunk size is not the repository's: it is another repository's record.
    pub fn new(repository: &'a Repository, record: &'a Record, memory_bytes: usize) -> Result<Self, Error> {
        let chunk_bytes = repository.descriptor().chunk_size.bytes();
        if record.chunk_bytes != chunk_bytes {
            let reason = format!("its chunk size is {} bytes, the repository's {chunk_bytes}", record.chunk_bytes);
            return Err(StoreError::BadMap { backup: record.id, reason }.into());
        }
        // A frame has one chunk at least.
        let frame_bytes = FRAME_TARGET_BYTES.max(record.largest_chunk(repository.descriptor().chunk_size) as usize);
        let chunk_bytes = u64::from(chunk_bytes);
        let last = match record.volume_bytes % chunk_bytes {
            0 => chunk_bytes,
            part => part,
        };
        Ok(Self {
            finder: Finder::new(repository, record),
            chunk_bytes,
            leaves: Leaves::new(memory_bytes / 16),
            frames: Cache::new(memory_bytes / 4 * 3),
            hashes: Cache::new(memory_bytes / 16 * 3),
            zeros: ZeroHash::new(chunk_bytes),
            last_zeros: ZeroHash::new(last),
            frames_at_once: match in_flight(repository) {
                0 | 1 => 1,
                in_flight => in_flight.min(memory_bytes / (4 * frame_bytes)).clamp(1, MAX_FRAMES_AT_ONCE),
            },
        })
    }

    /// The volume's size in bytes.
    pub fn size(&self) -> u64 {
        self.finder.record.volume_bytes
    }

    /// The record that it was made of.
    pub fn record(&self) -> &'a Record {
        self.finder.record
    }

    /// The first part of the volume from byte `from` on, and before byte `end`, that its map does not say is zero; none
    /// where it says that all of it is. Another part may follow without a gap.
    ///
    /// # Errors
    /// [`Error::Unrestorable`] where the map cannot be read.
    pub fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error> {
        let (mut at, end) = (from, end.min(self.size()));
        while at < end {
            let leaf = self.leaf(at)?;
            let mut data: Option<Extent> = None;
            for piece in pieces_from(&leaf, at).iter().take_while(|piece| piece.offset < end) {
                match (piece.content, &mut data) {
                    (PieceContent::Zeros, None) => {}
                    (PieceContent::Zeros, Some(_)) => break,
                    (PieceContent::Chunk(_), data) => {
                        let piece_end = (piece.offset + piece.length).min(end);
                        let extent = data.get_or_insert(Extent { offset: piece.offset.max(at), length: 0 });
                        extent.length = piece_end - extent.offset;
                    }
                }
            }
            if data.is_some() {
                return Ok(data);
            }
            at = leaf.offset + leaf.length;
        }
        Ok(None)
    }

    /// Fills `buffer` with the volume's bytes from `offset` on. Behind the end of the volume there are zeros.
    ///
    /// # Errors
    /// [`Error::Unrestorable`] names a part that is lost. What the buffer holds then is not to be used.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let within = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let (buffer, behind) = buffer.split_at_mut(within);
        behind.fill(0);
        let (mut at, end) = (offset, offset.saturating_add(buffer.len() as u64));
        let mut request = Request { offset, buffer };
        let mut wanted = Vec::new();
        while at < end {
            let leaf = self.leaf(at)?;
            for piece in pieces_from(&leaf, at).iter().take_while(|piece| piece.offset < end) {
                match self.finder.wanted(piece)? {
                    None => request.part(piece.offset, piece.offset + piece.length).1.fill(0),
                    Some(chunk) => wanted.push(chunk),
                }
                if wanted.len() >= GROUP_CHUNKS {
                    self.read_chunks(&wanted, &mut request)?;
                    wanted.clear();
                }
            }
            at = leaf.offset + leaf.length;
        }
        self.read_chunks(&wanted, &mut request)
    }

    /// The SHA-256 hashes of chunks, which are numbered in the order of the volume, as far as the repository keeps them: it
    /// does for the chunks of fixed size. A chunk that is zero has the hash of so many zeros. `None` for
    /// a chunk whose hash has to be worked out from its bytes, and for all chunks of a volume that was cut by content.
    /// `out` has one entry for each number of `range` that the volume has, which are 0 to size ÷ chunk size, rounded up.
    ///
    /// # Errors
    /// [`Error::Unrestorable`] where the map or a chunk cannot be found.
    pub fn block_hashes(&self, range: Range<u64>, out: &mut Vec<Option<[u8; 32]>>) -> Result<(), Error> {
        out.clear();
        let chunks = self.size().div_ceil(self.chunk_bytes);
        let range = range.start.min(chunks)..range.end.min(chunks);
        if self.finder.record.chunking != Chunking::Fixed {
            out.resize(range.end.saturating_sub(range.start) as usize, None);
            return Ok(());
        }
        let (mut at, end) = (range.start * self.chunk_bytes, (range.end * self.chunk_bytes).min(self.size()));
        while at < end {
            let leaf = self.leaf(at)?;
            let mut wanted = Vec::new();
            for piece in pieces_from(&leaf, at).iter().take_while(|piece| piece.offset < end) {
                match self.finder.wanted(piece)? {
                    Some(chunk) => {
                        wanted.push(chunk);
                        out.push(None);
                    }
                    None => {
                        let mut offset = piece.offset.max(at);
                        let piece_end = (piece.offset + piece.length).min(end);
                        while offset < piece_end {
                            let length = self.chunk_bytes.min(self.size() - offset);
                            let zeros = if length == self.chunk_bytes { &self.zeros } else { &self.last_zeros };
                            out.push(Some(zeros.get()));
                            offset += length;
                        }
                    }
                }
            }
            for group in wanted.chunks(GROUP_CHUNKS) {
                for placed in self.place(group)? {
                    let number = placed.wanted.offset / self.chunk_bytes - range.start;
                    if let Some(hash) = out.get_mut(number as usize) {
                        *hash = self.kept_hash(&placed)?;
                    }
                }
            }
            at = leaf.offset + leaf.length;
        }
        Ok(())
    }

    fn kept_hash(&self, chunk: &Placed) -> Result<Option<[u8; 32]>, Lost> {
        let directory = chunk.pack.directory();
        if !directory.frames().get(chunk.place.frame as usize).is_some_and(|frame| frame.hashed) {
            return Ok(None);
        }
        let hashes = self.hashes.get(chunk.pack.id(), directory.ids().len() * size_of::<[u8; 32]>(), || {
            let pack = self.finder.repository.pack_with_hashes(chunk.pack.id())?;
            Ok::<_, StoreError>(PackHashes::new(&pack))
        });
        match hashes {
            Ok(hashes) => Ok(hashes.get(chunk.place.frame, chunk.index)),
            // There may be another copy of the chunk, which is for reading its bytes to find out.
            Err(error) if error.is_damage() => Ok(None),
            Err(source) => Err(Lost { offset: chunk.wanted.offset, length: chunk.wanted.length.into(), source }),
        }
    }

    /// Makes sure that chunks which another backup is to have, too, are there as its map says, and stay; the packs that they are in.
    pub(crate) fn locate_kept(
        &self,
        session: &Session<'_>,
        kept: &[Wanted],
        packs: &mut Vec<PackId>,
    ) -> Result<(), Error> {
        let mut add = |pack| {
            // Neighbours are mostly in one pack.
            if packs.last() != Some(&pack) {
                packs.push(pack);
            }
        };
        // Of these, a collector has copied what it knew to be needed, which this backup does not count for yet.
        let mut condemned = HashSet::new();
        for group in kept.chunks(GROUP_CHUNKS) {
            for placed in self.place(group).map_err(|lost| self.as_base(lost.into()))? {
                if session.avoids(placed.pack.id()) {
                    condemned.insert(placed.wanted.id);
                } else {
                    add(placed.pack.id());
                }
            }
        }
        if condemned.is_empty() {
            return Ok(());
        }
        self.finder.repository.search(&condemned.clone(), &mut |id, location| {
            if !session.avoids(location.pack.id()) && condemned.remove(&id) {
                add(location.pack.id());
            }
        })?;
        match condemned.into_iter().next() {
            Some(id) => Err(StoreError::Condemned { id, base: self.record().id }.into()),
            None => Ok(()),
        }
    }

    /// The error of a backup that needs what is lost of this one.
    pub(crate) fn as_base(&self, error: Error) -> Error {
        match error {
            Error::Unrestorable { offset, length, source, .. } => {
                Error::BaseLost { base: self.record().id, offset, length, source }
            }
            other => other,
        }
    }

    /// Calls `visit` for all chunks that lie in a part of the volume, or reach into it, in order.
    pub(crate) fn each_chunk(
        &self,
        from: u64,
        end: u64,
        mut visit: impl FnMut(Wanted) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut at, end) = (from, end.min(self.size()));
        while at < end {
            let leaf = self.leaf(at)?;
            for piece in pieces_from(&leaf, at).iter().take_while(|piece| piece.offset < end) {
                if let Some(chunk) = self.finder.wanted(piece)? {
                    visit(chunk)?;
                }
            }
            at = leaf.offset + leaf.length;
        }
        Ok(())
    }

    /// The leaf that covers a byte of the volume.
    fn leaf(&self, offset: u64) -> Result<Arc<Leaf>, Lost> {
        if let Some(leaf) = self.leaves.get(offset) {
            return Ok(leaf);
        }
        let mut found = None;
        self.finder.each_leaf(offset..offset.saturating_add(1), |leaf| {
            found = Some(leaf);
            Ok::<_, Lost>(false)
        })?;
        match found {
            Some(leaf) if leaf.offset <= offset && offset - leaf.offset < leaf.length => {
                let leaf = Arc::new(leaf);
                self.leaves.insert(&leaf);
                Ok(leaf)
            }
            _ => {
                let reason = format!("it says nothing about byte {offset}");
                let source = StoreError::BadMap { backup: self.finder.record.id, reason };
                Err(Lost { offset, length: 1, source })
            }
        }
    }

    /// Finds chunks in packs.
    fn place(&self, wanted: &[Wanted]) -> Result<Vec<Placed>, Lost> {
        let locations = self.finder.locate(wanted)?.into_iter();
        let placed = wanted.iter().zip(locations).map(|(wanted, Location { pack, slot })| {
            let place = pack.directory().place(slot).filter(|place| place.length == wanted.length);
            let first = place.and_then(|place| pack.directory().first_slot(place.frame));
            match (place, first) {
                (Some(place), Some(first)) => Ok(Placed { wanted: *wanted, index: slot - first, place, pack }),
                _ => Err(self.finder.wrong_length(wanted.offset, wanted.length.into())),
            }
        });
        placed.collect()
    }

    fn read_chunks(&self, wanted: &[Wanted], request: &mut Request<'_>) -> Result<(), Error> {
        for group in wanted.chunks(GROUP_CHUNKS) {
            let mut placed = self.place(group)?;
            placed.sort_by_key(|chunk| (chunk.pack.id(), chunk.place.frame));
            let same_frame = |a: &Placed, b: &Placed| a.pack.id() == b.pack.id() && a.place.frame == b.place.frame;
            let frames: Vec<&[Placed]> = placed.chunk_by(same_frame).collect();
            for together in frames.chunks(self.frames_at_once) {
                if together.len() > 1 {
                    // What fails is found again below.
                    let load = |chunks: &&[Placed]| self.load(chunks).map(drop).or(Ok::<(), StoreError>(()));
                    let _ = for_each_in_flight(self.frames_at_once, together, load);
                }
                together.iter().try_for_each(|of_frame| self.read_frame(of_frame, request))?;
            }
        }
        Ok(())
    }

    /// The frame of chunks that are in one; none where there are no chunks.
    fn load(&self, chunks: &[Placed]) -> Result<Option<Arc<Frame>>, StoreError> {
        let Some(Placed { pack, place: ChunkPlace { frame: number, .. }, .. }) = chunks.first() else {
            return Ok(None);
        };
        let plain_bytes = pack.directory().frames().get(*number as usize).map_or(0, |entry| entry.plain_bytes);
        let load = || Frame::load(self.finder.repository, pack, *number);
        self.frames.get((pack.id(), *number), plain_bytes as usize, load).map(Some)
    }

    /// Reads chunks of one frame.
    fn read_frame(&self, chunks: &[Placed], request: &mut Request<'_>) -> Result<(), Error> {
        let Some(Placed { pack, place: ChunkPlace { frame: number, .. }, .. }) = chunks.first() else { return Ok(()) };
        let mut lost: Vec<Wanted> = Vec::new();
        let error = match self.load(chunks) {
            Ok(None) => return Ok(()),
            Ok(Some(frame)) => {
                for chunk in chunks {
                    match frame.chunk(chunk.index, chunk.place, &chunk.wanted.id) {
                        Some(bytes) => request.put(chunk.wanted.offset, bytes),
                        None => lost.push(chunk.wanted),
                    }
                }
                let Some(first) = lost.first() else { return Ok(()) };
                other_bytes(pack, *number, &first.id)
            }
            Err(error) => {
                lost.extend(chunks.iter().map(|chunk| chunk.wanted));
                error
            }
        };
        self.finder.rescue(pack, &lost, error, |offset, bytes| {
            request.put(offset, bytes);
            Ok::<_, Lost>(())
        })?;
        Ok(())
    }
}

impl std::fmt::Debug for BackupVolume<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupVolume").field("backup", &self.record().id).finish_non_exhaustive()
    }
}
