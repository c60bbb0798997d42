//! Between Cinder's backups and a repository: each way, with all that Cinder knew.

mod export;
mod facts;
mod import;

pub use self::export::ExportOptions;
pub use self::import::ImportedBackup;
