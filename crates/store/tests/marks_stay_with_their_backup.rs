//! Marks: changed by several hosts at once, damaged, and gone with their backup.

mod common;

use std::sync::Arc;

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_store::{BackupId, ChunkId, Damage, Error, Mark, Repository, Timestamp};
use common::*;

const LATER: Timestamp = Timestamp::from_microseconds(i64::MAX);
const EARLIER: Timestamp = Timestamp::from_microseconds(1);

struct Place {
    storage: Arc<Memory>,
    _cache: tempfile::TempDir,
    repository: Repository,
}

/// A repository with one backup of `vm`.
fn place() -> Result<(Place, BackupId), Error> {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir().expect("a folder"));
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let id = back_up(&repository, &volume("vm"), b"", &Plan::new())?.id;
    Ok((Place { storage, _cache: cache, repository }, id))
}

impl Place {
    /// Names of the marks, without what all have in common.
    fn numbers(&self, id: BackupId) -> Vec<String> {
        let prefix = format!("marks/{id}/");
        let mut numbers = Vec::new();
        let listed = self.storage.list(&prefix, &mut |info| {
            numbers.extend(info.name.as_str().strip_prefix(&prefix).map(str::to_owned));
            Ok(())
        });
        listed.expect("a listing");
        numbers.sort();
        numbers
    }

    fn name(id: BackupId, number: u32) -> ObjectName {
        ObjectName::new(format!("marks/{id}/{number:08}")).expect("a name")
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), Error> {
        self.storage.delete(name)?;
        Ok(self.storage.put(name, &[bytes])?)
    }
}

fn protect(mark: &mut Mark) {
    (mark.protected, mark.protected_until) = (true, None);
}

fn lift(mark: &mut Mark) {
    (mark.protected, mark.protected_until) = (false, None);
}

fn damage(chunks: u64) -> impl FnMut(&mut Mark) {
    move |mark| mark.damaged = Some(Damage { chunks, bytes: chunks * 4096, found_at: EARLIER })
}

#[test]
fn a_protected_backup_is_deleted_only_when_that_was_lifted() -> TestResult {
    let (place, id) = place()?;
    let (vm, repository) = (volume("vm"), &place.repository);
    assert_eq!(repository.mark(&vm, id)?, None);
    let mark = repository.set_mark(&vm, id, protect)?;
    assert_eq!(repository.mark(&vm, id)?, Some(mark));
    match repository.delete_backup(&vm, id) {
        Err(error @ Error::Protected { until: None, .. }) => {
            assert!(
                error
                    .to_string()
                    .ends_with(&format!("is protected: 'cinderblock protect --remove vm/{id}' lifts that"))
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(repository.record(&vm, id).is_ok());
    repository.set_mark(&vm, id, |mark| mark.protected_until = Some(LATER))?;
    assert!(matches!(repository.delete_backup(&vm, id), Err(Error::Protected { until: Some(LATER), .. })));
    repository.set_mark(&vm, id, lift)?;
    assert_eq!(place.numbers(id), ["00000003"], "only the last one is left");
    repository.delete_backup(&vm, id)?;
    assert!(place.numbers(id).is_empty(), "a backup's marks go with it");
    assert!(matches!(repository.delete_backup(&vm, id), Err(Error::BackupNotFound { .. })));
    Ok(())
}

#[test]
fn protection_that_has_ended_is_none() -> TestResult {
    let (place, id) = place()?;
    let ended = |mark: &mut Mark| (mark.protected, mark.protected_until) = (true, Some(EARLIER));
    place.repository.set_mark(&volume("vm"), id, ended)?;
    place.repository.delete_backup(&volume("vm"), id)?;
    Ok(())
}

#[test]
fn what_changes_nothing_writes_nothing() -> TestResult {
    let (place, id) = place()?;
    place.repository.set_mark(&volume("vm"), id, lift)?;
    assert!(place.numbers(id).is_empty());
    place.repository.set_mark(&volume("vm"), id, protect)?;
    place.repository.set_mark(&volume("vm"), id, protect)?;
    assert_eq!(place.numbers(id), ["00000001"]);
    Ok(())
}

/// The other host comes between the look and the write: once, so that it takes the number, and twice, so that the number
/// is free again when the slower host takes it.
#[test]
fn no_hosts_change_is_lost() -> TestResult {
    for changes in 1..4 {
        let (place, id) = place()?;
        let vm = volume("vm");
        place.repository.set_mark(&vm, id, damage(100))?;
        let other_cache = tempfile::tempdir()?;
        let other = open(place.storage.clone(), other_cache.path())?;
        let mut calls = 0;
        place.repository.set_mark(&vm, id, |mark| {
            calls += 1;
            if calls == 1 {
                for chunks in 1..=changes {
                    other.set_mark(&vm, id, damage(chunks)).expect("the other host's change");
                }
            }
            protect(mark);
        })?;
        let mark = place.repository.mark(&vm, id)?.ok_or("no mark")?;
        assert!(mark.protected, "{changes} changes");
        assert_eq!(mark.damaged.map(|damage| damage.chunks), Some(changes));
        assert_eq!(place.numbers(id).len(), 1, "{changes} changes: {:?}", place.numbers(id));
        assert!(calls > 1);
    }
    Ok(())
}

#[test]
fn hosts_that_write_at_once_all_get_through() -> TestResult {
    let (place, id) = place()?;
    let vm = volume("vm");
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (repository, vm) = (&place.repository, &vm);
            scope.spawn(move || {
                for turn in 0..25 {
                    let done = repository.set_mark(vm, id, |mark| {
                        if thread == 0 { protect(mark) } else { damage(thread * 100 + turn)(mark) }
                    });
                    done.expect("a change");
                }
            });
        }
    });
    let mark = place.repository.mark(&vm, id)?.ok_or("no mark")?;
    assert!(mark.protected && mark.damaged.is_some_and(|damage| damage.chunks % 100 == 24), "{mark:?}");
    Ok(())
}

#[test]
fn a_backup_that_goes_meanwhile_gets_no_mark() -> TestResult {
    let (place, id) = place()?;
    let vm = volume("vm");
    let mut calls = 0;
    let marked = place.repository.set_mark(&vm, id, |mark| {
        calls += 1;
        place.repository.delete_backup(&vm, id).expect("it is there");
        protect(mark);
    });
    assert!(matches!(marked, Err(Error::BackupNotFound { .. })), "{marked:?}");
    assert_eq!((calls, place.numbers(id)), (1, vec![]));
    let absent = place.repository.set_mark(&vm, id, protect);
    assert!(matches!(absent, Err(Error::BackupNotFound { .. })));
    Ok(())
}

#[test]
fn a_damaged_mark_counts_as_one_that_may_protect() -> TestResult {
    let (place, id) = place()?;
    let (vm, repository) = (volume("vm"), &place.repository);
    repository.set_mark(&vm, id, protect)?;
    let name = Place::name(id, 1);
    let mut bytes = place.storage.get(&name, 1 << 20)?;
    bytes[70] ^= 1;
    place.replace(&name, &bytes)?;
    assert!(matches!(repository.mark(&vm, id), Err(Error::Damaged { .. })));
    assert!(matches!(repository.delete_backup(&vm, id), Err(Error::Damaged { .. })));
    let marks = repository.marks()?;
    assert!(
        marks.get(&vm, id).is_none() && marks.unreadable(&vm, id).is_some() && marks.is_protected(&vm, id, EARLIER)
    );

    // A change replaces it, also one that lifts what may have been there.
    repository.set_mark(&vm, id, lift)?;
    assert_eq!(place.numbers(id), ["00000002"]);
    assert!(repository.marks()?.unreadable(&vm, id).is_none());
    repository.delete_backup(&vm, id)?;
    Ok(())
}

#[test]
fn the_highest_readable_number_counts() -> TestResult {
    let (place, id) = place()?;
    let (vm, repository) = (volume("vm"), &place.repository);
    repository.set_mark(&vm, id, protect)?;
    let first = place.storage.get(&Place::name(id, 1), 1 << 20)?;
    repository.set_mark(&vm, id, lift)?;
    // As if the host had crashed before it removed the first.
    place.storage.put(&Place::name(id, 1), &[&first])?;
    assert_eq!(repository.mark(&vm, id)?.map(|mark| mark.protected), Some(false));
    place.replace(&Place::name(id, 2), b"damaged")?;
    assert_eq!(repository.mark(&vm, id)?.map(|mark| mark.protected), Some(true));
    assert!(repository.marks()?.is_protected(&vm, id, EARLIER));
    // A name that is no number is nothing.
    place.storage.put(&ObjectName::new(format!("marks/{id}/9"))?, &[b"?"])?;
    repository.set_mark(&vm, id, lift)?;
    assert_eq!(place.numbers(id), ["00000003", "9"]);
    Ok(())
}

#[test]
fn a_newer_programs_mark_is_not_passed_over() -> TestResult {
    let (place, id) = place()?;
    let (vm, repository) = (volume("vm"), &place.repository);
    repository.set_mark(&vm, id, lift)?;
    repository.set_mark(&vm, id, damage(1))?;
    let name = Place::name(id, 2);
    let mut bytes = place.storage.get(&Place::name(id, 1), 1 << 20)?;
    bytes[9] = 2;
    let end = bytes.len() - CHECKSUM;
    let sum = ChunkId::of(&bytes[..end]);
    bytes[end..].copy_from_slice(sum.as_bytes());
    place.storage.put(&name, &[&bytes])?;
    assert!(matches!(repository.mark(&vm, id), Err(Error::NewerFormat { .. })));
    assert!(matches!(repository.set_mark(&vm, id, lift), Err(Error::NewerFormat { .. })));
    assert!(matches!(repository.delete_backup(&vm, id), Err(Error::NewerFormat { .. })));
    assert!(repository.marks()?.is_protected(&vm, id, EARLIER));
    assert_eq!(place.numbers(id), ["00000001", "00000002"]);
    Ok(())
}

/// Two writers that ran at once took one id for two volumes.
#[test]
fn volumes_with_backups_of_one_id_have_marks_of_their_own() -> TestResult {
    let (place, id) = place()?;
    let (vm, other, repository) = (volume("vm"), volume("other"), &place.repository);
    back_up(repository, &other, b"", &Plan { id, ..Plan::new() })?;
    repository.set_mark(&vm, id, protect)?;
    repository.set_mark(&other, id, damage(7))?;
    repository.set_mark(&other, id, damage(8))?;
    assert_eq!(place.numbers(id), ["00000001", "00000003"]);
    let marks = repository.marks()?;
    assert!(marks.is_protected(&vm, id, EARLIER) && !marks.is_protected(&other, id, EARLIER));
    repository.delete_backup(&other, id)?;
    assert_eq!(place.numbers(id), ["00000001"]);
    assert!(matches!(repository.delete_backup(&vm, id), Err(Error::Protected { .. })));
    Ok(())
}
