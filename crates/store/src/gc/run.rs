//! The run of a collector.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cinderblock_backend::Leftovers;

use crate::error::Error;
use crate::gc::choice::{Choice, Criteria};
use crate::gc::collection::{self, MAX_PACKS};
use crate::gc::copy::{Copied, What, copy_live};
use crate::gc::marking::Marking;
use crate::gc::segments;
use crate::gc::sweep::{sweep, unname};
use crate::gc::wait::Waiter;
use crate::gc::{GcOptions, GcReport, Observer};
use crate::id::{CollectionId, PackId, SessionId};
use crate::layout;
use crate::listing;
use crate::record;
use crate::repository::Repository;
use crate::sabotage::{Step, skips};
use crate::session::Session;
use crate::session::announcement::{Role, SessionInfo};

/// Times that a collector marks again because another one moved what it had marked, or what it copied turned out to be damaged.
const MAX_ROUNDS: usize = 8;

impl Repository {
    /// Deletes what no backup reaches, beside whatever else is going on. What could not be deleted yet, because backups run that may
    /// refer to it, the report says; another run goes on with it, as it goes on with what an interrupted one began.
    ///
    /// Its cost grows with the number of maps' nodes and packs' directories, not with the data; its memory with one bit a chunk and
    /// some 100 bytes a pack.
    ///
    /// # Errors
    /// [`Error::Stopped`] where the observer says so; what the storage says. Nothing is lost then, and nothing needs to be put right.
    pub fn collect_garbage(&self, options: &GcOptions, observer: &Observer<'_>) -> Result<GcReport, Error> {
        // First, because the room may be needed. They are nobody's: a writer that has not written for so long was stopped, and
        // fails if it goes on.
        let mut report = GcReport { leftovers: self.remove_leftovers(options)?, ..GcReport::default() };
        if options.dry_run {
            self.refresh_index()?;
            self.plan_collection(options, observer, &mut report)?;
            return Ok(report);
        }
        let session = self.announce(Role::Collector, "garbage collection")?;
        self.refresh_index()?;
        let waiter = Waiter { repository: self, collector: session.id(), options, observer };
        let writers = HashSet::new();
        let mut run = Run { repository: self, session: &session, waiter, observer, report, writers };
        run.waiter.remove_ended()?;
        run.waiter.remove_old_collectors()?;
        run.report.ended = run.waiter.end_old_writers()?;
        let merged = segments::merge(self, session.id())?;
        run.report.merged_segments = merged.segments;
        run.report.copied_bytes += merged.written_bytes;
        let begun: BTreeSet<CollectionId> = collection::list(self.backend(), self.seal())?.into_keys().collect();
        if begun.is_empty() || run.finish(&begun, None)? {
            let Condemned { collections, marking, may_gather } = run.condemn(options)?;
            if !collections.is_empty() && run.finish(&collections, Some(marking))? && may_gather {
                let Condemned { collections, marking, .. } = run.condemn(options)?;
                if !collections.is_empty() {
                    run.finish(&collections, Some(marking))?;
                }
            }
        }
        run.waiter.tidy(&run.writers)?;
        run.report.copied_bytes += session.stored_bytes();
        // One pack may have failed in both rounds.
        let mut told = HashSet::new();
        run.report.damage.retain(|error| told.insert(error.to_string()));
        Ok(run.report)
    }

    fn remove_leftovers(&self, options: &GcOptions) -> Result<Leftovers, Error> {
        let mut all = Leftovers::default();
        for prefix in layout::ALL {
            let removed = self.backend().remove_leftovers(prefix, options.fence_after, options.dry_run)?;
            all.files += removed.files;
            all.bytes += removed.bytes;
        }
        Ok(all)
    }

    /// Marks, and says what could be freed.
    fn plan_collection(
        &self,
        options: &GcOptions,
        observer: &Observer<'_>,
        report: &mut GcReport,
    ) -> Result<(), Error> {
        let mut survey = Survey::make(self, observer, None)?;
        let choice = survey.choose(self, options)?;
        survey.tell(report);
        report.condemned = (choice.dead.len() + choice.sparse.len() + choice.gathered.len()) as u64;
        report.repacked = (choice.sparse.len() + choice.gathered.len()) as u64;
        report.gathered = choice.gathered.len() as u64;
        report.freed_bytes = choice.freeable_bytes();
        report.locked = choice.locked;
        report.kept_for_writers = choice.kept_for_writers;
        report.pending = survey.packs.keys().filter(|id| survey.condemned.contains(id)).count() as u64;
        report.damage = choice.damage;
        Ok(())
    }
}

/// What there is, and what of it backups reach.
struct Survey {
    packs: BTreeMap<PackId, u64>,
    at_work: HashSet<SessionId>,
    marking: Marking,
    condemned: HashSet<PackId>,
}

impl Survey {
    /// `own`: the collector's session, which refers to nothing but what it has copied so far. Segments that it merged are its own.
    fn make(repository: &Repository, observer: &Observer<'_>, own: Option<SessionId>) -> Result<Self, Error> {
        let packs = listing::packs(repository.backend())?;
        let sessions = repository.sessions()?.into_iter().filter(SessionInfo::is_at_work);
        let at_work = sessions.map(|session| session.id).filter(|id| Some(*id) != own).collect();
        let marking = Marking::complete(repository, observer)?;
        let collections = collection::list(repository.backend(), repository.seal())?;
        Ok(Self { packs, at_work, marking, condemned: collections.into_values().flatten().collect() })
    }

    fn choose(&self, repository: &Repository, options: &GcOptions) -> Result<Choice, Error> {
        let Self { packs, at_work, condemned, .. } = self;
        let GcOptions { repack_below, gather, .. } = *options;
        let criteria = Criteria { packs, at_work, condemned, repack_below, gather };
        Choice::make(repository, &self.marking, &criteria)
    }

    fn tell(&mut self, report: &mut GcReport) {
        // What there was at the start, and not after something was deleted.
        if report.packs == 0 {
            report.packs = self.packs.len() as u64;
            report.pack_bytes = self.packs.values().sum();
        }
        self.marking.tell(report);
    }
}

/// Packs with their bytes; one that is not listed is read as if it were large.
fn sized(packs: &[PackId], listed: &BTreeMap<PackId, u64>) -> Vec<(PackId, u64)> {
    packs.iter().map(|id| (*id, listed.get(id).copied().unwrap_or(u64::MAX))).collect()
}

struct Run<'a> {
    repository: &'a Repository,
    session: &'a Session<'a>,
    waiter: Waiter<'a>,
    observer: &'a Observer<'a>,
    report: GcReport,
    /// Sessions whose records it has seen.
    writers: HashSet<SessionId>,
}

/// What a collector has just condemned.
struct Condemned {
    collections: BTreeSet<CollectionId>,
    marking: Marking,
    /// Whether small packs wait for that to be deleted.
    may_gather: bool,
}

impl Run<'_> {
    /// Chooses packs, copies what lives in some of them, and condemns them.
    ///
    /// Small packs are gathered only when nothing is left to free: room is made before some is taken.
    fn condemn(&mut self, options: &GcOptions) -> Result<Condemned, Error> {
        let repository = self.repository;
        let (backend, seal) = (repository.backend(), repository.seal());
        let mut survey = Survey::make(repository, self.observer, Some(self.session.id()))?;
        survey.tell(&mut self.report);
        self.writers.extend(survey.marking.writers());
        self.remove_buried(&mut survey.marking)?;
        if !self.report.doubts.is_empty() {
            return Ok(Condemned { collections: BTreeSet::new(), marking: survey.marking, may_gather: false });
        }
        let mut choice = survey.choose(repository, options)?;
        let Survey { mut marking, packs, .. } = survey;
        // The second time it is about the same packs.
        if self.report.condemned == 0 {
            self.report.kept_for_writers = choice.kept_for_writers;
            self.report.locked.merge(choice.locked);
            self.report.damage.append(&mut choice.damage);
        }
        if !choice.gone.is_empty() {
            // Of two collectors at once, one may have named again what the other deleted.
            // No more than that: a pack that is brought back meanwhile is one that nothing names.
            self.report.copied_bytes += unname(repository, self.session.id(), &choice.gone)?;
        }
        let mut all = choice.dead;
        self.copy((&sized(&choice.sparse, &packs), What::Marked), &mut marking, &mut all)?;
        let frees = !all.is_empty();
        if !frees {
            self.report.gathered += self.copy((&sized(&choice.gathered, &packs), What::All), &mut marking, &mut all)?;
        }
        self.report.condemned += all.len() as u64;
        let now = || repository.clock().now();
        let put = |packs: &[PackId]| collection::put(backend, (seal, self.session.id()), packs, now());
        let collections: Result<BTreeSet<_>, Error> = all.chunks(MAX_PACKS).map(put).collect();
        Ok(Condemned { collections: collections?, marking, may_gather: frees && !choice.gathered.is_empty() })
    }

    /// Copies what lives in packs, or, to gather them, all of it, and adds those that are not needed any more to the ones that are to be `condemned`; their
    /// number.
    fn copy(
        &mut self,
        (packs, what): (&[(PackId, u64)], What),
        marking: &mut Marking,
        condemned: &mut Vec<PackId>,
    ) -> Result<u64, Error> {
        let copied = self.copy_live(packs, what, marking)?;
        self.report.repacked += copied.done.len() as u64;
        condemned.extend(&copied.done);
        Ok(copied.done.len() as u64)
    }

    /// Copies, and says what turned out to be damaged.
    fn copy_live(&mut self, packs: &[(PackId, u64)], what: What, marking: &mut Marking) -> Result<Copied, Error> {
        let mut copied = copy_live(self.repository, self.session, &mut marking.reached, (packs, what), self.observer)?;
        self.report.damage.append(&mut copied.damage);
        self.report.noted += copied.noted;
        Ok(copied)
    }

    /// Removes the records of sessions that were declared ended: they are no backups.
    fn remove_buried(&mut self, marking: &mut Marking) -> Result<(), Error> {
        for ((volume, id), session) in std::mem::take(&mut marking.buried) {
            // By now another backup may have its name.
            let name = self.repository.record_object(&volume, id)?;
            if record::writer(self.repository.backend(), &name)? != Some(session) {
                continue;
            }
            if let Some(until) = self.repository.locked_until(&name)? {
                self.report.damage.push(Error::LockedVoid { id, volume, session, until });
                continue;
            }
            self.repository.backend().discard(&name)?;
            self.report.removed_records.push((volume, id));
        }
        Ok(())
    }

    /// Deletes what is in the collections, once nobody refers to it; false where that has to wait.
    fn finish(&mut self, ids: &BTreeSet<CollectionId>, marking: Option<Marking>) -> Result<bool, Error> {
        let waited = self.waiter.wait(ids)?;
        self.report.ended.extend(waited.ended);
        if !waited.waiting.is_empty() {
            self.report.waiting = waited.waiting;
            self.report.doubts.extend(waited.doubt);
            self.tell_pending()?;
            return Ok(false);
        }
        let mut marking = marking;
        for _ in 0..MAX_ROUNDS {
            let Some(again) = self.try_finish(ids, marking.take())? else { continue };
            return Ok(again);
        }
        // Others move things, or something new is damaged each time: the next collection goes on.
        self.tell_pending()?;
        Ok(false)
    }

    /// Counts what is condemned and still there.
    fn tell_pending(&mut self) -> Result<(), Error> {
        let collections = collection::list(self.repository.backend(), self.repository.seal())?;
        self.report.pending = collections.values().map(|packs| packs.len() as u64).sum();
        Ok(())
    }

    /// None where another collector has moved what was marked, or damage was noted: then once more.
    fn try_finish(&mut self, ids: &BTreeSet<CollectionId>, marking: Option<Marking>) -> Result<Option<bool>, Error> {
        let repository = self.repository;
        let (backend, seal) = (repository.backend(), repository.seal());
        // The records of those that were waited for are shown after this.
        self.waiter.settle(1);
        let collections = collection::list(backend, seal)?;
        let ours: BTreeMap<_, _> = collections.iter().filter(|(id, _)| ids.contains(id)).collect();
        let condemned: HashSet<PackId> = match skips(Step::OthersCollections) {
            true => ours.values().copied().flatten().copied().collect(),
            false => collections.values().flatten().copied().collect(),
        };
        // What was deleted before a collection went is not shown any more after this.
        self.waiter.settle(1);
        let there: BTreeMap<PackId, u64> = listing::packs(backend)?;
        if !skips(Step::ForgetPacks) {
            repository.forget_packs();
        }
        repository.refresh_index()?;
        let mut marking = match marking {
            Some(mut marking) => {
                if !skips(Step::SecondMark) {
                    marking.mark_new(repository, self.observer)?;
                }
                marking
            }
            None => Marking::complete(repository, self.observer)?,
        };
        if !marking.reached.is_whole() || !skips(Step::NotedDamage) && marking.is_outdated(repository)? {
            marking = Marking::complete(repository, self.observer)?;
        }
        if !skips(Step::FreshListing) && !marking.packs().all(|id| there.contains_key(&id)) {
            return Ok(None);
        }
        marking.tell(&mut self.report);
        self.writers.extend(marking.writers());
        self.remove_buried(&mut marking)?;
        if !self.report.doubts.is_empty() {
            return Ok(Some(false));
        }
        // Whoever may have locked them since they were condemned has been waited for. They stay, with what is needed of them.
        let locked = repository.locked_packs(condemned.iter().copied())?;
        let mut needed: Vec<PackId> =
            marking.packs().filter(|id| condemned.contains(id) && !locked.contains_key(id)).collect();
        needed.sort_unstable();
        let mut copied = Copied::default();
        if !skips(Step::Salvage) {
            copied = self.copy_live(&sized(&needed, &there), What::Marked, &mut marking)?;
        }
        // Of what was noted just now, the only right copy may be in a pack that is about to go.
        if !copied.gone.is_empty() || copied.noted > 0 && !skips(Step::NotedDamage) {
            return Ok(None);
        }
        // What can't be read in whole is not deleted.
        let kept: HashSet<PackId> = marking.packs().filter(|id| condemned.contains(id)).collect();
        let mut doomed: HashSet<PackId> = ours.values().copied().flatten().copied().collect();
        let mut last_resorts = HashSet::new();
        for id in &doomed {
            if marking.is_last_resort(repository, *id)? {
                last_resorts.insert(*id);
            }
        }
        doomed.retain(|id| !last_resorts.contains(id) && !locked.contains_key(id));
        if !skips(Step::Salvage) {
            doomed.retain(|id| !kept.contains(id));
        }
        let swept = sweep(repository, self.session.id(), &mut doomed, self.observer)?;
        self.report.copied_bytes += swept.written_bytes;
        self.report.locked.add(&swept.locked);
        self.report.locked.add(&locked);
        let freed = doomed.iter().filter_map(|id| there.get(id));
        self.report.deleted += freed.clone().count() as u64;
        self.report.freed_bytes += freed.sum::<u64>();
        for (id, packs) in ours {
            if packs.iter().all(|pack| doomed.contains(pack)) {
                backend.discard(&layout::collection(*id)?)?;
            }
        }
        Ok(Some(true))
    }
}
