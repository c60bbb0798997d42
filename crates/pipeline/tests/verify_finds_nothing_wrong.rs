//! Verification of repositories that are whole: everything is read, once.

mod common;

use std::sync::atomic::Ordering;

use cinderblock_backend::{Kind, Recording};
use cinderblock_pipeline::{Control, ReadData, VerifyOptions};
use cinderblock_store::pack::Content;
use common::*;

#[test]
fn an_empty_repository_is_clean() {
    let report = Fixture::new().verify_all();
    assert!(report.is_clean());
    assert_eq!((report.backups, report.packs, report.segments, report.chunks), (0, 0, 0, 0));
}

#[test]
fn shared_packs_are_read_once() {
    let (fixture, recording) = Fixture::with(Recording::new);
    let volume = noise(1, LEAF + 30 * CHUNK);
    for number in 0..5 {
        let mut volume = volume.clone();
        volume[number] ^= 1;
        fixture.store_fixed(&format!("vm-{number}"), &volume);
    }
    let stored: u64 = fixture.repository.list_packs().unwrap().iter().map(|(_, bytes)| bytes).sum();
    recording.reset();
    let control = Control::default();
    let options = VerifyOptions { backups: None, read_data: ReadData::All };
    let report = fixture.engine.verify(&fixture.repository, &options, &control).unwrap();
    assert!(report.is_clean());
    assert_eq!(report.backups, 5);
    assert_eq!(report.segments, fixture.repository.list_segments().unwrap().len() as u64);
    assert_eq!(report.read_bytes, stored);
    // 1,054 chunks, one of which is different in each volume; and the leaves of the five maps.
    assert_eq!(report.chunks, 1053 + 5 + 5 + 1);
    let frames = recording.tally(Kind::ReadInto).bytes;
    assert!(frames < stored + stored / 10, "{frames} bytes read of {stored}");
    assert_eq!(control.progress.done_bytes.load(Ordering::Relaxed), stored);
    assert_eq!(control.progress.total_bytes.load(Ordering::Relaxed), stored);
}

#[test]
fn chosen_backups_read_only_the_packs_that_they_need() {
    let fixture = Fixture::new();
    let one = fixture.store_fixed("one", &noise(1, 200 * CHUNK));
    let two = fixture.store_fixed("two", &noise(2, 100 * CHUNK));
    let chosen = VerifyOptions { backups: Some(vec![(two.volume.clone(), two.id)]), read_data: ReadData::All };
    let report = fixture.verify(&chosen);
    assert!(report.is_clean());
    assert_eq!((report.backups, report.chunks), (1, 100));
    // Damage to another backup's data is not looked for.
    fixture.change(&fixture.pack(one.data_packs[0]), |mut bytes| {
        bytes[100] ^= 1;
        Some(bytes)
    });
    assert!(fixture.verify(&chosen).is_clean());
    assert!(!fixture.verify_all().is_clean());
    let missing = VerifyOptions { backups: Some(vec![(two.volume, one.id)]), read_data: ReadData::No };
    assert!(fixture.engine.verify(&fixture.repository, &missing, &Control::default()).is_err());
}

#[test]
fn structure_alone_reads_no_data() {
    let fixture = Fixture::new();
    fixture.store_fixed("vm", &noise(1, 300 * CHUNK));
    let report = fixture.verify(&VerifyOptions::default());
    assert!(report.is_clean());
    assert_eq!(report.chunks, 0);
    assert!(report.read_bytes < 100 * CHUNK as u64);
}

#[test]
fn a_pack_of_a_backup_that_is_still_running_is_no_damage() {
    let fixture = Fixture::new();
    fixture.store_fixed("vm", &noise(1, 10 * CHUNK));
    let session = fixture.repository.start_session("test").unwrap();
    let chunk = noise(9, 100);
    let listed = cinderblock_store::pack::frame::FrameChunk { id: cinderblock_store::ChunkId::of(&chunk), length: 100 };
    let mut builder = session.pack_builder(Content::Data);
    builder
        .push(cinderblock_store::pack::frame::encode(&chunk, vec![listed], true, Default::default()).unwrap())
        .unwrap();
    session.store_pack(&builder.finish().unwrap().unwrap()).unwrap();
    let report = fixture.verify_all();
    assert!(report.is_clean());
    assert_eq!((report.packs, report.chunks), (2, 11));
}
