//! With a storage that is far away, many requests are under way at the same time, and no more than memory allows.

mod far;

use std::sync::Arc;

use cinderblock_backend::{Error as BackendError, Kind, Memory, Recording, Throttled};
use cinderblock_pipeline::{Control, Error, ReadData, Target, VerifyOptions};
use cinderblock_store::gc::{GcOptions, Observer};
use far::*;

/// What engine memory the hosts have.
const MEMORY: usize = 96 << 20;

/// A read of many frames of data: not of a header, nor of the map, which the planner waits for.
fn frames_of_a_pack(name: &str, bytes: usize) -> bool {
    name.starts_with("packs/") && bytes > 512 << 10
}

fn storage() -> Arc<Far> {
    let storage = Arc::new(Far::default());
    create(&*storage);
    storage
}

#[test]
fn packs_are_stored_together_and_the_segment_after_all_of_them() {
    let storage = storage();
    storage.hold(3, |name, _| name.starts_with("packs/"), || Ok(()));
    let recording = Arc::new(Recording::with_log(Arc::clone(&storage)));
    let host = Host::new(&recording);
    let record = host.engine.backup(&host.repository, source(&volume()), &options("vm"), &Control::default()).unwrap();

    let seen = storage.seen();
    assert_eq!(seen.requests, record.data_packs.len() + record.map_packs.len());
    // The packs that are filled, hashed and compressed take the rest.
    assert!(seen.bytes_at_once <= MEMORY / 2, "{seen:?}");
    let puts: Vec<_> = recording.take_log().into_iter().filter(|entry| entry.kind == Kind::Put).collect();
    let last_pack = puts.iter().rposition(|put| put.name.starts_with("packs/")).unwrap();
    let segment = puts.iter().position(|put| put.name.starts_with("index/")).unwrap();
    let backup = puts.iter().position(|put| put.name.starts_with("backups/")).unwrap();
    assert!(last_pack < segment && segment < backup);
    let mut bytes = Vec::new();
    host.engine.restore_to_writer(&host.repository, &record, &mut bytes, &Control::default()).unwrap();
    assert!(bytes == volume());
}

#[test]
fn one_upload_of_many_that_fails_leaves_no_backup() {
    let storage = storage();
    let full = || Err(BackendError::Stopped);
    storage.hold(3, |name, _| name.starts_with("packs/"), full);
    let host = Host::new(&storage);
    let failed = host.engine.backup(&host.repository, source(&volume()), &options("vm"), &Control::default());
    assert!(matches!(failed, Err(Error::Store(_))), "{failed:?}");
    assert!(storage.seen().requests >= 3);
    assert!(host.repository.backups(None).unwrap().is_empty());
    assert!(host.repository.sessions().unwrap().is_empty());
    // What the others stored is named by a segment: the next attempt finds it.
    let again = host.engine.backup(&host.repository, source(&volume()), &options("vm"), &Control::default()).unwrap();
    assert!(again.statistics.new_bytes < volume().len() as u64);
    let everything = VerifyOptions { backups: None, read_data: ReadData::All };
    assert!(host.engine.verify(&host.repository, &everything, &Control::default()).unwrap().is_clean());
}

#[test]
fn a_backup_that_is_asked_to_stop_begins_no_further_uploads() {
    let storage = storage();
    let control = Control::default();
    let cancel = control.cancel.clone();
    storage.hold(
        3,
        |name, _| name.starts_with("packs/"),
        move || {
            cancel.cancel();
            Ok(())
        },
    );
    let host = Host::new(&storage);
    let stopped = host.engine.backup(&host.repository, source(&volume()), &options("vm"), &control);
    assert!(matches!(stopped, Err(Error::Cancelled { .. })), "{stopped:?}");
    // One may have been on its way to a thread that had become free.
    assert!(storage.seen().requests <= 4);
    assert!(host.repository.backups(None).unwrap().is_empty());
}

#[test]
fn restores_and_verify_read_together_within_their_memory() {
    let storage = storage();
    let host = Host::new(&storage);
    let record = host.engine.backup(&host.repository, source(&volume()), &options("vm"), &Control::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");

    // Half of the memory is for jobs: of each, its stored and plain bytes.
    storage.hold(8, frames_of_a_pack, || Ok(()));
    host.engine.restore(&host.repository, &record, &Target::New(path.clone()), &Control::default()).unwrap();
    assert!(std::fs::read(&path).unwrap() == volume());
    let seen = storage.seen();
    assert!(seen.bytes_at_once <= MEMORY / 2 && seen.requests < 40, "{seen:?}");

    std::fs::write(&path, vec![1; volume().len()]).unwrap();
    storage.hold(8, frames_of_a_pack, || Ok(()));
    host.engine.restore(&host.repository, &record, &Target::Existing(path.clone()), &Control::default()).unwrap();
    assert!(std::fs::read(&path).unwrap() == volume());
    assert!(storage.seen().bytes_at_once <= MEMORY / 2);

    storage.hold(4, frames_of_a_pack, || Ok(()));
    let mut bytes = Vec::new();
    host.engine.restore_to_writer(&host.repository, &record, &mut bytes, &Control::default()).unwrap();
    assert!(bytes == volume());
    assert!(storage.seen().bytes_at_once <= MEMORY / 4);

    storage.hold(8, frames_of_a_pack, || Ok(()));
    let everything = VerifyOptions { backups: None, read_data: ReadData::All };
    assert!(host.engine.verify(&host.repository, &everything, &Control::default()).unwrap().is_clean());
    assert!(storage.seen().bytes_at_once <= MEMORY / 4);
}

#[test]
fn a_copy_reads_together_and_stores_together() {
    let (from, to) = (storage(), storage());
    let (here, there) = (Host::new(&from), Host::new(&to));
    let record = here.engine.backup(&here.repository, source(&volume()), &options("vm"), &Control::default()).unwrap();
    from.hold(4, frames_of_a_pack, || Ok(()));
    to.hold(3, |name, _| name.starts_with("packs/"), || Ok(()));
    here.engine.copy(&here.repository, &record, &there.repository, &Control::default()).unwrap();
    assert!(from.seen().bytes_at_once <= MEMORY / 4);
    assert!(to.seen().bytes_at_once <= MEMORY / 2);
    let mut bytes = Vec::new();
    there.engine.restore_to_writer(&there.repository, &record_of(&there), &mut bytes, &Control::default()).unwrap();
    assert!(bytes == volume());
}

/// A collector read one record after the other, and then one pack after the other: on a storage that takes 50 ms for each, hours for a repository of
/// 50,000 small backups.
#[test]
fn a_collector_reads_records_together_and_their_packs_together() {
    let storage = storage();
    let host = Host::new(&storage);
    for number in 0..8 {
        host.engine
            .backup(&host.repository, source(&[number + 1; CHUNK]), &options("vm"), &Control::default())
            .unwrap();
    }
    for of_records in [true, false] {
        // A host that has kept no directory. Whether the repository is what it says, it has found out.
        let host = Host::new(&storage);
        drop(host.repository.start_session("a look").unwrap());
        storage.hold(
            // Of packs, those whose ids begin alike wait for each other.
            if of_records { 8 } else { 3 },
            move |name, bytes| match of_records {
                true => name.starts_with("backups/"),
                false => name.starts_with("packs/") && bytes == 64,
            },
            || Ok(()),
        );
        let report = host.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
        assert_eq!((report.backups, report.packs, report.condemned), (8, 8, 0));
        // Each once: nothing was condemned, and so nothing is marked again.
        assert_eq!(storage.seen().requests, 8);
    }
    storage.hold(8, |name, _| name.starts_with("backups/"), || Ok(()));
    assert_eq!(Host::new(&storage).repository.usage().unwrap().backups, 8);
    storage.seen();
}

fn record_of(host: &Host) -> cinderblock_store::Record {
    let (volume, id) = host.repository.backups(None).unwrap().pop().unwrap();
    host.repository.record(&volume, id).unwrap()
}

/// A storage that answers at once is asked one thing after the other by each worker, as before.
#[test]
fn a_storage_that_answers_at_once_is_not_asked_by_more_threads_than_work() {
    let near = Throttled::new(Memory::new()).bytes_per_second(u64::MAX);
    let recording = Arc::new(Recording::new(near));
    create(&*recording);
    let host = Host::new(&recording);
    let record = host.engine.backup(&host.repository, source(&volume()), &options("vm"), &Control::default()).unwrap();
    assert_eq!(recording.most_at_once(Kind::Put), 1);
    recording.reset();
    host.engine.restore_to_writer(&host.repository, &record, &mut std::io::sink(), &Control::default()).unwrap();
    assert!(recording.most_at_once(Kind::ReadInto) <= 2);
}
