//! [`Place`]: the options that say on what volumes to measure, and where.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tempfile::TempDir;

use crate::volumes;

/// Options of every program that measures on a family of volumes.
#[derive(Debug, Args)]
pub struct Place {
    /// Folder with golden.img, web.img, web-day2.img, db.img and other.img; made anew if not given.
    #[arg(long)]
    volumes: Option<PathBuf>,
    /// Folder for what is made, best on a RAM disk: with room for repositories, one or two volumes (2 GiB each where they
    /// are dense) and, if they are made anew, the five volumes (2 GB); 8 GB do for all.
    #[arg(long, default_value = "/dev/shm")]
    work: PathBuf,
}

/// A folder below `work` for what `program` makes, which goes when it is dropped.
///
/// # Errors
/// It can't be made.
pub fn folder_in(work: &Path, program: &str) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("cinderblock-{program}-"))
        .tempdir_in(work)
        .with_context(|| format!("cannot use the folder {}", work.display()))
}

impl Place {
    /// A folder for what `program` makes, which goes when it is dropped, and the volumes.
    ///
    /// # Errors
    /// The folder can't be made; those of [`volumes::given_or_made`].
    pub fn prepare(&self, program: &str) -> Result<(TempDir, [PathBuf; 5])> {
        let work = folder_in(&self.work, program)?;
        let volumes = volumes::given_or_made(self.volumes.as_deref(), work.path())?;
        Ok((work, volumes))
    }
}
