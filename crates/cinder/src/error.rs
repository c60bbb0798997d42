//! What can go wrong with Cinder's backups.

use std::io;

/// An error of Cinder's layer. Where Cinder has an exception for it, the variant has the exception's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The containers' storage failed.
    #[error("the containers' storage failed")]
    Backend(#[from] cinderblock_backend::Error),
    /// The repository failed.
    #[error(transparent)]
    Store(#[from] cinderblock_store::Error),
    /// Reading the volume, or writing it, or the repository's pipeline failed.
    #[error(transparent)]
    Pipeline(#[from] cinderblock_pipeline::Error),
    /// The backup, or what was asked of it, is not valid: Cinder's `InvalidBackup`.
    #[error("invalid backup: {reason}")]
    InvalidBackup {
        /// Why, and what to do.
        reason: String,
    },
    /// A backup can't be carried out: Cinder's `BackupOperationError`.
    #[error("the backup operation failed: {reason}")]
    BackupOperation {
        /// Why.
        reason: String,
    },
    /// A backup was cancelled; its objects were deleted.
    #[error("the backup {backup_id} was cancelled, and its objects were deleted")]
    BackupCancelled {
        /// The backup.
        backup_id: String,
    },
    /// A restore was cancelled: Cinder's `BackupRestoreCancel`.
    #[error("the restore of backup {backup_id} to volume {volume_id} was cancelled{}", if *.partly_written { ": the target is partly written; run the same command again to finish it" } else { "" })]
    BackupRestoreCancel {
        /// The backup.
        backup_id: String,
        /// The volume.
        volume_id: String,
        /// Whether an existing target now holds a mixture of old and new bytes.
        partly_written: bool,
    },
    /// There is no such compression: where Cinder raises `ValueError`.
    #[error("unsupported compression algorithm: {text}; it has to be none, off, no, zlib, gzip, bz2, bzip2 or zstd")]
    UnsupportedCompression {
        /// What was given.
        text: String,
    },
    /// An id, container or prefix can't be used as part of an object's name.
    #[error("{what} {text:?} cannot be used: {reason}")]
    InvalidName {
        /// What it is.
        what: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A `_metadata` or `_sha256file` object is not what Cinder writes.
    #[error("{object} is not a valid Cinder document: {reason}")]
    BadDocument {
        /// The object.
        object: String,
        /// What is wrong, with line and column where there is one.
        reason: String,
    },
    /// A data object's bytes are not what its metadata say.
    #[error("{object} (bytes {offset} to {} of the volume) is damaged: {reason}", offset + length)]
    DamagedObject {
        /// The object.
        object: String,
        /// First byte of the volume that it holds.
        offset: u64,
        /// How many bytes of the volume it holds.
        length: u64,
        /// What does not agree.
        reason: String,
    },
    /// A data object is not there.
    #[error("{object} (bytes {offset} to {} of the volume) is missing", offset + length)]
    MissingObject {
        /// The object.
        object: String,
        /// First byte of the volume that it holds.
        offset: u64,
        /// How many bytes of the volume it holds.
        length: u64,
    },
    /// A restore failed after it had begun to write over an existing target.
    #[error("the target is partly written")]
    PartlyRestored {
        /// Why it failed.
        #[source]
        source: Box<Error>,
    },
    /// The volume changed while it was read.
    #[error("bytes {offset} to {} of the volume changed while they were read: back up a snapshot, or stop what writes to it", offset + length)]
    VolumeChanged {
        /// First byte of the part that changed.
        offset: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// Reading an object failed.
    #[error("reading {object} failed")]
    ReadObject {
        /// The object.
        object: String,
        /// The storage's or decompressor's words.
        #[source]
        source: io::Error,
    },
    /// Writing an object failed.
    #[error("writing {object} failed")]
    WriteObject {
        /// The object.
        object: String,
        /// The storage's or compressor's words.
        #[source]
        source: io::Error,
    },
    /// More memory would be needed than the settings allow.
    #[error("{what} needs {needed} bytes of memory, {limit} are allowed: raise --memory")]
    NotEnoughMemory {
        /// What needs it.
        what: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that the settings allow.
        limit: u64,
    },
}

impl Error {
    /// Whether this is a request to stop rather than a failure.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Error::BackupCancelled { .. } | Error::BackupRestoreCancel { .. } => true,
            Error::Pipeline(error) => error.is_cancelled(),
            _ => false,
        }
    }
}
