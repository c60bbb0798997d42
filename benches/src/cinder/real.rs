//! OpenStack Cinder's real driver, through the reference script.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Form, VOLUME_ID, answer};
use crate::measure::Measured;

/// What runs the real driver.
#[derive(Debug, Clone)]
pub struct Oracle {
    /// A Python that has the `cinder` package.
    pub python: PathBuf,
    /// The script that runs the driver on plain files.
    pub reference: PathBuf,
}

impl Oracle {
    /// The oracle of this checkout: what is given, or else the script beside the checkout and the
    /// Python that `tools/cinder-oracle` prints, which it makes if it is missing.
    ///
    /// # Errors
    /// The script or the Python is missing.
    pub fn find(python: Option<&Path>, reference: Option<&Path>) -> Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the checkout has no folder")?;
        let reference = match reference {
            Some(path) => path.to_owned(),
            None => checkout.join("../shared/cinder-reference/cinder_reference.py"),
        };
        ensure!(reference.is_file(), "there is no {}", reference.display());
        let python = match python {
            Some(path) => path.to_owned(),
            None => {
                let tool = checkout.join("tools/cinder-oracle");
                let output = Command::new(&tool)
                    .stderr(Stdio::inherit())
                    .output()
                    .with_context(|| format!("cannot run {}", tool.display()))?;
                ensure!(output.status.success(), "{} failed", tool.display());
                let printed = String::from_utf8(output.stdout).context("a path that is no UTF-8")?;
                PathBuf::from(printed.trim_end())
            }
        };
        ensure!(python.is_file(), "there is no {}", python.display());
        Ok(Self { python, reference })
    }
}

/// What the real driver took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timed {
    /// Seconds within the driver.
    pub seconds: f64,
    /// The whole process.
    pub process: Measured,
}

/// The real driver with a database and a folder of containers of its own.
#[derive(Debug)]
pub struct Real {
    oracle: Oracle,
    state: PathBuf,
    log: PathBuf,
    form: Form,
    backups: u64,
}

#[derive(Deserialize)]
struct Answer {
    seconds: f64,
}

impl Real {
    /// Puts what it makes into the new folder `folder`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(oracle: &Oracle, folder: &Path, form: &Form) -> Result<Self> {
        fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let (state, log) = (folder.join("state"), folder.join("log"));
        Ok(Self { oracle: oracle.clone(), state, log, form: form.clone(), backups: 0 })
    }

    /// Backs up `volume`, as an increment of the backup `parent`; the new backup's id.
    ///
    /// # Errors
    /// The driver fails.
    pub fn backup(&mut self, volume: &Path, parent: Option<&str>) -> Result<(String, Timed)> {
        self.backups += 1;
        let id = format!("22222222-2222-4222-8222-{:012}", self.backups);
        let mut verb = vec!["backup".into(), "--volume".into(), volume.into(), "--volume-id".into(), VOLUME_ID.into()];
        verb.extend(["--backup-id".into(), OsString::from(&id)]);
        if let Some(parent) = parent {
            verb.extend(["--parent".into(), parent.into()]);
        }
        Ok((id, self.run(verb)?))
    }

    /// Restores the backup `id`: to a new file, or with `existing` over what is in `target`. The
    /// file is then a whole number of GiB long.
    ///
    /// # Errors
    /// The driver fails.
    pub fn restore(&self, id: &str, target: &Path, existing: bool) -> Result<Timed> {
        let mut verb = vec!["restore".into(), "--backup-id".into(), id.into(), "--volume".into(), target.into()];
        if existing {
            verb.push("--existing".into());
        }
        self.run(verb)
    }

    fn run(&self, verb: Vec<OsString>) -> Result<Timed> {
        let mut command: Vec<OsString> = vec![self.oracle.python.clone().into(), self.oracle.reference.clone().into()];
        command.extend(["--state".into(), self.state.clone().into()]);
        let options = [
            format!("backup_compression_algorithm={}", self.form.compression),
            format!("backup_file_size={}", self.form.chunk_size),
        ];
        for option in options {
            command.extend(["--option".into(), option.into()]);
        }
        command.extend(verb);
        let (Answer { seconds }, process) = answer::of(&command, &self.log)?;
        Ok(Timed { seconds, process })
    }
}
