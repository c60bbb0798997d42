//! [`Folder`]: objects as files below a folder.

mod absence;
mod descriptors;
mod leftovers;
mod system;
mod walk;
mod writer;

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use self::absence::Absence;
use self::descriptors::Descriptors;
pub use self::system::is_bad_sector;
use self::writer::FolderWriter;
use crate::{Backend, Error, ForeignName, Leftovers, ObjectInfo, ObjectName, ObjectWriter, Tail};

/// Objects as files below a folder, on a local file system or a network mount.
///
/// The object `packs/ab/x` is the file `packs/ab/x` below the folder; the folders between are made when they are
/// needed and removed when they are empty.
///
/// - **Creation** writes a temporary file `.tmp-<random>` beside the object's place, syncs it, renames it without
///   replacing anything (by a hard link where the file system has no such rename, as on NFS), and syncs the folder and those
///   above it. A name that begins with a dot is no object name, so no listing shows the file. A crash may leave
///   it behind; [`remove_leftovers`](Backend::remove_leftovers) removes it.
/// - **Deletion** syncs the folder, too.
/// - **Reads by [`read_into`](Backend::read_into)** go through the last 64 files that it opened, which stay
///   open. That is safe because objects don't change and names are not used again, with one effect: an object that
///   *another* `Folder` or process deletes can be read here, and takes up its space, until its file is closed, at the
///   latest when this `Folder` is dropped. One that this `Folder` deletes is gone at once.
///
/// The folder is held open: it may be renamed, and if the mount that it lies on is covered or lazily unmounted, nothing is
/// written to what lies beneath. Symbolic links to folders below it are followed, so that a part can lie on
/// another disk. Where such a link leads nowhere, as when that disk is not mounted, whatever would have to look behind it fails with
/// [`Error::Folder`]: nothing there counts as deleted, and nothing is made in its place. A disk that is not mounted can
/// only be told so if the link leads to something *on* it: a folder to mount on is there, and empty, without its disk.
pub struct Folder {
    path: PathBuf,
    root: OwnedFd,
    descriptors: Descriptors,
    settle_delay: Duration,
    modes: Option<Modes>,
}

/// Permission bits that new files and folders get exactly, whatever the umask.
#[derive(Clone, Copy, Debug)]
struct Modes {
    object: Mode,
    folder: Mode,
}

impl Folder {
    /// Opens a folder that exists.
    ///
    /// # Errors
    ///
    /// [`Error::Folder`] if `path` is not a folder that can be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Folder, Error> {
        let path = path.as_ref();
        let root =
            system::open_folder(rustix::fs::CWD, path).map_err(|errno| folder_error("open", path, errno.into()))?;
        let settle_delay = system::settle_delay(&root).map_err(|errno| folder_error("examine", path, errno.into()))?;
        Ok(Folder { path: path.to_owned(), root, descriptors: Descriptors::default(), settle_delay, modes: None })
    }

    /// Opens a folder, and makes it first, with those above it, where it is missing. What it holds already is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Folder`] if it can't be made or opened.
    pub fn create(path: impl AsRef<Path>) -> Result<Folder, Error> {
        let path = path.as_ref();
        let absolute = std::path::absolute(path).map_err(|source| folder_error("make", path, source))?;
        system::make_folder(&absolute).map_err(|source| folder_error("make", path, source))?;
        Folder::open(path)
    }

    /// Replaces the delay that was guessed from the kinds of file systems of the folder and of those directly in it, symbolic
    /// links to others among them: none if all are local, 60 s if one is NFS, SMB, 9p or FUSE, or can't be reached now.
    /// 60 s is the time for which the Linux NFS client trusts what it knows about a folder (`acdirmax`, see
    /// `man 5 nfs`); a mount with another value needs this.
    pub fn with_settle_delay(self, settle_delay: Duration) -> Folder {
        Folder { settle_delay, ..self }
    }

    /// Gives objects exactly the permission bits `object_mode`, and the folder that directly holds an object, where it is made
    /// for it, exactly `folder_mode`, whatever the umask. Folders above that one, and those that exist, are as they
    /// would be otherwise. Of both modes the last nine bits count.
    ///
    /// Without this, as anywhere, objects get 0666 and folders 0777 less the umask. Cinder's drivers that keep backups in a
    /// folder give 0660 and 0770, for services of one group that share them.
    pub fn with_modes(self, object_mode: u32, folder_mode: u32) -> Folder {
        let mode = |bits: u32| Mode::from_bits_truncate(bits & 0o777);
        Folder { modes: Some(Modes { object: mode(object_mode), folder: mode(folder_mode) }), ..self }
    }

    fn full_path(&self, name: &ObjectName) -> String {
        self.path.join(name.as_str()).to_string_lossy().into_owned()
    }

    /// The error of a call on an existing object.
    fn failed(&self, operation: &'static str, name: &ObjectName, error: impl Into<io::Error>) -> Error {
        let error = error.into();
        match Errno::from_io_error(&error) {
            Some(errno) => self.absent(operation, name, absence::explain(&self.root, name.as_str(), errno)),
            None => Error::from_io(operation, self.full_path(name), error),
        }
    }

    /// The error of a read of an object's file.
    fn read_failed(&self, name: &ObjectName, file: &File, error: io::Error) -> Error {
        match is_bad_sector(file, &error) {
            true => Error::Unreadable { name: self.full_path(name), source: error },
            false => self.failed("read", name, error),
        }
    }

    /// The error for an object that was not found.
    fn absent(&self, operation: &'static str, name: &ObjectName, absence: Absence) -> Error {
        match absence {
            Absence::Gone => Error::NotFound { name: name.clone() },
            Absence::Unreachable(link) => self.unreachable(&link),
            Absence::Failed(errno) => Error::from_io(operation, self.full_path(name), errno.into()),
        }
    }

    /// The error for a link below the root that leads nowhere.
    fn unreachable(&self, link: &OsStr) -> Error {
        let target = match rustix::fs::readlinkat(&self.root, link, Vec::new()) {
            Ok(target) => target.to_string_lossy().into_owned(),
            Err(_) => "another place".to_owned(),
        };
        let source = io::Error::other(format!("it is a symbolic link to {target}, and nothing is there"));
        folder_error("reach", &self.path.join(link), source)
    }

    /// Opens an object's file and returns its size, too.
    fn open_object(&self, name: &ObjectName) -> Result<(File, u64), Error> {
        // NONBLOCK keeps a named pipe, which is no object, from blocking this thread; files ignore it.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let (file, stat) = absence::reach(&self.root, name.as_str(), || {
            let file = retry_on_intr(|| rustix::fs::openat(&self.root, name.as_str(), flags, Mode::empty()))?;
            let stat = rustix::fs::fstat(&file)?;
            Ok((file, stat))
        })
        .map_err(|absence| self.absent("open", name, absence))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotFound { name: name.clone() });
        }
        Ok((File::from(file), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Reads `len` bytes of `file` from `offset` into memory that is taken only now.
    fn read_range(&self, name: &ObjectName, mut file: &File, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
        let failed = |error: io::Error| self.read_failed(name, file, error);
        let mut bytes = Vec::new();
        usize::try_from(len)
            .ok()
            .and_then(|len| bytes.try_reserve_exact(len).ok())
            .ok_or_else(|| failed(io::ErrorKind::OutOfMemory.into()))?;
        if offset > 0 {
            rustix::fs::seek(file, rustix::fs::SeekFrom::Start(offset)).map_err(|errno| failed(errno.into()))?;
        }
        Read::by_ref(&mut file).take(len).read_to_end(&mut bytes).map_err(failed)?;
        let read = bytes.len() as u64;
        if read < len {
            return Err(Error::UnexpectedEnd { name: name.clone(), offset, wanted: len, size: offset + read });
        }
        Ok(bytes)
    }

    fn read_exactly(&self, name: &ObjectName, file: &File, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailure> {
        let wanted = buf.len() as u64;
        // No file reaches this far, and the system would call the offset invalid.
        let out_of_range = offset.checked_add(wanted).is_none_or(|end| end > i64::MAX as u64);
        if !out_of_range && wanted > 0 {
            match file.read_exact_at(buf, offset) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::STALE) => return Err(ReadFailure::Stale),
                Err(error) => return Err(ReadFailure::Other(self.read_failed(name, file, error))),
            }
        }
        let size = file.metadata().map_err(|error| ReadFailure::Other(self.failed("read", name, error)))?.len();
        if wanted == 0 && offset <= size {
            return Ok(());
        }
        Err(ReadFailure::Other(Error::UnexpectedEnd { name: name.clone(), offset, wanted, size }))
    }

    /// Removes a folder below the root, and those above it, as far as they are empty. Whether that succeeds does not
    /// matter: an empty folder is no object, and a writer that needs it may have come first.
    fn remove_empty_folders(&self, folder: &str) {
        let mut folder = folder;
        while !folder.is_empty() && rustix::fs::unlinkat(&self.root, folder, AtFlags::REMOVEDIR).is_ok() {
            folder = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
}

/// Why a read through an open file failed.
enum ReadFailure {
    /// The file was deleted on another host of a network file system.
    Stale,
    Other(Error),
}

fn folder_error(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Folder { operation, path: path.to_string_lossy().into_owned(), source }
}

impl Backend for Folder {
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        Ok(Box::new(FolderWriter::begin(self, name)?))
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        let (file, size) = self.open_object(name)?;
        if size > limit {
            return Err(Error::TooLarge { name: name.clone(), size, limit });
        }
        self.read_range(name, &file, 0, size)
    }

    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let deletions = match self.descriptors.get(name) {
            Ok(file) => match self.read_exactly(name, &file, offset, buf) {
                Ok(()) => return Ok(()),
                Err(ReadFailure::Other(error)) => return Err(error),
                Err(ReadFailure::Stale) => self.descriptors.forget(name),
            },
            Err(deletions) => deletions,
        };
        let file = Arc::new(self.open_object(name)?.0);
        self.descriptors.insert(name, Arc::clone(&file), deletions);
        self.read_exactly(name, &file, offset, buf).map_err(|failure| match failure {
            ReadFailure::Stale => self.failed("read", name, Errno::STALE),
            ReadFailure::Other(error) => error,
        })
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        let (file, size) = self.open_object(name)?;
        let len = size.min(len as u64);
        let bytes = self.read_range(name, &file, size - len, len)?;
        Ok(Tail { bytes, object_size: size })
    }

    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        let stat = absence::reach(&self.root, name.as_str(), || {
            rustix::fs::statat(&self.root, name.as_str(), AtFlags::empty())
        })
        .map_err(|absence| self.absent("examine", name, absence))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotFound { name: name.clone() });
        }
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        walk::walk(self, prefix, &mut |found| {
            if found.may_hide_objects() {
                return Err(self.unreachable(&found.path()));
            }
            let Some(name) = found.object() else { return Ok(()) };
            let stat = match absence::reach(&self.root, name.as_str(), || {
                rustix::fs::statat(found.folder, found.file_name, AtFlags::empty())
            }) {
                Err(Absence::Gone) => return Ok(()),
                stat => stat.map_err(|absence| self.absent("list", &name, absence))?,
            };
            visit(ObjectInfo { name, size: u64::try_from(stat.st_size).unwrap_or(0) })
        })
    }

    fn list_foreign(&self, prefix: &str, visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>) -> Result<(), Error> {
        walk::walk(self, prefix, &mut |found| {
            if found.is_temporary() || found.object().is_some() {
                return Ok(());
            }
            match rustix::fs::statat(found.folder, found.file_name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(errno) if absence::explain(&self.root, found.path(), errno) == Absence::Gone => Ok(()),
                // What can't be examined is there all the same.
                _ => visit(ForeignName::new(found.path())),
            }
        })
    }

    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let failed = |errno: Errno| match errno {
            // The name of a folder, which is no object.
            Errno::ISDIR => Error::NotFound { name: name.clone() },
            errno => self.failed("delete", name, errno),
        };
        let parent = absence::reach(&self.root, name.folder(), || {
            system::open_folder(&self.root, Path::new(system::or_dot(name.folder())))
        })
        .map_err(|absence| self.absent("delete", name, absence))?;
        // Before, so that an NFS client need not keep an open file under another name; and after, so that no
        // reader that opened it in between leaves it here.
        self.descriptors.forget(name);
        let unlinked = rustix::fs::unlinkat(&parent, name.file_name(), AtFlags::empty());
        self.descriptors.forget(name);
        unlinked.map_err(failed)?;
        system::sync_folder(&parent).map_err(|errno| self.failed("delete", name, errno))?;
        self.remove_empty_folders(name.folder());
        Ok(())
    }

    fn forget_cached(&self, name: &ObjectName) {
        // Only the system's own pages of this host: what a disk or a server keeps is out of reach. Where it fails, nothing is lost.
        #[cfg(target_os = "linux")]
        if let Ok((file, _)) = self.open_object(name) {
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = name;
    }

    fn remove_leftovers(&self, prefix: &str, older_than: Duration, dry_run: bool) -> Result<Leftovers, Error> {
        leftovers::remove(self, prefix, older_than, dry_run)
    }

    fn settle_delay(&self) -> Duration {
        self.settle_delay
    }

    fn location(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).field("settle_delay", &self.settle_delay).finish()
    }
}
