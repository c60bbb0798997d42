//! The leaves of a map that were used last, found by what they cover.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cinderblock_store::map::{Leaf, Piece};

/// Leaves of one map; those that were not used for longest go first.
#[derive(Debug)]
pub(super) struct Leaves {
    kept: Mutex<Kept>,
    max_pieces: usize,
}

#[derive(Debug, Default)]
struct Kept {
    /// By their first byte, each with the count of its last use.
    leaves: BTreeMap<u64, (Arc<Leaf>, u64)>,
    pieces: usize,
    uses: u64,
}

/// The pieces of a leaf from the one on that holds the byte at `offset`.
pub(super) fn pieces_from(leaf: &Leaf, offset: u64) -> &[Piece] {
    let first = leaf.pieces.partition_point(|piece| piece.offset + piece.length <= offset);
    leaf.pieces.get(first..).unwrap_or_default()
}

impl Leaves {
    pub(super) fn new(memory_bytes: usize) -> Self {
        Self { kept: Mutex::default(), max_pieces: memory_bytes / size_of::<Piece>() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leaf that covers a byte, if it is kept.
    pub(super) fn get(&self, offset: u64) -> Option<Arc<Leaf>> {
        let mut kept = self.lock();
        kept.uses += 1;
        let uses = kept.uses;
        let (_, (leaf, last_use)) = kept.leaves.range_mut(..=offset).next_back()?;
        if offset - leaf.offset >= leaf.length {
            return None;
        }
        *last_use = uses;
        Some(Arc::clone(leaf))
    }

    /// Keeps a leaf, and drops others where there are too many pieces. The one that came last always stays.
    pub(super) fn insert(&self, leaf: &Arc<Leaf>) {
        let mut kept = self.lock();
        let kept = &mut *kept;
        kept.uses += 1;
        kept.pieces += leaf.pieces.len();
        if let Some((old, _)) = kept.leaves.insert(leaf.offset, (Arc::clone(leaf), kept.uses)) {
            kept.pieces -= old.pieces.len();
        }
        while kept.pieces > self.max_pieces && kept.leaves.len() > 1 {
            let oldest = kept.leaves.iter().min_by_key(|(_, (_, last_use))| *last_use).map(|(offset, _)| *offset);
            let Some((old, _)) = oldest.and_then(|offset| kept.leaves.remove(&offset)) else { break };
            kept.pieces -= old.pieces.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use cinderblock_store::map::PieceContent;

    use super::*;

    fn leaf(offset: u64, pieces: u64) -> Arc<Leaf> {
        let piece = |n| Piece { offset: offset + 10 * n, length: 10, content: PieceContent::Zeros };
        Arc::new(Leaf { id: None, offset, length: 10 * pieces, pieces: (0..pieces).map(piece).collect() })
    }

    #[test]
    fn a_leaf_is_found_by_any_byte_of_it_and_by_no_other() {
        let leaves = Leaves::new(1 << 20);
        leaves.insert(&leaf(100, 5));
        leaves.insert(&leaf(300, 1));
        let found = |offset| leaves.get(offset).map(|leaf| leaf.offset);
        assert_eq!(
            [99, 100, 149, 150, 299, 300, 309, 310].map(found),
            [None, Some(100), Some(100), None, None, Some(300), Some(300), None]
        );
    }

    #[test]
    fn the_leaf_that_was_not_used_for_longest_goes_first() {
        let leaves = Leaves::new(10 * size_of::<Piece>());
        for offset in [0, 100, 200] {
            leaves.insert(&leaf(offset, 5));
            assert!(leaves.get(0).is_some());
        }
        assert!(leaves.get(100).is_none() && leaves.get(200).is_some());
        leaves.insert(&leaf(300, 50));
        assert!(leaves.get(0).is_none() && leaves.get(300).is_some());
    }

    #[test]
    fn pieces_begin_with_the_one_that_holds_the_byte() {
        let leaf = leaf(100, 3);
        assert_eq!([100, 109, 110, 129, 130].map(|offset| pieces_from(&leaf, offset).len()), [3, 3, 2, 1, 0]);
    }
}
