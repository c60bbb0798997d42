//! [`Entry`]: what the index has of one chunk.

use crate::id::ChunkId;

/// Bytes of a chunk's id that are its key: 10. Of 10⁹ chunks two have the same with a probability of 4 in 10 million. The one that was
/// added last is found then, and the other is looked for in all packs, or stored again: a directory has the whole ids.
pub(super) const KEY_BYTES: usize = 10;

/// Bytes of a value: the pack's number (4), then the slot (2).
const VALUE_BYTES: usize = 6;

/// The key of a chunk.
pub(super) fn key(id: &ChunkId) -> &[u8] {
    id.as_bytes().get(..KEY_BYTES).unwrap_or_default()
}

/// The number of a pack and the slot in it that a value says.
pub(super) fn place(value: &[u8]) -> Option<(u32, u16)> {
    let [a, b, c, d, high, low] = *value.first_chunk::<VALUE_BYTES>()?;
    Some((u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([high, low])))
}

/// A key and its value in one number: the order of entries is that of their keys and, for one key, that of the packs' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u128);

impl Entry {
    /// Bytes of an entry in a file.
    pub(super) const BYTES: usize = KEY_BYTES + VALUE_BYTES;

    pub(super) fn new(id: &ChunkId, pack: u32, slot: u16) -> Self {
        let bytes = id.as_bytes().first_chunk::<{ Self::BYTES }>().copied().unwrap_or_default();
        let key = u128::from_be_bytes(bytes) >> (8 * VALUE_BYTES);
        Self(key << (8 * VALUE_BYTES) | u128::from(pack) << 16 | u128::from(slot))
    }

    /// The least entry of the `part`th of so many equal parts of all keys.
    pub(super) fn first_of(part: usize, parts: usize) -> Self {
        let step = u64::MAX / parts.max(1) as u64;
        Self(u128::from(step.saturating_mul(part as u64)) << 64)
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The key, then the value.
    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_be_bytes()
    }

    /// Whether both are of the same chunk, as far as the index can tell.
    pub(super) fn has_key_of(self, other: Self) -> bool {
        self.0 >> (8 * VALUE_BYTES) == other.0 >> (8 * VALUE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let id = ChunkId::from_bytes(std::array::from_fn(|at| at as u8 + 1));
        let bytes = Entry::new(&id, 0x0a0b_0c0d, 0x1e1f).to_bytes();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x0a, 0x0b, 0x0c, 0x0d, 0x1e, 0x1f]);
        assert_eq!((&bytes[..KEY_BYTES], place(&bytes[KEY_BYTES..])), (key(&id), Some((0x0a0b_0c0d, 0x1e1f))));
        assert_eq!(place(&bytes[KEY_BYTES + 1..]), None);
    }

    #[test]
    fn entries_are_in_the_order_of_their_keys() {
        let id = |first, last| ChunkId::from_bytes(std::array::from_fn(|at| if at < KEY_BYTES { first } else { last }));
        let small = Entry::new(&id(1, 9), 7, 1);
        assert!(small < Entry::new(&id(1, 0), 8, 0) && small.has_key_of(Entry::new(&id(1, 0), 8, 0)));
        assert!(small < Entry::new(&id(2, 0), 0, 0) && !small.has_key_of(Entry::new(&id(2, 0), 7, 1)));
        assert!(Entry::first_of(0, 3) <= small && small < Entry::first_of(1, 3));
        assert!(Entry::first_of(1, 3) < Entry::first_of(2, 3) && Entry::first_of(2, 3) < Entry::new(&id(255, 0), 0, 0));
    }
}
