//! Where a repository has locks, each backup, and all that it shares with others, is kept from being deleted for the whole
//! period from its own commit on.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use cinderblock_backend::{
    Backend, Error as BackendError, Faulty, Kind, Memory, ObjectName, Retaining, RetentionMode, Rule,
};
use cinderblock_store::gc::{GcOptions, GcReport, Observer};
use cinderblock_store::{Clock, Error, ObjectLock, OpenOptions, Repository, Timestamp};
use common::*;

const DAY: u64 = 86_400;
const PERIOD: u64 = 30;

type Storage = Arc<Faulty<Retaining<Memory>>>;

/// A clock that a test sets, in seconds.
#[derive(Debug, Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microseconds(self.0.load(Ordering::Relaxed) * 1_000_000)
    }

    fn sleep(&self, _: Duration) {}
}

fn at(days: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(days * DAY as f64)
}

/// A repository with locks, the storage that keeps them, and the time for both.
struct Scene {
    storage: Arc<Retaining<Arc<Faulty<Memory>>>>,
    faults: Arc<Faulty<Memory>>,
    clock: Arc<TestClock>,
    cache: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let faults = Arc::new(Faulty::new(Memory::new()));
        let storage = Arc::new(Retaining::new(Arc::clone(&faults), at(0.0)));
        create(&*storage)?;
        let scene = Self { storage, faults, clock: Arc::default(), cache: tempfile::tempdir()? };
        let period = Duration::from_secs(PERIOD * DAY);
        scene.repository()?.set_object_lock(ObjectLock { period, mode: RetentionMode::Compliance })?;
        Ok(scene)
    }

    fn open(&self, storage: Arc<dyn Backend>, cache: &Path) -> Result<Repository, Error> {
        Repository::open(storage, &OpenOptions { clock: self.clock.clone(), ..OpenOptions::new(cache) })
    }

    fn repository(&self) -> Result<Repository, Error> {
        self.open(self.storage.clone(), self.cache.path())
    }

    fn set_day(&self, day: f64) {
        self.clock.0.store((day * DAY as f64) as i64, Ordering::Relaxed);
        self.storage.set_time(at(day));
    }

    fn kept_until(&self, name: &ObjectName) -> Option<SystemTime> {
        self.storage.retained(std::slice::from_ref(name)).unwrap().pop().flatten()
    }

    /// Until when all of a folder's objects are kept at least; none where one is not.
    fn all_kept_until(&self, prefix: &str) -> Option<SystemTime> {
        let names = objects(&*self.storage, prefix);
        assert!(!names.is_empty(), "{prefix}");
        names.iter().map(|name| self.kept_until(name)).min().flatten()
    }
}

fn collect(repository: &Repository) -> Result<GcReport, Error> {
    let options = GcOptions { grace: Duration::ZERO, ..GcOptions::default() };
    repository.collect_garbage(&options, &Observer::new(&|_| true))
}

#[test]
fn a_backup_and_all_that_it_needs_are_locked() -> TestResult {
    let scene = Scene::new()?;
    let (repository, plan) = (scene.repository()?, Plan::new());
    assert_eq!(repository.object_lock()?.map(|lock| lock.period), Some(Duration::from_secs(PERIOD * DAY)));
    scene.set_day(1.0);
    // What a failed backup leaves may go at once.
    let session = repository.start_session("fails")?;
    write_all_but_record(&repository, &session, &volume("fails"), &dense_volume(9, 8), &plan)?;
    drop(session);
    assert_eq!(scene.all_kept_until("packs/"), None);
    let report = collect(&repository)?;
    assert_eq!((report.deleted, report.locked.packs), (1, 0), "{report:?}");

    back_up(&repository, &volume("vm"), &sparse_volume(1), &plan)?;
    assert_eq!(scene.all_kept_until("backups/"), Some(at(31.0)));
    assert_eq!(scene.all_kept_until("packs/"), Some(at(38.5)));
    for prefix in ["cinderblock.json", "policy/"] {
        assert!(scene.all_kept_until(prefix) >= Some(at(31.0)), "{prefix}");
    }
    assert_eq!(scene.all_kept_until("index/"), None, "packs say all that segments do");
    Ok(())
}

/// Kopia's issue 1067: snapshots that reused old blobs did not renew their locks, and lost data that an attacker deleted when the old
/// locks were over.
#[test]
fn what_a_new_backup_reuses_is_locked_as_long_as_the_new_backup() -> TestResult {
    let scene = Scene::new()?;
    let bytes = sparse_volume(1);
    back_up(&scene.repository()?, &volume("vm"), &bytes, &Plan::new())?;
    let shared = objects(&*scene.storage, "packs/");
    for day in [5.0, 8.0, 20.0, 36.0, 60.0] {
        scene.set_day(day);
        let (repository, plan) = (scene.repository()?, Plan::new());
        back_up(&repository, &volume("vm"), &bytes, &plan)?;
        assert_eq!(objects(&*scene.storage, "packs/"), shared, "all is shared");
        let record = ObjectName::new(format!("backups/vm/{}", plan.id))?;
        assert_eq!(scene.kept_until(&record), Some(at(day + 30.0)));
        for prefix in ["packs/", "cinderblock.json", "policy/"] {
            assert!(scene.all_kept_until(prefix) >= Some(at(day + 30.0)), "{prefix} on day {day}");
        }
    }
    Ok(())
}

#[test]
fn locks_are_renewed_only_where_less_than_the_period_is_left() -> TestResult {
    let scene = Scene::new()?;
    let bytes = sparse_volume(1);
    let requests = |day: f64, cache: &Path| -> Result<u64, Error> {
        scene.set_day(day);
        let before = scene.storage.requests();
        back_up(&scene.open(scene.storage.clone(), cache)?, &volume("vm"), &bytes, &Plan::new())?;
        Ok(scene.storage.requests() - before)
    };
    let cache = scene.cache.path();
    // Two packs and the record: the descriptor and the policy were locked with the repository.
    assert_eq!(requests(0.0, cache)?, 3);
    assert_eq!(requests(7.4, cache)?, 1);
    assert_eq!(requests(7.6, cache)?, 5);
    assert_eq!(requests(15.0, cache)?, 1);
    // Another host, or one that lost its cache, does not know, and renews.
    assert_eq!(requests(15.0, tempfile::tempdir()?.path())?, 5);
    Ok(())
}

/// A backup whose packs can't be locked is none, and one whose record can't be is reported.
#[test]
fn no_record_comes_before_its_locks() -> TestResult {
    let scene = Scene::new()?;
    let storage: Storage = Arc::new(Faulty::new(Retaining::new(Memory::new(), at(0.0))));
    create(&*storage)?;
    let repository = scene.open(storage.clone(), scene.cache.path())?;
    let period = Duration::from_secs(PERIOD * DAY);
    repository.set_object_lock(ObjectLock { period, mode: RetentionMode::Governance })?;
    let refuse = || {
        Rule::on(Kind::Retain).times(1).error(|request| BackendError::AccessDenied {
            operation: "lock",
            name: request.name.to_owned(),
            advice: "ask somebody".to_owned(),
            source: "403".into(),
        })
    };
    storage.add(refuse());
    let plan = Plan::new();
    let refused = back_up(&repository, &volume("vm"), &sparse_volume(1), &plan).unwrap_err();
    assert!(matches!(refused, Error::Backend(BackendError::AccessDenied { .. })), "{refused}");
    assert!(repository.backups(None)?.is_empty() && repository.sessions()?.is_empty());
    storage.add(refuse().prefix("backups/"));
    let refused = back_up(&repository, &volume("vm"), &sparse_volume(1), &plan).unwrap_err();
    assert!(matches!(&refused, Error::NotLocked { id, .. } if *id == plan.id), "{refused}");
    assert_backup(&repository, &volume("vm"), plan.id, &sparse_volume(1));
    Ok(())
}

#[test]
fn collectors_leave_what_is_locked_until_its_time_is_over() -> TestResult {
    let scene = Scene::new()?;
    let (repository, first, second) = (scene.repository()?, Plan::new(), Plan::new());
    back_up(&repository, &volume("vm"), &dense_volume(1, 20), &first)?;
    scene.set_day(20.0);
    back_up(&repository, &volume("vm"), &dense_volume(2, 20), &second)?;
    let refused = repository.delete_backup(&volume("vm"), first.id).unwrap_err();
    let until = |day: f64| Timestamp::from_microseconds((day * DAY as f64) as i64 * 1_000_000);
    assert!(matches!(refused, Error::Locked { until: told, .. } if told == until(30.0)), "{refused}");
    assert_eq!(repository.backups(None)?.len(), 2);

    scene.set_day(31.0);
    repository.delete_backup(&volume("vm"), first.id)?;
    let packs = objects(&*scene.storage, "packs/");
    for dry_run in [true, false] {
        let options = GcOptions { dry_run, grace: Duration::ZERO, ..GcOptions::default() };
        let report = repository.collect_garbage(&options, &Observer::new(&|_| true))?;
        assert_eq!((report.condemned, report.deleted, report.freed_bytes), (0, 0, 0), "{report:?}");
        assert_eq!((report.locked.packs, report.locked.until), (1, Some(until(37.5))), "{report:?}");
    }
    assert_eq!(objects(&*scene.storage, "packs/"), packs);

    scene.set_day(38.0);
    let report = collect(&repository)?;
    assert_eq!((report.deleted, report.locked.packs, report.locked.until), (1, 0, None), "{report:?}");
    assert_backup(&repository, &volume("vm"), second.id, &dense_volume(2, 20));
    Ok(())
}

/// A writer may lock a pack after a collector has condemned it: the pack stays, with what is needed of it, and nothing is copied again and
/// again.
#[test]
fn a_pack_that_is_locked_after_it_was_condemned_stays() -> TestResult {
    let scene = Scene::new()?;
    let (repository, plan, bytes) = (scene.repository()?, Plan::new(), dense_volume(1, 20));
    let stray = repository.start_session("leaves a pack")?;
    write_all_but_record(&repository, &stray, &volume("vm"), &bytes, &plan)?;
    drop(stray);
    let writer = repository.start_session("uses the pack")?;
    let mut record = write_all_but_record(&repository, &writer, &volume("vm"), &bytes, &plan)?;
    let report = collect(&repository)?;
    assert_eq!((report.condemned, report.pending, report.deleted), (1, 1, 0), "{report:?}");
    writer.commit(&mut record)?;
    for _ in 0..2 {
        let report = collect(&repository)?;
        assert_eq!((report.deleted, report.copied_bytes, report.locked.packs), (0, 0, 1), "{report:?}");
        assert_backup(&repository, &volume("vm"), plan.id, &bytes);
    }
    scene.set_day(40.0);
    let report = collect(&repository)?;
    assert!(report.deleted == 1 && report.copied_bytes > 0, "{report:?}");
    assert_backup(&repository, &volume("vm"), plan.id, &bytes);
    Ok(())
}

/// A storage may refuse where nobody expected it, because another clock is ahead: then the pack stays, and the run goes on.
#[test]
fn a_deletion_that_a_lock_refuses_is_no_failure() -> TestResult {
    let scene = Scene::new()?;
    let (repository, plan) = (scene.repository()?, Plan::new());
    back_up(&repository, &volume("vm"), &dense_volume(1, 20), &plan)?;
    scene.set_day(40.0);
    repository.delete_backup(&volume("vm"), plan.id)?;
    scene.storage.set_time(at(37.0));
    let report = collect(&repository)?;
    assert_eq!((report.deleted, report.locked.packs), (0, 1), "{report:?}");
    scene.set_day(41.0);
    let report = collect(&repository)?;
    assert_eq!((report.deleted, report.locked.packs), (1, 0), "{report:?}");
    assert!(objects(&*scene.storage, "packs/").is_empty() && objects(&*scene.storage, "gc/").is_empty());
    Ok(())
}

/// Whoever may only put could declare a backup void: its locked record stays, and is told of.
#[test]
fn a_locked_record_is_not_removed_for_a_tombstone() -> TestResult {
    let scene = Scene::new()?;
    let (repository, plan) = (scene.repository()?, Plan::new());
    let record = back_up(&repository, &volume("vm"), &dense_volume(1, 20), &plan)?;
    let tombstone = ObjectName::new(format!("tombstones/{}", record.session))?;
    scene.storage.put(&tombstone, &[b"forged"])?;
    let report = collect(&repository)?;
    assert!(report.removed_records.is_empty() && report.deleted == 0, "{report:?}");
    assert!(matches!(report.damage.as_slice(), [Error::LockedVoid { id, .. }] if *id == plan.id), "{report:?}");
    scene.storage.delete(&tombstone)?;
    assert_backup(&repository, &volume("vm"), plan.id, &dense_volume(1, 20));
    Ok(())
}

#[test]
fn a_storage_without_locks_is_refused_and_a_lost_policy_stops_writers() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let lock = ObjectLock { period: Duration::from_secs(DAY), mode: RetentionMode::Compliance };
    let refused = open(storage.clone(), cache.path())?.set_object_lock(lock).unwrap_err();
    assert!(matches!(refused, Error::Backend(BackendError::CannotRetain { .. })), "{refused}");
    assert!(objects(&*storage, "policy/").is_empty());

    let scene = Scene::new()?;
    let policy = ObjectName::new("policy/00000001")?;
    let bytes = bytes_of(&*scene.storage, &policy);
    scene.faults.delete(&policy)?;
    scene.faults.put(&policy, &[&bytes[..bytes.len() - 1]])?;
    let refused = back_up(&scene.repository()?, &volume("vm"), &dense_volume(1, 5), &Plan::new()).unwrap_err();
    assert_names(&refused, &policy, "a backup");
    assert!(scene.repository()?.backups(None)?.is_empty());
    Ok(())
}
