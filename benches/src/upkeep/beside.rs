//! A backup that runs beside gc, against one that runs alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command::Cinderblock;
use crate::measure::Measured;

/// Backs up `source` beside a `gc` that is started at the same time, and that has to wait for the backup before it deletes anything;
/// what the backup took.
///
/// # Errors
/// Either command fails.
pub fn backup_beside_gc(command: &mut Cinderblock, source: &Path, volume: &str) -> Result<Measured> {
    let line = command.gc_command();
    let (program, arguments) = line.split_first().context("gc has no command line")?;
    let mut gc = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start gc")?;
    let backup = command.backup(source, volume);
    ensure!(gc.wait()?.success(), "gc failed");
    Ok(backup?.1)
}

/// Copies a repository's folder: its cache byte for byte, the repository as hard links, which is
/// enough, as its objects are never written to again.
///
/// # Errors
/// `to` exists, or either folder fails.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target)?;
        } else if source.components().any(|part| part.as_os_str() == "repository") {
            fs::hard_link(&source, &target).with_context(|| format!("cannot link {}", target.display()))?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}
