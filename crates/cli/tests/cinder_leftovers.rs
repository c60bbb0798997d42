//! What a killed process, or somebody else, left beside a backup's objects in a Cinder store.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{Place, noise, number, text};
use serde_json::Value;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn back_up(place: &Place, options: &[&str]) -> Value {
    place.file("volume", &noise(1, 100_000));
    let command = ["cinder", "backup", "volume", "--container-root", "store", "--volume-id", "v"];
    place.json(&[&command, options].concat())
}

/// A file as a writer leaves it that is killed, last written to so long ago.
fn leave(path: &Path, age: Duration) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, [0; 1000]).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn deleting_removes_old_leftovers_of_the_container_and_no_others() {
    let place = Place::bare();
    let written = back_up(&place, &[]);
    let (container, prefix) = (text(&written, "container"), text(&written, "prefix"));
    let folder = place.path("store").join(container);
    let (old, new) = (folder.join(".tmp-0123456789abcdef"), folder.join(".tmp-fedcba9876543210"));
    let elsewhere = place.path("store/ab/cd/abcd/.tmp-0123456789abcdef");
    leave(&old, DAY * 2);
    leave(&elsewhere, DAY * 2);
    leave(&new, DAY / 2);
    let delete = ["cinder", "delete", "--container-root", "store", "--container", container, "--prefix", prefix];
    let output = place.run(&delete);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.starts_with("removed 1 file in ") && told.contains(container), "{told}");
    assert!(!old.exists() && new.exists() && elsewhere.exists());

    // The killed backup itself: nothing of it can be seen, and its folders go with what is left.
    leave(&new, DAY * 2);
    let output = place.run(&delete);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("there is nothing of a backup"), "{told}");
    assert!(!folder.exists() && place.path("store").exists());
}

#[test]
fn backing_up_removes_old_leftovers_where_it_writes() {
    let place = Place::bare();
    let posix = ["--container", "fixed"];
    let swift = ["--layout", "swift"];
    for (options, leftover, stays) in [
        (posix, "store/fixed/.tmp-0", "store/other/.tmp-0"),
        (swift, "store/volumebackups/volume_v/20260101000000/.tmp-0", "store/volumebackups/volume_w/1/.tmp-0"),
    ] {
        let (leftover, stays) = (place.path(leftover), place.path(stays));
        leave(&leftover, DAY * 2);
        leave(&stays, DAY * 2);
        place.file("volume", &noise(1, 100_000));
        let command = ["cinder", "backup", "volume", "--container-root", "store", "--volume-id", "v", "--json"];
        let output = place.run(&[&command[..], &options].concat());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && told.starts_with("removed 1 file in "), "{told}");
        assert!(!leftover.exists() && stays.exists());
        back_up(&place, &options);
    }
}

#[test]
fn inspecting_what_is_not_there_says_so() {
    let place = Place::bare();
    let written = back_up(&place, &[]);
    let (container, prefix) = (text(&written, "container"), text(&written, "prefix"));
    for (container, prefix) in [(container, "volume_w"), ("no/such/container", prefix)] {
        let inspect = ["cinder", "inspect", "--container-root", "store", "--container", container, "--prefix", prefix];
        let output = place.run(&inspect);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        let line = common::failure(&output, 1);
        assert!(line.contains("there is no backup") && line.contains(container) && line.contains(prefix), "{line}");
    }
}

/// A copy by hand: its name can be no object's, and no command saw it.
#[test]
fn a_file_with_a_space_in_its_name_is_told_of() {
    let place = Place::bare();
    let written = back_up(&place, &[]);
    let (container, prefix) = (text(&written, "container"), text(&written, "prefix"));
    let stray = format!("{prefix}-00001 (copy)");
    let path = place.path("store").join(container).join(&stray);
    fs::write(&path, "x").unwrap();
    let at = ["--container-root", "store", "--container", container, "--prefix", prefix];

    let inspected = place.run(&[&["cinder", "inspect"], &at[..]].concat());
    assert_eq!(inspected.status.code(), Some(1));
    assert!(String::from_utf8(inspected.stdout).unwrap().contains(&format!("not of this backup: {stray}\n")));
    let layer = format!("--layer={container}:{prefix}");
    let line = place.fail(&["cinder", "restore", "target", "--container-root", "store", &layer], 1);
    assert!(line.contains(&stray) && line.contains("actual object list does not match"), "{line}");
    assert!(!place.path("target").exists());
    let deleted = place.json(&[&["cinder", "delete"], &at[..]].concat());
    assert_eq!(deleted["stray"], serde_json::json!([stray]));
    assert_eq!(number(&deleted, "deleted_objects"), 3);
    assert!(path.exists());
}
