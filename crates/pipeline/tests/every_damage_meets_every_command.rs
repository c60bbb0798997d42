//! Each kind of object × what may become of it × each command: the damage is detected, named and contained, and nothing panics.
//! `grid/rules.rs` says what each command has to do.

mod grid;
mod scene;

use cinderblock_backend::ObjectName;
use grid::{gather, kinds, meet};
use scene::command::{Command, Props, run};
use scene::full::Kind;
use scene::{Scene, bytes_of, objects, overwrite};

macro_rules! meets_every_command {
    ($($name:ident: $kind:ident,)*) => {$(
        #[test]
        fn $name() {
            meet(Kind::$kind);
        }
    )*
        #[test]
        fn every_kind_has_its_test() {
            let tested = [$(Kind::$kind),*];
            assert!(Kind::ALL.iter().all(|kind| tested.contains(kind)));
            kinds::check(&tested);
        }
    };
}

meets_every_command! {
    a_damaged_descriptor: Descriptor,
    a_damaged_pack_of_chunks: DataPack,
    a_damaged_pack_of_map_nodes: MapPack,
    a_damaged_segment: Segment,
    a_damaged_record: Record,
    a_damaged_session: Session,
    a_damaged_renewal: Renewal,
    a_damaged_mark: Mark,
    a_damaged_collection: Collection,
    a_damaged_fence: Fence,
    a_damaged_tombstone: Tombstone,
    a_damaged_damage_note: Note,
    a_damaged_cursor: Cursor,
    a_damaged_end_of_a_session: Ended,
}

#[test]
fn small_packs_are_gathered_around_damage() {
    gather::check();
}

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
