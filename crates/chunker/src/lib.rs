//! Where a volume is cut into chunks, and which of its bytes need not be read at all.
//!
//! A chunk is the unit of deduplication. This crate says where chunks begin and end; it stores nothing and starts
//! no threads.
//!
//! * [`Grid`]: chunks of one size at multiples of it, for block volumes. With the default [`ChunkSize`] it is the
//!   grid on which Cinder hashes volumes, so a chunk and a hash block are the same bytes.
//! * [`ContentChunker`]: cut points that follow the content (FastCDC), for streams in which bytes are inserted and
//!   removed.
//! * [`DataExtents`]: the parts of a sparse file that hold data; [`Coalesced`] makes reads of whole chunks of them.
//! * [`is_zero`]: whether bytes that had to be read are nothing but zeros.
//!
//! # Example
//!
//! What to read of a sparse 1 MiB file that has 5 bytes of data:
//!
//! ```
//! use cinderblock_chunker::{ChunkSize, Coalesced, DataExtents, Extent, Grid, is_zero};
//! use std::os::{fd::AsFd, unix::fs::FileExt};
//!
//! let file = tempfile::tempfile()?;
//! file.set_len(1 << 20)?;
//! file.write_all_at(b"hello", 100_000)?;
//!
//! let grid = Grid::new(ChunkSize::DEFAULT, 1 << 20);
//! let data = DataExtents::new(file.as_fd(), grid.volume_bytes());
//! for extent in Coalesced::new(data, grid, 256 << 10)? {
//!     let Extent { offset, length } = extent?;
//!     let mut bytes = vec![0; length as usize];
//!     file.read_exact_at(&mut bytes, offset)?;
//!     for (i, chunk) in bytes.chunks(grid.chunk_size().bytes() as usize).enumerate() {
//!         let index = grid.index_at(offset).unwrap() + i as u64;
//!         // 32 KiB chunks: byte 100,000 is in the fourth.
//!         assert_eq!(is_zero(chunk), index != 3);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod coalesce;
mod content;
mod error;
mod extent;
mod grid;
mod holes;
mod size;
mod zero;

pub use coalesce::Coalesced;
pub use content::{ContentChunker, ContentParameters};
pub use error::Error;
pub use extent::Extent;
pub use grid::Grid;
pub use holes::DataExtents;
pub use size::ChunkSize;
pub use zero::is_zero;
