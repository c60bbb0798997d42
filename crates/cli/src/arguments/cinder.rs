//! The arguments of `cinder`.

use std::path::PathBuf;

use cinderblock_cinder::Layout;
use cinderblock_cinder::compression::Compression;
use cinderblock_remote as remote;
use cinderblock_store::BackupId;
use cinderblock_store::pack::frame;
use clap::{Args, Subcommand};

use super::backup;
use super::storage::UrlParser;
use crate::output::size;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Back up a volume as Cinder's chunked driver does
    Backup(Backup),
    /// Restore a chain of Cinder's backups
    Restore(Restore),
    /// Delete a backup's objects
    Delete(Place),
    /// Show what is there, whether it is whole, and what is damaged
    Inspect(Inspect),
    /// Take a chain of Cinder's backups into the repository, each as a backup of its own
    Import(Import),
    /// Write a backup of the repository as one of Cinder's
    Export(Export),
}

/// Where Cinder's containers are.
#[derive(Debug, Args)]
pub struct Root {
    /// Where Cinder's containers are: s3:// or swift://, of which --container names a bucket or container (also gs:// and az://);
    /// or a folder, such as its backup_posix_path or the mount of its backup_share; or a place in a bucket, such as
    /// s3://bucket/copy, with the containers as folders
    #[arg(long = "container-root", value_name = "DIR|URL", value_parser = UrlParser(remote::Root::new))]
    pub place: remote::Root,
}

/// One backup of Cinder's.
#[derive(Debug, Args)]
pub struct Place {
    #[command(flatten)]
    pub root: Root,

    /// Its container
    #[arg(long, value_name = "CONTAINER")]
    pub container: String,

    /// What the names of its objects begin with: service_metadata in Cinder's database
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub prefix: String,
}

/// A chain of Cinder's backups.
#[derive(Debug, Args)]
pub struct Chain {
    #[command(flatten)]
    pub root: Root,

    /// A backup's container and prefix; once for each backup of the chain, the full one first
    #[arg(long = "layer", value_name = "CONTAINER:PREFIX", required = true, value_parser = layer)]
    pub layers: Vec<(String, String)>,
}

impl Chain {
    /// The containers that the layers are in.
    pub fn containers(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|(container, _)| container.as_str())
    }
}

/// How a backup is written.
#[derive(Debug, Args)]
pub struct Form {
    /// How containers and objects are named: posix as Cinder's posix, nfs and glusterfs drivers, swift as its swift, s3 and gcs
    /// drivers [default: posix in a folder, swift elsewhere]
    #[arg(long, value_name = "posix|swift")]
    pub layout: Option<Layout>,

    /// none, zlib, bz2 or zstd, by any of Cinder's names for them
    #[arg(long, value_name = "ALGORITHM", default_value_t)]
    pub compression: Compression,

    /// Bytes of a data object; a multiple of the hash block [default: 1999994880 for posix, 50MiB for swift]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub chunk_size: Option<u64>,

    /// Bytes of a hash block, of what an increment compares
    #[arg(long, value_name = "BYTES", default_value = "32768", value_parser = bytes)]
    pub sha_block_size: u64,

    /// Container to write to [default: AB/CD/ABCD… after the backup's id for posix, volumebackups for swift]
    #[arg(long, value_name = "CONTAINER")]
    pub container: Option<String>,

    /// Availability zone, a part of the names of the swift layout
    #[arg(long, value_name = "ZONE", default_value = "nova")]
    pub az: String,

    /// Container of the backup that this one is to be an increment of
    #[arg(long, value_name = "CONTAINER", requires = "parent_prefix")]
    pub parent_container: Option<String>,

    /// Its prefix
    #[arg(long, value_name = "PREFIX", requires = "parent_container", value_parser = prefix)]
    pub parent_prefix: Option<String>,

    /// A short name, for people
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,

    /// A longer text, for people
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// When the backup was made, as Cinder writes it: 2026-08-21 18:05:24+00:00
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub created_at: Option<String>,

    /// File with the volume's metadata, as JSON, as Cinder puts them back at a restore
    #[arg(long, value_name = "FILE")]
    pub volume_meta: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Backup {
    /// A file or a block device
    pub source: PathBuf,

    #[command(flatten)]
    pub root: Root,

    /// The volume's id: in Cinder a UUID
    #[arg(long, value_name = "UUID")]
    pub volume_id: String,

    /// The backup's id [default: a new one]
    #[arg(long, value_name = "UUID")]
    pub backup_id: Option<BackupId>,

    #[command(flatten)]
    pub form: Form,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// A file that does not exist yet; with --existing a file or block device
    pub target: PathBuf,

    #[command(flatten)]
    pub chain: Chain,

    /// Overwrite what is there
    #[arg(long)]
    pub existing: bool,
}

#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    pub place: Place,

    /// Also read and check the data
    #[arg(long)]
    pub read_data: bool,
}

#[derive(Debug, Args)]
pub struct Import {
    #[command(flatten)]
    pub chain: Chain,

    /// How to compress new data; LEVEL is 1 (fastest) to 19
    #[arg(long, value_name = "zstd[:LEVEL]|none", default_value_t)]
    pub compression: frame::Compression,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The backup's id, the beginning of it, or VOLUME/latest
    #[arg(value_parser = backup)]
    pub backup: String,

    #[command(flatten)]
    pub root: Root,

    /// The id that the volume has in Cinder [default: the one it has in the repository]
    #[arg(long, value_name = "UUID")]
    pub volume_id: Option<String>,

    /// The id that the backup gets in Cinder [default: the one it has in the repository]
    #[arg(long, value_name = "UUID")]
    pub backup_id: Option<BackupId>,

    #[command(flatten)]
    pub form: Form,
}

fn prefix(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty, which would stand for all backups".to_owned()) } else { Ok(text.to_owned()) }
}

fn layer(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((container, prefix)) if !container.is_empty() && !prefix.is_empty() => {
            Ok((container.to_owned(), prefix.to_owned()))
        }
        _ => Err("it has to be a container and a prefix with a colon between them".to_owned()),
    }
}

/// Python's `str(datetime)`, kept as it is written; `None` is what Cinder writes where it does not know.
fn time(text: &str) -> Result<String, String> {
    let known = text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok();
    match known || text == "None" {
        true => Ok(text.to_owned()),
        false => Err("write it like 2026-08-21 18:05:24+00:00".to_owned()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    size::parse(text).filter(|bytes| *bytes > 0).ok_or_else(|| "write it like 52428800 or 50MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_python() {
        for text in ["2026-08-21 18:05:24+00:00", "2026-08-21 18:05:24.000250+00:00", "2026-08-21 18:05:24", "None"] {
            assert_eq!(time(text).as_deref(), Ok(text));
        }
        for text in ["", "yesterday", "2026-13-01 00:00:00", "none"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_layer_is_a_container_and_a_prefix() {
        let expected = ("22/22/2222".to_owned(), "volume_1".to_owned());
        assert_eq!(layer("22/22/2222:volume_1"), Ok(expected));
        for text in ["", ":", "a:", ":b", "a"] {
            assert!(layer(text).is_err(), "{text}");
        }
    }
}
