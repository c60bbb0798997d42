//! The `cinderblock cinder` commands.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Form, VOLUME_ID, answer};
use crate::measure::Measured;

/// The command with a folder of containers and a repository of its own.
#[derive(Debug)]
pub struct Ours {
    program: PathBuf,
    folder: PathBuf,
    form: Form,
}

/// Where a backup lies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Place {
    /// Its container.
    pub container: String,
    /// What its objects' names begin with.
    pub prefix: String,
}

/// The answer of a command of which only the time counts.
#[derive(Deserialize)]
struct Done {}

impl Ours {
    /// Puts what `program` makes into the new folder `folder`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(program: &Path, folder: &Path, form: &Form) -> Result<Self> {
        fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { program: program.to_owned(), folder: folder.to_owned(), form: form.clone() })
    }

    /// Backs up `volume`, as an increment of the backup at `parent`.
    ///
    /// # Errors
    /// The command fails.
    pub fn backup(&self, volume: &Path, parent: Option<&Place>) -> Result<(Place, Measured)> {
        let mut arguments: Vec<OsString> = vec!["cinder".into(), "backup".into(), volume.into()];
        arguments.extend(["--container-root".into(), self.root("containers")]);
        if let Some(parent) = parent {
            arguments.extend(["--parent-container".into(), (&parent.container).into()]);
            arguments.extend(["--parent-prefix".into(), (&parent.prefix).into()]);
        }
        arguments.extend(self.form());
        answer::of(&self.command(arguments), &self.log())
    }

    /// Restores the full backup at `place`: to a new file, or with `existing` over what is in
    /// `target`.
    ///
    /// # Errors
    /// The command fails.
    pub fn restore(&self, place: &Place, target: &Path, existing: bool) -> Result<Measured> {
        self.restore_from("containers", place, target, existing)
    }

    /// Makes the repository and backs `volume` up to it; the backup's id there.
    ///
    /// # Errors
    /// The command fails.
    pub fn fill_repository(&self, volume: &Path) -> Result<String> {
        #[derive(Deserialize)]
        struct Answer {
            backup_id: String,
        }
        let repository = |arguments: Vec<OsString>| [self.repository(), arguments].concat();
        let (Done {}, _) = answer::of(&self.command(repository(vec!["init".into()])), &self.log())?;
        let backup = vec!["backup".into(), volume.into(), "--volume-id".into(), VOLUME_ID.into()];
        let (Answer { backup_id }, _) = answer::of(&self.command(repository(backup)), &self.log())?;
        Ok(backup_id)
    }

    /// Writes a backup of the repository as a full one of Cinder's, to containers of its own.
    ///
    /// # Errors
    /// The command fails.
    pub fn export(&self, backup: &str) -> Result<(Place, Measured)> {
        let mut arguments = self.repository();
        arguments.extend(["cinder".into(), "export".into(), backup.into()]);
        arguments.extend(["--container-root".into(), self.root("exported")]);
        arguments.extend(self.form());
        answer::of(&self.command(arguments), &self.log())
    }

    /// Restores what was exported to `place` to the new file `target`.
    ///
    /// # Errors
    /// The command fails.
    pub fn restore_exported(&self, place: &Place, target: &Path) -> Result<Measured> {
        self.restore_from("exported", place, target, false)
    }

    fn restore_from(&self, root: &str, place: &Place, target: &Path, existing: bool) -> Result<Measured> {
        let mut arguments: Vec<OsString> = vec!["cinder".into(), "restore".into(), target.into()];
        arguments.extend(["--container-root".into(), self.root(root)]);
        arguments.extend(["--layer".into(), format!("{}:{}", place.container, place.prefix).into()]);
        if existing {
            arguments.push("--existing".into());
        }
        let (Done {}, measured) = answer::of(&self.command(arguments), &self.log())?;
        Ok(measured)
    }

    fn command(&self, arguments: Vec<OsString>) -> Vec<OsString> {
        [vec![self.program.clone().into(), "--json".into()], arguments].concat()
    }

    fn form(&self) -> Vec<OsString> {
        let form = ["--volume-id", VOLUME_ID, "--compression", &self.form.compression, "--chunk-size"];
        form.into_iter().map(OsString::from).chain([self.form.chunk_size.to_string().into()]).collect()
    }

    fn repository(&self) -> Vec<OsString> {
        vec!["--repo".into(), self.root("repository"), "--cache-dir".into(), self.root("cache")]
    }

    fn root(&self, name: &str) -> OsString {
        self.folder.join(name).into()
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}
