//! Garbage collection where the n-th operation on the storage fails, for every n: nothing is lost, and the next one does what this one
//! did not.

mod common;

use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::{Faulty, Memory, Rule};
use cinderblock_store::gc::{GcOptions, GcReport, Observer};
use cinderblock_store::{Clock, Error, OpenOptions, Repository, Timestamp};
use common::*;

/// A clock that is so much ahead, and on which no time passes while somebody sleeps.
#[derive(Debug)]
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::from_microseconds(Timestamp::now().microseconds() + self.0.as_micros() as i64)
    }

    fn sleep(&self, _: Duration) {}
}

fn days_ahead(
    days: u64,
    backend: Arc<dyn cinderblock_backend::Backend>,
    cache: &std::path::Path,
) -> Result<Repository, Error> {
    let clock = Arc::new(Ahead(Duration::from_secs(days * 86_400)));
    Repository::open(backend, &OpenOptions { clock, ..OpenOptions::new(cache) })
}

fn collect(repository: &Repository) -> Result<GcReport, Error> {
    let options = GcOptions { repack_below: 90, ..GcOptions::default() };
    repository.collect_garbage(&options, &Observer::new(&|_| true))
}

/// Three volumes with something in common; one of them was deleted.
fn story(storage: &Arc<Memory>, cache: &std::path::Path) -> Result<Vec<(Plan, Vec<u8>)>, Error> {
    create(&**storage)?;
    let repository = open(storage.clone(), cache)?;
    let mut kept = Vec::new();
    for n in 0..3 {
        let bytes = [dense_volume(7, 6), dense_volume(n, 20)].concat();
        let plan = Plan { pack_bytes: 2000, ..Plan::new() };
        back_up(&repository, &volume("vm"), &bytes, &plan)?;
        kept.push((plan, bytes));
    }
    let (deleted, _) = kept.remove(0);
    repository.delete_backup(&volume("vm"), deleted.id)?;
    Ok(kept)
}

#[test]
fn whatever_fails_nothing_is_lost_and_the_next_collection_ends_it() -> TestResult {
    let (original, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    let kept = story(&original, cache.path())?;
    for performed in [false, true] {
        let mut failures = 0;
        for n in 0.. {
            let (storage, cache) = (fork(&*original), tempfile::tempdir()?);
            let faulty = Arc::new(Faulty::new(storage.clone()));
            let repository = days_ahead(0, faulty.clone(), cache.path())?;
            let rule = Rule::any().skip(n).times(1);
            faulty.add(if performed { rule.performed() } else { rule });
            let outcome = collect(&repository);
            if faulty.faults() == 0 {
                let report = outcome?;
                assert!(report.deleted > 0 && report.repacked > 0, "{report:?}");
                break;
            }
            failures += 1;
            drop(repository);
            let later = days_ahead(3, storage.clone(), cache.path())?;
            for (plan, bytes) in &kept {
                assert_backup(&later, &volume("vm"), plan.id, bytes);
            }
            // What the failed one left, its announcement among it, goes when it was silent for long.
            collect(&later).map_err(|error| format!("after failure {n} ({performed}): {error}"))?;
            let report = collect(&later)?;
            assert!(report.waiting.is_empty() && report.doubts.is_empty() && report.missing == 0, "{n}: {report:?}");
            for left in ["gc/", "sessions/", "fences/"] {
                assert!(objects(&*storage, left).is_empty(), "after failure {n} ({performed}), {left} is not empty");
            }
            let usage = later.usage()?;
            assert!(usage.unreferenced_bytes * 5 < usage.stored_bytes, "after failure {n}: {usage:?}");
            for (plan, bytes) in &kept {
                assert_backup(&later, &volume("vm"), plan.id, bytes);
            }
        }
        assert!(failures > 20, "{failures} operations");
    }
    Ok(())
}

/// A record that can't be read might need anything.
#[test]
fn nothing_is_deleted_on_doubt() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    let kept = story(&storage, cache.path())?;
    let before = objects(&*storage, "packs/").len();
    let record = objects(&*storage, "backups/").remove(0);
    let mut bytes = cinderblock_backend::Backend::get(&*storage, &record, 1 << 20)?;
    let whole = bytes.clone();
    bytes[100] ^= 1;
    cinderblock_backend::Backend::delete(&*storage, &record)?;
    cinderblock_backend::Backend::put(&*storage, &record, &[&bytes])?;
    let report = collect(&open(storage.clone(), cache.path())?)?;
    assert_eq!((report.doubts.len(), report.condemned, report.deleted), (1, 0, 0), "{report:?}");
    assert_eq!(objects(&*storage, "packs/").len(), before);
    cinderblock_backend::Backend::delete(&*storage, &record)?;
    cinderblock_backend::Backend::put(&*storage, &record, &[&whole])?;
    let repository = open(storage, cache.path())?;
    assert!(collect(&repository)?.deleted > 0);
    for (plan, bytes) in &kept {
        assert_backup(&repository, &volume("vm"), plan.id, bytes);
    }
    Ok(())
}
