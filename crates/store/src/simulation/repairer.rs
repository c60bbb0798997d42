//! Bytes that go bad, and who repairs that.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cinderblock_backend::Backend;

use super::actors::{Process, below, nodes_of};
use super::model::{Model, chunk};
use crate::error::Error;
use crate::id::{ChunkId, Ids, PackId};
use crate::layout;
use crate::listing;
use crate::map::PieceContent;
use crate::pack::frame::{self, Compression, FrameChunk};
use crate::pack::{Content, PackReader};
use crate::repository::{Location, Repository};
use crate::session::Session;

/// Rounds of healing: one for each level of a map, one for the chunks, and one that finds nothing more.
const ROUNDS: usize = 4;

impl Process<'_> {
    /// Lets bits of packs flip.
    pub fn rot(self) {
        for _ in 0..1 + below(3) {
            self.rest();
            flip_a_bit(self.model).expect("the store without its weather");
        }
    }

    /// Repairs, as the command does, with the volumes at hand.
    pub fn repair(mut self) {
        for _ in 0..1 + below(2) {
            self.rest();
            let Some(repository) = self.repository() else { continue };
            let _ = repair(&repository, self.model, &|| self.handle.has_crashed());
            self.keep(repository);
        }
    }
}

/// Flips a bit of some pack, and remembers what may be lost by that.
fn flip_a_bit(model: &Model) -> Result<(), Error> {
    let storage = &*model.storage;
    let packs: BTreeMap<PackId, u64> = listing::packs(storage)?;
    let Some((id, bytes)) = packs.iter().nth(below(packs.len() as u64) as usize).map(|(id, bytes)| (*id, *bytes))
    else {
        return Ok(());
    };
    let Ok(pack) = PackReader::open(storage, model.seal(), id) else { return Ok(()) };
    let at = below(bytes);
    let name = layout::pack(id)?;
    let mut changed = storage.get(&name, bytes)?;
    if let Some(byte) = changed.get_mut(at as usize) {
        *byte ^= 1 << below(8);
    }
    storage.delete(&name)?;
    storage.put(&name, &[&changed])?;
    let directory = pack.directory();
    let frame_of = |at: u64| {
        let frames = directory.frames().len() as u32;
        (0..frames).rev().find(|number| directory.frame_offset(*number).is_some_and(|offset| offset <= at))
    };
    match frame_of(at).filter(|_| at < directory.end()) {
        Some(number) => model.rot(directory.frame_chunks(number).map(|(id, _)| id)),
        None => model.rot(directory.ids().iter().copied()),
    }
    Ok(())
}

/// Notes what is wrong in packs, and stores again what is lost. What has a right copy at the end has to stay.
pub(super) fn repair(repository: &Repository, model: &Model, has_crashed: &dyn Fn() -> bool) -> Result<(), Error> {
    let (mut rotten, times) = (model.rotten().clone(), model.rotted());
    let session = repository.start_session("repair")?;
    repository.forget_packs();
    repository.refresh_index()?;
    for (id, _) in repository.list_packs()? {
        session.stay()?;
        note(repository, &session, id)?;
    }
    repository.remove_stale_notes()?;
    repository.rebuild_index()?;
    repository.refresh_index()?;
    for _ in 0..ROUNDS {
        let lost = lost(repository, &session)?;
        if lost.is_empty() {
            break;
        }
        let is_excused = |id: &ChunkId| rotten.contains_key(id) || model.rotted_since(id, times);
        store(repository, &session, &lost, (model, &is_excused))?;
        repository.refresh_index()?;
    }
    // What no backup needs is not stored again; one that is being made may have found it before it was noted.
    let absent = without_place(repository, &session, rotten.keys().copied().collect())?;
    rotten.retain(|id, _| !absent.contains(id));
    if !has_crashed() {
        model.healed(&rotten);
    }
    Ok(())
}

/// Notes what is wrong in a pack.
fn note(repository: &Repository, session: &Session<'_>, id: PackId) -> Result<(), Error> {
    let pack = match repository.pack(id) {
        Ok(pack) => pack,
        Err(Error::PackMissing { .. }) => return Ok(()),
        Err(error) if error.is_damage() => return repository.note_broken_pack(Some(session.id()), id).map(drop),
        Err(error) => return Err(error),
    };
    let mut wrong = BTreeSet::new();
    for (slot, chunk) in (0..).zip(pack.directory().ids()) {
        match repository.read_chunk(chunk, &Location { pack: pack.clone(), slot }) {
            Ok(_) => {}
            Err(Error::Backend(error)) if error.is_not_found() => return Ok(()),
            Err(error) if error.is_damage() => drop(wrong.insert(slot)),
            Err(error) => return Err(error),
        }
    }
    repository.note_damage(Some(session.id()), id, &wrong).map(drop)
}

/// Chunks and nodes that backups need, and that no pack has that stays.
fn lost(repository: &Repository, session: &Session<'_>) -> Result<HashSet<ChunkId>, Error> {
    let mut absent = HashSet::new();
    for (volume, id) in repository.backups(None)? {
        let record = match repository.record(&volume, id) {
            Ok(record) => record,
            Err(Error::BackupNotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        for leaf in repository.leaves(&record, 0..record.volume_bytes) {
            let leaf = match leaf.map_err(|unreadable| unreadable.error) {
                Ok(leaf) => leaf,
                Err(Error::ChunkMissing { id }) => {
                    absent.insert(id);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let chunks = leaf.pieces.iter().filter_map(|piece| match piece.content {
                PieceContent::Chunk(id) => Some(id),
                PieceContent::Zeros => None,
            });
            absent.extend(without_place(repository, session, chunks.collect())?);
        }
    }
    Ok(absent)
}

/// Those of `ids` that no pack has that stays.
fn without_place(repository: &Repository, session: &Session<'_>, ids: Vec<ChunkId>) -> Result<HashSet<ChunkId>, Error> {
    let mut places = Vec::new();
    session.locate(&ids, &mut places)?;
    let absent = ids.iter().zip(&places).filter(|(_, place)| place.is_none());
    let mut absent: HashSet<ChunkId> = absent.map(|(id, _)| *id).collect();
    if !absent.is_empty() {
        let wanted = absent.clone();
        repository.search(&wanted, &mut |id, location| {
            if !session.avoids(location.pack.id()) {
                absent.remove(&id);
            }
        })?;
    }
    Ok(absent)
}

/// Stores chunks and nodes again: from any copy, or else from the volumes. Only what went bad before it was repaired may need these.
fn store(
    repository: &Repository,
    session: &Session<'_>,
    lost: &HashSet<ChunkId>,
    (model, is_excused): (&Model, &dyn Fn(&ChunkId) -> bool),
) -> Result<(), Error> {
    let mut found: HashMap<ChunkId, (Content, Vec<u8>)> = HashMap::new();
    for _ in 0..ROUNDS {
        let (mut copies, mut gone) = (Vec::new(), false);
        repository.search(lost, &mut |id, location| copies.push((id, location)))?;
        for (id, location) in copies {
            match repository.read_chunk(&id, &location) {
                Ok(bytes) => drop(found.insert(id, (location.pack.content(), bytes))),
                Err(Error::Backend(error)) if error.is_not_found() => gone = true,
                Err(error) if error.is_damage() => {}
                // Not for want of a copy: the storage fails, or this process has crashed.
                Err(error) => return Err(error),
            }
        }
        if !gone {
            break;
        }
        // A collector has copied it elsewhere, and deleted a pack whose directory was in memory. A repair looks once more before it says that anything is lost.
        repository.forget_packs();
        repository.clock().sleep(repository.backend().settle_delay());
    }
    // Unless the backups that needed it have been deleted meanwhile, and a collector has done its work.
    let still_lost = match lost.iter().all(|id| found.contains_key(id) || is_excused(id)) {
        true => HashSet::new(),
        false => self::lost(repository, session)?,
    };
    let mut packs = [Content::Data, Content::Map].map(|content| (content, session.pack_builder(content)));
    let lost: BTreeSet<ChunkId> = lost.iter().copied().collect();
    for id in lost {
        let (content, bytes) = match found.remove(&id) {
            Some(found) => found,
            None if is_excused(&id) => match content_of(repository.ids(), &id, model) {
                Some(content) => content,
                None => continue,
            },
            None if !still_lost.contains(&id) => continue,
            None => {
                model.violated(format!("chunk {id} is lost, and was not damaged since the last repair"));
                continue;
            }
        };
        let listed = vec![FrameChunk { id, length: bytes.len() as u32 }];
        let frame = frame::encode(&bytes, listed, content == Content::Data, Compression::default())?;
        for (_, builder) in packs.iter_mut().filter(|(of, _)| *of == content) {
            if let Some(pack) = builder.push(frame.clone())? {
                session.store_pack(&pack)?;
            }
        }
    }
    for (_, mut builder) in packs {
        if let Some(pack) = builder.finish()? {
            session.store_pack(&pack)?;
        }
    }
    session.flush()
}

/// What a chunk or a node of a map that anybody ever wrote has for content.
fn content_of(ids: &Ids, id: &ChunkId, model: &Model) -> Option<(Content, Vec<u8>)> {
    if let Some(bytes) = (0..10).map(chunk).find(|bytes| ids.chunk(bytes) == *id) {
        return Some((Content::Data, bytes));
    }
    let volumes: Vec<_> = model.backups().values().map(|known| known.volume.clone()).collect();
    let mut nodes = volumes.iter().filter_map(|volume| nodes_of(ids, volume).ok()).flat_map(|(_, nodes)| nodes);
    nodes.find(|(node, _)| node == id).map(|(_, bytes)| (Content::Map, bytes))
}
