//! A repository of format version 1, as it was written when that version was made. It is kept for ever: every later program
//! reads every byte of it.
//!
//! `golden/v1/repository` is the repository, and `golden/v1/backups` has a line for each backup: its volume, its id, the
//! volume's length in bytes and the BLAKE3 hash of its bytes.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cinderblock_backend::{Backend, Folder, Memory, ObjectName};
use cinderblock_chunker::ChunkSize;
use cinderblock_store::map::Shape;
use cinderblock_store::pack::directory::Codec;
use cinderblock_store::{BackupId, ChunkId, Chunking, Repository, Statistics, VolumeId};
use common::*;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn expected() -> Vec<(VolumeId, BackupId, u64, String)> {
    let text = std::fs::read_to_string(golden().join("backups")).expect("the list of backups");
    let lines = text.lines().map(|line| {
        let [name, id, length, hash] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a line of four: {line}")
        };
        let length = length.parse().expect("a length");
        (volume(name), id.parse().expect("an id"), length, hash.to_owned())
    });
    lines.collect()
}

/// The repository in memory, so that nothing in the source folder can change.
fn copy() -> Result<Arc<Memory>, cinderblock_backend::Error> {
    Ok(fork(&Folder::open(golden().join("repository"))?))
}

fn assert_as_expected(repository: &Repository) -> TestResult {
    let expected = expected();
    assert_eq!(repository.backups(None)?.len(), expected.len());
    for (volume, id, length, hash) in expected {
        let record = repository.record(&volume, id)?;
        assert_eq!(record.volume_bytes, length);
        let bytes = read_backup(repository, &record)?;
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), hash, "{volume} {id}");
    }
    Ok(())
}

#[test]
fn every_byte_of_every_backup_is_read() -> TestResult {
    let (storage, cache) = (copy()?, tempfile::tempdir()?);
    let repository = open(storage.clone(), cache.path())?;
    assert_as_expected(&repository)?;
    let report = repository.rebuild_index()?;
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert_eq!((report.segments, report.adopted_packs), (3, 0));
    let usage = repository.usage()?;
    assert_eq!((usage.backups, usage.volumes, usage.missing, usage.unreferenced_bytes), (3, 2, 0, 0));
    // The same from the packs alone.
    for name in objects(&*storage, "index/") {
        storage.delete(&name)?;
    }
    let elsewhere = tempfile::tempdir()?;
    assert_as_expected(&open(storage, elsewhere.path())?)
}

#[test]
fn it_has_one_of_everything() -> TestResult {
    let cache = tempfile::tempdir()?;
    let repository = open(copy()?, cache.path())?;
    let (mut codecs, mut hashed) = (Vec::new(), Vec::new());
    for pack in repository.packs()? {
        let pack = repository.pack_with_hashes(pack.id)?;
        for frame in pack.directory().frames() {
            codecs.push(frame.codec);
            hashed.push(frame.hashed);
        }
    }
    assert!(codecs.contains(&Codec::Stored) && codecs.contains(&Codec::Zstd));
    assert!(hashed.contains(&true) && hashed.contains(&false));
    let mut shapes = Vec::new();
    for (volume, id) in repository.backups(None)? {
        let record = repository.record(&volume, id)?;
        shapes.push((record.map.shape, record.map.level));
    }
    shapes.sort_by_key(|(shape, level)| (*shape == Shape::Variable, *level));
    assert_eq!(shapes, [(Shape::Fixed, 1), (Shape::Fixed, 1), (Shape::Variable, 1)]);
    Ok(())
}

#[test]
fn facts_for_people_are_as_they_were() -> TestResult {
    let cache = tempfile::tempdir()?;
    let repository = open(copy()?, cache.path())?;
    assert_eq!(repository.descriptor().chunk_size, ChunkSize::MINIMUM);
    let (volume, first, ..) = expected().remove(0);
    let newest = repository.newest_backup(&volume)?.ok_or("no backup")?;
    assert_eq!(newest.parent, Some(first));
    assert_eq!(newest.name.as_deref(), Some("second"));
    assert_eq!(newest.description.as_deref(), Some("one chunk differs"));
    assert_eq!(newest.created_at.to_string(), "2026-09-21T14:13:21Z");
    assert_eq!((newest.chunking, newest.compression.as_str()), (Chunking::Fixed, "zstd:1"));
    assert_eq!(newest.attributes.get("cinder.note").map(Vec::as_slice), Some(&b"kept"[..]));
    let statistics = newest.statistics;
    assert_eq!((statistics.read_bytes, statistics.new_bytes, statistics.new_chunks), (70_000, 4096, 1));
    assert_eq!((statistics.chunks, statistics.zero_chunks, statistics.milliseconds), (11, 1289, 1_234_567));
    assert!(statistics.stored_bytes > 0);
    Ok(())
}

/// Chunks of very little, with zeros between. A node of a variable map has 256 items before its content may end it, and
/// then one chunk's id in 1,024 does: the chunk with the number 262 is made to have such an id.
fn variable_volume() -> Vec<u8> {
    let mut volume = Vec::new();
    for n in 0..280_usize {
        let mut chunk = vec![0; 3000 + n * 37 % 2000];
        let ends_a_node = |chunk: &[u8]| matches!(ChunkId::of(chunk).as_bytes(), [0, second, ..] if second % 4 == 0);
        if n.is_multiple_of(2) {
            chunk[0] = 1;
        }
        let mut counter = 0_u32;
        while n == 262 && !ends_a_node(&chunk) {
            counter += 1;
            chunk[1..5].copy_from_slice(&counter.to_le_bytes());
        }
        volume.extend(chunk);
    }
    volume
}

/// Writes the golden repository anew, under other ids: for a format that nobody has used yet. Once it was released, it
/// stays as it is, and a new version gets a folder of its own. Run with
/// `cargo test -p cinderblock-store --test repositories_of_version_1_stay_readable -- --ignored`.
#[test]
#[ignore = "overwrites the golden repository"]
fn write_the_golden_repository() -> TestResult {
    let folder = golden();
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let (storage, cache) = (Arc::new(Folder::create(folder.join("repository"))?), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let fixed = sparse_volume(1);
    let mut changed = fixed.clone();
    changed[..CHUNK].copy_from_slice(&prose(77, CHUNK));
    let variable = variable_volume();
    let mut list = String::new();
    let first = Plan { chunks_per_frame: 3, ..Plan::new() };
    let second = Plan { created_at: first.created_at + 1_000_000, ..Plan::new() };
    let third = Plan { shape: Shape::Variable, chunks_per_frame: 64, ..Plan::new() };
    for (name, bytes, plan) in [("vm-1", &fixed, &first), ("vm-1", &changed, &second), ("stream", &variable, &third)] {
        let session = repository.start_session("a golden backup")?;
        let mut record = write_all_but_record(&repository, &session, &volume(name), bytes, plan)?;
        if plan.id == second.id {
            record.parent = Some(first.id);
            record.name = Some("second".to_owned());
            record.description = Some("one chunk differs".to_owned());
            record.attributes.insert("cinder.note".to_owned(), b"kept".to_vec());
            record.statistics = Statistics {
                read_bytes: 70_000,
                new_bytes: 4096,
                new_chunks: 1,
                chunks: 11,
                zero_chunks: 1289,
                milliseconds: 1_234_567,
                stored_bytes: 0,
            };
        }
        session.commit(&mut record)?;
        repository.refresh_index()?;
        list += &format!("{name} {} {} {}\n", plan.id, bytes.len(), blake3::hash(bytes).to_hex());
    }
    std::fs::write(folder.join("backups"), list)?;
    let mut total = 0;
    storage.list("", &mut |info| {
        total += info.size;
        Ok(())
    })?;
    assert!(total < 64 << 10, "{total} bytes are too much to keep for ever");
    assert!(storage.size(&ObjectName::new("cinderblock.json")?)? > 0);
    Ok(())
}
