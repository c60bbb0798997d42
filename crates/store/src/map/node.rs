//! One node of a map, and its bytes.

use crate::error::Error;
use crate::id::ChunkId;
use crate::map::{FAN_OUT, MAX_LEVEL};

/// How a map's chunks lie in the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// At multiples of the chunk size.
    Fixed,
    /// Wherever their content puts them.
    Variable,
}

/// A part of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// Only zeros: so many positions (fixed) or bytes (variable).
    Zeros(u64),
    /// A chunk, or a node of the level below.
    Child {
        /// Which.
        id: ChunkId,
        /// What it covers: 1 position (fixed) or so many bytes (variable).
        span: u64,
    },
}

impl Item {
    /// What it covers: positions (fixed) or bytes (variable).
    pub fn span(&self) -> u64 {
        match self {
            Item::Zeros(span) | Item::Child { span, .. } => *span,
        }
    }
}

/// Most items in a node: a variable node ends at four times the mean.
pub const MAX_ITEMS: usize = 4 * FAN_OUT as usize;

const NODE_VERSION: u8 = 1;
const TAG_ZEROS: u8 = 0;
const TAG_CHILDREN: u8 = 1;

/// A node: items in the order of the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// How chunks lie in the volume.
    pub shape: Shape,
    /// 0 for a leaf, whose children are chunks.
    pub level: u8,
    /// In order; never two runs of zeros after each other.
    pub items: Vec<Item>,
}

impl Node {
    /// An empty node.
    pub fn new(shape: Shape, level: u8) -> Self {
        Self { shape, level, items: Vec::new() }
    }

    /// What all items cover together: positions (fixed) or bytes (variable).
    pub fn span(&self) -> u64 {
        self.items.iter().map(Item::span).fold(0, u64::saturating_add)
    }

    /// The node's bytes: version, level, shape, a zero byte; then runs: tag 0 and the span of zeros (8 bytes), or tag 1,
    /// the number of children (4 bytes), and of each child its id (32 bytes) and, where the shape is variable, its
    /// length (8 bytes). Numbers are little-endian. Equal nodes have equal bytes, on which deduplication rests.
    pub fn encode(&self) -> Vec<u8> {
        let shape = match self.shape {
            Shape::Fixed => 0,
            Shape::Variable => 1,
        };
        let mut bytes = Vec::with_capacity(8 + self.items.len() * 40);
        bytes.extend_from_slice(&[NODE_VERSION, self.level, shape, 0]);
        let runs = self.items.chunk_by(|a, b| matches!((a, b), (Item::Child { .. }, Item::Child { .. })));
        for run in runs {
            if let [Item::Zeros(span)] = run {
                bytes.push(TAG_ZEROS);
                bytes.extend_from_slice(&span.to_le_bytes());
                continue;
            }
            bytes.push(TAG_CHILDREN);
            bytes.extend_from_slice(&(run.len() as u32).to_le_bytes());
            for item in run {
                if let Item::Child { id, span } = item {
                    bytes.extend_from_slice(id.as_bytes());
                    if self.shape == Shape::Variable {
                        bytes.extend_from_slice(&span.to_le_bytes());
                    }
                }
            }
        }
        bytes
    }

    /// Reads a node. `object` names where the bytes come from, for the error.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the bytes are not those of a node.
    pub fn decode(object: &str, bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader { object, bytes, at: 0 };
        let [version, level, shape, zero] = reader.take::<4>()?;
        if version != NODE_VERSION || zero != 0 || level > MAX_LEVEL {
            return Err(Error::damaged(object, 0, "not a map node of a known version"));
        }
        let shape = match shape {
            0 => Shape::Fixed,
            1 => Shape::Variable,
            _ => return Err(Error::damaged(object, 2, "a map node of an unknown shape")),
        };
        let mut node = Node::new(shape, level);
        let mut span = 0_u64;
        let mut previous = None;
        while reader.at < bytes.len() {
            let at = reader.at as u64;
            let [tag] = reader.take::<1>()?;
            if previous == Some(tag) {
                return Err(Error::damaged(object, at, "two runs of one kind after each other in a map node"));
            }
            previous = Some(tag);
            let count = match tag {
                TAG_ZEROS => {
                    node.items.push(Item::Zeros(u64::from_le_bytes(reader.take()?)));
                    1
                }
                TAG_CHILDREN => {
                    let count = u32::from_le_bytes(reader.take()?) as usize;
                    if count > MAX_ITEMS {
                        return Err(Error::damaged(object, at, "a map node with too many children"));
                    }
                    for _ in 0..count {
                        let id = ChunkId::from_bytes(reader.take()?);
                        let span = if shape == Shape::Variable { u64::from_le_bytes(reader.take()?) } else { 1 };
                        node.items.push(Item::Child { id, span });
                    }
                    count
                }
                _ => return Err(Error::damaged(object, at, "an unknown run in a map node")),
            };
            let added = node.items.iter().rev().take(count);
            for item in added {
                span = match item.span() {
                    0 => None,
                    more => span.checked_add(more),
                }
                .ok_or_else(|| Error::damaged(object, at, "a run of a map node with an impossible length"))?;
            }
            if count == 0 || node.items.len() > MAX_ITEMS || (shape == Shape::Fixed && span > FAN_OUT) {
                return Err(Error::damaged(object, at, "a map node with too many or no children"));
            }
        }
        Ok(node)
    }
}

struct Reader<'a> {
    object: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        self.at += N;
        taken
            .copied()
            .ok_or_else(|| Error::damaged(self.object, self.bytes.len() as u64, "a map node that ends too early"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        let id = |n| ChunkId::from_bytes([n; 32]);
        let fixed = Node {
            shape: Shape::Fixed,
            level: 0,
            items: vec![Item::Zeros(3), Item::Child { id: id(1), span: 1 }, Item::Child { id: id(2), span: 1 }],
        };
        let mut expected = vec![1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0];
        expected.extend([1; 32]);
        expected.extend([2; 32]);
        assert_eq!(fixed.encode(), expected);
        assert_eq!(Node::decode("x", &expected)?, fixed);
        let variable = Node { shape: Shape::Variable, level: 2, items: vec![Item::Child { id: id(1), span: 0x1234 }] };
        let mut expected = vec![1, 2, 1, 0, 1, 1, 0, 0, 0];
        expected.extend([1; 32]);
        expected.extend([0x34, 0x12, 0, 0, 0, 0, 0, 0]);
        assert_eq!(variable.encode(), expected);
        assert_eq!(Node::decode("x", &expected)?, variable);
        Ok(())
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(
            head in proptest::sample::select(vec![[1_u8, 0, 0, 0], [1, 1, 1, 0]]),
            rest in proptest::collection::vec(0_u8..3, 0..200),
        ) {
            let bytes = [&head[..], &rest].concat();
            if let Ok(node) = Node::decode("x", &bytes) {
                prop_assert_eq!(node.encode(), bytes);
            }
        }
    }
}
