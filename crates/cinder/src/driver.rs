//! [`ChunkedBackupDriver`]: Cinder's class of that name.

use rayon::ThreadPool;

use crate::backup::Backup;
use crate::blocks::Blocks;
use crate::chain::check_volume_meta;
use crate::context::Context;
use crate::document::{ExtraMetadata, Head, MAX_NAME_BYTES, MAX_TEXT_BYTES, MAX_VOLUME_META_BYTES};
use crate::error::Error;
use crate::hashes;
use crate::layout::{ObjectKind, ObjectPrefix};
use crate::storage::ChunkedStorage;
use crate::volume::Volume;
use crate::write::{Facts, Own, Run};

/// Bytes of a GiB, Cinder's unit for volumes.
pub(crate) const GIB: u64 = 1 << 30;

/// Names that are collected before they are deleted: that bounds the memory of a deletion.
const NAMES_AT_ONCE: usize = 10_000;

/// How a version of the format is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreVersion {
    /// As Cinder's `_restore_v1`.
    V1,
}

/// Cinder's chunked backup driver: backs up, restores and deletes volumes in any [`ChunkedStorage`], so that Cinder's own
/// driver restores and continues what it wrote, and the reverse.
#[derive(Debug)]
pub struct ChunkedBackupDriver<S> {
    context: Context,
    storage: S,
    chunk_size_bytes: u64,
    sha_block_size_bytes: u64,
    backup_default_container: Option<String>,
    enable_progress_timer: bool,
    pool: ThreadPool,
}

/// What a backup cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupSummary {
    /// Size of the volume in bytes.
    pub volume_bytes: u64,
    /// Number of data objects.
    pub objects: u64,
    /// Bytes of the data objects as they are stored.
    pub stored_bytes: u64,
}

/// What a deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteSummary {
    /// Number of objects that were deleted.
    pub deleted: u64,
    /// Objects under the prefix whose names are not those of a backup's objects. They were left.
    pub stray: Vec<String>,
}

impl<S> ChunkedBackupDriver<S> {
    /// Version of the format that backups are written in.
    pub const DRIVER_VERSION: &'static str = "1.0.0";

    /// Versions of the format that can be restored, and how.
    pub const DRIVER_VERSION_MAPPING: [(&'static str, RestoreVersion); 1] = [("1.0.0", RestoreVersion::V1)];
}

/// Ids become parts of names, between others.
fn check_id(what: &'static str, id: &str) -> Result<(), Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !id.is_empty() && id.bytes().all(fits) {
        return Ok(());
    }
    let reason = "it has to be of A-Z a-z 0-9 . _ -, such as a UUID".to_owned();
    Err(Error::InvalidName { what, text: id.to_owned(), reason })
}

pub(crate) fn restore_version(version: &str) -> Result<RestoreVersion, Error> {
    let known = ChunkedBackupDriver::<()>::DRIVER_VERSION_MAPPING;
    match known.into_iter().find(|(known, _)| *known == version) {
        Some((_, how)) => Ok(how),
        None => Err(Error::InvalidBackup { reason: format!("No support to restore backup version {version}") }),
    }
}

/// Refuses texts that are longer than a reader accepts: there would be a backup that cannot be restored.
fn check_lengths(backup: &Backup, volume_meta: Option<&str>) -> Result<(), Error> {
    let texts = [
        ("id", Some(backup.id.as_str()), MAX_NAME_BYTES),
        ("volume's id", Some(backup.volume_id.as_str()), MAX_NAME_BYTES),
        ("time", Some(backup.created_at.as_str()), MAX_NAME_BYTES),
        ("name", backup.display_name.as_deref(), MAX_TEXT_BYTES),
        ("description", backup.display_description.as_deref(), MAX_TEXT_BYTES),
        ("volume metadata", volume_meta, MAX_VOLUME_META_BYTES),
    ];
    for (what, text, limit) in texts {
        let bytes = text.map_or(0, str::len);
        if bytes > limit {
            let reason = format!("its {what} would have {bytes} bytes, more than {limit}");
            return Err(Error::InvalidBackup { reason });
        }
    }
    Ok(())
}

impl<S: ChunkedStorage> ChunkedBackupDriver<S> {
    /// A driver that keeps backups in `storage`.
    ///
    /// * `chunk_size_bytes`: bytes of a data object before compression; a multiple of the block size.
    /// * `sha_block_size_bytes`: bytes of a hash block: what an incremental backup compares.
    /// * `backup_default_container`: where backups go that neither name a container nor get one from the storage.
    /// * `enable_progress_timer`: whether to notify at every interval, besides at every so many objects.
    ///
    /// # Errors
    /// [`cinderblock_pipeline::Error::Threads`].
    pub fn new(
        context: Context,
        storage: S,
        chunk_size_bytes: u64,
        sha_block_size_bytes: u64,
        backup_default_container: Option<String>,
        enable_progress_timer: bool,
    ) -> Result<Self, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(context.settings.threads.max(1))
            .thread_name(|number| format!("worker {number}"))
            .build()
            .map_err(|source| cinderblock_pipeline::Error::Threads { source })?;
        Ok(Self {
            context,
            storage,
            chunk_size_bytes,
            sha_block_size_bytes,
            backup_default_container,
            enable_progress_timer,
            pool,
        })
    }

    /// Where backups are kept.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// What it works with.
    pub fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// Backs up a volume. With `parent`, only blocks whose hash differs from the parent's are stored; `backup.parent_id` is the
    /// parent's id then. Sets container, `service_metadata`, size and object count of `backup`. With `backup_metadata`, the
    /// context's [`VolumeApi`](crate::VolumeApi) is asked for the volume's metadata.
    ///
    /// When this returns the backup is whole and durable; if it fails, its objects are deleted again as far as that is possible.
    ///
    /// # Errors
    /// [`Error::InvalidBackup`] as in Cinder: a chunk size that is not a multiple of the block size; a parent with another block
    /// size, or of a smaller volume; a text that is too long to be read again. [`Error::BackupOperation`] for volume metadata that
    /// could not be put back. [`Error::BackupCancelled`]; or what volume or storage say.
    pub fn backup(
        &self,
        backup: &mut Backup,
        volume: &dyn Volume,
        parent: Option<&Backup>,
        backup_metadata: bool,
    ) -> Result<BackupSummary, Error> {
        let extra_metadata = self.storage.get_extra_metadata(backup);
        self.write(backup, volume, parent, &|backup| {
            let api = self.context.volume_api.as_ref().filter(|_| backup_metadata);
            let volume_meta = api.map_or(Ok(None), |api| api.get_metadata(&backup.volume_id))?;
            // As in Cinder, an empty text is none. What no restore would take is better refused now.
            let volume_meta = volume_meta.filter(|text| !text.is_empty());
            volume_meta.as_deref().map_or(Ok(()), check_volume_meta)?;
            Ok(Facts { volume_meta, extra_metadata: extra_metadata.as_ref().and_then(ExtraMetadata::new) })
        })
    }

    pub(crate) fn write(
        &self,
        backup: &mut Backup,
        volume: &dyn Volume,
        parent: Option<&Backup>,
        facts: &dyn Fn(&Backup) -> Result<Facts, Error>,
    ) -> Result<BackupSummary, Error> {
        let block = self.sha_block_size_bytes;
        if block == 0 || self.chunk_size_bytes == 0 || !self.chunk_size_bytes.is_multiple_of(block) {
            let reason = "Chunk size is not multiple of block size for creating hash.".to_owned();
            return Err(Error::InvalidBackup { reason });
        }
        check_id("the id of a backup", &backup.id)?;
        check_id("the id of a volume", &backup.volume_id)?;
        backup.size_gib = volume.size().div_ceil(GIB).max(1);
        backup.parent_id = parent.map(|parent| parent.id.clone());
        let parent = parent.map(|parent| self.check_parent(backup, parent)).transpose()?;
        let facts = facts(backup)?;
        check_lengths(backup, facts.volume_meta.as_deref())?;

        let given = backup.container.take();
        let container = self.storage.update_container_name(backup, given.as_deref())?;
        let container = container.or(given).or_else(|| self.backup_default_container.clone());
        let container = container.ok_or_else(|| Error::InvalidBackup {
            reason: "it has no container, and there is no default one".to_owned(),
        })?;
        self.storage.put_container(&container, self.context.create_containers)?;
        let prefix = ObjectPrefix::new(self.storage.generate_object_name_prefix(backup)?)?;
        backup.container = Some(container.clone());
        backup.service_metadata = Some(prefix.as_str().to_owned());
        // What is there already must not become part of this backup, nor be deleted with it.
        self.storage.get_container_entries(&container, prefix.as_str(), &mut |name| {
            Err(Error::InvalidBackup { reason: format!("there is already an object {name} under its prefix") })
        })?;

        let head = Head {
            backup_description: backup.display_description.clone(),
            backup_id: backup.id.clone(),
            backup_name: backup.display_name.clone(),
            created_at: backup.created_at.clone(),
            version: Self::DRIVER_VERSION.to_owned(),
            volume_id: backup.volume_id.clone(),
        };
        let own = Own::default();
        let written = (|| {
            let run = Run::new(
                (&self.context, &self.pool, &self.storage),
                (backup, &container, prefix.clone(), &own),
                (volume, &facts),
                (&head, Blocks::new(block), self.chunk_size_bytes),
            )?;
            let parent = parent.as_ref().map(|(container, object)| (container.as_str(), object.clone()));
            run.write(parent, self.enable_progress_timer)?;
            run.finish(backup.parent_id.as_deref(), facts.volume_meta.as_deref())
        })();
        match written {
            Ok(totals) => {
                backup.object_count = totals.objects;
                let (objects, stored_bytes) = (totals.objects, totals.stored_bytes);
                Ok(BackupSummary { volume_bytes: volume.size(), objects, stored_bytes })
            }
            Err(error) => {
                // Not what is there under the prefix: what another backup has made that came to the same one is not this one's.
                let deleted = own.each(&prefix, |name| self.storage.delete_object(&container, name));
                match error {
                    // That the objects are gone is part of what this error says.
                    error if error.is_cancelled() => {
                        deleted.and(Err(Error::BackupCancelled { backup_id: backup.id.clone() }))
                    }
                    error => Err(error),
                }
            }
        }
    }

    /// Checks that `backup` can be an increment of `parent`, whose whole list of hashes is read for it; container and name of
    /// that list.
    fn check_parent(&self, backup: &Backup, parent: &Backup) -> Result<(String, String), Error> {
        let invalid = |reason: String| Err(Error::InvalidBackup { reason });
        let (Some(container), Some(prefix)) = (&parent.container, &parent.service_metadata) else {
            return invalid(format!("its parent {} has no container or no prefix", parent.id));
        };
        let object = ObjectPrefix::new(prefix.as_str())?.sha256file();
        let list = hashes::check(&self.storage, container, &object)?;
        restore_version(&list.head.version)?;
        if list.chunk_size != self.sha_block_size_bytes {
            return invalid(format!(
                "Hash block size has changed since the last backup. New hash block size: {}. Old hash block size: {}. \
                 Do a full backup.",
                self.sha_block_size_bytes, list.chunk_size
            ));
        }
        if list.head.volume_id != backup.volume_id {
            return invalid(format!(
                "its parent {} is a backup of volume {}, not of {}",
                parent.id, list.head.volume_id, backup.volume_id
            ));
        }
        let known = |size: &u64| *size > 0;
        let by_hashes = list.hashes.saturating_mul(list.chunk_size).div_ceil(GIB).max(1);
        if backup.size_gib > Some(parent.size_gib).filter(known).unwrap_or(by_hashes) {
            return invalid("Volume size increased since the last backup. Do a full backup.".to_owned());
        }
        Ok((container.clone(), object))
    }

    /// Deletes a backup's objects: first its metadata, so that what an interruption leaves is no backup. A backup without container or
    /// prefix has no objects; an empty prefix, which would stand for those of all backups, deletes nothing.
    ///
    /// # Errors
    /// What the storage says. That objects are missing is no error.
    pub fn delete_backup(&self, backup: &Backup) -> Result<DeleteSummary, Error> {
        let mut summary = DeleteSummary::default();
        let (Some(container), Some(prefix)) = (&backup.container, &backup.service_metadata) else {
            return Ok(summary);
        };
        let Ok(prefix) = ObjectPrefix::new(prefix.as_str()) else { return Ok(summary) };
        loop {
            let mut names: Vec<(bool, String)> = Vec::new();
            summary.stray.clear();
            self.storage.get_container_entries(container, prefix.as_str(), &mut |name| {
                match prefix.kind(name) {
                    ObjectKind::Stray if summary.stray.len() < NAMES_AT_ONCE => summary.stray.push(name.to_owned()),
                    ObjectKind::Stray => {}
                    kind if names.len() < NAMES_AT_ONCE || kind == ObjectKind::Metadata => {
                        names.push((kind != ObjectKind::Metadata, name.to_owned()));
                    }
                    _ => {}
                }
                Ok(())
            })?;
            names.sort_unstable();
            for (_, name) in &names {
                self.storage.delete_object(container, name)?;
            }
            summary.deleted += names.len() as u64;
            if names.len() < NAMES_AT_ONCE {
                summary.stray.sort_unstable();
                return Ok(summary);
            }
        }
    }
}
