//! The command line.

pub mod cinder;
pub mod keys;
pub mod retention;
mod storage;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::{ReadData, Settings};
use cinderblock_remote::Place;
use cinderblock_store::pack::frame::Compression;
use cinderblock_store::{BackupId, VolumeId};
use clap::{Args, Parser, Subcommand, ValueEnum};

use self::storage::{UrlParser, rate};
use crate::output::size;

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
        /// The backup's id, or the beginning of it
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
    /// The backup's id, or the beginning of it
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

    /// Change nothing, and say what could be freed
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// What `--parent` takes.
#[derive(Clone, Debug)]
pub enum Parent {
    Auto,
    None,
    Backup(String),
}

impl FromStr for Parent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Parent::Auto),
            "none" => Ok(Parent::None),
            text => backup(text).map(Parent::Backup).map_err(|error| format!("{error}, auto or none")),
        }
    }
}

/// What `--chunker` takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Chunker {
    Fixed,
    Fastcdc,
}

/// A UUID or the beginning of one, with `VOLUME/` before it or without; which backup it means, the repository tells.
fn backup(text: &str) -> Result<String, String> {
    let (volume, id) = text.rsplit_once('/').map_or((None, text), |(volume, id)| (Some(volume), id));
    let fits = (1..=36).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        && volume.is_none_or(|volume| VolumeId::new(volume).is_ok());
    if fits { Ok(text.to_owned()) } else { Err("it has to be a backup's id or the beginning of one".to_owned()) }
}

/// All, or a share in percent.
fn read_data(text: &str) -> Result<ReadData, String> {
    match text {
        "all" => Ok(ReadData::All),
        text => text.parse().map(ReadData::Share),
    }
}

fn memory(text: &str) -> Result<usize, String> {
    let bytes = size::parse(text).ok_or("write it like 512M or 1GiB")?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes >= Settings::MIN_MEMORY_BYTES => Ok(bytes),
        Ok(_) => Err(format!("at least {}MiB are needed", Settings::MIN_MEMORY_BYTES >> 20)),
        Err(_) => Err("that is more than this machine can address".to_owned()),
    }
}

/// Such as `90s`, `10m`, `1h30m` or `2d`.
fn duration(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::Span>().map_err(|_| "write it like 90s, 10m, 1h30m or 2d".to_owned())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "a time that lies behind us".to_owned())
}

/// A session renews itself every 5 minutes: less than three times that would hit those that are only slow.
fn fence_after(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        long if long >= Duration::from_secs(900) => Ok(long),
        _ => Err("at least 15m: backups at work give a sign of life every 5 minutes".to_owned()),
    }
}

/// More threads than this are a slip of the pen.
const MAX_THREADS: usize = 1024;

fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_THREADS).contains(number));
    number.ok_or_else(|| format!("it has to be a number from 1 to {MAX_THREADS}"))
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
    fn memory_has_a_least_size() {
        assert_eq!(memory("96M"), Ok(96 << 20));
        assert_eq!(memory("1GiB"), Ok(1 << 30));
        for text in ["95M", "0", "", "-1", "lots", "96MB", "99999999999T"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("0s", 0), ("1 week", 604_800)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "-1h", "1 fortnight", "1mo"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(fence_after("14m").is_err() && fence_after("15m").is_ok());
    }

    #[test]
    fn a_backup_is_the_beginning_of_a_uuid() {
        for text in ["3", "3f2b", "3F2B8C1E-5d0a-4c6f-9b1d-2e7a4f6c8d90"] {
            assert_eq!(backup(text).as_deref(), Ok(text));
        }
        for text in ["", "..", "../x", "a/", "/b", "../b", "a/b/c", "3f2b 8c1e", "é", &"0".repeat(37)] {
            assert!(backup(text).is_err(), "{text}");
        }
    }
}
