//! Importing a chain of Cinder's backups.

use cinderblock_pipeline::{BackupOptions, BackupVolume, Engine, Parent, Source};
use cinderblock_store::pack::frame::Compression;
use cinderblock_store::{BackupId, Record, Repository, Timestamp, VolumeId};
use sha2::{Digest, Sha256};

use super::facts;
use crate::backup::Backup;
use crate::crew::Crew;
use crate::document::Sha256File;
use crate::driver::{ChunkedBackupDriver, GIB, restore_version};
use crate::error::Error;
use crate::hashes::{self, HashStream};
use crate::layer::Layer;
use crate::read::ObjectStream;
use crate::storage::ChunkedStorage;

/// Hashes that are compared at once.
const HASHES_AT_ONCE: u64 = 8192;

/// A backup of Cinder's that is now in the repository.
#[derive(Clone, Debug)]
pub struct ImportedBackup {
    /// Its record in the repository.
    pub record: Record,
    /// As a row of Cinder's database.
    pub backup: Backup,
    /// Whether it was there already, from an import before.
    pub was_there: bool,
}

impl<S: ChunkedStorage> ChunkedBackupDriver<S> {
    /// Takes a chain, oldest first, into a repository: each layer as a backup of its own, complete by itself, with Cinder's ids, name,
    /// description, time, volume metadata and parent. An increment costs what its objects cost: the rest is taken from the
    /// backup before it. Of layers that are there already only the list of hashes is read and compared.
    ///
    /// Each object is checked against its length and MD5, and where the repository's chunks are Cinder's hash blocks, the whole volume
    /// against the layer's list of hashes.
    ///
    /// # Errors
    /// [`Error::InvalidBackup`], [`Error::DamagedObject`], or what storage or repository say. Layers before the one that
    /// failed stay.
    pub fn import(
        &self,
        repository: &Repository,
        engine: &Engine,
        layers: &[Layer],
        compression: Compression,
    ) -> Result<Vec<ImportedBackup>, Error> {
        let mut imported: Vec<ImportedBackup> = Vec::with_capacity(layers.len());
        for layer in layers {
            let base = imported.last().map(|before| &before.record);
            let next = self.import_layer(repository, engine, layer, base, compression)?;
            imported.push(next);
        }
        Ok(imported)
    }

    fn import_layer(
        &self,
        repository: &Repository,
        engine: &Engine,
        layer: &Layer,
        base: Option<&Record>,
        compression: Compression,
    ) -> Result<ImportedBackup, Error> {
        let head = &layer.metadata.head;
        let volume = VolumeId::new(head.volume_id.as_str())?;
        let id: BackupId = head.backup_id.parse()?;
        let (name, value) = facts::attribute(&layer.metadata)?;
        let mut backup = layer.backup();
        let mut finished = |record: Record, was_there| {
            backup.size_gib = record.volume_bytes.div_ceil(GIB).max(1);
            ImportedBackup { record, backup: std::mem::take(&mut backup), was_there }
        };
        match repository.record(&volume, id) {
            Ok(record) => {
                let same = record.attributes.get(&name) == Some(&value);
                self.check_existing(repository, &record, layer, same)?;
                return Ok(finished(record, true));
            }
            Err(cinderblock_store::Error::BackupNotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        layer.check_listing(self.storage())?;
        let list = hashes::check(self.storage(), &layer.container, &layer.prefix.sha256file())?;
        restore_version(&list.head.version)?;
        let volume_bytes = volume_bytes(layer, &list, base.map_or(0, |base| base.volume_bytes))?;

        let mut options = BackupOptions::new(volume.clone());
        options.id = Some(id);
        options.name.clone_from(&head.backup_name);
        options.description.clone_from(&head.backup_description);
        options.parent = base.map_or(Parent::None, |base| Parent::Backup(base.volume.clone(), base.id));
        options.compression = compression;
        options.created_at = timestamp(&head.created_at);
        options.attributes.insert(name, value);
        let control = &self.context().control;
        let crew = Crew::new(control.cancel.clone());
        let record = std::thread::scope(|threads| {
            let parts = ObjectStream::start(threads, self.storage(), layer, &crew);
            let from = format!("{}/{}", layer.container, layer.prefix.as_str());
            let source = Source::overlay(base.cloned(), volume_bytes, Box::new(parts), from);
            // A backup that is not what Cinder says that it is is never there, not even if this is killed.
            let check = |record: &Record| self.check_hashes(repository, record, layer, &list);
            engine.backup_checked(repository, source, &options, control, check).map_err(plain)
        })?;
        Ok(finished(record, false))
    }

    /// Makes sure that a backup which is there already is this layer: the id may stand for another backup, made anew in the same name.
    fn check_existing(&self, repository: &Repository, record: &Record, layer: &Layer, same: bool) -> Result<(), Error> {
        let another = |what: &str| {
            let reason = format!(
                "there is a backup {} of volume {} in the repository already, {what}",
                record.id, record.volume
            );
            Err(Error::InvalidBackup { reason })
        };
        if !same {
            return another("of which Cinder says something else, or which did not come from Cinder");
        }
        let list = hashes::check(self.storage(), &layer.container, &layer.prefix.sha256file())?;
        restore_version(&list.head.version)?;
        if list.hashes != record.volume_bytes.div_ceil(list.chunk_size) {
            return another("of another size");
        }
        match self.check_hashes(repository, record, layer, &list) {
            Err(Error::InvalidBackup { reason }) => another(&format!("with other data: {reason}")),
            checked => checked,
        }
    }

    /// Compares the hashes of an imported backup's chunks with the layer's list, which covers also what the layer did not store.
    fn check_hashes(
        &self,
        repository: &Repository,
        record: &Record,
        layer: &Layer,
        list: &Sha256File,
    ) -> Result<(), Error> {
        let block = u64::from(record.chunk_bytes);
        if list.chunk_size != block {
            return Ok(());
        }
        let volume = BackupVolume::new(repository, record, self.context().settings.memory_bytes / 4)?;
        std::thread::scope(|threads| {
            let object = layer.prefix.sha256file();
            let mut stream = HashStream::start(threads, self.storage(), &layer.container, object.clone());
            let chunks = record.volume_bytes.div_ceil(block);
            let (mut stated, mut found) = (Vec::new(), Vec::new());
            let mut bytes = vec![0; record.chunk_bytes as usize];
            for first in (0..chunks).step_by(HASHES_AT_ONCE as usize) {
                let end = chunks.min(first + HASHES_AT_ONCE);
                stated.clear();
                found.clear();
                stream.take((end - first) as usize, &mut stated)?;
                volume.block_hashes(first..end, &mut found)?;
                for (chunk, (stated, found)) in (first..).zip(stated.iter().zip(&found)) {
                    let offset = chunk * block;
                    let found = match found {
                        Some(found) => *found,
                        // Chunks may be stored without it: those that are smaller than Cinder's usual block, and those that were first cut by content.
                        None => {
                            if self.context().control.cancel.is_cancelled() {
                                return Err(cinderblock_pipeline::Error::Cancelled { partly_written: false }.into());
                            }
                            let length = block.min(record.volume_bytes - offset);
                            let Some(bytes) = bytes.get_mut(..length as usize) else { continue };
                            volume.read_at(offset, bytes)?;
                            Sha256::digest(bytes).into()
                        }
                    };
                    if found != *stated {
                        let reason = format!(
                            "the block at byte {offset} of the volume has another SHA-256 than {}/{object} states",
                            layer.container
                        );
                        return Err(Error::InvalidBackup { reason });
                    }
                }
            }
            Ok(())
        })
    }
}

/// Size of a layer's volume in bytes. The list of hashes tells the number of blocks, and whoever has the last block, its length.
/// (Restoring in Cinder writes a longer parent's tail as well.)
fn volume_bytes(layer: &Layer, list: &Sha256File, parent_bytes: u64) -> Result<u64, Error> {
    let invalid = |reason: String| Err(Error::InvalidBackup { reason });
    let covered = list.hashes.saturating_mul(list.chunk_size);
    if layer.end() > covered {
        return invalid(format!("it has data up to byte {}, and hashes of {covered} bytes", layer.end()));
    }
    let Some(last) = list.hashes.checked_sub(1) else { return Ok(0) };
    let last_block = last.saturating_mul(list.chunk_size);
    if layer.end() > last_block {
        Ok(layer.end())
    } else if parent_bytes > last_block {
        Ok(parent_bytes.min(covered))
    } else {
        invalid(format!("it has hashes of {covered} bytes, and neither it nor its parent has data that far"))
    }
}

/// The error that a stream of objects ended with, as it was.
fn plain(error: Error) -> Error {
    match error {
        Error::Pipeline(cinderblock_pipeline::Error::ReadSource { path, offset, source }) => {
            match source.downcast::<Error>() {
                Ok(error) => error,
                Err(source) => cinderblock_pipeline::Error::ReadSource { path, offset, source }.into(),
            }
        }
        error => error,
    }
}

/// Python's `str(datetime)`, in UTC where it says no zone; none where it is something else.
fn timestamp(text: &str) -> Option<Timestamp> {
    let parsed = text.parse::<jiff::Timestamp>().or_else(|_| format!("{text}Z").parse());
    Some(Timestamp::from_microseconds(parsed.ok()?.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_python_writes_them() {
        let microseconds = |text| timestamp(text).map(|time| time.microseconds());
        assert_eq!(microseconds("1970-01-01 00:00:01+00:00"), Some(1_000_000));
        assert_eq!(microseconds("1970-01-01 00:00:01.000002+00:00"), Some(1_000_002));
        assert_eq!(microseconds("1970-01-01 01:00:00+01:00"), Some(0));
        assert_eq!(microseconds("1970-01-01 00:00:01"), Some(1_000_000));
        assert_eq!(microseconds("None"), None);
    }
}
