//! What was backed up is restored byte for byte.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Stdio;

use common::{CHUNK, MIB, Place, noise, number, send, text};

#[test]
fn volumes_of_any_size() {
    let place = Place::new();
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 1025 * CHUNK + 77] {
        let volume = noise(size as u64, size);
        place.file("volume", &volume);
        for chunker in ["fixed", "fastcdc"] {
            let backup = place.json(&["backup", "volume", "--volume-id", "v", "--chunker", chunker]);
            assert_eq!(number(&backup, "volume_bytes"), size as u64);
            assert_eq!(text(&backup, "chunker"), chunker);
            assert!(place.restore(text(&backup, "backup_id")) == volume, "{size} bytes, {chunker}");
        }
    }
}

#[test]
fn every_compression() {
    let place = Place::new();
    let volume: Vec<u8> = noise(1, MIB).iter().map(|byte| byte & 3).collect();
    place.file("volume", &volume);
    let mut stored = Vec::new();
    for compression in ["none", "zstd", "zstd:19"] {
        let fresh = Place::new();
        fresh.file("volume", &volume);
        let backup = fresh.json(&["backup", "volume", "--volume-id", "v", "--compression", compression]);
        assert!(fresh.restore(text(&backup, "backup_id")) == volume, "{compression}");
        stored.push(number(&backup, "stored_bytes"));
    }
    assert!(stored[0] > MIB as u64 && stored[1] < MIB as u64 / 2 && stored[2] < stored[1], "{stored:?}");
}

#[test]
fn holes_are_neither_read_nor_written() {
    let place = Place::new();
    let size = 64 * MIB;
    let path = place.file("volume", b"");
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(size as u64 + 5).unwrap();
    for (seed, offset) in [(1, 0), (2, 20 * MIB + 4096), (3, 63 * MIB)] {
        file.write_all_at(&noise(seed, 300_000), offset as u64).unwrap();
    }
    file.write_all_at(b"end", size as u64 + 2).unwrap();
    let volume = fs::read(&path).unwrap();

    let backup = place.backup("volume", "v");
    assert_eq!(number(&backup, "volume_bytes"), volume.len() as u64);
    // Some file systems have no holes: then all of it is data.
    if fs::metadata(&path).unwrap().blocks() * 512 < size as u64 / 2 {
        assert!(number(&backup, "read_bytes") < 4 * MIB as u64, "{backup}");
        place.succeed(&["-q", "restore", text(&backup, "backup_id"), "sparse"]);
        assert!(fs::metadata(place.path("sparse")).unwrap().blocks() * 512 < 4 * MIB as u64);
    }
    assert!(place.restore(text(&backup, "backup_id")) == volume);
}

#[test]
fn a_stream_of_unknown_length() {
    let place = Place::new();
    let volume = noise(7, 3 * MIB + 1000);
    let mut child =
        place.command(&["--json", "backup", "-", "--volume-id", "v"]).stdin(Stdio::piped()).spawn().unwrap();
    for part in volume.chunks(700_001) {
        send(&mut child, part);
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let backup: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(number(&backup, "volume_bytes"), volume.len() as u64);
    assert!(place.restore(text(&backup, "backup_id")) == volume);
}

#[test]
fn an_empty_stream_and_a_file_as_standard_input() {
    let place = Place::new();
    place.succeed(&["backup", "-", "--volume-id", "empty"]);
    let volume = noise(8, 2 * MIB);
    let path = place.file("volume", &volume);
    let output =
        place.command(&["backup", "-", "--volume-id", "file"]).stdin(File::open(path).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (volume_id, bytes) in [("empty", &[] as &[u8]), ("file", &volume)] {
        let listed = place.json(&["list", "--volume-id", volume_id]);
        assert!(place.restore(text(&listed[0], "backup_id")) == bytes, "{volume_id}");
    }
}

#[test]
fn to_standard_output() {
    let place = Place::new();
    let mut volume = noise(9, 2 * MIB + 3);
    volume[MIB..MIB + 500_000].fill(0);
    place.file("volume", &volume);
    let backup = place.backup("volume", "v");
    let output = place.run(&["restore", text(&backup, "backup_id"), "-"]);
    assert!(output.status.success());
    assert!(output.stdout == volume);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("restored backup") && told.lines().count() == 1, "{told}");
    let output = place.run(&["-q", "restore", text(&backup, "backup_id"), "-"]);
    assert!(output.stdout == volume && output.stderr.is_empty());
}

#[test]
fn the_beginning_of_an_id_is_enough() {
    let place = Place::new();
    let volume = noise(10, 100_000);
    place.file("volume", &volume);
    let id = "ABCDEF01-2345-6789-abcd-ef0123456789";
    let backup = place.json(&["backup", "volume", "--volume-id", "v", "--backup-id", id]);
    assert_eq!(text(&backup, "backup_id"), id.to_lowercase());
    assert!(place.restore("a") == volume);
    assert!(place.restore("AbCdEf01-2") == volume);
}
