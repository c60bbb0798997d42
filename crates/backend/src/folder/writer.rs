//! The creation of an object: a temporary file that becomes the object, whole, or nothing.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};

use super::absence::{self, Absence};
use super::{Folder, system};
use crate::{Error, ObjectName, ObjectWriter};

/// What the names of temporary files begin with. It begins with a dot, as no object name does.
pub(super) const TEMPORARY_PREFIX: &str = ".tmp-";

/// How often a folder is made again that someone else removes, being empty, before the first file is in it. Each time
/// takes another deletion of the last object of that very folder at that very moment.
const ATTEMPTS: usize = 100;

/// Invariant: while `temporary` is set, the file of that name in `parent` is this writer's; it keeps `parent` and the folders
/// above it from being empty, so that no deletion removes them.
pub(super) struct FolderWriter<'a> {
    folder: &'a Folder,
    name: ObjectName,
    parent: OwnedFd,
    temporary: Option<String>,
    file: File,
    failed: bool,
}

impl<'a> FolderWriter<'a> {
    pub(super) fn begin(folder: &'a Folder, name: &ObjectName) -> Result<FolderWriter<'a>, Error> {
        let failed = |error: io::Error| Error::from_io("create", folder.full_path(name), error);
        let mut last = Errno::NOENT;
        for _ in 0..ATTEMPTS {
            let begun = open_parent(folder, name.folder()).and_then(|parent| {
                let (temporary, file) = create_temporary(&parent, folder.modes.map(|modes| modes.object))?;
                Ok((parent, temporary, file))
            });
            let errno = match begun {
                Ok((parent, temporary, file)) => {
                    let temporary = Some(temporary);
                    return Ok(FolderWriter { folder, name: name.clone(), parent, temporary, file, failed: false });
                }
                Err(errno) => errno,
            };
            if let Absence::Unreachable(link) = absence::explain(&folder.root, name.folder(), errno) {
                return Err(folder.unreachable(&link));
            }
            match errno {
                Errno::NOENT | Errno::STALE => last = Errno::NOENT,
                Errno::NOTDIR => return Err(obstructed(folder, name)),
                errno => return Err(failed(errno.into())),
            }
        }
        Err(failed(last.into()))
    }

    fn publish(&mut self, temporary: &str) -> Result<(), Error> {
        let target = self.name.file_name();
        let renamed = retry_on_intr(|| {
            rustix::fs::renameat_with(&self.parent, temporary, &self.parent, target, RenameFlags::NOREPLACE)
        });
        let published = match renamed {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.link(temporary),
            renamed => renamed,
        };
        match published {
            Ok(()) => {
                self.temporary = None;
                Ok(())
            }
            Err(Errno::EXIST) => {
                let absence = absence::reach(&self.folder.root, self.name.as_str(), || {
                    rustix::fs::statat(&self.parent, target, AtFlags::empty()).map(drop)
                });
                if let Err(Absence::Unreachable(link)) = absence {
                    return Err(self.folder.unreachable(&link));
                }
                let stat = rustix::fs::statat(&self.parent, target, AtFlags::SYMLINK_NOFOLLOW);
                match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                    Ok(FileType::Directory) => Err(obstructed(self.folder, &self.name)),
                    _ => Err(Error::AlreadyExists { name: self.name.clone() }),
                }
            }
            Err(errno) => Err(self.error("finish", errno)),
        }
    }

    /// For file systems that can't rename without replacing: a hard link never replaces anything either.
    fn link(&self, temporary: &str) -> Result<(), Errno> {
        match rustix::fs::linkat(&self.parent, temporary, &self.parent, self.name.file_name(), AtFlags::empty()) {
            // An NFS server whose answer was lost is asked again, and then finds its own link. That this file has two
            // names tells that from someone else's object.
            Err(Errno::EXIST) if rustix::fs::fstat(&self.file).is_ok_and(|stat| stat.st_nlink == 2) => {}
            linked => linked?,
        }
        // A second name that stays behind is a leftover like any other.
        let _ = rustix::fs::unlinkat(&self.parent, temporary, AtFlags::empty());
        Ok(())
    }

    /// Makes the object's entry durable, and those of the folders above it: they may be new, made by this writer
    /// or by another that has yet to sync them.
    fn sync_folders(&self) -> Result<(), Error> {
        let sync = |folder: &OwnedFd| system::sync_folder(folder).map_err(|errno| self.error("sync", errno));
        sync(&self.parent)?;
        let mut folder = self.name.folder();
        while !folder.is_empty() {
            folder = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
            if folder.is_empty() {
                sync(&self.folder.root)?;
                continue;
            }
            let root = &self.folder.root;
            match absence::reach(root, folder, || system::open_folder(root, Path::new(folder))) {
                Ok(opened) => sync(&opened)?,
                // The object is published: whoever deleted it since removed the folder, too.
                Err(Absence::Gone) => {}
                Err(Absence::Unreachable(link)) => return Err(self.folder.unreachable(&link)),
                Err(Absence::Failed(errno)) => return Err(self.error("sync", errno)),
            }
        }
        Ok(())
    }

    fn error(&self, operation: &'static str, error: impl Into<io::Error>) -> Error {
        Error::from_io(operation, self.folder.full_path(&self.name), error.into())
    }

    /// Remembers a failed write, after which the file may lack a part, and says in the error which object it was.
    fn noted<T>(&mut self, written: io::Result<T>) -> io::Result<T> {
        written.map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => {
                self.failed = true;
                io::Error::new(kind, self.error("write", error))
            }
        })
    }
}

impl Write for FolderWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.noted(written)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.file.write_vectored(parts);
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for FolderWriter<'_> {
    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Incomplete { name: self.name.clone() });
        }
        self.file.sync_all().map_err(|error| self.error("sync", error))?;
        if let Some(temporary) = self.temporary.clone() {
            self.publish(&temporary)?;
        }
        self.sync_folders().inspect_err(|_| {
            // It is there but may not last: taken back, as far as that is possible, a failure means that it is not there.
            let _ = rustix::fs::unlinkat(&self.parent, self.name.file_name(), AtFlags::empty());
        })
    }
}

impl Drop for FolderWriter<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // What can't be removed is a leftover, which no listing shows.
            let _ = rustix::fs::unlinkat(&self.parent, temporary.as_str(), AtFlags::empty());
            self.folder.remove_empty_folders(self.name.folder());
        }
    }
}

/// Opens a folder below the root, and makes it first where it is missing. `NOENT` if it was removed meanwhile.
fn open_parent(folder: &Folder, path: &str) -> Result<OwnedFd, Errno> {
    match system::open_folder(&folder.root, Path::new(system::or_dot(path))) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    let slashes = path.match_indices('/').map(|(at, _)| at);
    let mut made = false;
    for end in slashes.chain([path.len()]) {
        match rustix::fs::mkdirat(&folder.root, &path[..end], Mode::from_raw_mode(0o777)) {
            Ok(()) => made = true,
            Err(Errno::EXIST) => made = false,
            Err(errno) => return Err(errno),
        }
    }
    let parent = system::open_folder(&folder.root, Path::new(path))?;
    if let (true, Some(modes)) = (made, folder.modes) {
        retry_on_intr(|| rustix::fs::fchmod(&parent, modes.folder))?;
    }
    Ok(parent)
}

/// A new file, with exactly these permission bits if they are given.
fn create_temporary(parent: &OwnedFd, mode: Option<Mode>) -> Result<(String, File), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let random = getrandom::u64().map_err(|_| Errno::IO)?;
    let temporary = format!("{TEMPORARY_PREFIX}{random:016x}");
    let file = retry_on_intr(|| rustix::fs::openat(parent, temporary.as_str(), flags, Mode::from_raw_mode(0o666)))?;
    if let Some(mode) = mode
        && let Err(errno) = retry_on_intr(|| rustix::fs::fchmod(&file, mode))
    {
        let _ = rustix::fs::unlinkat(parent, temporary.as_str(), AtFlags::empty());
        return Err(errno);
    }
    Ok((temporary, File::from(file)))
}

/// The error for a path on which a file is where a folder is needed, or the reverse.
fn obstructed(folder: &Folder, name: &ObjectName) -> Error {
    let path = name.as_str();
    let slashes = path.match_indices('/').map(|(at, _)| at);
    let obstacle = slashes
        .map(|end| &path[..end])
        .find(|ancestor| {
            let stat = rustix::fs::statat(&folder.root, *ancestor, AtFlags::empty());
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory)
        })
        .unwrap_or(path);
    let obstacle = folder.path.join(obstacle).to_string_lossy().into_owned();
    Error::Obstructed { name: name.clone(), obstacle }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;

    fn name() -> ObjectName {
        ObjectName::new("packs/ab/x").unwrap()
    }

    fn writer<'a>(folder: &'a Folder, bytes: &[u8]) -> FolderWriter<'a> {
        let mut writer = FolderWriter::begin(folder, &name()).unwrap();
        writer.write_all(bytes).unwrap();
        writer
    }

    #[test]
    fn without_a_rename_that_refuses_to_replace_a_link_does_the_same() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let first = writer(&folder, b"first");
        first.link(first.temporary.as_deref().unwrap()).unwrap();
        let second = writer(&folder, b"second");
        assert_eq!(second.link(second.temporary.as_deref().unwrap()), Err(Errno::EXIST));
        drop((first, second));

        assert_eq!(folder.get(&name(), 10).unwrap(), b"first");
        let left = std::fs::read_dir(place.path().join("packs/ab")).unwrap().count();
        assert_eq!(left, 1, "both temporary files are gone");
    }

    #[test]
    fn a_link_that_was_made_though_the_answer_was_lost_counts() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let writer = writer(&folder, b"once");
        let temporary = writer.temporary.as_deref().unwrap();
        rustix::fs::linkat(&writer.parent, temporary, &writer.parent, "x", AtFlags::empty()).unwrap();
        writer.link(temporary).unwrap();
        drop(writer);
        assert_eq!(folder.get(&name(), 10).unwrap(), b"once");
    }

    #[test]
    fn after_a_failed_write_nothing_is_published() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let mut writer = Box::new(writer(&folder, b"part"));
        // Fails every write: the descriptor is open for reading only.
        writer.file = File::open(place.path().join("packs/ab").join(writer.temporary.as_deref().unwrap())).unwrap();
        let error = Error::from_io("write", "", writer.write_all(b"more").unwrap_err());
        assert!(matches!(&error, Error::Io { name, .. } if name.ends_with("packs/ab/x")), "{error:?}");
        assert!(matches!(writer.finish(), Err(Error::Incomplete { .. })));
        assert!(folder.get(&name(), 10).unwrap_err().is_not_found());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
