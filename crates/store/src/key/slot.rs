//! Key slots: the key of an encrypted repository, wrapped with a passphrase or a key file.

use argon2::{Algorithm, Argon2, Params, Version};
use bincode::{Decode, Encode};
use cinderblock_backend::Backend;
use zeroize::{Zeroize, Zeroizing};

use super::secret::{self, Method, Secret};
use crate::codec;
use crate::error::Error;
use crate::id::{KeySlotId, RepositoryId, SessionId};
use crate::layout;
use crate::object::{HEADER_BYTES, Header, Kind, get_checked, put_checked};
use crate::random;
use crate::seal::{MasterKey, NOT_SEALED, ObjectKey, Part, TAG_BYTES};
use crate::time::Timestamp;

/// Context of the derivation of the key that wraps the repository's.
const WRAP_CONTEXT: &str = "cinderblock 2026-11 key slot v1";

/// Longest label, in bytes.
pub(super) const MAX_LABEL_BYTES: usize = 255;

/// How a passphrase becomes a key: argon2id, version 1.3, of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Hardness {
    /// Memory in KiB.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
    pub lanes: u32,
}

impl Hardness {
    /// 64 MiB and 3 passes: above what OWASP and RFC 9106 (for little memory) ask for, and within the least `--memory`.
    pub(crate) const DEFAULT: Self = Self { memory: 64 << 10, passes: 3, lanes: 1 };

    /// What a reader does for a slot that somebody else wrote: no more memory than every process may take, and seconds of work.
    const MOST: Self = Self { memory: 64 << 10, passes: 16, lanes: 4 };

    fn check(&self, object: &str) -> Result<(), Error> {
        let fits = |value: u32, most: u32| (1..=most).contains(&value);
        let most = Self::MOST;
        // Argon2 takes 8 KiB for each lane at least (RFC 9106, 3.1).
        let enough = self.memory >= self.lanes.saturating_mul(8);
        if enough && fits(self.memory, most.memory) && fits(self.passes, most.passes) && fits(self.lanes, most.lanes) {
            return Ok(());
        }
        Err(Error::damaged(object, HEADER_BYTES as u64, format!("it asks for {self:?} of a passphrase")))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
enum Opener {
    Passphrase(Hardness),
    KeyFile,
}

/// All of a slot but the wrapped key, which it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Facts {
    opener: Opener,
    salt: [u8; 32],
    label: String,
    created_at: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Body {
    facts: Facts,
    wrapped: [u8; 32 + TAG_BYTES],
}

/// A slot, as it stands in the repository.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub id: KeySlotId,
    repository: RepositoryId,
    body: Body,
}

impl Slot {
    /// A new slot that gives `key` to who has the secret.
    pub(super) fn new(
        repository: RepositoryId,
        key: &MasterKey,
        secret: &Secret,
        label: &str,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut salt = [0; 32];
        random::fill(&mut salt)?;
        let facts = (salt, label.to_owned(), now.microseconds());
        Self::with((repository, KeySlotId::random()?), key, (secret, Hardness::DEFAULT), facts)
    }

    fn with(
        (repository, id): (RepositoryId, KeySlotId),
        key: &MasterKey,
        (secret, hardness): (&Secret, Hardness),
        (salt, label, created_at): ([u8; 32], String, i64),
    ) -> Result<Self, Error> {
        if label.len() > MAX_LABEL_BYTES {
            let (bytes, limit) = (label.len() as u64, MAX_LABEL_BYTES as u64);
            return Err(Error::TooLarge { what: "the label of a key", bytes, limit });
        }
        let opener = match secret.method() {
            Method::Passphrase => Opener::Passphrase(hardness),
            Method::KeyFile => Opener::KeyFile,
        };
        let facts = Facts { opener, salt, label, created_at };
        let mut slot = Self { id, repository, body: Body { facts, wrapped: [0; 32 + TAG_BYTES] } };
        // Room for the tag: the key must not be left behind where a buffer grew.
        let mut bytes = Zeroizing::new(Vec::with_capacity(32 + TAG_BYTES));
        bytes.extend_from_slice(key.as_bytes());
        slot.wrapping_key(secret)?.seal(Part::Key, &slot.bound()?, &mut bytes)?;
        slot.body.wrapped = bytes.as_slice().try_into().map_err(|_| Error::Cipher)?;
        Ok(slot)
    }

    fn header(&self) -> Header {
        // No session writes it: it refers to nothing that a collector could take away.
        let session = SessionId::from_bytes([0; 16]);
        Header { kind: Kind::KeySlot, repository: self.repository, id: *self.id.as_bytes(), session }
    }

    /// What the wrapped key is bound to: the header, and all facts.
    fn bound(&self) -> Result<Vec<u8>, Error> {
        let facts = codec::encode("a key slot", &self.body.facts)?;
        Ok([&self.header().encode(NOT_SEALED)[..], &facts].concat())
    }

    fn wrapping_key(&self, secret: &Secret) -> Result<ObjectKey, Error> {
        let salt = &self.body.facts.salt;
        let mut hasher = blake3::Hasher::new_derive_key(WRAP_CONTEXT);
        match (&secret.0, self.body.facts.opener) {
            (secret::Kind::Passphrase(bytes), Opener::Passphrase(hardness)) => {
                let failed = |_| Error::Cipher;
                let params = Params::new(hardness.memory, hardness.passes, hardness.lanes, Some(32)).map_err(failed)?;
                let mut stretched = Zeroizing::new([0; 32]);
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(bytes, salt, &mut *stretched)
                    .map_err(failed)?;
                hasher.update(&*stretched);
            }
            (secret::Kind::KeyFile(bytes), Opener::KeyFile) => {
                hasher.update(&**bytes);
            }
            _ => return Err(Error::Cipher),
        }
        hasher.update(salt);
        let key = Zeroizing::new(*hasher.finalize().as_bytes());
        hasher.zeroize();
        ObjectKey::new(&key)
    }

    pub(super) fn method(&self) -> Method {
        match self.body.facts.opener {
            Opener::Passphrase(_) => Method::Passphrase,
            Opener::KeyFile => Method::KeyFile,
        }
    }

    pub(super) fn label(&self) -> &str {
        &self.body.facts.label
    }

    pub(super) fn created_at(&self) -> Timestamp {
        Timestamp::from_microseconds(self.body.facts.created_at)
    }

    /// The repository's key, if this is the slot's secret.
    pub(super) fn open(&self, secret: &Secret) -> Result<Option<MasterKey>, Error> {
        if secret.method() != self.method() {
            return Ok(None);
        }
        let name = layout::key_slot(self.id)?;
        let mut bytes = Zeroizing::new(self.body.wrapped);
        match self.wrapping_key(secret)?.open((name.as_str(), 0), Part::Key, &self.bound()?, &mut *bytes) {
            Ok(key) => Ok((&*key).try_into().ok().map(MasterKey::from_bytes)),
            Err(_) => Ok(None),
        }
    }

    pub(super) fn put(&self, backend: &dyn Backend) -> Result<(), Error> {
        let body = codec::encode("a key slot", &self.body)?;
        let header = self.header().encode(NOT_SEALED);
        put_checked(backend, &layout::key_slot(self.id)?, Kind::KeySlot, &[&header, &body]).map(drop)
    }

    pub(super) fn get(backend: &dyn Backend, repository: RepositoryId, id: KeySlotId) -> Result<Self, Error> {
        let name = layout::key_slot(id)?;
        let object = name.as_str();
        let (header, bytes) = get_checked(backend, &[NOT_SEALED], &name, Kind::KeySlot)?;
        header.expect(object, &[Kind::KeySlot], repository, *id.as_bytes())?;
        if header.session != SessionId::from_bytes([0; 16]) {
            return Err(Error::damaged(object, 48, "no session writes key slots"));
        }
        let body: Body = codec::decode(object, HEADER_BYTES as u64, bytes.get(HEADER_BYTES..).unwrap_or_default())?;
        if let Opener::Passphrase(hardness) = body.facts.opener {
            hardness.check(object)?;
        }
        if body.facts.label.len() > MAX_LABEL_BYTES {
            return Err(Error::damaged(object, HEADER_BYTES as u64, "its label is too long"));
        }
        Ok(Self { id, repository, body })
    }
}

#[cfg(test)]
#[path = "slot_tests.rs"]
mod tests;
