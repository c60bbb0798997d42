//! An index is made anew while a garbage collector replaces segments and deletes packs: what went is no damage.

mod common;

use std::sync::Arc;

use cinderblock_backend::{Backend, Error as BackendError, Faulty, Kind, Memory, ObjectName, Rule};
use common::*;

/// Two backups that have nothing in common; the second one is deleted.
type Story = (Arc<Memory>, Plan, Vec<u8>);

fn story() -> Result<Story, Box<dyn std::error::Error>> {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let (kept, deleted) = (Plan::new(), Plan::new());
    let bytes = dense_volume(1, 20);
    back_up(&repository, &volume("kept"), &bytes, &kept)?;
    back_up(&repository, &volume("deleted"), &dense_volume(2, 20), &deleted)?;
    repository.delete_backup(&volume("deleted"), deleted.id)?;
    Ok((storage, kept, bytes))
}

/// Lets each object below `prefix` that `goes` be gone when it is read, though it was listed.
fn gone_when_read(
    storage: &Arc<Memory>,
    (kind, prefix): (Kind, &str),
    goes: impl Fn(&ObjectName) -> bool + Send + Sync + 'static,
) -> Arc<Faulty<Arc<Memory>>> {
    let faulty = Arc::new(Faulty::new(Arc::clone(storage)));
    let storage = Arc::clone(storage);
    let name = |text: &str| ObjectName::new(text).unwrap();
    let rule = Rule::on(kind).prefix(prefix).when(move |request| goes(&name(request.name)));
    faulty.add(rule.error(move |request| {
        let name = name(request.name);
        // Whether it was there or has gone by now.
        let _ = storage.delete(&name);
        BackendError::NotFound { name }
    }));
    faulty
}

/// `rebuild-index` beside `gc` ended with status 1, and told of a damaged object.
#[test]
fn a_segment_that_is_replaced_meanwhile_is_not_damaged() -> TestResult {
    let (storage, kept, bytes) = story()?;
    for follow_only in [false, true] {
        let (storage, cache) = (fork(&*storage), tempfile::tempdir()?);
        let repository = open(gone_when_read(&storage, (Kind::Get, "index/"), |_| true), cache.path())?;
        if follow_only {
            repository.refresh_index()?;
        } else {
            let report = repository.rebuild_index()?;
            assert!(report.damage.is_empty() && report.unreadable_segments.is_empty(), "{report:?}");
        }
        assert_backup(&repository, &volume("kept"), kept.id, &bytes);
    }
    Ok(())
}

#[test]
fn a_pack_that_is_deleted_meanwhile_is_not_damaged() -> TestResult {
    let (storage, kept, bytes) = story()?;
    let cache = tempfile::tempdir()?;
    let repository = open(storage.clone(), cache.path())?;
    let record = repository.record(&volume("kept"), kept.id)?;
    let needed = [&record.data_packs[..], &record.map_packs].concat();
    objects(&*storage, "index/").iter().for_each(|segment| storage.delete(segment).unwrap());
    let goes = move |name: &ObjectName| !needed.contains(&pack_id(name));
    let faulty = gone_when_read(&storage, (Kind::GetTail, "packs/"), goes);
    let repository = open(faulty.clone(), tempfile::tempdir()?.path())?;
    let report = repository.rebuild_index()?;
    assert!(faulty.faults() > 0 && report.damage.is_empty(), "{report:?}");
    assert_backup(&repository, &volume("kept"), kept.id, &bytes);
    Ok(())
}
