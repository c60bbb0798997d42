//! Packs: chunk data, many chunks to an object.
//!
//! ```text
//! header 64 B │ frame │ frame │ … │ directory │ footer 64 B
//! ```
//! A [frame] holds consecutive chunks that were compressed together. The [directory] lists every frame and every
//! chunk in it. The footer says where the directory is and carries its checksum, so that the tail of a pack, read in one
//! request, tells all about it. Frames need no checksum: a chunk is checked against its id.

mod description;
pub mod directory;
pub mod frame;
pub mod moved;
mod reader;
mod writer;

pub(crate) use description::Description;
pub use reader::{DecodedFrame, PackReader};
pub use writer::{FinishedPack, PackBuilder};

/// Stored bytes at which a pack is closed: 32 MiB. Large enough that objects are few, small enough that one fits in memory.
pub const PACK_TARGET_BYTES: usize = 32 << 20;

/// The same on a storage that wants several requests at once, where each costs time and often money: 128 MiB, where there is memory for
/// several.
pub const FAR_PACK_TARGET_BYTES: usize = 128 << 20;

/// Most chunks in one pack: it bounds a directory to about 1.1 MiB.
pub const PACK_MAX_CHUNKS: usize = 16_384;

/// Plain bytes at which a frame is closed: 256 KiB, or one chunk where chunks are larger. Measured on similar Debian
/// volumes, 256 KiB frames store 6 % less than 32 KiB chunks compressed one by one.
pub const FRAME_TARGET_BYTES: usize = 256 << 10;

/// Most plain bytes in one frame, and so in one chunk: 16 MiB, which is the longest chunk of content-defined chunking
/// at the largest chunk size. A reader allocates no more than this for a frame, whatever its directory claims.
pub const FRAME_MAX_BYTES: usize = 16 << 20;

/// Most bytes of a directory that is read, encoded or decoded: a multiple of the 1.4 MiB that [`PACK_MAX_CHUNKS`] need.
const DIRECTORY_MAX_BYTES: u64 = 4 << 20;

const FOOTER_BYTES: usize = 64;
const FOOTER_MAGIC: [u8; 8] = *b"CINDREND";

/// The kind of content of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Chunks of volumes.
    Data,
    /// Map nodes.
    Map,
}
