//! Packs of map nodes that are lost: what the nodes said is in the volume, or in another repository's backup of it, whatever that one calls its chunks.

mod scene;

use std::path::PathBuf;

use cinderblock_pipeline::{Control, RepairOptions, RepairReport};
use scene::{ENGINE, Scene, bytes_of, objects, overwrite};

/// The scene without any pack of map nodes: not even the packs of chunks say which chunk was where.
fn without_maps() -> Scene {
    let scene = Scene::plain();
    let packs = objects(&*scene.storage, "packs/");
    // Byte 8 of a header is the kind: 2 for map nodes.
    let maps: Vec<_> = packs.iter().filter(|name| bytes_of(&*scene.storage, name).unwrap()[8] == 2).collect();
    assert!(maps.len() >= scene.backups.len(), "{maps:?}");
    maps.into_iter().for_each(|name| overwrite(&*scene.storage, name, None));
    let host = scene.host();
    scene.backups.iter().for_each(|backup| drop(host.restore(backup).expect_err("its map is lost")));
    scene
}

fn repair(scene: &Scene, sources: Vec<PathBuf>) -> RepairReport {
    let options = RepairOptions { sources, ..RepairOptions::default() };
    ENGINE.repair(&scene.host().repository, None, &options, &Control::default()).expect("a repair")
}

#[test]
fn from_the_volume_if_it_is_what_it_was() {
    let scene = without_maps();
    let folder = scene::scratch();
    let paths: Vec<PathBuf> = ["A", "B", "C", "G"].iter().map(|name| folder.path().join(name)).collect();
    for (path, backup) in paths.iter().zip(&scene.backups) {
        backup.image.write(path);
    }
    // A's volume has become B's: what changed meanwhile is of another node than what did not.
    let report = repair(&scene, vec![paths[1].clone()]);
    let damaged: Vec<_> = report.damaged_backups.iter().map(|damaged| (damaged.id, damaged.lost.len())).collect();
    assert!(report.healed > 0 && damaged.len() == 3, "{report:?}");
    let host = scene.host();
    host.restore(scene.backup("B")).expect("its volume was there");
    assert!(host.restore(scene.backup("A")).is_err());

    let report = repair(&scene, paths);
    assert!(report.damaged_backups.is_empty() && report.missing == report.healed, "{report:?}");
    assert_eq!(report.whole_again.len(), 3);
    let host = scene.host();
    scene.backups.iter().for_each(|backup| host.restore(backup).unwrap());
    host.collect_garbage().expect("a collection");
    scene.backups.iter().for_each(|backup| scene.host().restore(backup).unwrap());
}

#[test]
fn not_from_a_volume_that_is_another_one() {
    let scene = without_maps();
    let folder = scene::scratch();
    let path = folder.path().join("volume");
    scene.next_image().with_chunks(0, 0, 99, 1).with_chunks(2, 0, 98, 1).write(&path);
    let before = objects(&*scene.storage, "packs/");
    let report = repair(&scene, vec![path, "/dev/null".into()]);
    assert_eq!(report.damaged_backups.len(), 4, "{report:?}");
    // The middle leaf of B's volume is the same; that the ones above it are not, keeps its chunks from being found.
    assert!(report.healed <= 1 && objects(&*scene.storage, "packs/").len() <= before.len() + 1, "{report:?}");
}
