//! Finding and reading chunks and map nodes.

use std::ops::Range;
use std::sync::Arc;

use cinderblock_backend::for_each_in_flight;

use crate::error::Error;
use crate::id::{ChunkId, PackId};
use crate::index::{Index, PackEntry};
use crate::layout;
use crate::map::{MapLeaves, Node};
use crate::pack::{Content, Description, PackReader};
use crate::record::Record;
use crate::repository::{Location, Repository};

/// Packs whose directories are read along with the one before them.
const NEIGHBOURS: u32 = 7;

impl Repository {
    /// A pack whose directory is in memory now.
    ///
    /// # Errors
    /// [`Error::PackMissing`], [`Error::Damaged`], or what the storage says.
    pub fn pack(&self, id: PackId) -> Result<Arc<PackReader>, Error> {
        if let Some(pack) = self.neighbourhood.pack(id) {
            return Ok(pack);
        }
        let _loading = self.neighbourhood.loading(id);
        if let Some(pack) = self.neighbourhood.pack(id) {
            return Ok(pack);
        }
        let pack = Arc::new(self.open_pack(id)?.without_hashes());
        let notes = self.damage()?;
        self.neighbourhood.insert(Arc::clone(&pack), notes.get(&id));
        Ok(pack)
    }

    /// A pack by the directory that this host has kept, if a session may use that, or else by the one in the storage, which is kept then.
    fn open_pack(&self, id: PackId) -> Result<PackReader, Error> {
        let Some(directories) = &self.directories else { return PackReader::open(&*self.backend, self.seal(), id) };
        if let Some(kept) = directories.get(&*self.backend, id)? {
            match PackReader::described(self.seal(), id, &kept) {
                Ok(pack) => return Ok(pack),
                Err(_) => directories.forget(id),
            }
        }
        let description = Description::read(&*self.backend, &layout::pack(id)?, id, self.seal().beginning_bytes())?;
        let pack = PackReader::described(self.seal(), id, &description)?;
        directories.keep(id, || description);
        Ok(pack)
    }

    /// A pack with the SHA-256 hashes of its chunks, read anew.
    ///
    /// # Errors
    /// [`Error::PackMissing`], [`Error::Damaged`], or what the storage says.
    pub fn pack_with_hashes(&self, id: PackId) -> Result<PackReader, Error> {
        PackReader::open(&*self.backend, self.seal(), id)
    }

    /// Opens the index, or makes it, as it would be when it is first needed: for who is going to need it and has something else to do meanwhile.
    ///
    /// # Errors
    /// What the storage or the index says.
    pub fn prepare_index(&self) -> Result<(), Error> {
        self.index().map(drop)
    }

    /// Whether this host has an index of the repository, up to date or not.
    pub fn has_index(&self) -> bool {
        crate::index::is_there(self.index_folder())
    }

    /// Reads the notes of damaged chunks, unless they are in memory: looking at the first pack does so, too.
    ///
    /// # Errors
    /// What the storage says.
    pub fn load_notes(&self) -> Result<(), Error> {
        self.damage().map(drop)
    }

    /// Whether the directory of another pack, however full, fits into memory beside those that are there.
    pub fn has_room_nearby(&self) -> bool {
        self.neighbourhood.has_room()
    }

    /// Finds chunks that are in packs whose directory is in memory. `places` has the length of `ids` afterwards.
    pub fn locate_nearby(&self, ids: &[ChunkId], places: &mut Vec<Option<Location>>) {
        places.clear();
        places.resize_with(ids.len(), || None);
        self.neighbourhood.locate(ids, places);
    }

    /// Finds chunks: first in the packs whose directory is in memory, then through the index. `places` has the length of
    /// `ids` afterwards; a chunk without a place is not in the repository as far as this host's index knows, or its
    /// pack is missing or damaged, or its bytes are known to be wrong, so that storing it again is right.
    ///
    /// # Errors
    /// What the storage or the index says.
    pub fn locate(&self, ids: &[ChunkId], places: &mut Vec<Option<Location>>) -> Result<(), Error> {
        self.locate_nearby(ids, places);
        if places.iter().all(Option::is_some) {
            return Ok(());
        }
        match self.locate_by_index(ids, places) {
            // A part of it can't be read. It is a cache: once more, made anew.
            Err(Error::Index { .. }) => {
                self.rebuild_index()?;
                self.locate_by_index(ids, places)
            }
            other => other,
        }
    }

    /// The pack and the slot that this host's index alone has of a chunk, without a look at that pack's directory: for who measures or examines
    /// the index. It goes by a part of the id, so that only the directory tells whether the chunk is there.
    ///
    /// # Errors
    /// What the storage or the index says.
    pub fn indexed_place(&self, id: &ChunkId) -> Result<Option<(PackId, u32)>, Error> {
        let Some(index) = self.index()? else { return Ok(None) };
        Ok(index.locate(id)?.map(|(entry, slot)| (entry.id, slot)))
    }

    fn locate_by_index(&self, ids: &[ChunkId], places: &mut [Option<Location>]) -> Result<(), Error> {
        let Some(index) = self.index()? else { return Ok(()) };
        let damage = self.damage()?;
        for at in 0..ids.len() {
            let (Some(id), Some(None)) = (ids.get(at), places.get(at)) else { continue };
            let Some((entry, slot)) = index.locate(id)? else { continue };
            self.load_neighbours(&*index, &entry);
            let pack = match self.pack(entry.id) {
                Ok(pack) => pack,
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            let damaged = damage.get(&entry.id).is_some_and(|wrong| wrong.contains(slot));
            if damaged || pack.directory().ids().get(slot as usize) != Some(id) {
                continue;
            }
            if let Some(place) = places.get_mut(at) {
                *place = Some(Location { pack, slot });
            }
            // The chunks that follow were probably written with this one.
            if let (Some(ids), Some(places)) = (ids.get(at + 1..), places.get_mut(at + 1..)) {
                self.neighbourhood.locate(ids, places);
            }
        }
        Ok(())
    }

    /// Reads the directories of a pack and of those that were written after it, all at once, if the storage wants several requests at once and there
    /// is room: a volume that meets one of them mostly meets the next ones, too. It is a hint.
    fn load_neighbours(&self, index: &dyn Index, entry: &PackEntry) {
        let in_flight = self.backend.requests_in_flight();
        if in_flight <= 1 || self.neighbourhood.pack(entry.id).is_some() || !self.has_room_nearby() {
            return;
        }
        let mut ids = index.packs_after(entry, NEIGHBOURS).unwrap_or_default();
        ids.retain(|id| self.neighbourhood.pack(*id).is_none());
        ids.insert(0, entry.id);
        let _ = for_each_in_flight(in_flight, &ids, |id| self.pack(*id).map(drop).or(Ok::<(), Error>(())));
    }

    /// Reads a frame of a pack and decompresses it into `plain`. The chunks in it are **not** checked yet: that is done
    /// with [`Ids::is_authentic`](crate::Ids::is_authentic), chunk by chunk. `stored` is a buffer that is used again; it has the frame's
    /// stored bytes afterwards, opened where they were sealed.
    ///
    /// # Errors
    /// [`Error::Damaged`], or what the storage says.
    pub fn read_frame(
        &self,
        pack: &PackReader,
        number: u32,
        stored: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let range = pack.range_of(number)?;
        stored.clear();
        stored.resize((range.end - range.start) as usize, 0);
        let read = self.backend.read_into(pack.object(), range.start, stored);
        read.map_err(|error| Error::of_read(pack.object(), range.start, error))?;
        pack.decode_alone(number, stored, plain)
    }

    /// Reads the bytes of a chunk, or of a map node as it is stored, at one place, and checks them.
    ///
    /// # Errors
    /// [`Error::Damaged`] where they are others, or what the storage says.
    pub fn read_chunk(&self, id: &ChunkId, Location { pack, slot }: &Location) -> Result<Vec<u8>, Error> {
        let wrong = |offset| Error::damaged(pack.object(), offset, format!("chunk {id} has other bytes"));
        let directory = pack.directory();
        let place = directory.place(*slot).ok_or_else(|| wrong(0))?;
        let (mut stored, mut plain) = (Vec::new(), Vec::new());
        self.read_frame(pack, place.frame, &mut stored, &mut plain)?;
        let bytes = plain.get(place.offset as usize..).and_then(|rest| rest.get(..place.length as usize));
        match bytes.filter(|bytes| self.ids().is_authentic(pack.content(), id, bytes)) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(wrong(directory.frame_offset(place.frame).unwrap_or(0))),
        }
    }

    /// Reads and checks one map node.
    ///
    /// # Errors
    /// [`Error::ChunkMissing`], [`Error::Damaged`], or what the storage says.
    pub fn node(&self, id: &ChunkId) -> Result<Node, Error> {
        match self.node_now(id) {
            // Its pack was in memory, and a collector has copied it elsewhere since, however often that was so before.
            Err(Error::Backend(error)) if error.is_not_found() => {
                self.catch_up()?;
                self.node_now(id)
            }
            other => other,
        }
    }

    fn node_now(&self, id: &ChunkId) -> Result<Node, Error> {
        let mut places = Vec::new();
        self.locate(std::slice::from_ref(id), &mut places)?;
        let Some(location) = places.pop().flatten() else {
            return Err(Error::ChunkMissing { id: *id });
        };
        self.node_at(id, &location)
    }

    /// Reads and checks a map node at one place.
    pub(crate) fn node_at(&self, id: &ChunkId, Location { pack, slot }: &Location) -> Result<Node, Error> {
        let Some(place) = pack.directory().place(*slot).filter(|_| pack.content() == Content::Map) else {
            return Err(Error::ChunkMissing { id: *id });
        };
        let plain = self.nodes.get(pack.id(), place.frame, || {
            let mut plain = Vec::new();
            self.read_frame(pack, place.frame, &mut Vec::new(), &mut plain)?;
            Ok::<_, Error>(plain)
        })?;
        let offset = pack.directory().frame_offset(place.frame).unwrap_or(0);
        let from = place.offset as usize;
        match plain.get(from..from + place.length as usize) {
            Some(bytes) if self.ids().is_authentic(Content::Map, id, bytes) => {
                Node::decode(pack.object().as_str(), bytes)
            }
            _ => Err(Error::damaged(pack.object(), offset, format!("map node {id} has other bytes"))),
        }
    }

    /// The leaves of a backup's map that touch a range of the volume, in order.
    pub fn leaves<'a>(&'a self, record: &Record, range: Range<u64>) -> MapLeaves<'a> {
        let chunk_bytes = self.descriptor().chunk_size.bytes();
        MapLeaves::new(record.map.clone(), record.volume_bytes, chunk_bytes, range, |id, upcoming| {
            self.read_ahead(id, upcoming);
            self.node(id)
        })
    }

    /// The same; `note` is given every node below the root that is read on the way, each before what is below it. Its bytes are those
    /// of [`Node::encode`].
    pub fn leaves_noting<'a>(
        &'a self,
        record: &Record,
        range: Range<u64>,
        mut note: impl FnMut(&ChunkId, &Node) + Send + 'a,
    ) -> MapLeaves<'a> {
        let chunk_bytes = self.descriptor().chunk_size.bytes();
        MapLeaves::new(record.map.clone(), record.volume_bytes, chunk_bytes, range, move |id, upcoming| {
            self.read_ahead(id, upcoming);
            self.node(id).inspect(|node| note(id, node))
        })
    }
}
