//! Finding backups, and deleting them.

use std::sync::{Mutex, PoisonError};

use cinderblock_backend::for_each_in_flight;

use crate::error::Error;
use crate::id::{BackupId, VolumeId};
use crate::locking::timestamp;
use crate::record::Record;
use crate::repository::Repository;

impl Repository {
    /// Finds a backup by its id, or by the beginning of its id if only one begins so; with `VOLUME/` before it, among the
    /// backups of that volume.
    ///
    /// # Errors
    /// [`Error::BackupNotFound`], [`Error::BackupAmbiguous`], or what the storage says.
    pub fn find_backup(&self, text: &str) -> Result<(VolumeId, BackupId), Error> {
        let not_found = || Error::BackupNotFound { text: text.to_owned() };
        let (volume, id) = match text.rsplit_once('/') {
            Some((volume, id)) => (Some(VolumeId::new(volume).map_err(|_| not_found())?), id),
            None => (None, text),
        };
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

    /// The newest readable backup of a volume, if there is one.
    ///
    /// # Errors
    /// What the storage says. Records that are damaged, or of a newer format, are passed over.
    pub fn newest_backup(&self, volume: &VolumeId) -> Result<Option<Record>, Error> {
        let newest: Mutex<Option<Record>> = Mutex::default();
        for_each_in_flight(self.backend.requests_in_flight(), &self.backups(Some(volume))?, |(volume, id)| match self
            .record(volume, *id)
        {
            Ok(record) => {
                let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
                if newest.as_ref().is_none_or(|best| best.created_at < record.created_at) {
                    *newest = Some(record);
                }
                Ok(())
            }
            Err(Error::BackupNotFound { .. } | Error::NewerFormat { .. } | Error::Unsupported { .. }) => Ok(()),
            Err(error) if error.is_damage() => Ok(()),
            Err(error) => Err(error),
        })?;
        Ok(newest.into_inner().unwrap_or_else(PoisonError::into_inner))
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
