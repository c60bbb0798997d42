//! What all binary objects share: a 64-byte header, and for the small ones a checked envelope around one structure.

use cinderblock_backend::{Backend, ObjectName};

use crate::error::Error;
use crate::id::{RepositoryId, SessionId};
use crate::seal::{NOT_SEALED, Part, SALT_BYTES, SEALED, Seal};

/// Newest version of the binary objects that this program knows and the one that it writes.
pub const FORMAT_VERSION: u8 = 1;

/// Length of every binary object's header, in bytes.
pub(crate) const HEADER_BYTES: usize = 64;

/// Length of the BLAKE3 checksum that ends an envelope, in bytes.
const CHECKSUM_BYTES: usize = 32;

const MAGIC: [u8; 8] = *b"CINDRBLK";

/// Kind of an object, as its header states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// A pack of volume data.
    DataPack = 1,
    /// A pack of map nodes.
    MapPack = 2,
    /// An index segment.
    Segment = 3,
    /// A backup's record.
    Record = 4,
    /// A writer's announcement.
    Session = 5,
    /// What is to be remembered of a backup beside its record.
    Mark = 6,
    /// Packs that are about to be deleted.
    Collection = 7,
    /// A request to a session to end.
    Fence = 8,
    /// The verdict that a session has ended without a backup.
    Tombstone = 9,
    /// Slots of a pack whose bytes are wrong.
    Damage = 10,
    /// How far the reading of all stored data has come.
    Cursor = 11,
    /// The key of an encrypted repository, wrapped. Never sealed.
    KeySlot = 12,
    /// The word of a session that it has ended, where it can't remove its announcement.
    Ended = 13,
    /// How long objects are kept from being deleted.
    Policy = 14,
}

impl Kind {
    /// Most bytes of an object of this kind that is written or read as an envelope: several times what this program
    /// ever writes, and little enough to be read by a process with the least memory.
    fn limit(self) -> u64 {
        match self {
            Kind::KeySlot => 4 << 10,
            Kind::Session | Kind::Mark | Kind::Fence | Kind::Tombstone | Kind::Damage | Kind::Cursor => 64 << 10,
            Kind::Ended | Kind::Policy => 64 << 10,
            _ => 16 << 20,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let kinds = [
            Kind::DataPack,
            Kind::MapPack,
            Kind::Segment,
            Kind::Record,
            Kind::Session,
            Kind::Mark,
            Kind::Collection,
            Kind::Fence,
            Kind::Tombstone,
            Kind::Damage,
            Kind::Cursor,
            Kind::KeySlot,
            Kind::Ended,
            Kind::Policy,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The header of every binary object: what it is, and which repository, name and writer it belongs to. Checked on
/// every read, so that an object that was swapped with another, or copied from elsewhere, is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub repository: RepositoryId,
    /// The object's own id: the one in its name.
    pub id: [u8; 16],
    /// The session that wrote it.
    pub session: SessionId,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Header {
    /// The header of an object with this seal.
    pub(crate) fn encode(&self, seal: u8) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8] = self.kind as u8;
        bytes[9] = FORMAT_VERSION;
        bytes[10] = seal;
        // 11: flags, 12..16: reserved; all zero in what this version writes.
        bytes[16..32].copy_from_slice(self.repository.as_bytes());
        bytes[32..48].copy_from_slice(&self.id);
        bytes[48..64].copy_from_slice(self.session.as_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`, of an object that has one of these seals.
    pub(crate) fn decode(object: &str, bytes: &[u8], seals: &[u8]) -> Result<Self, Error> {
        let short = || Error::damaged(object, bytes.len() as u64, "it ends within its header");
        let magic: [u8; 8] = array(bytes, 0).ok_or_else(short)?;
        if magic != MAGIC {
            return Err(Error::damaged(object, 0, "it is not an object of a cinderblock repository"));
        }
        let [kind, version, seal, flags]: [u8; 4] = array(bytes, 8).ok_or_else(short)?;
        let reserved: [u8; 4] = array(bytes, 12).ok_or_else(short)?;
        if version > FORMAT_VERSION {
            return Err(Error::NewerFormat {
                object: object.to_owned(),
                version: version.into(),
                supported: FORMAT_VERSION.into(),
            });
        }
        if version == 0 {
            return Err(Error::damaged(object, 9, "format version 0 was never written"));
        }
        if !seals.contains(&seal) {
            if seal == NOT_SEALED {
                return Err(Error::damaged(
                    object,
                    10,
                    "it is not sealed, and has no place in an encrypted repository",
                ));
            }
            return Err(Error::Unsupported {
                object: object.to_owned(),
                reason: format!("it is sealed (mode {seal})"),
            });
        }
        if flags != 0 || reserved != [0; 4] {
            return Err(Error::damaged(object, 11, "reserved bytes of the header are not zero"));
        }
        Ok(Self {
            kind: Kind::from_byte(kind).ok_or_else(|| Error::damaged(object, 8, format!("unknown kind {kind}")))?,
            repository: RepositoryId::from_bytes(array(bytes, 16).ok_or_else(short)?),
            id: array(bytes, 32).ok_or_else(short)?,
            session: SessionId::from_bytes(array(bytes, 48).ok_or_else(short)?),
        })
    }

    /// The header of an object, without a look at the rest of it. None where there is no such object, or no header that can be read.
    pub(crate) fn read(backend: &dyn Backend, name: &ObjectName) -> Result<Option<Self>, Error> {
        let mut bytes = [0; HEADER_BYTES];
        match backend.read_into(name, 0, &mut bytes).map_err(Error::from) {
            Ok(()) => Ok(Self::decode(name.as_str(), &bytes, &[NOT_SEALED, SEALED]).ok()),
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Refuses an object of another kind, of another repository or of another name.
    pub(crate) fn expect(
        &self,
        object: &str,
        kinds: &[Kind],
        repository: RepositoryId,
        id: [u8; 16],
    ) -> Result<(), Error> {
        if !kinds.contains(&self.kind) {
            return Err(Error::damaged(object, 8, format!("it is a {:?}, which does not belong here", self.kind)));
        }
        self.expect_repository(object, repository)?;
        if self.id != id {
            return Err(Error::damaged(object, 32, "its id is not the one in its name"));
        }
        Ok(())
    }

    fn expect_repository(&self, object: &str, repository: RepositoryId) -> Result<(), Error> {
        if self.repository != repository {
            return Err(Error::damaged(object, 16, format!("it belongs to repository {}", self.repository)));
        }
        Ok(())
    }
}

/// Writes an envelope: header, body, BLAKE3 of both. Where the repository is encrypted the body is sealed, and bound to the whole name: not
/// all of that is in the header. Its length in bytes.
pub(crate) fn put_envelope(
    backend: &dyn Backend,
    seal: &Seal,
    name: &ObjectName,
    header: &Header,
    body: &[u8],
) -> Result<u64, Error> {
    let opening = seal.begin(header)?;
    match opening.key {
        None => put_checked(backend, name, header.kind, &[&opening.bytes, body]),
        Some(key) => {
            let mut sealed = body.to_vec();
            key.seal(Part::Body, name.as_str().as_bytes(), &mut sealed)?;
            put_checked(backend, name, header.kind, &[&opening.bytes, &sealed])
        }
    }
}

/// Writes an object of these parts, with the checksum that ends it. Its length in bytes.
pub(crate) fn put_checked(backend: &dyn Backend, name: &ObjectName, kind: Kind, parts: &[&[u8]]) -> Result<u64, Error> {
    let bytes = (parts.iter().map(|part| part.len()).sum::<usize>() + CHECKSUM_BYTES) as u64;
    if bytes > kind.limit() {
        return Err(Error::TooLarge { what: "an object", bytes, limit: kind.limit() });
    }
    let checksum = checksum(parts);
    let parts: Vec<&[u8]> = parts.iter().copied().chain([&checksum[..]]).collect();
    backend.put(name, &parts)?;
    Ok(bytes)
}

/// Reads an envelope of a kind; the header and the verified body.
pub(crate) fn get_envelope(
    backend: &dyn Backend,
    seal: &Seal,
    name: &ObjectName,
    kind: Kind,
) -> Result<(Header, Vec<u8>), Error> {
    open_envelope(seal, name.as_str(), get(backend, name, kind)?)
}

fn get(backend: &dyn Backend, name: &ObjectName, kind: Kind) -> Result<Vec<u8>, Error> {
    backend.get(name, kind.limit()).map_err(|error| match kind {
        Kind::Record | Kind::Segment => Error::of_read(name, 0, error),
        _ => error.into(),
    })
}

fn open_envelope(seal: &Seal, object: &str, mut bytes: Vec<u8>) -> Result<(Header, Vec<u8>), Error> {
    let header = check(object, &mut bytes, seal.accepts())?;
    if !seal.is_sealed() {
        bytes.drain(..HEADER_BYTES);
        return Ok((header, bytes));
    }
    let Some(key) = seal.key_of(object, &bytes)? else { return Ok((header, bytes)) };
    header.expect_repository(object, seal.repository())?;
    let at = HEADER_BYTES + SALT_BYTES;
    bytes.drain(..at);
    key.open_vec((object, at as u64), Part::Body, object.as_bytes(), &mut bytes)?;
    Ok((header, bytes))
}

/// Reads an object that ends with its checksum, which agrees; the header, and all before the checksum.
pub(crate) fn get_checked(
    backend: &dyn Backend,
    seals: &[u8],
    name: &ObjectName,
    kind: Kind,
) -> Result<(Header, Vec<u8>), Error> {
    let mut bytes = get(backend, name, kind)?;
    let header = check(name.as_str(), &mut bytes, seals)?;
    Ok((header, bytes))
}

/// Checks header and checksum, and takes the checksum off.
fn check(object: &str, bytes: &mut Vec<u8>, seals: &[u8]) -> Result<Header, Error> {
    let header = match Header::decode(object, bytes, seals) {
        // Every version ends its envelopes with the checksum: without it, this is damage and not something newer.
        Err(Error::NewerFormat { .. } | Error::Unsupported { .. }) if !ends_with_checksum(bytes) => {
            return Err(Error::damaged(object, 8, "its header and its checksum do not agree"));
        }
        other => other?,
    };
    let split = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|at| *at >= HEADER_BYTES);
    let Some((content, stored)) = split.and_then(|at| bytes.split_at_checked(at)) else {
        return Err(Error::damaged(object, bytes.len() as u64, "it ends before its checksum"));
    };
    if checksum(&[content]) != *stored {
        return Err(Error::damaged(object, content.len() as u64, "its checksum does not agree with its bytes"));
    }
    bytes.truncate(bytes.len() - CHECKSUM_BYTES);
    Ok(header)
}

fn ends_with_checksum(bytes: &[u8]) -> bool {
    let split = bytes.len().checked_sub(CHECKSUM_BYTES).and_then(|at| bytes.split_at_checked(at));
    split.is_some_and(|(content, stored)| checksum(&[content]) == *stored)
}

/// BLAKE3-256 over parts, one after the other.
pub(crate) fn checksum(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            kind: Kind::Segment,
            repository: RepositoryId::from_bytes([1; 16]),
            id: [2; 16],
            session: SessionId::from_bytes([3; 16]),
        }
    }

    fn seal() -> Seal {
        Seal::none(RepositoryId::from_bytes([1; 16]))
    }

    fn envelope(body: &[u8]) -> Vec<u8> {
        let header = header().encode(NOT_SEALED);
        [&header[..], body, &checksum(&[&header, body])].concat()
    }

    #[test]
    fn header_golden_bytes() {
        let mut expected = b"CINDRBLK\x03\x01\0\0\0\0\0\0".to_vec();
        expected.extend([1; 16]);
        expected.extend([2; 16]);
        expected.extend([3; 16]);
        assert_eq!(header().encode(NOT_SEALED).to_vec(), expected);
    }

    #[test]
    fn every_flipped_bit_is_noticed() -> Result<(), Error> {
        let good = envelope(b"body");
        assert_eq!(open_envelope(&seal(), "x", good.clone())?, (header(), b"body".to_vec()));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open_envelope(&seal(), "x", bad).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(open_envelope(&seal(), "x", good[..length].to_vec()).is_err(), "length {length}");
        }
        Ok(())
    }

    #[test]
    fn a_newer_version_is_named_as_such() {
        let mut bytes = envelope(b"");
        bytes[9] = FORMAT_VERSION + 1;
        let end = bytes.len() - CHECKSUM_BYTES;
        let sum = checksum(&[&bytes[..end]]);
        bytes[end..].copy_from_slice(&sum);
        assert!(matches!(open_envelope(&seal(), "x", bytes), Err(Error::NewerFormat { version: 2, .. })));
        // A flipped bit in the version is damage.
        let mut bytes = envelope(b"");
        bytes[9] ^= 2;
        assert!(matches!(open_envelope(&seal(), "x", bytes), Err(Error::Damaged { .. })));
    }

    #[test]
    fn foreign_and_swapped_objects_are_refused() {
        let header = header();
        let kinds = [Kind::Segment];
        assert!(header.expect("x", &kinds, header.repository, [2; 16]).is_ok());
        assert!(header.expect("x", &[Kind::Record], header.repository, [2; 16]).is_err());
        assert!(header.expect("x", &kinds, RepositoryId::from_bytes([9; 16]), [2; 16]).is_err());
        assert!(header.expect("x", &kinds, header.repository, [9; 16]).is_err());
    }
}
