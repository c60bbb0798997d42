//! Sealing: what makes an encrypted repository's objects unreadable, and unchangeable, for whoever lacks its key.
//!
//! A sealed object has a random salt behind its header. Its key comes from the repository's, that salt and the whole header, so that
//! each part of it is bound to its repository, kind, id and session; and each part has a nonce of its own, so that none can stand
//! where another one belongs. `docs/format.md` has the bytes, `docs/security.md` what follows from them.

mod keys;
mod object_key;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use keys::{Keys, MasterKey};
pub(crate) use object_key::{ObjectKey, Part, SALT_BYTES, TAG_BYTES};

use crate::error::Error;
use crate::id::{Ids, RepositoryId, VolumeId};
use crate::object::{HEADER_BYTES, Header};
use crate::random;

/// What byte 10 of a header says of an object that is not sealed, and of one that is.
pub(crate) const NOT_SEALED: u8 = 0;
pub(crate) const SEALED: u8 = 1;

/// A repository's identity and, where it is encrypted, its keys: what its objects are written and read with.
#[derive(Clone, Debug)]
pub(crate) struct Seal {
    repository: RepositoryId,
    keys: Option<Arc<Keys>>,
}

/// Where the frames of a pack are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    /// Offset of the first one.
    pub first: u32,
    /// Bytes that follow the stored bytes of each: its tag.
    pub tag: u32,
}

impl Framing {
    /// Of packs that are not sealed.
    pub(crate) const PLAIN: Self = Self { first: HEADER_BYTES as u32, tag: 0 };
    /// Of those that are.
    pub(crate) const SEALED: Self = Self { first: (HEADER_BYTES + SALT_BYTES) as u32, tag: TAG_BYTES as u32 };
}

/// The beginning of a new object, and what seals the rest of it.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The header and, where it is sealed, the salt.
    pub bytes: Vec<u8>,
    pub key: Option<Arc<ObjectKey>>,
}

impl Seal {
    /// Of a repository that is not encrypted.
    pub(crate) fn none(repository: RepositoryId) -> Self {
        Self { repository, keys: None }
    }

    pub(crate) fn new(repository: RepositoryId, keys: Arc<Keys>) -> Self {
        Self { repository, keys: Some(keys) }
    }

    pub(crate) fn repository(&self) -> RepositoryId {
        self.repository
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.keys.is_some()
    }

    /// The seals that objects of the repository have. One that is not sealed has no place in an encrypted repository: whoever has the
    /// storage could have written it.
    pub(crate) fn accepts(&self) -> &'static [u8] {
        if self.is_sealed() { &[SEALED] } else { &[NOT_SEALED] }
    }

    pub(crate) fn framing(&self) -> Framing {
        if self.is_sealed() { Framing::SEALED } else { Framing::PLAIN }
    }

    /// What names chunks and map nodes.
    pub(crate) fn ids(&self) -> Ids {
        self.keys.as_ref().map_or_else(Ids::plain, |keys| keys.ids())
    }

    /// The volume's part of the name of a backup's record.
    pub(crate) fn volume_part(&self, volume: &VolumeId) -> String {
        match &self.keys {
            None => volume.to_string(),
            Some(keys) => keys.volume_part(volume),
        }
    }

    /// Begins an object: its first bytes, and its key. Every call gives another salt.
    pub(crate) fn begin(&self, header: &Header) -> Result<Opening, Error> {
        let mut salt = [0; SALT_BYTES];
        if self.is_sealed() {
            random::fill(&mut salt)?;
        }
        self.begin_with(header, salt)
    }

    fn begin_with(&self, header: &Header, salt: [u8; SALT_BYTES]) -> Result<Opening, Error> {
        let Some(keys) = &self.keys else {
            return Ok(Opening { bytes: header.encode(NOT_SEALED).to_vec(), key: None });
        };
        let header = header.encode(SEALED);
        let key = keys.object_key(&header, &salt)?;
        Ok(Opening { bytes: [&header[..], &salt].concat(), key: Some(Arc::new(key)) })
    }

    /// The key of an object that begins with these bytes, header and salt; none where the repository is not encrypted. The header was checked.
    pub(crate) fn key_of(&self, object: &str, beginning: &[u8]) -> Result<Option<Arc<ObjectKey>>, Error> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let short = || Error::damaged(object, beginning.len() as u64, "it ends within its salt");
        let (header, rest) = beginning.split_first_chunk::<HEADER_BYTES>().ok_or_else(short)?;
        let (salt, _) = rest.split_first_chunk::<SALT_BYTES>().ok_or_else(short)?;
        keys.object_key(header, salt).map(|key| Some(Arc::new(key)))
    }

    /// Bytes at the beginning of an object up to what it is about.
    pub(crate) fn beginning_bytes(&self) -> usize {
        if self.is_sealed() { HEADER_BYTES + SALT_BYTES } else { HEADER_BYTES }
    }
}
