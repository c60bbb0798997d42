//! A small disk of its own for a test: a tmpfs. To mount one takes root; elsewhere tests that need it say so and pass.

// Every file of tests uses a part of this.
#![allow(dead_code)]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Place, wait_until};

/// A mounted tmpfs, unmounted at the end.
pub struct Disk {
    pub path: PathBuf,
}

impl Disk {
    /// Mounts it in the test's folder, with so many KiB of room; none, with the reason told, where that is not possible.
    pub fn mount(place: &Place, kib: u64) -> Option<Self> {
        let path = place.path("disk");
        fs::create_dir(&path).unwrap();
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(&path).output();
        let refused = match output {
            Ok(output) if output.status.success() => return Some(Self { path }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        println!("skipped: no disk of its own: {refused}");
        None
    }

    /// Lets the test's repository lie on it, and makes that.
    pub fn hold_repository(&self, place: &Place) {
        fs::create_dir(self.path.join("repository")).unwrap();
        symlink("disk/repository", place.repository()).unwrap();
        place.succeed(&["init"]);
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Leaves so many KiB of room.
    pub fn fill_but(&self, kib: u64) {
        self.empty();
        let disk = rustix::fs::statvfs(&self.path).unwrap();
        let filler = File::create(self.filler()).unwrap();
        let bytes = (disk.f_bavail * disk.f_frsize).checked_sub(kib << 10).expect("the disk is too small for the test");
        rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, bytes).unwrap();
    }

    /// Takes away what filled it.
    pub fn empty(&self) {
        let _ = fs::remove_file(self.filler());
    }

    /// Mounts it read-only, or writable again. Waits until no file on it is being written.
    pub fn remount(&self, option: &str) {
        let remount =
            || Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.path).output().unwrap();
        wait_until(|| remount().status.success());
    }

    /// Takes it away from under those who use it.
    pub fn lose(&self) {
        assert!(Command::new("umount").arg("--lazy").arg(&self.path).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).stderr(std::process::Stdio::null()).status();
    }
}

/// Copies a folder, and removes first what is at its place.
pub fn replace_folder(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if entry.is_dir() {
            replace_folder(&entry, &target);
        } else {
            fs::copy(entry, target).unwrap();
        }
    }
}

/// Names that begin with a dot, of files below a folder: what was being written.
pub fn temporary_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
        if path.is_dir() {
            found.extend(temporary_files(&path));
        } else if hidden {
            found.push(path);
        }
    }
    found
}
