//! [`Context`]: what a driver works with, and whom it tells.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cinderblock_pipeline::{Control, Settings};

use crate::backup::Backup;
use crate::compression::Compression;
use crate::error::Error;

/// What Cinder's `createprogress` notification says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Notification {
    /// The backup.
    pub backup_id: String,
    /// How much of the volume is done, from 0 to 100. (Cinder's own divides objects by bytes, and stays near 0.)
    pub backup_percent: f64,
    /// Number of data objects that are stored.
    pub object_count: u64,
}

/// What Cinder knows about volumes, which accompanies a backup as its `volume_meta`.
pub trait VolumeApi: Send + Sync {
    /// The volume's metadata, as the JSON text that Cinder's `BackupMetadataAPI` makes; none where there is nothing.
    ///
    /// # Errors
    /// Any: the backup is then undone.
    fn get_metadata(&self, volume_id: &str) -> Result<Option<String>, Error>;

    /// Takes the metadata of one layer of a restore, oldest first, after its data.
    ///
    /// # Errors
    /// Any: the restore then ends with it.
    fn put_metadata(&self, volume_id: &str, volume_meta: &str) -> Result<(), Error>;
}

/// Takes notifications.
pub type Notify = Arc<dyn Fn(&Backup, &Notification) + Send + Sync>;

/// What a driver works with: the machine's share, Cinder's configuration, and whom to tell.
#[derive(Clone)]
pub struct Context {
    /// How much of the machine it may use.
    pub settings: Settings,
    /// To stop it and to watch it. Cancelling is what a change of the backup's status is to Cinder.
    pub control: Control,
    /// Cinder's `backup_compression_algorithm`.
    pub compression: Compression,
    /// Cinder's `storage_availability_zone`; part of the names of the swift layout.
    pub availability_zone: String,
    /// Cinder's `backup_create_containers`.
    pub create_containers: bool,
    /// Cinder's `backup_object_number_per_notification`: objects between two notifications.
    pub object_number_per_notification: u64,
    /// Cinder's `backup_timer_interval`: time between two notifications by the timer.
    pub backup_timer_interval: Duration,
    /// Takes notifications.
    pub notify: Option<Notify>,
    /// What is known about volumes.
    pub volume_api: Option<Arc<dyn VolumeApi>>,
}

impl Default for Context {
    /// Cinder's defaults: zlib, zone `nova`, containers are made, a notification every 10 objects and every 120 seconds.
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            control: Control::default(),
            compression: Compression::default(),
            availability_zone: "nova".to_owned(),
            create_containers: true,
            object_number_per_notification: 10,
            backup_timer_interval: Duration::from_secs(120),
            notify: None,
            volume_api: None,
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("settings", &self.settings)
            .field("compression", &self.compression)
            .field("availability_zone", &self.availability_zone)
            .finish_non_exhaustive()
    }
}
