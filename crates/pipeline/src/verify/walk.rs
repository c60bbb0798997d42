//! Walking the maps of backups: what of each volume is lost.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cinderblock_chunker::Extent;
use cinderblock_store::map::{Leaf, PieceContent};
use cinderblock_store::{
    BackupId, ChunkId, Error as StoreError, Location, PackId, Record, Repository, SessionId, VolumeId,
};

use super::data::Damage;
use super::report::{DamagedObject, in_full};
use super::{add_extent, merged};
use crate::engine::Control;
use crate::error::Error;

/// Memory that an id in a set takes, in bytes, with room to grow.
const BYTES_PER_ID: usize = 72;

/// What was found about one backup.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Merged, in order.
    pub lost: Vec<Extent>,
    /// Why its record can't be read.
    pub reason: Option<String>,
    /// Damaged objects that were met.
    pub objects: Vec<DamagedObject>,
    /// The session that wrote the record, if that can be read.
    pub session: Option<SessionId>,
}

/// Walks maps, from several threads.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) repository: &'a Repository,
    control: &'a Control,
    /// Chunks and nodes that are known to be lost.
    lost: Mutex<HashSet<ChunkId>>,
    /// Chunks that the index does not know, and their lengths where a pack has them all the same.
    searched: Mutex<HashMap<ChunkId, Option<u32>>>,
    /// Leaves in which nothing is lost.
    fine: Mutex<HashSet<ChunkId>>,
    max_fine: usize,
    refreshed: Mutex<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Walk<'a> {
    /// `memory_bytes`: for what is remembered of leaves that backups share.
    pub(super) fn new(repository: &'a Repository, control: &'a Control, memory_bytes: usize) -> Self {
        Self {
            repository,
            control,
            lost: Mutex::default(),
            searched: Mutex::default(),
            fine: Mutex::default(),
            max_fine: memory_bytes / BYTES_PER_ID,
            refreshed: Mutex::new(false),
        }
    }

    /// From here on, chunks that were found damaged count as lost.
    pub(super) fn judge_by(&self, damage: &Damage) {
        *lock(&self.lost) = damage.chunks();
        lock(&self.fine).clear();
    }

    /// Reads a record. None where the backup was deleted meanwhile, unless it was `chosen`.
    fn record(
        &self,
        volume: &VolumeId,
        id: BackupId,
        chosen: bool,
    ) -> Result<Result<Option<Record>, StoreError>, Error> {
        // Of all others it is asked at the end, at once, whether they count.
        let record = match chosen {
            true => self.repository.record(volume, id),
            false => self.repository.unchecked_record(volume, id),
        };
        match record {
            Ok(record) => Ok(Ok(Some(record))),
            Err(StoreError::BackupNotFound { .. }) if !chosen => Ok(Ok(None)),
            Err(error) if error.is_damage() => Ok(Err(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// The packs that hold the chunks and nodes of a backup, as far as they are found.
    pub(super) fn packs(&self, volume: &VolumeId, id: BackupId) -> Result<HashSet<PackId>, Error> {
        let Ok(Some(record)) = self.record(volume, id, true)? else { return Ok(HashSet::new()) };
        let mut packs: HashSet<PackId> = record.map_packs.iter().copied().collect();
        let mut places = Vec::new();
        for leaf in self.repository.leaves(&record, 0..record.volume_bytes).flatten() {
            self.control.cancel.check(false)?;
            let ids: Vec<ChunkId> = leaf.id.into_iter().chain(chunks(&leaf).map(|(id, _)| id)).collect();
            self.repository.locate(&ids, &mut places)?;
            packs.extend(places.iter().flatten().map(|place| place.pack.id()));
        }
        Ok(packs)
    }

    /// Finds out what of a backup is lost. None where it was deleted meanwhile, unless it was `chosen`.
    pub(super) fn backup(&self, volume: &VolumeId, id: BackupId, chosen: bool) -> Result<Option<Findings>, Error> {
        let mut findings = Findings::default();
        let record = match self.record(volume, id, chosen)? {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(error) => {
                findings.reason = Some(in_full(&error));
                findings
                    .objects
                    .push(DamagedObject::new(self.repository.record_object(volume, id)?.to_string(), error));
                return Ok(Some(findings));
            }
        };
        findings.session = Some(record.session);
        let mut lost = Vec::new();
        let mut position = 0;
        'again: loop {
            for leaf in self.repository.leaves(&record, position..record.volume_bytes) {
                self.control.cancel.check(false)?;
                match leaf {
                    Ok(leaf) => {
                        position = leaf.offset + leaf.length;
                        self.leaf(&record, &leaf, &mut lost, &mut findings)?;
                    }
                    Err(unreadable) if !unreadable.error.is_damage() => return Err(unreadable.error.into()),
                    Err(unreadable) => {
                        if self.can_be_found(&unreadable.error)? {
                            continue 'again;
                        }
                        position = unreadable.offset + unreadable.length;
                        add_extent(&mut lost, Extent { offset: unreadable.offset, length: unreadable.length });
                        if let StoreError::Damaged { object, offset, reason } = unreadable.error {
                            // A node that does not fit into its map has no object of its own.
                            let object = match object.starts_with("packs/") {
                                true => object,
                                false => self.repository.record_object(&record.volume, record.id)?.to_string(),
                            };
                            findings.objects.push(DamagedObject { object, offset, reason });
                        }
                    }
                }
            }
            break;
        }
        findings.lost = merged(lost);
        Ok(Some(findings))
    }

    /// Brings the index up to date, once: a garbage collector may have moved what is missing. Whether it did.
    fn refresh(&self) -> Result<bool, Error> {
        let mut refreshed = lock(&self.refreshed);
        if !*refreshed {
            self.repository.catch_up()?;
        }
        Ok(!std::mem::replace(&mut refreshed, true))
    }

    /// Whether a map node that could not be read can be now.
    fn can_be_found(&self, error: &StoreError) -> Result<bool, Error> {
        let gone = match error {
            StoreError::ChunkMissing { .. } | StoreError::PackMissing { .. } => true,
            StoreError::Backend(error) => error.is_not_found(),
            _ => false,
        };
        if gone && self.refresh()? {
            return Ok(true);
        }
        let StoreError::ChunkMissing { id } = error else { return Ok(false) };
        if lock(&self.searched).contains_key(id) {
            return Ok(false);
        }
        // Looking for it loads the directory that has it.
        self.search(&HashSet::from([*id]))?;
        Ok(lock(&self.searched).get(id).is_some_and(Option::is_some))
    }

    fn search(&self, missing: &HashSet<ChunkId>) -> Result<(), Error> {
        let mut found: HashMap<ChunkId, Option<u32>> = missing.iter().map(|id| (*id, None)).collect();
        self.repository.search(missing, &mut |id, Location { pack, slot }| {
            found.insert(id, pack.directory().place(slot).map(|place| place.length));
        })?;
        lock(&self.searched).extend(found);
        Ok(())
    }

    fn leaf(&self, record: &Record, leaf: &Leaf, lost: &mut Vec<Extent>, findings: &mut Findings) -> Result<(), Error> {
        // The last leaf of a volume may hold a shorter chunk than the same leaf elsewhere.
        let id = leaf.id.filter(|_| leaf.offset + leaf.length < record.volume_bytes);
        if id.is_some_and(|id| lock(&self.fine).contains(&id)) {
            return Ok(());
        }
        if leaf.id.is_some_and(|id| lock(&self.lost).contains(&id)) {
            // It was readable now, and was not when its pack was checked, or in a cache.
            add_extent(lost, Extent { offset: leaf.offset, length: leaf.length });
            return Ok(());
        }
        let ids: Vec<ChunkId> = chunks(leaf).map(|(id, _)| id).collect();
        let mut places = Vec::new();
        self.repository.locate(&ids, &mut places)?;
        if places.iter().any(Option::is_none) && self.refresh()? {
            self.repository.locate(&ids, &mut places)?;
        }
        let mut missing: HashSet<ChunkId> =
            ids.iter().zip(&places).filter(|(_, place)| place.is_none()).map(|(id, _)| *id).collect();
        missing.retain(|id| !lock(&self.searched).contains_key(id));
        if !missing.is_empty() {
            self.search(&missing)?;
        }
        let mut whole = true;
        let known_lost = lock(&self.lost);
        let searched = lock(&self.searched);
        for ((id, extent), place) in chunks(leaf).zip(places) {
            let length = match place {
                Some(Location { pack, slot }) => pack.directory().place(slot).map(|place| place.length),
                None => searched.get(&id).copied().flatten(),
            };
            if length.is_none() || known_lost.contains(&id) {
                whole = false;
                add_extent(lost, extent);
            } else if length.map(u64::from) != Some(extent.length) {
                whole = false;
                add_extent(lost, extent);
                // One is enough: a hostile map may have any number of them.
                let object = self.repository.record_object(&record.volume, record.id)?.to_string();
                if findings.objects.last().is_none_or(|last| last.object != object) {
                    let reason =
                        format!("its map gives the chunk at byte {} another length than it has", extent.offset);
                    findings.objects.push(DamagedObject { object, offset: 0, reason });
                }
            }
        }
        if let Some(id) = id
            && whole
        {
            let mut fine = lock(&self.fine);
            if fine.len() < self.max_fine {
                fine.insert(id);
            }
        }
        Ok(())
    }
}

/// The chunks of a leaf, and where they lie in the volume.
fn chunks(leaf: &Leaf) -> impl Iterator<Item = (ChunkId, Extent)> + '_ {
    leaf.pieces.iter().filter_map(|piece| match piece.content {
        PieceContent::Chunk(id) => Some((id, Extent { offset: piece.offset, length: piece.length })),
        PieceContent::Zeros => None,
    })
}
