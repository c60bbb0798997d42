//! Repair: noting what is damaged, and storing again what can be had from elsewhere.

mod heal;
mod missing;
mod nodes;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use cinderblock_store::pack::Content;
use cinderblock_store::{BackupId, Damage as Lost, Error as StoreError, PackId, Repository, Session, VolumeId};

use self::heal::Healer;
use self::missing::{Lacking, Missing};
use super::data::{Damage, DataCheck};
use super::report::DamagedBackup;
use super::store;
use crate::engine::{Control, Engine};
use crate::error::Error;
use crate::lanes;

/// Rounds of healing map nodes: one for each level, and some to spare.
const MAX_ROUNDS: usize = 8;

/// How to repair.
#[derive(Clone, Debug, Default)]
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
    /// Places in packs whose bytes were newly found to be wrong, twice.
    pub noted: u64,
    /// Packs whose directory was newly found to be unreadable, twice.
    pub broken_packs: u64,
    /// Places in packs, and packs, that were wrong when they were first read, and right the next time: memory, a cable or a disk may be
    /// failing.
    pub right_again: u64,
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
    /// Damage notes that can't be read. Marks stay as long as there are any: what a backup lacks may be in one of them.
    pub unreadable_notes: Vec<String>,
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
        self.note_damage(repository, session.as_ref(), options, control, &mut report)?;
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
        // Where chunks are called otherwise, they are found by the backups that both have.
        let others_keys = other.filter(|other| !other.ids().agree_with(repository.ids()));
        let elsewhere: HashSet<BackupId> = match others_keys {
            Some(other) => other.backups(None)?.into_iter().map(|(_, id)| id).collect(),
            None => HashSet::new(),
        };
        let shared: Vec<_> = backups.iter().filter(|(_, id)| elsewhere.contains(id)).cloned().collect();
        let mut wanted = HashSet::new();
        let mut healer = Healer::new(repository, session.as_ref(), control);
        for _ in 0..MAX_ROUNDS {
            let missing = Missing::find(repository, session.as_ref(), (&backups, &elsewhere), control)?;
            wanted.extend(missing.chunks.keys().chain(missing.nodes.keys()).copied());
            let before = healer.healed().len();
            healer.take_from_repository(repository, &missing)?;
            healer.take_from_damaged(&missing)?;
            if let Some(other) = others_keys {
                let memory = self.settings().memory_bytes / 8;
                healer.take_from_backups((other, memory), (&shared, &missing))?;
            } else if let Some(other) = other {
                healer.take_from_repository(other, &missing)?;
            }
            for (number, source) in options.sources.iter().enumerate() {
                healer.take_from_source((number, source), &missing)?;
            }
            healer.flush()?;
            if session.is_none() || healer.healed().len() == before {
                break;
            }
            repository.refresh_index()?;
        }
        let healed = healer.healed();
        report.missing = wanted.len() as u64;
        report.healed = healed.len() as u64;
        report.stored_bytes = session.as_ref().map_or(0, Session::stored_bytes);
        // What a dry run supposes to be noted would be forgotten.
        if session.is_some() {
            repository.refresh_index()?;
        }
        let left = Missing::find(repository, None, (&backups, &HashSet::new()), control)?;
        report.backups = backups.len() as u64;
        report.unreadable_notes = repository.unreadable_notes()?.iter().map(ToString::to_string).collect();
        if session.is_some() {
            mark(repository, &backups, &left, &mut report)?;
        }
        report.damaged_backups = left.backups.into_iter().map(|lacking| lacking.damaged).collect();
        report.damaged_backups.sort_by(|a, b| (&a.volume, a.id).cmp(&(&b.volume, b.id)));
        Ok(report)
    }

    /// Reads packs, and notes what is wrong in them, twice.
    fn note_damage(
        &self,
        repository: &Repository,
        session: Option<&Session<'_>>,
        options: &RepairOptions,
        control: &Control,
        report: &mut RepairReport,
    ) -> Result<(), Error> {
        let damage = Damage::default();
        let check = DataCheck::new(&self.pool, repository, control, &damage, self.settings().memory_bytes / 4);
        let packs = repository.list_packs()?;
        lanes::for_each(&self.pool, check.packs_at_once(), &packs, |(id, _)| {
            session.map_or(Ok(()), Session::stay)?;
            check.pack(*id, |content| options.read_data || content == Content::Map)
        })?;
        let mut unread = damage.unread();
        let listed: HashSet<PackId> = packs.iter().map(|(id, _)| *id).collect();
        let (slots, broken) = damage.into_packs();
        let writer = session.map(Session::id);
        for (pack, slots) in slots {
            control.cancel.check(false)?;
            session.map_or(Ok(()), Session::stay)?;
            let again = match repository.confirm_damage(pack, &slots) {
                // A collector was quicker.
                Err(StoreError::PackMissing { .. }) => continue,
                again => again?,
            };
            report.right_again += again.right;
            if again.unread > 0 {
                unread.insert(pack);
            }
            report.noted += repository.note_damage(writer, pack, &again.wrong)? as u64;
        }
        for pack in broken.iter().copied() {
            control.cancel.check(false)?;
            session.map_or(Ok(()), Session::stay)?;
            match repository.confirm_broken_pack(pack)? {
                Some(true) => report.broken_packs += u64::from(repository.note_broken_pack(writer, pack)?),
                Some(false) => report.right_again += 1,
                None => {}
            }
        }
        if session.is_some() {
            // What they said was found again.
            repository.remove_damaged_notes(|id| match repository.pack(id) {
                // Of one whose directory is readable only now, and of one that came later, nothing was read.
                Ok(pack) => {
                    (options.read_data || pack.content() == Content::Map)
                        && listed.contains(&id)
                        && !unread.contains(&id)
                        && !broken.contains(&id)
                }
                Err(_) => broken.contains(&id),
            })?;
        }
        Ok(())
    }
}

/// Marks the backups that lack something, and takes the mark from those that do not any more.
fn mark(
    repository: &Repository,
    backups: &[(VolumeId, BackupId)],
    left: &Missing,
    report: &mut RepairReport,
) -> Result<(), Error> {
    let lacking: HashMap<(&VolumeId, BackupId), &Lacking> =
        left.backups.iter().map(|lacking| ((&lacking.damaged.volume, lacking.damaged.id), lacking)).collect();
    let marks = repository.marks()?;
    for (volume, id) in backups {
        let marked = marks.get(volume, *id).and_then(|mark| mark.damaged);
        let now = match lacking.get(&(volume, *id)).filter(|lacking| lacking.damaged.reason.is_none()) {
            Some(lacking) => {
                let bytes = lacking.damaged.lost.iter().fold(0, |sum: u64, extent| sum.saturating_add(extent.length));
                let same = marked.filter(|lost| lost.chunks == lacking.chunks && lost.bytes == bytes);
                Some(same.unwrap_or(Lost { chunks: lacking.chunks, bytes, found_at: repository.now() }))
            }
            None if lacking.contains_key(&(volume, *id)) => continue,
            None => None,
        };
        if marked == now || now.is_none() && !report.unreadable_notes.is_empty() {
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
