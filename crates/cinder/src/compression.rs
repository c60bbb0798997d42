//! Cinder's compressions.

mod damage;
mod decoder;
mod encoder;
mod ring;
mod ring_encoder;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

pub use damage::Damage;
pub use decoder::Decoder;
pub use encoder::Encoder;
pub(crate) use ring::Ring;
pub(crate) use ring_encoder::RingEncoder;

/// What data objects are compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Not at all.
    None,
    /// A zlib stream, level 6.
    Zlib,
    /// A bzip2 stream, level 9.
    Bz2,
    /// A zstd frame, level 3, that states its content size.
    Zstd,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::None => "none",
            Algorithm::Zlib => "zlib",
            Algorithm::Bz2 => "bz2",
            Algorithm::Zstd => "zstd",
        })
    }
}

/// Cinder's option `backup_compression_algorithm`: an algorithm, by one of its names. The name is kept, because metadata repeat
/// it as it was configured, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    alias: &'static str,
    algorithm: Algorithm,
}

const ALIASES: [(&str, Algorithm); 8] = [
    ("none", Algorithm::None),
    ("off", Algorithm::None),
    ("no", Algorithm::None),
    ("zlib", Algorithm::Zlib),
    ("gzip", Algorithm::Zlib),
    ("bz2", Algorithm::Bz2),
    ("bzip2", Algorithm::Bz2),
    ("zstd", Algorithm::Zstd),
];

impl Compression {
    /// No compression.
    pub const NONE: Self = Self { alias: "none", algorithm: Algorithm::None };

    /// The algorithm.
    pub fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// The name, as metadata have it.
    pub fn alias(self) -> &'static str {
        self.alias
    }
}

impl Default for Compression {
    /// Cinder's default: zlib.
    fn default() -> Self {
        Self { alias: "zlib", algorithm: Algorithm::Zlib }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.alias)
    }
}

impl FromStr for Compression {
    type Err = Error;

    /// Takes the names in either case, as Cinder does.
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = ALIASES.into_iter().find(|(alias, _)| alias.eq_ignore_ascii_case(text));
        let (alias, algorithm) = found.ok_or_else(|| Error::UnsupportedCompression { text: text.to_owned() })?;
        Ok(Self { alias, algorithm })
    }
}
