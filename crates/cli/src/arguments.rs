//! The command line.

pub mod cinder;
pub mod keys;
pub mod retention;
mod storage;
mod values;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::ReadData;
use cinderblock_remote::Place;
use cinderblock_store::pack::frame::Compression;
use cinderblock_store::{BackupId, VolumeId};
use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use self::storage::{UrlParser, rate};
pub use self::values::{Chunker, Parent};
use self::values::{backup, duration, fence_after, lock_period, memory, read_data, threads};

/// Deduplicating backups of block volumes.
///
/// A repository is a folder or a bucket that any number of hosts may share. Every backup in it is complete by itself; what
/// several have in common is stored once.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Options {
    /// The repository: a folder, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, swift://container/prefix
    #[arg(long, value_name = "DIR|URL", env = "CINDERBLOCK_REPO", global = true, value_parser = UrlParser(Place::new))]
    pub repo: Option<Place>,

    /// Folder for this host's index, which is made again where it is missing [default: $XDG_CACHE_HOME/cinderblock or
    /// ~/.cache/cinderblock]
    #[arg(long, value_name = "DIR", env = "CINDERBLOCK_CACHE_DIR", global = true)]
    pub cache_dir: Option<PathBuf>,

    /// Memory for buffers and index, such as 512M or 1GiB; at least 96MiB
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = memory, global = true)]
    pub memory: usize,

    /// Threads that hash and compress [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = threads, global = true)]
    pub threads: Option<usize>,

    /// Send at most so many bytes a second to repositories, such as 500K or 20M
    #[arg(long, value_name = "RATE", value_parser = rate, global = true)]
    pub limit_upload: Option<NonZeroU64>,

    /// Read at most so many bytes a second from repositories
    #[arg(long, value_name = "RATE", value_parser = rate, global = true)]
    pub limit_download: Option<NonZeroU64>,

    /// Delete nothing, for credentials that may not: what would have to be deleted, a later 'gc' with other credentials does. Commands whose
    /// purpose is to delete are refused
    #[arg(long, env = "CINDERBLOCK_APPEND_ONLY", value_parser = FalseyValueParser::new(), global = true)]
    pub append_only: bool,

    /// Answer with one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,

    /// No progress and no summaries
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Tell more: the repository, the cache folder, the threads
    #[arg(short, long, global = true)]
    pub verbose: bool,

    #[command(flatten)]
    pub keys: keys::Keys,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a repository in a folder that is empty or does not exist yet, or in a bucket that exists
    Init {
        /// Size of a chunk, the unit of deduplication: a power of two from 4KiB to 4MiB
        #[arg(long, value_name = "SIZE", default_value_t)]
        chunk_size: ChunkSize,
        /// Encrypt everything, with a key that a passphrase or a key file opens; the file is made where it does not exist
        #[arg(long, value_name = "passphrase|key-file", value_enum)]
        encrypt: Option<keys::Encrypt>,
        /// What people are to know the passphrase or key file by
        #[arg(long, value_name = "TEXT", requires = "encrypt")]
        label: Option<String>,
        #[command(flatten)]
        lock: Lock,
    },
    /// Back up a volume
    Backup(Backup),
    /// Restore a backup
    Restore(Restore),
    /// List the backups, oldest first within each volume
    List {
        /// Of this volume only
        #[arg(long, value_name = "ID")]
        volume_id: Option<VolumeId>,
    },
    /// Show all that is known about a backup
    Show {
        /// The backup's id, the beginning of it, or VOLUME/latest
        #[arg(value_parser = backup)]
        backup: String,
    },
    /// Show what the repository holds, and how much of it no backup needs
    Stats,
    /// Delete backups; no other backup depends on them
    Delete {
        /// Their ids, or the beginnings of them
        #[arg(value_name = "BACKUP", value_parser = backup, required = true)]
        backups: Vec<String>,
    },
    /// Protect backups from being deleted, or lift that
    Protect(retention::Protect),
    /// Delete all backups but those that the --keep-... rules want, of each volume
    Prune(retention::Prune),
    /// Check the repository: all that describes backups and, with --read-data, every stored byte
    Verify {
        /// Only these: their ids, or the beginnings of them [default: all backups]
        #[arg(value_name = "BACKUP", value_parser = backup)]
        backups: Vec<String>,
        /// Also read and check the data, or so much of it, such as 10 or 0.5, that some runs after each other read all: each goes on where the
        /// last one ended
        #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
        #[arg(value_parser = read_data)]
        read_data: Option<ReadData>,
    },
    /// Copy backups into another repository: only what is missing there moves
    Copy(Copy),
    /// Note what is damaged, and store again what volumes or another repository still have
    Repair(Repair),
    /// Make this host's index anew
    RebuildIndex,
    /// Free the space of what no backup needs any more, also while backups run
    Gc(Gc),
    /// Say what opens an encrypted repository
    #[command(subcommand)]
    Key(keys::Command),
    /// List who is at work on the repository
    Sessions,
    /// Write and read OpenStack Cinder's own backups, and move them into and out of the repository
    #[command(subcommand)]
    Cinder(Box<cinder::Command>),
}

/// Whether and how backups are kept from being deleted by anybody.
#[derive(Debug, Args)]
pub struct Lock {
    /// Keep each backup, with all it shares with others, from being deleted by anybody for so long, such as 30d: in an S3 bucket that
    /// was made with Object Lock
    #[arg(long = "object-lock", value_name = "TIME", value_parser = lock_period)]
    pub period: Option<Duration>,

    /// Who can shorten that: nobody, or whoever has the right to bypass governance
    #[arg(long = "object-lock-mode", value_enum, default_value_t = LockMode::Compliance, requires = "period")]
    pub mode: LockMode,
}

/// What `--object-lock-mode` takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LockMode {
    Compliance,
    Governance,
}

#[derive(Debug, Args)]
pub struct Backup {
    /// A file or a block device, or - for standard input
    pub source: PathBuf,

    /// The volume's name: 1 to 255 of A-Z a-z 0-9 . _ -, not starting with a dot
    #[arg(long, value_name = "ID")]
    pub volume_id: VolumeId,

    /// The backup's id [default: a new one]
    #[arg(long, value_name = "UUID")]
    pub backup_id: Option<BackupId>,

    /// A short name, for people
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,

    /// A longer text, for people
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// Backup to compare with, which only makes this one faster: auto is the volume's newest
    #[arg(long, value_name = "auto|none|BACKUP", default_value = "auto")]
    pub parent: Parent,

    /// How to compress new data; LEVEL is 1 (fastest) to 19
    #[arg(long, value_name = "zstd[:LEVEL]|none", default_value_t)]
    pub compression: Compression,

    /// How to cut the volume: fixed suits volumes; fastcdc suits streams in which bytes are inserted
    #[arg(long, value_enum, default_value_t = Chunker::Fixed)]
    pub chunker: Chunker,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The backup's id, the beginning of it, or VOLUME/latest
    #[arg(value_parser = backup)]
    pub backup: String,

    /// A file that does not exist yet, or - for standard output; with --existing a file or block device
    pub target: PathBuf,

    /// Overwrite what is there: only what differs is written
    #[arg(long)]
    pub existing: bool,
}

#[derive(Debug, Args)]
pub struct Copy {
    /// Their ids, or the beginnings of them
    #[arg(value_name = "BACKUP", value_parser = backup, conflicts_with = "all")]
    pub backups: Vec<String>,

    /// The other repository, which has chunks of the same size
    #[arg(long, value_name = "DIR|URL", value_parser = UrlParser(Place::new))]
    pub to: Place,

    #[command(flatten)]
    pub keys: keys::OtherKeys,

    /// All backups
    #[arg(long)]
    pub all: bool,

    /// With --all: of this volume only
    #[arg(long, value_name = "ID", requires = "all")]
    pub volume_id: Option<VolumeId>,
}

#[derive(Debug, Args)]
pub struct Repair {
    /// Only these: their ids, or the beginnings of them [default: all backups]
    #[arg(value_name = "BACKUP", value_parser = backup)]
    pub backups: Vec<String>,

    /// A volume that may still have what is lost, a file or a block device; may be given several times
    #[arg(long, value_name = "SOURCE")]
    pub from: Vec<PathBuf>,

    /// Another repository that may have what is lost
    #[arg(long, value_name = "DIR|URL", value_parser = UrlParser(Place::new))]
    pub from_repo: Option<Place>,

    #[command(flatten)]
    pub keys: keys::OtherKeys,

    /// Also read all data, to find what is damaged in it
    #[arg(long)]
    pub read_data: bool,

    /// Change nothing, and say what could be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Gc {
    /// How long to wait for backups that run and may need what is to be deleted; what then has to stay, the next run deletes
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub grace: Duration,

    /// Give up on backups that gave no sign of life for so long: they end without a backup; each gives one every 5 minutes
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = fence_after)]
    pub fence_after: Duration,

    /// Copy together what is needed of packs of which less than so much is
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub repack_below: u8,

    /// Copy packs of less than 4 MiB together where there are 32 or more; hosts without an index then have to make one for the backups that are in them
    #[arg(long)]
    pub gather: bool,

    /// Change nothing, and say what could be freed
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_of_every_command_stand_before_and_after_it() {
        for line in ["cinderblock --repo /r --json list", "cinderblock list --repo /r --json"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(arguments.options.repo, Some(Place::Folder(PathBuf::from("/r"))));
            assert!(arguments.options.json);
        }
    }

    #[test]
    fn a_lock_has_a_mode_only_if_it_has_a_period() {
        let parsed = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parsed("cinderblock init --object-lock 30d --object-lock-mode governance").is_ok());
        assert!(parsed("cinderblock init --object-lock-mode governance").is_err());
    }
}
