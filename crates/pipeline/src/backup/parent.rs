//! The parent's map, leaf by leaf, beside the volume that is being read.

use std::iter::Peekable;
use std::sync::Arc;

use cinderblock_chunker::Extent;
use cinderblock_store::map::{Leaf, MapLeaves, PieceContent};
use cinderblock_store::{ChunkId, Chunking, PackId, Record, Repository};
use rayon::prelude::*;

use crate::engine::Engine;

/// A leaf of the parent's map: which chunk it has at each place of the grid.
#[derive(Debug)]
pub(super) struct ParentLeaf {
    offset: u64,
    chunk_bytes: u64,
    ids: Vec<Option<ChunkId>>,
}

impl ParentLeaf {
    fn new(leaf: &Leaf, chunk_bytes: u64) -> Self {
        let mut ids = vec![None; leaf.length.div_ceil(chunk_bytes) as usize];
        for piece in &leaf.pieces {
            let PieceContent::Chunk(id) = piece.content else { continue };
            if let Some(slot) = ids.get_mut(((piece.offset - leaf.offset) / chunk_bytes) as usize) {
                *slot = Some(id);
            }
        }
        Self { offset: leaf.offset, chunk_bytes, ids }
    }

    /// Whether the parent has this chunk at this place.
    pub(super) fn has(&self, extent: &Extent, id: &ChunkId) -> bool {
        let at = extent.offset.checked_sub(self.offset).map(|at| at / self.chunk_bytes);
        let there = at.and_then(|at| self.ids.get(at as usize));
        there.is_some_and(|there| there.as_ref() == Some(id))
    }
}

/// Goes through the parent's map as the volume is read from start to end. The parent is a hint: what can't be read of its
/// map is as if it were not there.
pub(super) struct ParentMap<'r> {
    leaves: Peekable<MapLeaves<'r>>,
    chunk_bytes: u64,
    current: Option<(u64, Arc<ParentLeaf>)>,
}

impl<'r> ParentMap<'r> {
    /// None where the parent is of no use: cut otherwise, or with packs that are not there any more.
    pub(super) fn new(engine: &Engine, repository: &'r Repository, parent: &Record) -> Option<Self> {
        if parent.chunking != Chunking::Fixed || !parent.hints_complete {
            return None;
        }
        // Chunks that the parent has at the same place are taken as stored without a look-up in the index, so its packs
        // have to be there, with their directories whole. A pack that was cut short or overwritten ends the trust.
        let is_there = |id: &PackId| repository.pack(*id).is_ok();
        if !engine.pool.install(|| parent.data_packs.par_iter().all(is_there)) {
            return None;
        }
        // The directories of the packs with its map: with them, its nodes are found without the index.
        for id in &parent.map_packs {
            repository.pack(*id).ok()?;
        }
        Some(Self {
            leaves: repository.leaves(parent, 0..parent.volume_bytes).peekable(),
            chunk_bytes: repository.descriptor().chunk_size.bytes().into(),
            current: None,
        })
    }

    /// The leaf at a place. Places are asked for in ascending order.
    pub(super) fn leaf_at(&mut self, offset: u64) -> Option<Arc<ParentLeaf>> {
        if let Some((end, leaf)) = &self.current
            && offset < *end
        {
            return Some(Arc::clone(leaf));
        }
        self.current = None;
        while let Some(next) = self.leaves.peek() {
            let (start, end) = match next {
                Ok(leaf) => (leaf.offset, leaf.offset + leaf.length),
                Err(unreadable) => (unreadable.offset, unreadable.offset + unreadable.length),
            };
            if offset < start {
                return None;
            }
            let next = self.leaves.next();
            let Some(Ok(leaf)) = next else { continue };
            // Zeros in place of leaves may be long, and match nothing that was read and hashed.
            if offset < end && leaf.pieces.iter().any(|piece| piece.content != PieceContent::Zeros) {
                let leaf = Arc::new(ParentLeaf::new(&leaf, self.chunk_bytes));
                self.current = Some((end, Arc::clone(&leaf)));
                return Some(leaf);
            }
        }
        None
    }
}
