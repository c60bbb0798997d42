//! The `cinderblock` command on one repository, measured.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::measure::{self, Measured};

/// The `cinderblock` that was built beside the running program.
///
/// # Errors
/// There is none.
pub fn built_beside() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell this program's own path")?;
    let command = this.with_file_name("cinderblock");
    ensure!(
        command.is_file(),
        "there is no {}: build it with `cargo build --release -p cinderblock`, or name it with --bin",
        command.display()
    );
    Ok(command)
}

/// The option of every program that times the command.
#[derive(Debug, Args)]
pub struct Program {
    /// The command to time; the `cinderblock` built beside this program if not given.
    #[arg(long)]
    bin: Option<PathBuf>,
}

impl Program {
    /// The command that was named, or else the one [`built_beside`].
    ///
    /// # Errors
    /// It is not there.
    pub fn find(&self) -> Result<PathBuf> {
        match &self.bin {
            Some(program) => program.canonicalize().with_context(|| format!("there is no {}", program.display())),
            None => built_beside(),
        }
    }
}

/// A repository in a folder of its own, with its cache and a log of what the command prints.
#[derive(Debug)]
pub struct Cinderblock {
    program: PathBuf,
    folder: PathBuf,
    threads: Option<usize>,
    backups: u64,
    encrypted: bool,
    compression: Option<String>,
}

impl Cinderblock {
    /// Makes a new repository in the new folder `folder` with the command `program`, which will
    /// use `threads` threads (`None`: as many as it likes).
    ///
    /// # Errors
    /// The folder exists, or the command fails.
    pub fn init(program: &Path, folder: &Path, threads: Option<usize>) -> Result<Self> {
        Self { threads, ..Self::new(program, folder) }.made(["init".into()])
    }

    /// The same with chunks of `chunk_size` and backups with `compression`, both as the command takes them.
    ///
    /// # Errors
    /// The folder exists, or the command fails.
    pub fn init_with(program: &Path, folder: &Path, chunk_size: &str, compression: &str) -> Result<Self> {
        let new = Self { compression: Some(compression.to_owned()), ..Self::new(program, folder) };
        new.made(["init".into(), "--chunk-size".into(), chunk_size.into()])
    }

    /// The same, encrypted, with a key file in `folder`.
    ///
    /// # Errors
    /// The folder exists, or the command fails.
    pub fn init_encrypted(program: &Path, folder: &Path, threads: Option<usize>) -> Result<Self> {
        let new = Self { threads, encrypted: true, ..Self::new(program, folder) };
        new.made(["init".into(), "--encrypt".into(), "key-file".into()])
    }

    fn new(program: &Path, folder: &Path) -> Self {
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Self { program, folder, threads: None, backups: 0, encrypted: false, compression: None }
    }

    /// Makes its folder, and with this command the repository in it.
    fn made<const N: usize>(self, init: [OsString; N]) -> Result<Self> {
        fs::create_dir(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))?;
        self.run(init)?;
        Ok(self)
    }

    /// The repository in `folder`, a copy of what [`init`](Self::init) made. Its backups get other ids
    /// than those made there.
    #[must_use]
    pub fn open(program: &Path, folder: &Path, threads: Option<usize>) -> Self {
        Self { threads, backups: 1_000_000, ..Self::new(program, folder) }
    }

    /// Backs up `source`; the new backup's id and what it took.
    ///
    /// # Errors
    /// The command fails.
    pub fn backup(&mut self, source: &Path, volume_id: &str) -> Result<(String, Measured)> {
        self.backups += 1;
        let id = format!("22222222-2222-4222-8222-{:012}", self.backups);
        let mut command = self.command([
            "backup".into(),
            source.into(),
            "--volume-id".into(),
            volume_id.into(),
            "--backup-id".into(),
            (&id).into(),
        ]);
        if let Some(compression) = &self.compression {
            command.extend(["--compression".into(), compression.into()]);
        }
        let measured = measure::run(&command, &self.folder.join("log"))?;
        Ok((id, measured))
    }

    /// Restores `backup` to the new file `target`.
    ///
    /// # Errors
    /// The command fails.
    pub fn restore(&self, backup: &str, target: &Path) -> Result<Measured> {
        self.run(["restore".into(), backup.into(), target.into()])
    }

    /// Restores `backup` over what is in the file `target`.
    ///
    /// # Errors
    /// The command fails.
    pub fn restore_existing(&self, backup: &str, target: &Path) -> Result<Measured> {
        self.run(["restore".into(), backup.into(), target.into(), "--existing".into()])
    }

    /// Reads and checks every stored byte.
    ///
    /// # Errors
    /// The command fails.
    pub fn verify(&self) -> Result<Measured> {
        self.run(["verify".into(), "--read-data".into()])
    }

    /// Deletes all but the newest `keep` backups of each volume.
    ///
    /// # Errors
    /// The command fails.
    pub fn prune(&self, keep: usize) -> Result<Measured> {
        self.run(["prune".into(), "--keep-last".into(), keep.to_string().into()])
    }

    /// Frees what no backup needs.
    ///
    /// # Errors
    /// The command fails.
    pub fn gc(&self) -> Result<Measured> {
        self.run(["gc".into()])
    }

    /// The command line of `gc`, for whoever starts it beside something else.
    #[must_use]
    pub fn gc_command(&self) -> Vec<OsString> {
        self.command(["gc".into()])
    }

    /// Bytes of all files of the repository, without the cache.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub fn stored_bytes(&self) -> Result<u64> {
        bytes_in(&self.folder.join("repository"))
    }

    /// Runs the command with these arguments.
    ///
    /// # Errors
    /// The command fails.
    pub fn run<const N: usize>(&self, arguments: [OsString; N]) -> Result<Measured> {
        measure::run(&self.command(arguments), &self.folder.join("log"))
    }

    fn command<const N: usize>(&self, arguments: [OsString; N]) -> Vec<OsString> {
        let mut command = vec![
            self.program.clone().into(),
            "--repo".into(),
            self.folder.join("repository").into(),
            "--cache-dir".into(),
            self.folder.join("cache").into(),
        ];
        if let Some(threads) = self.threads {
            command.extend(["--threads".into(), threads.to_string().into()]);
        }
        if self.encrypted {
            command.extend(["--key-file".into(), self.folder.join("key").into()]);
        }
        command.extend(arguments);
        command
    }
}

/// Bytes of all files in `folder` and the folders in it.
///
/// # Errors
/// A folder cannot be listed.
pub fn bytes_in(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { bytes_in(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}
