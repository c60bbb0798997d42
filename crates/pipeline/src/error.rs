//! What can go wrong while a volume is backed up, restored or verified.

use std::io;
use std::path::PathBuf;

use cinderblock_store::BackupId;

/// An error of a pipeline. Every variant names what failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The repository failed.
    #[error(transparent)]
    Store(#[from] cinderblock_store::Error),
    /// The volume could not be cut into chunks.
    #[error("the volume {path} could not be cut into chunks")]
    Chunking {
        /// The volume, as a path or `-`.
        path: String,
        /// Why.
        #[source]
        source: cinderblock_chunker::Error,
    },
    /// The source can't be used.
    #[error("{} cannot be backed up: {reason}", path.display())]
    BadSource {
        /// The source.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The source can't be opened.
    #[error("{} cannot be opened", path.display())]
    OpenSource {
        /// The source.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Reading the source failed.
    #[error("reading {path} failed at byte {offset}: no backup was made")]
    ReadSource {
        /// The source, as a path or `-`.
        path: String,
        /// Where, in bytes from its start.
        offset: u64,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The source changed its size while it was read.
    #[error(
        "{path} changed its size from {before} to {after} bytes while it was read: no backup was made; back up a snapshot, or stop what writes to it"
    )]
    SourceChanged {
        /// The source.
        path: String,
        /// Its size at the start, in bytes.
        before: u64,
        /// Its size later, in bytes.
        after: u64,
    },
    /// The volume is larger than a backup can be.
    #[error("{path} is larger than {limit} bytes, the most that a backup can hold")]
    SourceTooLarge {
        /// The source.
        path: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The earlier backup that a new one is made of lacks a part that it needs.
    #[error("bytes {offset} to {} of backup {base} cannot be had, and the new backup needs them: no backup was made; 'cinderblock verify --read-data' says what else is lost", offset + length)]
    BaseLost {
        /// The earlier backup.
        base: BackupId,
        /// First byte of its volume that is lost.
        offset: u64,
        /// How many.
        length: u64,
        /// What is damaged.
        #[source]
        source: cinderblock_store::Error,
    },
    /// Nothing can be copied from this repository to that one.
    #[error("backups cannot be copied to {to}: {reason}")]
    BadCopy {
        /// Where to.
        to: String,
        /// Why not.
        reason: String,
    },
    /// Another repository has another backup with the id of one that was to be copied there.
    #[error("{to} has another backup {id} (of volume {volume}): nothing was copied, and the two cannot both be there")]
    CopyDiffers {
        /// Where to.
        to: String,
        /// The id.
        id: BackupId,
        /// Volume of the one that is there.
        volume: cinderblock_store::VolumeId,
    },
    /// Bytes of a backup are damaged or missing, so that it could not be copied: the other repository does not have it.
    #[error("bytes {offset} to {} of its volume cannot be had: it was not copied; 'cinderblock verify --read-data' says what else is lost", offset + length)]
    Uncopyable {
        /// First byte of the volume that is lost.
        offset: u64,
        /// How many.
        length: u64,
        /// What is damaged.
        #[source]
        source: cinderblock_store::Error,
    },
    /// The target can't be used: nothing was written.
    #[error("{} cannot be restored to: {reason}", path.display())]
    BadTarget {
        /// The target.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },
    /// Writing (or, over an existing target, reading) the target failed.
    #[error("{operation} {} failed{}{}", path.display(), target_place(operation, *offset), target_advice(*partly_written, source))]
    Target {
        /// What was done: `reading`, `writing`, …
        operation: &'static str,
        /// The target.
        path: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// Whether an existing target now holds a mixture of old and new bytes.
        partly_written: bool,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Bytes of the backup are damaged or missing. A new target was removed again.
    #[error("bytes {offset} to {} of the volume cannot be restored{}; 'cinderblock verify --read-data' says what else is lost", offset + length, if *.partly_written { ", the target is partly written" } else { "" })]
    Unrestorable {
        /// First byte of the volume that is lost.
        offset: u64,
        /// How many.
        length: u64,
        /// Whether an existing target now holds a mixture of old and new bytes.
        partly_written: bool,
        /// What is damaged.
        #[source]
        source: cinderblock_store::Error,
    },
    /// The user (or a signal) asked to stop.
    #[error("stopped{}", if *.partly_written { ": the target is partly written; run the same command again to finish it" } else { "" })]
    Cancelled {
        /// Whether an existing target now holds a mixture of old and new bytes.
        partly_written: bool,
    },
    /// Worker threads could not be started.
    #[error("worker threads could not be started: try a smaller --threads")]
    Threads {
        /// The system's words.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}

/// Where a target failed, if it failed at one place of it.
fn target_place(operation: &str, offset: u64) -> String {
    match operation {
        "reading" | "writing" => format!(" at byte {offset}"),
        _ => String::new(),
    }
}

/// What to do where a target fails.
fn target_advice(partly_written: bool, source: &io::Error) -> &'static str {
    let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    match (partly_written, full) {
        (true, true) => ": it is partly written; make room there, and run the same command again to finish it",
        (true, false) => ": it is partly written; run the same command again to finish it",
        (false, true) => ": nothing was left there; make room, or restore to another place",
        (false, false) => "",
    }
}

impl Error {
    /// Whether this is a request to stop rather than a failure.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Error::Cancelled { .. })
    }
}
