use crate::{ChunkSize, Extent};

/// Why something could not be chunked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A chunk size that is no power of two, or out of range.
    #[error(
        "a chunk size of {bytes} bytes is not possible: choose a power of two from {} to {}",
        ChunkSize::MINIMUM,
        ChunkSize::MAXIMUM
    )]
    ChunkSize {
        /// The size that was asked for, in bytes.
        bytes: u64,
    },

    /// Text that does not say a size.
    #[error("{text:?} is not a chunk size: write it like 32768, 32KiB or 1MiB")]
    ChunkSizeText {
        /// The text, as it was given.
        text: String,
    },

    /// Parameters with which FastCDC would not work as documented.
    #[error(
        "content-defined chunks of {minimum}, {average}, {maximum} bytes (minimum, average, maximum) are not possible: {rule}"
    )]
    ContentParameters {
        /// The least length that was asked for, in bytes.
        minimum: u32,
        /// The average length that was asked for, in bytes.
        average: u32,
        /// The greatest length that was asked for, in bytes.
        maximum: u32,
        /// The rule that they break.
        rule: &'static str,
    },

    /// A greatest length for reads that does not hold a whole number of chunks.
    #[error("extents cannot be split at {maximum} bytes: it must be a multiple of the chunk size, {chunk_size}")]
    SplitLength {
        /// The length that was asked for, in bytes.
        maximum: u64,
        /// The chunk size of the grid.
        chunk_size: ChunkSize,
    },

    /// Extents that do not come in the order of their offsets.
    #[error("extent {next} follows one that begins at byte {previous}: extents must come in order")]
    ExtentOrder {
        /// Where the extent before it begins, in bytes from the start of the volume.
        previous: u64,
        /// The extent that is out of order.
        next: Extent,
    },

    /// The operating system did not say where a file holds data.
    #[error("cannot find where the file holds data from byte {offset} on")]
    Seek {
        /// From where the next data was asked for, in bytes from the start of the file.
        offset: u64,
        /// What the operating system answered.
        #[source]
        source: std::io::Error,
    },
}
