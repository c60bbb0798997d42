//! Backing up a volume.
//!
//! ```text
//! plan or reader ──► hash (workers) ──► collect ──► encode frames (workers) ──► packs ──► writer thread
//!                                          └──► map nodes
//! ```
//! The calling thread plans what to read, and collects: results come back to it in any order, it takes them in the
//! order of the volume, decides which chunks are new, and builds the map. Workers do what costs: reading a file,
//! finding zeros, hashing, looking up, compressing. A worker that reads what it hashes finds it in its own cache; streams
//! and content-defined chunking need one reader that goes from start to end, which is a thread of its own. So does a volume
//! that is given as what differs from an earlier backup: there the reader names the chunks that are kept, and workers
//! look them up.

pub(crate) mod collect;
mod flow;
mod hash;
mod limits;
mod overlay;
mod plan;
mod reader;
mod run;
pub(crate) mod write;

use std::collections::BTreeMap;

use cinderblock_store::pack::frame::Compression;
use cinderblock_store::{BackupId, Timestamp, VolumeId};

/// Which earlier backup of the volume helps a new one to be fast. It changes nothing else: every backup is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parent {
    /// The newest backup of the same volume, if there is one.
    #[default]
    Auto,
    /// None.
    None,
    /// This one.
    Backup(VolumeId, BackupId),
}

/// How a volume is cut into chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunker {
    /// At multiples of the repository's chunk size: for block volumes, and for Cinder.
    #[default]
    Fixed,
    /// By content, with the repository's chunk size as the mean: for streams in which bytes are inserted and removed.
    FastCdc,
}

/// What to back up how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupOptions {
    /// The volume's name.
    pub volume: VolumeId,
    /// The backup's id; one is made up where it is not given.
    pub id: Option<BackupId>,
    /// A short name for people.
    pub name: Option<String>,
    /// A longer text for people.
    pub description: Option<String>,
    /// When the backup was taken, where that is not now: for one that is brought in from elsewhere.
    pub created_at: Option<Timestamp>,
    /// A hint for speed.
    pub parent: Parent,
    /// How new chunks are compressed.
    pub compression: Compression,
    /// How the volume is cut.
    pub chunker: Chunker,
    /// Further facts to keep in the record.
    pub attributes: BTreeMap<String, Vec<u8>>,
}

impl BackupOptions {
    /// A backup of this volume, with defaults for the rest.
    pub fn new(volume: VolumeId) -> Self {
        Self {
            volume,
            id: None,
            name: None,
            description: None,
            created_at: None,
            parent: Parent::default(),
            compression: Compression::default(),
            chunker: Chunker::default(),
            attributes: BTreeMap::new(),
        }
    }
}
