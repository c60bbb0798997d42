//! Each kind of object × what may become of it × each command: the damage is detected, named and contained, and nothing panics.
//! `grid/rules.rs` says what each command has to do.

#[macro_use]
mod grid;
mod scene;

use cinderblock_backend::ObjectName;
use scene::command::{Command, Props, run};
use scene::{Scene, bytes_of, objects, overwrite};

grid_tests!(scene::encrypt_nothing);

/// Backups went into a repository whose descriptor somebody had mixed up with another's. They belonged to nobody once it was put right.
/// `repair` removed all index segments.
#[test]
fn a_writer_stops_where_the_descriptor_is_another_repositorys() {
    let scene = Scene::plain();
    let props = Props::of(&scene, scene.replica());
    let descriptor = ObjectName::new("cinderblock.json").unwrap();
    let [ours, theirs] = [&scene, &Scene::plain()].map(|scene| bytes_of(&*scene.storage, &descriptor).unwrap());
    overwrite(&*scene.storage, &descriptor, Some(&theirs));
    let before = objects(&*scene.storage, "");
    for command in [Command::Backup, Command::Gc, Command::Repair, Command::RebuildIndex, Command::Prune] {
        let answer = run(command, scene.storage.clone(), &props);
        let names_it = answer.error.as_ref().is_some_and(|error| error.contains("cinderblock.json"));
        let writes = matches!(command, Command::Backup | Command::Gc | Command::Repair);
        assert!(!answer.is_clean() && names_it == writes, "{command:?}: {:?} {:?}", answer.error, answer.told);
        assert!(objects(&*scene.storage, "") == before, "{command:?} changed something");
    }
    overwrite(&*scene.storage, &descriptor, Some(&ours));
    let host = scene.host();
    scene.backups.iter().for_each(|backup| host.restore(backup).unwrap());
}
