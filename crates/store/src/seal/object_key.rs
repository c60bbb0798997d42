//! The key of one sealed object, and its parts.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::error::Error;

/// Length of a sealed object's salt, and of the tag that ends every sealed part, in bytes.
pub(crate) const SALT_BYTES: usize = 32;
pub(crate) const TAG_BYTES: usize = 16;

/// A part of a sealed object that is sealed by itself. Its nonce says which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The body of an envelope; of a record, its tail.
    Body,
    /// The head of a record.
    Head,
    /// A frame of a pack, by its number.
    Frame(u32),
    /// The directory of a pack.
    Directory,
    /// The repository's key in a key slot.
    Key,
}

impl Part {
    /// Domain and number, little-endian, then zeros. No two parts of an object are equal in it, and no two objects have one key.
    fn nonce(self) -> Nonce {
        let (domain, number) = match self {
            Part::Body => (1_u32, 0),
            Part::Head => (2, 0),
            Part::Frame(number) => (3, number),
            Part::Directory => (4, 0),
            Part::Key => (5, 0),
        };
        let mut bytes = [0; 12];
        let (first, rest) = bytes.split_at_mut(4);
        first.copy_from_slice(&domain.to_le_bytes());
        if let Some(second) = rest.first_chunk_mut::<4>() {
            *second = number.to_le_bytes();
        }
        Nonce::assume_unique_for_key(bytes)
    }
}

/// Seals and opens the parts of one object: AES-256-GCM. The library wipes the key when it is dropped.
pub(crate) struct ObjectKey(LessSafeKey);

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKey(..)")
    }
}

impl ObjectKey {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self, Error> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::Cipher)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals a part in place, and appends its tag. `beside` is bound to it without being in it.
    pub(crate) fn seal(&self, part: Part, beside: &[u8], bytes: &mut Vec<u8>) -> Result<(), Error> {
        self.0.seal_in_place_append_tag(part.nonce(), Aad::from(beside), bytes).map_err(|_| Error::Cipher)
    }

    /// Opens a part in place, tag included; its plain bytes. `object` and `at` say where it stands, for the error.
    pub(crate) fn open<'b>(
        &self,
        (object, at): (&str, u64),
        part: Part,
        beside: &[u8],
        sealed: &'b mut [u8],
    ) -> Result<&'b mut [u8], Error> {
        self.0.open_in_place(part.nonce(), Aad::from(beside), sealed).map_err(|_| {
            let what = match part {
                Part::Frame(number) => format!("frame {number}"),
                Part::Directory => "its directory".to_owned(),
                Part::Head => "its first part".to_owned(),
                Part::Body | Part::Key => "its body".to_owned(),
            };
            Error::damaged(object, at, format!("{what} is not what the repository's key has sealed for this place"))
        })
    }

    /// The same for bytes in a buffer, which has the plain ones afterwards.
    pub(crate) fn open_vec(
        &self,
        place: (&str, u64),
        part: Part,
        beside: &[u8],
        sealed: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let length = self.open(place, part, beside, sealed)?.len();
        sealed.truncate(length);
        Ok(())
    }
}
