//! Reading data objects: many at once, each checked against its length and MD5.
//!
//! Up to eight objects are read side by side in a *group*, as in `write`: a piece of each is decompressed, their MD5s go on
//! in the lanes of SIMD registers, and the pieces go where they are wanted.

mod existing;
mod group;
mod output;
mod record;
mod restore;
mod rewrite;
mod stream;
mod zeros;

pub(crate) use self::group::{PIECE_BYTES, Reader, Sink, Task, lanes};
pub use self::restore::RestoreSummary;
pub(crate) use self::restore::{RestoreRun, restore};
pub(crate) use self::stream::ObjectStream;
