//! A backup that runs beside gc, against one that runs alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command::Cinderblock;
use crate::measure::Measured;

/// Backs up `source` while `gc` is run again and again, from before the backup begins to after it
/// ends; what the backup took, and how many times gc ran to its end.
///
/// # Errors
/// Either command fails.
pub fn backup_beside_gc(command: &mut Cinderblock, source: &Path, volume: &str) -> Result<(Measured, usize)> {
    let line = command.gc_command();
    let (program, arguments) = line.split_first().context("gc has no command line")?;
    let start = || {
        let mut gc = Command::new(program);
        gc.args(arguments).args(["--grace", "0s"]).stdin(Stdio::null()).stdout(Stdio::null());
        gc.spawn().context("cannot start gc")
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let first = start()?;
        let collector = scope.spawn(|| {
            let (mut gc, mut ended) = (first, 0);
            loop {
                ensure!(gc.wait()?.success(), "gc failed");
                ended += 1;
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return Ok(ended);
                }
                gc = start()?;
            }
        });
        let backup = command.backup(source, volume);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let ended = collector.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((backup?.1, ended))
    })
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
