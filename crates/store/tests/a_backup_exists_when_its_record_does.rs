//! Sessions: packs, then the segment that names them, then the record; and whatever fails in between, a backup is whole
//! or not there.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use cinderblock_backend::{Backend, Faulty, Kind as Operation, Memory, ObjectName, Recording, Rule};
use cinderblock_store::pack::{Content, PACK_MAX_CHUNKS, frame};
use cinderblock_store::{ChunkId, Error};
use common::*;

#[test]
fn a_commit_writes_packs_then_the_segment_then_the_record() -> TestResult {
    let (storage, cache) = (Arc::new(Recording::with_log(Memory::new())), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    storage.take_log();
    let plan = Plan { pack_bytes: 8 << 10, ..Plan::new() };
    let record = back_up(&repository, &volume("vm"), &sparse_volume(1), &plan)?;
    let changes = storage.take_log().into_iter().filter(|entry| entry.kind.is_change());
    let order: Vec<_> = changes.map(|entry| (entry.kind, entry.name)).collect();
    let session = format!("sessions/{}/00000001", record.session);
    assert_eq!(order.first(), Some(&(Operation::Put, session.clone())), "a writer announces itself first");
    assert_eq!(order.last(), Some(&(Operation::Delete, session)));
    let steps: Vec<_> = order[1..order.len() - 1].iter().map(|(_, name)| name.split('/').next()).collect();
    let packs = steps.len() - 2;
    assert!(packs >= 3, "{steps:?}");
    assert!(steps[..packs].iter().all(|step| *step == Some("packs")), "{steps:?}");
    assert_eq!(steps[packs..], [Some("index"), Some("backups")]);
    assert!(order.iter().all(|(kind, name)| *kind == Operation::Put || name.starts_with("sessions/")));
    Ok(())
}

#[test]
fn a_dropped_session_leaves_no_backup_and_its_chunks_are_found() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let (vm, bytes) = (volume("vm"), sparse_volume(1));
    let repository = open(storage.clone(), cache.path())?;
    let session = repository.start_session("a test")?;
    write_all_but_record(&repository, &session, &vm, &bytes, &Plan::new())?;
    assert_eq!(objects(&*storage, "sessions/").len(), 1);
    drop(session);
    assert!(objects(&*storage, "sessions/").is_empty());
    assert!(repository.backups(None)?.is_empty());
    assert!(repository.newest_backup(&vm)?.is_none());
    let packs = objects(&*storage, "packs/");
    // The next one, here or elsewhere, finds all and stores nothing again.
    let elsewhere = tempfile::tempdir()?;
    for cache in [cache.path(), elsewhere.path()] {
        let plan = Plan::new();
        let next = open(storage.clone(), cache)?;
        back_up(&next, &vm, &bytes, &plan)?;
        assert_eq!(objects(&*storage, "packs/"), packs);
        assert_backup(&next, &vm, plan.id, &bytes);
    }
    Ok(())
}

#[test]
fn an_id_is_used_once() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let (vm, plan) = (volume("vm"), Plan::new());
    let first = dense_volume(1, 3);
    back_up(&repository, &vm, &first, &plan)?;
    match back_up(&repository, &vm, &dense_volume(2, 3), &plan) {
        Err(Error::BackupExists { id, volume }) => assert_eq!((id, &volume), (plan.id, &vm)),
        other => panic!("{other:?}"),
    }
    repository.refresh_index()?;
    assert_backup(&repository, &vm, plan.id, &first);
    assert!(objects(&*storage, "sessions/").is_empty());
    Ok(())
}

#[test]
fn deleting_a_backup_harms_no_other() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let vm = volume("vm");
    let bytes = sparse_volume(1);
    let mut kept = Vec::new();
    for _ in 0..3 {
        let plan = Plan::new();
        back_up(&open(storage.clone(), cache.path())?, &vm, &bytes, &plan)?;
        kept.push(plan.id);
    }
    let repository = open(storage.clone(), cache.path())?;
    while let Some(id) = kept.pop() {
        repository.delete_backup(&vm, id)?;
        assert!(matches!(repository.record(&vm, id), Err(Error::BackupNotFound { .. })));
        assert!(matches!(repository.delete_backup(&vm, id), Err(Error::BackupNotFound { .. })));
        for id in &kept {
            assert_backup(&repository, &vm, *id, &bytes);
        }
    }
    Ok(())
}

/// Lets the n-th operation fail, for every n, from opening to the end of the commit: before it is done, or after.
#[test]
fn whatever_fails_a_backup_is_whole_or_not_there() -> TestResult {
    let (vm, base, bytes) = (volume("vm"), dense_volume(1, 4), sparse_volume(2));
    for performed in [false, true] {
        let mut operations = 0;
        for skip in 0.. {
            let (storage, cache) = (Arc::new(Faulty::new(Memory::new())), tempfile::tempdir()?);
            create(&*storage)?;
            let earlier = Plan::new();
            back_up(&open(storage.clone(), cache.path())?, &vm, &base, &earlier)?;
            let rule = Rule::any().skip(skip).times(1);
            storage.add(if performed { rule.performed() } else { rule });
            let plan = Plan::new();
            let outcome = open(storage.clone(), cache.path())
                .and_then(|repository| back_up(&repository, &vm, &bytes, &plan).map(drop));
            let failed = storage.faults();
            storage.heal();
            let case = format!("operation {skip}, performed: {performed}");
            let elsewhere = tempfile::tempdir()?;
            for cache in [cache.path(), elsewhere.path()] {
                let repository = open(storage.clone(), cache)?;
                let there = repository.backups(Some(&vm))?.contains(&(vm.clone(), plan.id));
                assert!(there || outcome.is_err(), "{case}: a backup that was committed is not there");
                if there {
                    assert_backup(&repository, &vm, plan.id, &bytes);
                }
                assert_backup(&repository, &vm, earlier.id, &base);
                assert_eq!(repository.usage()?.missing, 0, "{case}");
                // The next attempt works, with the same id unless that is taken by now.
                let again = if there { Plan::new() } else { plan.clone() };
                if cache != elsewhere.path() {
                    continue;
                }
                back_up(&repository, &vm, &bytes, &again)?;
                repository.refresh_index()?;
                assert_backup(&repository, &vm, again.id, &bytes);
                assert_eq!(repository.usage()?.missing, 0, "{case}");
            }
            if failed == 0 {
                assert!(outcome.is_ok(), "{case}: {outcome:?}");
                break;
            }
            operations += 1;
        }
        assert!(operations >= 8, "only {operations} operations were tried");
    }
    Ok(())
}

/// A segment that could not be written is not forgotten: no record without it.
#[test]
fn no_record_after_a_segment_that_failed() -> TestResult {
    let (vm, bytes) = (volume("vm"), sparse_volume(1));
    let (storage, cache) = (Arc::new(Faulty::new(Memory::new())), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let session = repository.start_session("a test")?;
    let mut record = write_all_but_record(&repository, &session, &vm, &bytes, &Plan::new())?;
    storage.add(Rule::on(Operation::Put).prefix("index/").times(1));
    assert!(session.flush().is_err());
    let committed = session.commit(&mut record);
    let named = !objects(&*storage, "index/").is_empty();
    assert!(named || committed.is_err(), "a record was committed whose packs are in no segment");
    assert_eq!(committed.is_ok(), repository.backups(None)?.len() == 1);
    Ok(())
}

/// The same where the session writes a segment by itself because enough packs have come together.
#[test]
fn no_record_after_a_segment_that_failed_on_the_way() -> TestResult {
    let (storage, cache) = (Arc::new(Faulty::new(Memory::new())), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let session = repository.start_session("a test")?;
    let mut record = write_all_but_record(&repository, &session, &volume("vm"), &sparse_volume(1), &Plan::new())?;
    storage.add(Rule::on(Operation::Put).prefix("index/").times(1));
    let mut packs = session.pack_builder(Content::Data);
    let (mut failures, mut number) = (0, 0_u64);
    while failures == 0 && number < 20 * PACK_MAX_CHUNKS as u64 {
        let numbers = number..number + 8192;
        let plain: Vec<u8> = numbers.clone().flat_map(u64::to_be_bytes).collect();
        let listed = numbers.map(|n| frame::FrameChunk { id: ChunkId::of(&n.to_be_bytes()), length: 8 }).collect();
        number += 8192;
        if let Some(pack) = packs.push(frame::encode(&plain, listed, false, frame::Compression::default())?)? {
            failures += usize::from(session.store_pack(&pack).is_err());
        }
    }
    assert_eq!(failures, 1, "a session writes segments by itself");
    let committed = session.commit(&mut record);
    let named = !objects(&*storage, "index/").is_empty();
    assert!(named || committed.is_err(), "a record was committed whose packs are in no segment");
    Ok(())
}

/// What can be committed can be read: a record that would be too large to read is refused.
#[test]
fn a_record_that_was_committed_can_be_read() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let vm = volume("vm");
    for megabytes in [1, 10, 15, 16, 17, 63, 100] {
        let session = repository.start_session("a test")?;
        let mut record = write_all_but_record(&repository, &session, &vm, &dense_volume(1, 1), &Plan::new())?;
        record.attributes = BTreeMap::from([("large".to_owned(), vec![1; megabytes << 20])]);
        match session.commit(&mut record) {
            Ok(()) => assert!(repository.record(&vm, record.id)? == record, "{megabytes} MiB"),
            Err(error) => {
                assert!(matches!(error, Error::TooLarge { .. }), "{error}");
                assert!(megabytes > 15 && repository.record(&vm, record.id).is_err());
            }
        }
    }
    Ok(())
}

/// A newer program has put something below `gc/`: what this one would refer to could be about to go.
#[test]
fn no_session_beside_what_a_newer_collector_put() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let (vm, bytes, plan) = (volume("vm"), dense_volume(1, 3), Plan::new());
    back_up(&repository, &vm, &bytes, &plan)?;
    let generation = ObjectName::new("gc/00000001")?;
    storage.put(&generation, &[b"of a newer version"])?;
    match repository.start_session("a test") {
        Err(Error::Unsupported { object, .. }) => assert_eq!(object, generation.as_str()),
        other => panic!("{other:?}"),
    }
    assert!(objects(&*storage, "sessions/").is_empty());
    assert_backup(&repository, &vm, plan.id, &bytes);
    storage.delete(&generation)?;
    assert!(repository.start_session("a test").is_ok());
    Ok(())
}

/// Segments were written by the size of their directories alone. With large chunks these are small: an interrupted backup
/// lost hundreds of gigabytes that were in no segment yet. The first ones come early, and the index of this process looks at them when they are as many
/// as a full one has.
#[test]
fn a_segment_is_written_at_the_latest_after_64_packs() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let session = repository.start_session("a test")?;
    for number in 1..=184_u64 {
        let chunk = noise(number, CHUNK);
        let listed = frame::FrameChunk { id: ChunkId::of(&chunk), length: chunk.len() as u32 };
        let mut packs = session.pack_builder(Content::Data);
        packs.push(frame::encode(&chunk, vec![listed], true, frame::Compression::None)?)?;
        let pack = packs.finish()?.expect("a pack");
        let indexed = session.store_pack(&pack)?;
        let segments = [8, 24, 56, 120, 184].iter().filter(|packs| **packs <= number).count();
        assert_eq!(objects(&*storage, "index/").len(), segments, "pack {number}");
        let chunks = match number {
            120 => Some(120),
            184 => Some(64),
            _ => None,
        };
        assert_eq!(indexed.map(|chunks| chunks.len()), chunks, "pack {number}");
    }
    Ok(())
}
