//! Bringing the index up to date with the repository's segments.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use cinderblock_backend::Backend;

use crate::ahead::Ahead;
use crate::damage::Notes;
use crate::error::Error;
use crate::id::{PackId, SegmentId, SessionId};
use crate::index::database::Database;
use crate::index::intake::Intake;
use crate::index::lock::Lock;
use crate::layout;
use crate::listing;
use crate::pack::PackReader;
use crate::seal::Seal;
use crate::segment::{self, PackSummary, SEGMENT_TARGET_BYTES};

/// Segments, or directories of packs, that are read at once, if the storage wants several requests at once: each may take 10 MiB.
const AT_ONCE: usize = 8;

/// New segments from which on they are sorted, not put one by one: some 1.6 million chunks.
const MANY: usize = 16;

/// What a rebuild of the index found.
#[derive(Debug, Default)]
pub(crate) struct RebuildOutcome {
    /// Segments that were read.
    pub segments: u64,
    /// Segments that could not be read: their packs' own directories were used.
    pub unreadable_segments: Vec<(SegmentId, Error)>,
    /// Whether a segment went while it was being read: a garbage collector put others in its place.
    pub replaced: bool,
    /// Packs that no readable segment named.
    pub adopted_packs: u64,
    /// Packs whose directory could not be read.
    pub unreadable_packs: Vec<(PackId, Error)>,
    /// Why segments for the adopted packs could not be written, where that is so.
    pub not_written: Option<Error>,
}

/// Opens the index, up to date with the repository's segments as they are now. None where the repository has no packs
/// yet: there is nothing to find.
pub(crate) fn open(
    folder: &Path,
    seal: &Seal,
    (backend, notes): (&dyn Backend, &Notes),
    memory_bytes: usize,
) -> Result<Option<Database>, Error> {
    let path = super::folder(folder);
    let wanted: HashSet<SegmentId> = listing::segments(backend)?;
    if wanted.is_empty() && listing::any(backend, layout::PACKS)?.is_none() {
        return Ok(None);
    }
    // Twice: another process may delete a stale index between our look and our opening.
    for _ in 0..2 {
        if let Some(database) = open_current((folder, &path), seal, backend, &wanted, memory_bytes)? {
            return Ok(Some(database));
        }
        let lock = Lock::exclusive(folder)?;
        follow(&path, seal, (backend, notes), memory_bytes, false)?;
        drop(lock);
    }
    let _lock = Lock::shared(folder)?;
    Database::open_to_read(&path, memory_bytes).map(Some)
}

/// Opens the index for reading, if it knows the wanted segments and no others.
fn open_current(
    (folder, path): (&Path, &Path),
    seal: &Seal,
    backend: &dyn Backend,
    wanted: &HashSet<SegmentId>,
    memory_bytes: usize,
) -> Result<Option<Database>, Error> {
    let _lock = Lock::shared(folder)?;
    if !path.join("CURRENT").exists() {
        return Ok(None);
    }
    // An index that can't be read is a cache that is rebuilt.
    let Ok(database) = Database::open_to_read(path, memory_bytes) else { return Ok(None) };
    let (Ok(true), Ok(known)) = (database.is_for(seal.repository()), database.segments::<HashSet<SegmentId>>()) else {
        return Ok(None);
    };
    if !wanted.is_subset(&known) {
        return Ok(None);
    }
    // Segments that another process added meanwhile are welcome. With one that was collected, packs went; where only the segment is
    // lost, the index is good enough to read with.
    let gone = known.len() > wanted.len() && packs_went(&database, backend, &known)?;
    Ok((!gone).then_some(database))
}

fn packs_went(database: &Database, backend: &dyn Backend, known: &HashSet<SegmentId>) -> Result<bool, Error> {
    let now: HashSet<SegmentId> = listing::segments(backend)?;
    if known.is_subset(&now) {
        return Ok(false);
    }
    let there: HashMap<PackId, u64> = listing::packs(backend)?;
    for segment in known.difference(&now) {
        if database.packs_of(*segment)?.iter().any(|pack| !there.contains_key(pack)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads everything again.
pub(crate) fn rebuild(
    folder: &Path,
    seal: &Seal,
    (backend, notes): (&dyn Backend, &Notes),
    memory_bytes: usize,
) -> Result<RebuildOutcome, Error> {
    let _lock = Lock::exclusive(folder)?;
    follow(&super::folder(folder), seal, (backend, notes), memory_bytes, true)
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Cache { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Under the exclusive lock: adds what is new. Where the index is new, stale or for something else, or `anew` says so,
/// it is made from nothing, and packs that no segment names are taken in as well.
fn follow(
    path: &Path,
    seal: &Seal,
    (backend, notes): (&dyn Backend, &Notes),
    memory_bytes: usize,
    mut anew: bool,
) -> Result<RebuildOutcome, Error> {
    let wanted: HashSet<SegmentId> = listing::segments(backend)?;
    let (mut known, mut orphans) = (HashSet::new(), HashSet::new());
    if !anew {
        let usable = Database::open_to_write(path, memory_bytes).and_then(|database| {
            known = database.segments()?;
            Ok(database.is_for(seal.repository())?.then_some(database))
        });
        match usable {
            Ok(Some(database)) if forget_gone(&database, backend, (&known, &wanted), &mut orphans)? => {
                let mut outcome = RebuildOutcome::default();
                let new: Vec<SegmentId> = wanted.difference(&known).copied().collect();
                let mut intake = match path.parent() {
                    Some(folder) if new.len() >= MANY => Intake::many(&database, folder, memory_bytes, false)?,
                    _ => Intake::few(&database),
                };
                add_segments(&mut intake, seal, (backend, notes), &new, None, &mut outcome)?;
                intake.finish()?;
                // What a damaged segment named is found by making the index anew, once; and so is what one named that went.
                let all_read = outcome.unreadable_segments.is_empty() && !outcome.replaced;
                if all_read && all_named(&database, &orphans, &wanted)? {
                    database.finish()?;
                    return Ok(outcome);
                }
                anew = true;
            }
            _ => anew = true,
        }
    }
    debug_assert!(anew);
    remove(path)?;
    let database = Database::open_to_write(path, memory_bytes)?;
    let mut outcome = RebuildOutcome::default();
    let packs: HashMap<PackId, u64> = listing::packs(backend)?;
    let mut intake = Intake::many(&database, path.parent().unwrap_or(path), memory_bytes, true)?;
    let wanted: Vec<SegmentId> = wanted.into_iter().collect();
    add_segments(&mut intake, seal, (backend, notes), &wanted, Some(&packs), &mut outcome)?;
    adopt_packs((&database, &mut intake), seal, (backend, notes), &packs, &mut outcome)?;
    intake.finish()?;
    // Last: an index that was not finished is not taken for one.
    database.label(seal.repository())?;
    database.finish()?;
    Ok(outcome)
}

/// Forgets what went with segments that are gone; packs of theirs that are still there are `orphans`. False where most of what
/// there was is gone: the places of its chunks would stay in the database, and it is better made anew.
fn forget_gone(
    database: &Database,
    backend: &dyn Backend,
    (known, wanted): (&HashSet<SegmentId>, &HashSet<SegmentId>),
    orphans: &mut HashSet<PackId>,
) -> Result<bool, Error> {
    if known.is_subset(wanted) {
        return Ok(true);
    }
    let there: HashMap<PackId, u64> = listing::packs(backend)?;
    for segment in known.difference(wanted) {
        orphans.extend(database.packs_of(*segment)?.into_iter().filter(|id| there.contains_key(id)));
    }
    let (forgotten, kept) = database.retain(|id| there.contains_key(&id))?;
    database.forget_segments(known.difference(wanted))?;
    Ok(forgotten <= kept)
}

/// Whether the segments name all these packs: a garbage collector replaces segments so. Where they do not, segments were lost, and
/// are written anew with the index.
fn all_named(database: &Database, orphans: &HashSet<PackId>, segments: &HashSet<SegmentId>) -> Result<bool, Error> {
    let mut orphans = orphans.clone();
    for segment in segments {
        if orphans.is_empty() {
            break;
        }
        for id in database.packs_of(*segment)? {
            orphans.remove(&id);
        }
    }
    Ok(orphans.is_empty())
}

fn add_segments(
    intake: &mut Intake<'_>,
    seal: &Seal,
    (backend, notes): (&dyn Backend, &Notes),
    segments: &[SegmentId],
    there: Option<&HashMap<PackId, u64>>,
    outcome: &mut RebuildOutcome,
) -> Result<(), Error> {
    let in_flight = backend.requests_in_flight().min(AT_ONCE);
    let mut read = Ahead::new(in_flight, segments, |id| segment::read(backend, seal, *id));
    while let Some((id, found)) = read.next() {
        let id = &id;
        match found {
            Ok((_, mut packs)) => {
                // A pack that is lost must not hide a chunk's other copy.
                packs.retain(|pack| there.is_none_or(|there| there.contains_key(&pack.id)));
                intake.add(&packs, notes)?;
                intake.add_segment(*id, &packs)?;
            }
            Err(Error::Backend(error)) if error.is_not_found() => {
                intake.add_segment(*id, &[])?;
                outcome.replaced = true;
                continue;
            }
            // Damage costs speed, not data: a rebuild reads the packs themselves. It is marked as read, or every
            // command would try again.
            Err(error) if error.is_damage() => {
                intake.add_segment(*id, &[])?;
                outcome.unreadable_segments.push((*id, error));
                continue;
            }
            Err(error) => return Err(error),
        }
        outcome.segments += 1;
    }
    Ok(())
}

/// Takes in packs that no segment named, and writes segments for them, one or more per session that wrote them.
fn adopt_packs(
    (database, intake): (&Database, &mut Intake<'_>),
    seal: &Seal,
    (backend, notes): (&dyn Backend, &Notes),
    there: &HashMap<PackId, u64>,
    outcome: &mut RebuildOutcome,
) -> Result<(), Error> {
    let mut pending: HashMap<SessionId, Vec<PackSummary>> = HashMap::new();
    let there: BTreeSet<PackId> = there.keys().copied().collect();
    let mut unknown = Vec::new();
    for id in there {
        if !database.has_pack(id)? {
            unknown.push(id);
        }
    }
    let mut opened =
        Ahead::new(backend.requests_in_flight().min(AT_ONCE), &unknown, |id| PackReader::open(backend, seal, *id));
    while let Some((id, opened)) = opened.next() {
        match opened {
            Ok(pack) => {
                let summary = PackSummary::of_reader(&pack);
                intake.add(std::slice::from_ref(&summary), notes)?;
                outcome.adopted_packs += 1;
                let packs = pending.entry(pack.session()).or_default();
                packs.push(summary);
                if packs.iter().map(PackSummary::encoded_bytes).sum::<usize>() >= SEGMENT_TARGET_BYTES {
                    let packs = std::mem::take(packs);
                    write_segment(intake, seal, backend, pack.session(), &packs, outcome)?;
                }
            }
            // A garbage collector deleted it: that takes its segment first.
            Err(Error::PackMissing { .. }) => {}
            Err(error) if error.is_damage() => outcome.unreadable_packs.push((id, error)),
            Err(error) => return Err(error),
        }
    }
    for (session, packs) in pending {
        write_segment(intake, seal, backend, session, &packs, outcome)?;
    }
    Ok(())
}

fn write_segment(
    intake: &mut Intake<'_>,
    seal: &Seal,
    backend: &dyn Backend,
    session: SessionId,
    packs: &[PackSummary],
    outcome: &mut RebuildOutcome,
) -> Result<(), Error> {
    if packs.is_empty() || outcome.not_written.is_some() {
        return Ok(());
    }
    match segment::write(backend, seal, session, packs) {
        Ok((id, _)) => intake.add_segment(id, packs),
        // A repository that may only be read is still restored from: the index has the packs.
        Err(error) => {
            outcome.not_written = Some(error);
            Ok(())
        }
    }
}
