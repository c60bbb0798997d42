//! A backup's record: the commit point. A backup exists if and only if its record does.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use cinderblock_backend::{Backend, ObjectName};
use cinderblock_chunker::ChunkSize;

use crate::codec;
use crate::error::Error;
use crate::id::{BackupId, PackId, RepositoryId, SessionId, VolumeId};
use crate::layout;
use crate::map::{Node, Shape};
use crate::object::{Header, Kind, get_envelope, put_envelope};
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
    /// Packs of volume data that held its chunks when it was committed: a hint, and possibly more than are needed.
    pub data_packs: Vec<PackId>,
    /// Packs of map nodes that held its map: the same.
    pub map_packs: Vec<PackId>,
    /// Root of the map.
    pub map: Node,
    /// The session that wrote it.
    pub session: SessionId,
}

/// The record's body, as it is encoded. Facts for people come first, the map last.
#[derive(Encode, Decode)]
struct Body {
    volume: VolumeId,
    created_at: i64,
    volume_bytes: u64,
    name: Option<String>,
    description: Option<String>,
    parent: Option<BackupId>,
    chunking: Chunking,
    compression: String,
    statistics: Statistics,
    attributes: BTreeMap<String, Vec<u8>>,
    data_packs: Vec<PackId>,
    map_packs: Vec<PackId>,
    map: Vec<u8>,
}

impl Record {
    /// Name of its object in the repository.
    pub fn object(&self) -> Result<ObjectName, Error> {
        layout::record(&self.volume, self.id)
    }

    pub(crate) fn write(&self, backend: &dyn Backend, repository: RepositoryId) -> Result<u64, Error> {
        let hints = |packs: &Vec<PackId>| if packs.len() > MAX_HINTS { Vec::new() } else { packs.clone() };
        let body = Body {
            volume: self.volume.clone(),
            created_at: self.created_at.microseconds(),
            volume_bytes: self.volume_bytes,
            name: self.name.clone(),
            description: self.description.clone(),
            parent: self.parent,
            chunking: self.chunking,
            compression: self.compression.clone(),
            statistics: self.statistics,
            attributes: self.attributes.clone(),
            data_packs: hints(&self.data_packs),
            map_packs: hints(&self.map_packs),
            map: self.map.encode(),
        };
        let header = Header { kind: Kind::Record, repository, id: *self.id.as_bytes(), session: self.session };
        put_envelope(backend, &self.object()?, &header, &codec::encode("a backup's record", &body)?)
    }

    pub(crate) fn read(
        backend: &dyn Backend,
        repository: RepositoryId,
        volume: &VolumeId,
        id: BackupId,
    ) -> Result<Self, Error> {
        let name = layout::record(volume, id)?;
        let object = name.as_str();
        let (header, body) = match get_envelope(backend, &name) {
            Err(Error::Backend(error)) if error.is_not_found() => {
                return Err(Error::BackupNotFound { text: id.to_string() });
            }
            other => other?,
        };
        header.expect(object, &[Kind::Record], repository, *id.as_bytes())?;
        let body: Body = codec::decode(object, 64, &body)?;
        if body.volume != *volume {
            return Err(Error::damaged(object, 64, format!("it is a backup of volume {}", body.volume)));
        }
        if body.volume_bytes > MAX_VOLUME_BYTES {
            return Err(Error::damaged(object, 64, format!("a volume of {} bytes", body.volume_bytes)));
        }
        let map = Node::decode(object, &body.map)?;
        if map.shape != body.chunking.shape() {
            return Err(Error::damaged(object, 64, "its map is not of the shape of its chunking"));
        }
        Ok(Self {
            id,
            volume: body.volume,
            created_at: Timestamp::from_microseconds(body.created_at),
            volume_bytes: body.volume_bytes,
            name: body.name,
            description: body.description,
            parent: body.parent,
            chunking: body.chunking,
            compression: body.compression,
            statistics: body.statistics,
            attributes: body.attributes,
            data_packs: body.data_packs,
            map_packs: body.map_packs,
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
mod tests {
    use super::*;
    use crate::id::ChunkId;
    use crate::map::Item;
    use cinderblock_backend::Memory;

    fn record() -> Result<Record, Error> {
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
        let repository = RepositoryId::from_bytes([9; 16]);
        let record = record()?;
        record.write(&backend, repository)?;
        let bytes = backend.get(&record.object()?, 1 << 20)?;
        let mut body = b"\x04vm-1\xfc\x80\x84\x1e\x00\xfc\x00\x00\x01\x00\x01\x01n\x00\x01".to_vec();
        body.extend([2; 16]);
        body.extend(b"\x00\x06zstd:1\xfb\x2c\x01\x00\x00\x01\x00\x01\x00\x01\x01k\x01\x05\x01");
        body.extend([3; 16]);
        body.push(0);
        let map = record.map.encode();
        body.push(map.len() as u8);
        body.extend(map);
        assert_eq!(bytes[64..bytes.len() - 32], body);
        assert_eq!(Record::read(&backend, repository, &record.volume, record.id)?, record);
        Ok(())
    }

    #[test]
    fn a_record_under_another_volumes_name_is_refused() -> Result<(), Error> {
        let backend = Memory::new();
        let repository = RepositoryId::from_bytes([9; 16]);
        let record = record()?;
        record.write(&backend, repository)?;
        let bytes = backend.get(&record.object()?, 1 << 20)?;
        let other = VolumeId::new("other")?;
        backend.put(&layout::record(&other, record.id)?, &[&bytes])?;
        assert!(matches!(Record::read(&backend, repository, &other, record.id), Err(Error::Damaged { .. })));
        Ok(())
    }
}
