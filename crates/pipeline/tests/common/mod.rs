//! Repositories in memory for tests of restoring and verifying, made through the store alone, so that a test decides
//! which chunk is in which pack and what a map says.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::{Control, Engine, ReadData, Settings, VerifyOptions, VerifyReport};
use cinderblock_store::map::{MapBuilder, Shape};
use cinderblock_store::pack::Content;
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::{
    BackupId, Chunking, OpenOptions, PackId, Record, Repository, SessionId, Statistics, Timestamp, VolumeId,
};

/// Chunk size of the test repositories: 4 KiB, so that a leaf covers 4 MiB.
pub const CHUNK: usize = 4096;

/// Bytes of one leaf.
pub const LEAF: usize = 1024 * CHUNK;

/// Chunks in a frame of the test repositories.
pub const FRAME_CHUNKS: usize = 8;

/// A part of a volume, for [`Fixture::store`].
#[derive(Clone, Debug)]
pub enum Part {
    /// So many zeros: a multiple of the chunk size, or at the volume's end, where chunks are fixed.
    Zeros(u64),
    /// A chunk with these bytes.
    Chunk(Vec<u8>),
    /// A chunk with these bytes, about which the map lies: another length (variable maps).
    Claimed(Vec<u8>, u32),
}

/// A repository in memory.
pub struct Fixture {
    pub storage: Arc<Memory>,
    pub repository: Repository,
    pub engine: Engine,
    cache: tempfile::TempDir,
}

/// Different from any other number's bytes, and hardly compressible.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Compressible bytes, different for each seed.
pub fn text(seed: u64, length: usize) -> Vec<u8> {
    let line = format!("line of volume {seed}, ");
    line.as_bytes().iter().copied().cycle().take(length).collect()
}

/// A volume as parts at multiples of the chunk size; chunks of zeros as zeros.
pub fn fixed_parts(volume: &[u8]) -> Vec<Part> {
    let parts = volume.chunks(CHUNK).map(|chunk| match cinderblock_chunker::is_zero(chunk) {
        true => Part::Zeros(chunk.len() as u64),
        false => Part::Chunk(chunk.to_vec()),
    });
    parts.collect()
}

/// What the parts make up.
pub fn volume_of(parts: &[Part]) -> Vec<u8> {
    let mut volume = Vec::new();
    for part in parts {
        match part {
            Part::Zeros(length) => volume.resize(volume.len() + *length as usize, 0),
            Part::Chunk(bytes) | Part::Claimed(bytes, _) => volume.extend_from_slice(bytes),
        }
    }
    volume
}

impl Fixture {
    pub fn new() -> Self {
        Self::around(|storage| storage)
    }

    /// The repository is opened on what `decorate` makes of the storage.
    pub fn around<B: Backend + 'static>(decorate: impl FnOnce(Arc<Memory>) -> B) -> Self {
        Self::of_chunks(ChunkSize::new(CHUNK as u64).unwrap(), decorate)
    }

    /// The same, with chunks of another size; not for what stores volumes through the store alone.
    pub fn of_chunks<B: Backend + 'static>(size: ChunkSize, decorate: impl FnOnce(Arc<Memory>) -> B) -> Self {
        let storage = Arc::new(Memory::new());
        Repository::create(&*storage, size).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let backend = Arc::new(decorate(Arc::clone(&storage)));
        let repository = Repository::open(backend, &OpenOptions::new(cache.path())).unwrap();
        let engine = Engine::new(Settings { threads: 3, memory_bytes: 0 }).unwrap();
        Self { storage, repository, engine, cache }
    }

    /// The same, with what was made of the storage.
    pub fn with<B: Backend + 'static>(decorate: impl FnOnce(Arc<Memory>) -> B) -> (Self, Arc<B>) {
        let mut made = None;
        let fixture = Self::around(|storage| Arc::clone(made.insert(Arc::new(decorate(storage)))));
        (fixture, made.expect("it was opened on it"))
    }

    /// The same repository, as another host sees it: with an index of its own.
    pub fn elsewhere(&self) -> (Repository, tempfile::TempDir) {
        let cache = tempfile::tempdir().unwrap();
        (Repository::open(self.storage.clone(), &OpenOptions::new(cache.path())).unwrap(), cache)
    }

    /// Backs up a volume of 4 KiB chunks into packs of its own, but for chunks that the repository has.
    pub fn store_fixed(&self, volume: &str, bytes: &[u8]) -> Record {
        self.store(volume, Shape::Fixed, bytes.len() as u64, &fixed_parts(bytes))
    }

    /// Backs up parts. Packs hold about 256 KiB.
    pub fn store(&self, volume: &str, shape: Shape, volume_bytes: u64, parts: &[Part]) -> Record {
        self.repository.refresh_index().unwrap();
        self.store_beside(volume, shape, volume_bytes, parts, true)
    }

    /// As [`store`](Self::store); `deduplicate` says whether chunks are looked up.
    pub fn store_beside(
        &self,
        volume: &str,
        shape: Shape,
        volume_bytes: u64,
        parts: &[Part],
        deduplicate: bool,
    ) -> Record {
        let repository = &self.repository;
        let session = repository.start_session("test").unwrap();
        let (mut data_packs, mut map_packs) = (Vec::new(), Vec::new());
        let mut seen = std::collections::HashSet::new();
        let mut new = Vec::new();
        for part in parts {
            let (Part::Chunk(bytes) | Part::Claimed(bytes, _)) = part else { continue };
            let id = repository.ids().chunk(bytes);
            let mut places = Vec::new();
            if deduplicate {
                repository.locate(&[id], &mut places).unwrap();
            }
            match places.pop().flatten() {
                Some(place) => data_packs.push(place.pack.id()),
                None if seen.insert(id) => new.push((id, bytes.clone())),
                None => {}
            }
        }
        let mut builder = session.pack_builder(Content::Data).with_target_bytes(256 << 10);
        let mut packs = Vec::new();
        for (number, group) in new.chunks(FRAME_CHUNKS).enumerate() {
            let plain: Vec<u8> = group.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
            let chunks = group.iter().map(|(id, bytes)| FrameChunk { id: *id, length: bytes.len() as u32 }).collect();
            // Of both kinds.
            let compression = if number % 3 == 2 { Compression::None } else { Compression::Zstd(1) };
            packs.extend(builder.push(frame::encode(&plain, chunks, true, compression).unwrap()).unwrap());
        }
        packs.extend(builder.finish().unwrap());
        for pack in &packs {
            session.store_pack(pack).unwrap();
            data_packs.push(pack.id());
        }

        let mut nodes = Vec::new();
        let mut sink = |id, bytes| {
            nodes.push((id, bytes));
            Ok(())
        };
        let mut builder = MapBuilder::new(shape, repository.ids().clone());
        for part in parts {
            match (part, shape) {
                (Part::Zeros(bytes), Shape::Fixed) => {
                    builder.push_zeros(bytes.div_ceil(CHUNK as u64), &mut sink).unwrap();
                }
                (Part::Zeros(bytes), Shape::Variable) => builder.push_zeros(*bytes, &mut sink).unwrap(),
                (Part::Chunk(bytes), _) => {
                    builder.push_chunk(repository.ids().chunk(bytes), bytes.len() as u32, &mut sink).unwrap();
                }
                (Part::Claimed(bytes, length), _) => {
                    builder.push_chunk(repository.ids().chunk(bytes), *length, &mut sink).unwrap();
                }
            }
        }
        let map = builder.finish(&mut sink).unwrap();
        let mut builder = session.pack_builder(Content::Map);
        let mut packs = Vec::new();
        for (id, bytes) in &nodes {
            let mut places = Vec::new();
            repository.locate(&[*id], &mut places).unwrap();
            if let Some(place) = places.pop().flatten() {
                map_packs.push(place.pack.id());
                continue;
            }
            let chunk = FrameChunk { id: *id, length: bytes.len() as u32 };
            packs.extend(
                builder.push(frame::encode(bytes, vec![chunk], false, Compression::default()).unwrap()).unwrap(),
            );
        }
        packs.extend(builder.finish().unwrap());
        for pack in &packs {
            session.store_pack(pack).unwrap();
            map_packs.push(pack.id());
        }
        for packs in [&mut data_packs, &mut map_packs] {
            packs.sort_unstable();
            packs.dedup();
        }

        let chunking = match shape {
            Shape::Fixed => Chunking::Fixed,
            Shape::Variable => Chunking::Content { minimum: 1024, average: 4096, maximum: 65536 },
        };
        let mut record = Record {
            id: BackupId::random().unwrap(),
            volume: VolumeId::new(volume).unwrap(),
            created_at: Timestamp::now(),
            volume_bytes,
            name: None,
            description: None,
            parent: None,
            chunking,
            compression: "zstd:1".to_owned(),
            statistics: Statistics::default(),
            attributes: BTreeMap::new(),
            chunk_bytes: self.repository.descriptor().chunk_size.bytes(),
            hints_complete: true,
            data_packs,
            map_packs,
            map,
            session: SessionId::from_bytes([0; 16]),
        };
        session.commit(&mut record).unwrap();
        record
    }

    /// Name of a pack's object.
    pub fn pack(&self, id: PackId) -> ObjectName {
        ObjectName::new(self.repository.pack_object(id).unwrap()).unwrap()
    }

    /// Changes the bytes of an object; none removes it.
    pub fn change(&self, object: &ObjectName, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
        let bytes = self.storage.get(object, u64::MAX).unwrap();
        self.storage.delete(object).unwrap();
        if let Some(bytes) = change(bytes) {
            self.storage.put(object, &[&bytes]).unwrap();
        }
    }

    pub fn verify(&self, options: &VerifyOptions) -> VerifyReport {
        self.engine.verify(&self.repository, options, &Control::default()).unwrap()
    }

    /// With all data.
    pub fn verify_all(&self) -> VerifyReport {
        self.verify(&VerifyOptions { backups: None, read_data: ReadData::All })
    }

    /// Restores to memory.
    pub fn stream(&self, record: &Record) -> Result<Vec<u8>, cinderblock_pipeline::Error> {
        let mut bytes = Vec::new();
        self.engine.restore_to_writer(&self.repository, record, &mut bytes, &Control::default())?;
        Ok(bytes)
    }
}

/// The names in a folder.
pub fn names(folder: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
