//! OpenStack Cinder's chunked backups, format 1.0.0: written, read, and moved into and out of a repository.
//!
//! [`ChunkedBackupDriver`] is Cinder's class of that name. Where its objects are, a [`ChunkedStorage`] says, whose methods are
//! the abstract ones of Cinder's class; [`BackendContainers`] implements it for every
//! [`Backend`](cinderblock_backend::Backend), so for folders as Cinder's posix driver has them.
//!
//! # Example
//! Back up a volume into a folder, then what changed of it, and restore both:
//! ```
//! use cinderblock_backend::Folder;
//! use cinderblock_cinder::{BackendContainers, Backup, ChunkedBackupDriver, Context, Layout};
//! use cinderblock_pipeline::{Target, VolumeFile};
//!
//! let place = tempfile::tempdir()?;
//! let folder = Folder::create(&place.path().join("backup"))?.with_modes(0o660, 0o770);
//! let containers = BackendContainers::new(folder, Layout::Posix, "nova");
//! let (object, block) = (Layout::Posix.default_chunk_size_bytes(), Layout::DEFAULT_SHA_BLOCK_SIZE_BYTES);
//! let driver = ChunkedBackupDriver::new(Context::default(), containers, object, block, None, false)?;
//!
//! // Rows of Cinder's database. The driver adds container, prefix, size and number of objects.
//! let row = |id: &str| Backup {
//!     id: id.to_owned(),
//!     volume_id: "7c9dbd6e-93e0-4c5a-8f3f-3c0f9fbd5d0a".to_owned(),
//!     created_at: "2026-08-21 18:05:24+00:00".to_owned(),
//!     ..Backup::default()
//! };
//! let path = place.path().join("volume");
//! let mut bytes = vec![7; 1_000_000];
//! std::fs::write(&path, &bytes)?;
//! let mut full = row("2f6c1a34-5d0e-4f61-9a53-0d7f8a1f7be1");
//! driver.backup(&mut full, &VolumeFile::open(&path)?, None, true)?;
//! assert_eq!(full.container.as_deref(), Some("2f/6c/2f6c1a34-5d0e-4f61-9a53-0d7f8a1f7be1"));
//!
//! bytes[500_000] = 8;
//! std::fs::write(&path, &bytes)?;
//! let mut increment = row("b81d2c47-2a39-4d0e-8c1e-6f1f52ad9c05");
//! let written = driver.backup(&mut increment, &VolumeFile::open(&path)?, Some(&full), true)?;
//! assert_eq!((increment.object_count, written.volume_bytes), (1, 1_000_000));
//!
//! let chain = [full, increment];
//! let restored = place.path().join("restored");
//! driver.restore(&chain, &chain[0].volume_id, &Target::New(restored.clone()))?;
//! assert!(std::fs::read(restored)? == bytes);
//!
//! for backup in chain.iter().rev() {
//!     // One data object, metadata, list of hashes.
//!     assert_eq!(driver.delete_backup(backup)?.deleted, 3);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! Between Cinder and a repository go [`import`](ChunkedBackupDriver::import) and [`export`](ChunkedBackupDriver::export).
//!
//! # Where things are
//! | module | what is there |
//! |---|---|
//! | `driver`, `chain`, `inspect`, `repository` | what [`ChunkedBackupDriver`] does: backup and deletion; restore; inspection; import and export |
//! | `storage`, `container`, `layout` | [`ChunkedStorage`], its implementation on backends, and the names of containers and objects |
//! | `backup`, `context` | [`Backup`], a row of Cinder's table; [`Context`], Cinder's configuration, and whom to tell |
//! | [`document`] | `_metadata` and `_sha256file` as streams of bounded memory |
//! | [`compression`] | Cinder's compressions as streams |
//! | [`md5`] | MD5 of many streams side by side |
//! | `layer`, `plan` | [`Layer`], the metadata of one backup of a chain, checked; [`RestorePlan`], which object has which byte |
//! | `volume`, `blocks`, `write` | [`Volume`], what is backed up; its hash blocks; objects written by many threads |
//! | `read`, `hashes` | objects read and checked by many threads; lists of hashes read beside what needs them |
//! | `crew` | stopping together; how many work at once |
//!
//! # Cinder's names and these
//! | Cinder (Python) | here |
//! |---|---|
//! | `ChunkedBackupDriver(context, chunk_size_bytes, sha_block_size_bytes, backup_default_container, enable_progress_timer)` | [`ChunkedBackupDriver::new`], which also takes the storage |
//! | `DRIVER_VERSION`, `DRIVER_VERSION_MAPPING` | [`ChunkedBackupDriver::DRIVER_VERSION`], [`ChunkedBackupDriver::DRIVER_VERSION_MAPPING`] |
//! | `backup(backup, volume_file, backup_metadata=True)` | [`ChunkedBackupDriver::backup`]; the parent is given, not looked up |
//! | `restore(backup, volume_id, volume_file, volume_is_new)` | [`ChunkedBackupDriver::restore`]; the chain is given, and [`Target`](cinderblock_pipeline::Target) says whether it is new |
//! | `delete_backup(backup)` | [`ChunkedBackupDriver::delete_backup`] |
//! | `put_container`, `get_container_entries`, `get_object_writer`, `get_object_reader`, `delete_object`, `update_container_name`, `get_extra_metadata`, `_generate_object_name_prefix` | the methods of [`ChunkedStorage`] of these names |
//! | `objects.Backup` | [`Backup`]: `display_name`, … are the same, `size` is [`size_gib`](Backup::size_gib) |
//! | `get_metadata`, `put_metadata` of `BackupMetadataAPI` | [`VolumeApi`] |
//! | `_send_progress_notification` | [`Notification`], through [`Context::notify`] |
//! | `backup_compression_algorithm` | [`Context::compression`] |
//! | `backup_create_containers`, `backup_object_number_per_notification` | [`Context::create_containers`], [`Context::object_number_per_notification`] |
//! | `backup_timer_interval`, `storage_availability_zone` | [`Context::backup_timer_interval`], [`Context::availability_zone`] |
//! | a change of the backup's status | [`Control`](cinderblock_pipeline::Control) of [`Context::control`] |
//! | `InvalidBackup`, `BackupOperationError`, `BackupRestoreCancel` | [`Error::InvalidBackup`], [`Error::BackupOperation`], [`Error::BackupRestoreCancel`] |
//! | `ValueError` of `_get_compressor` | [`Error::UnsupportedCompression`] |

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
pub use chain::check_volume_meta;
pub use container::{BackendContainers, ContainerMaker};
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
