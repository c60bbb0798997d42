//! Exporting a repository's backup as one of Cinder's.

use cinderblock_pipeline::BackupVolume;
use cinderblock_store::{Record, Repository};

use super::facts;
use crate::backup::Backup;
use crate::chain::check_volume_meta;
use crate::driver::{BackupSummary, ChunkedBackupDriver};
use crate::error::Error;
use crate::storage::ChunkedStorage;
use crate::write::Facts;

/// What to say of an exported backup other than what is known of it. None keeps what Cinder said of it, if it came from there, or what
/// the repository says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Its id.
    pub backup_id: Option<String>,
    /// Its volume's id.
    pub volume_id: Option<String>,
    /// Its container.
    pub container: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// A longer text for people.
    pub description: Option<String>,
    /// When it was made, as Python's `str(datetime)` writes it.
    pub created_at: Option<String>,
    /// The volume's metadata, as JSON text.
    pub volume_meta: Option<String>,
}

/// A time as Python's `str(datetime)` writes it in UTC: `2026-08-21 18:05:24.000250+00:00`, without a fraction that is 0.
fn python_time(microseconds: i64) -> String {
    let format = if microseconds % 1_000_000 == 0 { "%Y-%m-%d %H:%M:%S+00:00" } else { "%Y-%m-%d %H:%M:%S%.6f+00:00" };
    match jiff::Timestamp::from_microsecond(microseconds) {
        Ok(time) => time.strftime(format).to_string(),
        // Out of the range of any calendar: as Cinder writes a time that is not known.
        Err(_) => "None".to_owned(),
    }
}

impl<S: ChunkedStorage> ChunkedBackupDriver<S> {
    /// Writes a repository's backup as one of Cinder's: a full one, or with `parent` an increment of a Cinder backup of the same
    /// volume. What is known as the SHA-256 of a chunk is not computed again.
    ///
    /// # Errors
    /// Those of [`backup`](Self::backup). What Cinder once said of a backup is not judged.
    pub fn export(
        &self,
        repository: &Repository,
        record: &Record,
        parent: Option<&Backup>,
        options: &ExportOptions,
    ) -> Result<(Backup, BackupSummary), Error> {
        let known = facts::of(record)?;
        let head = known.as_ref().map(|known| &known.head);
        let given = |given: &Option<String>, known: Option<Option<String>>, otherwise: &Option<String>| {
            given.clone().or_else(|| known.unwrap_or_else(|| otherwise.clone()))
        };
        let created_at =
            head.map_or_else(|| python_time(record.created_at.microseconds()), |head| head.created_at.clone());
        let mut backup = Backup {
            id: options.backup_id.clone().unwrap_or_else(|| record.id.to_string()),
            volume_id: options.volume_id.clone().unwrap_or_else(|| record.volume.to_string()),
            container: options.container.clone(),
            display_name: given(&options.name, head.map(|head| head.backup_name.clone()), &record.name),
            display_description: given(
                &options.description,
                head.map(|head| head.backup_description.clone()),
                &record.description,
            ),
            created_at: options.created_at.clone().unwrap_or(created_at),
            ..Backup::default()
        };
        options.volume_meta.as_deref().map_or(Ok(()), check_volume_meta)?;
        let facts = Facts {
            volume_meta: given(&options.volume_meta, known.as_ref().map(|known| known.volume_meta.clone()), &None),
            extra_metadata: known.and_then(|known| known.extra_metadata),
        };
        let volume = BackupVolume::new(repository, record, self.context().settings.memory_bytes / 4)?;
        let summary = self.write(&mut backup, &volume, parent, &|_| Ok(facts.clone()))?;
        Ok((backup, summary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        assert_eq!(python_time(1_000_000), "1970-01-01 00:00:01+00:00");
        assert_eq!(python_time(1_000_250), "1970-01-01 00:00:01.000250+00:00");
    }
}
