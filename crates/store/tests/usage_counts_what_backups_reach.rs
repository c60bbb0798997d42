//! [`Usage`](cinderblock_store::Usage): what backups reach is counted once, and what none reaches is told.

mod common;

use std::sync::Arc;

use cinderblock_backend::{Backend, Memory};
use cinderblock_store::pack::Content;
use cinderblock_store::{ChunkId, Kind};
use common::*;

fn size(storage: &dyn Backend, prefix: &str) -> u64 {
    objects(storage, prefix).iter().map(|name| storage.size(name).expect("a size")).sum()
}

#[test]
fn nothing_is_unreferenced_after_a_commit_and_everything_after_the_last_deletion() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let empty = open(storage.clone(), cache.path())?.usage()?;
    assert_eq!((empty.backups, empty.packs, empty.chunks, empty.missing), (0, 0, 0, 0));
    assert_eq!(empty.stored_bytes, size(&*storage, ""));
    let (vm, bytes, plan) = (volume("vm"), sparse_volume(1), Plan::new());
    back_up(&open(storage.clone(), cache.path())?, &vm, &bytes, &plan)?;
    let repository = open(storage.clone(), cache.path())?;
    let usage = repository.usage()?;
    assert_eq!((usage.backups, usage.volumes, usage.volume_bytes), (1, 1, bytes.len() as u64));
    assert_eq!((usage.chunks, usage.chunk_bytes), (11, 10 * CHUNK as u64 + 1000));
    assert_eq!((usage.unreferenced_bytes, usage.missing, usage.packs), (0, 0, 2));
    let packs = size(&*storage, "packs/");
    assert_eq!(usage.data_bytes + usage.map_bytes, packs);
    let data = packs_of_kind(&*storage, Kind::DataPack);
    assert_eq!(usage.data_bytes, storage.size(&data[0])?);
    assert_eq!(usage.segment_bytes, size(&*storage, "index/"));
    assert_eq!(usage.record_bytes, size(&*storage, "backups/"));
    assert_eq!(usage.stored_bytes, size(&*storage, ""));
    repository.delete_backup(&vm, plan.id)?;
    let usage = repository.usage()?;
    assert_eq!((usage.backups, usage.chunks, usage.record_bytes), (0, 0, 0));
    assert_eq!(usage.unreferenced_bytes, packs);
    Ok(())
}

#[test]
fn what_backups_share_is_counted_once() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let (one, two) = (dense_volume(1, 8), [dense_volume(1, 8), dense_volume(2, 8)].concat());
    let mut ids = Vec::new();
    for (name, bytes) in [("one", &one), ("two", &two), ("three", &two)] {
        let plan = Plan::new();
        back_up(&open(storage.clone(), cache.path())?, &volume(name), bytes, &plan)?;
        ids.push((volume(name), plan.id));
    }
    let repository = open(storage.clone(), cache.path())?;
    let usage = repository.usage()?;
    assert_eq!((usage.backups, usage.volumes, usage.volume_bytes), (3, 3, 40 * CHUNK as u64));
    assert_eq!((usage.chunks, usage.chunk_bytes), (16, 16 * CHUNK as u64));
    assert_eq!(usage.unreferenced_bytes, 0);
    // The first volume's chunks are all in the others.
    repository.delete_backup(&ids[0].0, ids[0].1)?;
    assert_eq!(repository.usage()?.unreferenced_bytes, 0);
    repository.delete_backup(&ids[1].0, ids[1].1)?;
    assert_eq!(repository.usage()?.unreferenced_bytes, 0);
    Ok(())
}

#[test]
fn of_a_frame_that_is_reached_in_part_the_rest_is_told() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    // 16 chunks in frames of 4, none of which compresses; the second backup needs the first 6 of them.
    let bytes: Vec<u8> = (0..16).flat_map(|n| noise(n, CHUNK)).collect();
    let (whole, part) = (Plan::new(), Plan::new());
    back_up(&open(storage.clone(), cache.path())?, &volume("whole"), &bytes, &whole)?;
    back_up(&open(storage.clone(), cache.path())?, &volume("part"), &bytes[..6 * CHUNK], &part)?;
    let repository = open(storage.clone(), cache.path())?;
    assert_eq!(repository.usage()?.unreferenced_bytes, 0);
    repository.delete_backup(&volume("whole"), whole.id)?;
    let usage = repository.usage()?;
    assert_eq!((usage.chunks, usage.unreferenced_bytes), (6, 10 * CHUNK as u64));
    Ok(())
}

/// Writers that did not know of each other stored the same chunks: either copy serves. A copy that is met through another
/// backup may count as well, and then it is not called unreferenced.
#[test]
fn chunks_that_were_stored_twice_count_no_more_than_their_copies() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repositories = [open(storage.clone(), cache.path())?, open(storage.clone(), cache.path())?];
    for repository in &repositories {
        repository.refresh_index()?;
    }
    let shared = dense_volume(1, 4);
    for (n, repository) in repositories.iter().enumerate() {
        for part in 0..2 {
            let own = dense_volume(10 + n as u64, 4);
            let bytes = if part == 0 { [&own[..], &shared].concat() } else { [&shared[..], &own].concat() };
            back_up(repository, &volume(&format!("vm-{n}-{part}")), &bytes, &Plan::new())?;
        }
    }
    let repository = open(storage.clone(), cache.path())?;
    let usage = repository.usage()?;
    let distinct = 12;
    let mut copies = 0;
    for pack in repository.packs()? {
        if pack.content == Content::Data {
            copies += repository.pack(pack.id)?.directory().ids().len() as u64;
        }
    }
    assert!(copies > distinct, "{copies} copies");
    assert!((distinct..=copies).contains(&usage.chunks), "{usage:?}");
    assert_eq!((usage.chunk_bytes, usage.missing), (usage.chunks * CHUNK as u64, 0));
    assert!(usage.unreferenced_bytes < usage.data_bytes);
    assert_eq!(usage.unreferenced_bytes == 0, usage.chunks == copies);
    Ok(())
}

#[test]
fn what_no_backup_ever_reached_is_unreferenced() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let session = repository.start_session("a test")?;
    let chunk = noise(1, CHUNK);
    store(&session, Content::Data, &[(ChunkId::of(&chunk), &chunk)], &Plan::new())?;
    drop(session);
    repository.refresh_index()?;
    let usage = repository.usage()?;
    assert_eq!((usage.unreferenced_bytes, usage.chunks), (size(&*storage, "packs/"), 0));
    Ok(())
}

/// Of a chunk that two backups have stored at the same time the index knows one copy. When a collector had deleted that one, `stats`
/// told of missing chunks.
#[test]
fn what_has_another_copy_is_not_missing() -> TestResult {
    let (storage, cache, elsewhere) = (Arc::new(Memory::new()), tempfile::tempdir()?, tempfile::tempdir()?);
    create(&*storage)?;
    let (here, there) = (open(storage.clone(), cache.path())?, open(storage.clone(), elsewhere.path())?);
    let (bytes, plan) = (dense_volume(1, 8), Plan::new());
    there.refresh_index()?;
    let session = there.start_session("beside the other one")?;
    let first = back_up(&here, &volume("vm"), &bytes, &plan)?;
    let segments = objects(&*storage, "index/");
    here.refresh_index()?;
    // It does not know what came since.
    let second = write_all_but_record(&there, &session, &volume("vm"), &bytes, &Plan::new())?;
    drop(session);
    assert!(second.data_packs != first.data_packs);
    here.refresh_index()?;

    for segment in objects(&*storage, "index/").into_iter().filter(|name| !segments.contains(name)) {
        storage.delete(&segment)?;
    }
    for pack in objects(&*storage, "packs/") {
        if [&second.data_packs[..], &second.map_packs].concat().contains(&pack_id(&pack)) {
            storage.delete(&pack)?;
        }
    }
    let usage = open(storage.clone(), cache.path())?.usage()?;
    assert_eq!((usage.missing, usage.chunks, usage.unreferenced_bytes), (0, 8, 0));
    assert_backup(&open(storage, cache.path())?, &volume("vm"), plan.id, &bytes);
    Ok(())
}
