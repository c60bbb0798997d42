//! [`Marking`]: what the records reach, and what stands in the way of knowing it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::damage::{self, Notes, Wrong};
use crate::error::Error;
use crate::fence;
use crate::gc::{GcReport, Observer, Progress};
use crate::id::{BackupId, PackId, SessionId, VolumeId};
use crate::layout;
use crate::listing;
use crate::record;
use crate::repository::Repository;
use crate::usage::Reached;

/// What was marked so far.
#[derive(Debug, Default)]
pub(super) struct Marking {
    pub reached: Reached,
    /// Damage that was known: what is noted later may be the very copy that was marked.
    notes: Arc<Notes>,
    /// Records that were walked, and the session that wrote each: a name may be used again.
    marked: HashMap<(VolumeId, BackupId), SessionId>,
    /// Records of sessions that were declared ended, which are no backups, and the session of each.
    pub buried: BTreeMap<(VolumeId, BackupId), SessionId>,
    /// Records that can't be read: nobody knows what they reach. And damage notes: the copy that was marked may be one that is known to
    /// be wrong, and another one the last.
    pub unreadable: Vec<Error>,
}

impl Marking {
    /// Marks what the records reach that are there now and were not marked before.
    pub fn mark_new(&mut self, repository: &Repository, observer: &Observer<'_>) -> Result<(), Error> {
        self.unreadable.clear();
        for (pack, _, error) in damage::unreadable(repository.backend(), repository.seal())? {
            if listing::exists(repository.backend(), &layout::pack(pack)?)? {
                self.unreadable.push(error);
            }
        }
        let mut found = repository.backups(None)?;
        // One that is put after this only means that something dead is kept until the next time.
        let buried = fence::tombstones(repository.backend())?;
        found.sort_unstable();
        let total = found.len() as u64;
        for (done, (volume, id)) in (0..).zip(found) {
            observer.tell(&Progress::Marking { done, total })?;
            let name = (volume, id);
            if let Some(known) = self.marked.get(&name).or(self.buried.get(&name))
                && record::writer(repository.backend(), &repository.record_object(&name.0, id)?)? == Some(*known)
            {
                continue;
            }
            let (volume, _) = &name;
            let record = match repository.unchecked_record(volume, id) {
                Ok(record) => record,
                Err(Error::BackupNotFound { .. }) => continue,
                Err(error)
                    if error.is_damage() || matches!(error, Error::NewerFormat { .. } | Error::Unsupported { .. }) =>
                {
                    self.unreadable.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if buried.contains(&record.session) {
                self.buried.insert(name, record.session);
                continue;
            }
            repository.reach(&record, &mut self.reached)?;
            self.marked.insert(name, record.session);
        }
        Ok(())
    }

    /// Marks everything; once more with an index that was made anew where something is missing, for the index is only a cache.
    pub fn complete(repository: &Repository, observer: &Observer<'_>) -> Result<Self, Error> {
        let mut marking = Self { notes: repository.damage()?, ..Self::default() };
        marking.mark_new(repository, observer)?;
        if marking.reached.is_whole() {
            return Ok(marking);
        }
        repository.forget_packs();
        repository.rebuild_index()?;
        let mut marking = Self { notes: repository.damage()?, ..Self::default() };
        marking.mark_new(repository, observer)?;
        repository.reach_missing(&mut marking.reached)?;
        Ok(marking)
    }

    /// Whether damage was noted since.
    pub fn is_outdated(&self, repository: &Repository) -> Result<bool, Error> {
        Ok(*self.notes != *repository.damage()?)
    }

    /// Whether a pack has what is needed and was not found anywhere, or may have it: it is kept for whoever can read more of it.
    pub fn is_last_resort(&self, repository: &Repository, id: PackId) -> Result<bool, Error> {
        if self.reached.is_whole() {
            return Ok(false);
        }
        match repository.pack(id) {
            Ok(pack) => Ok(pack.directory().ids().iter().any(|id| self.reached.misses(id))),
            Err(Error::PackMissing { .. }) => Ok(false),
            // What is in it is not known.
            Err(error) if error.is_damage() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether something in a pack is noted as damaged.
    pub fn is_damaged(&self, id: PackId) -> bool {
        self.notes.contains_key(&id)
    }

    /// Whether a pack is noted as a whole, and everything that is needed was found elsewhere.
    pub fn is_done_with(&self, id: PackId) -> bool {
        self.reached.is_whole() && self.notes.get(&id).is_some_and(Wrong::is_whole)
    }

    /// Packs in which something is marked.
    pub fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.reached.packs()
    }

    /// Says what was found besides marks; what can't be read is a doubt: what it reaches is not known, and nothing may be condemned.
    pub fn tell(&mut self, report: &mut GcReport) {
        report.backups = self.marked.len() as u64;
        report.missing = self.reached.missing();
        report.doubts = std::mem::take(&mut self.unreadable);
        report.doubts.extend(self.reached.unreadable_nodes().map(|id| Error::ChunkMissing { id }));
    }
}
