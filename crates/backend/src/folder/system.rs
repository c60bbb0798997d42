//! The system calls on folders, with what file systems make of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

/// For how long a network file system's client may trust what it knows about a folder: `acdirmax` of NFS.
const NETWORK_SETTLE_DELAY: Duration = Duration::from_secs(60);

/// File systems on which another host's changes may show late, by their magic numbers (`linux/magic.h`): NFS, SMB 1,
/// SMB 2 and 3, 9p, FUSE. FUSE can be anything, and some of it (sshfs, s3fs) is this.
const NETWORK_FILE_SYSTEMS: [u32; 5] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546];

pub(super) fn open_folder(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
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

/// How long changes on another host may stay unseen in a folder.
pub(super) fn settle_delay(folder: impl AsFd) -> Result<Duration, Errno> {
    let file_system = rustix::fs::fstatfs(folder)?.f_type;
    // The magic number has 32 bits, whatever the width and sign of the field.
    let is_network = NETWORK_FILE_SYSTEMS.contains(&(file_system as u32));
    Ok(if is_network { NETWORK_SETTLE_DELAY } else { Duration::ZERO })
}

/// The path of a folder below another, which for that other itself is `.`.
pub(super) fn or_dot(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}
