//! Packs of map nodes that are lost: what the nodes said is in the volume, or in another repository's backup of it, whatever that one calls its chunks.

mod scene;

use std::path::PathBuf;
use std::sync::Arc;

use cinderblock_backend::{Memory, ObjectName};
use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::{Control, RepairOptions, RepairReport};
use cinderblock_store::{OpenOptions, Repository, Secret};
use scene::image::{Image, noise};
use scene::{Backup, CHUNK, ENGINE, Scene, bytes_of, objects, overwrite};

/// Packs of map nodes. Byte 8 of a header is the kind.
fn map_packs(scene: &Scene) -> Vec<ObjectName> {
    let packs = objects(&*scene.storage, "packs/");
    packs.into_iter().filter(|name| bytes_of(&*scene.storage, name).unwrap()[8] == 2).collect()
}

/// The scene without any pack of map nodes: not even the packs of chunks say which chunk was where.
fn lose_maps(scene: &Scene) {
    let maps = map_packs(scene);
    assert!(maps.len() >= scene.backups.len(), "{maps:?}");
    maps.iter().for_each(|name| overwrite(&*scene.storage, name, None));
    let host = scene.host();
    scene.backups.iter().for_each(|backup| drop(host.restore(backup).expect_err("its map is lost")));
}

fn repair_with(scene: &Scene, other: Option<&Repository>, options: &RepairOptions) -> RepairReport {
    ENGINE.repair(&scene.host().repository, other, options, &Control::default()).expect("a repair")
}

fn repair(scene: &Scene, sources: Vec<PathBuf>) -> RepairReport {
    repair_with(scene, None, &RepairOptions { sources, ..RepairOptions::default() })
}

fn restore_all(scene: &Scene) {
    let host = scene.host();
    scene.backups.iter().for_each(|backup| host.restore(backup).unwrap());
}

/// Backups of volumes of 4 GiB and a bit, of 9 MiB, and of one whose last chunk is a part of one.
fn volumes() -> Scene {
    let mut scene = Scene::plain();
    let odd = noise(20, 30 * CHUNK + 100);
    let image = Image { size: 4000 * CHUNK as u64 + 7, extents: vec![(0, odd), (4000 * CHUNK as u64, noise(21, 7))] };
    let host = scene.host();
    scene.back_up(&host, "O", "odd", &image);
    scene
}

#[test]
fn from_the_volumes_if_they_are_what_they_were() {
    let scene = volumes();
    lose_maps(&scene);
    let folder = scene::scratch();
    let path = |backup: &Backup| folder.path().join(backup.name);
    scene.backups.iter().for_each(|backup| backup.image.write(&path(backup)));

    // A's volume has become B's: what changed meanwhile is of another node than what did not.
    let b = path(scene.backup("B"));
    let report = repair(&scene, vec![b]);
    assert!(report.healed > 0 && report.damaged_backups.len() == 4, "{report:?}");
    let host = scene.host();
    host.restore(scene.backup("B")).expect("its volume was there");
    assert!(host.restore(scene.backup("A")).is_err());

    let report = repair(&scene, scene.backups.iter().map(path).collect());
    assert!(report.damaged_backups.is_empty() && report.missing == report.healed, "{report:?}");
    assert_eq!(report.whole_again.len(), 4);
    restore_all(&scene);
    scene.host().collect_garbage().expect("a collection");
    restore_all(&scene);
}

/// Chunks that are lost are only known to be when the nodes above them are there again.
#[test]
fn with_the_chunks_below_them() {
    let scene = volumes();
    lose_maps(&scene);
    objects(&*scene.storage, "packs/").iter().for_each(|name| overwrite(&*scene.storage, name, None));
    let folder = scene::scratch();
    let path = |backup: &Backup| folder.path().join(backup.name);
    scene.backups.iter().for_each(|backup| backup.image.write(&path(backup)));
    let options = RepairOptions { sources: scene.backups.iter().map(path).collect(), ..RepairOptions::default() };
    let dry = repair_with(&scene, None, &RepairOptions { dry_run: true, ..options.clone() });
    assert!(dry.healed > 0 && dry.damaged_backups.len() == 5, "{dry:?}");
    assert!(objects(&*scene.storage, "packs/").is_empty());
    let report = repair_with(&scene, None, &options);
    assert!(report.damaged_backups.is_empty() && report.missing > dry.missing, "{report:?}");
    restore_all(&scene);
}

#[test]
fn not_from_a_volume_that_is_another_one() {
    let scene = Scene::plain();
    lose_maps(&scene);
    let folder = scene::scratch();
    let path = folder.path().join("volume");
    // It has B's chunks, at other places, and ends early.
    let b = &scene.backup("B").image;
    let extents: Vec<_> =
        b.extents.iter().take(2).map(|(offset, bytes)| (offset + CHUNK as u64, bytes.clone())).collect();
    Image { size: 21 << 20, extents }.write(&path);
    let before = objects(&*scene.storage, "packs/");
    let report = repair(&scene, vec![path, "/dev/null".into()]);
    assert_eq!((report.healed, report.damaged_backups.len()), (0, 4), "{report:?}");
    assert_eq!(objects(&*scene.storage, "packs/"), before);
}

/// Of eight backups the other repository has the last two. What all of them share comes from these.
#[test]
fn from_a_repository_with_another_key_that_has_some_of_the_backups() {
    let mut scene = Scene::plain();
    let first = scene.backup("A").image.clone();
    let host = scene.host();
    for (number, name) in ["1", "2", "3", "4", "5", "6"].into_iter().enumerate() {
        // Each with another chunk in the first leaf, and so with another node above it. The one behind 4 GiB is shared.
        scene.back_up(&host, name, "one", &first.with_chunks(0, number, 50 + number as u64, 1));
    }
    let secret = Secret::generate_key_file().unwrap();
    let storage = Arc::new(Memory::new());
    Repository::create_encrypted(&*storage, ChunkSize::new(CHUNK as u64).unwrap(), &secret, "").unwrap();
    let folder = scene::scratch();
    let options = OpenOptions { secret: Some(secret), ..OpenOptions::new(folder.path()) };
    let replica = Repository::open(storage, &options).unwrap();
    for name in ["5", "6"] {
        let Backup { volume, id, .. } = scene.backup(name);
        let record = host.repository.record(volume, *id).unwrap();
        ENGINE.copy(&host.repository, &record, &replica, &Control::default()).unwrap();
    }
    lose_maps(&scene);

    let report = repair_with(&scene, Some(&replica), &RepairOptions::default());
    let host = scene.host();
    for name in ["5", "6"] {
        host.restore(scene.backup(name)).unwrap();
    }
    // C and G are of another volume.
    assert_eq!(report.damaged_backups.len(), 8, "{report:?}");
    for damaged in report.damaged_backups.iter().filter(|damaged| damaged.volume.as_str() == "one") {
        let lost: Vec<_> = damaged.lost.iter().map(|extent| (extent.offset, extent.length)).collect();
        assert_eq!(lost, [(0, 4 << 30)], "{damaged:?}");
    }
}
