//! Object Lock: what a backup needs is kept from being deleted before its record is put.
//!
//! A pack that an old backup brought, and a new one uses, loses its protection when the old one's period is over, unless the new one
//! renews it. So each commit renews what its record names: to a quarter more than the period, and only what has less than
//! the period left, so that a pack that every backup uses is renewed once in a quarter of the period. What this host has
//! renewed, it remembers in its cache folder.
//!
//! What no record names yet is not locked: what a failed backup leaves can be collected at once. Index segments never are: they say
//! nothing that the packs do not say themselves, and a collector replaces them.

mod renewed;

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use cinderblock_backend::{Backend, ObjectName, Retention};
use renewed::Renewed;

use crate::error::Error;
use crate::id::PackId;
use crate::layout;
use crate::policy;
pub use crate::policy::ObjectLock;
use crate::record::Record;
use crate::repository::Repository;
use crate::session::Session;
use crate::time::Timestamp;
use crate::usage::Reached;

/// How many objects are asked about, or kept, with one call: some seconds' worth, after which a session gives a sign of life.
const BATCH: usize = 512;

/// Of how many objects that are remembered as locked each commit asks the storage.
const SPOT_CHECKS: usize = 4;

/// Until when what a commit needs has to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commitment {
    lock: ObjectLock,
    now: SystemTime,
}

impl Commitment {
    /// The backup's own promise.
    fn promised(&self) -> Retention {
        Retention { until: self.now + self.lock.period, mode: self.lock.mode }
    }

    /// What is shared with backups to come is kept longer.
    fn renewed(&self) -> Retention {
        Retention { until: self.now + self.lock.period + self.lock.period / 4, mode: self.lock.mode }
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(time.microseconds()).unwrap_or(0))
}

/// A service's time as the store has it.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_microseconds(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// All objects below a prefix.
fn names(backend: &dyn Backend, prefix: &str) -> Result<Vec<ObjectName>, Error> {
    let mut names = Vec::new();
    backend.list(prefix, &mut |info| {
        names.push(info.name);
        Ok(())
    })?;
    Ok(names)
}

impl Repository {
    /// How long backups are kept from being deleted, where they are.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the policy can't be read; what the storage says.
    pub fn object_lock(&self) -> Result<Option<ObjectLock>, Error> {
        let mut known = self.object_lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = *known {
            return Ok(lock);
        }
        let lock = policy::get(self.backend(), self.seal())?;
        *known = Some(lock);
        Ok(lock)
    }

    /// Keeps what is written from now on from being deleted: each backup for the lock's period from its commit on.
    ///
    /// # Errors
    /// [`cinderblock_backend::Error::CannotRetain`] where the storage has no Object Lock; what the storage says.
    pub fn set_object_lock(&self, lock: ObjectLock) -> Result<(), Error> {
        if !self.backend().can_retain()? {
            return Err(cinderblock_backend::Error::CannotRetain { location: self.backend().location() }.into());
        }
        policy::put(self.backend(), self.seal(), Some(&lock), self.now())?;
        *self.object_lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(Some(lock));
        let commitment = Commitment { lock, now: system_time(self.now()) };
        self.renew(self.names_of_all_backups()?, &commitment, &|| Ok(()))
    }

    /// What every backup needs: the descriptor, the policy, and the keys of an encrypted repository.
    fn names_of_all_backups(&self) -> Result<Vec<ObjectName>, Error> {
        let mut all = vec![layout::descriptor()?];
        for number in policy::numbers(self.backend())? {
            all.push(layout::policy(number)?);
        }
        let keys = names(self.backend(), layout::KEYS)?;
        all.extend(keys.into_iter().filter(|name| layout::parse_key_slot(name).is_some()));
        Ok(all)
    }

    /// Keeps what has less than the period left.
    fn renew(
        &self,
        mut names: Vec<ObjectName>,
        commitment: &Commitment,
        stay: &dyn Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = self.index_folder().join("renewed");
        let mut renewed = Renewed::read(&path, self.id());
        let (promised, longer) = (commitment.promised().whole_seconds(), commitment.renewed());
        // A storage that takes the request for one to write the object would do that.
        if !self.backend().can_retain()? {
            return Err(cinderblock_backend::Error::CannotRetain { location: self.backend().location() }.into());
        }
        // In another bucket, or taken there from a copy, they are not locked.
        if !self.are_locked(
            names.iter().filter(|name| renewed.until(name).is_some_and(|until| until >= promised)),
            promised,
        )? {
            renewed.forget();
        }
        names.retain(|name| renewed.until(name).is_none_or(|until| until < promised));
        if names.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(());
        for batch in names.chunks(BATCH) {
            outcome = stay().and_then(|()| self.retain_what_is_there(batch, longer));
            if outcome.is_err() {
                break;
            }
            renewed.add(batch, longer.whole_seconds());
        }
        renewed.write(&path, commitment.now);
        outcome
    }

    /// Whether some of the objects, among them the first, are locked for as long as is remembered of all.
    fn are_locked<'n>(&self, names: impl Iterator<Item = &'n ObjectName>, until: SystemTime) -> Result<bool, Error> {
        let remembered: Vec<&ObjectName> = names.collect();
        let step = remembered.len().div_ceil(SPOT_CHECKS).max(1);
        let sample: Vec<ObjectName> = remembered.into_iter().step_by(step).cloned().collect();
        if sample.is_empty() {
            return Ok(true);
        }
        let locked = self.backend().retained(&sample)?;
        Ok(locked.into_iter().all(|there| there.is_some_and(|there| there >= until)))
    }

    /// Keeps objects; of the keys, those that nobody has removed since they were listed.
    fn retain_what_is_there(&self, names: &[ObjectName], retention: Retention) -> Result<(), Error> {
        let (keys, others): (Vec<ObjectName>, Vec<ObjectName>) =
            names.iter().cloned().partition(|name| layout::parse_key_slot(name).is_some());
        for key in keys {
            match self.backend().retain(std::slice::from_ref(&key), retention) {
                Err(error) if error.is_not_found() => {}
                other => other?,
            }
        }
        if !others.is_empty() {
            self.backend().retain(&others, retention)?;
        }
        Ok(())
    }

    /// Until when an object is kept from being deleted, where that is so and the repository has locks.
    pub(crate) fn locked_until(&self, name: &ObjectName) -> Result<Option<Timestamp>, Error> {
        if self.object_lock()?.is_none() {
            return Ok(None);
        }
        let until = self.backend().retained(std::slice::from_ref(name))?.into_iter().flatten().next();
        Ok(until.map(timestamp).filter(|until| *until > self.now()))
    }

    /// Those of these packs that are kept from being deleted, and until when.
    pub(crate) fn locked_packs(
        &self,
        packs: impl IntoIterator<Item = PackId>,
    ) -> Result<HashMap<PackId, Timestamp>, Error> {
        let mut locked = HashMap::new();
        if self.object_lock()?.is_none() {
            return Ok(locked);
        }
        let (packs, now) = (packs.into_iter().collect::<Vec<_>>(), self.now());
        for batch in packs.chunks(BATCH) {
            let names = batch.iter().map(|id| layout::pack(*id)).collect::<Result<Vec<_>, _>>()?;
            let until = self.backend().retained(&names)?;
            let until = until.into_iter().map(|until| until.map(timestamp).filter(|until| *until > now));
            locked.extend(batch.iter().copied().zip(until).filter_map(|(id, until)| Some((id, until?))));
        }
        Ok(locked)
    }
}

impl Session<'_> {
    /// Keeps everything that a record needs, before it is put: a backup is never there without its lock. None where the repository has
    /// no locks.
    pub(crate) fn lock_packs(&self, record: &Record) -> Result<Option<Commitment>, Error> {
        let repository = self.repository();
        let Some(lock) = repository.object_lock()? else { return Ok(None) };
        let commitment = Commitment { lock, now: system_time(repository.now()) };
        let mut packs: Vec<PackId> = record.data_packs.iter().chain(&record.map_packs).copied().collect();
        if !record.hints_complete {
            let mut reached = Reached::default();
            repository.reach(record, &mut reached)?;
            packs.extend(reached.packs());
        }
        self.renew_packs(packs, &commitment)?;
        Ok(Some(commitment))
    }

    fn renew_packs(&self, mut packs: Vec<PackId>, commitment: &Commitment) -> Result<(), Error> {
        packs.sort_unstable();
        packs.dedup();
        let mut names = self.repository().names_of_all_backups()?;
        for id in packs {
            names.push(layout::pack(id)?);
        }
        self.repository().renew(names, commitment, &|| self.stay())
    }

    /// Keeps a record that is put and counts, for as long as what it needs at least.
    pub(crate) fn lock_record(&self, record: &Record, commitment: &Commitment) -> Result<(), Error> {
        let name = self.repository().record_object(&record.volume, record.id)?;
        let retained = self.repository().backend().retain(&[name], commitment.promised());
        retained.map_err(|source| Error::NotLocked {
            id: record.id,
            volume: record.volume.clone(),
            source: Box::new(source),
        })
    }

    /// Keeps the packs that this session has stored, where the repository has locks: for a repair, whose packs are needed by records that
    /// are there already.
    ///
    /// # Errors
    /// What the storage says.
    pub fn lock_stored_packs(&self) -> Result<(), Error> {
        let repository = self.repository();
        let Some(lock) = repository.object_lock()? else { return Ok(()) };
        let commitment = Commitment { lock, now: system_time(repository.now()) };
        self.renew_packs(self.stored_packs(), &commitment)
    }
}
