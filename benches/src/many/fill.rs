//! A repository of many tiny backups, through the store's own sessions: as if each had been made by a command of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use cinderblock_backend::{Folder, for_each_in_flight};
use cinderblock_chunker::ChunkSize;
use cinderblock_store::map::{MapBuilder, Node, Shape};
use cinderblock_store::pack::Content;
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::{
    BackupId, ChunkId, Chunking, OpenOptions, PackId, Record, Repository, Session, Statistics, Timestamp, VolumeId,
};

/// Leaves of each volume's map: 4 × 1,024 chunks of 32 KiB are 128 MiB.
const LEAVES: u64 = 4;

/// Positions in a leaf.
const POSITIONS: u64 = 1024;

/// Chunks with data in each leaf; the rest is zero.
const CHUNKS_IN_LEAF: u64 = 3;

/// Chunks with data in each volume.
const CHUNKS: u64 = LEAVES * CHUNKS_IN_LEAF;

/// A day, in microseconds.
const DAY: i64 = 86_400_000_000;

/// How many of what to make.
#[derive(Clone, Copy, Debug)]
pub struct Many {
    /// Volumes.
    pub volumes: u64,
    /// Backups of each: one a day, the last one today.
    pub backups: u64,
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Backups.
    pub backups: u64,
    /// Packs, of data and of maps.
    pub packs: u64,
}

/// Makes a repository in the new folder `folder`. Each volume has 128 MiB, 12 chunks of it with data, half of which all volumes share; in
/// each backup one of the others is new. So a backup brings, as one of a real volume of which little changed does, a pack of data, a pack
/// of maps, a segment and a record.
///
/// # Errors
/// The folder exists, or cannot be written.
pub fn fill(folder: &Path, cache: &Path, many: Many) -> Result<Filled> {
    std::fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let backend = Arc::new(Folder::create(folder)?);
    Repository::create(&*backend, ChunkSize::DEFAULT)?;
    let repository = Repository::open(backend, &OpenOptions::new(cache))?;
    let packs = AtomicU64::new(0);
    let shared = Shared::store(&repository, &packs)?;
    let today = Timestamp::now().microseconds();
    let volumes: Vec<u64> = (0..many.volumes).collect();
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    for_each_in_flight(threads, &volumes, |number| {
        let mut volume = Volume::new(*number)?;
        for backup in 0..many.backups {
            let created_at = today.saturating_sub(DAY.saturating_mul((many.backups - backup) as i64));
            volume.back_up(&repository, &shared, backup, created_at, &packs)?;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(Filled { backups: many.volumes * many.backups, packs: packs.into_inner() })
}

/// A chunk's bytes: those of its number, again and again. It is not zero.
fn bytes_of(number: u64) -> Vec<u8> {
    (number + 1).to_le_bytes().repeat(ChunkSize::DEFAULT.bytes() as usize / 8)
}

/// The chunks that all volumes have.
struct Shared {
    ids: Vec<ChunkId>,
    packs: Vec<PackId>,
}

impl Shared {
    fn store(repository: &Repository, packs: &AtomicU64) -> Result<Self> {
        let session = repository.start_session("a benchmark")?;
        let chunks: Vec<_> = (0..CHUNKS / 2).map(bytes_of).collect();
        let chunks: Vec<_> = chunks.iter().map(|bytes| (repository.ids().chunk(bytes), bytes.as_slice())).collect();
        let stored = store(&session, Content::Data, &chunks, packs)?;
        Ok(Self { ids: chunks.into_iter().map(|(id, _)| id).collect(), packs: stored })
    }
}

/// A volume as of its last backup.
struct Volume {
    id: VolumeId,
    number: u64,
    /// Its own chunks, and the pack that each is in.
    own: Vec<(ChunkId, PackId)>,
    /// Its map's leaves, and the pack that each is in.
    leaves: BTreeMap<ChunkId, PackId>,
    parent: Option<BackupId>,
}

impl Volume {
    fn new(number: u64) -> Result<Self> {
        let id = VolumeId::new(format!("volume-{number:04}"))?;
        Ok(Self { id, number, own: Vec::new(), leaves: BTreeMap::new(), parent: None })
    }

    fn back_up(
        &mut self,
        repository: &Repository,
        shared: &Shared,
        backup: u64,
        created_at: i64,
        packs: &AtomicU64,
    ) -> Result<()> {
        let session = repository.start_session("a benchmark")?;
        let count = (CHUNKS - CHUNKS / 2) as usize;
        // Of the first backup all of them are new.
        let changed = if backup == 0 { 0..count } else { backup as usize % count..backup as usize % count + 1 };
        // Above the numbers of the shared ones, and never the same twice.
        let first = CHUNKS + (self.number << 32) + backup * CHUNKS;
        let plain: Vec<_> = changed.clone().map(|at| bytes_of(first + at as u64)).collect();
        let new: Vec<_> = plain.iter().map(|bytes| (repository.ids().chunk(bytes), bytes.as_slice())).collect();
        let pack = store(&session, Content::Data, &new, packs)?.pop().context("no pack was stored")?;
        for (at, (id, _)) in changed.zip(&new) {
            match self.own.get_mut(at) {
                Some(own) => *own = (*id, pack),
                None => self.own.push((*id, pack)),
            }
        }
        let (map, map_packs) = self.map(&session, shared, packs)?;
        let mut data_packs = shared.packs.clone();
        cinderblock_store::merge_hints(&mut data_packs, self.own.iter().map(|(_, pack)| *pack));
        let mut id = [0; 16];
        id[..8].copy_from_slice(&blake3::hash(&first.to_le_bytes()).as_bytes()[..8]);
        id[8..].copy_from_slice(&first.to_be_bytes());
        let id = BackupId::from_bytes(id);
        let chunk = u64::from(ChunkSize::DEFAULT.bytes());
        let mut record = Record {
            id,
            volume: self.id.clone(),
            created_at: Timestamp::from_microseconds(created_at),
            volume_bytes: LEAVES * POSITIONS * chunk,
            name: Some(format!("day {backup}")),
            description: None,
            parent: self.parent.replace(id),
            chunking: Chunking::Fixed,
            compression: Compression::default().to_string(),
            statistics: Statistics {
                read_bytes: CHUNKS * chunk,
                new_bytes: new.len() as u64 * chunk,
                chunks: CHUNKS,
                new_chunks: new.len() as u64,
                zero_chunks: LEAVES * POSITIONS - CHUNKS,
                ..Statistics::default()
            },
            attributes: BTreeMap::new(),
            chunk_bytes: ChunkSize::DEFAULT.bytes(),
            data_packs,
            map_packs,
            hints_complete: true,
            map,
            session: session.id(),
        };
        session.commit(&mut record)?;
        Ok(())
    }

    /// The map of the volume as it is; the leaves that it did not have are stored. Its root, and the packs of its leaves.
    fn map(&mut self, session: &Session<'_>, shared: &Shared, packs: &AtomicU64) -> Result<(Node, Vec<PackId>)> {
        let mut nodes: Vec<(ChunkId, Vec<u8>)> = Vec::new();
        let mut sink = |id, bytes| {
            nodes.push((id, bytes));
            Ok(())
        };
        let mut map = MapBuilder::new(Shape::Fixed, session.repository().ids().clone());
        // By turns, so that no leaf is that of another volume.
        let chunks = shared.ids.iter().zip(&self.own).flat_map(|(shared, (own, _))| [shared, own]);
        for (at, id) in (0..).zip(chunks) {
            map.push_chunk(*id, ChunkSize::DEFAULT.bytes(), &mut sink)?;
            let zeros = if at % CHUNKS_IN_LEAF == CHUNKS_IN_LEAF - 1 { POSITIONS - 2 * CHUNKS_IN_LEAF + 1 } else { 1 };
            map.push_zeros(zeros, &mut sink)?;
        }
        let root = map.finish(&mut sink)?;
        let new: Vec<_> = nodes.iter().filter(|(id, _)| !self.leaves.contains_key(id)).collect();
        let new: Vec<_> = new.into_iter().map(|(id, bytes)| (*id, bytes.as_slice())).collect();
        let pack = store(session, Content::Map, &new, packs)?.pop().context("no leaf is new")?;
        let leaf = |(id, _): &(ChunkId, Vec<u8>)| (*id, self.leaves.get(id).copied().unwrap_or(pack));
        self.leaves = nodes.iter().map(leaf).collect();
        let mut hints = Vec::new();
        cinderblock_store::merge_hints(&mut hints, self.leaves.values().copied());
        Ok((root, hints))
    }
}

/// Stores chunks, or nodes, in packs of one frame each.
fn store(
    session: &Session<'_>,
    content: Content,
    chunks: &[(ChunkId, &[u8])],
    packs: &AtomicU64,
) -> Result<Vec<PackId>> {
    let plain: Vec<u8> = chunks.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    let listed = chunks.iter().map(|(id, bytes)| FrameChunk { id: *id, length: bytes.len() as u32 }).collect();
    let mut builder = session.pack_builder(content);
    let frame = frame::encode(&plain, listed, content == Content::Data, Compression::default())?;
    let mut stored = Vec::new();
    for pack in builder.push(frame)?.into_iter().chain(builder.finish()?) {
        session.store_pack(&pack)?;
        stored.push(pack.id());
    }
    packs.fetch_add(stored.len() as u64, Ordering::Relaxed);
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the bench times has to be what a repository is: else `verify` would find damage, and `gc` would have work that is none.
    #[test]
    fn every_backup_is_whole_and_brings_its_own_packs() {
        use cinderblock_pipeline::{Control, Engine, Settings, VerifyOptions};
        let folder = tempfile::tempdir().unwrap();
        let (place, cache) = (folder.path().join("repository"), folder.path().join("cache"));
        let filled = fill(&place, &cache, Many { volumes: 3, backups: 4 }).unwrap();
        assert_eq!(filled, Filled { backups: 12, packs: 1 + 2 * 12 });
        let repository = Repository::open(Arc::new(Folder::open(&place).unwrap()), &OpenOptions::new(&cache)).unwrap();
        let engine = Engine::new(Settings::default()).unwrap();
        let report = engine.verify(&repository, &VerifyOptions::default(), &Control::default()).unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.backups, report.packs, report.segments), (12, 25, 13));
        let newest = repository.newest_backup(&VolumeId::new("volume-0001").unwrap()).unwrap().unwrap();
        assert_eq!((newest.name.as_deref(), newest.map.level), (Some("day 3"), 1));
    }
}
