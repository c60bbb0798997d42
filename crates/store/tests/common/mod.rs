//! What the tests of the store share: making repositories and backups through [`Session`](cinderblock_store::Session),
//! reading them back with every byte checked, and damaging objects.

// Every test binary has its own copy and uses a part of it.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashSet};
use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_chunker::ChunkSize;
use cinderblock_store::map::{MapBuilder, Node, PieceContent, Shape};
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::pack::{Content, PackBuilder};
use cinderblock_store::{
    BackupId, ChunkId, Chunking, Error, Kind, Location, OpenOptions, PackId, Record, Repository, Session, Statistics,
    Timestamp, VolumeId,
};

/// Size of the chunks of all repositories here, in bytes.
pub const CHUNK: usize = 4096;

/// Bytes of header and footer of a pack, and of the header of an envelope.
pub const HEADER: usize = 64;
pub const FOOTER: usize = 64;
pub const CHECKSUM: usize = 32;

pub type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Bytes that `seed` determines and that do not compress (splitmix64).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Bytes that `seed` determines and that compress well.
pub fn prose(seed: u64, length: usize) -> Vec<u8> {
    let line = format!("line of chunk {seed}: what compresses well is worth a frame of zstd\n");
    line.bytes().cycle().take(length).collect()
}

/// A volume of 1,300 chunks, 11 of which are not zero: its fixed map has two levels. The last chunk is a short one.
pub fn sparse_volume(seed: u64) -> Vec<u8> {
    let mut volume = vec![0; 1299 * CHUNK + 1000];
    for n in 0..5 {
        let (low, high) = (n * 2 * CHUNK, (1030 + n * 3) * CHUNK);
        volume[low..low + CHUNK].copy_from_slice(&prose(seed * 100 + n as u64, CHUNK));
        volume[high..high + CHUNK].copy_from_slice(&noise(seed * 100 + n as u64, CHUNK));
    }
    let last = 1299 * CHUNK;
    volume[last..].copy_from_slice(&prose(seed, 1000));
    volume
}

/// A volume of so many chunks without zeros.
pub fn dense_volume(seed: u64, chunks: usize) -> Vec<u8> {
    (0..chunks).flat_map(|n| prose(seed * 1000 + n as u64, CHUNK)).collect()
}

pub fn volume(name: &str) -> VolumeId {
    VolumeId::new(name).expect("a name of a volume")
}

/// Makes a repository in `backend`.
pub fn create(backend: &dyn Backend) -> Result<(), Error> {
    let size = ChunkSize::new(CHUNK as u64).expect("a chunk size");
    Repository::create(backend, size).map(drop)
}

pub fn open(backend: Arc<dyn Backend>, cache: &Path) -> Result<Repository, Error> {
    Repository::open(backend, &OpenOptions::new(cache))
}

/// How a backup is made.
#[derive(Clone, Debug)]
pub struct Plan {
    pub id: BackupId,
    pub created_at: i64,
    pub shape: Shape,
    pub chunks_per_frame: usize,
    pub pack_bytes: usize,
}

impl Plan {
    pub fn new() -> Self {
        Self {
            id: BackupId::random().expect("random bytes"),
            created_at: 1_790_000_000_000_000,
            shape: Shape::Fixed,
            chunks_per_frame: 4,
            pack_bytes: 1 << 20,
        }
    }
}

/// Where chunks of a variable map end: lengths that are no multiples of anything.
fn cut(bytes: &[u8], shape: Shape) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let length = if shape == Shape::Fixed { CHUNK } else { 3000 + chunks.len() * 37 % 2000 };
        let (chunk, after) = rest.split_at(length.min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

/// Backs up `bytes` as `volume` in one session; the record as it was committed.
pub fn back_up(repository: &Repository, volume: &VolumeId, bytes: &[u8], plan: &Plan) -> Result<Record, Error> {
    let session = repository.start_session("a test")?;
    let mut record = write_all_but_record(repository, &session, volume, bytes, plan)?;
    session.commit(&mut record)?;
    Ok(record)
}

/// Stores one frame's worth of packs.
fn push(session: &Session<'_>, packs: &mut PackBuilder, frame: frame::EncodedFrame) -> Result<(), Error> {
    if let Some(pack) = packs.push(frame)? {
        session.store_pack(&pack)?;
    }
    Ok(())
}

/// The chunks of a volume and the nodes of its map in packs; the record that is to be committed.
pub fn write_all_but_record(
    repository: &Repository,
    session: &Session<'_>,
    volume: &VolumeId,
    bytes: &[u8],
    plan: &Plan,
) -> Result<Record, Error> {
    let chunks = cut(bytes, plan.shape);
    let mut wanted = Vec::new();
    let mut nodes: Vec<(ChunkId, Vec<u8>)> = Vec::new();
    let mut map = MapBuilder::new(plan.shape, repository.ids().clone());
    let mut sink = |id, bytes| {
        nodes.push((id, bytes));
        Ok(())
    };
    for chunk in &chunks {
        if chunk.iter().all(|byte| *byte == 0) {
            map.push_zeros(if plan.shape == Shape::Fixed { 1 } else { chunk.len() as u64 }, &mut sink)?;
        } else {
            wanted.push((repository.ids().chunk(chunk), *chunk));
            map.push_chunk(repository.ids().chunk(chunk), chunk.len() as u32, &mut sink)?;
        }
    }
    let root = map.finish(&mut sink)?;
    let data = store(session, Content::Data, &wanted, plan)?;
    let nodes: Vec<_> = nodes.iter().map(|(id, bytes)| (*id, bytes.as_slice())).collect();
    let maps = store(session, Content::Map, &nodes, plan)?;
    let maximum = 5000;
    Ok(Record {
        id: plan.id,
        volume: volume.clone(),
        created_at: Timestamp::from_microseconds(plan.created_at),
        volume_bytes: bytes.len() as u64,
        name: None,
        description: None,
        parent: None,
        chunking: match plan.shape {
            Shape::Fixed => Chunking::Fixed,
            Shape::Variable => Chunking::Content { minimum: 3000, average: 4000, maximum },
        },
        compression: Compression::default().to_string(),
        statistics: Statistics::default(),
        attributes: BTreeMap::new(),
        chunk_bytes: repository.descriptor().chunk_size.bytes(),
        hints_complete: true,
        data_packs: data,
        map_packs: maps,
        map: root,
        session: session.id(),
    })
}

/// Stores those of `chunks` that the repository does not have, each once; the packs that hold them all.
pub fn store(
    session: &Session<'_>,
    content: Content,
    chunks: &[(ChunkId, &[u8])],
    plan: &Plan,
) -> Result<Vec<PackId>, Error> {
    let ids: Vec<_> = chunks.iter().map(|(id, _)| *id).collect();
    let mut places = Vec::new();
    session.locate(&ids, &mut places)?;
    let mut hints: Vec<_> = places.iter().flatten().map(|place| place.pack.id()).collect();
    let mut seen = HashSet::new();
    let missing = chunks.iter().zip(&places).filter(|((id, _), place)| place.is_none() && seen.insert(*id));
    let missing: Vec<_> = missing.map(|(chunk, _)| chunk).collect();
    let mut packs = session.pack_builder(content).with_target_bytes(plan.pack_bytes);
    for group in missing.chunks(plan.chunks_per_frame) {
        let plain: Vec<u8> = group.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let listed = group.iter().map(|(id, bytes)| FrameChunk { id: *id, length: bytes.len() as u32 }).collect();
        let hashed = content == Content::Data && plan.shape == Shape::Fixed;
        push(session, &mut packs, frame::encode(&plain, listed, hashed, Compression::default())?)?;
    }
    if let Some(pack) = packs.finish()? {
        hints.push(pack.id());
        session.store_pack(&pack)?;
    }
    cinderblock_store::merge_hints(&mut hints, []);
    Ok(hints)
}

/// Reads a chunk from one place and checks it against its id.
fn read_place(repository: &Repository, id: ChunkId, Location { pack, slot }: &Location) -> Result<Vec<u8>, Error> {
    let place = pack.directory().place(*slot).ok_or(Error::ChunkMissing { id })?;
    let (mut stored, mut plain) = (Vec::new(), Vec::new());
    repository.read_frame(pack, place.frame, &mut stored, &mut plain)?;
    let chunk = plain.get(place.offset as usize..).and_then(|rest| rest.get(..place.length as usize));
    match chunk {
        Some(bytes) if repository.ids().is_authentic(pack.content(), &id, bytes) => Ok(bytes.to_vec()),
        _ => Err(Error::Damaged { object: pack.object().to_string(), offset: 0, reason: format!("chunk {id}") }),
    }
}

/// Reads one chunk, from where the index says or else from any pack that has a good copy.
pub fn read_chunk(repository: &Repository, id: ChunkId) -> Result<Vec<u8>, Error> {
    let mut places = Vec::new();
    repository.locate(&[id], &mut places)?;
    let first = match places.pop().flatten() {
        Some(place) => read_place(repository, id, &place),
        None => Err(Error::ChunkMissing { id }),
    };
    let error = match first {
        Err(error) if error.is_damage() => error,
        other => return other,
    };
    let mut copies = Vec::new();
    repository.search(&HashSet::from([id]), &mut |_, place| copies.push(place))?;
    copies.iter().find_map(|place| read_place(repository, id, place).ok()).ok_or(error)
}

/// Reads every byte of a backup, each checked. A map node that the index does not lead to is looked for once in all packs,
/// which leaves the pack that has it in memory.
pub fn read_backup(repository: &Repository, record: &Record) -> Result<Vec<u8>, Error> {
    let (mut bytes, mut searched) = (Vec::new(), HashSet::new());
    'again: loop {
        for leaf in repository.leaves(record, bytes.len() as u64..record.volume_bytes) {
            let leaf = match leaf.map_err(|unreadable| unreadable.error) {
                Err(Error::ChunkMissing { id }) if searched.insert(id) => {
                    repository.search(&HashSet::from([id]), &mut |_, _| {})?;
                    continue 'again;
                }
                other => other?,
            };
            for piece in leaf.pieces {
                assert_eq!(piece.offset, bytes.len() as u64, "pieces follow each other");
                match piece.content {
                    PieceContent::Zeros => bytes.resize(bytes.len() + piece.length as usize, 0),
                    PieceContent::Chunk(id) => {
                        let chunk = read_chunk(repository, id)?;
                        assert_eq!(chunk.len() as u64, piece.length);
                        bytes.extend(chunk);
                    }
                }
            }
        }
        assert_eq!(bytes.len() as u64, record.volume_bytes);
        return Ok(bytes);
    }
}

/// Asserts that a backup has exactly these bytes.
pub fn assert_backup(repository: &Repository, volume: &VolumeId, id: BackupId, bytes: &[u8]) {
    let record = repository.record(volume, id).expect("the record can be read");
    let read = read_backup(repository, &record).expect("the backup can be read");
    assert!(read == bytes, "backup {id} of {volume} has other bytes than were backed up");
}

/// Names of the objects that begin with `prefix`, in order.
pub fn objects(backend: &dyn Backend, prefix: &str) -> Vec<ObjectName> {
    let mut names = Vec::new();
    let listed = backend.list(prefix, &mut |info| {
        names.push(info.name);
        Ok(())
    });
    listed.expect("the storage can be listed");
    names.sort();
    names
}

pub fn bytes_of(backend: &dyn Backend, name: &ObjectName) -> Vec<u8> {
    backend.get(name, 1 << 30).expect("the object can be read")
}

/// Puts other bytes in an object's place, as only a fault of the storage or an attacker does.
pub fn overwrite(backend: &dyn Backend, name: &ObjectName, bytes: &[u8]) {
    if backend.size(name).is_ok() {
        backend.delete(name).expect("the object can be deleted");
    }
    backend.put(name, &[bytes]).expect("the object can be put");
}

/// A copy that is changed without changing the original.
pub fn fork(backend: &dyn Backend) -> Arc<Memory> {
    let copy = Memory::new();
    for name in objects(backend, "") {
        copy.put(&name, &[&bytes_of(backend, &name)]).expect("memory takes every object");
    }
    Arc::new(copy)
}

/// Names of the packs of one kind.
pub fn packs_of_kind(backend: &dyn Backend, kind: Kind) -> Vec<ObjectName> {
    let names = objects(backend, "packs/").into_iter();
    names.filter(|name| bytes_of(backend, name).get(8) == Some(&(kind as u8))).collect()
}

pub fn pack_id(name: &ObjectName) -> PackId {
    name.file_name().parse().expect("the name of a pack")
}

/// Gives changed bytes of a pack the checksum that fits them: what an attacker does, and no fault.
pub fn reseal_pack(bytes: &mut [u8]) {
    let footer = bytes.len() - FOOTER;
    let at = u64::from_le_bytes(bytes[footer..footer + 8].try_into().expect("8 bytes")) as usize;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..HEADER]).update(&bytes[at..footer]).update(&bytes[footer..footer + 16]);
    let sum = *hasher.finalize().as_bytes();
    bytes[footer + 16..footer + 48].copy_from_slice(&sum);
}

/// A pack with the same header and frames and another directory.
pub fn with_directory(pack: &[u8], directory: &[u8], chunks: u32) -> Vec<u8> {
    let footer = pack.len() - FOOTER;
    let at = u64::from_le_bytes(pack[footer..footer + 8].try_into().expect("8 bytes")) as usize;
    let mut bytes = [&pack[..at], directory, &pack[footer..]].concat();
    let footer = bytes.len() - FOOTER;
    bytes[footer + 8..footer + 12].copy_from_slice(&(directory.len() as u32).to_le_bytes());
    bytes[footer + 12..footer + 16].copy_from_slice(&chunks.to_le_bytes());
    reseal_pack(&mut bytes);
    bytes
}

/// The same for a record, a segment or a session.
pub fn reseal_envelope(bytes: &mut [u8]) {
    let end = bytes.len() - CHECKSUM;
    let sum = *blake3::hash(&bytes[..end]).as_bytes();
    bytes[end..].copy_from_slice(&sum);
}

/// A record or segment with the same header and another body.
pub fn with_body(envelope: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = [&envelope[..HEADER], body, &[0; CHECKSUM]].concat();
    reseal_envelope(&mut bytes);
    bytes
}

/// An error's text with those of all its causes.
pub fn whole_text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Asserts that an error says that the repository is damaged, and names the object.
pub fn assert_names(error: &Error, object: &ObjectName, case: &str) {
    let text = whole_text(error);
    assert!(error.is_damage(), "{case}: {text} is not called damage");
    assert!(text.contains(object.file_name()), "{case}: {text:?} does not name {object}");
}

/// The nodes of a map below its root.
pub fn children(node: &Node) -> Vec<ChunkId> {
    let children = node.items.iter().filter_map(|item| match item {
        cinderblock_store::map::Item::Child { id, .. } => Some(*id),
        cinderblock_store::map::Item::Zeros(_) => None,
    });
    children.collect()
}
