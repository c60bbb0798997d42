//! OpenStack Cinder's chunked backups, format 1.0.0: written, read, and moved into and out of a repository.

mod backup;
mod blocks;
mod chain;
pub mod compression;
mod container;
mod context;
mod crew;
pub mod document;
mod driver;
mod error;
mod hashes;
mod inspect;
mod layer;
mod layout;
pub mod md5;
mod plan;
mod read;
mod repository;
mod storage;
mod volume;
mod write;

pub use backup::Backup;
pub use container::BackendContainers;
pub use context::{Context, Notification, Notify, VolumeApi};
pub use driver::{BackupSummary, ChunkedBackupDriver, DeleteSummary, RestoreVersion};
pub use error::Error;
pub use inspect::{DamagedPart, Inspection};
pub use layer::{Layer, LayerObject, Listing};
pub use layout::{Layout, ObjectKind, ObjectPrefix};
pub use plan::{Read, RestorePlan};
pub use read::RestoreSummary;
pub use repository::{ExportOptions, ImportedBackup};
pub use storage::{ChunkedStorage, ObjectReader, ObjectWriter};
pub use volume::Volume;
