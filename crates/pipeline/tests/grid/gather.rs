//! `gc --gather` beside damage. It wants more small packs than a repository has of which every cell of the grid makes a copy.

use std::sync::Arc;

use cinderblock_backend::{Memory, ObjectName};
use cinderblock_pipeline::{Control, RepairOptions};
use cinderblock_store::gc::{GcOptions, GcReport};
use cinderblock_store::pack::Content;
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};

use crate::scene::image::Image;
use crate::scene::{CHUNK, ENGINE, Host, NOW, Scene, bytes_of, eager, objects, overwrite, whole_text};

/// Packs of M, with a chunk each: more than the 32 from which on packs are gathered.
const PACKS: usize = 40;

/// The plain scene with M, and a pack of M's.
fn scattered() -> (Scene, ObjectName) {
    let mut scene = Scene::plain();
    let image = Image::of_chunks(&[(0, 60, PACKS)]);
    let host = scene.host();
    let session = host.repository.start_session("many packs").expect("a session");
    for chunk in image.extents[0].1.chunks(CHUNK) {
        let listed = FrameChunk { id: host.repository.ids().chunk(chunk), length: CHUNK as u32 };
        let mut packs = session.pack_builder(Content::Data);
        packs.push(frame::encode(chunk, vec![listed], true, Compression::default()).unwrap()).unwrap();
        session.store_pack(&packs.finish().unwrap().unwrap()).expect("a pack");
    }
    drop(session);
    let record = scene.back_up(&scene.host(), "M", "many", &image);
    assert_eq!((record.data_packs.len(), record.statistics.new_chunks), (PACKS, 0));
    let pack = host.repository.pack_object(record.data_packs[0]).expect("a name");
    (scene, ObjectName::new(pack).expect("a name"))
}

fn gather(storage: &Arc<Memory>) -> GcReport {
    let host = Host::open(storage.clone(), NOW).expect("the repository can be opened");
    host.collect_garbage_with(&GcOptions { gather: true, ..eager() }).expect("a collection")
}

fn names(report: &GcReport, object: &ObjectName) -> bool {
    report.damage.iter().chain(&report.doubts).any(|error| whole_text(error).contains(object.as_str()))
}

/// With all objects as they were, all backups come back, and all small packs can be gathered.
fn check_healed(scene: &Scene, storage: &Arc<Memory>, case: &str) {
    let host = Host::open(storage.clone(), NOW).expect("the repository can be opened");
    // What was noted as wrong is stored again where it is right after all.
    let options = RepairOptions { read_data: true, ..RepairOptions::default() };
    let report = ENGINE.repair(&host.repository, None, &options, &Control::default()).expect("a repair");
    assert!(report.damaged_backups.is_empty(), "{case}: {report:?}");
    gather(storage);
    restore(scene, storage, None, case);
    let left = objects(&**storage, "packs/").len();
    assert!(left < PACKS / 2, "{case}: {left} packs are left");
}

/// Restores all backups but one.
fn restore(scene: &Scene, storage: &Arc<Memory>, but: Option<&str>, case: &str) {
    let host = Host::open(storage.clone(), NOW).expect("the repository can be opened");
    for backup in scene.backups.iter().filter(|backup| Some(backup.name) != but) {
        host.restore(backup).unwrap_or_else(|error| panic!("{case}: {}: {error}", backup.name));
    }
}

/// An object of which a bit is flipped, or which is gone, where no byte is given; with what the collector did of it.
fn meet(scene: &Scene, name: &ObjectName, byte: Option<usize>, check: impl FnOnce(&GcReport, &Arc<Memory>, &str)) {
    let case = format!("{name}, byte {byte:?}");
    let storage = scene.fork();
    let good = bytes_of(&*storage, name).expect("the object is there");
    let damaged = byte.map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    });
    overwrite(&*storage, name, damaged.as_deref());
    let before = objects(&*storage, "packs/");
    let report = gather(&storage);
    check(&report, &storage, &case);
    assert!(bytes_of(&*storage, name) == damaged, "{case}: the damaged object is another one: {report:?}");
    if report.gathered == 0 {
        assert_eq!((report.deleted, objects(&*storage, "packs/")), (0, before), "{case}");
    }
    overwrite(&*storage, name, Some(&good));
    check_healed(scene, &storage, &case);
}

/// What is whole is gathered around a damaged chunk. Where it is not known what is needed, or something is missing, nothing is.
pub fn check() {
    let (scene, pack) = scattered();
    let storage = scene.fork();
    let report = gather(&storage);
    let all = report.gathered;
    assert!(all > PACKS as u64 && report.deleted == all, "{report:?}");
    assert!(report.damage.is_empty() && report.doubts.is_empty() && report.missing == 0, "{report:?}");
    restore(&scene, &storage, None, "nothing is damaged");

    let end = bytes_of(&*scene.storage, &pack).expect("a pack").len();
    meet(&scene, &pack, Some(64 + 100), |report, storage, case| {
        assert!(names(report, &pack) && report.gathered == all - 1, "{case}: {report:?}");
        restore(&scene, storage, Some("M"), case);
    });
    for byte in [Some(end - 64 - 20), Some(end - 1), None] {
        meet(&scene, &pack, byte, |report, storage, case| {
            assert!(report.gathered == 0 && report.missing == 1, "{case}: {report:?}");
            assert!(byte.is_none() || names(report, &pack), "{case}: {report:?}");
            restore(&scene, storage, Some("M"), case);
        });
    }
    let a = scene.backup("A");
    let record = scene.host().repository.record_object(&a.volume, a.id).expect("a name");
    meet(&scene, &record, Some(20), |report, storage, case| {
        assert!(names(report, &record) && report.gathered == 0, "{case}: {report:?}");
        restore(&scene, storage, Some("A"), case);
    });
}
