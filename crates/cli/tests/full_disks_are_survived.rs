//! The disk is full, somewhere in the middle of a command: it fails with a line that says where and what to do, what was there is as it
//! was, and with room the same command ends well. Needs root, to mount a small disk; skipped elsewhere.

mod common;
mod disk;

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{MIB, Place, failure, flip, noise, number, text};
use disk::{Disk, replace_folder, temporary_files};
use serde_json::json;

/// KiB that are left.
const ROOM: [u64; 8] = [0, 4, 8, 12, 16, 32, 256, 1024];

/// A repository on a small disk, with two backups, and much that a deleted one has left. Caches are elsewhere.
struct Story {
    place: Place,
    disk: Disk,
    backups: Vec<(String, Vec<u8>)>,
    /// A process that another test starts holds copies of this one's open files until it has become its program: what is deleted
    /// meanwhile still takes its room.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Story {
    fn new() -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Place::in_memory();
        let disk = Disk::mount(&place, 12 << 10)?;
        disk.hold_repository(&place);
        let all = noise(1, 2 * MIB);
        let mut backups = Vec::new();
        place.file("all", &all);
        let deleted = place.backup("all", "deleted");
        for (seed, name) in [(1, "a"), (2, "b")] {
            let volume = [&all[seed as usize * MIB / 2..][..MIB / 2], &noise(seed, MIB / 2)].concat();
            place.file(name, &volume);
            backups.push((text(&place.backup(name, name), "backup_id").to_owned(), volume));
        }
        place.succeed(&["-q", "delete", text(&deleted, "backup_id")]);
        place.file("new", &noise(4, MIB));
        let story = Self { place, disk, backups, _alone: alone };
        replace_folder(&story.repository(), &story.place.path("original"));
        Some(story)
    }

    fn repository(&self) -> std::path::PathBuf {
        self.disk.path.join("repository")
    }

    /// Everything as it was at first, and a full disk.
    fn again(&self, room: u64) {
        self.disk.empty();
        replace_folder(&self.place.path("original"), &self.repository());
        self.disk.fill_but(room);
    }

    fn check(&self, case: &str) {
        let verified = self.place.json(&["verify", "--read-data"]);
        assert_eq!(verified["clean"], json!(true), "{case}: {verified}");
        self.check_restores(case);
    }

    fn check_restores(&self, case: &str) {
        for (id, volume) in &self.backups {
            assert!(self.place.restore(id) == *volume, "{case}: backup {id} has other bytes");
        }
        assert!(temporary_files(&self.repository()).is_empty(), "{case}");
    }

    fn listed(&self) -> usize {
        self.place.json(&["list"]).as_array().unwrap().len()
    }
}

/// A line about a full disk.
fn check_line(line: &str, path: &str, case: &str) {
    assert!(line.contains("No space left on device") && line.contains(path), "{case}: {line}");
    assert!(line.contains("free some") || line.contains("make room"), "{case}: {line}");
}

#[test]
fn commands_that_write_into_the_repository() {
    let Some(story) = Story::new() else { return };
    let place = &story.place;
    let a = story.backups[0].0.clone();
    // What is there afterwards besides the two backups, where it succeeds.
    let commands: [(&[&str], usize); 7] = [
        (&["backup", "new", "--volume-id", "new"], 1),
        (&["gc", "--grace", "0s", "--repack-below", "100"], 0),
        (&["gc", "--grace", "0s", "--repack-below", "0"], 0),
        (&["repair", "--read-data"], 0),
        (&["protect", &a], 0),
        (&["rebuild-index"], 0),
        (&["prune", "--keep-last", "1"], 0),
    ];
    for (command, more) in commands {
        let mut failed = 0;
        for room in ROOM {
            let case = format!("{command:?} with {room} KiB");
            story.again(room);
            let output = place.run(command);
            if output.status.success() {
                story.check(&case);
                continue;
            }
            failed += 1;
            let line = failure(&output, 1);
            check_line(&line, "repository/", &case);
            if command[0] == "backup" {
                assert!(line.contains("no backup was made"), "{line}");
            }
            if command[0] == "gc" {
                assert!(line.contains("nothing is lost"), "{line}");
                assert_eq!(line.contains("gc --repack-below 0"), command.contains(&"100"), "{line}");
            }
            assert_eq!(story.listed(), 2, "{case}");
            story.check(&case);
            story.disk.empty();
            place.succeed(command);
            assert_eq!(story.listed(), 2 + more, "{case}");
            story.check(&case);
        }
        // What only deletes, or only reads, needs no room.
        let needs_none = matches!(command[0], "prune" | "rebuild-index");
        assert_eq!(failed == 0, needs_none, "{command:?}");
    }
}

/// As where a quota counts files.
#[test]
fn a_disk_that_takes_no_more_files() {
    let Some(story) = Story::new() else { return };
    let place = &story.place;
    let backup = ["backup", "new", "--volume-id", "new"];
    story.disk.empty();
    let disk = rustix::fs::statvfs(&story.disk.path).unwrap();
    let (files, mut failed) = (disk.f_files - disk.f_ffree, 0);
    for more in 0..12 {
        let case = format!("{more} more files");
        story.disk.remount(&format!("nr_inodes={}", files + more));
        let output = place.run(&backup);
        if !output.status.success() {
            failed += 1;
            check_line(&failure(&output, 1), "repository/", &case);
            assert_eq!(story.listed(), 2, "{case}");
            story.check(&case);
        }
        story.disk.remount("nr_inodes=10000");
        if !output.status.success() {
            place.succeed(&backup);
        }
        story.check(&case);
        replace_folder(&place.path("original"), &story.repository());
    }
    assert!((3..12).contains(&failed), "{failed}");
}

#[test]
fn a_full_repository_is_made_room_in_by_deleting() {
    let Some(story) = Story::new() else { return };
    let place = &story.place;
    // One page for the collector's announcement and one for what it condemns; what it has deleted is room for the rest.
    story.again(8);
    let collected = place.json(&["gc", "--grace", "0s", "--repack-below", "0"]);
    assert!(number(&collected, "freed_bytes") == 0, "all packs are needed in part: {collected}");
    for (id, _) in &story.backups {
        place.succeed(&["-q", "delete", id]);
    }
    let collected = place.json(&["gc", "--grace", "0s", "--repack-below", "0"]);
    assert!(number(&collected, "freed_bytes") > 2 * MIB as u64, "{collected}");
    assert_eq!(place.objects("packs").len(), 0);
}

#[test]
fn repair_that_has_no_room_to_heal() {
    let Some(story) = Story::new() else { return };
    let place = &story.place;
    let (lost, volume) = &story.backups[0];
    for pack in place.objects("packs") {
        (70..fs::metadata(&pack).unwrap().len() / 2).step_by(100_000).for_each(|at| flip(&pack, at));
    }
    story.disk.empty();
    replace_folder(&story.repository(), &place.path("original"));
    let repair = ["repair", "--read-data", "--from", "a", "--from", "b"];
    let mut failed = 0;
    for room in ROOM {
        story.again(room);
        let case = format!("repair with {room} KiB");
        let output = place.run(&repair);
        if !output.status.success() {
            failed += 1;
            check_line(&failure(&output, 1), "repository/", &case);
            assert_eq!(place.run(&["verify", "--read-data"]).status.code(), Some(1), "{case}");
            assert!(temporary_files(&story.repository()).is_empty(), "{case}");
            story.disk.empty();
            place.succeed(&repair);
        }
        // What was noted as damaged stays in the packs until they are collected.
        story.disk.empty();
        story.check_restores(&case);
        place.succeed(&["-q", "gc", "--grace", "0s"]);
        story.check(&case);
    }
    assert!(failed > 2);
    assert!(place.restore(lost) == *volume);
}

#[test]
fn a_copy_into_a_repository_without_room() {
    let Some(story) = Story::new() else { return };
    let place = &story.place;
    let other = story.disk.path.join("other");
    let other = other.to_str().unwrap();
    place.succeed(&["init", "--repo", other]);
    replace_folder(&story.disk.path.join("other"), &place.path("empty"));
    for room in ROOM {
        story.again(room);
        story.disk.empty();
        replace_folder(&place.path("empty"), &story.disk.path.join("other"));
        story.disk.fill_but(room);
        let case = format!("copy with {room} KiB");
        let output = place.run(&["-q", "copy", "--to", other, "--all"]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{case}");
        let told = String::from_utf8(output.stderr).unwrap();
        // A line for each backup that could not be copied, and one that counts them.
        let lines: Vec<&str> = told.lines().collect();
        let (last, each) = lines.split_last().unwrap();
        assert!(last.ends_with("could not be copied") && !each.is_empty(), "{case}: {told}");
        each.iter().for_each(|line| check_line(line, "other/", &case));
        assert_eq!(place.json(&["verify", "--read-data", "--repo", other])["clean"], json!(true), "{case}");
        assert!(temporary_files(&story.disk.path.join("other")).is_empty(), "{case}");
        story.disk.empty();
        place.succeed(&["-q", "copy", "--to", other, "--all"]);
        assert_eq!(place.json(&["verify", "--read-data", "--repo", other])["clean"], json!(true), "{case}");
        for (id, volume) in &story.backups {
            place.succeed(&["-q", "restore", id, "restored", "--repo", other]);
            assert!(fs::read(place.path("restored")).unwrap() == *volume, "{case}");
            fs::remove_file(place.path("restored")).unwrap();
        }
    }
}

#[test]
fn a_restore_to_a_full_disk() {
    let Some(story) = Story::new() else { return };
    let place = &story.place;
    let (id, volume) = &story.backups[0];
    for room in [0, 4, 64, 512] {
        story.disk.fill_but(room);
        let line = place.fail(&["restore", id, "disk/target"], 1);
        check_line(&line, "disk/target", "restore");
        assert!(line.contains("nothing was left there"), "{line}");
        assert_eq!(fs::read_dir(&story.disk.path).unwrap().count(), 2, "the repository and the filler");

        // Over what is there: holes have to be filled.
        story.disk.empty();
        fs::File::create(story.disk.path.join("target")).unwrap().set_len(volume.len() as u64).unwrap();
        story.disk.fill_but(room);
        let line = place.fail(&["restore", id, "disk/target", "--existing"], 1);
        check_line(&line, "disk/target", "restore over");
        assert!(line.contains("partly written") && line.contains("the same command again"), "{line}");
        story.disk.empty();
        place.succeed(&["-q", "restore", id, "disk/target", "--existing"]);
        assert!(fs::read(story.disk.path.join("target")).unwrap() == *volume);
        fs::remove_file(story.disk.path.join("target")).unwrap();
    }
}

#[test]
fn an_index_without_room() {
    let Some(story) = Story::new() else { return };
    let place = &story.place;
    let cache = ["--cache-dir", "disk/cache"];
    let mut failed = 0;
    for room in (0..96).step_by(8) {
        let _ = fs::remove_dir_all(story.disk.path.join("cache"));
        story.disk.fill_but(room);
        for command in [&["verify", "--read-data"][..], &["restore", &story.backups[0].0, "restored"]] {
            let output = place.run(&[&cache, command].concat());
            if !output.status.success() {
                failed += 1;
                let line = failure(&output, 1);
                assert!(line.contains("No space left on device") && line.contains("disk/cache"), "{line}");
                assert!(line.contains("--cache-dir") && !line.contains("delete that folder"), "{line}");
            }
            assert_eq!(place.path("restored").exists(), command[0] == "restore" && output.status.success());
        }
        let _ = fs::remove_file(place.path("restored"));
        story.disk.empty();
        // What is there of an index is made whole.
        place.succeed(&[&cache, &["verify", "--read-data"][..]].concat());
    }
    assert!(failed > 3);
    story.check("with another cache folder");
}
