//! Storage that becomes read-only, is taken away, or that another user owns: a command ends with a line that says so, and what is there
//! stays as it is. Needs root, to mount a small disk and to be somebody else; skipped elsewhere.

mod common;
mod disk;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;
use std::thread;
use std::time::Duration;

use common::{MIB, Place, failure, noise, send, text};
use disk::{Disk, temporary_files};
use serde_json::json;

/// The number of `nobody`.
const NOBODY: u32 = 65534;

/// A repository on a disk, with a backup.
fn story() -> Option<(Place, Disk, String, Vec<u8>)> {
    let place = Place::in_memory();
    let disk = Disk::mount(&place, 12 << 10)?;
    disk.hold_repository(&place);
    let volume = noise(1, 2 * MIB);
    place.file("volume", &volume);
    place.file("new", &noise(2, MIB));
    let id = text(&place.backup("volume", "v"), "backup_id").to_owned();
    Some((place, disk, id, volume))
}

fn check(place: &Place, id: &str, volume: &[u8]) {
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
    assert!(place.restore(id) == volume);
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_disk_that_becomes_read_only_under_a_backup() {
    let Some((place, disk, id, volume)) = story() else { return };
    let mut writer = place.start_stream("new");
    send(&mut writer, &noise(3, MIB));
    place.wait_for_sessions(1);
    disk.remount("ro");
    let line = failure(&writer.wait_with_output().unwrap(), 1);
    assert!(line.contains("no backup was made") && line.contains("read-only storage; mount it writable"), "{line}");
    assert!(line.contains("repository/packs/"), "{line}");
    check(&place, &id, &volume);

    // Its announcement could not be taken back; a collector waits for it, or gives up on it after a day.
    disk.remount("rw");
    assert_eq!(place.objects("sessions").len(), 1);
    place.backup("new", "v");
    assert!(temporary_files(&place.path("disk")).is_empty());
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
}

#[test]
fn commands_on_a_read_only_disk() {
    let Some((place, disk, id, volume)) = story() else { return };
    place.file("other", &volume);
    disk.remount("ro");
    let commands: [&[&str]; 9] = [
        &["backup", "new", "--volume-id", "v"],
        &["delete", &id],
        &["gc"],
        &["repair"],
        &["protect", &id],
        &["copy", "--to", "disk/repository", "--all"],
        &["restore", &id, "disk/target"],
        &["init", "--repo", "disk/new"],
        &["--cache-dir", "disk/cache", "verify"],
    ];
    for command in commands {
        let output = place.run(command);
        let line = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {line}");
        if command[0] == "copy" {
            // Into itself, which is refused for another reason.
            continue;
        }
        let names = line.contains("disk/") || line.contains("repository/");
        assert!(failure(&output, 1).contains("Read-only file system") && names, "{command:?}: {line}");
    }
    place.succeed(&["-q", "rebuild-index"]);
    place.succeed(&["-q", "gc", "--dry-run"]);
    place.succeed(&["-q", "repair", "--read-data", "--dry-run"]);
    check(&place, &id, &volume);
    assert!(!disk.path.join("target").exists() && !disk.path.join("new").exists());
}

/// What is mounted holds on to it: nothing is written to the folder beneath, and nobody takes that for a repository.
#[test]
fn a_disk_that_is_taken_away_under_a_backup() {
    let Some((place, disk, id, volume)) = story() else { return };
    let mut writer = place.start_stream("new");
    send(&mut writer, &noise(3, MIB));
    place.wait_for_sessions(1);
    disk.lose();
    let ended = writer.wait_with_output().unwrap();
    assert!(ended.status.success(), "what holds the disk open can write to it: {ended:?}");
    assert_eq!(fs::read_dir(&disk.path).unwrap().count(), 0, "nothing lies beneath");
    for command in [&["list"][..], &["backup", "new", "--volume-id", "v"], &["restore", &id, "restored"], &["gc"]] {
        let line = place.fail(command, 1);
        assert!(line.contains("there is no repository at") && line.contains("its storage is mounted"), "{line}");
    }
    assert!(!place.path("restored").exists() && volume.len() == 2 * MIB);
    assert_eq!(fs::read_dir(&disk.path).unwrap().count(), 0, "nothing lies beneath");
}

/// Runs the command as nobody; the program may lie where nobody may go.
fn as_nobody(place: &Place, arguments: &[&str]) -> Output {
    let program = place.path("cinderblock");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_cinderblock"), &program).unwrap();
        allow(&program, 0o755);
    }
    let mut command = std::process::Command::new(program);
    command.env_clear().current_dir(place.path(".")).args(arguments);
    command.env("CINDERBLOCK_REPO", place.repository()).env("CINDERBLOCK_CACHE_DIR", place.path("nobodys/cache"));
    command.uid(NOBODY).gid(NOBODY);
    loop {
        match command.output() {
            // A child that another thread made while the copy was open for writing still has it open, until it runs its own program.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => thread::sleep(Duration::from_millis(10)),
            output => return output.unwrap(),
        }
    }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_repository_that_another_user_owns() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be somebody else");
        return;
    }
    let place = Place::in_memory();
    place.succeed(&["init"]);
    let volume = noise(1, 2 * MIB);
    place.file("volume", &volume);
    place.file("new", &noise(2, MIB));
    let id = text(&place.backup("volume", "v"), "backup_id").to_owned();
    allow(&place.path("."), 0o755);
    fs::create_dir(place.path("nobodys")).unwrap();
    chown(place.path("nobodys"), Some(NOBODY), Some(NOBODY)).unwrap();

    let refused = |arguments: &[&str], named: &str| {
        let line = failure(&as_nobody(&place, arguments), 1);
        assert!(line.contains("Permission denied") && line.contains(named), "{arguments:?}: {line}");
        line
    };
    // As init made it: for its owner alone.
    for command in [&["list"][..], &["backup", "new", "--volume-id", "v"], &["restore", &id, "nobodys/x"], &["gc"]] {
        let line = refused(command, "repository");
        assert!(line.contains("check"), "{line}");
    }
    // To be read, but not written to.
    allow(&place.repository(), 0o755);
    assert!(as_nobody(&place, &["verify", "--read-data"]).status.success());
    assert!(as_nobody(&place, &["restore", &id, "nobodys/restored"]).status.success());
    assert!(fs::read(place.path("nobodys/restored")).unwrap() == volume);
    let commands: [&[&str]; 5] = [
        &["backup", "new", "--volume-id", "v"],
        &["delete", &id],
        &["gc"],
        &["repair", "--read-data"],
        &["protect", &id],
    ];
    for command in commands {
        let line = refused(command, "repository/");
        assert!(line.contains("check who owns it and which user this runs as"), "{line}");
    }
    refused(&["restore", &id, "restored"], "restored");
    refused(&["--cache-dir", "cache", "verify"], "cache");
    allow(&place.path("new"), 0o600);
    refused(&["backup", "new", "--volume-id", "v"], "new");

    // One folder that may not be read is no damage, and no empty folder.
    allow(&place.repository().join("packs"), 0o700);
    for command in [&["verify", "--read-data"][..], &["rebuild-index"], &["gc", "--dry-run"], &["stats"]] {
        let line = refused(command, "repository/packs");
        assert!(!line.contains("damaged"), "{line}");
    }
    allow(&place.repository().join("packs"), 0o755);
    check(&place, &id, &volume);
}
