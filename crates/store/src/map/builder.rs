//! Building a map, from the start of a volume to its end, with one open node per level in memory.
//!
//! A full node is written only when more follows, so the tree is never higher than it has to be, and equal volumes
//! have equal trees. A node of a variable map is full at [`MAX_ITEMS`] items, or from 256
//! items on when the last child's id ends the run: one id in 1,024 does.

use crate::error::Error;
use crate::id::{ChunkId, Ids};
use crate::map::node::MAX_ITEMS;
use crate::map::{FAN_OUT, Item, MAX_LEVEL, Node, Shape};

/// Fewest items of a variable node that its content ends.
const MIN_ITEMS: usize = 256;

/// Builds a map. Every finished node is handed to `sink` with its id; the root is not: it is what `finish` returns.
#[derive(Debug)]
pub struct MapBuilder {
    shape: Shape,
    ids: Ids,
    /// The open node of each level, leaves first, and what it covers.
    open: Vec<(Node, u64)>,
}

impl MapBuilder {
    /// An empty map, whose nodes get these ids.
    pub fn new(shape: Shape, ids: Ids) -> Self {
        Self { shape, ids, open: vec![(Node::new(shape, 0), 0)] }
    }

    /// Appends a chunk of `length` plain bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where the map would be too high; those of `sink`.
    pub fn push_chunk(&mut self, id: ChunkId, length: u32, sink: &mut NodeSink<'_>) -> Result<(), Error> {
        let span = if self.shape == Shape::Fixed { 1 } else { length.into() };
        self.push(0, Item::Child { id, span }, sink)
    }

    /// Appends zeros: so many chunks (fixed) or bytes (variable).
    ///
    /// # Errors
    /// [`Error::TooLarge`] where the map would be too high; those of `sink`.
    pub fn push_zeros(&mut self, span: u64, sink: &mut NodeSink<'_>) -> Result<(), Error> {
        match self.shape {
            Shape::Fixed => self.push_zero_positions(0, span, sink),
            Shape::Variable if span == 0 => Ok(()),
            Shape::Variable => self.push(0, Item::Zeros(span), sink),
        }
    }

    /// Ends the map; its root.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn finish(mut self, sink: &mut NodeSink<'_>) -> Result<Node, Error> {
        let mut level = 0;
        while level + 1 < self.open.len() {
            self.close(level, sink)?;
            level += 1;
        }
        let root = self.open.pop().map(|(node, _)| node);
        Ok(root.unwrap_or_else(|| Node::new(self.shape, 0)))
    }

    fn is_full(&self, level: usize) -> bool {
        let Some((node, span)) = self.open.get(level) else { return false };
        match self.shape {
            Shape::Fixed => *span == FAN_OUT,
            Shape::Variable if node.items.len() < MIN_ITEMS => false,
            Shape::Variable => match node.items.last() {
                Some(Item::Child { id, .. }) if id.prefix() % FAN_OUT == 0 => true,
                _ => node.items.len() >= MAX_ITEMS,
            },
        }
    }

    fn push(&mut self, level: usize, item: Item, sink: &mut NodeSink<'_>) -> Result<(), Error> {
        if self.is_full(level) {
            self.close(level, sink)?;
        }
        if level > usize::from(MAX_LEVEL) {
            return Err(Error::TooLarge { what: "a map", bytes: level as u64, limit: MAX_LEVEL.into() });
        }
        while self.open.len() <= level {
            self.open.push((Node::new(self.shape, self.open.len() as u8), 0));
        }
        let Some((node, span)) = self.open.get_mut(level) else { return Ok(()) };
        *span += item.span();
        match (node.items.last_mut(), item) {
            (Some(Item::Zeros(before)), Item::Zeros(more)) => *before += more,
            _ => node.items.push(item),
        }
        Ok(())
    }

    /// Zeros cost time by their levels, not by their length: whole empty nodes become zeros of the level above.
    fn push_zero_positions(&mut self, level: usize, mut count: u64, sink: &mut NodeSink<'_>) -> Result<(), Error> {
        while count > 0 {
            if self.is_full(level) {
                self.close(level, sink)?;
            }
            let used = self.open.get(level).map_or(0, |(_, span)| *span);
            if used == 0 && count > FAN_OUT {
                // At least one position stays for this level's open node, as if all had come one by one.
                let nodes = (count - 1) / FAN_OUT;
                self.push_zero_positions(level + 1, nodes, sink)?;
                count -= nodes * FAN_OUT;
            }
            let now = count.min(FAN_OUT - used);
            self.push(level, Item::Zeros(now), sink)?;
            count -= now;
        }
        Ok(())
    }

    /// Moves the open node of a level into its parent.
    fn close(&mut self, level: usize, sink: &mut NodeSink<'_>) -> Result<(), Error> {
        let Some((node, span)) = self.open.get_mut(level) else { return Ok(()) };
        let node = std::mem::replace(node, Node::new(self.shape, level as u8));
        let span = std::mem::take(span);
        let item = match (self.shape, node.items.as_slice()) {
            (_, []) => return Ok(()),
            (Shape::Fixed, [Item::Zeros(_)]) => Item::Zeros(1),
            (Shape::Variable, [Item::Zeros(_)]) => Item::Zeros(span),
            _ => {
                let bytes = node.encode();
                let id = self.ids.node(&bytes);
                sink(id, bytes)?;
                Item::Child { id, span: if self.shape == Shape::Fixed { 1 } else { span } }
            }
        };
        self.push(level + 1, item, sink)
    }
}

/// Takes a finished node: its id and its bytes.
pub type NodeSink<'a> = dyn FnMut(ChunkId, Vec<u8>) -> Result<(), Error> + 'a;
