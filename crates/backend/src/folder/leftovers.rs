//! Removing the temporary files of writers that were killed.

use std::time::{Duration, SystemTime};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Folder;
use super::walk::{self, Found};
use super::writer::TEMPORARY_PREFIX;
use crate::{Error, Leftovers};

/// Removes temporary files of objects whose names begin with `prefix`, and folders that are empty then.
pub(super) fn remove(folder: &Folder, prefix: &str, older_than: Duration, dry_run: bool) -> Result<Leftovers, Error> {
    let now = SystemTime::now();
    let mut removed = Leftovers::default();
    let mut look = |found: Found<'_>| {
        if !found.is_temporary() {
            return Ok(());
        }
        let failed = |errno: Errno| {
            let path = folder.path.join(found.path());
            Error::from_io("remove", path.to_string_lossy(), errno.into())
        };
        let stat = match rustix::fs::statat(found.folder, found.file_name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT | Errno::STALE) => return Ok(()),
            stat => stat.map_err(failed)?,
        };
        let (seconds, part) =
            (u64::try_from(stat.st_mtime).unwrap_or(0), u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
        let age = now.duration_since(SystemTime::UNIX_EPOCH + Duration::new(seconds, part));
        if age.is_ok_and(|age| age >= older_than) {
            if !dry_run {
                match rustix::fs::unlinkat(found.folder, found.file_name, AtFlags::empty()) {
                    Err(Errno::NOENT | Errno::STALE) => return Ok(()),
                    result => result.map_err(failed)?,
                }
                folder.remove_empty_folders(found.folder_path);
            }
            removed.files += 1;
            removed.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
        Ok(())
    };
    // A temporary file's own name says nothing of its object's: those that lie where an object of that prefix would.
    let (start, name) = prefix.rsplit_once('/').map_or(("", prefix), |(start, name)| (start, name));
    if !name.is_empty() {
        let beside = if start.is_empty() { TEMPORARY_PREFIX.to_owned() } else { format!("{start}/{TEMPORARY_PREFIX}") };
        walk::walk(folder, &beside, &mut look)?;
    }
    walk::walk(folder, prefix, &mut look)?;
    Ok(removed)
}
