//! OpenStack Cinder's chunked backups, format 1.0.0: written, read, and moved into and out of a repository.

mod backup;
pub mod compression;
mod container;
mod context;
pub mod document;
mod error;
mod layout;
pub mod md5;
mod storage;

pub use backup::Backup;
pub use container::BackendContainers;
pub use context::{Context, Notification, VolumeApi};
pub use error::Error;
pub use layout::{Layout, ObjectKind, ObjectPrefix};
pub use storage::{ChunkedStorage, ObjectReader, ObjectWriter};
