//! Garbage collection beside packs whose directory can't be read: what is in them may be needed, and what is elsewhere too is found
//! there.

mod common;

use std::sync::Arc;

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_store::gc::{GcOptions, GcReport, Observer};
use cinderblock_store::{Error, Repository};
use common::*;

fn collect(repository: &Repository) -> Result<GcReport, Error> {
    repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true))
}

/// Flips a bit of the checksum of a pack's directory.
fn break_directory(storage: &Memory, pack: &ObjectName) -> TestResult {
    let mut bytes = storage.get(pack, 1 << 30)?;
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    storage.delete(pack)?;
    Ok(storage.put(pack, &[&bytes])?)
}

/// The index knows one place of each chunk. Where that was in a pack whose directory can't be read, the collector took the chunk for
/// missing, and its intact copy, which nothing seemed to need, for garbage.
#[test]
fn the_only_copy_that_can_be_read_is_found() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let mut kept = Vec::new();
    for n in 0..8 {
        let repository = open(storage.clone(), cache.path())?;
        // Every other one with nodes in packs of their own.
        let bytes = if n % 2 == 0 { dense_volume(n, 20) } else { sparse_volume(n) };
        let name = format!("vm-{n}");
        let before = objects(&*storage, "packs/");
        back_up(&repository, &volume(&name), &bytes, &Plan::new())?;
        for pack in objects(&*storage, "packs/").iter().filter(|pack| !before.contains(pack)) {
            break_directory(&storage, pack)?;
        }
        // Its chunks count as absent, and are stored again.
        let repository = open(storage.clone(), cache.path())?;
        let plan = Plan::new();
        back_up(&repository, &volume(&name), &bytes, &plan)?;
        kept.push((name, plan, bytes));
    }
    for _ in 0..3 {
        let report = collect(&open(storage.clone(), tempfile::tempdir()?.path())?)?;
        assert_eq!(report.missing, 0, "{report:?}");
    }
    let (repository, _cache) = (open(storage.clone(), cache.path())?, cache);
    for (name, plan, bytes) in &kept {
        assert_backup(&repository, &volume(name), plan.id, bytes);
    }
    Ok(())
}

/// The collector deleted such a pack, as nothing was found in it.
#[test]
fn what_may_have_the_only_copy_stays() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let bytes = dense_volume(1, 20);
    back_up(&repository, &volume("vm"), &bytes, &Plan::new())?;
    let packs = objects(&*storage, "packs/");
    for pack in &packs {
        break_directory(&storage, pack)?;
    }
    for _ in 0..2 {
        let report = collect(&open(storage.clone(), tempfile::tempdir()?.path())?)?;
        assert!(report.missing > 0 && report.deleted == 0, "{report:?}");
    }
    assert_eq!(objects(&*storage, "packs/"), packs);
    Ok(())
}
