//! Which volumes the names of records mean: in an encrypted repository, only the records tell.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use cinderblock_backend::ObjectName;

use crate::error::Error;
use crate::id::{BackupId, VolumeId};
use crate::layout;
use crate::record::Record;
use crate::repository::Repository;

/// What is known of the volumes' parts of names.
#[derive(Debug, Default)]
pub(crate) struct VolumeNames(Mutex<HashMap<String, Named>>);

/// What a part of a name is.
#[derive(Clone, Debug)]
enum Named {
    /// It stands for this volume.
    Volume(VolumeId),
    /// None of its records can be read: its backups go by the part itself, so that they can be listed, verified and deleted.
    Unknown,
}

/// Whether it may be what stands for a volume in names, rather than a volume's own name.
fn is_part(volume: &VolumeId) -> bool {
    let text = volume.as_str();
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Repository {
    /// Ids of all backups, or of one volume's, in no particular order. In an encrypted repository a record of each volume is read that was not met
    /// before; where none of a volume can be, its backups appear under the 32 hexadecimal digits that stand for it in the storage.
    ///
    /// # Errors
    /// What the storage says.
    pub fn backups(&self, volume: Option<&VolumeId>) -> Result<Vec<(VolumeId, BackupId)>, Error> {
        let prefix = match volume {
            Some(volume) => format!("{}{}/", layout::BACKUPS, self.volume_part(volume)),
            None => layout::BACKUPS.to_owned(),
        };
        let mut found = Vec::new();
        self.backend().list(&prefix, &mut |info| {
            found.extend(layout::parse_record(&info.name));
            Ok(())
        })?;
        if !self.seal().is_sealed() {
            return Ok(found);
        }
        if let Some(volume) = volume {
            if found.is_empty() && is_part(volume) {
                // A listing shows it so where none of its records can be read.
                return Ok(self.backups(None)?.into_iter().filter(|(named, _)| named == volume).collect());
            }
            return Ok(found.into_iter().map(|(_, id)| (volume.clone(), id)).collect());
        }
        let mut parts: BTreeMap<VolumeId, Vec<BackupId>> = BTreeMap::new();
        for (part, id) in found {
            parts.entry(part).or_default().push(id);
        }
        let mut named = Vec::new();
        for (part, ids) in parts {
            if let Some(volume) = self.named(&part, &ids)? {
                named.extend(ids.into_iter().map(|id| (volume.clone(), id)));
            }
        }
        Ok(named)
    }

    /// Name of the record of a backup in the repository.
    ///
    /// # Errors
    /// None but a defect of this program's.
    pub fn record_object(&self, volume: &VolumeId, id: BackupId) -> Result<ObjectName, Error> {
        layout::record(&self.volume_part(volume), id)
    }

    fn volume_part(&self, volume: &VolumeId) -> String {
        if self.seal().is_sealed() {
            let names = self.volume_names.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Named::Unknown) = names.get(volume.as_str()) {
                return volume.to_string();
            }
        }
        self.seal().volume_part(volume)
    }

    /// The volume that a part of names stands for. None where its backups are gone.
    fn named(&self, part: &VolumeId, ids: &[BackupId]) -> Result<Option<VolumeId>, Error> {
        let known = self.volume_names.0.lock().unwrap_or_else(PoisonError::into_inner).get(part.as_str()).cloned();
        if let Some(Named::Volume(volume)) = known {
            return Ok(Some(volume));
        }
        let mut named = None;
        for id in ids {
            let name = layout::record(part.as_str(), *id)?;
            match Record::read(self.backend(), self.seal(), &name, *id) {
                Ok(record) => {
                    named = Some(Named::Volume(record.volume));
                    break;
                }
                Err(Error::BackupNotFound { .. }) => {}
                Err(error)
                    if error.is_damage() || matches!(error, Error::NewerFormat { .. } | Error::Unsupported { .. }) =>
                {
                    named = Some(Named::Unknown);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(named) = named else { return Ok(None) };
        let volume = match &named {
            Named::Volume(volume) => volume.clone(),
            Named::Unknown => part.clone(),
        };
        let mut names = self.volume_names.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(part.to_string(), named);
        Ok(Some(volume))
    }
}
