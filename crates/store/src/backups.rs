//! Finding backups, and deleting them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use cinderblock_backend::for_each_in_flight;

use crate::error::Error;
use crate::fence;
use crate::id::{BackupId, SessionId, VolumeId};
use crate::locking::timestamp;
use crate::record::Record;
use crate::repository::Repository;
use crate::sabotage::{Step, skips};

/// What is written for a volume's last backup.
const LATEST: &str = "latest";

impl Repository {
    /// Finds a backup by its id, or by the beginning of its id if only one begins so; with `VOLUME/` before it, among the
    /// backups of that volume. `VOLUME/latest` is the one of them that was made last.
    ///
    /// # Errors
    /// [`Error::BackupNotFound`], [`Error::BackupAmbiguous`], or what the storage says. The latest can't be told where one of the
    /// volume's records is damaged, or of a newer format.
    pub fn find_backup(&self, text: &str) -> Result<(VolumeId, BackupId), Error> {
        let not_found = || Error::BackupNotFound { text: text.to_owned() };
        let (volume, id) = match text.rsplit_once('/') {
            Some((volume, id)) => (Some(VolumeId::new(volume).map_err(|_| not_found())?), id),
            None => (None, text),
        };
        if let (Some(volume), LATEST) = (&volume, id) {
            return Ok((volume.clone(), self.latest(volume)?.ok_or_else(not_found)?));
        }
        let wanted = id.to_ascii_lowercase();
        if wanted.is_empty() || !wanted.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return Err(not_found());
        }
        let mut fitting: Vec<_> =
            self.backups(volume.as_ref())?.into_iter().filter(|(_, id)| id.to_string().starts_with(&wanted)).collect();
        if let [(_, first), (_, second), ..] = fitting.as_slice() {
            return Err(Error::BackupAmbiguous {
                text: text.to_owned(),
                count: fitting.len(),
                first: *first,
                second: *second,
            });
        }
        fitting.pop().ok_or_else(not_found)
    }

    /// The backup of a volume that was made last. Unlike [`newest_backup`](Self::newest_backup), it passes over none: who restores it
    /// wants no older one instead.
    fn latest(&self, volume: &VolumeId) -> Result<Option<BackupId>, Error> {
        let latest = Mutex::new(None);
        for_each_in_flight(self.backend.requests_in_flight(), &self.backups(Some(volume))?, |(volume, id)| {
            let made = match self.record(volume, *id) {
                Ok(record) => Some((record.created_at, record.id)),
                // Deleted meanwhile, or none that counts.
                Err(Error::BackupNotFound { .. }) => None,
                Err(error) => return Err(error),
            };
            let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = made.max(*latest);
            Ok::<_, Error>(())
        })?;
        Ok(latest.into_inner().unwrap_or_else(PoisonError::into_inner).map(|(_, id)| id))
    }

    /// The newest readable backup of a volume, if there is one.
    ///
    /// # Errors
    /// What the storage says. Records that are damaged, or of a newer format, are passed over.
    pub fn newest_backup(&self, volume: &VolumeId) -> Result<Option<Record>, Error> {
        let (newest, others): (Mutex<Option<Record>>, _) = (Mutex::default(), Mutex::new(Vec::new()));
        for_each_in_flight(self.backend.requests_in_flight(), &self.backups(Some(volume))?, |(volume, id)| {
            let Some(record) = self.readable_record(volume, *id)? else { return Ok(()) };
            let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
            let older = match &*newest {
                Some(best) if record.created_at <= best.created_at => Some(record),
                _ => newest.replace(record),
            };
            let mut others = others.lock().unwrap_or_else(PoisonError::into_inner);
            others.extend(older.map(|older| (older.created_at, older.id)));
            Ok::<_, Error>(())
        })?;
        let mut newest = newest.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut others = others.into_inner().unwrap_or_else(PoisonError::into_inner);
        others.sort_unstable();
        // Only of the one that is wanted it is asked whether it counts, and mostly it does.
        while let Some(record) = newest {
            if !self.is_void(record.session)? {
                return Ok(Some(record));
            }
            newest = loop {
                let Some((_, id)) = others.pop() else { return Ok(None) };
                let next = self.readable_record(volume, id)?;
                if next.is_some() {
                    break next;
                }
            };
        }
        Ok(None)
    }

    /// A record, whether it counts or not, if it is there and this program can read it.
    fn readable_record(&self, volume: &VolumeId, id: BackupId) -> Result<Option<Record>, Error> {
        match self.unchecked_record(volume, id) {
            Ok(record) => Ok(Some(record)),
            Err(Error::BackupNotFound { .. } | Error::NewerFormat { .. } | Error::Unsupported { .. }) => Ok(None),
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a record of this session is none. To be asked after the record was read: a tombstone that is put later finds the record, or
    /// its session takes it back.
    fn is_void(&self, session: SessionId) -> Result<bool, Error> {
        Ok(!skips(Step::ReaderCheck) && fence::is_buried(&*self.backend, session)?)
    }

    /// Of what was read of many records with [`unchecked_record`](Self::unchecked_record), leaves out that of records which do not count, because a
    /// garbage collector gave up on the `session` that wrote them. One listing tells of all, where the storage's listings do not lag.
    ///
    /// # Errors
    /// What the storage says.
    pub fn retain_valid<T>(&self, read: &mut Vec<T>, session: impl Fn(&T) -> SessionId) -> Result<(), Error> {
        if skips(Step::ReaderCheck) || read.is_empty() {
            return Ok(());
        }
        let void = if read.len() > 1 && self.backend.settle_delay().is_zero() {
            fence::tombstones(&*self.backend)?
        } else {
            let void = Mutex::new(HashSet::new());
            let sessions: Vec<SessionId> = read.iter().map(&session).collect();
            for_each_in_flight(self.backend.requests_in_flight(), &sessions, |session| {
                if self.is_void(*session)? {
                    void.lock().unwrap_or_else(PoisonError::into_inner).insert(*session);
                }
                Ok::<_, Error>(())
            })?;
            void.into_inner().unwrap_or_else(PoisonError::into_inner)
        };
        read.retain(|one| !void.contains(&session(one)));
        Ok(())
    }

    /// Removes a backup's record: from then on the backup does not exist. Then its marks. Others are not touched, and the
    /// space of what no backup reaches any more is not freed yet.
    ///
    /// # Errors
    /// [`Error::BackupNotFound`]; [`Error::Protected`]; [`Error::Locked`]; an unreadable mark's, as it may be one that protects; or what the
    /// storage says.
    pub fn delete_backup(&self, volume: &VolumeId, id: BackupId) -> Result<(), Error> {
        // Else it would find whole backups damaged, and their owner might take advice to delete them.
        self.check_identity()?;
        if let Some(mark) = self.mark(volume, id)?
            && mark.is_protected(self.now())
        {
            return Err(Error::Protected { backup: id, volume: volume.clone(), until: mark.protected_until });
        }
        let name = self.record_object(volume, id)?;
        let locked = |until| Error::Locked { id, volume: volume.clone(), until };
        // A bucket with versions would take the deletion, keep what is locked out of sight, and free nothing.
        if let Some(until) = self.locked_until(&name)? {
            return Err(locked(until));
        }
        match self.backend.delete(&name) {
            Err(error) if error.is_not_found() => return Err(Error::BackupNotFound { text: id.to_string() }),
            Err(cinderblock_backend::Error::Retained { until, .. }) => return Err(locked(timestamp(until))),
            other => other?,
        }
        self.remove_marks(volume, id);
        Ok(())
    }
}
