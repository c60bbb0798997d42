//! What the actors of a simulation do.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cinderblock_backend::simulated::ActorHandle;
use cinderblock_backend::{AppendOnly, Backend};

use super::model::{CHUNK, Known, Model, VOLUME_CHUNKS, Volume, chunk};
use super::plot::Plot;
use crate::clock::Clock;
use crate::directory_cache::DirectoryCache;
use crate::error::Error;
use crate::gc::Observer;
use crate::id::{BackupId, ChunkId, Ids, PackId, VolumeId};
use crate::key::Secret;
use crate::map::{MapBuilder, Node, PieceContent, Shape};
use crate::pack::frame::{self, Compression, FrameChunk};
use crate::pack::{Content, PackBuilder};
use crate::random::seeded;
use crate::record::{Chunking, Record, Statistics};
use crate::repository::{Location, OpenOptions, Repository};
use crate::session::Session;
use crate::time::Timestamp;

/// The clock of an actor, which may be wrong.
struct ActorClock(ActorHandle);

impl std::fmt::Debug for ActorClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ActorClock")
    }
}

impl Clock for ActorClock {
    fn now(&self) -> Timestamp {
        let since = self.0.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_microseconds(since.as_micros() as i64)
    }

    fn sleep(&self, duration: Duration) {
        self.0.sleep(duration);
    }
}

/// A number below `limit` that the actor's seed determines.
pub(super) fn below(limit: u64) -> u64 {
    seeded::next().expect("a seed") % limit.max(1)
}

/// Whether something that happens once in `n` times does.
pub(super) fn once_in(n: u64) -> bool {
    below(n) == 0
}

/// What opens the repositories that are encrypted.
pub(super) fn secret() -> Secret {
    Secret::key_file(format!("cinderblock-key-1:{}", "09".repeat(32)).as_bytes()).expect("a key file")
}

pub(super) fn open(backend: Arc<dyn Backend>, clock: Option<ActorHandle>) -> Result<Repository, Error> {
    let mut options = OpenOptions::new(PathBuf::from("/nonexistent"));
    options.index_in_memory = true;
    if let Some(handle) = clock {
        options.clock = Arc::new(ActorClock(handle));
    }
    match Repository::open(Arc::clone(&backend), &options) {
        Err(Error::SecretMissing { .. }) => {
            options.secret = Some(secret());
            Repository::open(backend, &options)
        }
        opened => opened,
    }
}

/// A process: opens the repository again now and then, as commands do, and mostly goes on with what it has in memory.
pub(super) struct Process<'m> {
    pub handle: ActorHandle,
    pub model: &'m Model,
    plot: Plot,
    repository: Option<Repository>,
    /// It may not delete anything.
    append_only: bool,
    /// It keeps the directories of packs, as on a storage that is far away. Every third process does.
    kept: Option<tempfile::TempDir>,
}

impl<'m> Process<'m> {
    pub fn new(handle: ActorHandle, model: &'m Model, plot: Plot, seed: u64) -> Self {
        seeded::seed(Some(seed));
        let kept = seed.is_multiple_of(3).then(|| tempfile::tempdir().expect("a folder"));
        Self { handle, model, plot, repository: None, append_only: false, kept }
    }

    pub(super) fn repository(&mut self) -> Option<Repository> {
        match self.repository.take() {
            Some(repository) if !once_in(3) => Some(repository),
            _ => {
                let backend = self.handle.backend();
                let backend = if self.append_only { Arc::new(AppendOnly::new(backend)) } else { backend };
                let mut repository = open(backend, Some(self.handle.clone())).ok()?;
                repository.directories = self.kept.as_ref().map(|folder| DirectoryCache::new(folder.path().to_owned()));
                Some(repository)
            }
        }
    }

    /// Goes on with it next time, if it does not open it anew.
    pub(super) fn keep(&mut self, repository: Repository) {
        self.repository = Some(repository);
    }

    pub(super) fn rest(&self) {
        let times = [0, 1, 60, 600, 7200];
        self.handle.sleep(Duration::from_secs(times[below(times.len() as u64) as usize]));
    }

    /// Backs up volumes that have much in common. Some writers may not delete anything.
    pub fn write(mut self) {
        self.append_only = self.plot.appends_only();
        for _ in 0..1 + below(4) {
            self.rest();
            let Some(repository) = self.repository() else { continue };
            let mut volume = Volume::new();
            for _ in 0..1 + below(8) {
                let area = if once_in(2) { 0 } else { 1024 };
                volume.insert(area + below(6), below(10));
            }
            if let Err(error) = self.back_up(&repository, volume) {
                self.expect_trouble("a backup", &error);
            }
            self.keep(repository);
        }
    }

    fn back_up(&self, repository: &Repository, volume: Volume) -> Result<(), Error> {
        let id = BackupId::random()?;
        let known = Known { volume: volume.clone(), committed: false, refused: false, deleted: false };
        self.model.backups().insert(id, known);
        let session = repository.start_session("simulated")?;
        session.use_kept_directories();
        let mut record = write_volume(repository, &session, id, &volume, || self.work(&session))?;
        let outcome = session.commit(&mut record);
        let mut backups = self.model.backups();
        let known = backups.get_mut(&id).expect("just put there");
        match &outcome {
            Ok(()) => known.committed = !self.handle.has_crashed(),
            Err(Error::Fenced { .. }) => known.refused = true,
            Err(_) => {}
        }
        outcome
    }

    /// Is at work on a large volume for a while.
    fn work(&self, session: &Session<'_>) -> Result<(), Error> {
        for _ in 0..self.plot.renewals() {
            self.handle.sleep(Duration::from_secs([1, 600, 1300, 100_000][below(self.plot.patience()) as usize]));
            session.stay()?;
        }
        Ok(())
    }

    /// Reads backups that are there.
    pub fn read(mut self) {
        for _ in 0..2 + below(6) {
            self.rest();
            let Some(repository) = self.repository() else { continue };
            let Some((volume, id)) = any_backup(&repository) else { continue };
            if let Ok(record) = repository.record(&volume, id)
                && let Err(error) = check(&repository, &record, self.model)
            {
                self.read_failed(id, &error);
            }
            self.keep(repository);
        }
    }

    /// A backup that was reported as committed, and that nobody deletes, can always be read.
    fn read_failed(&self, id: BackupId, error: &Error) {
        let known = self.model.backups().get(&id).cloned();
        let lasting = known.is_some_and(|known| known.committed && !known.deleted);
        if error.is_damage() && lasting && !self.handle.has_crashed() && !self.model.has_rotted() {
            self.model.violated(format!("a reader could not read backup {id}: {error}"));
        }
    }

    /// Deletes some.
    pub fn delete(mut self) {
        for _ in 0..1 + below(4) {
            self.rest();
            let Some(repository) = self.repository() else { continue };
            let Some((volume, id)) = any_backup(&repository) else { continue };
            if let Some(known) = self.model.backups().get_mut(&id) {
                known.deleted = true;
            }
            let _ = repository.delete_backup(&volume, id);
            self.keep(repository);
        }
    }

    /// Collects garbage.
    pub fn collect(mut self) {
        for _ in 0..self.plot.collections() {
            self.rest();
            let Some(repository) = self.repository() else { continue };
            let options = self.plot.options();
            if let Err(error) = repository.collect_garbage(&options, &Observer::new(&|_| true)) {
                self.expect_trouble("a collection", &error);
            }
            self.keep(repository);
        }
    }

    /// Operations may fail; damage is nothing that the weather brings, but bits that flip.
    fn expect_trouble(&self, what: &str, error: &Error) {
        let damage = error.is_damage() && !matches!(error, Error::Backend(_));
        if damage && !self.handle.has_crashed() && !self.model.has_rotted() {
            self.model.violated(format!("{what} met damage: {error}"));
        }
    }
}

/// One of the backups that are there.
fn any_backup(repository: &Repository) -> Option<(VolumeId, BackupId)> {
    let mut backups = repository.backups(None).ok()?;
    backups.sort_unstable();
    (!backups.is_empty()).then(|| backups.swap_remove(below(backups.len() as u64) as usize))
}

/// Nodes of a map, with their bytes.
pub(super) type Nodes = Vec<(ChunkId, Vec<u8>)>;

/// The root of a volume's map, and all nodes below it.
pub(super) fn nodes_of(ids: &Ids, volume: &Volume) -> Result<(Node, Nodes), Error> {
    let (mut nodes, mut map) = (Nodes::new(), MapBuilder::new(Shape::Fixed, ids.clone()));
    let mut sink = |id, bytes: Vec<u8>| {
        nodes.push((id, bytes));
        Ok(())
    };
    let mut at = 0;
    for (position, seed) in volume {
        if *position > at {
            map.push_zeros(position - at, &mut sink)?;
        }
        map.push_chunk(ids.chunk(&chunk(*seed)), CHUNK as u32, &mut sink)?;
        at = position + 1;
    }
    map.push_zeros(VOLUME_CHUNKS - at, &mut sink)?;
    let root = map.finish(&mut sink)?;
    Ok((root, nodes))
}

/// Stores what is missing of a volume; its record.
fn write_volume(
    repository: &Repository,
    session: &Session<'_>,
    id: BackupId,
    volume: &Volume,
    work: impl FnOnce() -> Result<(), Error>,
) -> Result<Record, Error> {
    let chunks: BTreeMap<ChunkId, Vec<u8>> =
        volume.values().map(|seed| chunk(*seed)).map(|bytes| (repository.ids().chunk(&bytes), bytes)).collect();
    let (root, nodes) = nodes_of(repository.ids(), volume)?;
    let data_packs = store(session, Content::Data, &chunks.into_iter().collect::<Vec<_>>())?;
    work()?;
    let map_packs = store(session, Content::Map, &nodes)?;
    Ok(Record {
        id,
        volume: VolumeId::new("v")?,
        created_at: Timestamp::from_microseconds(0),
        volume_bytes: VOLUME_CHUNKS * CHUNK as u64,
        name: None,
        description: None,
        parent: None,
        chunking: Chunking::Fixed,
        compression: "zstd:1".to_owned(),
        statistics: Statistics::default(),
        attributes: BTreeMap::new(),
        chunk_bytes: repository.descriptor().chunk_size.bytes(),
        hints_complete: true,
        data_packs,
        map_packs,
        map: root,
        session: session.id(),
    })
}

/// Stores those of `chunks` that have no place yet, in small packs; the packs that they are all in.
fn store(session: &Session<'_>, content: Content, chunks: &[(ChunkId, Vec<u8>)]) -> Result<Vec<PackId>, Error> {
    let ids: Vec<ChunkId> = chunks.iter().map(|(id, _)| *id).collect();
    let mut places = Vec::new();
    session.locate(&ids, &mut places)?;
    let mut used: BTreeSet<PackId> = places.iter().flatten().map(|place| place.pack.id()).collect();
    let mut packs = session.pack_builder(content).with_target_bytes(400);
    let mut put = |builder: &mut PackBuilder, frame| -> Result<(), Error> {
        if let Some(pack) = builder.push(frame)? {
            used.insert(pack.id());
            session.store_pack(&pack)?;
        }
        Ok(())
    };
    let missing: Vec<_> = chunks.iter().zip(&places).filter(|(_, place)| place.is_none()).map(|(new, _)| new).collect();
    for group in missing.chunks(2) {
        let plain: Vec<u8> = group.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let listed = group.iter().map(|(id, bytes)| FrameChunk { id: *id, length: bytes.len() as u32 }).collect();
        put(&mut packs, frame::encode(&plain, listed, content == Content::Data, Compression::default())?)?;
    }
    if let Some(pack) = packs.finish()? {
        used.insert(pack.id());
        session.store_pack(&pack)?;
    }
    if once_in(2) {
        session.flush()?;
    }
    Ok(used.into_iter().collect())
}

/// Reads every chunk of a backup, as a restore does: where the index leads nowhere, once more with a new one, and then in all packs.
pub(super) fn check(repository: &Repository, record: &Record, model: &Model) -> Result<(), Error> {
    let first = check_once(repository, record, model);
    match first {
        Err(error) if error.is_damage() => {
            repository.catch_up()?;
            check_once(repository, record, model)
        }
        other => other,
    }
}

fn check_once(repository: &Repository, record: &Record, model: &Model) -> Result<(), Error> {
    let mut found = Volume::new();
    for leaf in repository.leaves(record, 0..record.volume_bytes) {
        let leaf = leaf.map_err(|unreadable| unreadable.error)?;
        for piece in leaf.pieces {
            let PieceContent::Chunk(id) = piece.content else { continue };
            let bytes = read_chunk(repository, id)?;
            let seed = (0..10).find(|seed| chunk(*seed) == bytes);
            found.insert(piece.offset / CHUNK as u64, seed.unwrap_or(u64::MAX));
        }
    }
    let known = model.backups().get(&record.id).map(|known| known.volume.clone());
    if known.as_ref() != Some(&found) {
        model.violated(format!("backup {} has other bytes", record.id));
    }
    Ok(())
}

fn read_chunk(repository: &Repository, id: ChunkId) -> Result<Vec<u8>, Error> {
    let mut places = Vec::new();
    repository.locate(&[id], &mut places)?;
    let mut copies: Vec<Location> = places.into_iter().flatten().collect();
    let mut searched = false;
    loop {
        for location in copies.drain(..) {
            match repository.read_chunk(&id, &location) {
                Err(error) if error.is_damage() => {}
                other => return other,
            }
        }
        if std::mem::replace(&mut searched, true) {
            return Err(Error::ChunkMissing { id });
        }
        repository.forget_packs();
        repository.search(&HashSet::from([id]), &mut |_, location| copies.push(location))?;
    }
}
