//! Files that are no objects of the repository, in the repository's folder: they are neither taken for something nor in
//! the way.

mod common;

use std::sync::Arc;

use cinderblock_backend::{Folder, ObjectName};
use cinderblock_store::{Error, Repository};
use common::*;

#[test]
fn foreign_files_are_neither_packs_nor_segments_nor_backups() -> TestResult {
    let (place, cache) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let root = place.path().join("repository");
    let storage = Arc::new(Folder::create(&root)?);
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let (vm, bytes, plan) = (volume("vm"), dense_volume(1, 5), Plan::new());
    back_up(&repository, &vm, &bytes, &plan)?;
    let usage = repository.usage()?;
    let pack = objects(&*storage, "packs/").remove(0);
    let id = pack_id(&pack);
    let upper = id.to_string().to_uppercase();
    let record = format!("backups/vm/{}", plan.id);
    for name in [
        "README".to_owned(),
        "packs/README".to_owned(),
        "packs/zz/not-hexadecimal".to_owned(),
        // The right name in the wrong folder, and a name that differs in case.
        format!("packs/{id}"),
        format!("packs/zz/{id}"),
        format!("packs/zz/{upper}"),
        format!("packs/zz/deeper/{id}"),
        "index/README".to_owned(),
        "index/0123".to_owned(),
        format!("index/deeper/{id}"),
        "backups/README".to_owned(),
        "backups/vm/README".to_owned(),
        format!("backups/vm/{}", plan.id.to_string().to_uppercase().replace(['0', '1'], "A")),
        format!("backups/vm/{}", plan.id.to_string().replace('-', "")),
        format!("backups/{}", plan.id),
        format!("backups/a/b/{}", plan.id),
        "backups/with space/x".to_owned(),
        format!("backups/.hidden/{}", plan.id),
        format!("backups/vm/.tmp-{}", plan.id),
        format!("backups/v\u{e4}/{}", plan.id),
        "sessions/README".to_owned(),
    ] {
        let path = root.join(&name);
        std::fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        assert!(!path.exists(), "{name} would replace an object");
        std::fs::write(path, b"foreign")?;
    }
    let elsewhere = tempfile::tempdir()?;
    for cache in [cache.path(), elsewhere.path()] {
        let repository = open(storage.clone(), cache)?;
        let report = repository.rebuild_index()?;
        assert!(report.damage.is_empty(), "{:?}", report.damage);
        assert_eq!((report.segments, report.adopted_packs), (1, 0));
        assert_eq!(repository.backups(None)?, [(vm.clone(), plan.id)]);
        assert_eq!(repository.backups(Some(&vm))?, [(vm.clone(), plan.id)]);
        assert_eq!(repository.newest_backup(&vm)?.map(|record| record.id), Some(plan.id));
        assert_backup(&repository, &vm, plan.id, &bytes);
        let now = repository.usage()?;
        assert_eq!((now.backups, now.packs, now.data_bytes), (usage.backups, usage.packs, usage.data_bytes));
        assert_eq!((now.record_bytes, now.missing), (usage.record_bytes, 0));
    }
    // A foreign file is not deleted with the backup beside it.
    repository.delete_backup(&vm, plan.id)?;
    assert!(!root.join(record).exists() && root.join("backups/vm/README").exists());
    Ok(())
}

#[test]
fn no_name_leaves_the_folder() {
    for text in ["backups/../x", "../x", "/etc/passwd", "backups/./x", "packs//x", "backups/vm/..", "a\\..\\b\0"] {
        assert!(ObjectName::new(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_repository_is_not_made_where_something_else_is() -> TestResult {
    let place = tempfile::tempdir()?;
    std::fs::write(place.path().join("holiday.jpg"), b"x")?;
    let storage = Folder::open(place.path())?;
    assert!(matches!(create(&storage), Err(Error::NotEmpty { .. })));
    std::fs::remove_file(place.path().join("holiday.jpg"))?;
    create(&storage)?;
    assert!(matches!(create(&storage), Err(Error::AlreadyARepository { .. })));
    let nothing = tempfile::tempdir()?;
    let opened = open(Arc::new(Folder::open(nothing.path())?), place.path());
    assert!(matches!(opened, Err(Error::NotARepository { .. })));
    Ok(())
}

#[test]
fn opening_reads_one_object_and_makes_nothing() -> TestResult {
    let (storage, cache) = (Arc::new(cinderblock_backend::Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let recording = Arc::new(cinderblock_backend::Recording::with_log(storage));
    let repository: Repository = open(recording.clone(), cache.path())?;
    assert_eq!(recording.take_log().len(), 1);
    assert_eq!(std::fs::read_dir(cache.path())?.count(), 0);
    assert!(repository.backend().size(&ObjectName::new("cinderblock.json")?)? > 0);
    Ok(())
}
