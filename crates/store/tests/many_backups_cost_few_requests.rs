//! What walks through a repository of many small backups asks for each of them once, and not again and again. These are counts, not times.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cinderblock_backend::{Backend, Folder, Kind, Memory, ObjectName, Recording};
use cinderblock_store::gc::{GcOptions, GcReport, Observer};
use cinderblock_store::{Record, Repository, Session, VolumeId};
use common::*;

/// Small segments from which on a collector merges them.
const MERGE_FROM: usize = 64;

type Recorded = Arc<Recording<Arc<Memory>>>;

fn recorded() -> Result<Recorded, Box<dyn std::error::Error>> {
    let storage = Arc::new(Memory::new());
    create(&*storage)?;
    Ok(Arc::new(Recording::with_log(storage)))
}

/// Backs up a small volume so often, each time with another chunk and at a later time.
fn back_up_often(repository: &Repository, name: &str, count: u64) -> Result<Vec<Record>, Box<dyn std::error::Error>> {
    let one = |number| {
        let plan = Plan { created_at: 1_790_000_000_000_000 + number as i64, ..Plan::new() };
        Ok(back_up(repository, &volume(name), &noise(number, CHUNK), &plan)?)
    };
    (0..count).map(one).collect()
}

/// Requests since the last time, by kind and folder.
fn requests(recorded: &Recorded) -> BTreeMap<(Kind, String), usize> {
    let mut counts = BTreeMap::new();
    for entry in recorded.take_log() {
        let folder = entry.name.split('/').next().unwrap_or_default().to_owned();
        *counts.entry((entry.kind, folder)).or_default() += 1;
    }
    counts
}

fn count(requests: &BTreeMap<(Kind, String), usize>, kind: Kind, folder: &str) -> usize {
    requests.get(&(kind, folder.to_owned())).copied().unwrap_or(0)
}

fn collect(repository: &Repository) -> Result<GcReport, cinderblock_store::Error> {
    repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true))
}

/// Puts a tombstone for the session of a record, as a collector does that gave up on it.
fn bury(storage: &dyn Backend, record: &Record) -> TestResult {
    // Readers look whether it is there.
    Ok(storage.put(&ObjectName::new(format!("tombstones/{}", record.session))?, &[b"a tombstone"])?)
}

/// A list of 50,000 backups looked for a tombstone of each of their sessions: as many requests again as records.
#[test]
fn one_listing_tells_of_many_records_whether_they_count() -> TestResult {
    let (recorded, cache) = (recorded()?, tempfile::tempdir()?);
    let repository = open(recorded.clone(), cache.path())?;
    let records = back_up_often(&repository, "vm", 20)?;
    bury(&*recorded, &records[3])?;
    recorded.take_log();

    let mut read = Vec::new();
    for (volume, id) in repository.backups(None)? {
        read.push(repository.unchecked_record(&volume, id)?);
    }
    assert_eq!(read.len(), 20);
    repository.retain_valid(&mut read, |record| record.session)?;
    let expected = [
        ((Kind::List, "backups".to_owned()), 1),
        ((Kind::Get, "backups".to_owned()), 20),
        ((Kind::List, "tombstones".to_owned()), 1),
    ];
    assert_eq!(requests(&recorded), BTreeMap::from(expected));
    assert_eq!(read.len(), 19);
    assert!(read.iter().all(|record| record.id != records[3].id));
    Ok(())
}

/// A listing may not show a tombstone that is there: on such a storage each is asked for by its name.
#[test]
fn where_listings_lag_each_record_is_asked_about() -> TestResult {
    let (place, cache) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let folder = Folder::create(place.path())?.with_settle_delay(std::time::Duration::from_secs(60));
    create(&folder)?;
    let recorded = Arc::new(Recording::with_log(folder));
    let repository = open(recorded.clone(), cache.path())?;
    let records = back_up_often(&repository, "vm", 5)?;
    bury(&*recorded, &records[2])?;
    recorded.take_log();
    let mut read = records.clone();
    repository.retain_valid(&mut read, |record| record.session)?;
    let log = recorded.take_log();
    assert!(log.len() == 5 && log.iter().all(|entry| entry.kind == Kind::Size), "{log:?}");
    assert_eq!(read, [&records[..2], &records[3..]].concat());
    Ok(())
}

/// Every backup looks for its parent, and asked about each backup of the volume whether it counts.
#[test]
fn the_newest_backup_is_found_with_one_question_whether_it_counts() -> TestResult {
    let (recorded, cache) = (recorded()?, tempfile::tempdir()?);
    let repository = open(recorded.clone(), cache.path())?;
    let records = back_up_often(&repository, "vm", 20)?;
    recorded.take_log();
    let newest = |id: &str| repository.newest_backup(&VolumeId::new(id)?);
    assert_eq!(newest("vm")?.as_ref(), records.last());
    let asked = requests(&recorded);
    assert_eq!((count(&asked, Kind::Get, "backups"), count(&asked, Kind::Size, "tombstones")), (20, 1), "{asked:?}");

    // Those that do not count, or can't be read, are passed over, from the newest on.
    bury(&*recorded, &records[19])?;
    bury(&*recorded, &records[18])?;
    overwrite(&*recorded, &repository.record_object(&volume("vm"), records[17].id)?, b"damaged");
    recorded.take_log();
    assert_eq!(newest("vm")?.as_ref(), Some(&records[16]));
    let asked = requests(&recorded);
    assert_eq!((count(&asked, Kind::Get, "backups"), count(&asked, Kind::Size, "tombstones")), (22, 3), "{asked:?}");
    assert_eq!(newest("another")?, None);
    Ok(())
}

fn segments(repository: &Repository) -> Result<usize, cinderblock_store::Error> {
    repository.list_segments().map(|segments| segments.len())
}

/// Reads all backups with a new index; the requests that this took.
fn read_anew(
    recorded: &Recorded,
    cache: &Path,
    records: &[Record],
) -> Result<BTreeMap<(Kind, String), usize>, cinderblock_store::Error> {
    let repository = open(recorded.clone(), cache)?;
    recorded.take_log();
    for (number, record) in (0..).zip(records) {
        assert_eq!(read_backup(&repository, record)?, noise(number, CHUNK));
    }
    Ok(requests(recorded))
}

/// Each backup leaves a segment, however little is new in it. A year of backups of 1,000 volumes made 365,000 of them, which every new index, verify
/// and collection read one by one.
#[test]
fn many_small_segments_become_one_and_stay_one() -> TestResult {
    let (recorded, cache, fresh) = (recorded()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let repository = open(recorded.clone(), cache.path())?;
    let mut records = back_up_often(&repository, "vm", MERGE_FROM as u64 - 1)?;
    assert_eq!(
        (collect(&repository)?.merged_segments, segments(&repository)?),
        (0, MERGE_FROM - 1),
        "few are left alone"
    );

    records.extend(back_up_often(&repository, "vm", MERGE_FROM as u64)?.pop());
    // The others of these had no new chunk, and no segment.
    assert_eq!(segments(&repository)?, MERGE_FROM);
    let report = collect(&repository)?;
    assert_eq!((report.merged_segments, report.deleted, segments(&repository)?), (MERGE_FROM as u64, 0, 1));

    let asked = read_anew(&recorded, fresh.path(), &records)?;
    assert_eq!(count(&asked, Kind::Get, "index"), 1, "{asked:?}");
    // The index that knew the old ones reads the new one, and nothing else: it is not made anew.
    let asked = read_anew(&recorded, cache.path(), &records)?;
    assert!(count(&asked, Kind::Get, "index") <= 1, "{asked:?}");

    recorded.take_log();
    assert_eq!(collect(&repository)?.merged_segments, 0);
    let asked = requests(&recorded);
    assert!(count(&asked, Kind::Get, "index") <= 2 && count(&asked, Kind::Put, "index") == 0, "{asked:?}");
    Ok(())
}

/// By the session that a segment is of, a collector knows that packs which nothing reaches yet are those of a backup that runs.
#[test]
fn segments_of_sessions_at_work_are_left() -> TestResult {
    let (recorded, cache) = (recorded()?, tempfile::tempdir()?);
    let repository = open(recorded.clone(), cache.path())?;
    let records = back_up_often(&repository, "vm", MERGE_FROM as u64)?;
    let session: Session<'_> = repository.start_session("a backup that runs")?;
    let bytes = noise(4711, CHUNK);
    let mut record = write_all_but_record(&repository, &session, &volume("another"), &bytes, &Plan::new())?;
    session.flush()?;

    let collector = open(recorded.clone(), cache.path())?;
    let options = GcOptions { grace: std::time::Duration::ZERO, ..GcOptions::default() };
    let report = collector.collect_garbage(&options, &Observer::new(&|_| true))?;
    assert_eq!((report.merged_segments, report.kept_for_writers, report.condemned), (MERGE_FROM as u64, 1, 0));
    assert_eq!(segments(&repository)?, 2);
    session.commit(&mut record)?;
    assert_backup(&repository, &volume("another"), record.id, &bytes);
    assert_backup(&repository, &volume("vm"), records[5].id, &noise(5, CHUNK));
    Ok(())
}

/// What a segment names that can't be read is not known.
#[test]
fn damaged_segments_are_not_merged() -> TestResult {
    let (recorded, cache) = (recorded()?, tempfile::tempdir()?);
    let repository = open(recorded.clone(), cache.path())?;
    let records = back_up_often(&repository, "vm", MERGE_FROM as u64 + 1)?;
    let damaged = objects(&*recorded, "index/").swap_remove(7);
    overwrite(&*recorded, &damaged, b"damaged");
    // It writes one for the pack that the damaged one named.
    repository.rebuild_index()?;
    assert_eq!(segments(&repository)?, MERGE_FROM + 2);
    let report = collect(&repository)?;
    assert_eq!(report.merged_segments, MERGE_FROM as u64 + 1);
    assert_eq!(segments(&repository)?, 2);
    assert!(objects(&*recorded, "index/").contains(&damaged));
    for (number, record) in (0..).zip(&records) {
        assert_backup(&repository, &volume("vm"), record.id, &noise(number, CHUNK));
    }
    Ok(())
}
