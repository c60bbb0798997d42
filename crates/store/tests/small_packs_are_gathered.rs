//! Each backup leaves a small pack or two, however little is new in it. A collector that is asked to copies them together; every backup stays what it was.

mod common;

use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::{Kind, Memory, Recording, RetentionMode, Throttled};
use cinderblock_chunker::ChunkSize;
use cinderblock_store::Secret;
use cinderblock_store::gc::{GcOptions, GcReport, Observer};
use cinderblock_store::{ObjectLock, OpenOptions, Record, Repository};
use common::*;

/// Small packs of one kind from which on they are copied together.
const GATHER_FROM: usize = 32;

type Recorded = Arc<Recording<Arc<Memory>>>;

/// A repository in memory, and backups of it with their bytes.
struct Place {
    storage: Recorded,
    secret: Option<Secret>,
    cache: tempfile::TempDir,
    backups: Vec<(Record, Vec<u8>)>,
}

impl Place {
    fn new(encrypted: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let storage = Arc::new(Recording::with_log(Arc::new(Memory::new())));
        let secret = if encrypted { Some(Secret::generate_key_file()?) } else { None };
        match &secret {
            None => create(&*storage)?,
            Some(secret) => drop(Repository::create_encrypted(&*storage, ChunkSize::MINIMUM, secret, "")?),
        }
        Ok(Self { storage, secret, cache: tempfile::tempdir()?, backups: Vec::new() })
    }

    fn repository(&self) -> Result<Repository, cinderblock_store::Error> {
        let options = OpenOptions { secret: self.secret.clone(), ..OpenOptions::new(self.cache.path()) };
        Repository::open(self.storage.clone(), &options)
    }

    /// So many backups of volumes of their own, some of which share a chunk; each brings a pack of data and, as its map is one node, none of maps.
    fn back_up(&mut self, count: usize) -> TestResult {
        let repository = self.repository()?;
        for _ in 0..count {
            let number = self.backups.len() as u64;
            let bytes = [noise(number, 2 * CHUNK), prose(number / 3, CHUNK), noise(number, 100)].concat();
            let plan = Plan { created_at: 1_790_000_000_000_000 + number as i64, ..Plan::new() };
            let record = back_up(&repository, &volume(&format!("vm-{number}")), &bytes, &plan)?;
            self.backups.push((record, bytes));
        }
        Ok(())
    }

    fn packs(&self) -> usize {
        objects(&*self.storage, "packs/").len()
    }

    fn collect(&self, gather: bool, dry_run: bool) -> Result<GcReport, cinderblock_store::Error> {
        let options = GcOptions { grace: Duration::ZERO, gather, dry_run, ..GcOptions::default() };
        self.repository()?.collect_garbage(&options, &Observer::new(&|_| true))
    }

    /// All backups are what they were, on this host, and on one that has nothing.
    fn check(&self) -> TestResult {
        let fresh = tempfile::tempdir()?;
        let options = OpenOptions { secret: self.secret.clone(), ..OpenOptions::new(fresh.path()) };
        for repository in [self.repository()?, Repository::open(self.storage.clone(), &options)?] {
            let usage = repository.usage()?;
            assert_eq!((usage.backups, usage.missing), (self.backups.len() as u64, 0));
            for (record, bytes) in &self.backups {
                assert_backup(&repository, &record.volume, record.id, bytes);
            }
        }
        Ok(())
    }
}

#[test]
fn many_small_packs_become_one_and_every_backup_stays() -> TestResult {
    for encrypted in [false, true] {
        let mut place = Place::new(encrypted)?;
        place.back_up(GATHER_FROM + 8)?;
        let before = place.packs();
        assert!(before >= GATHER_FROM + 8);
        let report = place.collect(false, false)?;
        assert_eq!((report.condemned, report.gathered, place.packs()), (0, 0, before), "nobody asked for it");
        let report = place.collect(true, true)?;
        assert_eq!((report.gathered, report.freed_bytes, place.packs()), (before as u64, 0, before), "{report:?}");

        place.storage.take_log();
        let report = place.collect(true, false)?;
        assert_eq!((report.gathered, report.repacked, report.deleted), (before as u64, before as u64, before as u64));
        assert_eq!(place.packs(), 1);
        let log = place.storage.take_log();
        let of_packs = |kind| log.iter().filter(|entry| entry.kind == kind && entry.name.starts_with("packs/")).count();
        // Whole and once each for copying; marking had read the directory of each.
        assert_eq!((of_packs(Kind::Get), of_packs(Kind::GetTail)), (before, before));
        assert!(of_packs(Kind::ReadInto) <= before, "headers");
        place.check()?;

        let report = place.collect(true, false)?;
        assert_eq!((report.condemned, report.copied_bytes), (0, 0), "one alone is as good as another");
        // The one that was made is worth being copied only with as much as it has.
        place.back_up(GATHER_FROM - 2)?;
        assert_eq!(place.collect(true, false)?.gathered, 0);
        place.back_up(2)?;
        assert_eq!(place.collect(true, false)?.gathered, GATHER_FROM as u64);
        assert_eq!(place.packs(), 2);
        place.back_up(GATHER_FROM)?;
        assert_eq!(place.collect(true, false)?.gathered, GATHER_FROM as u64 + 2);
        assert_eq!(place.packs(), 1);
        place.check()?;
    }
    Ok(())
}

/// Records name for ever the packs that their backups were in: where many requests are under way at once, each of these was asked for again, in vain.
#[test]
fn packs_that_were_gathered_are_not_asked_for_again() -> TestResult {
    let storage = Arc::new(Recording::with_log(Arc::new(Memory::new())));
    create(&*storage)?;
    let cache = tempfile::tempdir()?;
    let far = Arc::new(Throttled::new(Arc::clone(&storage)).wanting_in_flight(8));
    let repository = open(far, cache.path())?;
    for number in 0..GATHER_FROM as u64 {
        back_up(&repository, &volume(&format!("vm-{number}")), &noise(number, CHUNK), &Plan::new())?;
    }
    let before = objects(&*storage, "packs/");
    let options = GcOptions { grace: Duration::ZERO, gather: true, ..GcOptions::default() };
    let report = repository.collect_garbage(&options, &Observer::new(&|_| true))?;
    assert_eq!(report.gathered, GATHER_FROM as u64);
    storage.take_log();
    repository.collect_garbage(&options, &Observer::new(&|_| true))?;
    repository.usage()?;
    let log = storage.take_log();
    assert!(log.iter().any(|entry| entry.name.starts_with("packs/")));
    let vain = log.iter().filter(|entry| before.iter().any(|name| name.as_str() == entry.name));
    assert_eq!(vain.count(), 0);
    Ok(())
}

/// What is gathered takes room before any is freed: what nobody needs goes first.
#[test]
fn what_is_dead_goes_before_anything_is_gathered() -> TestResult {
    let mut place = Place::new(false)?;
    place.back_up(2 * GATHER_FROM)?;
    let repository = place.repository()?;
    let dead = place.backups.split_off(GATHER_FROM + 4);
    for (record, _) in &dead {
        repository.delete_backup(&record.volume, record.id)?;
    }
    drop(repository);
    place.storage.take_log();
    let report = place.collect(true, false)?;
    assert_eq!((report.packs, place.packs()), (2 * GATHER_FROM as u64, 1), "{report:?}");
    assert_eq!(report.gathered, GATHER_FROM as u64 + 4);
    assert_eq!((report.deleted, report.pending), (2 * GATHER_FROM as u64, 0));
    let log = place.storage.take_log();
    let first_put = log.iter().position(|entry| entry.kind == Kind::Put && entry.name.starts_with("packs/"));
    let deleted_before = log.iter().take(first_put.unwrap_or(0));
    let deleted_before = deleted_before.filter(|entry| entry.kind == Kind::Delete && entry.name.starts_with("packs/"));
    assert_eq!(deleted_before.count(), dead.len());
    place.check()
}

/// A backup at work may rely on packs that it wrote, and the collector does not know of what it will refer to.
#[test]
fn packs_of_sessions_at_work_are_left() -> TestResult {
    let mut place = Place::new(false)?;
    place.back_up(GATHER_FROM)?;
    let repository = place.repository()?;
    let session = repository.start_session("a backup that runs")?;
    let bytes = noise(999, 3 * CHUNK);
    let mut record = write_all_but_record(&repository, &session, &volume("late"), &bytes, &Plan::new())?;
    let report = place.collect(true, false)?;
    assert_eq!((report.gathered, report.deleted), (GATHER_FROM as u64, 0), "what is condemned waits for it");
    assert_eq!((report.pending, report.waiting.len()), (GATHER_FROM as u64, 1));
    session.commit(&mut record)?;
    place.backups.push((record, bytes));
    place.check()?;
    assert_eq!(place.collect(true, false)?.deleted, GATHER_FROM as u64);
    assert_eq!(place.packs(), 2);
    place.check()
}

#[test]
fn a_repository_with_locks_keeps_its_packs() -> TestResult {
    let storage = Arc::new(cinderblock_backend::Retaining::new(Arc::new(Memory::new()), std::time::SystemTime::now()));
    create(&*storage)?;
    let cache = tempfile::tempdir()?;
    let repository = open(storage.clone(), cache.path())?;
    repository.set_object_lock(ObjectLock { period: Duration::from_secs(86_400), mode: RetentionMode::Governance })?;
    for number in 0..GATHER_FROM as u64 {
        back_up(&repository, &volume("vm"), &noise(number, CHUNK), &Plan::new())?;
    }
    let before = objects(&*storage, "packs/");
    let options = GcOptions { gather: true, ..GcOptions::default() };
    let report = repository.collect_garbage(&options, &Observer::new(&|_| true))?;
    assert_eq!((report.gathered, report.locked.packs), (0, 0), "{report:?}");
    assert_eq!(objects(&*storage, "packs/"), before);
    Ok(())
}
