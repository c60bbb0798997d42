//! A reader beside a garbage collector: packs vanish while it works, and their chunks are in others.

mod common;

use cinderblock_pipeline::{Control, VerifyOptions};
use cinderblock_store::map::Shape;
use common::*;

#[test]
fn chunks_that_were_moved_are_found() {
    let fixture = Fixture::new();
    let volume = noise(1, 200 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    // This host knows the packs as they are now, and a bare index.
    let (reader, _cache) = fixture.elsewhere();
    let mut bytes = Vec::new();
    fixture.engine.restore_to_writer(&reader, &record, &mut bytes, &Control::default()).unwrap();

    let copy = fixture.store_beside("copy", Shape::Fixed, volume.len() as u64, &fixed_parts(&volume), false);
    for pack in &record.data_packs {
        assert!(!copy.data_packs.contains(pack));
        fixture.change(&fixture.pack(*pack), |_| None);
    }
    let mut bytes = Vec::new();
    fixture.engine.restore_to_writer(&reader, &record, &mut bytes, &Control::default()).unwrap();
    assert!(bytes == volume);
    let report = fixture.engine.verify(&reader, &VerifyOptions::default(), &Control::default()).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn a_damaged_copy_does_not_hide_an_intact_one() {
    let fixture = Fixture::new();
    let volume = noise(1, 50 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    fixture.store_beside("copy", Shape::Fixed, volume.len() as u64, &fixed_parts(&volume), false);
    for pack in &record.data_packs {
        fixture.change(&fixture.pack(*pack), |mut bytes| {
            let frames = 64..bytes.len() * 9 / 10;
            bytes[frames].iter_mut().step_by(1000).for_each(|byte| *byte ^= 4);
            Some(bytes)
        });
    }
    assert!(fixture.stream(&record).unwrap() == volume);
    let report = fixture.verify_all();
    assert!(!report.damaged_objects.is_empty());
    assert!(report.damaged_backups.is_empty(), "{report:?}");
}

#[test]
fn chunks_of_a_pack_that_no_segment_names_are_found() {
    let fixture = Fixture::new();
    let volume = noise(1, 50 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    // The record names no packs, and the segment that names them is gone.
    let mut without_hints = record.clone();
    (without_hints.data_packs, without_hints.map_packs) = (Vec::new(), Vec::new());
    for id in fixture.repository.list_segments().unwrap() {
        let object = fixture.repository.segment_object(id).unwrap();
        fixture.change(&cinderblock_backend::ObjectName::new(object).unwrap(), |_| None);
    }
    let (reader, _cache) = fixture.elsewhere();
    let mut bytes = Vec::new();
    fixture.engine.restore_to_writer(&reader, &without_hints, &mut bytes, &Control::default()).unwrap();
    assert!(bytes == volume);
    assert!(fixture.verify_all().is_clean());
}
