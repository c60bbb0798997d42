//! Telling what is gone from what is out of reach.
//!
//! The system has one answer for both: a folder that was deleted, and a symbolic link to a disk that is not mounted. A
//! collector that took the second for the first would delete what the records on that disk need.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::system::enter_folder;

/// How often a call is repeated that finds nothing where something is. Each time takes another deletion and creation at that
/// very moment.
const ATTEMPTS: usize = 100;

/// Why a call found nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// Nothing is there: a part of the path is missing, or is no folder and so holds nothing.
    Gone,
    /// The part of the path up to here is a symbolic link that leads nowhere; anything may lie behind it.
    Unreachable(OsString),
    /// Something else is wrong, or something is there all the same.
    Failed(Errno),
}

/// What is at a path below the root.
enum Found {
    Nothing,
    BrokenLink(OsString),
    Something(FileType),
}

/// Runs a call on what is at `path` below the root. It is repeated while it finds nothing though something is there: that was
/// made, or became reachable, in between.
pub(super) fn reach<T>(
    root: &OwnedFd,
    path: impl AsRef<OsStr>,
    mut call: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Absence> {
    let path = path.as_ref();
    let mut last = Absence::Gone;
    for _ in 0..ATTEMPTS {
        let errno = match call() {
            Ok(value) => return Ok(value),
            Err(errno) => errno,
        };
        last = explain(root, path, errno);
        if !says_nothing_is_there(errno) || last != Absence::Failed(errno) {
            break;
        }
    }
    Err(last)
}

/// What it means that a call on `path` below the root failed. Only where the system says that nothing is there is it looked at
/// again.
pub(super) fn explain(root: &OwnedFd, path: impl AsRef<OsStr>, errno: Errno) -> Absence {
    if !says_nothing_is_there(errno) {
        return Absence::Failed(errno);
    }
    match look(root, path.as_ref()) {
        Ok(Found::Nothing) => Absence::Gone,
        Ok(Found::BrokenLink(link)) => Absence::Unreachable(link),
        // The call wanted a folder, and there is a file.
        Ok(Found::Something(kind)) if errno == Errno::NOTDIR && kind != FileType::Directory => Absence::Gone,
        Ok(Found::Something(_)) => Absence::Failed(errno),
        Err(errno) => Absence::Failed(errno),
    }
}

fn says_nothing_is_there(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::STALE)
}

/// Looks at each part of a path. The folder that holds a part is kept open meanwhile, so that what is missing in it is
/// not only missing because its disk was unmounted just now.
fn look(root: &OwnedFd, path: &OsStr) -> Result<Found, Errno> {
    let path = path.as_bytes();
    let mut parent: Option<OwnedFd> = None;
    let mut start = 0;
    while let Some(rest) = path.get(start..).filter(|rest| !rest.is_empty()) {
        let slash = rest.iter().position(|byte| *byte == b'/');
        let end = start + slash.unwrap_or(rest.len());
        let part = OsStr::from_bytes(path.get(start..end).unwrap_or_default());
        let folder = parent.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        let (kind, is_link) = match kind_of(folder, part)? {
            Kind::Nothing => return Ok(Found::Nothing),
            Kind::BrokenLink => return Ok(broken_link(path, end)),
            Kind::Something { kind, is_link } => (kind, is_link),
        };
        if slash.is_none() {
            return Ok(Found::Something(kind));
        }
        if kind != FileType::Directory {
            return Ok(Found::Nothing);
        }
        let opened = match enter_folder(folder, part.as_ref()) {
            Err(Errno::NOENT | Errno::NOTDIR) if is_link => return Ok(broken_link(path, end)),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Found::Nothing),
            opened => opened?,
        };
        parent = Some(opened);
        start = end + 1;
    }
    Ok(Found::Something(FileType::Directory))
}

fn broken_link(path: &[u8], end: usize) -> Found {
    Found::BrokenLink(OsStr::from_bytes(path.get(..end).unwrap_or(path)).to_owned())
}

/// What a name in a folder is.
enum Kind {
    Nothing,
    BrokenLink,
    /// For a link, what it leads to.
    Something {
        kind: FileType,
        is_link: bool,
    },
}

fn kind_of(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Kind, Errno> {
    let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Kind::Nothing),
        stat => stat?,
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::Symlink {
        return Ok(Kind::Something { kind, is_link: false });
    }
    match rustix::fs::statat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(Kind::BrokenLink),
        stat => Ok(Kind::Something { kind: FileType::from_raw_mode(stat?.st_mode), is_link: true }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::super::system::open_folder;
    use super::*;

    fn root(place: &Path) -> OwnedFd {
        open_folder(rustix::fs::CWD, place).unwrap()
    }

    /// `there/file`, `file -> there/file`, `linked -> there`, `broken -> nowhere/far`, `there/broken -> ../file/below`.
    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir(path("there")).unwrap();
        fs::write(path("there/file"), b"x").unwrap();
        symlink("there/file", path("file")).unwrap();
        symlink("there", path("linked")).unwrap();
        symlink("nowhere/far", path("broken")).unwrap();
        symlink("../file/below", path("there/broken")).unwrap();
        place
    }

    #[test]
    fn what_is_gone_is_told_from_what_is_behind_a_link_that_leads_nowhere() {
        let place = place();
        let root = root(place.path());
        for gone in ["no", "no/such", "there/no", "linked/no", "linked/no/such", "there/file/below", "file/below"] {
            for errno in [Errno::NOENT, Errno::NOTDIR, Errno::STALE] {
                assert_eq!(explain(&root, gone, errno), Absence::Gone, "{gone}");
            }
        }
        for (path, link) in [
            ("broken", "broken"),
            ("broken/a/b", "broken"),
            ("there/broken", "there/broken"),
            ("linked/broken/a", "linked/broken"),
        ] {
            for errno in [Errno::NOENT, Errno::NOTDIR, Errno::STALE] {
                assert_eq!(explain(&root, path, errno), Absence::Unreachable(link.into()), "{path}");
            }
        }
    }

    #[test]
    fn what_is_there_is_not_gone_whatever_a_stale_handle_says() {
        let place = place();
        let root = root(place.path());
        for path in ["", "there", "linked", "there/file", "linked/file", "file"] {
            assert_eq!(explain(&root, path, Errno::STALE), Absence::Failed(Errno::STALE), "{path}");
            assert_eq!(explain(&root, path, Errno::NOENT), Absence::Failed(Errno::NOENT), "{path}");
        }
        assert_eq!(explain(&root, "file", Errno::NOTDIR), Absence::Gone, "as a folder");
        assert_eq!(explain(&root, "no", Errno::IO), Absence::Failed(Errno::IO), "nothing is looked at");
    }

    #[test]
    fn a_call_is_repeated_while_something_is_there_and_not_for_ever() {
        let place = place();
        let root = root(place.path());
        let mut answers = [Err(Errno::STALE), Err(Errno::NOENT), Ok(7)].into_iter();
        assert_eq!(reach(&root, "there/file", || answers.next().unwrap()), Ok(7));

        let mut calls = 0;
        let mut failing = |path: &str, errno: Errno| {
            calls = 0;
            let answer: Result<(), Absence> = reach(&root, path, || {
                calls += 1;
                Err(errno)
            });
            (answer.unwrap_err(), calls)
        };
        assert_eq!(failing("there", Errno::STALE), (Absence::Failed(Errno::STALE), ATTEMPTS));
        assert_eq!(failing("there/no", Errno::STALE), (Absence::Gone, 1));
        assert_eq!(failing("broken", Errno::STALE), (Absence::Unreachable("broken".into()), 1));
        assert_eq!(failing("there", Errno::IO), (Absence::Failed(Errno::IO), 1));
    }
}
