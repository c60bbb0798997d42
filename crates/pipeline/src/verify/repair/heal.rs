//! [`Healer`]: stores again what is missing, from wherever it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cinderblock_chunker::Extent;
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::pack::{Content, FRAME_MAX_BYTES, PackBuilder};
use cinderblock_store::{BackupId, ChunkId, Error as StoreError, Location, Repository, Session, VolumeId};

use super::missing::{Missing, Part};
use super::nodes::{Bytes, Maker, OpenVolume};
use crate::engine::Control;
use crate::error::Error;
use crate::volume::BackupVolume;

/// Chunks of a volume after each other that a disk can't read, from which on it is taken to read nothing more: a large bad place, or a device that is gone.
const MAX_BAD_CHUNKS: usize = 1024;

/// Whether a read of a volume failed for want of these bytes alone: the volume ends before them, or its disk can't read them.
pub(super) fn is_lost(file: &File, error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::UnexpectedEof || cinderblock_backend::is_bad_sector(file, error)
}

/// Whose bytes parts of volumes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    /// A backup of another repository.
    Backup(BackupId),
    /// The volume of this number.
    Source(usize),
}

/// A writer that stores again what was found; without a session it only counts.
pub(super) struct Healer<'a> {
    repository: &'a Repository,
    session: Option<&'a Session<'a>>,
    control: &'a Control,
    packs: Option<(PackBuilder, PackBuilder)>,
    healed: HashSet<ChunkId>,
    /// Parts that were read for nodes, by offset and length, and the nodes that these are: they need not be read again for others.
    read: HashMap<(Origin, u64, u64), Vec<ChunkId>>,
}

impl<'a> Healer<'a> {
    pub(super) fn new(repository: &'a Repository, session: Option<&'a Session<'a>>, control: &'a Control) -> Self {
        let packs = session.map(|session| (session.pack_builder(Content::Data), session.pack_builder(Content::Map)));
        Self { repository, session, control, packs, healed: HashSet::new(), read: HashMap::new() }
    }

    /// What was found so far.
    pub(super) fn healed(&self) -> &HashSet<ChunkId> {
        &self.healed
    }

    /// Goes on, unless somebody asked to stop or the session was given up.
    fn go_on(&self) -> Result<(), Error> {
        self.control.cancel.check(false)?;
        Ok(self.session.map_or(Ok(()), Session::stay)?)
    }

    fn push(&mut self, content: Content, id: ChunkId, bytes: &[u8]) -> Result<(), Error> {
        if !self.healed.insert(id) {
            return Ok(());
        }
        let (Some(session), Some((data, map))) = (self.session, &mut self.packs) else { return Ok(()) };
        let builder = if content == Content::Data { data } else { map };
        let listed = FrameChunk { id, length: bytes.len() as u32 };
        let frame = frame::encode(bytes, vec![listed], content == Content::Data, Compression::default())?;
        if let Some(pack) = builder.push(frame)? {
            session.store_pack(&pack)?;
        }
        session.stay()?;
        Ok(())
    }

    /// Stores what is left.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if let (Some(session), Some((data, map))) = (self.session, &mut self.packs) {
            for pack in [data.finish()?, map.finish()?].into_iter().flatten() {
                session.store_pack(&pack)?;
            }
            session.flush()?;
            session.lock_stored_packs()?;
        }
        Ok(())
    }

    /// From copies in any pack of a repository, also in one that is about to be deleted.
    pub(super) fn take_from_repository(&mut self, repository: &Repository, missing: &Missing) -> Result<(), Error> {
        let wanted: HashSet<ChunkId> = missing.chunks.keys().chain(missing.nodes.keys()).copied().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut copies: Vec<(ChunkId, Location)> = Vec::new();
        repository.search(&wanted, &mut |id, location| copies.push((id, location)))?;
        self.take_copies(repository, copies)
    }

    /// From copies that are noted as wrong, and in packs whose directory can't be read: their bytes may be right all the same.
    pub(super) fn take_from_damaged(&mut self, missing: &Missing) -> Result<(), Error> {
        let wanted = missing.chunks.keys().chain(missing.nodes.keys()).filter(|id| !self.healed.contains(*id));
        let wanted: HashSet<ChunkId> = wanted.copied().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut copies: Vec<(ChunkId, Location)> = Vec::new();
        self.repository.search_damaged(&wanted, &mut |id, location| copies.push((id, location)))?;
        self.take_copies(self.repository, copies)
    }

    /// From another repository's backups of the same ids, where chunks are called otherwise there: at the places where they were. Nodes
    /// of maps are made again from the bytes there.
    pub(super) fn take_from_backups(
        &mut self,
        (other, memory_bytes): (&Repository, usize),
        (backups, missing): (&[(VolumeId, BackupId)], &Missing),
    ) -> Result<(), Error> {
        for (volume, id) in backups {
            let nodes = missing.nodes.iter().filter(|(_, parts)| !parts.is_empty()).map(|(node, _)| node);
            if missing.chunks.keys().chain(nodes).all(|id| self.healed.contains(id)) {
                break;
            }
            let record = match other.record(volume, *id) {
                Ok(record) => record,
                Err(StoreError::BackupNotFound { .. }) => continue,
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error.into()),
            };
            let volume = BackupVolume::new(other, &record, memory_bytes)?;
            for (chunk, places) in &missing.chunks {
                for place in places.iter().filter(|place| place.end() <= record.volume_bytes) {
                    self.take_chunk(*chunk, *place, &volume)?;
                }
            }
            let is_there = |part: &Part| part.backups.contains(id) && part.extent.end() <= record.volume_bytes;
            self.make_nodes(missing, (Origin::Backup(*id), &volume), is_there)?;
        }
        Ok(())
    }

    /// A chunk at a place where it was, if the bytes there are still the same: it may be elsewhere.
    fn take_chunk(&mut self, id: ChunkId, place: Extent, from: &dyn Bytes) -> Result<(), Error> {
        self.go_on()?;
        let length = usize::try_from(place.length).unwrap_or(usize::MAX);
        if self.healed.contains(&id) || length > FRAME_MAX_BYTES {
            return Ok(());
        }
        let mut bytes = vec![0; length];
        if from.read(place.offset, &mut bytes)? && self.repository.ids().chunk(&bytes) == id {
            self.push(Content::Data, id, &bytes)?;
        }
        Ok(())
    }

    /// Makes nodes of maps again, of parts of a volume that may have the bytes.
    fn make_nodes(
        &mut self,
        missing: &Missing,
        (origin, from): (Origin, &dyn Bytes),
        is_of: impl Fn(&Part) -> bool,
    ) -> Result<(), Error> {
        let mut parts: BTreeMap<(u64, u64), Vec<ChunkId>> = BTreeMap::new();
        for (id, of_node) in missing.nodes.iter().filter(|(id, _)| !self.healed.contains(*id)) {
            for Part { extent, .. } in of_node.iter().filter(|part| is_of(part)) {
                parts.entry((extent.offset, extent.length)).or_default().push(*id);
            }
        }
        for ((offset, length), wanted) in parts {
            let read = self.read.get(&(origin, offset, length));
            if read.is_some_and(|nodes| !nodes.iter().any(|id| wanted.contains(id))) {
                continue;
            }
            let maker = Maker::new(self.repository, |id| missing.nodes.contains_key(id));
            let nodes = maker.read(Extent { offset, length }, from, &mut |made| {
                self.go_on()?;
                made.into_iter().try_for_each(|(id, bytes)| self.push(Content::Map, id, &bytes))
            })?;
            self.read.insert((origin, offset, length), nodes);
        }
        Ok(())
    }

    fn take_copies(&mut self, repository: &Repository, copies: Vec<(ChunkId, Location)>) -> Result<(), Error> {
        for (id, location) in copies {
            self.go_on()?;
            if self.healed.contains(&id) {
                continue;
            }
            if let Ok(bytes) = repository.read_chunk(&id, &location) {
                self.push(location.pack.content(), id, &bytes)?;
            }
        }
        Ok(())
    }

    /// From a volume: at the places where the chunks were, and then anywhere on the grid. Nodes of maps are made again, of what it has at their places.
    pub(super) fn take_from_source(&mut self, (number, path): (usize, &Path), missing: &Missing) -> Result<(), Error> {
        let lacks = |healed: &HashSet<ChunkId>| missing.chunks.keys().any(|id| !healed.contains(id));
        let file = File::open(path).map_err(|source| Error::OpenSource { path: path.to_owned(), source })?;
        let volume = OpenVolume { file: &file, path };
        let by_place: BTreeMap<u64, (ChunkId, Extent)> = missing
            .chunks
            .iter()
            .flat_map(|(id, places)| places.iter().map(|place| (place.offset, (*id, *place))))
            .collect();
        for (chunk, place) in by_place.into_values() {
            self.take_chunk(chunk, place, &volume)?;
        }
        let mut buffer = Vec::new();
        let mut offset = 0;
        let mut bad = 0;
        'chunk: while lacks(&self.healed) {
            self.go_on()?;
            buffer.resize(self.repository.descriptor().chunk_size.bytes() as usize, 0);
            let mut filled = 0;
            while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match file.read_at(rest, offset + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => (filled, bad) = (filled + read, 0),
                    // What follows a bad sector is on the grid again. A disk that reads nothing more is no source.
                    Err(error) if is_lost(&file, &error) && bad < MAX_BAD_CHUNKS => {
                        bad += 1;
                        offset += buffer.len() as u64;
                        continue 'chunk;
                    }
                    Err(source) => {
                        return Err(Error::ReadSource { path: path.display().to_string(), offset, source });
                    }
                }
            }
            buffer.truncate(filled);
            if buffer.is_empty() {
                break;
            }
            let id = self.repository.ids().chunk(&buffer);
            if missing.chunks.contains_key(&id) {
                self.push(Content::Data, id, &buffer)?;
            }
            offset += filled as u64;
        }
        self.make_nodes(missing, (Origin::Source(number), &volume), |_| true)
    }
}
