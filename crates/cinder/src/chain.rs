//! Chains: a full backup and its increments, read and restored together.

use std::sync::Arc;

use cinderblock_pipeline::Target;
use serde::Deserialize;

use crate::backup::Backup;
use crate::context::VolumeApi;
use crate::driver::{ChunkedBackupDriver, GIB};
use crate::error::Error;
use crate::layer::Layer;
use crate::layout::ObjectPrefix;
use crate::plan::RestorePlan;
use crate::read::{RestoreRun, RestoreSummary, restore};
use crate::storage::ChunkedStorage;

/// The newest version of `volume_meta` that Cinder knows: that of its `BackupMetadataAPI`. It reads 1 as well.
const VOLUME_META_VERSION: u64 = 2;

/// The one thing that is read of a `volume_meta`.
#[derive(Deserialize)]
struct VolumeMeta {
    version: u64,
}

/// Refuses a volume's metadata that Cinder could not put back.
///
/// # Errors
/// [`Error::BackupOperation`], as Cinder's restore would fail.
pub fn check_volume_meta(text: &str) -> Result<(), Error> {
    let failed = |reason: String| Err(Error::BackupOperation { reason });
    match serde_json::from_str::<VolumeMeta>(text) {
        Ok(VolumeMeta { version: 1..=VOLUME_META_VERSION }) => Ok(()),
        Ok(VolumeMeta { version }) => failed(format!(
            "Metadata restore failed due to incompatible version: the volume's metadata are of version {version}, \
             versions up to {VOLUME_META_VERSION} are known"
        )),
        Err(error) => failed(format!("the volume's metadata are not what Cinder writes: {error}")),
    }
}

/// The volume's metadata; as in Cinder, an empty text is none.
fn volume_meta(layer: &Layer) -> Option<&str> {
    layer.metadata.volume_meta.as_deref().filter(|text| !text.is_empty())
}

impl<S: ChunkedStorage> ChunkedBackupDriver<S> {
    /// Reads the metadata under a prefix.
    ///
    /// # Errors
    /// Those of [`Layer::read`].
    pub fn layer(&self, container: &str, prefix: &str) -> Result<Layer, Error> {
        let memory_bytes = self.context().settings.memory_bytes / 2;
        Layer::read(self.storage(), container, ObjectPrefix::new(prefix)?, memory_bytes)
    }

    /// Reads the metadata of a chain, oldest first, each a container and a prefix, and makes sure by their ids that they are one.
    ///
    /// # Errors
    /// [`Error::InvalidBackup`] where one is not an increment of the one before it; those of [`Layer::read`].
    pub fn chain(&self, places: &[(String, String)]) -> Result<Vec<Layer>, Error> {
        let mut layers: Vec<Layer> = Vec::with_capacity(places.len());
        let mut memory_bytes = self.context().settings.memory_bytes / 2;
        for (container, prefix) in places {
            let layer = Layer::read(self.storage(), container, ObjectPrefix::new(prefix.as_str())?, memory_bytes)?;
            memory_bytes -= layer.memory_bytes().min(memory_bytes);
            let wanted = layers.last().map(|before| before.metadata.head.backup_id.as_str());
            let parent = layer.metadata.parent_id.as_deref();
            let id = &layer.metadata.head.backup_id;
            if let (Some(wanted), None) = (wanted, parent) {
                let reason = format!("{id} is a full backup, not an increment of {wanted}: begin the chain with it");
                return Err(Error::InvalidBackup { reason });
            }
            if parent != wanted {
                let parent = parent.unwrap_or_default();
                let reason = format!("{id} is an increment of {parent}, which has to be the layer before it");
                return Err(Error::InvalidBackup { reason });
            }
            if let Some(first) = layers.first().map(|first| &first.metadata.head)
                && first.volume_id != layer.metadata.head.volume_id
            {
                let volume = &layer.metadata.head.volume_id;
                let reason = format!("{id} is a backup of volume {volume}, its parent one of {}", first.volume_id);
                return Err(Error::InvalidBackup { reason });
            }
            layers.push(layer);
        }
        Ok(layers)
    }

    /// Restores the newest backup of a chain, given oldest first, as Cinder's database has them. To a new file, which then is as
    /// long as the longest layer; or over an existing target.
    ///
    /// Every object is checked against the length and MD5 that its metadata state: before the target appears, or, over an existing
    /// one, before its first byte is changed. Each byte is written once, from the newest layer that has it, zeros too.
    /// Afterwards the context's [`VolumeApi`](crate::VolumeApi) gets the volume's metadata of each layer.
    ///
    /// # Errors
    /// [`Error::InvalidBackup`] where objects are missing or there are others under a prefix; [`Error::DamagedObject`];
    /// [`Error::BackupRestoreCancel`]; [`Error::BackupOperation`] for volume metadata that Cinder does not know; and whatever
    /// target and storage say.
    pub fn restore(&self, chain: &[Backup], volume_id: &str, target: &Target) -> Result<RestoreSummary, Error> {
        let mut layers = Vec::with_capacity(chain.len());
        let mut memory_bytes = self.context().settings.memory_bytes / 2;
        for backup in chain {
            let (Some(container), Some(prefix)) = (&backup.container, &backup.service_metadata) else {
                let reason = format!("backup {} has no container or no prefix", backup.id);
                return Err(Error::InvalidBackup { reason });
            };
            let layer = Layer::read(self.storage(), container, ObjectPrefix::new(prefix.as_str())?, memory_bytes)?;
            memory_bytes -= layer.memory_bytes().min(memory_bytes);
            if backup.size_gib > 0 && layer.end().div_ceil(GIB) > backup.size_gib {
                let (id, size, end) = (&backup.id, backup.size_gib, layer.end());
                let reason = format!("backup {id} has data up to byte {end} of a volume of {size} GiB");
                return Err(Error::InvalidBackup { reason });
            }
            layers.push(layer);
        }
        self.restore_layers(&layers, volume_id, target)
    }

    /// The same, of layers whose metadata were read already.
    ///
    /// # Errors
    /// Those of [`restore`](Self::restore).
    pub fn restore_layers(&self, layers: &[Layer], volume_id: &str, target: &Target) -> Result<RestoreSummary, Error> {
        let Some(newest) = layers.last() else {
            return Err(Error::InvalidBackup { reason: "a chain of no backups".to_owned() });
        };
        for layer in layers {
            layer.check_listing(self.storage())?;
            volume_meta(layer).map_or(Ok(()), check_volume_meta)?;
        }
        let plan = RestorePlan::new(layers);
        let run =
            RestoreRun { context: self.context(), pool: self.pool(), storage: self.storage(), layers, plan: &plan };
        let (restored, partly_written) = restore(&run, target);
        let summary = restored.map_err(|error| match error {
            error if error.is_cancelled() => Error::BackupRestoreCancel {
                backup_id: newest.metadata.head.backup_id.clone(),
                volume_id: volume_id.to_owned(),
                partly_written,
            },
            // Says it itself.
            error @ Error::Pipeline(_) => error,
            error if partly_written => Error::PartlyRestored { source: Box::new(error) },
            error => error,
        })?;
        let api: Option<&Arc<dyn VolumeApi>> = self.context().volume_api.as_ref();
        for layer in layers {
            if let (Some(api), Some(volume_meta)) = (api, volume_meta(layer)) {
                api.put_metadata(volume_id, volume_meta)?;
            }
        }
        Ok(summary)
    }
}
