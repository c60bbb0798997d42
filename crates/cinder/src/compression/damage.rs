//! [`Damage`]: what can be wrong with compressed bytes.

use std::io;

use super::Algorithm;

/// What is wrong with the bytes that a [`Decoder`](super::Decoder) was given. It comes inside an [`io::Error`] of the kind
/// [`InvalidData`](io::ErrorKind::InvalidData): [`Damage::of`] tells it from an error of the reader below.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The reader ended within the compressed bytes.
    #[error("the compressed data are cut off")]
    Truncated,
    /// Something follows the compressed bytes.
    #[error("there are more bytes after the end of the compressed data")]
    Trailing,
    /// There are fewer plain bytes than stated.
    #[error("only {plain_bytes} plain bytes came out; there should be {stated_bytes}")]
    Shorter {
        /// How many there are.
        plain_bytes: u64,
        /// How many there should be.
        stated_bytes: u64,
    },
    /// There are more plain bytes than stated.
    #[error("more than the stated {stated_bytes} plain bytes came out")]
    Longer {
        /// How many there should be.
        stated_bytes: u64,
    },
    /// A zstd frame needs a larger window than a decoder takes memory for.
    #[error("the zstd frame needs a window of more than 8 MiB; Cinder's level 3 needs 2 MiB")]
    LargeWindow,
    /// The bytes are not what the algorithm writes, or a checksum is wrong.
    #[error("not valid {algorithm:?} data: {reason}")]
    Invalid {
        /// The algorithm.
        algorithm: Algorithm,
        /// The library's words.
        reason: String,
    },
}

impl Damage {
    /// The damage that an error is about; none if it is about something else, which is how the reader below said it.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> Self {
        Self::new(io::ErrorKind::InvalidData, damage)
    }
}
