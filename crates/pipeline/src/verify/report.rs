//! What a verification found.

use std::error::Error as _;

use cinderblock_chunker::Extent;
use cinderblock_store::{BackupId, Error as StoreError, VolumeId};

use super::sample::Sampled;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Backups that were looked at.
    pub backups: u64,
    /// Packs whose directory was read, or could not be.
    pub packs: u64,
    /// Index segments that were read, or could not be.
    pub segments: u64,
    /// Bytes of packs that were read: their directories, and their frames where data was asked for.
    pub read_bytes: u64,
    /// Chunks and map nodes whose bytes were checked.
    pub chunks: u64,
    /// Objects of the repository that are damaged, each place once, in the order of their names.
    pub damaged_objects: Vec<DamagedObject>,
    /// Backups that can't be restored whole, in the order of their volumes and ids.
    pub damaged_backups: Vec<DamagedBackup>,
    /// Where a share of the data was read: which, and what all runs together have read.
    pub sample: Option<Sampled>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

impl VerifyReport {
    /// Whether no damage was found.
    pub fn is_clean(&self) -> bool {
        self.damaged_objects.is_empty() && self.damaged_backups.is_empty()
    }
}

/// A damaged place in an object of the repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedObject {
    /// The object's name.
    pub object: String,
    /// Where in the object, in bytes from its start; 0 where it is the whole of it.
    pub offset: u64,
    /// What does not agree.
    pub reason: String,
}

impl DamagedObject {
    /// An error of the store as damage of an object: the one that the error names, or else this one.
    pub(super) fn new(object: String, error: StoreError) -> Self {
        match error {
            StoreError::Damaged { object, offset, reason } => Self { object, offset, reason },
            other => Self { object, offset: 0, reason: in_full(&other) },
        }
    }
}

/// An error with its causes, in one line.
pub(super) fn in_full(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A backup that can't be restored whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedBackup {
    /// Its volume.
    pub volume: VolumeId,
    /// Its id.
    pub id: BackupId,
    /// Why its record can't be read, where that is so: then all of the volume is lost.
    pub reason: Option<String>,
    /// The parts of the volume that are lost, in order, with gaps between them.
    pub lost: Vec<Extent>,
}
