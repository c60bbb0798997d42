//! Visiting the files below a folder.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::Folder;
use super::absence::{self, Absence};
use super::system::{open_folder, or_dot};
use super::writer::TEMPORARY_PREFIX;
use crate::{Error, ObjectName};

/// What a walk came upon: anything but a folder that it enters.
pub(super) struct Found<'a> {
    /// The open folder that holds it.
    pub(super) folder: BorrowedFd<'a>,
    /// That folder's path below the root; empty for the root.
    pub(super) folder_path: &'a str,
    /// Its name in that folder.
    pub(super) file_name: &'a OsStr,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A regular file, or a symbolic link to one.
    File,
    /// A symbolic link that leads nowhere.
    BrokenLink,
    Other,
}

impl Found<'_> {
    /// Its path below the root.
    pub(super) fn path(&self) -> OsString {
        path_of(self.folder_path, self.file_name)
    }

    /// The object that it is, if it is one.
    pub(super) fn object(&self) -> Option<ObjectName> {
        if self.kind == Kind::File { self.valid_name() } else { None }
    }

    /// Whether objects may be here that can't be seen: it is a link that leads nowhere now, and has the name of an object or of a
    /// folder of objects.
    pub(super) fn may_hide_objects(&self) -> bool {
        self.kind == Kind::BrokenLink && self.valid_name().is_some()
    }

    fn valid_name(&self) -> Option<ObjectName> {
        ObjectName::new(join(self.folder_path, self.file_name.to_str()?)).ok()
    }

    /// Whether its name begins as those of files that are being written.
    pub(super) fn is_temporary(&self) -> bool {
        self.kind == Kind::File && self.file_name.as_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
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

/// Calls `visit` for every file whose path below the root begins with `prefix`, hidden files among them, and enters no
/// folder that can't hold an object of that prefix: one of a name that no object could have, such as a hidden one, is visited itself,
/// and so are links that lead nowhere, pipes and the like. What vanishes meanwhile is passed over, once a second look has
/// shown that it is gone; what can't be read or reached is an error. Memory grows with the number of folders, not of files.
pub(super) fn walk(
    root: &Folder,
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
            let path = root.path.join(&folder_path);
            Error::from_io("list", path.to_string_lossy(), errno.into())
        };
        // What is gone may be left out of a listing; what only can't be seen may not.
        let passed_over = |absence: Absence| match absence {
            Absence::Gone => Ok(()),
            Absence::Unreachable(link) => Err(root.unreachable(&link)),
            Absence::Failed(errno) => Err(failed(errno)),
        };
        let opened =
            absence::reach(&root.root, &folder_path, || open_folder(&root.root, Path::new(or_dot(&folder_path))));
        let folder = match opened {
            Ok(folder) => folder,
            Err(absence) => {
                passed_over(absence)?;
                continue;
            }
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
                Ok(entry) => entry,
                Err(errno) => {
                    passed_over(absence::explain(&root.root, &folder_path, errno))?;
                    break;
                }
            };
            let file_name = entry.file_name().to_bytes();
            if matches!(file_name, b"." | b"..") || !file_name.starts_with(name_prefix.as_bytes()) {
                continue;
            }
            let file_name = OsStr::from_bytes(file_name);
            let folder = entries.fd().map_err(failed)?;
            let (file_type, is_broken_link) = match entry.file_type() {
                FileType::Symlink | FileType::Unknown => {
                    let path = path_of(&folder_path, file_name);
                    match absence::reach(&root.root, &path, || rustix::fs::statat(folder, file_name, AtFlags::empty()))
                    {
                        Ok(stat) => (FileType::from_raw_mode(stat.st_mode), false),
                        Err(Absence::Unreachable(link)) if link == path => (FileType::Symlink, true),
                        Err(absence) => {
                            passed_over(absence)?;
                            continue;
                        }
                    }
                }
                known => (known, false),
            };
            if file_type == FileType::Directory
                && let Some(path) = file_name.to_str().map(|name| join(&folder_path, name))
                && ObjectName::new(path.as_str()).is_ok()
            {
                pending.push((path, Some(Rc::clone(&ancestry))));
                continue;
            }
            let kind = match file_type {
                FileType::RegularFile => Kind::File,
                _ if is_broken_link => Kind::BrokenLink,
                _ => Kind::Other,
            };
            visit(Found { folder, folder_path: &folder_path, file_name, kind })?;
        }
        // The prefix is used up: it spoke of the entries of the first folder.
        name_prefix = "";
    }
    Ok(())
}

fn join(folder: &str, file_name: &str) -> String {
    if folder.is_empty() { file_name.to_owned() } else { format!("{folder}/{file_name}") }
}

fn path_of(folder: &str, file_name: &OsStr) -> OsString {
    let mut path = OsString::from(folder);
    if !folder.is_empty() {
        path.push("/");
    }
    path.push(file_name);
    path
}
