//! What a restore does to its target: nothing before it is sure, nothing more than it has to, and nothing left behind.

mod common;

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

use cinderblock_backend::{Faulty, Kind, Recording, Rule};
use cinderblock_pipeline::{Control, Error, RestoreSummary, Target};
use cinderblock_store::Record;
use common::*;

fn restore(fixture: &Fixture, record: &Record, target: &Target) -> Result<RestoreSummary, Error> {
    fixture.engine.restore(&fixture.repository, record, target, &Control::default())
}

/// The reason of a target that was refused.
fn refused(result: Result<RestoreSummary, Error>) -> String {
    match result {
        Err(Error::BadTarget { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_target_that_exists_is_refused_and_left_alone() {
    let fixture = Fixture::new();
    let record = fixture.store_fixed("vm", &noise(1, 10 * CHUNK));
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    std::fs::write(&file, "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    for path in [&file, &link, &folder.path().to_owned()] {
        assert!(refused(restore(&fixture, &record, &Target::New(path.clone()))).contains("--existing"));
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert_eq!(names(folder.path()).len(), 2);
    let missing = folder.path().join("no folder/file");
    assert!(refused(restore(&fixture, &record, &Target::New(missing))).contains("folder"));
    refused(restore(&fixture, &record, &Target::New("/".into())));
}

#[test]
fn a_new_file_has_holes_and_the_usual_mode() {
    let fixture = Fixture::new();
    let mut volume = vec![0; 8 << 20];
    volume[3 << 20..(3 << 20) + 64 * 1024].copy_from_slice(&noise(1, 64 * 1024));
    let record = fixture.store_fixed("vm", &volume);
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("a".repeat(255)), folder.path().join("other"));
    std::fs::write(&other, "").unwrap();
    restore(&fixture, &record, &Target::New(path.clone())).unwrap();
    let metadata = path.metadata().unwrap();
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
    assert_eq!(metadata.permissions().mode(), other.metadata().unwrap().permissions().mode());
}

#[test]
fn a_file_that_somebody_makes_meanwhile_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    let made = path.clone();
    let fixture = Fixture::around(|storage| {
        let faulty = Faulty::new(storage);
        faulty.add(Rule::on(Kind::ReadInto).when(move |_| {
            std::fs::write(&made, "theirs").unwrap();
            false
        }));
        faulty
    });
    let record = fixture.store_fixed("vm", &noise(1, 10 * CHUNK));
    assert!(refused(restore(&fixture, &record, &Target::New(path.clone()))).contains("meanwhile"));
    assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
    assert_eq!(names(folder.path()), [path]);
}

#[test]
fn an_existing_target_that_does_not_do_is_refused_untouched() {
    let fixture = Fixture::new();
    let volume = noise(1, 10 * CHUNK + 1);
    let record = fixture.store_fixed("vm", &volume);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    let existing = Target::Existing(path.clone());
    assert!(refused(restore(&fixture, &record, &existing)).contains("does not exist"));
    std::fs::write(&path, noise(2, 10 * CHUNK)).unwrap();
    assert!(refused(restore(&fixture, &record, &existing)).contains(&volume.len().to_string()));
    assert!(std::fs::read(&path).unwrap() == noise(2, 10 * CHUNK));
    refused(restore(&fixture, &record, &Target::Existing(folder.path().to_owned())));
    refused(restore(&fixture, &record, &Target::Existing("/dev/null".into())));
    let pipe = folder.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    refused(restore(&fixture, &record, &Target::Existing(pipe)));
}

#[test]
fn only_chunks_that_differ_are_written_and_only_their_frames_are_read() {
    let fixture = Fixture::around(|storage| Arc::new(Recording::new(storage)));
    let volume = noise(1, 2 * LEAF);
    let record = fixture.store_fixed("vm", &volume);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    let mut changed = volume.clone();
    changed[5 * CHUNK + 17] ^= 1;
    changed[LEAF..LEAF + 2 * CHUNK].fill(0);
    std::fs::write(&path, &changed).unwrap();
    let summary = restore(&fixture, &record, &Target::Existing(path.clone())).unwrap();
    assert!(std::fs::read(&path).unwrap() == volume);
    assert_eq!(summary.written_bytes, 3 * CHUNK as u64);
    assert_eq!(summary.unchanged_bytes, volume.len() as u64 - 3 * CHUNK as u64);
    assert!(summary.read_bytes <= 2 * (FRAME_CHUNKS * CHUNK) as u64 + 200, "{} bytes", summary.read_bytes);
}

#[test]
fn zeros_are_punched_and_what_is_zero_is_left_alone() {
    let fixture = Fixture::new();
    let mut volume = vec![0; 4 * LEAF + 100];
    volume[LEAF..LEAF + 10 * CHUNK].copy_from_slice(&noise(1, 10 * CHUNK));
    let record = fixture.store_fixed("vm", &volume);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    std::fs::write(&path, noise(2, volume.len())).unwrap();
    let full = path.metadata().unwrap().blocks();
    let summary = restore(&fixture, &record, &Target::Existing(path.clone())).unwrap();
    assert!(std::fs::read(&path).unwrap() == volume);
    assert_eq!(summary.written_bytes, volume.len() as u64);
    let punched = path.metadata().unwrap().blocks();
    assert!(punched < full / 10, "{punched} of {full} blocks");

    // Holes, allocated zeros, and one byte that has to go.
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&vec![0; 300_000]).unwrap();
    file.set_len(volume.len() as u64).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 3 * LEAF as u64).unwrap();
    let summary = restore(&fixture, &record, &Target::Existing(path.clone())).unwrap();
    assert!(std::fs::read(&path).unwrap() == volume);
    let data = 10 * CHUNK as u64;
    assert!((data + 1..=data + (64 << 10)).contains(&summary.written_bytes), "{summary:?}");
    assert_eq!(summary.written_bytes + summary.unchanged_bytes, volume.len() as u64);
}

#[test]
fn neighbouring_frames_are_read_together() {
    let (fixture, recording) = Fixture::with(Recording::with_log);
    let record = fixture.store_fixed("vm", &noise(1, 600 * CHUNK));
    let packs = record.data_packs.len();
    // 75 frames in packs of some 256 KiB.
    assert!((9..20).contains(&packs), "{packs} packs");
    let folder = tempfile::tempdir().unwrap();
    recording.take_log();
    let summary = restore(&fixture, &record, &Target::New(folder.path().join("volume"))).unwrap();
    let reads: Vec<_> =
        recording.take_log().into_iter().filter(|entry| entry.kind == Kind::ReadInto && entry.offset > 0).collect();
    let of_data = record.data_packs.iter().map(|pack| fixture.pack(*pack));
    let of_data: Vec<_> = of_data.map(|pack| reads.iter().filter(|read| read.name == pack.as_str()).count()).collect();
    assert_eq!(of_data, vec![1; packs]);
    assert!(summary.read_bytes > 600 * CHUNK as u64 * 9 / 10);
}
