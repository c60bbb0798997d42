//! Where a volume is restored to.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};
use tempfile::NamedTempFile;

use crate::error::Error;

/// Where a volume is restored to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file that must not exist. It appears under its name only when it is whole and durable; it has holes where the
    /// volume is zero.
    New(PathBuf),
    /// A regular file or a block device that is overwritten; at least as large as the volume. What is right
    /// already is not written, and what lies behind the volume's end is not touched.
    Existing(PathBuf),
}

impl Target {
    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Target::New(path) | Target::Existing(path) => path,
        }
    }
}

fn bad(path: &Path, reason: impl Into<String>) -> Error {
    Error::BadTarget { path: path.to_owned(), reason: reason.into() }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Target { operation, path: path.to_owned(), offset: 0, partly_written: false, source }
}

const EXISTS: &str = "it exists already: choose another path, or overwrite it with --existing";

/// Longest part of the target's name that the temporary file's name repeats, in bytes: names have at most 255.
const MAX_REPEATED_NAME: usize = 200;

/// A new file under a temporary name beside its place; gone when it is dropped before [`finish`](NewFile::finish).
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl NewFile {
    /// Makes a file of so many bytes, all of them a hole, which is to become `path`.
    ///
    /// # Errors
    /// [`Error::BadTarget`] where there is something at `path` already, or it does not end in a name; [`Error::Target`]
    /// where the folder or the file system refuses it.
    pub fn create(path: &Path, bytes: u64) -> Result<Self, Error> {
        // A dangling symbolic link is there, too.
        match path.symlink_metadata() {
            Ok(_) => return Err(bad(path, EXISTS)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("examining", path, error)),
        }
        let Some(name) = path.file_name() else { return Err(bad(path, "it does not end in a file's name")) };
        if folder(path).symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Err(bad(path, "its folder does not exist: make that first"));
        }
        let mut prefix = OsString::from(".");
        if name.len() <= MAX_REPEATED_NAME {
            prefix.push(name);
            prefix.push(".");
        }
        prefix.push("cinderblock-");
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            // As any new file's: the system takes the umask off.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder(path))
            .map_err(|source| failed("making", path, source))?;
        file.as_file().set_len(bytes).map_err(|source| failed("sizing", path, source))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// [`Error::BadTarget`] where somebody took the name meanwhile, whose file is left alone; [`Error::Target`] where it
    /// cannot be synced or named. There is no new file then, but for a failed sync of its folder: it may be there.
    pub fn finish(self) -> Result<(), Error> {
        let Self { path, file } = self;
        file.as_file().sync_all().map_err(|source| failed("syncing", &path, source))?;
        if let Err(error) = file.persist_noclobber(&path) {
            return Err(match error.error.kind() {
                io::ErrorKind::AlreadyExists => bad(&path, "somebody made it meanwhile, and it was left as it is"),
                _ => failed("naming", &path, error.error),
            });
        }
        File::open(folder(&path))
            .and_then(|folder| folder.sync_all())
            .map_err(|source| failed("syncing the folder of", &path, source))
    }
}

/// Bytes of zeros that are written at once: 64 KiB.
const ZEROS: usize = 64 << 10;

/// Makes `length` bytes of a file or a block device from byte `offset` on zero: as a hole where the file system has holes, else
/// as a range that is known to be zero, else by writing zeros. The file's size stays; the range lies within it.
///
/// # Errors
/// What the system says; a part of the range may be zero then.
pub fn make_zero(file: &File, offset: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    for mode in [FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE] {
        match retry_on_intr(|| fallocate(file, mode | FallocateFlags::KEEP_SIZE, offset, length)) {
            Ok(()) => return Ok(()),
            // Not every file system and device can, nor at every offset.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let end = offset.checked_add(length).ok_or(io::ErrorKind::InvalidInput)?;
    let (mut at, zeros) = (offset, [0; ZEROS]);
    while at < end {
        let part = zeros.get(..(end - at) as usize).unwrap_or(&zeros);
        file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Opens a regular file or a block device that is there, for reading and writing, and makes sure that a volume of
/// `volume_bytes` fits. A device is opened exclusively.
///
/// # Errors
/// [`Error::BadTarget`] where it does not exist, is something else, is too small, or a device that is in use or read-only;
/// [`Error::Target`] where the system refuses it.
pub fn open_existing(path: &Path, volume_bytes: u64) -> Result<File, Error> {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(bad(path, "it does not exist: leave --existing out to make a new file"));
        }
        Err(error) => return Err(failed("examining", path, error)),
    };
    let usable = |kind: std::fs::FileType| kind.is_file() || kind.is_block_device();
    let unusable = || bad(path, "it is neither a regular file nor a block device");
    if !usable(metadata.file_type()) {
        return Err(unusable());
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if metadata.file_type().is_block_device() {
        if is_read_only(&metadata) {
            return Err(bad(path, "the device is read-only: make it writable (blockdev --setrw) first"));
        }
        // On a device, the kernel takes this as: not while it is mounted or otherwise in use.
        options.custom_flags(rustix::fs::OFlags::EXCL.bits() as i32);
    }
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            return Err(bad(path, "the device is in use: unmount or detach it first"));
        }
        Err(error) => return Err(failed("opening", path, error)),
    };
    // The path may name something else by now.
    if !usable(file.metadata().map_err(|source| failed("examining", path, source))?.file_type()) {
        return Err(unusable());
    }
    // A device's metadata says nothing about its size.
    let bytes = file.seek(SeekFrom::End(0)).map_err(|source| failed("examining", path, source))?;
    if bytes < volume_bytes {
        return Err(bad(
            path,
            format!("it has {bytes} bytes, and the volume {volume_bytes}: make it at least that large first"),
        ));
    }
    Ok(file)
}

/// Whether the kernel takes no writes to a block device. It lets such a device be opened for writing all the same, and refuses the
/// first write. Where sysfs does not tell, that has to.
fn is_read_only(device: &Metadata) -> bool {
    let number = device.rdev();
    let flag = format!("/sys/dev/block/{}:{}/ro", rustix::fs::major(number), rustix::fs::minor(number));
    fs::read_to_string(flag).is_ok_and(|flag| flag.trim_end() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_range_becomes_zero() {
        let places = [tempfile::tempfile(), tempfile::tempfile_in("/dev/shm")];
        for file in places.into_iter().flatten() {
            for (offset, length) in [(0, 300_000), (1, 1), (4096, 8192), (70_001, 200_003), (299_999, 1), (5, 0)] {
                file.write_all_at(&[7; 300_000], 0).unwrap();
                make_zero(&file, offset, length).unwrap();
                let mut bytes = vec![1; 300_000];
                file.read_exact_at(&mut bytes, 0).unwrap();
                let range = offset as usize..(offset + length) as usize;
                let right = bytes.iter().enumerate().all(|(at, byte)| *byte == if range.contains(&at) { 0 } else { 7 });
                assert!(right, "{offset}+{length}");
                assert_eq!(file.metadata().unwrap().len(), 300_000);
            }
        }
    }

    /// Permissions don't bind root; that a program runs does.
    #[test]
    fn a_file_that_may_not_be_written_to_is_refused_when_it_is_opened() {
        let error = open_existing(&std::env::current_exe().unwrap(), 0).unwrap_err();
        assert!(matches!(error, Error::Target { operation: "opening", partly_written: false, .. }), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_written_to_cannot_be_made_zero() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10).unwrap();
        let read_only = File::open(file.path()).unwrap();
        assert!(make_zero(&read_only, 0, 10).is_err());
    }
}
