//! What can go wrong in a repository.

use std::io;
use std::path::PathBuf;

use crate::id::{BackupId, ChunkId, KeySlotId, PackId, SessionId, VolumeId};
use crate::key::Method;
use crate::time::Timestamp;

/// An error of the store. Every variant names what failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The storage failed.
    #[error("the repository's storage failed")]
    Backend(#[from] cinderblock_backend::Error),
    /// There is no repository at this place.
    #[error(
        "there is no repository at {location}: check the path or URL, and that its storage is mounted; 'cinderblock init' makes one"
    )]
    NotARepository {
        /// Path or URL.
        location: String,
    },
    /// There is a repository, or something else, where a new one should be made.
    #[error("{location} is not empty: a new repository needs a place of its own")]
    NotEmpty {
        /// Path or URL.
        location: String,
    },
    /// There is already a repository where a new one should be made.
    #[error("there is already a repository at {location}: use it, or choose another place")]
    AlreadyARepository {
        /// Path or URL.
        location: String,
    },
    /// The object was written by a newer program.
    #[error(
        "{object} has format version {version}, this program knows versions up to {supported}: use a newer cinderblock"
    )]
    NewerFormat {
        /// Name of the object.
        object: String,
        /// Version that it states.
        version: u32,
        /// Newest version that this program knows.
        supported: u32,
    },
    /// The object needs something that this program does not have, such as a key.
    #[error("{object} cannot be read: {reason}")]
    Unsupported {
        /// Name of the object.
        object: String,
        /// What it needs.
        reason: String,
    },
    /// The repository is encrypted, and nothing was given that opens it.
    #[error("the repository at {location} is encrypted: it needs its passphrase or a key file")]
    SecretMissing {
        /// Path or URL.
        location: String,
    },
    /// No key slot opens with this secret.
    #[error("no key of the repository at {location} opens with this {method}: check that it is the right one")]
    WrongSecret {
        /// Path or URL.
        location: String,
        /// What was given.
        method: Method,
    },
    /// An encrypted repository has no key slot.
    #[error("the repository at {location} is encrypted and has no key: restore the objects below keys/ from a copy")]
    NoKeys {
        /// Path or URL.
        location: String,
    },
    /// A secret was given, or a key asked for, of a repository that is not encrypted.
    #[error(
        "the repository at {location} says that it is not encrypted: where it ought to be, somebody has replaced it; where not, give no \
         passphrase and no key file"
    )]
    NotEncrypted {
        /// Path or URL.
        location: String,
    },
    /// What was given can't be a secret.
    #[error("{reason}")]
    BadSecret {
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such key slot.
    #[error("there is no key {id}: 'cinderblock key list' shows what there is")]
    KeyNotFound {
        /// What was asked for.
        id: KeySlotId,
    },
    /// A key slot cannot be removed by who was let in by it.
    #[error(
        "key {id} is the one that the repository was opened with: open it with another one to remove this, or replace it with \
         'cinderblock key rotate'"
    )]
    KeyInUse {
        /// The slot.
        id: KeySlotId,
    },
    /// The cipher refused to work.
    #[error("the cipher failed")]
    Cipher,
    /// An object's bytes are not what was written.
    #[error("{object} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// Name of the object.
        object: String,
        /// Where in the object, in bytes from its start.
        offset: u64,
        /// What does not agree.
        reason: String,
    },
    /// No pack holds this chunk or map node.
    #[error(
        "chunk {id} is not in the repository, or only damaged: 'cinderblock repair --read-data' with --from VOLUME or --from-repo COPY stores it again where these have it"
    )]
    ChunkMissing {
        /// The chunk.
        id: ChunkId,
    },
    /// A map does not describe a volume.
    #[error("the map of backup {backup} is damaged: {reason}")]
    BadMap {
        /// The backup.
        backup: BackupId,
        /// What does not agree.
        reason: String,
    },
    /// There is no such backup.
    #[error("there is no backup {text}: 'cinderblock list' shows what there is")]
    BackupNotFound {
        /// What was asked for.
        text: String,
    },
    /// More than one backup fits.
    #[error("{text} fits {count} backups, such as {first} and {second}: give more of its id, or VOLUME/ID")]
    BackupAmbiguous {
        /// What was asked for.
        text: String,
        /// How many fit.
        count: usize,
        /// One of them.
        first: BackupId,
        /// Another.
        second: BackupId,
    },
    /// A backup with this id exists.
    #[error("there is already a backup {id} (of volume {volume}), and no two may have the same id")]
    BackupExists {
        /// The id.
        id: BackupId,
        /// Its volume.
        volume: VolumeId,
    },
    /// The backup is protected from being deleted.
    #[error(
        "backup {backup} of {volume} is protected{}: 'cinderblock protect --remove {volume}/{backup}' lifts that",
        until.map(|until| format!(" until {until}")).unwrap_or_default()
    )]
    Protected {
        /// The backup.
        backup: BackupId,
        /// Its volume.
        volume: VolumeId,
        /// When the protection ends by itself, if it does.
        until: Option<Timestamp>,
    },
    /// The backup is locked, and nobody can delete it.
    #[error("backup {id} of {volume} is locked until {until}: it can't be deleted before")]
    Locked {
        /// The backup.
        id: BackupId,
        /// Its volume.
        volume: VolumeId,
        /// When its lock ends.
        until: Timestamp,
    },
    /// A backup was made, and what it needs is locked, but not its record.
    #[error(
        "backup {id} of {volume} was made, but its record could not be locked and may be deleted: what it needs is locked, so make \
         another backup, which costs little"
    )]
    NotLocked {
        /// The backup.
        id: BackupId,
        /// Its volume.
        volume: VolumeId,
        /// What the storage says.
        source: Box<cinderblock_backend::Error>,
    },
    /// A record is locked, which its writer does when it counts, and a tombstone says that it does not.
    #[error(
        "the record of backup {id} of {volume} is locked until {until}, but tombstones/{session} says that it is none: no writer locks such a \
         record, so the tombstone may be forged; if 'cinderblock verify' finds the backup whole when that is removed, it was"
    )]
    LockedVoid {
        /// The backup.
        id: BackupId,
        /// Its volume.
        volume: VolumeId,
        /// The session that is said to have ended without it.
        session: SessionId,
        /// When its lock ends.
        until: Timestamp,
    },
    /// An id is not of the form that it has to be.
    #[error("{text:?} is not a {kind}: {reason}")]
    InvalidId {
        /// What kind of id.
        kind: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is larger than the format allows.
    #[error("{what} would be larger than the format allows ({bytes} bytes, at most {limit})")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The format's limit.
        limit: u64,
    },
    /// The local index failed.
    #[error("the index in {} failed: {}", path.display(), index_advice(source))]
    Index {
        /// Folder of the index.
        path: PathBuf,
        /// RocksDB's words.
        #[source]
        source: rocksdb::Error,
    },
    /// The local cache folder failed.
    #[error("the cache folder {} failed: check it, or choose another with --cache-dir", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The index names a pack that the repository does not have.
    #[error("pack {pack} is missing from the repository")]
    PackMissing {
        /// The pack.
        pack: PackId,
    },
    /// A garbage collector has given up on this session, which did not renew itself for long.
    #[error(
        "a garbage collector gave up on this backup, which gave no sign of life for longer than its --fence-after: there is no \
         backup, run it again (session {session})"
    )]
    Fenced {
        /// The session.
        session: SessionId,
    },
    /// What a backup was to share with another one is about to be deleted by a garbage collection that began before.
    #[error(
        "chunk {id}, which backup {base} has, lies in a pack that a garbage collection is about to delete: there is no backup; run it \
         again when 'cinderblock gc' has ended, which keeps what {base} needs"
    )]
    Condemned {
        /// The chunk.
        id: ChunkId,
        /// The other backup.
        base: BackupId,
    },
    /// A record that does not count has the name of the one that was to be put: its session was declared ended before it came.
    #[error(
        "the late record of a backup that a garbage collector gave up on is in the place of backup {id} of {volume}: run \
         'cinderblock gc', which removes it, and then this again"
    )]
    VoidRecord {
        /// The backup.
        id: BackupId,
        /// Its volume.
        volume: VolumeId,
    },
    /// It was asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// Compression failed.
    #[error("compression failed")]
    Compression {
        /// zstd's words.
        #[source]
        source: io::Error,
    },
    /// The system's random source failed.
    #[error("the system's random source failed")]
    Random {
        /// The system's words.
        #[source]
        source: getrandom::Error,
    },
    /// Bytes could not be encoded: a defect of this program.
    #[error("{what} could not be encoded")]
    Encode {
        /// What.
        what: &'static str,
        /// The codec's words.
        #[source]
        source: bincode::error::EncodeError,
    },
}

/// What to do where the index fails. RocksDB passes the system's errors on in words only.
fn index_advice(source: &rocksdb::Error) -> &'static str {
    let says = |words| source.as_ref().contains(words);
    if says("No space left on device") || says("Disk quota exceeded") {
        "make room there, or choose another folder with --cache-dir"
    } else if says("Read-only file system") || says("Permission denied") {
        "make it writable, or choose another folder with --cache-dir"
    } else {
        "it is only a cache, delete that folder and run the command again"
    }
}

impl Error {
    /// Whether this says that the repository holds wrong or missing bytes (rather than that an operation failed).
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Damaged { .. } | Error::ChunkMissing { .. } | Error::BadMap { .. } | Error::PackMissing { .. } => {
                true
            }
            Error::Backend(error) => matches!(
                error,
                cinderblock_backend::Error::NotFound { .. }
                    | cinderblock_backend::Error::UnexpectedEnd { .. }
                    | cinderblock_backend::Error::TooLarge { .. }
            ),
            _ => false,
        }
    }

    /// The error of a failed read of an object that holds data, an index segment, or a record. A disk that can't read a sector has lost what is in it: that
    /// is damage, of which another copy may be found. Of what writers and collectors tell each other, no failure is: it could pass for their silence.
    pub fn of_read(object: &cinderblock_backend::ObjectName, offset: u64, error: cinderblock_backend::Error) -> Self {
        if !error.is_unreadable() {
            return error.into();
        }
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Error::damaged(object, offset, format!("the disk can't read it: {cause}"))
    }

    pub(crate) fn damaged(object: impl ToString, offset: u64, reason: impl Into<String>) -> Self {
        Error::Damaged { object: object.to_string(), offset, reason: reason.into() }
    }
}
