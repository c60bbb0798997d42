//! The index folder may be missing, stale, foreign or broken, and segments may be missing: chunks are found again.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cinderblock_backend::{Backend, Error as BackendError, Faulty, Kind as Operation, Memory, Rule};
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::pack::{Content, PACK_MAX_CHUNKS};
use cinderblock_store::{BackupId, ChunkId, Error, Location, OpenOptions, Repository, VolumeId};
use common::*;

struct Case {
    storage: Arc<Memory>,
    cache: tempfile::TempDir,
    backups: Vec<(VolumeId, BackupId, Vec<u8>)>,
}

/// A repository with two backups of two sessions, and the cache folder that they were made with.
fn case() -> Result<Case, Error> {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir().expect("a folder"));
    create(&*storage)?;
    let mut backups = Vec::new();
    for (seed, name) in [(1, "one"), (2, "two")] {
        let repository = open(storage.clone(), cache.path())?;
        let (vm, bytes) = (volume(name), sparse_volume(seed));
        let record = back_up(&repository, &vm, &bytes, &Plan::new())?;
        backups.push((vm, record.id, bytes));
    }
    Ok(Case { storage, cache, backups })
}

impl Case {
    fn assert_whole(&self, repository: &Repository) {
        for (vm, id, bytes) in &self.backups {
            assert_backup(repository, vm, *id, bytes);
        }
    }

    fn open(&self) -> Result<Repository, Error> {
        open(self.storage.clone(), self.cache.path())
    }

    /// RocksDB's folder, made if it is not there.
    fn database(&self) -> Result<PathBuf, Error> {
        let repository = self.open()?;
        repository.refresh_index()?;
        Ok(repository.index_folder().join("index"))
    }

    fn segments(&self) -> usize {
        objects(&*self.storage, "index/").len()
    }
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the index is a folder");
    let paths = entries.map(|entry| entry.expect("an entry of the folder").path());
    paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

#[test]
fn a_deleted_cache_folder_is_made_again() -> TestResult {
    let case = case()?;
    let database = case.database()?;
    std::fs::remove_dir_all(case.cache.path())?;
    case.assert_whole(&case.open()?);
    assert!(database.join("CURRENT").exists());
    Ok(())
}

#[test]
fn segments_that_are_gone_are_written_again() -> TestResult {
    for (gone, with_cache) in [(1, false), (2, false), (1, true), (2, true)] {
        let case = case()?;
        let before = case.segments();
        let packs = objects(&*case.storage, "packs/").len() as u64;
        assert_eq!((before, packs), (2, 4));
        case.database()?;
        for name in objects(&*case.storage, "index/").iter().take(gone) {
            case.storage.delete(name)?;
        }
        if !with_cache {
            std::fs::remove_dir_all(case.cache.path())?;
        }
        case.assert_whole(&case.open()?);
        // A cache that knows more than the repository's segments do is good enough to read with; a rebuild mends them.
        assert_eq!(case.segments(), if with_cache { before - gone } else { before }, "{gone} {with_cache}");
        let report = case.open()?.rebuild_index()?;
        assert!(report.damage.is_empty() && report.segments_not_written.is_none(), "{report:?}");
        assert_eq!(report.adopted_packs, if with_cache { gone as u64 * 2 } else { 0 });
        assert_eq!((report.packs, case.segments()), (packs, before));
        // The new segments serve another host by themselves.
        let elsewhere = tempfile::tempdir()?;
        let repository = open(case.storage.clone(), elsewhere.path())?;
        case.assert_whole(&repository);
        assert_eq!(repository.rebuild_index()?.adopted_packs, 0);
    }
    Ok(())
}

#[test]
fn a_writer_whose_cache_knows_segments_that_are_gone_makes_it_anew() -> TestResult {
    let case = case()?;
    case.database()?;
    for name in objects(&*case.storage, "index/") {
        case.storage.delete(&name)?;
    }
    let bytes = dense_volume(9, 4);
    let plan = Plan::new();
    back_up(&case.open()?, &volume("three"), &bytes, &plan)?;
    let repository = case.open()?;
    assert_backup(&repository, &volume("three"), plan.id, &bytes);
    case.assert_whole(&repository);
    // One of the new session, and one for each of the two sessions whose packs were taken in.
    assert_eq!(case.segments(), 3);
    Ok(())
}

fn read_only(storage: Arc<Memory>) -> Arc<Faulty<Arc<Memory>>> {
    let faulty = Faulty::new(storage);
    faulty.add(Rule::any().when(|request| request.kind.is_change()).error(|request| BackendError::ReadOnly {
        operation: "write",
        name: request.name.to_owned(),
        source: std::io::ErrorKind::ReadOnlyFilesystem.into(),
    }));
    Arc::new(faulty)
}

#[test]
fn a_repository_that_may_only_be_read_is_read() -> TestResult {
    for without_segments in [false, true] {
        let case = case()?;
        if without_segments {
            for name in objects(&*case.storage, "index/") {
                case.storage.delete(&name)?;
            }
        }
        let elsewhere = tempfile::tempdir()?;
        let repository = open(read_only(case.storage.clone()), elsewhere.path())?;
        case.assert_whole(&repository);
        let report = repository.rebuild_index()?;
        assert_eq!(report.segments_not_written.is_some(), without_segments);
        assert_eq!(report.packs, 4);
        case.assert_whole(&repository);
        assert!(repository.start_session("a test").is_err());
        // The index is whole, so that the next command does not make it again.
        let again = open(read_only(case.storage.clone()), elsewhere.path())?;
        case.assert_whole(&again);
    }
    Ok(())
}

/// Breaks the index in one way each; what is left is made anew, whatever it is.
#[test]
fn a_broken_index_is_made_anew() -> TestResult {
    type Break = fn(&Path);
    let breaks: [(&str, Break); 11] = [
        ("empty CURRENT", |index| std::fs::write(index.join("CURRENT"), b"").expect("written")),
        ("garbage in CURRENT", |index| std::fs::write(index.join("CURRENT"), b"garbage\n").expect("written")),
        ("CURRENT is gone", |index| std::fs::remove_file(index.join("CURRENT")).expect("removed")),
        ("no manifest", |index| {
            files(index, "").iter().filter(|path| path.to_string_lossy().contains("MANIFEST")).for_each(|path| {
                std::fs::remove_file(path).expect("removed");
            });
        }),
        ("garbage in all files", |index| {
            for path in files(index, "") {
                std::fs::write(path, b"garbage").expect("written");
            }
        }),
        ("all files are empty", |index| {
            for path in files(index, "") {
                std::fs::write(path, b"").expect("written");
            }
        }),
        ("no tables", |index| {
            for path in files(index, ".sst") {
                std::fs::remove_file(path).expect("removed");
            }
        }),
        ("truncated tables", |index| {
            for path in files(index, ".sst") {
                let bytes = std::fs::read(&path).expect("read");
                std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
            }
        }),
        ("tables with zeroed blocks", |index| {
            for path in files(index, ".sst") {
                let mut bytes = std::fs::read(&path).expect("read");
                let end = bytes.len() / 3;
                bytes[..end].fill(0);
                std::fs::write(&path, &bytes).expect("written");
            }
        }),
        ("a flipped bit in each table", |index| {
            for path in files(index, ".sst") {
                let mut bytes = std::fs::read(&path).expect("read");
                bytes[20] ^= 1;
                std::fs::write(&path, &bytes).expect("written");
            }
        }),
        ("a folder without anything", |index| {
            std::fs::remove_dir_all(index).expect("removed");
            std::fs::create_dir(index).expect("made");
        }),
    ];
    for (name, breaking) in breaks {
        let case = case()?;
        let index = case.database()?;
        assert!(!files(&index, ".sst").is_empty(), "there is something to break");
        breaking(&index);
        let repository = case.open()?;
        if let Err(error) = repository.refresh_index() {
            panic!("{name}: {error}: {}", whole_text(&error));
        }
        case.assert_whole(&repository);
    }
    Ok(())
}

#[test]
fn an_index_of_another_repository_is_made_anew() -> TestResult {
    let (one, other) = (case()?, case()?);
    let (path, foreign) = (one.database()?, other.database()?);
    std::fs::remove_dir_all(&path)?;
    std::fs::rename(foreign, &path)?;
    one.assert_whole(&one.open()?);
    Ok(())
}

/// The label that says how keys and values are to be read: with another one, the index is not used.
#[test]
fn an_index_of_another_schema_is_made_anew() -> TestResult {
    let case = case()?;
    let path = case.database()?;
    let database = rocksdb::DB::open_cf(&rocksdb::Options::default(), &path, ["default", "chunks"])?;
    database.put(b"schema", b"0")?;
    // Wrong under the old schema: every chunk would be missing.
    let chunks = database.cf_handle("chunks").ok_or("no table of chunks")?;
    database.delete_range_cf(chunks, &[0_u8; 16][..], &[0xff_u8; 17][..])?;
    database.flush_cf(chunks)?;
    database.flush()?;
    drop(database);
    case.assert_whole(&case.open()?);
    Ok(())
}

#[test]
fn a_cache_folder_that_can_not_be_made_is_named() -> TestResult {
    let case = case()?;
    let file = case.cache.path().join("a file");
    std::fs::write(&file, b"")?;
    let repository = open(case.storage.clone(), &file)?;
    let error = repository.refresh_index().expect_err("a file is no folder");
    assert!(matches!(error, Error::Cache { .. }) && error.to_string().contains("a file"), "{error}");
    // Records need no index.
    let (vm, id, _) = &case.backups[0];
    assert!(repository.record(vm, *id).is_ok());
    Ok(())
}

#[test]
fn what_one_instance_stores_another_finds_after_a_refresh() -> TestResult {
    let case = case()?;
    let (writer, reader) = (case.open()?, case.open()?);
    reader.refresh_index()?;
    let mut places = Vec::new();
    for round in 0..12 {
        let chunk = noise(1000 + round, CHUNK);
        let id = ChunkId::of(&chunk);
        let session = writer.start_session("a test")?;
        store(&session, Content::Data, &[(id, &chunk)], &Plan::new())?;
        session.flush()?;
        reader.locate(&[id], &mut places)?;
        assert!(places[0].is_none(), "round {round}: the index is as it was when it was opened");
        reader.refresh_index()?;
        assert_eq!(read_chunk(&reader, id)?, chunk, "round {round}");
    }
    case.assert_whole(&reader);
    Ok(())
}

/// An index that was opened stays usable while others write to it, compact it, and make it anew.
#[test]
fn a_reader_is_not_disturbed_by_a_rebuild() -> TestResult {
    let case = case()?;
    let reader = case.open()?;
    reader.refresh_index()?;
    case.open()?.rebuild_index()?;
    std::fs::remove_dir_all(case.cache.path())?;
    case.assert_whole(&reader);
    Ok(())
}

#[test]
fn many_instances_share_a_cache_folder() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    const ROUNDS: u64 = 6;
    let stored = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8_u64)
            .map(|writer| {
                let (storage, cache) = (storage.clone(), cache.path());
                scope.spawn(move || -> Result<Vec<(VolumeId, BackupId, Vec<u8>)>, Error> {
                    let repository = open(storage, cache)?;
                    let vm = volume(&format!("vm-{writer}"));
                    let mut stored = Vec::new();
                    for round in 0..ROUNDS {
                        // Half of it is the same for all writers.
                        let bytes = [dense_volume(round, 6), dense_volume(100 + writer * ROUNDS + round, 6)].concat();
                        let plan = Plan::new();
                        back_up(&repository, &vm, &bytes, &plan)?;
                        repository.refresh_index()?;
                        assert_backup(&repository, &vm, plan.id, &bytes);
                        stored.push((vm.clone(), plan.id, bytes));
                    }
                    Ok(stored)
                })
            })
            .collect();
        let joined = writers.into_iter().map(|writer| writer.join().expect("a writer does not panic"));
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    let (repository, elsewhere) = (open(storage.clone(), cache.path())?, tempfile::tempdir()?);
    let fresh = open(storage.clone(), elsewhere.path())?;
    for (vm, id, bytes) in stored.iter().flatten() {
        assert_backup(&repository, vm, *id, bytes);
        assert_backup(&fresh, vm, *id, bytes);
    }
    assert_eq!(fresh.rebuild_index()?.adopted_packs, 0);
    assert_eq!(repository.packs()?.len(), objects(&*storage, "packs/").len());
    Ok(())
}

/// More chunks than directories fit into memory: packs are dropped and read again.
#[test]
fn a_small_memory_finds_every_chunk() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let options = OpenOptions { memory_bytes: 1, ..OpenOptions::new(cache.path()) };
    let repository = Repository::open(storage.clone(), &options)?;
    let session = repository.start_session("a test")?;
    let mut packs = session.pack_builder(Content::Data);
    let count = 10 * PACK_MAX_CHUNKS as u64;
    let chunk = |n: u64| n.to_be_bytes();
    for first in (0..count).step_by(2048) {
        let plain: Vec<u8> = (first..first + 2048).flat_map(chunk).collect();
        let listed = (first..first + 2048).map(|n| FrameChunk { id: ChunkId::of(&chunk(n)), length: 8 }).collect();
        if let Some(pack) = packs.push(frame::encode(&plain, listed, false, Compression::default())?)? {
            session.store_pack(&pack)?;
        }
    }
    if let Some(pack) = packs.finish()? {
        session.store_pack(&pack)?;
    }
    session.flush()?;
    assert_eq!(objects(&*storage, "packs/").len(), 10);
    repository.refresh_index()?;
    let mut places = Vec::new();
    // In order, then jumping from pack to pack; with ids between that are not there.
    let orders: [Vec<u64>; 2] =
        [(0..count).collect(), (0..20_000).map(|n| n * 7919 * PACK_MAX_CHUNKS as u64 / 3 % count).collect()];
    for order in orders {
        for numbers in order.chunks(1000) {
            let mut ids: Vec<_> = numbers.iter().map(|n| ChunkId::of(&chunk(*n))).collect();
            ids.push(ChunkId::of(b"not there"));
            repository.locate(&ids, &mut places)?;
            assert!(places.pop().flatten().is_none());
            for (id, place) in ids.iter().zip(&places) {
                let Some(Location { pack, slot }) = place else { panic!("{id} was not found") };
                assert_eq!(pack.directory().ids().get(*slot as usize), Some(id));
            }
        }
    }
    let last = read_chunk(&repository, ChunkId::of(&chunk(count - 1)))?;
    assert_eq!(last, chunk(count - 1));
    Ok(())
}

/// Looking up what was written together asks the storage once for each pack, not for each chunk.
#[test]
fn chunks_that_were_written_together_are_found_together() -> TestResult {
    let case = case()?;
    let recording = Arc::new(cinderblock_backend::Recording::new(case.storage.clone()));
    let repository = open(recording.clone(), case.cache.path())?;
    repository.refresh_index()?;
    recording.reset();
    let (_, _, bytes) = &case.backups[0];
    let chunks = bytes.chunks(CHUNK).filter(|chunk| chunk.iter().any(|byte| *byte != 0));
    let ids: Vec<_> = chunks.map(ChunkId::of).collect();
    let mut places = Vec::new();
    repository.locate(&ids, &mut places)?;
    assert!(places.iter().all(Option::is_some));
    let calls: u64 = recording.tallies().iter().map(|(_, tally)| tally.calls).sum();
    assert_eq!(calls, 2, "{:?}", recording.tallies());
    assert_eq!(recording.tally(Operation::GetTail).calls, 1);
    Ok(())
}

/// One unreadable block of the table of chunks, which is not read when the index is opened, made every backup on the host
/// fail until somebody deleted the cache folder.
#[test]
fn a_block_that_turns_out_unreadable_is_made_anew() -> TestResult {
    let case = case()?;
    let index = case.database()?;
    let size = |path: &PathBuf| std::fs::metadata(path).expect("a file").len();
    let table = files(&index, ".sst").into_iter().max_by_key(size).expect("a table");
    let mut bytes = std::fs::read(&table)?;
    // The start of the largest table holds chunks; what opening reads stands in other tables, or at the end.
    bytes[20] ^= 1;
    std::fs::write(&table, &bytes)?;
    let repository = case.open()?;
    repository.refresh_index()?;
    case.assert_whole(&repository);
    let mut places = Vec::new();
    let ids: Vec<_> = case.backups.iter().flat_map(|(_, _, bytes)| bytes.chunks(CHUNK).map(ChunkId::of)).collect();
    repository.locate(&ids, &mut places)?;
    assert!(places.iter().filter(|place| place.is_some()).count() > 10);
    Ok(())
}
