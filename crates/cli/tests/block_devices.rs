//! A block device as source and as target. Needs root and a loop device; skipped elsewhere.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;

use common::{CHUNK, MIB, Place, noise, number, text};

/// A loop device over a file, detached at the end.
struct Loop(String);

impl Loop {
    fn attach(file: &Path) -> Result<Self, String> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        let output = output.map_err(|error| format!("losetup: {error}"))?;
        let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let device = Self(device);
        File::options().read(true).write(true).open(&device.0).map_err(|error| format!("{}: {error}", device.0))?;
        Ok(device)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_device_is_backed_up_whole_and_overwritten_in_place() {
    let place = Place::new();
    let mut volume = noise(1, 4 * MIB);
    volume[MIB..2 * MIB].fill(0);
    let file = place.file("volume", &volume);
    let device = match Loop::attach(&file) {
        Ok(device) => device,
        Err(reason) => {
            println!("skipped: no loop device: {reason}");
            return;
        }
    };
    let backup = place.backup(&device.0, "device");
    assert_eq!(number(&backup, "volume_bytes"), volume.len() as u64);
    assert_eq!(number(&backup, "zero_chunks"), (MIB / CHUNK) as u64);
    assert!(place.restore(text(&backup, "backup_id")) == volume);
    drop(device);

    let mut there = noise(2, volume.len() + MIB);
    there[2 * MIB..4 * MIB].copy_from_slice(&volume[2 * MIB..]);
    let target = place.file("target", &there);
    let device = Loop::attach(&target).unwrap();
    let line = place.fail(&["restore", text(&backup, "backup_id"), &device.0], 1);
    assert!(line.contains("--existing"), "{line}");
    let restored = place.json(&["restore", text(&backup, "backup_id"), &device.0, "--existing"]);
    // A megabyte of data, and one that was made zero.
    assert_eq!(number(&restored, "written_bytes"), 2 * MIB as u64, "{restored}");
    assert_eq!(number(&restored, "unchanged_bytes"), 2 * MIB as u64, "{restored}");
    let mut bytes = Vec::new();
    File::open(&device.0).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes[..volume.len()] == volume && bytes[volume.len()..] == there[volume.len()..]);
    drop(device);
    assert!(fs::read(&target).unwrap()[..volume.len()] == volume);

    let small = place.file("small", &noise(3, volume.len() - MIB));
    let device = Loop::attach(&small).unwrap();
    let line = place.fail(&["restore", text(&backup, "backup_id"), &device.0, "--existing"], 1);
    assert!(line.contains(&device.0), "{line}");
    drop(device);
    assert!(fs::read(small).unwrap() == noise(3, volume.len() - MIB));
}
