//! Identities: of content (BLAKE3), of objects (random) and of what people name (volumes, backups).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bincode::{Decode, Encode};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::pack::Content;
use crate::random;

/// Context of the key derivation that tells map nodes from chunks: a volume that holds the bytes of a node
/// (because it holds a repository, say) still gets another id for them.
const NODE_CONTEXT: &str = "cinderblock 2026-11 map node v1";

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex<const N: usize>(kind: &'static str, text: &str) -> Result<[u8; N], Error> {
    let invalid = || Error::InvalidId {
        kind,
        text: text.to_owned(),
        reason: format!("it has to be {} lower-case hexadecimal digits", 2 * N),
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * N || digits.iter().any(|d| !matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(invalid());
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| invalid())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
    }
    Ok(bytes)
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The bytes, as they stand in objects.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                parse_hex($kind, text).map(Self)
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        hex_id!($(#[$doc])* $name, 16, $kind);

        impl $name {
            /// A new id: 128 bits from the operating system's random source, so that no name is ever used twice.
            ///
            /// # Errors
            /// [`Error::Random`] where the system has no random source.
            pub fn random() -> Result<Self, Error> {
                let mut bytes = [0; 16];
                random::fill(&mut bytes)?;
                Ok(Self(bytes))
            }
        }
    };
}

hex_id!(
    /// Identity of a chunk: the BLAKE3-256 hash of its plain bytes.
    ChunkId, 32, "chunk id"
);

impl ChunkId {
    /// The id of a chunk with these bytes in repositories that are not encrypted. Where one is at hand, its [`Ids`] know better.
    pub fn of(chunk: &[u8]) -> Self {
        Self(*blake3::hash(chunk).as_bytes())
    }

    /// The id of a map node with these encoded bytes: BLAKE3-256 in key-derivation mode, so that it never equals the
    /// id of a chunk with the same bytes. In repositories that are not encrypted.
    pub fn of_node(node: &[u8]) -> Self {
        Self(blake3::derive_key(NODE_CONTEXT, node))
    }

    /// The first eight bytes as a number: uniformly distributed, good as a hash by itself.
    pub(crate) fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Names chunks and map nodes by their bytes: by a hash without a key or, in an encrypted repository, by two that are keyed, so that nobody
/// can tell from an id whether a repository has bytes that are known.
#[derive(Clone)]
pub struct Ids(Option<Arc<IdKeys>>);

struct IdKeys {
    chunks: Zeroizing<[u8; 32]>,
    nodes: Zeroizing<[u8; 32]>,
}

impl Ids {
    /// Those of repositories that are not encrypted.
    pub fn plain() -> Self {
        Self(None)
    }

    pub(crate) fn keyed(chunks: Zeroizing<[u8; 32]>, nodes: Zeroizing<[u8; 32]>) -> Self {
        Self(Some(Arc::new(IdKeys { chunks, nodes })))
    }

    /// Whether both give the same ids: of what two repositories have in common, one can then be found by what the other calls it.
    pub fn agree_with(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => one.chunks == other.chunks && one.nodes == other.nodes,
            _ => false,
        }
    }

    /// The id of a chunk with these bytes.
    pub fn chunk(&self, bytes: &[u8]) -> ChunkId {
        match &self.0 {
            None => ChunkId::of(bytes),
            Some(keys) => ChunkId(*blake3::keyed_hash(&keys.chunks, bytes).as_bytes()),
        }
    }

    /// The id of a map node with these encoded bytes. It never equals that of a chunk with the same bytes.
    pub fn node(&self, bytes: &[u8]) -> ChunkId {
        match &self.0 {
            None => ChunkId::of_node(bytes),
            Some(keys) => ChunkId(*blake3::keyed_hash(&keys.nodes, bytes).as_bytes()),
        }
    }

    /// Whether `bytes` are the chunk, or the map node, that `id` names.
    pub fn is_authentic(&self, content: Content, id: &ChunkId, bytes: &[u8]) -> bool {
        *id == match content {
            Content::Data => self.chunk(bytes),
            Content::Map => self.node(bytes),
        }
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ids").field("keyed", &self.0.is_some()).finish()
    }
}

random_id!(
    /// Identity of a repository; every object in it carries it.
    RepositoryId, "repository id"
);
random_id!(
    /// Identity and name of a pack.
    PackId, "pack id"
);
random_id!(
    /// Identity and name of an index segment.
    SegmentId, "segment id"
);
random_id!(
    /// Identity of a writer at work; every pack, segment and record carries its writer's.
    SessionId, "session id"
);
random_id!(
    /// Identity and name of a collection: a list of packs that are about to be deleted.
    CollectionId, "collection id"
);

random_id!(
    /// Identity and name of a key slot.
    KeySlotId, "key slot id"
);

random_id!(
    /// Identity and name of a cursor: how far the reading of all stored data has come.
    CursorId, "cursor id"
);

/// Identity of a backup: a UUID, as OpenStack Cinder's are. Any 128 bits are taken, whatever the UUID's version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct BackupId([u8; 16]);

impl BackupId {
    /// A new random (version 4) UUID.
    ///
    /// # Errors
    /// [`Error::Random`] where the system has no random source.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        random::fill(&mut bytes)?;
        Ok(Self(uuid::Builder::from_random_bytes(bytes).into_uuid().into_bytes()))
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, in the order in which the text shows them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupId({self})")
    }
}

impl FromStr for BackupId {
    type Err = Error;

    /// Takes the hyphenated form, in either case.
    fn from_str(text: &str) -> Result<Self, Error> {
        match uuid::Uuid::try_parse(text) {
            Ok(uuid) if text.len() == 36 => Ok(Self(uuid.into_bytes())),
            _ => Err(Error::InvalidId {
                kind: "backup id",
                text: text.to_owned(),
                reason: "it has to be a UUID, such as 3f2b8c1e-5d0a-4c6f-9b1d-2e7a4f6c8d90".to_owned(),
            }),
        }
    }
}

/// Name of a volume: 1 to 255 of `A-Z a-z 0-9 . _ -`, not starting with a dot, so that it is safe as a part of an
/// object's name. Cinder's are UUIDs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
pub struct VolumeId(String);

impl VolumeId {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`Error::InvalidId`] where it is empty, too long, starts with a dot or holds another character.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let invalid =
            |reason: &str| Error::InvalidId { kind: "volume id", text: text.clone(), reason: reason.to_owned() };
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(invalid("it has to be 1 to 255 characters long"));
        }
        if text.starts_with('.') {
            return Err(invalid("it may not start with a dot"));
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err(invalid("it may hold only A-Z a-z 0-9 . _ -"));
        }
        Ok(Self(text))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VolumeId({self})")
    }
}

impl FromStr for VolumeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

impl<Context> Decode<Context> for VolumeId {
    fn decode<D: bincode::de::Decoder<Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        let text = String::decode(decoder)?;
        Self::new(text).map_err(|error| bincode::error::DecodeError::OtherString(error.to_string()))
    }
}

bincode::impl_borrow_decode!(VolumeId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_never_has_the_id_of_a_chunk_with_the_same_bytes() {
        assert_ne!(ChunkId::of(b"same"), ChunkId::of_node(b"same"));
    }

    #[test]
    fn ids_never_change() {
        // Golden: an id names content for ever.
        let chunk = "09474e626708f10d84d1912dee21591ef1652ebe706d5092a0964b8f4c5b12f2";
        let node = "06b66be90230df1eebfa6f624c343b5108c215ca262d11637b6145672db5eb91";
        assert_eq!(ChunkId::of(b"cinderblock").to_string(), chunk);
        assert_eq!(ChunkId::of_node(b"cinderblock").to_string(), node);
    }

    #[test]
    fn text_round_trips() -> Result<(), Error> {
        let pack = PackId::random()?;
        assert_eq!(pack.to_string().parse::<PackId>()?, pack);
        let backup = BackupId::random()?;
        assert_eq!(backup.to_string().parse::<BackupId>()?, backup);
        assert_eq!(backup.to_string().to_uppercase().parse::<BackupId>()?, backup);
        Ok(())
    }

    #[test]
    fn hostile_texts_are_refused() {
        for text in
            ["", "0", "+f", "zz", "..", "../../etc/passwd", "é", &"0".repeat(31), &"0".repeat(33), &"F".repeat(32)]
        {
            assert!(text.parse::<PackId>().is_err(), "{text}");
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
        for text in ["", ".", "..", ".hidden", "a/b", "a b", "a\0b", "ä", &"x".repeat(256)] {
            assert!(VolumeId::new(text).is_err(), "{text:?}");
        }
        for text in ["a", "-", "_", "vm-1.disk_0", "11111111-1111-1111-1111-000000000001", &"x".repeat(255)] {
            assert!(VolumeId::new(text).is_ok(), "{text:?}");
        }
    }
}
