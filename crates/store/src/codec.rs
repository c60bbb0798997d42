//! The one place that knows how structures become bytes: bincode 2's standard configuration (little-endian,
//! variable-length integers; `docs/format.md` spells it out), always with a limit, always consumed whole.
//!
//! The limit bounds what a hostile length field can make a decoder allocate.

use bincode::config;
use bincode::{Decode, Encode};

use crate::error::Error;

/// Most bytes that one structure may take, encoded or as decoded lists.
pub(crate) const LIMIT: usize = 64 << 20;

pub(crate) fn encode<T: Encode>(what: &'static str, value: &T) -> Result<Vec<u8>, Error> {
    bincode::encode_to_vec(value, config::standard().with_limit::<LIMIT>())
        .map_err(|source| Error::Encode { what, source })
}

/// Decodes a structure that stands at byte `offset` of `object`.
pub(crate) fn decode<T: Decode<()>>(object: &str, offset: u64, bytes: &[u8]) -> Result<T, Error> {
    decode_within::<T, LIMIT>(object, offset, bytes)
}

/// The same with a limit of its own, in bytes.
pub(crate) fn decode_within<T: Decode<()>, const MOST: usize>(
    object: &str,
    offset: u64,
    bytes: &[u8],
) -> Result<T, Error> {
    let (value, used) = bincode::decode_from_slice(bytes, config::standard().with_limit::<MOST>())
        .map_err(|error| Error::damaged(object, offset, format!("not a structure of this kind ({error})")))?;
    if used != bytes.len() {
        return Err(Error::damaged(object, offset + used as u64, "bytes after the end of the structure"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_length_is_an_error_not_an_allocation() {
        // 0xfd announces a 64-bit length.
        let bytes = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(decode::<Vec<[u8; 32]>>("x", 0, &bytes).is_err());
        assert!(decode::<String>("x", 0, &bytes).is_err());
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        assert!(decode::<u8>("x", 0, &[1, 2]).is_err());
        assert!(decode::<u8>("x", 0, &[]).is_err());
    }
}
