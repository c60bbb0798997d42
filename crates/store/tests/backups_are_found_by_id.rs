//! Finding backups: by id, by the beginning of an id, and the newest of a volume.

mod common;

use std::sync::Arc;

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_store::{BackupId, Error, Repository};
use common::*;

fn id(first: u8, last: u8) -> BackupId {
    let mut bytes = [0x77; 16];
    (bytes[0], bytes[15]) = (first, last);
    BackupId::from_bytes(bytes)
}

fn with_backups(ids: &[(&str, BackupId, i64)]) -> Result<(Arc<Memory>, tempfile::TempDir, Repository), Error> {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir().expect("a folder"));
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    for (name, id, created_at) in ids {
        let plan = Plan { id: *id, created_at: *created_at, ..Plan::new() };
        back_up(&repository, &volume(name), b"", &plan)?;
    }
    Ok((storage, cache, repository))
}

#[test]
fn an_id_or_the_beginning_of_one() -> TestResult {
    let (ab, ac, cd) = (id(0xab, 1), id(0xac, 2), id(0xcd, 3));
    let (_storage, _cache, repository) = with_backups(&[("one", ab, 1), ("one", ac, 2), ("two", cd, 3)])?;
    assert_eq!(repository.find_backup(&cd.to_string())?, (volume("two"), cd));
    assert_eq!(repository.find_backup(&cd.to_string().to_uppercase())?, (volume("two"), cd));
    assert_eq!(repository.find_backup("c")?, (volume("two"), cd));
    assert_eq!(repository.find_backup("AB")?, (volume("one"), ab));
    assert_eq!(repository.find_backup("ac777777-7")?, (volume("one"), ac));
    match repository.find_backup("a") {
        Err(Error::BackupAmbiguous { text, count: 2, first, second }) => {
            let mut both = [first, second];
            both.sort_unstable();
            assert_eq!((text.as_str(), both), ("a", [ab, ac]));
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// Two writers that ran at once took one id for two volumes: nothing could name either of them.
#[test]
fn a_volume_before_the_id_tells_equal_ids_apart() -> TestResult {
    let same = id(0xab, 1);
    let (_storage, _cache, repository) = with_backups(&[("one", same, 1), ("two", same, 2)])?;
    assert!(matches!(repository.find_backup(&same.to_string()), Err(Error::BackupAmbiguous { .. })));
    assert_eq!(repository.find_backup(&format!("one/{same}"))?, (volume("one"), same));
    assert_eq!(repository.find_backup("two/ab")?, (volume("two"), same));
    Ok(())
}

#[test]
fn the_latest_of_a_volume_is_found_and_none_is_passed_over() -> TestResult {
    let ids = [("vm", id(1, 1), 300), ("vm", id(2, 2), 500), ("vm", id(3, 3), 400), ("vm-2", id(4, 4), 900)];
    let (storage, _cache, repository) = with_backups(&ids)?;
    assert_eq!(repository.find_backup("vm/latest")?, (volume("vm"), id(2, 2)));
    for text in ["latest", "/latest", "no-such-volume/latest", "vm/LATEST", "vm/latest/", "vm/late"] {
        assert!(matches!(repository.find_backup(text), Err(Error::BackupNotFound { text: told }) if told == text));
    }
    // A restore of an older one, because the latest is damaged, would be a surprise.
    let name = ObjectName::new(format!("backups/vm/{}", id(2, 2)))?;
    let mut flipped = bytes_of(&*storage, &name);
    flipped[70] ^= 1;
    overwrite(&*storage, &name, &flipped);
    assert!(matches!(repository.find_backup("vm/latest"), Err(error) if error.is_damage()));
    storage.delete(&name)?;
    assert_eq!(repository.find_backup("vm/latest")?, (volume("vm"), id(3, 3)));
    Ok(())
}

#[test]
fn texts_that_are_no_id_fit_nothing() -> TestResult {
    let (_storage, _cache, repository) = with_backups(&[("one", id(0xab, 1), 1)])?;
    let whole = id(0xab, 1).to_string();
    let hostile = [
        "",
        " ",
        "-",
        "--",
        "g",
        "*",
        ".",
        "..",
        "../one",
        "two/ab",
        "one/",
        "/ab",
        "one/one/ab",
        "ab ",
        "\0",
        "ä",
        "ａｂ",
        "ab777777_7777",
    ];
    for text in
        hostile.into_iter().map(str::to_owned).chain([format!("{whole}0"), format!("{whole}-"), "a".repeat(1 << 20)])
    {
        match repository.find_backup(&text) {
            Err(Error::BackupNotFound { text: told }) => assert_eq!(told, text),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    Ok(())
}

#[test]
fn the_newest_backup_is_the_newest_that_can_be_read() -> TestResult {
    let ids = [("vm", id(1, 1), 300), ("vm", id(2, 2), 500), ("vm", id(3, 3), 400), ("vm-2", id(4, 4), 900)];
    let (storage, _cache, repository) = with_backups(&ids)?;
    let newest = || repository.newest_backup(&volume("vm")).map(|record| record.map(|record| record.id));
    let name = |id: BackupId| ObjectName::new(format!("backups/vm/{id}"));
    assert_eq!(newest()?, Some(id(2, 2)));
    let mut flipped = bytes_of(&*storage, &name(id(2, 2))?);
    flipped[70] ^= 1;
    overwrite(&*storage, &name(id(2, 2))?, &flipped);
    assert_eq!(newest()?, Some(id(3, 3)));
    overwrite(&*storage, &name(id(3, 3))?, b"");
    assert_eq!(newest()?, Some(id(1, 1)));
    storage.delete(&name(id(1, 1))?)?;
    assert_eq!(newest()?, None);
    assert!(repository.newest_backup(&volume("no-such-volume"))?.is_none());
    Ok(())
}

/// A volume whose name begins another's is not taken for it.
#[test]
fn volumes_are_told_apart() -> TestResult {
    let (_storage, _cache, repository) = with_backups(&[("vm", id(1, 1), 1), ("vm-2", id(2, 2), 2)])?;
    assert_eq!(repository.backups(Some(&volume("vm")))?, [(volume("vm"), id(1, 1))]);
    assert_eq!(repository.backups(Some(&volume("v")))?, []);
    assert_eq!(repository.backups(None)?.len(), 2);
    assert!(matches!(repository.record(&volume("vm"), id(2, 2)), Err(Error::BackupNotFound { .. })));
    Ok(())
}
