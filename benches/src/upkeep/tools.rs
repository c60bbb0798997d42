//! cinderblock, restic and rustic, given the same work.

use std::path::Path;

use anyhow::Result;

use crate::command::Cinderblock;
use crate::measure::Measured;
use crate::peers::course::Subject;
use crate::peers::repository::Repository;
use crate::peers::table::{RESTIC, RUSTIC};

/// A tool and its repository.
pub trait Tool {
    /// Its name, for the table.
    fn name(&self) -> &str;

    /// Backs up the volume in the file `source`, as the next backup of `volume`.
    ///
    /// # Errors
    /// The command fails.
    fn backup(&mut self, source: &Path, volume: &str) -> Result<Measured>;

    /// Reads and checks every stored byte.
    ///
    /// # Errors
    /// The command fails.
    fn verify(&self) -> Result<Measured>;

    /// Drops all but the newest `keep` backups of each volume; no space is freed yet.
    ///
    /// # Errors
    /// The command fails.
    fn prune(&self, keep: usize) -> Result<Measured>;

    /// Frees what no backup needs, at once.
    ///
    /// # Errors
    /// The command fails.
    fn gc(&self) -> Result<Measured>;

    /// Bytes of all files of the repository.
    ///
    /// # Errors
    /// A folder cannot be listed.
    fn stored_bytes(&self) -> Result<u64>;
}

impl Tool for Cinderblock {
    fn name(&self) -> &str {
        "cinderblock"
    }

    fn backup(&mut self, source: &Path, volume: &str) -> Result<Measured> {
        self.backup(source, volume).map(|(_, measured)| measured)
    }

    fn verify(&self) -> Result<Measured> {
        self.verify()
    }

    fn prune(&self, keep: usize) -> Result<Measured> {
        self.prune(keep)
    }

    fn gc(&self) -> Result<Measured> {
        self.gc()
    }

    fn stored_bytes(&self) -> Result<u64> {
        self.stored_bytes()
    }
}

/// restic, or rustic, which understands its commands; set as for the comparison of [peers](crate::peers).
#[derive(Debug)]
pub struct Peer {
    repository: Repository,
    /// Frees space at once. rustic keeps what it would delete for a day if not told otherwise.
    gc: &'static [&'static str],
}

impl Peer {
    /// A new repository of restic, the command `program`, in the new folder `folder`.
    ///
    /// # Errors
    /// The folder exists, or the command fails.
    pub fn restic(program: &Path, folder: &Path) -> Result<Self> {
        Ok(Self { repository: Repository::init(&RESTIC, program, folder)?, gc: &["prune"] })
    }

    /// A new repository of rustic, the command `program`, in the new folder `folder`.
    ///
    /// # Errors
    /// The folder exists, or the command fails.
    pub fn rustic(program: &Path, folder: &Path) -> Result<Self> {
        Ok(Self { repository: Repository::init(&RUSTIC, program, folder)?, gc: &["prune", "--instant-delete"] })
    }
}

impl Tool for Peer {
    fn name(&self) -> &str {
        self.repository.name()
    }

    fn backup(&mut self, source: &Path, volume: &str) -> Result<Measured> {
        self.repository.backup(source, volume)
    }

    fn verify(&self) -> Result<Measured> {
        self.repository.run_words(&["check", "--read-data"])
    }

    fn prune(&self, keep: usize) -> Result<Measured> {
        self.repository.run_words(&["forget", "--group-by", "host,paths", "--keep-last", &keep.to_string()])
    }

    fn gc(&self) -> Result<Measured> {
        self.repository.run_words(self.gc)
    }

    fn stored_bytes(&self) -> Result<u64> {
        self.repository.stored_bytes()
    }
}
