//! What was backed up is restored, byte for byte, whatever the size, the shape and the target.

mod common;

use cinderblock_pipeline::{Control, Target};
use cinderblock_store::Record;
use cinderblock_store::map::Shape;
use common::*;
use proptest::prelude::*;

/// Restores to a new file, over a file of other bytes, over itself, and as a stream.
fn restores_everywhere(fixture: &Fixture, record: &Record, expected: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    let control = Control::default();
    let new = fixture.engine.restore(&fixture.repository, record, &Target::New(path.clone()), &control).unwrap();
    assert!(std::fs::read(&path).unwrap() == expected, "a new file");
    assert_eq!(new.volume_bytes, expected.len() as u64);
    assert_eq!(new.written_bytes + new.zero_bytes, new.volume_bytes);
    assert_eq!(names(folder.path()), std::slice::from_ref(&path));

    let existing = Target::Existing(path.clone());
    let same = fixture.engine.restore(&fixture.repository, record, &existing, &control).unwrap();
    assert_eq!((same.written_bytes, same.read_bytes), (0, 0));
    assert_eq!(same.unchanged_bytes, same.volume_bytes);

    std::fs::write(&path, noise(99, expected.len() + 5000)).unwrap();
    let over = fixture.engine.restore(&fixture.repository, record, &existing, &control).unwrap();
    assert_eq!(over.written_bytes + over.unchanged_bytes, over.volume_bytes);
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes[..expected.len()] == *expected, "an existing file");
    assert!(bytes[expected.len()..] == noise(99, expected.len() + 5000)[expected.len()..], "behind the end");

    let mut bytes = Vec::new();
    let control = Control::default();
    let stream = fixture.engine.restore_to_writer(&fixture.repository, record, &mut bytes, &control).unwrap();
    assert!(bytes == expected, "a stream");
    assert_eq!(stream.written_bytes, stream.volume_bytes);
    let done = control.progress.done_bytes.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(done, stream.volume_bytes);
}

#[test]
fn every_size_around_chunks_and_leaves() {
    let fixture = Fixture::new();
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 100, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF + CHUNK + 7] {
        let volume = noise(size as u64, size);
        let record = fixture.store_fixed(&format!("v{size}"), &volume);
        restores_everywhere(&fixture, &record, &volume);
    }
}

#[test]
fn a_sparse_volume_of_many_leaves() {
    let fixture = Fixture::new();
    let mut volume = vec![0; 9 * LEAF + 1000];
    // A run over the border of leaves, single chunks, and the very end; repeated content, too.
    volume[LEAF - 9 * CHUNK..LEAF + 9 * CHUNK].copy_from_slice(&text(1, 18 * CHUNK));
    volume[4 * LEAF..4 * LEAF + 300 * CHUNK].copy_from_slice(&noise(2, 300 * CHUNK));
    volume.copy_within(4 * LEAF..4 * LEAF + 50 * CHUNK, 6 * LEAF + CHUNK);
    volume[8 * LEAF + 100] = 1;
    let end = volume.len() - 1;
    volume[end] = 1;
    let record = fixture.store_fixed("sparse", &volume);
    restores_everywhere(&fixture, &record, &volume);
}

#[test]
fn chunks_of_many_lengths() {
    let fixture = Fixture::new();
    let mut parts = Vec::new();
    for number in 0..3000_u64 {
        parts.push(match number % 7 {
            3 => Part::Zeros(number * 3 + 1),
            5 => Part::Chunk(text(number % 50, 500 + number as usize)),
            _ => Part::Chunk(noise(number, 1000 + (number * 997 % 9000) as usize)),
        });
    }
    let volume = volume_of(&parts);
    let record = fixture.store("variable", Shape::Variable, volume.len() as u64, &parts);
    restores_everywhere(&fixture, &record, &volume);
}

#[test]
fn a_host_without_an_index_restores_from_the_packs_that_the_record_names() {
    let fixture = Fixture::new();
    let volume = noise(5, 100 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    let (repository, _cache) = fixture.elsewhere();
    let mut bytes = Vec::new();
    fixture.engine.restore_to_writer(&repository, &record, &mut bytes, &Control::default()).unwrap();
    assert!(bytes == volume);
    assert!(!repository.index_folder().exists(), "no index was made");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_mixture_of_chunks_and_zeros(
        parts in proptest::collection::vec(prop_oneof![
            (1_u64..40).prop_map(|n| vec![0; n as usize * CHUNK]),
            (1_usize..40, 0_u64..20).prop_map(|(n, seed)| noise(seed, n * CHUNK)),
            (1_usize..40, 0_u64..20).prop_map(|(n, seed)| text(seed, n * CHUNK)),
        ], 0..30),
        tail in 0_usize..2 * CHUNK,
    ) {
        let mut volume: Vec<u8> = parts.concat();
        volume.extend(noise(77, tail));
        let fixture = Fixture::new();
        let record = fixture.store_fixed("vm", &volume);
        restores_everywhere(&fixture, &record, &volume);
    }
}
