//! A backup's id may be used again once the backup is deleted. A collector that had marked the first one took the second for
//! marked, and deleted what only the second one needed.

mod common;

use std::cell::Cell;
use std::sync::Arc;

use cinderblock_backend::Memory;
use cinderblock_store::gc::{GcOptions, Observer, Progress};
use common::*;

#[test]
fn a_name_that_is_used_again_while_a_collector_marks_is_marked_again() -> TestResult {
    let (storage, cache, elsewhere) = (Arc::new(Memory::new()), tempfile::tempdir()?, tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let (first, second, dead) = (dense_volume(1, 8), dense_volume(2, 8), dense_volume(3, 8));
    let plan = Plan::new();
    back_up(&repository, &volume("a"), &first, &plan)?;
    back_up(&repository, &volume("b"), &second, &Plan::new())?;
    let deleted = back_up(&repository, &volume("c"), &dead, &Plan::new())?;
    repository.delete_backup(&deleted.volume, deleted.id)?;

    let other = open(storage.clone(), elsewhere.path())?;
    let again = Cell::new(false);
    let hear = |progress: &Progress| {
        // The backup of `a` is marked by now, and nothing is condemned yet.
        if matches!(progress, Progress::Marking { done: 1, .. }) && !again.replace(true) {
            other.delete_backup(&volume("a"), plan.id).expect("a is there");
            back_up(&other, &volume("a"), &dead, &plan).expect("its id is free");
        }
        true
    };
    let report = repository.collect_garbage(&GcOptions::default(), &Observer::new(&hear))?;
    assert!(again.get() && report.damage.is_empty() && report.doubts.is_empty(), "{report:?}");
    for (name, bytes) in [("a", &dead), ("b", &second)] {
        let record = repository.newest_backup(&volume(name))?.ok_or("it is there")?;
        assert!(read_backup(&repository, &record)? == *bytes, "{name}");
    }
    Ok(())
}
