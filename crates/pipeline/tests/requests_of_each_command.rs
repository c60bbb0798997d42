//! How often each command asks a storage that is far away for what, as `docs/benchmarks.md` has it: gets, puts, lists, looks for one object, and deletions, from
//! the numbers of packs, segments and backups that there are. These are counts, not times.

mod far;

use std::sync::Arc;

use cinderblock_backend::{Kind, Recording};
use cinderblock_pipeline::{Control, ReadData, Target, VerifyOptions};
use cinderblock_store::Record;
use cinderblock_store::gc::{GcOptions, Observer};
use far::*;

type Recorded = Arc<Recording<Arc<Far>>>;

/// Requests of one command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Requests {
    get: usize,
    put: usize,
    list: usize,
    head: usize,
    delete: usize,
}

/// Those since the last time.
fn requests(recorded: &Recorded) -> Requests {
    let mut counts = Requests::default();
    for entry in recorded.take_log() {
        let count = match entry.kind {
            Kind::Get | Kind::ReadInto | Kind::GetTail => &mut counts.get,
            Kind::Put | Kind::Create | Kind::Write | Kind::Finish => &mut counts.put,
            Kind::Size => &mut counts.head,
            Kind::Delete => &mut counts.delete,
            _ => &mut counts.list,
        };
        *count += 1;
    }
    counts
}

fn packs_of(record: &Record) -> usize {
    record.data_packs.len() + record.map_packs.len()
}

/// Reads of the data: each is as long as the memory lets it be, and at least 3 MiB; of each pack one may be shorter.
fn data_reads(bytes: usize, record: &Record) -> usize {
    bytes.div_ceil(3 << 20) + record.data_packs.len()
}

/// A change in each hundredth chunk.
fn change(bytes: &mut [u8]) {
    bytes.chunks_mut(CHUNK).step_by(100).for_each(|chunk| chunk[0] ^= 1);
}

#[test]
fn a_backup_puts_its_new_packs_and_three_objects_more() {
    let storage = Arc::new(Far::default());
    create(&*storage);
    let recorded = Arc::new(Recording::with_log(Arc::clone(&storage)));
    let (host, control, mut bytes) = (Host::new(&recorded), Control::default(), volume());
    let back_up = |bytes: &[u8]| {
        recorded.take_log();
        let record = host.engine.backup(&host.repository, source(bytes), &options("vm"), &control).unwrap();
        (requests(&recorded), record)
    };
    let (first, record) = back_up(&bytes);
    assert_eq!((first.put, first.get, first.head, first.delete), (packs_of(&record) + 3, 0, 2, 1));
    assert!(first.list <= 10, "{first:?}");

    // Of each pack at most its directory and its header; the parent's record; who is at work, and whether anybody gave up on it.
    let packs = packs_of(&record);
    let (unchanged, record) = back_up(&bytes);
    assert_eq!((unchanged.put, unchanged.delete, record.statistics.new_chunks), (2, 1, 0));
    assert!(unchanged.get <= 2 * packs + 2 && unchanged.list <= 9 && unchanged.head <= 3, "{unchanged:?}");

    change(&mut bytes);
    let (changed, record) = back_up(&bytes);
    assert_eq!(record.statistics.new_chunks as usize, bytes.len().div_ceil(CHUNK).div_ceil(100));
    // What is new fits into a pack, and the nodes of the map into another.
    assert_eq!((changed.put, changed.delete), (2 + 3, 1));
    // The records of two earlier backups, and the segments that the index has not read.
    assert!(changed.get <= 2 * packs + 2 + 2 && changed.list <= 12 && changed.head <= 3, "{changed:?}");
}

#[test]
fn restore_and_verify_read_directories_once_and_data_in_long_reads() {
    let storage = Arc::new(Far::default());
    create(&*storage);
    let recorded = Arc::new(Recording::with_log(Arc::clone(&storage)));
    let (host, control, bytes) = (Host::new(&recorded), Control::default(), volume());
    let record = host.engine.backup(&host.repository, source(&bytes), &options("vm"), &control).unwrap();
    let (packs, reads) = (packs_of(&record), data_reads(bytes.len(), &record));

    let fresh = Host::new(&recorded);
    recorded.take_log();
    let folder = tempfile::tempdir().unwrap();
    let read = fresh.repository.record(&record.volume, record.id).unwrap();
    fresh.engine.restore(&fresh.repository, &read, &Target::New(folder.path().join("volume")), &control).unwrap();
    let restored = requests(&recorded);
    assert_eq!((restored.put, restored.delete, restored.list, restored.head), (0, 0, 1, 1));
    // The record, the directories and headers, the leaves, the data.
    assert!(restored.get <= 1 + 2 * packs + record.map_packs.len() + reads, "{restored:?}");

    let verify = |read_data| {
        let fresh = Host::new(&recorded);
        recorded.take_log();
        let report =
            fresh.engine.verify(&fresh.repository, &VerifyOptions { backups: None, read_data }, &control).unwrap();
        assert!(report.is_clean() && report.segments == 1);
        requests(&recorded)
    };
    // The record; the segment, to check it and to make the index; of each pack directory and header; the leaves.
    let structure = 1 + 2 + 2 * packs + 2 * record.map_packs.len();
    let verified = verify(ReadData::No);
    // Of one backup it is asked by name whether it counts; of several, one listing tells.
    assert_eq!((verified.put, verified.delete, verified.head), (0, 0, 1));
    assert!(verified.get <= structure && verified.list <= 8, "{verified:?}");
    let verified = verify(ReadData::All);
    assert_eq!((verified.put, verified.delete, verified.head), (0, 0, 1));
    assert!(verified.get <= structure + reads + record.map_packs.len() && verified.list <= 8, "{verified:?}");
}

#[test]
fn what_looks_after_backups_asks_for_each_once() {
    const BACKUPS: usize = 6;
    let storage = Arc::new(Far::default());
    create(&*storage);
    let recorded = Arc::new(Recording::with_log(Arc::clone(&storage)));
    let (host, control) = (Host::new(&recorded), Control::default());
    let mut records = Vec::new();
    for number in 1..=BACKUPS {
        let bytes = [number as u8; CHUNK];
        records.push(host.engine.backup(&host.repository, source(&bytes), &options("vm"), &control).unwrap());
    }

    let fresh = Host::new(&recorded);
    recorded.take_log();
    let mut listed = Vec::new();
    for (volume, id) in fresh.repository.backups(None).unwrap() {
        listed.push(fresh.repository.unchecked_record(&volume, id).unwrap());
    }
    fresh.repository.retain_valid(&mut listed, |record| record.session).unwrap();
    assert_eq!(
        (listed.len(), requests(&recorded)),
        (BACKUPS, Requests { get: BACKUPS, list: 2, ..Requests::default() })
    );

    // Of each its marks, before and after; once, whether this is the right repository, and whether it has a policy of locks.
    let gone = &records[..BACKUPS - 2];
    gone.iter().for_each(|record| fresh.repository.delete_backup(&record.volume, record.id).unwrap());
    let deleted = requests(&recorded);
    assert_eq!((deleted.put, deleted.delete), (0, gone.len()));
    assert!(deleted.get <= 1 && deleted.list <= 3 + 2 * gone.len(), "{deleted:?}");

    let collect = || {
        let report = fresh.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
        (report, requests(&recorded))
    };
    let (report, collected) = collect();
    assert_eq!(report.deleted as usize, gone.len());
    // Its announcement and its list of packs. Then the list, its announcement, the packs, and the segments of those packs alone go.
    assert_eq!((collected.put, collected.delete), (2, 2 + 2 * gone.len()));
    // Records and packs that are left twice each, since it looks again; segments to follow, to choose, to delete and to follow again.
    let left = BACKUPS - gone.len();
    assert!(collected.get <= 3 * left + 4 * left + 4 * BACKUPS + 10 && collected.list <= 36, "{collected:?}");
    let (report, idle) = collect();
    assert_eq!((report.deleted, idle.put, idle.delete), (0, 1, 1));
    assert!(idle.get <= left + 2 * left + 3 * left + 8 && idle.list <= 24, "{idle:?}");
}
