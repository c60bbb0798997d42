//! A backup's record: the commit point. A backup exists if and only if its record does.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use cinderblock_backend::{Backend, ObjectName};
use cinderblock_chunker::{ChunkSize, ContentParameters};

use crate::codec;
use crate::error::Error;
use crate::id::{BackupId, PackId, SessionId, VolumeId};
use crate::layout;
use crate::map::{Node, Shape};
use crate::object::{Header, Kind, checksum, get_checked, put_checked};
use crate::seal::{Opening, Part, Seal, TAG_BYTES};
use crate::time::Timestamp;

/// Most packs that a record names as hints; beyond, it names none and readers use the index.
pub const MAX_HINTS: usize = 65_536;

/// Largest volume: 16 TiB.
pub const MAX_VOLUME_BYTES: u64 = 16 << 40;

/// How the volume was cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Chunking {
    /// At multiples of the repository's chunk size.
    Fixed,
    /// By content (FastCDC), with these bounds in bytes.
    Content {
        /// Shortest chunk but for the last.
        minimum: u32,
        /// About the mean.
        average: u32,
        /// Longest chunk.
        maximum: u32,
    },
}

impl Chunking {
    /// The shape of a map with such chunks.
    pub fn shape(&self) -> Shape {
        match self {
            Chunking::Fixed => Shape::Fixed,
            Chunking::Content { .. } => Shape::Variable,
        }
    }
}

/// What a backup cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Statistics {
    /// Bytes read from the source (holes are not read).
    pub read_bytes: u64,
    /// Plain bytes of chunks that the repository did not have.
    pub new_bytes: u64,
    /// Bytes that were added to the repository: whole packs and segments.
    pub stored_bytes: u64,
    /// Chunks of the volume that are not zero.
    pub chunks: u64,
    /// Those of them that the repository did not have.
    pub new_chunks: u64,
    /// Chunks that are zero, holes included; at the repository's chunk size, whatever the chunking.
    pub zero_chunks: u64,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// Everything about a backup but its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its identity.
    pub id: BackupId,
    /// The volume that was backed up.
    pub volume: VolumeId,
    /// When it was taken.
    pub created_at: Timestamp,
    /// The volume's size in bytes.
    pub volume_bytes: u64,
    /// A short name for people.
    pub name: Option<String>,
    /// A longer text for people.
    pub description: Option<String>,
    /// The backup that served as a hint for speed. This backup does not need it.
    pub parent: Option<BackupId>,
    /// How the volume was cut.
    pub chunking: Chunking,
    /// How new chunks were compressed, as `--compression` takes it.
    pub compression: String,
    /// What it cost.
    pub statistics: Statistics,
    /// Further facts, by name, for what is built on top of the store (such as what Cinder knows about a backup). Names
    /// that a program does not know, it keeps and ignores.
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// The repository's chunk size in bytes: stated here too, so that a damaged descriptor is noticed.
    pub chunk_bytes: u32,
    /// Packs of volume data that held its chunks when it was committed: a hint, and possibly more than are needed.
    pub data_packs: Vec<PackId>,
    /// Packs of map nodes that held its map: the same.
    pub map_packs: Vec<PackId>,
    /// Whether the two lists name all packs. There is a limit to their length, [`MAX_HINTS`]: lists that would be longer
    /// are left empty, and this is false.
    pub hints_complete: bool,
    /// Root of the map.
    pub map: Node,
    /// The session that wrote it.
    pub session: SessionId,
}

/// The first part of a record's body: what a listing shows. It has a checksum of its own, so that the beginning of the
/// object is enough to read it.
#[derive(Encode, Decode)]
struct Head {
    volume: VolumeId,
    created_at: i64,
    volume_bytes: u64,
    name: Option<String>,
    description: Option<String>,
    parent: Option<BackupId>,
    chunking: Chunking,
    chunk_bytes: u32,
    compression: String,
    statistics: Statistics,
    attributes: BTreeMap<String, Vec<u8>>,
}

/// The second part: what a restore needs.
#[derive(Encode, Decode)]
struct Tail {
    hints_complete: bool,
    data_packs: Vec<PackId>,
    map_packs: Vec<PackId>,
    map: Vec<u8>,
}

/// Longest name and description, in bytes: far above Cinder's 255 characters.
const MAX_NAME_BYTES: usize = 1024;
const MAX_DESCRIPTION_BYTES: usize = 64 << 10;

/// Largest size of a volume that a reader believes, 4 EiB: what a map can describe.
const MAX_READABLE_BYTES: u64 = 1 << 62;

/// Length of the field with the head's length, and of the head's checksum, in bytes.
const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 32;

/// Refuses texts that a record cannot hold, before a backup is begun.
///
/// # Errors
/// [`Error::TooLarge`] for a name above 1,024 bytes or a description above 64 KiB.
pub fn check_texts(name: Option<&str>, description: Option<&str>) -> Result<(), Error> {
    check_length("the name of a backup", name, MAX_NAME_BYTES)?;
    check_length("the description of a backup", description, MAX_DESCRIPTION_BYTES)
}

fn check_length(what: &'static str, text: Option<&str>, limit: usize) -> Result<(), Error> {
    match text {
        Some(text) if text.len() > limit => {
            Err(Error::TooLarge { what, bytes: text.len() as u64, limit: limit as u64 })
        }
        _ => Ok(()),
    }
}

/// The session that wrote the record of this name, as its header says, unchecked. None where there is no record, or no header.
pub(crate) fn writer(backend: &dyn Backend, name: &ObjectName) -> Result<Option<SessionId>, Error> {
    Ok(Header::read(backend, name)?.map(|header| header.session))
}

impl Record {
    /// Writes it under this name; the length of the object in bytes.
    pub(crate) fn write(&self, backend: &dyn Backend, seal: &Seal, name: &ObjectName) -> Result<u64, Error> {
        let repository = seal.repository();
        let header = Header { kind: Kind::Record, repository, id: *self.id.as_bytes(), session: self.session };
        self.write_behind(backend, seal.begin(&header)?, name)
    }

    /// The same with this beginning.
    pub(crate) fn write_behind(
        &self,
        backend: &dyn Backend,
        Opening { bytes: beginning, key }: Opening,
        name: &ObjectName,
    ) -> Result<u64, Error> {
        check_texts(self.name.as_deref(), self.description.as_deref())?;
        let head = Head {
            volume: self.volume.clone(),
            created_at: self.created_at.microseconds(),
            volume_bytes: self.volume_bytes,
            name: self.name.clone(),
            description: self.description.clone(),
            parent: self.parent,
            chunking: self.chunking,
            chunk_bytes: self.chunk_bytes,
            compression: self.compression.clone(),
            statistics: self.statistics,
            attributes: self.attributes.clone(),
        };
        let fits = self.data_packs.len() <= MAX_HINTS && self.map_packs.len() <= MAX_HINTS;
        let hints = |packs: &Vec<PackId>| if fits { packs.clone() } else { Vec::new() };
        let tail = Tail {
            hints_complete: self.hints_complete && fits,
            data_packs: hints(&self.data_packs),
            map_packs: hints(&self.map_packs),
            map: self.map.encode(),
        };
        let head = codec::encode("a backup's record", &head)?;
        let length = (head.len() as u32).to_le_bytes();
        let tail = codec::encode("a backup's record", &tail)?;
        let Some(key) = key else {
            let sum = checksum(&[&beginning, &length, &head]);
            return put_checked(backend, name, Kind::Record, &[&beginning, &length, &head, &sum, &tail]);
        };
        let (mut head, mut tail) = (head, tail);
        key.seal(Part::Head, name.as_str().as_bytes(), &mut head)?;
        key.seal(Part::Body, name.as_str().as_bytes(), &mut tail)?;
        put_checked(backend, name, Kind::Record, &[&beginning, &length, &head, &tail])
    }

    /// Reads and checks the record of this name.
    pub(crate) fn read(backend: &dyn Backend, seal: &Seal, name: &ObjectName, id: BackupId) -> Result<Self, Error> {
        let object = name.as_str();
        let (header, mut bytes) = match get_checked(backend, seal.accepts(), name, Kind::Record) {
            Err(Error::Backend(error)) if error.is_not_found() => {
                return Err(Error::BackupNotFound { text: id.to_string() });
            }
            other => other?,
        };
        header.expect(object, &[Kind::Record], seal.repository(), *id.as_bytes())?;
        let key = seal.key_of(object, &bytes)?;
        let before = seal.beginning_bytes();
        let start = before + LENGTH_BYTES;
        let short = || Error::damaged(object, before as u64, "the length of its first part is wrong");
        let (beginning, rest) = bytes.split_at_mut_checked(start).ok_or_else(short)?;
        let length = beginning.get(before..).and_then(|length| length.try_into().ok()).ok_or_else(short)?;
        let length = u32::from_le_bytes(length) as usize;
        let end = length.checked_add(if key.is_some() { TAG_BYTES } else { 0 }).ok_or_else(short)?;
        let (first, rest) = rest.split_at_mut_checked(end).ok_or_else(short)?;
        let at = (start + end) as u64;
        let (first, at, last): (&[u8], u64, &[u8]) = match key {
            Some(key) => {
                let first = key.open((object, start as u64), Part::Head, object.as_bytes(), first)?;
                (first, at, key.open((object, at), Part::Body, object.as_bytes(), rest)?)
            }
            None => {
                let (sum, last) = rest.split_at_checked(CHECKSUM_BYTES).ok_or_else(short)?;
                if checksum(&[beginning, first]) != *sum {
                    return Err(Error::damaged(object, start as u64, "the checksum of its first part does not agree"));
                }
                (first, at + CHECKSUM_BYTES as u64, last)
            }
        };
        let head: Head = codec::decode(object, start as u64, first)?;
        let tail: Tail = codec::decode(object, at, last)?;
        if layout::record(&seal.volume_part(&head.volume), id)? != *name {
            return Err(Error::damaged(object, start as u64, format!("it is a backup of volume {}", head.volume)));
        }
        if head.volume_bytes > MAX_READABLE_BYTES {
            return Err(Error::damaged(object, start as u64, format!("a volume of {} bytes", head.volume_bytes)));
        }
        if let Chunking::Content { minimum, average, maximum } = head.chunking {
            ContentParameters::new(minimum, average, maximum)
                .map_err(|error| Error::damaged(object, start as u64, error.to_string()))?;
        }
        if tail.data_packs.len() > MAX_HINTS || tail.map_packs.len() > MAX_HINTS {
            return Err(Error::damaged(object, at, "it names too many packs"));
        }
        let map = Node::decode(object, &tail.map)?;
        if map.shape != head.chunking.shape() {
            return Err(Error::damaged(object, at, "its map is not of the shape of its chunking"));
        }
        Ok(Self {
            id,
            volume: head.volume,
            created_at: Timestamp::from_microseconds(head.created_at),
            volume_bytes: head.volume_bytes,
            name: head.name,
            description: head.description,
            parent: head.parent,
            chunking: head.chunking,
            compression: head.compression,
            statistics: head.statistics,
            attributes: head.attributes,
            chunk_bytes: head.chunk_bytes,
            hints_complete: tail.hints_complete,
            data_packs: tail.data_packs,
            map_packs: tail.map_packs,
            map,
            session: header.session,
        })
    }

    /// Bytes of the largest chunk that its map may hold, given the repository's chunk size.
    pub fn largest_chunk(&self, chunk_size: ChunkSize) -> u32 {
        match self.chunking {
            Chunking::Fixed => chunk_size.bytes(),
            Chunking::Content { maximum, .. } => maximum,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::ChunkId;
    use crate::id::RepositoryId;
    use crate::map::Item;
    use cinderblock_backend::Memory;

    pub(crate) fn record() -> Result<Record, Error> {
        Ok(Record {
            id: BackupId::from_bytes([1; 16]),
            volume: VolumeId::new("vm-1")?,
            created_at: Timestamp::from_microseconds(1_000_000),
            volume_bytes: 65536,
            name: Some("n".to_owned()),
            description: None,
            parent: Some(BackupId::from_bytes([2; 16])),
            chunking: Chunking::Fixed,
            compression: "zstd:1".to_owned(),
            statistics: Statistics { read_bytes: 300, chunks: 1, zero_chunks: 1, ..Statistics::default() },
            attributes: BTreeMap::from([("k".to_owned(), vec![5])]),
            chunk_bytes: 32768,
            hints_complete: true,
            data_packs: vec![PackId::from_bytes([3; 16])],
            map_packs: vec![],
            map: Node {
                shape: Shape::Fixed,
                level: 0,
                items: vec![Item::Zeros(1), Item::Child { id: ChunkId::from_bytes([4; 32]), span: 1 }],
            },
            session: SessionId::from_bytes([6; 16]),
        })
    }

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        let backend = Memory::new();
        let seal = Seal::none(RepositoryId::from_bytes([9; 16]));
        let record = record()?;
        let name = layout::record("vm-1", record.id)?;
        record.write(&backend, &seal, &name)?;
        let bytes = backend.get(&name, 1 << 20)?;
        let mut head = b"\x04vm-1\xfc\x80\x84\x1e\x00\xfc\x00\x00\x01\x00\x01\x01n\x00\x01".to_vec();
        head.extend([2; 16]);
        head.extend(b"\x00\xfb\x00\x80\x06zstd:1\xfb\x2c\x01\x00\x00\x01\x00\x01\x00\x01\x01k\x01\x05");
        let mut expected = bytes[..64].to_vec();
        expected.extend((head.len() as u32).to_le_bytes());
        expected.extend(head);
        expected.extend(checksum(&[&expected]));
        expected.extend([1, 1]);
        expected.extend([3; 16]);
        expected.push(0);
        let map = record.map.encode();
        expected.push(map.len() as u8);
        expected.extend(map);
        expected.extend(checksum(&[&expected]));
        assert_eq!(bytes, expected);
        assert_eq!(Record::read(&backend, &seal, &name, record.id)?, record);
        Ok(())
    }

    #[test]
    fn a_record_under_another_volumes_name_is_refused() -> Result<(), Error> {
        let backend = Memory::new();
        let seal = Seal::none(RepositoryId::from_bytes([9; 16]));
        let record = record()?;
        let name = layout::record("vm-1", record.id)?;
        record.write(&backend, &seal, &name)?;
        let bytes = backend.get(&name, 1 << 20)?;
        let other = layout::record("other", record.id)?;
        backend.put(&other, &[&bytes])?;
        assert!(matches!(Record::read(&backend, &seal, &other, record.id), Err(Error::Damaged { .. })));
        Ok(())
    }
}
