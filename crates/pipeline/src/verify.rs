//! Verification: is everything there and right that backups need, and if not, what of which volume is lost?
//!
//! Structure is always checked: records, maps, index segments, every pack's directory, and a place for every chunk.
//! With data, every stored byte is read once, however many backups share it, or a share of them, that goes on where the last run
//! ended. Memory is bounded: only what is damaged is remembered.

mod data;
mod repair;
mod report;
mod sample;
mod walk;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cinderblock_chunker::Extent;
use cinderblock_store::{BackupId, Error as StoreError, PackId, Repository, SessionId, VolumeId};

use self::data::{Damage, DataCheck};
use self::sample::Sample;
use self::walk::{Findings, Walk};
use crate::engine::{Control, Engine, in_flight};
use crate::error::Error;
use crate::lanes;

pub use self::repair::{RepairOptions, RepairReport};
pub use self::report::{DamagedBackup, DamagedObject, VerifyReport};
pub use self::sample::{ReadData, Sampled, Share};

/// Packs of a sample that are read at once, for each thread.
const PACKS_PER_THREAD: usize = 4;

/// Segments that are read at once, if the storage wants several requests at once: each may take 10 MiB.
const SEGMENTS_AT_ONCE: usize = 8;

/// What to verify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// The backups whose records, maps and chunks are checked; all where there are none given. Segments and pack
    /// directories are checked in any case.
    pub backups: Option<Vec<(VolumeId, BackupId)>>,
    /// Which stored bytes to read too. All are those of all packs, or of those that chosen backups need; a share is one of all packs
    /// in any case.
    pub read_data: ReadData,
}

fn store(error: StoreError) -> Error {
    error.into()
}

impl Engine {
    /// Verifies a repository, or chosen backups. Damage is in the report; the error is for what kept it from being verified.
    ///
    /// It may run beside writers: what is added meanwhile is not looked at.
    ///
    /// It writes nothing but, where it reads a share of the data, how far it has come. Where it is stopped or fails, that is as far as it has found
    /// nothing wrong.
    ///
    /// # Errors
    /// [`Error::Store`] where the storage or the index fails, and for a chosen backup that does not exist;
    /// [`Error::Cancelled`].
    pub fn verify(
        &self,
        repository: &Repository,
        options: &VerifyOptions,
        control: &Control,
    ) -> Result<VerifyReport, Error> {
        let mut sample = None;
        let verified = self.verify_reading(repository, options, control, &mut sample);
        match (verified, sample) {
            (Ok(report), Some(sample)) => Ok(VerifyReport { sample: Some(sample.remember(repository)), ..report }),
            (Err(error), Some(sample)) => {
                sample.remember_what_was_right(repository);
                Err(error)
            }
            (verified, None) => verified,
        }
    }

    fn verify_reading(
        &self,
        repository: &Repository,
        options: &VerifyOptions,
        control: &Control,
        sample: &mut Option<Sample>,
    ) -> Result<VerifyReport, Error> {
        let started = Instant::now();
        let mut report = VerifyReport::default();
        let damage = Damage::default();
        control.cancel.check(false)?;
        // In this order: what a record needs was stored before it, and a pack before the segment that names it.
        let backups = match &options.backups {
            Some(chosen) => chosen.clone(),
            None => repository.backups(None).map_err(store)?,
        };
        // Not those that records name: a garbage collector may have copied them elsewhere since.
        let named = self.check_segments(repository, control, &damage, &mut report)?;
        let packs = repository.list_packs().map_err(store)?;
        // What was read before the damage happened must not hide it.
        repository.forget_packs();
        repository.refresh_index().map_err(store)?;

        let walk = Walk::new(repository, control, self.settings().memory_bytes / 8);
        let check = DataCheck::new(&self.pool, repository, control, &damage, self.settings().memory_bytes / 4);
        // None: all.
        let wanted: Option<HashSet<PackId>> = match (options.read_data, &options.backups) {
            (ReadData::No, _) => Some(HashSet::new()),
            (ReadData::All, None) => None,
            (ReadData::All, Some(_)) => Some(self.packs_of(&walk, &backups)?),
            (ReadData::Share(share), _) => {
                Some(sample.insert(Sample::choose(repository, &packs, share)).packs().map(|(id, _)| id).collect())
            }
        };
        let is_read = |id: &PackId| wanted.as_ref().is_none_or(|wanted| wanted.contains(id));
        let total = packs.iter().filter(|(id, _)| is_read(id)).map(|(_, bytes)| bytes).sum();
        control.progress.total_bytes.store(total, Ordering::Relaxed);
        if let Some(sample) = sample.as_mut() {
            self.read_sample(&check, &damage, sample)?;
        }
        let is_done = |id: &PackId| sample.is_some() && is_read(id);
        let others: Vec<PackId> = packs.iter().map(|(id, _)| *id).filter(|id| !is_done(id)).collect();
        let in_flight = in_flight(repository);
        let reads_data = wanted.as_ref().is_none_or(|wanted| others.iter().any(|id| wanted.contains(id)));
        let packs_at_once = if reads_data { check.packs_at_once() } else { in_flight };
        lanes::for_each(&self.pool, packs_at_once, &others, |id| check.pack(*id, |_| is_read(id)))?;
        check.spare_what_has_copies()?;

        walk.judge_by(&damage);
        let found = Mutex::new(Vec::new());
        lanes::for_each(&self.pool, in_flight, &backups, |(volume, id)| {
            let findings = walk.backup(volume, *id, options.backups.is_some())?;
            let findings = findings.map(|findings| (volume.clone(), *id, findings));
            found.lock().unwrap_or_else(PoisonError::into_inner).extend(findings);
            Ok::<_, Error>(())
        })?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        // No session has this id: what can't be read counts.
        let nobody = SessionId::from_bytes([0; 16]);
        repository.retain_valid(&mut found, |(_, _, findings)| findings.session.unwrap_or(nobody)).map_err(store)?;
        for (volume, id, findings) in found {
            report.backups += 1;
            let Findings { lost, reason, objects, .. } = findings;
            damage.add_all(objects);
            if reason.is_some() || !lost.is_empty() {
                report.damaged_backups.push(DamagedBackup { volume, id, reason, lost });
            }
        }
        if !report.damaged_backups.is_empty() {
            let there: HashSet<PackId> = packs.iter().map(|(id, _)| *id).collect();
            for id in named.difference(&there) {
                // Where nothing is lost, it was needed by nobody.
                let object = repository.pack_object(*id).map_err(store)?;
                let reason = "an index segment names it, and it is gone".to_owned();
                damage.add(DamagedObject { object, offset: 0, reason });
            }
        }
        report.damaged_backups.sort_by(|a, b| (&a.volume, a.id).cmp(&(&b.volume, b.id)));
        report.packs = packs.len() as u64;
        report.chunks = check.chunks();
        report.read_bytes = check.read_bytes();
        report.damaged_objects = damage.into_objects();
        report.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }

    /// Reads the packs of a sample in order, a few at once, so that it is known how far it has come.
    fn read_sample(&self, check: &DataCheck<'_>, damage: &Damage, sample: &mut Sample) -> Result<(), Error> {
        let packs: Vec<PackId> = sample.packs().map(|(id, _)| id).collect();
        let before = damage.places();
        let at_once = check.packs_at_once();
        for group in packs.chunks((PACKS_PER_THREAD * self.settings().threads).max(at_once)) {
            lanes::for_each(&self.pool, at_once, group, |id| check.pack(*id, |_| true))?;
            if damage.places() == before {
                sample.right += group.len();
            }
        }
        Ok(())
    }

    /// Checks all segments; the packs that they name.
    fn check_segments(
        &self,
        repository: &Repository,
        control: &Control,
        damage: &Damage,
        report: &mut VerifyReport,
    ) -> Result<HashSet<PackId>, Error> {
        let segments = repository.list_segments().map_err(store)?;
        report.segments = segments.len() as u64;
        let named = Mutex::new(HashSet::new());
        lanes::for_each(&self.pool, in_flight(repository).min(SEGMENTS_AT_ONCE), &segments, |id| {
            control.cancel.check(false)?;
            match repository.check_segment(*id) {
                Ok(packs) => named.lock().unwrap_or_else(PoisonError::into_inner).extend(packs),
                // A garbage collector replaced it.
                Err(StoreError::Backend(error)) if error.is_not_found() => {}
                Err(error) if error.is_damage() => {
                    damage.add(DamagedObject::new(repository.segment_object(*id).map_err(store)?, error));
                }
                Err(error) => return Err(store(error)),
            }
            Ok(())
        })?;
        Ok(named.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The packs in which the chunks and map nodes of chosen backups are.
    fn packs_of(&self, walk: &Walk<'_>, backups: &[(VolumeId, BackupId)]) -> Result<HashSet<PackId>, Error> {
        let found = Mutex::new(HashSet::new());
        lanes::for_each(&self.pool, in_flight(walk.repository), backups, |(volume, id)| {
            let packs = walk.packs(volume, *id)?;
            found.lock().unwrap_or_else(PoisonError::into_inner).extend(packs);
            Ok::<_, Error>(())
        })?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds an extent to those before it; what goes on where the last one ends becomes a part of that, so that a volume that is lost as a
/// whole is one extent.
fn add_extent(extents: &mut Vec<Extent>, next: Extent) {
    match extents.last_mut() {
        Some(last) if last.end() == next.offset => last.length = last.length.saturating_add(next.length),
        _ => extents.push(next),
    }
}

/// Extents in any order, as few as possible in the order of the volume.
fn merged(extents: impl IntoIterator<Item = Extent>) -> Vec<Extent> {
    let sorted: BTreeMap<u64, u64> = extents.into_iter().map(|extent| (extent.offset, extent.length)).collect();
    let mut merged = Vec::new();
    sorted.into_iter().for_each(|(offset, length)| add_extent(&mut merged, Extent { offset, length }));
    merged
}
