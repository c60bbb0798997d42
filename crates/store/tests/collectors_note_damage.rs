//! A collector reads what it copies. Where that is damaged, it says so for all: another copy counts from then on, and nobody copies in vain again.

mod common;

use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_store::gc::{GcOptions, GcReport, Observer};
use cinderblock_store::{Kind, Repository};
use common::*;

/// A frame's worth of chunks: of a plan, four.
const FRAME: usize = 4 * CHUNK;

fn collect(repository: &Repository) -> Result<GcReport, cinderblock_store::Error> {
    let options = GcOptions { grace: Duration::ZERO, ..GcOptions::default() };
    repository.collect_garbage(&options, &Observer::new(&|_| true))
}

/// Flips a bit in the first chunk of a pack.
fn damage(storage: &dyn Backend, pack: &ObjectName) {
    let mut bytes = bytes_of(storage, pack);
    bytes[HEADER + 100] ^= 1;
    overwrite(storage, pack, &bytes);
}

/// Two backups at once stored the same chunks. Both are deleted, a third needs these chunks still, and one of the copies has gone bad. It took the
/// other one away, as nothing in its pack was marked, though it had just seen that the marked one was bad.
#[test]
fn a_right_copy_stays_where_the_marked_one_is_bad() -> TestResult {
    let (original, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*original)?;
    let shared = noise(1, FRAME);
    let kept = Plan::new();
    {
        let repository = open(original.clone(), cache.path())?;
        let plans = [Plan::new(), Plan::new()];
        let sessions = [repository.start_session("a")?, repository.start_session("b")?];
        let mut records = Vec::new();
        for (seed, (plan, session)) in (10..).zip(plans.iter().zip(&sessions)) {
            let bytes = [shared.clone(), noise(seed, 10 * FRAME)].concat();
            records.push(write_all_but_record(&repository, session, &volume("both"), &bytes, plan)?);
        }
        for (session, mut record) in sessions.into_iter().zip(records) {
            session.commit(&mut record)?;
        }
        back_up(&repository, &volume("kept"), &shared, &kept)?;
        for plan in &plans {
            repository.delete_backup(&volume("both"), plan.id)?;
        }
    }
    let packs = packs_of_kind(&*original, Kind::DataPack);
    assert_eq!(packs.len(), 2);
    let mut noted = 0;
    // Which of two copies is marked is left to chance.
    for pack in packs.iter().cycle().take(40) {
        if noted > 0 {
            break;
        }
        let (storage, cache) = (fork(&*original), tempfile::tempdir()?);
        damage(&*storage, pack);
        let repository = open(storage.clone(), cache.path())?;
        let report = collect(&repository)?;
        noted += report.noted;
        assert_eq!((report.missing, report.doubts.len()), (0, 0), "{report:?}");
        assert_backup(&repository, &volume("kept"), kept.id, &shared);
        let report = collect(&repository)?;
        assert_eq!((report.damage.len(), report.noted), (0, 0), "{report:?}");
        assert_backup(&repository, &volume("kept"), kept.id, &shared);
        assert!(!objects(&*storage, "packs/").contains(pack), "nothing needs the damaged pack");
    }
    assert!(noted > 0, "one of them was marked, and read");
    Ok(())
}

/// Each collection copied the rest of such a pack once more, for as long as nobody repaired it.
#[test]
fn a_damaged_pack_is_copied_out_of_once() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let (lost, whole) = (noise(1, FRAME), noise(2, FRAME));
    let (large, kept, other) = (Plan::new(), Plan::new(), Plan::new());
    back_up(&repository, &volume("large"), &[&lost[..], &whole, &noise(3, 10 * FRAME)].concat(), &large)?;
    let pack = packs_of_kind(&*storage, Kind::DataPack).remove(0);
    back_up(&repository, &volume("kept"), &[&lost[..], &whole].concat(), &kept)?;
    back_up(&repository, &volume("other"), &whole, &other)?;
    repository.delete_backup(&volume("large"), large.id)?;
    damage(&*storage, &pack);

    let first = collect(&repository)?;
    assert_eq!((first.noted, first.damage.len()), (1, 1), "{first:?}");
    assert!(objects(&*storage, "packs/").contains(&pack), "it may be the last that has the chunks");
    let size = |storage: &Memory| objects(storage, "packs/").iter().map(|name| bytes_of(storage, name).len()).sum();
    let mut before: usize = size(&storage);
    for _ in 0..3 {
        let again = collect(&repository)?;
        assert_eq!((again.noted, again.missing, again.repacked), (0, 1, 0), "{again:?}");
        // Of what was copied, one copy is enough.
        let now = size(&storage);
        assert!(now <= before);
        before = now;
    }
    assert_backup(&repository, &volume("other"), other.id, &whole);

    // A backup that meets the same content heals it.
    back_up(&repository, &volume("again"), &lost, &Plan::new())?;
    collect(&repository)?;
    collect(&repository)?;
    assert_backup(&repository, &volume("kept"), kept.id, &[&lost[..], &whole].concat());
    assert!(!objects(&*storage, "packs/").contains(&pack));
    Ok(())
}

/// A pack whose directory is gone is noted as a whole, where a collector would copy out of it: a later backup stores again what was in it.
#[test]
fn a_broken_directory_is_noted_once() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let bytes = noise(1, FRAME);
    let (large, kept) = (Plan::new(), Plan::new());
    back_up(&repository, &volume("large"), &[&bytes[..], &noise(3, 10 * FRAME)].concat(), &large)?;
    let pack = packs_of_kind(&*storage, Kind::DataPack).remove(0);
    back_up(&repository, &volume("kept"), &bytes, &kept)?;
    repository.delete_backup(&volume("large"), large.id)?;
    let mut broken = bytes_of(&*storage, &pack);
    let at = broken.len() - FOOTER - 10;
    broken[at] ^= 1;
    overwrite(&*storage, &pack, &broken);
    drop(repository);

    let repository = open(storage.clone(), cache.path())?;
    for _ in 0..3 {
        let report = collect(&repository)?;
        assert_eq!(report.deleted, 0, "{report:?}");
        assert!(objects(&*storage, "packs/").contains(&pack));
    }
    back_up(&repository, &volume("again"), &bytes, &Plan::new())?;
    assert_backup(&repository, &volume("kept"), kept.id, &bytes);
    Ok(())
}
