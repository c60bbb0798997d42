//! Maps: from a volume's bytes to chunk ids, as a tree of nodes that are content-addressed like chunks.
//!
//! A node holds items, in the order of the volume: a run of zeros, or the id of a child. A *leaf* (level 0) has chunks as
//! children, a node of level n has nodes of level n - 1. The root stands in the backup's record.
//!
//! There are two shapes:
//! * **fixed**: the volume is cut at multiples of the chunk size. A node of level n has 1,024 positions of 1024ⁿ chunks
//!   each (the last node of a level may have fewer), so that every node's place in the volume is known, and an
//!   unchanged part of a volume has the same nodes as before.
//! * **variable**: content-defined chunking. Items carry their length. A node ends where the content says so (see
//!   [`builder`]), so that an insertion changes the nodes around it and not all that follow.
//!
//! Because a node's id is the hash of its bytes, an incremental backup writes only the nodes on the paths to what
//! changed, and yet every backup has a map of the whole volume.

pub mod builder;
pub mod node;
mod walk;

pub use builder::MapBuilder;
pub use node::{Item, Node, Shape};
pub use walk::{Leaf, MapLeaves, Piece, PieceContent, UnreadableNode, node_span};

/// Positions in a node of a fixed map, and the mean in one of a variable map.
pub const FAN_OUT: u64 = 1024;

/// Most levels above the leaves: enough for 16 TiB in chunks of 4 KiB, and a bound on recursion.
pub const MAX_LEVEL: u8 = 4;
