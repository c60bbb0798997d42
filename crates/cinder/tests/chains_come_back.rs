//! What was backed up is restored: full and incremental, to new and over existing targets, in every form.

mod common;

use cinderblock_cinder::{Error, Layout};
use common::{Place, VOLUME, layer, noise, row, text};
use proptest::prelude::*;

const BLOCK: usize = 4096;
const CHUNK: usize = 4 * BLOCK;

/// Checks each backup of a chain against its volume.
fn check(place: &Place, compression: &str, volumes: &[Vec<u8>]) {
    let driver = place.driver(compression, CHUNK as u64, BLOCK as u64);
    let chain = place.chain(&driver, volumes);
    for (number, volume) in volumes.iter().enumerate() {
        let layers = &chain[..=number];
        let longest = volumes[..=number].iter().map(Vec::len).max().unwrap();
        let restored = place.restore_new(&driver, layers).unwrap();
        // As in Cinder, what a longer volume before had behind the end stays.
        assert_eq!(restored.len(), longest);
        assert!(restored[..volume.len()] == volume[..], "{compression}: layer {number} to a new target");
        let (outcome, existing) = place.restore_over(&driver, layers, longest + 1000);
        outcome.unwrap();
        assert!(existing[..volume.len()] == volume[..], "{compression}: layer {number} over an existing target");
        assert!(existing[longest..].iter().all(|byte| *byte == 0xa5), "what is behind the volume is not touched");
    }
}

#[test]
fn chains_of_all_compressions_come_back() {
    for compression in ["none", "off", "zlib", "GZIP", "bz2", "bzip2", "zstd"] {
        let mut first = text(1, 10 * CHUNK + 1234);
        first[2 * CHUNK..5 * CHUNK].fill(0);
        first[6 * CHUNK..7 * CHUNK].copy_from_slice(&noise(2, CHUNK));
        let mut second = first.clone();
        second[100] ^= 1;
        second[3 * CHUNK - 10..3 * CHUNK + 10].copy_from_slice(&[7; 20]);
        second[7 * CHUNK..9 * CHUNK].fill(0);
        let mut third = second.clone();
        third[7 * CHUNK + 5] = 1;
        let end = third.len() - 1;
        third[end] ^= 0xff;
        check(&Place::new(), compression, &[first, second, third]);
    }
}

#[test]
fn blocks_that_became_zero_after_the_full_are_zero() {
    let first = text(3, 4 * CHUNK);
    let second = vec![0; 4 * CHUNK];
    check(&Place::new(), "zstd", &[first, second]);
}

#[test]
fn what_an_existing_target_has_already_is_not_written() {
    let place = Place::new();
    let driver = place.driver("zstd", CHUNK as u64, BLOCK as u64);
    let mut volume = text(1, 40 * CHUNK);
    volume[10 * CHUNK..30 * CHUNK].fill(0);
    let backup = place.back_up(&driver, 1, &volume, None).unwrap().0;
    let path = place.path("existing");
    for (change_at, expected) in [(None, (0, 0)), (Some(3 * CHUNK), (65536, 0)), (Some(12 * CHUNK), (0, 16384))] {
        let mut there = volume.clone();
        change_at.into_iter().for_each(|at| there[at] ^= 1);
        std::fs::write(&path, there).unwrap();
        let target = cinderblock_pipeline::Target::Existing(path.clone());
        let summary = driver.restore(std::slice::from_ref(&backup), VOLUME, &target).unwrap();
        assert!(std::fs::read(&path).unwrap() == volume);
        let (written, zero) = (summary.written_bytes, summary.zero_bytes);
        // In whole 64 KiB blocks, within one object.
        assert!(written <= expected.0 && zero <= expected.1 && (written + zero > 0) == change_at.is_some());
    }
}

#[test]
fn small_and_odd_volumes_come_back() {
    for length in [1, BLOCK - 1, BLOCK, BLOCK + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + BLOCK / 2] {
        let first = text(length as u64, length);
        let mut second = first.clone();
        second[length - 1] ^= 1;
        check(&Place::new(), "zlib", &[first, second.clone(), second]);
        check(&Place::new(), "none", &[vec![0; length], vec![0; length]]);
    }
}

#[test]
fn a_volume_that_shrank_comes_back() {
    let first = text(9, 5 * CHUNK);
    let second = first[..3 * CHUNK + 100].to_vec();
    check(&Place::new(), "zstd", &[first, second]);
}

#[test]
fn an_empty_volume_has_no_objects() {
    let place = Place::new();
    let driver = place.driver("zlib", CHUNK as u64, BLOCK as u64);
    let (backup, summary) = place.back_up(&driver, 1, &[], None).unwrap();
    assert_eq!((backup.object_count, backup.size_gib, summary.volume_bytes), (0, 1, 0));
    assert_eq!(place.restore_new(&driver, &[backup]).unwrap(), b"");
}

#[test]
fn an_unchanged_volume_is_an_increment_without_objects() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let volume = text(4, 3 * CHUNK + 7);
    let chain = place.chain(&driver, &[volume.clone(), volume]);
    assert_eq!(chain[1].object_count, 0);
    assert_eq!(chain[1].parent_id.as_deref(), Some(chain[0].id.as_str()));
}

#[test]
fn runs_of_changed_blocks_end_at_chunks_as_in_cinder() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let first = text(5, 4 * CHUNK + 100);
    let mut second = first.clone();
    // Block 1; blocks 3 to 5, across a chunk's boundary; the last, short block.
    for at in [BLOCK, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK, 4 * CHUNK] {
        second[at] ^= 1;
    }
    let chain = place.chain(&driver, &[first, second]);
    let layer = layer(&driver, &chain[1]);
    let extents: Vec<_> = layer.objects.iter().map(|object| (object.number, object.offset, object.length)).collect();
    let block = BLOCK as u64;
    let expected = [(1, block, block), (2, 3 * block, block), (3, 4 * block, 2 * block), (4, 4 * CHUNK as u64, 100)];
    assert_eq!(extents, expected);
}

#[test]
fn what_compressing_does_not_shrink_is_stored_as_it_is() {
    for compression in ["zlib", "bz2", "zstd"] {
        let place = Place::new();
        let driver = place.driver(compression, CHUNK as u64, BLOCK as u64);
        let volume = [noise(6, CHUNK), text(6, CHUNK), noise(7, CHUNK)].concat();
        let backup = place.back_up(&driver, 1, &volume, None).unwrap().0;
        let layer = layer(&driver, &backup);
        let algorithms: Vec<String> = layer.objects.iter().map(|object| object.algorithm.to_string()).collect();
        assert_eq!(algorithms, ["none", compression, "none"]);
    }
}

#[test]
fn a_chain_goes_on_with_what_differs_from_its_parents_parameters() {
    let place = Place::new();
    let first = place.driver("none", CHUNK as u64, BLOCK as u64);
    let volume = text(8, 3 * CHUNK);
    let backup = place.back_up(&first, 1, &volume, None).unwrap().0;
    let mut changed = volume.clone();
    changed[2 * CHUNK] ^= 1;
    // Another chunk size and compression are fine, another block size is not.
    let second = place.driver("zstd", 2 * CHUNK as u64, BLOCK as u64);
    let increment = place.back_up(&second, 2, &changed, Some(&backup)).unwrap().0;
    assert!(place.restore_new(&second, &[backup.clone(), increment]).unwrap() == changed);
    let third = place.driver("none", CHUNK as u64, 2 * BLOCK as u64);
    let error = place.back_up(&third, 3, &changed, Some(&backup)).unwrap_err().to_string();
    assert!(error.contains("Hash block size has changed") && error.contains("Do a full backup."), "{error}");
}

#[test]
fn a_volume_that_grew_needs_a_full_backup() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let backup = place.back_up(&driver, 1, &text(1, CHUNK), None).unwrap().0;
    let before = place.objects();
    // By whole GiB, as Cinder compares: a sparse file of more than one.
    std::fs::File::create(place.path("grown")).unwrap().set_len((1 << 30) + 1).unwrap();
    let grown = cinderblock_pipeline::VolumeFile::open(&place.path("grown")).unwrap();
    let error = driver.backup(&mut row(2), &grown, Some(&backup), false).unwrap_err();
    assert!(matches!(&error, Error::InvalidBackup { reason } if reason.contains("Volume size increased")), "{error}");
    // Within a GiB Cinder dies of an IndexError.
    let error = place.back_up(&driver, 3, &text(1, 2 * CHUNK), Some(&backup)).unwrap_err();
    assert!(matches!(&error, Error::InvalidBackup { reason } if reason.contains("Do a full backup.")), "{error}");
    assert_eq!(place.objects(), before, "a refused backup leaves nothing");
}

#[test]
fn names_are_those_of_the_layout() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let backup = place.back_up(&driver, 1, &text(1, CHUNK + 1), None).unwrap().0;
    let container = "22/22/22222222-2222-2222-2222-000000000001";
    assert_eq!(backup.container.as_deref(), Some(container));
    let prefix = backup.service_metadata.unwrap();
    let timestamp = &prefix[44..58];
    assert_eq!(prefix, Layout::Posix.object_name_prefix(&row(1), timestamp, ""));
    let names = ["-00001", "-00002", "_metadata", "_sha256file"].map(|end| format!("{container}/{prefix}{end}"));
    assert_eq!(place.objects(), names);
    assert!(prefix.starts_with(&format!("volume_{VOLUME}_")));
}

#[test]
fn a_chunk_that_is_no_multiple_of_the_block_is_refused() {
    let place = Place::new();
    for (chunk, block) in [(BLOCK as u64 + 1, BLOCK as u64), (0, BLOCK as u64), (BLOCK as u64, 0)] {
        let driver = place.driver("none", chunk, block);
        let error = place.back_up(&driver, 1, b"x", None).unwrap_err();
        assert!(matches!(error, Error::InvalidBackup { .. }), "{error}");
    }
    assert!(place.objects().is_empty());
}

/// A volume, and what is done to it: where, how many bytes, with zeros or not.
type Change = (usize, usize, bool);

fn changed(volume: &[u8], seed: u64, changes: &[Change]) -> Vec<u8> {
    let mut volume = volume.to_vec();
    for (number, (at, length, zero)) in changes.iter().enumerate() {
        let length = (*length).min(volume.len());
        let at = at % (volume.len() - length + 1);
        let bytes = if *zero { vec![0; length] } else { text(seed + number as u64, length) };
        volume[at..at + length].copy_from_slice(&bytes);
    }
    volume
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_chain_comes_back(
        length in 1_usize..12 * CHUNK,
        layers in proptest::collection::vec(
            proptest::collection::vec((any::<usize>(), 1_usize..2 * CHUNK, any::<bool>()), 0..5), 1..4),
        compression in prop_oneof![Just("none"), Just("zlib"), Just("zstd")],
    ) {
        let mut volumes = Vec::new();
        let mut volume = vec![0; length];
        for (number, changes) in layers.iter().enumerate() {
            volume = changed(&volume, 100 * number as u64, changes);
            volumes.push(volume.clone());
        }
        check(&Place::new(), compression, &volumes);
    }
}
