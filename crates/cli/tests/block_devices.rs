//! A block device as source and as target. Needs root and a loop device; skipped elsewhere.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;

use common::{CHUNK, MIB, Place, flip, noise, number, text};

/// A loop device over a file, detached at the end.
struct Loop(String);

impl Loop {
    fn attach(file: &Path) -> Result<Self, String> {
        Self::attach_as(file, &[])
    }

    fn attach_as(file: &Path, options: &[&str]) -> Result<Self, String> {
        let output = Command::new("losetup").args(["--find", "--show"]).args(options).arg(file).output();
        let output = output.map_err(|error| format!("losetup: {error}"))?;
        let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let device = Self(device);
        File::options().read(true).open(&device.0).map_err(|error| format!("{}: {error}", device.0))?;
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

/// The kernel opens such a device for writing and refuses the first write, which came after all data had been read.
#[test]
fn a_read_only_device_is_refused_before_any_data_are_read() {
    let place = Place::new();
    let volume = noise(1, MIB);
    place.file("volume", &volume);
    let there = noise(2, MIB);
    let device = match Loop::attach_as(&place.file("target", &there), &["--read-only"]) {
        Ok(device) => device,
        Err(reason) => {
            println!("skipped: no loop device: {reason}");
            return;
        }
    };
    let backup = place.backup("volume", "v");
    let line = place.fail(&["restore", text(&backup, "backup_id"), &device.0, "--existing"], 1);
    assert!(line.contains(&device.0) && line.contains("read-only"), "{line}");

    let written = place.json(&["cinder", "backup", "volume", "--container-root", "store", "--volume-id", "v"]);
    let (container, prefix) = (text(&written, "container"), text(&written, "prefix"));
    // What would be found only by reading.
    flip(&place.path("store").join(container).join(format!("{prefix}-00001")), 0);
    let layer = format!("--layer={container}:{prefix}");
    let line = place.fail(&["cinder", "restore", &device.0, "--existing", "--container-root", "store", &layer], 1);
    assert!(line.contains(&device.0) && line.contains("read-only"), "{line}");
    drop(device);
    assert!(fs::read(place.path("target")).unwrap() == there);
}
