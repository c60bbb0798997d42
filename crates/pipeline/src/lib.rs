//! Backup, restore and verification of volumes, as pipelines that use all cores and a bounded amount of memory.
//!
//! An [`Engine`] has the worker threads; a [`Control`] accompanies each run, to stop it and to watch it. The repository
//! itself is `cinderblock-store`'s.
//!
//! # Example
//! Open a repository, back up a reader, restore it to a writer, verify everything:
//! ```
//! use std::sync::Arc;
//! use cinderblock_pipeline::{BackupOptions, Control, Engine, ReadData, Settings, Source, VerifyOptions};
//! use cinderblock_store::{OpenOptions, Repository, VolumeId};
//!
//! let (storage, cache) = (Arc::new(cinderblock_backend::Memory::new()), tempfile::tempdir()?);
//! Repository::create(&*storage, cinderblock_chunker::ChunkSize::DEFAULT)?;
//! let repository = Repository::open(storage, &OpenOptions::new(cache.path()))?;
//! let engine = Engine::new(Settings::default())?;
//!
//! let volume = vec![7; 1_000_000];
//! let source = Source::stream(Box::new(std::io::Cursor::new(volume.clone())), "memory");
//! let options = BackupOptions::new(VolumeId::new("vm-1")?);
//! let backup = engine.backup(&repository, source, &options, &Control::default())?;
//!
//! let mut restored = Vec::new();
//! engine.restore_to_writer(&repository, &backup, &mut restored, &Control::default())?;
//! assert!(restored == volume);
//!
//! let everything = VerifyOptions { backups: None, read_data: ReadData::All };
//! assert!(engine.verify(&repository, &everything, &Control::default())?.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backup;
mod buffer;
mod copy;
mod engine;
mod error;
mod lanes;
mod restore;
mod source;
mod target;
mod verify;
mod volume;

pub use backup::{BackupOptions, Chunker, Parent};
pub use buffer::PageBuffer;
pub use copy::{CopySummary, check_copy};
pub use engine::{CancelToken, Control, Engine, Progress, Settings};
pub use error::Error;
pub use restore::RestoreSummary;
pub use source::{Part, Source, VolumeFile};
pub use target::{NewFile, Target, make_zero, open_existing};
pub use verify::{
    DamagedBackup, DamagedObject, ReadData, RepairOptions, RepairReport, Sampled, Share, VerifyOptions, VerifyReport,
};
pub use volume::BackupVolume;
