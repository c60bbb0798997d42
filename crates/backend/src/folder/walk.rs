//! Visiting the files below a folder.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::system::{open_folder, or_dot};
use crate::{Error, ObjectName};

/// A file that a walk came upon.
pub(super) struct Found<'a> {
    /// The open folder that holds it.
    pub(super) folder: BorrowedFd<'a>,
    /// That folder's path below the root; empty for the root.
    folder_path: &'a str,
    /// The file's name in it.
    pub(super) file_name: &'a str,
}

impl Found<'_> {
    /// The file's path below the root.
    pub(super) fn path(&self) -> String {
        join(self.folder_path, self.file_name)
    }
}

/// A folder that is being visited, with those above it: what a symbolic link must not lead back to.
struct Ancestry {
    device: u64,
    inode: u64,
    parent: Option<Rc<Ancestry>>,
}

impl Ancestry {
    fn holds(&self, device: u64, inode: u64) -> bool {
        let mut next = Some(self);
        while let Some(folder) = next {
            if (folder.device, folder.inode) == (device, inode) {
                return true;
            }
            next = folder.parent.as_deref();
        }
        false
    }
}

/// Calls `visit` for every file whose path below `root` begins with `prefix`, hidden files among them, and enters no
/// folder that can't hold an object of that prefix. What vanishes meanwhile is passed over; what can't be
/// read is an error. Memory grows with the number of folders, not of files.
///
/// `location` is the root's path, for messages.
pub(super) fn walk(
    root: &OwnedFd,
    location: &Path,
    prefix: &str,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (start, name_prefix) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    // Only folders with a valid path hold objects; in particular, no prefix leads out of the root.
    if prefix.contains('/') && ObjectName::new(start).is_err() {
        return Ok(());
    }
    let mut pending: Vec<(String, Option<Rc<Ancestry>>)> = vec![(start.to_owned(), None)];
    let mut name_prefix = name_prefix;
    while let Some((folder_path, parent)) = pending.pop() {
        let failed = |errno: Errno| {
            let path = location.join(&folder_path);
            Error::from_io("list", path.to_string_lossy(), errno.into())
        };
        let folder = match open_folder(root, Path::new(or_dot(&folder_path))) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::STALE) if !folder_path.is_empty() => continue,
            folder => folder.map_err(failed)?,
        };
        let stat = rustix::fs::fstat(&folder).map_err(failed)?;
        let (device, inode) = (stat.st_dev, stat.st_ino);
        if parent.as_ref().is_some_and(|parent| parent.holds(device, inode)) {
            return Err(failed(Errno::LOOP));
        }
        let ancestry = Rc::new(Ancestry { device, inode, parent });

        let mut entries = Dir::new(folder).map_err(failed)?;
        while let Some(entry) = entries.read() {
            let entry = match entry {
                Err(Errno::NOENT | Errno::STALE) if !folder_path.is_empty() => break,
                entry => entry.map_err(failed)?,
            };
            let Ok(file_name) = entry.file_name().to_str() else { continue };
            if matches!(file_name, "." | "..") || !file_name.starts_with(name_prefix) {
                continue;
            }
            let folder = entries.fd().map_err(failed)?;
            let file_type = match entry.file_type() {
                FileType::Symlink | FileType::Unknown => {
                    match rustix::fs::statat(folder, file_name, AtFlags::empty()) {
                        Err(Errno::NOENT | Errno::STALE) => continue,
                        stat => FileType::from_raw_mode(stat.map_err(failed)?.st_mode),
                    }
                }
                known => known,
            };
            match file_type {
                FileType::RegularFile => visit(Found { folder, folder_path: &folder_path, file_name })?,
                FileType::Directory => {
                    let path = join(&folder_path, file_name);
                    if ObjectName::new(path.as_str()).is_ok() {
                        pending.push((path, Some(Rc::clone(&ancestry))));
                    }
                }
                _ => {}
            }
        }
        // The prefix is used up: it spoke of the entries of the first folder.
        name_prefix = "";
    }
    Ok(())
}

fn join(folder: &str, file_name: &str) -> String {
    if folder.is_empty() { file_name.to_owned() } else { format!("{folder}/{file_name}") }
}
