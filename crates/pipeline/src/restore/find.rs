//! Finding what a backup is made of: leaves of its map and places of its chunks, with every attempt that there is before
//! something is given up as lost.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cinderblock_store::map::{Leaf, Node, Piece, PieceContent};
use cinderblock_store::pack::{Content, FRAME_MAX_BYTES, PackReader};
use cinderblock_store::{ChunkId, Error as StoreError, Location, Record, Repository};

use super::plan::Wanted;
use crate::engine::MAX_WARMED_PACKS;
use crate::error::Error;

/// A part of the volume that cannot be had, and why.
#[derive(Debug)]
pub(crate) struct Lost {
    pub offset: u64,
    pub length: u64,
    pub source: StoreError,
}

impl Lost {
    /// `partly_written` says whether a target holds a mixture of old and new bytes now.
    pub(crate) fn into_error(self, partly_written: bool) -> Error {
        let Lost { offset, length, source } = self;
        Error::Unrestorable { offset, length, partly_written, source }
    }
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        lost.into_error(false)
    }
}

/// Looks for the parts of one backup.
#[derive(Debug)]
pub(crate) struct Finder<'a> {
    pub repository: &'a Repository,
    pub record: &'a Record,
    /// Whether the index was brought up to date.
    refreshed: Mutex<bool>,
    /// A pack that the record names and that can't be read: probably why a chunk is missing.
    unreadable_pack: Mutex<Option<StoreError>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Finder<'a> {
    pub(crate) fn new(repository: &'a Repository, record: &'a Record) -> Self {
        Self { repository, record, refreshed: Mutex::new(false), unreadable_pack: Mutex::default() }
    }

    /// Remembers why a pack that the record names could not be read.
    pub(crate) fn unreadable(&self, error: StoreError) {
        lock(&self.unreadable_pack).get_or_insert(error);
    }

    /// Brings the index up to date and forgets what is in memory, for a reader that misses something which a
    /// garbage collector may have moved; once. Whether this call did it.
    fn refresh(&self) -> Result<bool, StoreError> {
        let mut refreshed = lock(&self.refreshed);
        if *refreshed {
            return Ok(false);
        }
        *refreshed = true;
        self.repository.catch_up()?;
        Ok(true)
    }

    /// Why a chunk is missing: the pack that should have it, where the record names one that cannot be read.
    fn likely_cause(&self, error: StoreError) -> StoreError {
        let StoreError::ChunkMissing { .. } = error else { return error };
        let known = lock(&self.unreadable_pack).take();
        known.or_else(|| self.find_unreadable_pack()).unwrap_or(error)
    }

    fn find_unreadable_pack(&self) -> Option<StoreError> {
        let mut packs = self.record.map_packs.iter().chain(&self.record.data_packs).take(MAX_WARMED_PACKS);
        packs.find_map(|id| self.repository.pack(*id).err())
    }

    /// Calls `visit` for all leaves of the map that touch a range of the volume, in order, until it fails or returns
    /// false.
    pub(crate) fn each_leaf<E: From<Lost>>(
        &self,
        range: Range<u64>,
        visit: impl FnMut(Leaf) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.each_leaf_noting(range, &|_, _| (), visit)
    }

    /// The same; `note` is given every node below the root that is read on the way, some more than once.
    pub(crate) fn each_leaf_noting<E: From<Lost>>(
        &self,
        range: Range<u64>,
        note: &(dyn Fn(&ChunkId, &Node) + Sync),
        mut visit: impl FnMut(Leaf) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (mut position, mut searched) = (range.start, None);
        'again: loop {
            for leaf in self.repository.leaves_noting(self.record, position..range.end, note) {
                let unreadable = match leaf {
                    Ok(leaf) => {
                        position = leaf.offset + leaf.length;
                        if !visit(leaf)? {
                            return Ok(());
                        }
                        continue;
                    }
                    Err(unreadable) => unreadable,
                };
                let (offset, length) = (unreadable.offset, unreadable.length);
                let lost = |source| Lost { offset, length, source };
                if unreadable.error.is_damage() && self.refresh().map_err(lost)? {
                    continue 'again;
                }
                if let StoreError::ChunkMissing { id } = unreadable.error
                    && searched != Some(id)
                {
                    // Looking for it loads the directory that has it.
                    searched = Some(id);
                    let mut found = false;
                    let search = self.repository.search(&HashSet::from([id]), &mut |_, _| found = true);
                    search.map_err(lost)?;
                    if found {
                        continue 'again;
                    }
                }
                return Err(lost(self.likely_cause(unreadable.error)).into());
            }
            return Ok(());
        }
    }

    /// A piece of the map as a wanted chunk; none for zeros.
    pub(crate) fn wanted(&self, piece: &Piece) -> Result<Option<Wanted>, Lost> {
        let PieceContent::Chunk(id) = piece.content else { return Ok(None) };
        match u32::try_from(piece.length) {
            // A map may claim any length; no pack has such a chunk.
            Ok(length) if length as usize <= FRAME_MAX_BYTES => Ok(Some(Wanted { id, offset: piece.offset, length })),
            _ => Err(self.wrong_length(piece.offset, piece.length)),
        }
    }

    pub(crate) fn wrong_length(&self, offset: u64, length: u64) -> Lost {
        let reason = format!("it gives the chunk at byte {offset} {length} bytes, which it does not have");
        Lost { offset, length, source: StoreError::BadMap { backup: self.record.id, reason } }
    }

    /// Where chunks are, in the same order. Ask for few at once: each may be in another pack, whose directory stays in
    /// memory as long as the answer.
    pub(crate) fn locate(&self, wanted: &[Wanted]) -> Result<Vec<Location>, Lost> {
        let Some(first) = wanted.first() else { return Ok(Vec::new()) };
        let lost = |source| Lost { offset: first.offset, length: first.length.into(), source };
        let ids: Vec<_> = wanted.iter().map(|chunk| chunk.id).collect();
        let mut places = Vec::new();
        self.repository.locate(&ids, &mut places).map_err(lost)?;
        if places.iter().any(Option::is_none) && self.refresh().map_err(lost)? {
            self.repository.locate(&ids, &mut places).map_err(lost)?;
        }
        if places.iter().any(Option::is_none) {
            self.search_missing(wanted, &mut places).map_err(lost)?;
        }
        let found = wanted.iter().zip(places).map(|(chunk, place)| {
            place.ok_or_else(|| Lost {
                offset: chunk.offset,
                length: chunk.length.into(),
                source: self.likely_cause(StoreError::ChunkMissing { id: chunk.id }),
            })
        });
        found.collect()
    }

    /// Looks for what the index does not know in all packs.
    fn search_missing(&self, wanted: &[Wanted], places: &mut [Option<Location>]) -> Result<(), StoreError> {
        let missing = wanted.iter().zip(places.iter()).filter(|(_, place)| place.is_none());
        let missing = missing.map(|(chunk, _)| chunk.id).collect();
        let mut found = HashMap::new();
        self.repository.search(&missing, &mut |id, location| {
            found.insert(id, location);
        })?;
        for (chunk, place) in wanted.iter().zip(places) {
            if place.is_none() {
                *place = found.get(&chunk.id).cloned();
            }
        }
        Ok(())
    }

    /// The last resort for chunks that could not be had from `pack`, where they should be: where else they are. A
    /// garbage collector may have moved them, or another writer may have stored them, too. `emit` takes verified bytes
    /// and their place in the volume. Stored bytes that were read.
    pub(crate) fn rescue<E: From<Lost>>(
        &self,
        pack: &PackReader,
        wanted: &[Wanted],
        error: StoreError,
        mut emit: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let Some(first) = wanted.first() else { return Ok(0) };
        let lost = |source| Lost { offset: first.offset, length: first.length.into(), source };
        if matches!(error, StoreError::PackMissing { .. }) {
            self.refresh().map_err(lost)?;
        }
        let ids: HashSet<_> = wanted.iter().map(|chunk| chunk.id).collect();
        let mut copies: Vec<(ChunkId, Location)> = Vec::new();
        self.repository
            .search(&ids, &mut |id, location| {
                if location.pack.id() != pack.id() {
                    copies.push((id, location));
                }
            })
            .map_err(lost)?;
        let (mut stored, mut plain, mut read) = (Vec::new(), Vec::new(), 0);
        for want in wanted {
            let mut of_chunk = copies.iter().filter(|(id, _)| *id == want.id);
            let rescued = of_chunk.find_map(|(_, copy)| {
                let place = copy.pack.directory().place(copy.slot)?;
                self.repository.read_frame(&copy.pack, place.frame, &mut stored, &mut plain).ok()?;
                read += stored.len() as u64;
                let from = place.offset as usize;
                let range = from..from + place.length as usize;
                let bytes = plain.get(range.clone())?;
                let good = bytes.len() == want.length as usize
                    && self.repository.ids().is_authentic(Content::Data, &want.id, bytes);
                good.then_some(range)
            });
            let Some(bytes) = rescued.and_then(|range| plain.get(range)) else {
                return Err(Lost { offset: want.offset, length: want.length.into(), source: error }.into());
            };
            emit(want.offset, bytes)?;
        }
        Ok(read)
    }
}

/// The error of a failed read of a pack.
pub(crate) fn read_error(pack: &PackReader, error: cinderblock_backend::Error) -> StoreError {
    match error.is_not_found() {
        true => StoreError::PackMissing { pack: pack.id() },
        false => error.into(),
    }
}

/// The error of a chunk whose bytes are not its own.
pub(crate) fn other_bytes(pack: &PackReader, number: u32, id: &ChunkId) -> StoreError {
    let offset = pack.directory().frame_offset(number).unwrap_or(0);
    StoreError::Damaged { object: pack.object().to_string(), offset, reason: format!("chunk {id} has other bytes") }
}
