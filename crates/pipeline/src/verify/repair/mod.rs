//! Repair: noting what is damaged, and storing again what can be had from elsewhere.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use cinderblock_chunker::Extent;
use cinderblock_store::map::PieceContent;
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::pack::{Content, FRAME_MAX_BYTES, PackBuilder};
use cinderblock_store::{
    BackupId, ChunkId, Damage as Lost, Error as StoreError, Location, Repository, Session, Timestamp, VolumeId,
};
use rayon::prelude::*;

use super::data::{Damage, DataCheck};
use super::report::DamagedBackup;
use super::{merged, store};
use crate::engine::{Control, Engine};
use crate::error::Error;

/// Places in volumes that are remembered of each chunk that is wanted.
const MAX_PLACES: usize = 4;

/// Rounds of healing map nodes: one for each level, and some to spare.
const MAX_ROUNDS: usize = 8;

/// How to repair.
#[derive(Debug, Default)]
pub struct RepairOptions {
    /// The backups that are to be whole; all where there are none given.
    pub backups: Option<Vec<(VolumeId, BackupId)>>,
    /// Whether to read all packs of data too, to find what is damaged in them. Maps are read in any case.
    pub read_data: bool,
    /// Volumes, as files or block devices, that may have what is lost.
    pub sources: Vec<PathBuf>,
    /// Only find out what would be done.
    pub dry_run: bool,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Index segments that were damaged, and whose packs others name now.
    pub replaced_segments: u64,
    /// Places in packs whose bytes were newly found to be wrong.
    pub noted: u64,
    /// Chunks and map nodes that backups need and that were nowhere.
    pub missing: u64,
    /// Of these, stored again; of a dry run, those that could be.
    pub healed: u64,
    /// Bytes that were added to the repository.
    pub stored_bytes: u64,
    /// Backups that were looked at.
    pub backups: u64,
    /// Backups that lack something still: marked so.
    pub damaged_backups: Vec<DamagedBackup>,
    /// Backups that were marked as damaged and are whole.
    pub whole_again: Vec<(VolumeId, BackupId)>,
}

/// What backups lack.
#[derive(Debug, Default)]
struct Missing {
    /// Chunks, with some of the places that they had in volumes.
    chunks: HashMap<ChunkId, Vec<Extent>>,
    nodes: HashSet<ChunkId>,
    backups: Vec<Lacking>,
}

#[derive(Debug)]
struct Lacking {
    damaged: DamagedBackup,
    chunks: u64,
}

/// A writer that stores again what was found; without a session it only counts.
struct Healer<'a> {
    session: Option<&'a Session<'a>>,
    packs: Option<(PackBuilder, PackBuilder)>,
    healed: HashSet<ChunkId>,
}

impl Healer<'_> {
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

    fn finish(&mut self) -> Result<(), Error> {
        let (Some(session), Some((data, map))) = (self.session, &mut self.packs) else { return Ok(()) };
        for pack in [data.finish()?, map.finish()?].into_iter().flatten() {
            session.store_pack(&pack)?;
        }
        Ok(session.flush()?)
    }
}

/// A chunk's bytes, where they are its own.
fn read_chunk(repository: &Repository, id: &ChunkId, Location { pack, slot }: &Location) -> Option<Vec<u8>> {
    let place = pack.directory().place(*slot)?;
    let (mut stored, mut plain) = (Vec::new(), Vec::new());
    repository.read_frame(pack, place.frame, &mut stored, &mut plain).ok()?;
    let from = place.offset as usize;
    let bytes = plain.get(from..from + place.length as usize)?;
    frame::is_authentic(pack.content(), id, bytes).then(|| bytes.to_vec())
}

impl Engine {
    /// Finds what is damaged, notes it so that nobody relies on it, and stores again what other copies, volumes or another
    /// repository still have. Backups that lack something still get a mark. Nothing is deleted but damaged index segments, whose
    /// packs are named again before, and notes of packs that are gone.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::OpenSource`], [`Error::ReadSource`], [`Error::Cancelled`].
    pub fn repair(
        &self,
        repository: &Repository,
        other: Option<&Repository>,
        options: &RepairOptions,
        control: &Control,
    ) -> Result<RepairReport, Error> {
        let mut report = RepairReport::default();
        // Before anything is looked at: a collector that condemns packs from now on waits for its end, and then sees the notes.
        let session = match options.dry_run {
            true => None,
            false => Some(repository.start_session("repair")?),
        };
        repository.forget_packs();
        repository.refresh_index()?;
        report.noted = self.note_damage(repository, session.as_ref(), options, control)?;
        if session.is_some() {
            repository.remove_stale_notes()?;
            let rebuilt = repository.rebuild_index()?;
            // What such a segment named is in others now.
            if rebuilt.segments_not_written.is_none() {
                for id in rebuilt.unreadable_segments {
                    report.replaced_segments += u64::from(repository.remove_damaged_segment(id)?);
                }
            }
            repository.refresh_index()?;
        }
        let backups = match &options.backups {
            Some(chosen) => chosen.clone(),
            None => repository.backups(None)?,
        };
        let (mut wanted, mut healed) = (HashSet::new(), HashSet::new());
        for _ in 0..MAX_ROUNDS {
            let missing = missing(repository, session.as_ref(), &backups, control)?;
            wanted.extend(missing.chunks.keys().chain(&missing.nodes).copied());
            let packs = session
                .as_ref()
                .map(|session| (session.pack_builder(Content::Data), session.pack_builder(Content::Map)));
            let mut healer = Healer { session: session.as_ref(), packs, healed: HashSet::new() };
            from_repository(repository, &missing, &mut healer, control)?;
            if let Some(other) = other {
                from_repository(other, &missing, &mut healer, control)?;
            }
            for source in &options.sources {
                from_source(repository, source, &missing, &mut healer, control)?;
            }
            healer.finish()?;
            let before = healed.len();
            healed.extend(healer.healed);
            if session.is_none() || healed.len() == before {
                break;
            }
            repository.refresh_index()?;
        }
        report.missing = wanted.len() as u64;
        report.healed = healed.len() as u64;
        report.stored_bytes = session.as_ref().map_or(0, Session::stored_bytes);
        // What a dry run supposes to be noted would be forgotten.
        if session.is_some() {
            repository.refresh_index()?;
        }
        let left = missing(repository, None, &backups, control)?;
        report.backups = backups.len() as u64;
        if session.is_some() {
            mark(repository, &backups, &left, &mut report)?;
        }
        report.damaged_backups = left.backups.into_iter().map(|lacking| lacking.damaged).collect();
        report.damaged_backups.sort_by(|a, b| (&a.volume, a.id).cmp(&(&b.volume, b.id)));
        Ok(report)
    }

    /// Reads packs, and notes what is wrong in them; how many places.
    fn note_damage(
        &self,
        repository: &Repository,
        session: Option<&Session<'_>>,
        options: &RepairOptions,
        control: &Control,
    ) -> Result<u64, Error> {
        let damage = Damage::default();
        let check = DataCheck::new(repository, control, &damage, self.settings().memory_bytes / 4);
        let packs = repository.list_packs()?;
        self.pool.install(|| {
            packs.par_iter().try_for_each(|(id, _)| {
                let is_map = repository.pack(*id).is_ok_and(|pack| pack.content() == Content::Map);
                session.map_or(Ok(()), Session::stay)?;
                check.pack(*id, options.read_data || is_map)
            })
        })?;
        let mut noted = 0;
        for (pack, slots) in damage.into_slots() {
            noted += repository.note_damage(session.map(Session::id), pack, &slots)? as u64;
        }
        Ok(noted)
    }
}

/// What backups need and what no pack has, as far as is known; with a session, also what only packs have that are about to be deleted.
fn missing(
    repository: &Repository,
    session: Option<&Session<'_>>,
    backups: &[(VolumeId, BackupId)],
    control: &Control,
) -> Result<Missing, Error> {
    let mut missing = Missing::default();
    let chunk_bytes = u64::from(repository.descriptor().chunk_size.bytes());
    let mut places = Vec::new();
    // Whether any copy is there that is not known to be damaged.
    let mut searched: HashMap<ChunkId, bool> = HashMap::new();
    for (volume, id) in backups {
        let mut lacking = Lacking {
            damaged: DamagedBackup { volume: volume.clone(), id: *id, reason: None, lost: vec![] },
            chunks: 0,
        };
        let record = match repository.record(volume, *id) {
            Ok(record) => record,
            Err(StoreError::BackupNotFound { .. }) => continue,
            Err(error) if error.is_damage() => {
                lacking.damaged.reason = Some(super::report::in_full(&error));
                missing.backups.push(lacking);
                continue;
            }
            Err(error) => return Err(store(error)),
        };
        let mut lost: Vec<Extent> = Vec::new();
        for leaf in repository.leaves(&record, 0..record.volume_bytes) {
            control.cancel.check(false)?;
            let leaf = match leaf {
                Ok(leaf) => leaf,
                Err(unreadable) if !unreadable.error.is_damage() => return Err(unreadable.error.into()),
                Err(unreadable) => {
                    if let StoreError::ChunkMissing { id } = unreadable.error {
                        missing.nodes.insert(id);
                    }
                    lost.push(Extent { offset: unreadable.offset, length: unreadable.length });
                    lacking.chunks += unreadable.length.div_ceil(chunk_bytes);
                    continue;
                }
            };
            let chunks: Vec<(ChunkId, Extent)> = leaf
                .pieces
                .iter()
                .filter_map(|piece| match piece.content {
                    PieceContent::Chunk(id) => Some((id, Extent { offset: piece.offset, length: piece.length })),
                    PieceContent::Zeros => None,
                })
                .collect();
            let ids: Vec<ChunkId> = chunks.iter().map(|(id, _)| *id).collect();
            match session {
                Some(session) => session.locate(&ids, &mut places)?,
                None => repository.locate(&ids, &mut places)?,
            }
            let absent: Vec<_> = chunks.iter().zip(&places).filter(|(_, place)| place.is_none()).collect();
            let unknown: HashSet<ChunkId> =
                absent.iter().map(|((id, _), _)| *id).filter(|id| !searched.contains_key(id)).collect();
            if !unknown.is_empty() {
                searched.extend(unknown.iter().map(|id| (*id, false)));
                repository.search(&unknown, &mut |id, location| {
                    if session.is_none_or(|session| !session.avoids(location.pack.id())) {
                        searched.insert(id, true);
                    }
                })?;
            }
            for ((id, extent), _) in absent {
                if searched.get(id) == Some(&true) {
                    continue;
                }
                lost.push(*extent);
                lacking.chunks += 1;
                let places = missing.chunks.entry(*id).or_default();
                if places.len() < MAX_PLACES {
                    places.push(*extent);
                }
            }
        }
        lacking.damaged.lost = merged(lost);
        if !lacking.damaged.lost.is_empty() {
            missing.backups.push(lacking);
        }
    }
    Ok(missing)
}

/// From copies in any pack of a repository, also in one that is about to be deleted.
fn from_repository(
    repository: &Repository,
    missing: &Missing,
    healer: &mut Healer<'_>,
    control: &Control,
) -> Result<(), Error> {
    let wanted: HashSet<ChunkId> = missing.chunks.keys().chain(&missing.nodes).copied().collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut copies: Vec<(ChunkId, Location)> = Vec::new();
    repository.search(&wanted, &mut |id, location| copies.push((id, location)))?;
    for (id, location) in copies {
        control.cancel.check(false)?;
        if healer.healed.contains(&id) {
            continue;
        }
        if let Some(bytes) = read_chunk(repository, &id, &location) {
            healer.push(location.pack.content(), id, &bytes)?;
        }
    }
    Ok(())
}

/// From a volume: at the places where the chunks were, and then anywhere on the grid.
fn from_source(
    repository: &Repository,
    path: &PathBuf,
    missing: &Missing,
    healer: &mut Healer<'_>,
    control: &Control,
) -> Result<(), Error> {
    let left = |healer: &Healer<'_>| missing.chunks.keys().any(|id| !healer.healed.contains(id));
    let file = File::open(path).map_err(|source| Error::OpenSource { path: path.clone(), source })?;
    let failed = |offset| {
        let path = path.display().to_string();
        move |source| Error::ReadSource { path, offset, source }
    };
    let by_place: BTreeMap<u64, (ChunkId, u64)> = missing
        .chunks
        .iter()
        .flat_map(|(id, places)| places.iter().map(|place| (place.offset, (*id, place.length))))
        .collect();
    let mut buffer = Vec::new();
    for (offset, (id, length)) in by_place {
        control.cancel.check(false)?;
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= FRAME_MAX_BYTES) else { continue };
        buffer.resize(length, 0);
        match file.read_exact_at(&mut buffer, offset) {
            Ok(()) if ChunkId::of(&buffer) == id => healer.push(Content::Data, id, &buffer)?,
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(failed(offset)(error)),
            _ => {}
        }
    }
    let mut offset = 0;
    while left(healer) {
        control.cancel.check(false)?;
        buffer.resize(repository.descriptor().chunk_size.bytes() as usize, 0);
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + filled as u64).map_err(failed(offset))? {
                0 => break,
                read => filled += read,
            }
        }
        buffer.truncate(filled);
        if buffer.is_empty() {
            break;
        }
        let id = ChunkId::of(&buffer);
        if missing.chunks.contains_key(&id) {
            healer.push(Content::Data, id, &buffer)?;
        }
        offset += filled as u64;
    }
    Ok(())
}

/// Marks the backups that lack something, and takes the mark from those that do not any more.
fn mark(
    repository: &Repository,
    backups: &[(VolumeId, BackupId)],
    left: &Missing,
    report: &mut RepairReport,
) -> Result<(), Error> {
    let lacking: HashMap<BackupId, &Lacking> =
        left.backups.iter().map(|lacking| (lacking.damaged.id, lacking)).collect();
    let marks = repository.marks()?;
    for (volume, id) in backups {
        let marked = marks.get(volume, *id).and_then(|mark| mark.damaged);
        let now = match lacking.get(id).filter(|lacking| lacking.damaged.reason.is_none()) {
            Some(lacking) => {
                let bytes = lacking.damaged.lost.iter().fold(0, |sum: u64, extent| sum.saturating_add(extent.length));
                let same = marked.filter(|lost| lost.chunks == lacking.chunks && lost.bytes == bytes);
                Some(same.unwrap_or(Lost { chunks: lacking.chunks, bytes, found_at: Timestamp::now() }))
            }
            None if lacking.contains_key(id) => continue,
            None => None,
        };
        if marked == now {
            continue;
        }
        match repository.set_mark(volume, *id, |mark| mark.damaged = now) {
            Ok(_) if now.is_none() => report.whole_again.push((volume.clone(), *id)),
            Ok(_) | Err(StoreError::BackupNotFound { .. }) => {}
            Err(error) => return Err(store(error)),
        }
    }
    Ok(())
}
