//! Reading what is in a repository without the help of the index: for verification, and as the last resort of readers.

use std::collections::HashSet;
use std::sync::Arc;

use cinderblock_backend::for_each_in_flight;

use crate::deletion::{self, Deletion};
use crate::error::Error;
use crate::id::{ChunkId, PackId, SegmentId};
use crate::layout;
use crate::listing;
use crate::pack::PackReader;
use crate::repository::{Location, Repository};
use crate::segment;

impl Repository {
    /// The index segments that there are, in no particular order.
    ///
    /// # Errors
    /// What the storage says.
    pub fn list_segments(&self) -> Result<Vec<SegmentId>, Error> {
        listing::segments(&*self.backend)
    }

    /// The packs that there are, whether a segment names them or not, each with the length of its object in bytes, in
    /// no particular order.
    ///
    /// # Errors
    /// What the storage says.
    pub fn list_packs(&self) -> Result<Vec<(PackId, u64)>, Error> {
        listing::packs(&*self.backend)
    }

    /// Reads an index segment and checks it; the packs that it names.
    ///
    /// # Errors
    /// [`Error::Damaged`], or what the storage says.
    pub fn check_segment(&self, id: SegmentId) -> Result<Vec<PackId>, Error> {
        let (_, packs) = segment::read(&*self.backend, self.seal(), id)?;
        Ok(packs.iter().map(|pack| pack.id).collect())
    }

    /// Removes a segment that is damaged, after a rebuild of the index has read the packs themselves; whether it did. It stays where
    /// the storage does not let this process delete.
    ///
    /// # Errors
    /// What the storage says.
    pub fn remove_damaged_segment(&self, id: SegmentId) -> Result<bool, Error> {
        match segment::read(&*self.backend, self.seal(), id) {
            Err(error) if error.is_damage() => {
                Ok(deletion::delete(&*self.backend, &layout::segment(id)?)? == Deletion::Done)
            }
            Err(Error::Backend(error)) if error.is_not_found() => Ok(false),
            other => other.map(|_| false),
        }
    }

    /// Name of an index segment's object.
    ///
    /// # Errors
    /// None for an id that was listed.
    pub fn segment_object(&self, id: SegmentId) -> Result<String, Error> {
        Ok(layout::segment(id)?.to_string())
    }

    /// Name of a pack's object.
    ///
    /// # Errors
    /// None for an id that was listed.
    pub fn pack_object(&self, id: PackId) -> Result<String, Error> {
        Ok(layout::pack(id)?.to_string())
    }

    /// Forgets the packs' directories and the map nodes that are in memory: for a reader that finds a pack gone because a garbage
    /// collector moved what is in it, and for one that wants to see what the storage holds now.
    pub fn forget_packs(&self) {
        self.neighbourhood.clear();
        self.nodes.clear();
        if let Some(directories) = &self.directories {
            directories.renew();
        }
        self.forget_damage();
    }

    /// Forgets what is in memory and brings the index up to date, for a reader that misses something: a garbage collector may have
    /// moved it, or a listing did not show yet what the reader has heard of. It waits until listings show all that there is now.
    ///
    /// # Errors
    /// What the storage or the index says.
    pub fn catch_up(&self) -> Result<(), Error> {
        let delay = self.backend.settle_delay();
        if !delay.is_zero() {
            self.clock().sleep(delay);
        }
        self.forget_packs();
        self.refresh_index()
    }

    /// Calls `visit` for every copy of the wanted chunks that is not known to be damaged, in any readable pack, whether the index knows it or not. It
    /// reads the directory of every pack that is not in memory: this is for when [`locate`](Repository::locate)
    /// found nothing, or what it found turned out to be damaged.
    ///
    /// Where a pack goes meanwhile, a garbage collector may have copied what was in it to a pack that came after the listing: it looks
    /// again then, and a copy may be visited twice.
    ///
    /// # Errors
    /// What the storage says; packs that are damaged or gone are passed over.
    pub fn search(&self, wanted: &HashSet<ChunkId>, visit: &mut dyn FnMut(ChunkId, Location)) -> Result<(), Error> {
        let mut gone: HashSet<PackId> = HashSet::new();
        for _ in 0..MAX_SEARCHES {
            let before = gone.len();
            let packs = self.list_packs()?;
            for (at, (id, _)) in packs.iter().copied().enumerate() {
                if at % AHEAD == 0 {
                    let ahead: Vec<PackId> = packs.iter().skip(at).take(AHEAD).map(|(id, _)| *id).collect();
                    self.load_packs(&ahead);
                }
                let pack = match self.pack(id) {
                    Ok(pack) => pack,
                    Err(Error::PackMissing { .. }) => {
                        gone.insert(id);
                        continue;
                    }
                    Err(error) if error.is_damage() => continue,
                    Err(error) => return Err(error),
                };
                let damaged = self.damaged_slots(id)?;
                for (slot, id) in (0..).zip(pack.directory().ids()) {
                    if wanted.contains(id) && !damaged.contains(slot) {
                        visit(*id, Location { pack: pack.clone(), slot });
                    }
                }
            }
            if gone.len() == before {
                break;
            }
            let delay = self.backend.settle_delay();
            if !delay.is_zero() {
                self.clock().sleep(delay);
            }
        }
        Ok(())
    }

    /// Has the directories of packs in memory, if the storage wants several requests at once. It is a hint.
    pub(crate) fn load_packs(&self, packs: &[PackId]) {
        let in_flight = self.backend.requests_in_flight();
        if in_flight > 1 {
            let _ = for_each_in_flight(in_flight, packs, |id| self.pack(*id).map(drop).or(Ok::<(), Error>(())));
        }
    }

    /// Calls `visit` for the copies of the wanted chunks that [`search`](Repository::search) leaves out: those that are known to be damaged, and
    /// those in packs whose directory can't be read, where a segment tells where they are. Their bytes may be right all the same.
    ///
    /// # Errors
    /// What the storage says.
    pub fn search_damaged(
        &self,
        wanted: &HashSet<ChunkId>,
        visit: &mut dyn FnMut(ChunkId, Location),
    ) -> Result<(), Error> {
        let mut broken: HashSet<PackId> = HashSet::new();
        for (id, _) in self.list_packs()? {
            let damaged = self.damaged_slots(id)?;
            match self.pack(id) {
                Ok(pack) => {
                    for (slot, id) in (0..).zip(pack.directory().ids()).filter(|(slot, _)| damaged.contains(*slot)) {
                        if wanted.contains(id) {
                            visit(*id, Location { pack: Arc::clone(&pack), slot });
                        }
                    }
                }
                Err(Error::PackMissing { .. }) => {}
                Err(error) if error.is_damage() => drop(broken.insert(id)),
                Err(error) => return Err(error),
            }
        }
        if broken.is_empty() {
            return Ok(());
        }
        for segment in self.list_segments()? {
            let (session, packs) = match segment::read(&*self.backend, self.seal(), segment) {
                Ok(read) => read,
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            for pack in packs {
                if !broken.remove(&pack.id) {
                    continue;
                }
                let pack = match PackReader::of_summary((&*self.backend, self.seal()), session, pack) {
                    Ok(pack) => Arc::new(pack),
                    // Its salt is gone too, and with that its frames.
                    Err(error) if error.is_damage() => continue,
                    Err(error) => return Err(error),
                };
                for (slot, id) in (0..).zip(pack.directory().ids()).filter(|(_, id)| wanted.contains(id)) {
                    visit(*id, Location { pack: Arc::clone(&pack), slot });
                }
            }
        }
        Ok(())
    }
}

/// Packs whose directories are read together.
pub(crate) const AHEAD: usize = 32;

/// Times that a search looks at all packs, while some of them go.
const MAX_SEARCHES: usize = 5;

#[cfg(test)]
mod tests {
    use cinderblock_backend::{Backend, Memory};
    use cinderblock_chunker::ChunkSize;

    use super::*;
    use crate::pack::{Content, frame};
    use crate::repository::OpenOptions;

    #[test]
    fn every_copy_is_found_and_segments_name_their_packs() -> Result<(), Box<dyn std::error::Error>> {
        let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
        Repository::create(&*storage, ChunkSize::DEFAULT)?;
        let repository = Repository::open(storage.clone(), &OpenOptions::new(cache.path()))?;
        let chunk = frame::FrameChunk { id: ChunkId::of(b"twice"), length: 5 };
        let mut stored = HashSet::new();
        for _ in 0..2 {
            let session = repository.start_session("test")?;
            let mut packs = session.pack_builder(Content::Data);
            packs.push(frame::encode(b"twice", vec![chunk], false, frame::Compression::None)?)?;
            let pack = packs.finish()?.ok_or("no pack")?;
            session.store_pack(&pack)?;
            stored.insert(pack.id());
        }
        let mut found = HashSet::new();
        repository.search(&HashSet::from([chunk.id]), &mut |id, place| {
            assert_eq!((id, place.slot), (chunk.id, 0));
            found.insert(place.pack.id());
        })?;
        assert_eq!(found, stored);
        let listed: HashSet<PackId> = repository.list_packs()?.into_iter().map(|(id, _)| id).collect();
        assert_eq!(listed, stored);
        let mut named = HashSet::new();
        for id in repository.list_segments()? {
            named.extend(repository.check_segment(id)?);
        }
        assert_eq!(named, stored);

        let gone = *stored.iter().next().ok_or("no pack")?;
        storage.delete(&layout::pack(gone)?)?;
        assert!(repository.pack(gone).is_ok(), "its directory is still in memory");
        repository.forget_packs();
        assert!(matches!(repository.pack(gone), Err(Error::PackMissing { pack }) if pack == gone));
        Ok(())
    }
}
