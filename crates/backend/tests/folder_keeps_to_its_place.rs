//! What a folder holds on disk: nothing but objects, nothing outside, nothing left behind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cinderblock_backend::{Backend, Error, Folder, Leftovers, MAX_NAME_LEN, ObjectName};
use proptest::prelude::*;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn names(backend: &Folder, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut visit = |object: cinderblock_backend::ObjectInfo| {
        names.push(object.name.to_string());
        Ok(())
    };
    backend.list(prefix, &mut visit).unwrap();
    names.sort();
    names
}

fn foreign(folder: &dyn Backend, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut visit = |other: cinderblock_backend::ForeignName| {
        names.push(other.to_string());
        Ok(())
    };
    folder.list_foreign(prefix, &mut visit).unwrap();
    names.sort();
    names
}

/// All files and folders below `path`, hidden ones too.
fn entries(path: &Path) -> Vec<String> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        entries.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            entries.extend(self::entries(&entry.path()));
        }
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_name_stays_below_the_folder_and_is_listed_as_it_is(
        text in "(\\.\\./|/|[a-z]{1,3}/){0,4}[a-zA-Z0-9._-]{0,12}",
    ) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::create(place.path().join("root")).unwrap();
        if let Ok(name) = ObjectName::new(text.as_str()) {
            folder.put(&name, &[b"x"]).unwrap();
            prop_assert_eq!(names(&folder, ""), [text.clone()]);
            prop_assert!(place.path().join("root").join(&text).is_file());
            folder.delete(&name).unwrap();
        }
        prop_assert_eq!(entries(place.path()).len(), 1, "only the root is left");
    }
}

#[test]
fn a_missing_folder_is_refused_by_open_and_made_by_create() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a/b");
    assert!(matches!(Folder::open(&path), Err(Error::Folder { .. })));
    let folder = Folder::create(&path).unwrap();
    folder.put(&name("x"), &[b"kept"]).unwrap();
    drop(folder);
    assert_eq!(Folder::create(&path).unwrap().get(&name("x"), 4).unwrap(), b"kept");
    assert_eq!(Folder::open(&path).unwrap().location(), path.display().to_string());
    assert!(matches!(Folder::create(path.join("x")), Err(Error::Folder { .. })), "x is a file");
}

#[test]
fn deletion_and_dropped_writers_leave_no_file_and_no_folder() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    folder.put(&name("packs/ab/x"), &[b"x"]).unwrap();
    drop(folder.create(&name("index/y")).unwrap());
    drop(folder.create(&name("packs/ab/y")).unwrap());
    assert_eq!(entries(place.path()).len(), 3, "packs, packs/ab and packs/ab/x");
    folder.delete(&name("packs/ab/x")).unwrap();
    assert_eq!(entries(place.path()).len(), 0);
}

#[test]
fn what_is_no_object_is_not_listed() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    folder.put(&name("a/x"), &[b"x"]).unwrap();
    fs::create_dir_all(place.path().join(".snapshot/a")).unwrap();
    fs::create_dir_all(place.path().join("a/empty")).unwrap();
    for other in [".hidden", ".snapshot/a/y", "a/.tmp-0", "a/not valid", "lost+found", "a/ä"] {
        fs::write(place.path().join(other), b"y").unwrap();
    }
    symlink("nowhere", place.path().join("a/.dangling")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let pipe = place.path().join("a/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();

    assert_eq!(names(&folder, ""), ["a/x"]);
    assert_eq!(names(&folder, "a/"), ["a/x"]);
    let all = [".hidden", ".snapshot", "a/.dangling", "a/not valid", "a/pipe", "a/ä", "lost+found"];
    assert_eq!(foreign(&folder, ""), all);
    assert_eq!(foreign(&folder, "a/"), &all[2..6]);
    assert_eq!(foreign(&folder, "a/not v"), &all[3..4]);
    assert_eq!(foreign(&folder, "a/not w"), [""; 0]);
    assert!(folder.get(&name("a/pipe"), 10).unwrap_err().is_not_found(), "and does not block");
}

#[test]
fn a_foreign_name_is_told_as_it_is_and_the_listing_of_them_can_be_stopped() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    let long = "p/".repeat(MAX_NAME_LEN / 2);
    fs::create_dir_all(place.path().join(&long)).unwrap();
    let bytes = OsStr::from_bytes(b"a\xff\xc3");
    for other in [OsStr::new("two words"), bytes, OsStr::new(&format!("{long}x"))] {
        fs::write(place.path().join(other), b"y").unwrap();
    }
    let mut seen = Vec::new();
    folder
        .list_foreign("", &mut |other| {
            seen.push(other.as_os_str().to_owned());
            Ok(())
        })
        .unwrap();
    seen.sort();
    assert!(seen == [bytes.to_owned(), OsString::from(format!("{long}x")), OsString::from("two words")]);
    assert_eq!(foreign(&folder, "a"), ["a\\xff\\xc3"]);

    let mut calls = 0;
    let stopped = folder.list_foreign("", &mut |_| {
        calls += 1;
        Err(Error::Stopped)
    });
    assert!(matches!(stopped, Err(Error::Stopped)) && calls == 1, "{stopped:?} after {calls}");
}

#[test]
fn leftovers_are_removed_when_old_enough_and_objects_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    folder.put(&name("packs/ab/x"), &[b"x"]).unwrap();
    let mut at_work = folder.create(&name("packs/ab/y")).unwrap();
    at_work.write_all(b"y").unwrap();
    let two_days_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 86_400);
    for leftover in ["packs/ab/.tmp-0123456789abcdef", "packs/cd/ef/.tmp-0", "packs/cd/.hidden", ".tmp-1"] {
        let leftover = place.path().join(leftover);
        fs::create_dir_all(leftover.parent().unwrap()).unwrap();
        fs::write(&leftover, b"12345").unwrap();
        fs::File::options().write(true).open(&leftover).unwrap().set_modified(two_days_ago).unwrap();
    }

    let day = Duration::from_secs(86_400);
    let leftovers = |prefix: &str, dry_run| {
        let Leftovers { files, bytes } = folder.remove_leftovers(prefix, day, dry_run).unwrap();
        assert_eq!(bytes, 5 * files, "{prefix}");
        files
    };
    // Those that lie where an object of that prefix would.
    for (prefix, files) in [
        ("elsewhere/", 0),
        ("packs/cd/.hidden/", 0),
        ("../", 0),
        ("packs/ab/x", 1),
        ("packs/c", 1),
        ("p", 3),
        ("x", 1),
        ("", 3),
    ] {
        assert_eq!(leftovers(prefix, true), files, "{prefix}");
    }
    assert_eq!(leftovers("packs/cd/", false), 1);
    assert!(!place.path().join("packs/cd/ef").exists() && place.path().join("packs/cd/.hidden").exists());
    assert_eq!(leftovers("", false), 2);
    assert_eq!(leftovers("", false), 0);
    at_work.finish().unwrap();
    assert_eq!(names(&folder, ""), ["packs/ab/x", "packs/ab/y"]);
}

#[test]
fn an_object_in_the_place_of_a_folder_is_named() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    folder.put(&name("a/b"), &[b"x"]).unwrap();
    let below = folder.put(&name("a/b/c/d"), &[b"x"]).unwrap_err();
    assert!(matches!(&below, Error::Obstructed { obstacle, .. } if obstacle.ends_with("/a/b")), "{below:?}");
    let above = folder.put(&name("a"), &[b"x"]).unwrap_err();
    assert!(matches!(&above, Error::Obstructed { obstacle, .. } if obstacle.ends_with("/a")), "{above:?}");
    assert_eq!(entries(place.path()).len(), 2);
}

#[test]
fn a_part_on_another_disk_is_followed_but_a_circle_is_an_error() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(other.path(), place.path().join("packs")).unwrap();
    let folder = Folder::open(place.path()).unwrap();
    folder.put(&name("packs/ab/x"), &[b"x"]).unwrap();
    assert_eq!(names(&folder, "packs/a"), ["packs/ab/x"]);

    symlink(place.path(), other.path().join("back")).unwrap();
    assert!(matches!(folder.list("", &mut |_| Ok(())), Err(Error::Io { .. })));
}

#[test]
fn a_cut_object_is_reported_and_reads_use_the_file_that_is_open() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    folder.put(&name("x"), &[b"0123456789"]).unwrap();
    let mut buf = [0; 4];
    folder.read_into(&name("x"), 6, &mut buf).unwrap();
    assert_eq!(&buf, b"6789");

    fs::File::options().write(true).open(place.path().join("x")).unwrap().set_len(8).unwrap();
    let cut = folder.read_into(&name("x"), 6, &mut buf).unwrap_err();
    assert!(matches!(cut, Error::UnexpectedEnd { offset: 6, wanted: 4, size: 8, .. }), "{cut:?}");

    // Another process deletes the object: this one may go on reading; what it deletes itself is gone.
    fs::remove_file(place.path().join("x")).unwrap();
    folder.read_into(&name("x"), 0, &mut buf).unwrap();
    assert!(folder.delete(&name("x")).unwrap_err().is_not_found());
    assert!(folder.read_into(&name("x"), 0, &mut buf).unwrap_err().is_not_found());
}

#[test]
fn a_huge_object_is_refused_before_memory_is_taken() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    let size = 1 << 43;
    fs::File::create(place.path().join("x")).unwrap().set_len(size).unwrap();
    let error = folder.get(&name("x"), 1 << 20).unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: s, .. } if s == size), "{error:?}");
    assert_eq!(folder.get_tail(&name("x"), 3).unwrap().bytes, [0; 3]);
}

#[test]
fn what_can_not_be_resolved_is_an_error_and_not_an_empty_listing() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    symlink("packs", place.path().join("packs")).unwrap();
    assert!(matches!(folder.list("", &mut |_| Ok(())), Err(Error::Io { .. })));
    assert!(matches!(folder.list("packs/", &mut |_| Ok(())), Err(Error::Io { .. })));
}

/// Set for the child that runs the next test without root's privileges.
const UNPRIVILEGED: &str = "CINDERBLOCK_TEST_UNPRIVILEGED";

#[test]
fn what_may_not_be_read_is_an_error_and_not_an_empty_listing() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    folder.put(&name("packs/x"), &[b"x"]).unwrap();
    let packs = place.path().join("packs");
    fs::set_permissions(&packs, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&packs).is_ok() {
        assert!(std::env::var_os(UNPRIVILEGED).is_none(), "the child still has root's privileges");
        return again_as_nobody();
    }
    let listed = folder.list("", &mut |_| Ok(()));
    let read = folder.get(&name("packs/x"), 1);
    let put = folder.put(&name("packs/y"), &[b"y"]);
    fs::set_permissions(&packs, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(listed, Err(Error::PermissionDenied { name, .. }) if name.ends_with("packs")));
    assert!(matches!(read, Err(Error::PermissionDenied { name, .. }) if name.ends_with("packs/x")));
    assert!(matches!(put, Err(Error::PermissionDenied { name, .. }) if name.ends_with("packs/y")));
}

/// Permissions don't bind root: runs the test above in a copy of this program as another user.
fn again_as_nobody() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = place.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(&program)
        .args(["--exact", "what_may_not_be_read_is_an_error_and_not_an_empty_listing"])
        .env(UNPRIVILEGED, "1")
        .env("TMPDIR", place.path())
        .current_dir(place.path())
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn modes_that_were_asked_for_are_exact_for_objects_and_the_folders_that_are_made_for_them() {
    let place = tempfile::tempdir().unwrap();
    let mode = |path: &str| fs::metadata(place.path().join(path)).unwrap().permissions().mode() & 0o7777;
    let usual = Folder::open(place.path()).unwrap();
    usual.put(&name("usual/object"), &[b"x"]).unwrap();
    let (usual_object, usual_folder) = (mode("usual/object"), mode("usual"));

    // Bits that any sane umask takes off, and bits that it leaves.
    for (number, (object, leaf)) in [(0o660, 0o770), (0o606, 0o707), (0o666, 0o777), (0o400, 0o700)].iter().enumerate()
    {
        let folder = Folder::open(place.path()).unwrap().with_modes(*object, *leaf);
        folder.put(&name(&format!("a{number}/b/c/first")), &[b"x"]).unwrap();
        assert_eq!(mode(&format!("a{number}/b/c/first")), *object);
        assert_eq!(mode(&format!("a{number}/b/c")), *leaf);
        assert_eq!((mode(&format!("a{number}/b")), mode(&format!("a{number}"))), (usual_folder, usual_folder));

        // Folders that are there keep their modes.
        folder.put(&name(&format!("usual/{number}")), &[b"x"]).unwrap();
        folder.put(&name(&format!("a{number}/b/second")), &[b"x"]).unwrap();
        folder.put(&name(&format!("root{number}")), &[b"x"]).unwrap();
        assert_eq!(mode(&format!("usual/{number}")), *object);
        assert_eq!(mode(&format!("root{number}")), *object);
        assert_eq!((mode("usual"), mode(&format!("a{number}/b"))), (usual_folder, usual_folder));
    }
    usual.put(&name("usual/again"), &[b"x"]).unwrap();
    assert_eq!(mode("usual/again"), usual_object);
}

#[test]
fn an_object_has_its_mode_before_it_appears() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap().with_modes(0o640, 0o750);
    let writer = folder.create(&name("a/object")).unwrap();
    let temporary: Vec<_> = fs::read_dir(place.path().join("a")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(temporary.len(), 1);
    assert_eq!(temporary[0].metadata().unwrap().permissions().mode() & 0o7777, 0o640);
    writer.finish().unwrap();
    assert_eq!(names(&folder, ""), ["a/object"]);
}
