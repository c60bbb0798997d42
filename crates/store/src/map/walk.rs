//! Reading maps, leaf by leaf, in the order of the volume.

use std::ops::Range;

use crate::error::Error;
use crate::id::ChunkId;
use crate::map::{FAN_OUT, Item, Node, Shape};

/// What is at a place of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceContent {
    /// Nothing but zeros.
    Zeros,
    /// A chunk.
    Chunk(ChunkId),
}

/// A run of zeros or one chunk, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its first byte in the volume.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// What is there.
    pub content: PieceContent,
}

/// A leaf, or a run of zeros in place of leaves, worked out to bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The node's id; none for the root (which has no id) and for zeros.
    pub id: Option<ChunkId>,
    /// Its first byte in the volume.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// In order, without gaps.
    pub pieces: Vec<Piece>,
}

/// Bytes that one position of a node covers (fixed maps) at this chunk size.
pub fn node_span(level: u8, chunk_bytes: u32) -> u64 {
    FAN_OUT.saturating_pow(level.into()).saturating_mul(chunk_bytes.into())
}

/// Reads a node; the iterator has the nodes that will be read after it, in order, as far as their ids are known, so that they can be
/// read along with it.
type Load<'a> = dyn FnMut(&ChunkId, &mut dyn Iterator<Item = ChunkId>) -> Result<Node, Error> + Send + 'a;

/// An iterator over the leaves of a map within a range of the volume.
///
/// It checks as it goes that the nodes fit together and cover the volume exactly. After an error it goes on behind the
/// node that failed, so that all damage can be told.
pub struct MapLeaves<'a> {
    load: Box<Load<'a>>,
    shape: Shape,
    chunk_bytes: u32,
    range: Range<u64>,
    /// Where the volume ends.
    size: u64,
    /// Nodes to visit, the next one last.
    stack: Vec<Step>,
}

struct Step {
    item: Item,
    /// Level of the node that the item is in.
    level: u8,
    offset: u64,
    length: u64,
    /// The root itself.
    root: Option<Node>,
}

/// A part of the volume whose map could not be read.
#[derive(Debug)]
pub struct UnreadableNode {
    /// First byte of the part.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Why.
    pub error: Error,
}

impl<'a> MapLeaves<'a> {
    /// Leaves of the map under `root` of a volume of `size` bytes that touch `range`.
    pub(crate) fn new(
        root: Node,
        size: u64,
        chunk_bytes: u32,
        range: Range<u64>,
        load: impl FnMut(&ChunkId, &mut dyn Iterator<Item = ChunkId>) -> Result<Node, Error> + Send + 'a,
    ) -> Self {
        let shape = root.shape;
        let first = Step { item: Item::Zeros(0), level: root.level, offset: 0, length: size, root: Some(root) };
        Self { load: Box::new(load), shape, chunk_bytes, range, size, stack: vec![first] }
    }

    fn bad(&self, reason: &str) -> Error {
        Error::damaged("a map", 0, reason)
    }

    /// Byte length of an item of a node of this level that begins at `offset`.
    fn item_bytes(&self, level: u8, item: &Item, offset: u64) -> Option<u64> {
        match self.shape {
            Shape::Variable => Some(item.span()),
            Shape::Fixed => {
                let bytes = item.span().checked_mul(node_span(level, self.chunk_bytes))?;
                // Only what lies at the very end may be shorter.
                Some(bytes.min(self.size.checked_sub(offset)?))
            }
        }
    }

    fn visit(&mut self, node: Node, step: &Step) -> Result<Option<Leaf>, Error> {
        if node.shape != self.shape || node.level != step.level {
            return Err(self.bad("a node of another shape or level than its parent says"));
        }
        let mut at = step.offset;
        let end = step.offset + step.length;
        let mut placed = Vec::with_capacity(node.items.len());
        for item in &node.items {
            let length = self.item_bytes(node.level, item, at).filter(|length| *length > 0 && *length <= end - at);
            let Some(length) = length else { return Err(self.bad("nodes cover more than the volume")) };
            placed.push((*item, at, length));
            at += length;
        }
        if at != end {
            return Err(self.bad("nodes cover less than the volume"));
        }
        if node.level > 0 {
            let steps = placed.into_iter().rev().filter(|(_, offset, length)| touches(&self.range, *offset, *length));
            let level = node.level - 1;
            self.stack.extend(steps.map(|(item, offset, length)| Step { item, level, offset, length, root: None }));
            return Ok(None);
        }
        let pieces = placed.into_iter().map(|(item, offset, length)| Piece {
            offset,
            length,
            content: match item {
                Item::Zeros(_) => PieceContent::Zeros,
                Item::Child { id, .. } => PieceContent::Chunk(id),
            },
        });
        let id = match step.item {
            Item::Child { id, .. } if step.root.is_none() => Some(id),
            _ => None,
        };
        Ok(Some(Leaf { id, offset: step.offset, length: step.length, pieces: pieces.collect() }))
    }
}

fn touches(range: &Range<u64>, offset: u64, length: u64) -> bool {
    offset < range.end && range.start < offset + length
}

/// The nodes that are visited next.
fn upcoming(stack: &[Step]) -> impl Iterator<Item = ChunkId> + '_ {
    stack.iter().rev().filter_map(|step| match step.item {
        Item::Child { id, .. } => Some(id),
        Item::Zeros(_) => None,
    })
}

impl Iterator for MapLeaves<'_> {
    type Item = Result<Leaf, UnreadableNode>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut step = self.stack.pop()?;
            let (offset, length) = (step.offset, step.length);
            if length == 0 {
                continue;
            }
            let node = match (step.root.take(), step.item) {
                (Some(root), _) => Ok(root),
                (None, Item::Child { id, .. }) => (self.load)(&id, &mut upcoming(&self.stack)),
                (None, Item::Zeros(_)) => {
                    let zeros = Piece { offset, length, content: PieceContent::Zeros };
                    return Some(Ok(Leaf { id: None, offset, length, pieces: vec![zeros] }));
                }
            };
            match node.and_then(|node| self.visit(node, &step)) {
                Ok(Some(leaf)) => return Some(Ok(leaf)),
                Ok(None) => {}
                Err(error) => return Some(Err(UnreadableNode { offset, length, error })),
            }
        }
    }
}

impl std::fmt::Debug for MapLeaves<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MapLeaves").field("range", &self.range).field("size", &self.size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::MapBuilder;
    use proptest::prelude::*;
    use std::collections::HashMap;

    use crate::id::Ids;

    #[derive(Clone, Debug)]
    enum Push {
        Zeros(u64),
        Chunks(u64),
    }

    fn id(n: u64) -> ChunkId {
        ChunkId::of(&n.to_le_bytes())
    }

    /// Builds a map and reads it back as pieces, with neighbouring zeros joined.
    fn round_trip(shape: Shape, pushes: &[Push]) -> Result<(Node, Vec<Piece>, Vec<Piece>), Error> {
        let mut nodes = HashMap::new();
        let mut sink = |id, bytes| {
            nodes.insert(id, bytes);
            Ok(())
        };
        let mut builder = MapBuilder::new(shape, Ids::plain());
        let (mut expected, mut at, mut number): (Vec<Piece>, u64, u64) = (Vec::new(), 0, 0);
        let unit = if shape == Shape::Fixed { 4096 } else { 1 };
        for push in pushes {
            match push {
                Push::Zeros(0) => {}
                Push::Zeros(count) => {
                    builder.push_zeros(*count, &mut sink)?;
                    expected.push(Piece { offset: at, length: count * unit, content: PieceContent::Zeros });
                    at += count * unit;
                }
                Push::Chunks(count) => {
                    for _ in 0..*count {
                        let length = if shape == Shape::Fixed { 4096 } else { 1 + number as u32 % 5000 };
                        builder.push_chunk(id(number), length, &mut sink)?;
                        expected.push(Piece {
                            offset: at,
                            length: length.into(),
                            content: PieceContent::Chunk(id(number)),
                        });
                        number += 1;
                        at += u64::from(length);
                    }
                }
            }
        }
        let root = builder.finish(&mut sink)?;
        let load = |id: &ChunkId, _: &mut dyn Iterator<Item = ChunkId>| Node::decode("x", &nodes[id]);
        let leaves = MapLeaves::new(root.clone(), at, 4096, 0..at, load);
        let mut pieces = Vec::new();
        for leaf in leaves {
            pieces.extend(leaf.map_err(|unreadable| unreadable.error)?.pieces);
        }
        Ok((root, join(pieces), join(expected)))
    }

    fn join(pieces: Vec<Piece>) -> Vec<Piece> {
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            match joined.last_mut() {
                Some(last) if last.content == PieceContent::Zeros && piece.content == PieceContent::Zeros => {
                    last.length += piece.length;
                }
                _ => joined.push(piece),
            }
        }
        joined
    }

    #[test]
    fn trees_are_as_high_as_they_have_to_be() -> Result<(), Error> {
        for (pushes, level) in [
            (vec![], 0),
            (vec![Push::Zeros(1024)], 0),
            (vec![Push::Chunks(1024)], 0),
            (vec![Push::Chunks(1025)], 1),
            (vec![Push::Zeros(1025)], 1),
            (vec![Push::Zeros(1 << 20)], 1),
            (vec![Push::Zeros((1 << 20) + 1)], 2),
            (vec![Push::Zeros(1 << 32)], 3),
            (vec![Push::Chunks(1), Push::Zeros(1 << 29), Push::Chunks(1)], 2),
        ] {
            let (root, pieces, expected) = round_trip(Shape::Fixed, &pushes)?;
            assert_eq!(root.level, level, "{pushes:?}");
            assert_eq!(pieces, expected, "{pushes:?}");
        }
        Ok(())
    }

    #[test]
    fn zeros_at_once_make_the_same_map_as_zeros_one_by_one() -> Result<(), Error> {
        for count in [1, 1023, 1024, 1025, 2048, 3000, 5000] {
            let lump = round_trip(Shape::Fixed, &[Push::Chunks(3), Push::Zeros(count), Push::Chunks(1)])?;
            let single = vec![Push::Zeros(1); count as usize];
            let single = [&[Push::Chunks(3)][..], &single, &[Push::Chunks(1)]].concat();
            assert_eq!(lump.0, round_trip(Shape::Fixed, &single)?.0, "{count}");
        }
        Ok(())
    }

    #[test]
    fn an_insertion_into_a_variable_map_leaves_most_nodes_alone() -> Result<(), Error> {
        let mut sets = Vec::new();
        for insert_at in [u64::MAX, 5000] {
            let mut nodes = std::collections::HashSet::new();
            let mut sink = |id, _| {
                nodes.insert(id);
                Ok(())
            };
            let mut builder = MapBuilder::new(Shape::Variable, Ids::plain());
            for n in 0..20_000 {
                if n == insert_at {
                    builder.push_chunk(id(u64::MAX), 5, &mut sink)?;
                }
                builder.push_chunk(id(n), 5, &mut sink)?;
            }
            builder.finish(&mut sink)?;
            sets.push(nodes);
        }
        let shared = sets[0].intersection(&sets[1]).count();
        assert!(sets[0].len() - shared <= 3, "{} of {} nodes changed", sets[0].len() - shared, sets[0].len());
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_goes_in_comes_out(
            fixed: bool,
            pushes in proptest::collection::vec(
                prop_oneof![(0_u64..3000).prop_map(Push::Zeros), (0_u64..3000).prop_map(Push::Chunks),
                            (0_u64..1 << 24).prop_map(Push::Zeros)], 0..8),
        ) {
            let shape = if fixed { Shape::Fixed } else { Shape::Variable };
            let result = round_trip(shape, &pushes);
            prop_assert!(result.is_ok(), "{:?}", result.err());
            if let Ok((_, pieces, expected)) = result {
                prop_assert_eq!(pieces, expected);
            }
        }
    }
}
