//! The system calls on folders, with what file systems make of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::ObjectName;

/// For how long a network file system's client may trust what it knows about a folder: `acdirmax` of NFS.
const NETWORK_SETTLE_DELAY: Duration = Duration::from_secs(60);

/// File systems on which another host's changes may show late, by their magic numbers (`linux/magic.h`): NFS, SMB 1,
/// SMB 2 and 3, 9p, FUSE. FUSE can be anything, and some of it (sshfs, s3fs) is this.
const NETWORK_FILE_SYSTEMS: [u32; 5] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546];

pub(super) fn open_folder(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(&at, path, flags, Mode::empty()))
}

/// Opens a folder to look at what is in it by name: that takes the right to search it, and not to list it.
pub(super) fn enter_folder(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(&at, path, flags, Mode::empty()))
}

/// Makes what a folder holds durable.
pub(super) fn sync_folder(folder: impl AsFd) -> Result<(), Errno> {
    match retry_on_intr(|| rustix::fs::fsync(&folder)) {
        // Some network and FUSE file systems have no sync for folders: their changes go to the server at once.
        Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(()),
        result => result,
    }
}

/// Makes a folder with those above it, durably. `path` is absolute. Only its owner may enter: what is kept in it is mostly
/// nobody else's business, and it is easily opened to others.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    make_folder(parent)?;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    sync_folder(open_folder(rustix::fs::CWD, parent)?)?;
    Ok(())
}

/// How long changes on another host may stay unseen in a folder, or in one of those directly in it: they may be symbolic links to
/// another disk.
pub(super) fn settle_delay(root: impl AsFd) -> Result<Duration, Errno> {
    settle_delay_of(root, &NETWORK_FILE_SYSTEMS)
}

fn settle_delay_of(root: impl AsFd, networks: &[u32]) -> Result<Duration, Errno> {
    if is_on(&root, networks)? {
        return Ok(NETWORK_SETTLE_DELAY);
    }
    for entry in Dir::read_from(&root)? {
        let entry = entry?;
        let may_be_a_folder = matches!(entry.file_type(), FileType::Directory | FileType::Symlink | FileType::Unknown);
        // Others hold no objects.
        let Some(name) = entry.file_name().to_str().ok().filter(|name| may_be_a_folder && is_valid(name)) else {
            continue;
        };
        let is_network = match open_folder(&root, Path::new(name)) {
            Ok(folder) => is_on(folder, networks).unwrap_or(true),
            // Links to files have no folder's listing; what lies behind others may be reached later.
            Err(errno) => entry.file_type() == FileType::Symlink && errno != Errno::NOTDIR,
        };
        if is_network {
            return Ok(NETWORK_SETTLE_DELAY);
        }
    }
    Ok(Duration::ZERO)
}

fn is_valid(name: &str) -> bool {
    ObjectName::new(name).is_ok()
}

/// Whether a read of a file or a block device failed because its disk can't read what is there. Behind a network (NFS, SMB, 9p, FUSE) the same answer says only
/// that none came in time: that is no bad sector.
pub fn is_bad_sector(file: impl AsFd, error: &io::Error) -> bool {
    is_bad_sector_of(file, error, &NETWORK_FILE_SYSTEMS)
}

fn is_bad_sector_of(file: impl AsFd, error: &io::Error, networks: &[u32]) -> bool {
    // The last two are a file system's word that what it read has a wrong checksum, or a structure that makes no sense.
    let says_so = matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN));
    says_so && !is_on(file, networks).unwrap_or(true)
}

/// Whether a file or a folder is on one of these file systems.
fn is_on(folder: impl AsFd, file_systems: &[u32]) -> Result<bool, Errno> {
    let file_system = rustix::fs::fstatfs(folder)?.f_type;
    // The magic number has 32 bits, whatever the width and sign of the field.
    Ok(file_systems.contains(&(file_system as u32)))
}

/// The path of a folder below another, which for that other itself is `.`.
pub(super) fn or_dot(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_a_disk_that_answers_has_a_bad_sector() {
        let error = |errno: Errno| io::Error::from(errno);
        let place = tempfile::tempdir().unwrap();
        let here = open_folder(rustix::fs::CWD, place.path()).unwrap();
        assert!(is_bad_sector(&here, &error(Errno::IO)) && is_bad_sector(&here, &error(Errno::UCLEAN)));
        assert!(!is_bad_sector(&here, &error(Errno::TIMEDOUT)) && !is_bad_sector(&here, &io::Error::other("?")));
        let magic = rustix::fs::fstatfs(&here).unwrap().f_type as u32;
        assert!(!is_bad_sector_of(&here, &error(Errno::IO), &[magic]), "behind a network, no answer came");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_part_on_a_network_file_system_counts_as_the_root_does() {
        /// `PROC_SUPER_MAGIC`, of `/proc`: stands for a network here.
        const PROC: u32 = 0x9fa0;
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let delay = || settle_delay_of(open_folder(rustix::fs::CWD, place.path()).unwrap(), &[PROC]).unwrap();
        assert_eq!(
            settle_delay_of(open_folder(rustix::fs::CWD, Path::new("/proc")).unwrap(), &[PROC]),
            Ok(NETWORK_SETTLE_DELAY)
        );

        // No folders, no folders of objects, or not directly in the root.
        std::fs::create_dir_all(path("packs/ab")).unwrap();
        symlink("/proc/self", path("packs/ab/cd")).unwrap();
        symlink("/proc/version", path("version")).unwrap();
        symlink("/proc/self", path(".snapshot")).unwrap();
        std::fs::write(path("cinderblock.json"), b"x").unwrap();
        assert_eq!(delay(), Duration::ZERO);

        symlink("/proc/self", path("backups")).unwrap();
        assert_eq!(delay(), NETWORK_SETTLE_DELAY);
        std::fs::remove_file(path("backups")).unwrap();
        assert_eq!(delay(), Duration::ZERO);
        symlink("not-mounted/backups", path("backups")).unwrap();
        assert_eq!(delay(), NETWORK_SETTLE_DELAY, "who knows what will be mounted there");
    }
}
