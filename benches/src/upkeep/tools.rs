//! cinderblock, restic and rustic, given the same work.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{Cinderblock, bytes_in};
use crate::measure::{self, Measured};

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

/// The words of a tool whose commands are spelled as restic's.
#[derive(Debug, Clone, Copy)]
struct Words {
    name: &'static str,
    /// Frees space at once. rustic keeps what it would delete for a day if not told otherwise.
    gc: &'static [&'static str],
}

const RESTIC: Words = Words { name: "restic", gc: &["prune"] };
const RUSTIC: Words = Words { name: "rustic", gc: &["prune", "--instant-delete"] };

/// restic, or rustic, which understands its commands.
///
/// Both encrypt, which neither can be told to leave, and compress as they do if not told: zstd at
/// a low level.
#[derive(Debug)]
pub struct Peer {
    words: Words,
    program: PathBuf,
    folder: PathBuf,
}

impl Peer {
    /// A new repository of restic, the command `program`, in the new folder `folder`.
    ///
    /// # Errors
    /// The folder exists, or the command fails.
    pub fn restic(program: &Path, folder: &Path) -> Result<Self> {
        Self::init(RESTIC, program, folder)
    }

    /// A new repository of rustic, the command `program`, in the new folder `folder`.
    ///
    /// # Errors
    /// The folder exists, or the command fails.
    pub fn rustic(program: &Path, folder: &Path) -> Result<Self> {
        Self::init(RUSTIC, program, folder)
    }

    fn init(words: Words, program: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let new = Self { words, program: program.to_owned(), folder: folder.to_owned() };
        new.run(["init".into()])?;
        Ok(new)
    }

    fn run(&self, arguments: impl IntoIterator<Item = OsString>) -> Result<Measured> {
        let folder = |name: &str| self.folder.join(name);
        let set = |name: &str, value: &Path| {
            let mut setting = OsString::from(format!("{}_{name}=", self.words.name.to_uppercase()));
            setting.push(value);
            setting
        };
        let mut command = vec![
            "env".into(),
            set("PASSWORD", Path::new("none")),
            set("REPOSITORY", &folder("repository")),
            set("CACHE_DIR", &folder("cache")),
            self.program.clone().into(),
        ];
        command.extend(arguments);
        measure::run(&command, &folder("log"))
    }
}

impl Tool for Peer {
    fn name(&self) -> &str {
        self.words.name
    }

    fn backup(&mut self, source: &Path, _volume: &str) -> Result<Measured> {
        self.run(["backup".into(), source.into()])
    }

    fn verify(&self) -> Result<Measured> {
        self.run(["check", "--read-data"].map(OsString::from))
    }

    fn prune(&self, keep: usize) -> Result<Measured> {
        let keep = keep.to_string();
        self.run(["forget", "--group-by", "host,paths", "--keep-last", &keep].map(OsString::from))
    }

    fn gc(&self) -> Result<Measured> {
        self.run(self.words.gc.iter().map(OsString::from))
    }

    fn stored_bytes(&self) -> Result<u64> {
        bytes_in(&self.folder.join("repository"))
    }
}

/// The command `name` in one of the folders of `PATH`.
#[must_use]
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}
