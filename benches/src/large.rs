//! Large volumes: sparse ones, where time has to follow the data and not the size; and a dense stream, whose rate and memory have to stay as they are from
//! the first GiB to the last.

mod sparse;
mod stream;

pub use sparse::{Sizes, Sparse, sparse};
pub use stream::{Point, Stream, stream};

/// Bytes of a GiB.
pub const GIB: u64 = 1 << 30;
