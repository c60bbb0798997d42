//! A restore never writes where it was not told to.

mod common;

use std::fs;

use common::{CHUNK, MIB, Place, noise, number, text};

/// A volume with a hole in the middle, backed up; and the backup's id.
fn volume(place: &Place) -> (Vec<u8>, String) {
    let mut volume = noise(1, 2 * MIB + 100);
    volume[MIB..MIB + 8 * CHUNK].fill(0);
    place.file("volume", &volume);
    let id = text(&place.backup("volume", "v"), "backup_id").to_owned();
    (volume, id)
}

#[test]
fn what_exists_is_refused_without_existing() {
    let place = Place::new();
    let (_, id) = volume(&place);
    let target = place.file("target", b"precious");
    let line = place.fail(&["restore", &id, "target"], 1);
    assert!(line.contains("target") && line.contains("--existing"), "{line}");
    assert_eq!(fs::read(target).unwrap(), b"precious");

    fs::create_dir(place.path("folder")).unwrap();
    for arguments in [&["restore", &id, "folder"][..], &["restore", &id, "folder", "--existing"]] {
        assert!(place.fail(arguments, 1).contains("folder"));
    }
    let line = place.fail(&["restore", &id, "missing/target"], 1);
    assert!(line.contains("missing/target"), "{line}");
}

#[test]
fn what_is_missing_is_refused_with_existing() {
    let place = Place::new();
    let (_, id) = volume(&place);
    let line = place.fail(&["restore", &id, "target", "--existing"], 1);
    assert!(line.contains("target"), "{line}");
    assert!(!place.path("target").exists());
}

#[test]
fn a_target_that_is_too_small_is_left_alone() {
    let place = Place::new();
    let (volume, id) = volume(&place);
    for size in [0, 1, volume.len() - 1] {
        let before = noise(2, size);
        let target = place.file("target", &before);
        let line = place.fail(&["restore", &id, "target", "--existing"], 1);
        assert!(line.contains("target") && line.contains("large"), "{line}");
        assert!(fs::read(&target).unwrap() == before, "{size} bytes");
    }
}

#[test]
fn only_what_differs_is_written() {
    let place = Place::new();
    let (volume, id) = volume(&place);
    let mut there = volume.clone();
    there[3 * CHUNK] ^= 1;
    there[MIB + 2 * CHUNK] = 1;
    let target = place.file("target", &there);
    let restored = place.json(&["restore", &id, "target", "--existing"]);
    assert!(fs::read(&target).unwrap() == volume);
    // A chunk of data; what is made zero is so in blocks of 64 KiB.
    let written = (CHUNK + (64 << 10)) as u64;
    assert_eq!(number(&restored, "written_bytes"), written, "{restored}");
    assert_eq!(number(&restored, "unchanged_bytes"), volume.len() as u64 - written, "{restored}");

    let again = place.json(&["restore", &id, "target", "--existing"]);
    assert_eq!(number(&again, "written_bytes"), 0, "{again}");
    assert!(fs::read(&target).unwrap() == volume);
}

#[test]
fn a_larger_target_keeps_what_lies_behind_the_volume() {
    let place = Place::new();
    let (volume, id) = volume(&place);
    let there = noise(3, volume.len() + 50_000);
    let target = place.file("target", &there);
    place.succeed(&["-q", "restore", &id, "target", "--existing"]);
    let after = fs::read(&target).unwrap();
    assert!(after[..volume.len()] == volume);
    assert!(after[volume.len()..] == there[volume.len()..]);
}
