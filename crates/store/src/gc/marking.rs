//! [`Marking`]: what the records reach, and what stands in the way of knowing it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::ahead::Ahead;
use crate::damage::{self, Notes, Wrong};
use crate::error::Error;
use crate::fence;
use crate::gc::{GcReport, Observer, Progress};
use crate::id::{BackupId, PackId, SessionId, VolumeId};
use crate::layout;
use crate::listing;
use crate::record::{self, Record};
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
    /// Packs that were read because records name them.
    loaded: HashSet<PackId>,
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
        let at_once = repository.records_at_once();
        let mut done = 0;
        for together in found.chunks(at_once) {
            observer.tell(&Progress::Marking { done, total })?;
            let (mut found, mut walked) = (Vec::with_capacity(together.len()), Vec::new());
            let mut read = Ahead::new(at_once, together, |name| self.read_new(repository, name));
            while let Some(next) = read.next() {
                found.push(next);
            }
            for (name, read) in found {
                match read {
                    Ok(Some(record)) if buried.contains(&record.session) => {
                        self.buried.insert(name, record.session);
                    }
                    Ok(Some(record)) => walked.push((name, record)),
                    Ok(None) => {}
                    Err(error)
                        if error.is_damage()
                            || matches!(error, Error::NewerFormat { .. } | Error::Unsupported { .. }) =>
                    {
                        self.unreadable.push(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            let maps = walked.iter().map(|(_, record)| record);
            repository.prepare_to_reach(maps, &self.reached, &mut self.loaded);
            for (name, record) in walked {
                repository.reach(&record, &mut self.reached)?;
                self.marked.insert(name, record.session);
            }
            done += together.len() as u64;
        }
        Ok(())
    }

    /// Reads a record. None where it is gone, and where it is one that was looked at before.
    fn read_new(&self, repository: &Repository, name: &(VolumeId, BackupId)) -> Result<Option<Record>, Error> {
        let (volume, id) = name;
        if let Some(known) = self.marked.get(name).or(self.buried.get(name))
            && record::writer(repository.backend(), &repository.record_object(volume, *id)?)? == Some(*known)
        {
            return Ok(None);
        }
        match repository.unchecked_record(volume, *id) {
            Err(Error::BackupNotFound { .. }) => Ok(None),
            other => other.map(Some),
        }
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

    /// The sessions whose records were walked.
    pub fn writers(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.marked.values().copied()
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
