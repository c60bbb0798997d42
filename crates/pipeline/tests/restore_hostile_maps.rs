//! Maps that lie: no wrong byte is written, nothing large is allocated, and verification says so.

mod common;

use cinderblock_pipeline::{Control, Error, Target};
use cinderblock_store::Record;
use cinderblock_store::map::Shape;
use common::*;

/// Neither a file nor a byte of the stream beyond what is right comes out; the lost part.
fn refused(fixture: &Fixture, record: &Record, prefix: &[u8]) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::New(folder.path().join("volume"));
    let control = Control::default();
    let error = fixture.engine.restore(&fixture.repository, record, &target, &control).unwrap_err();
    assert!(names(folder.path()).is_empty());
    let mut bytes = Vec::new();
    fixture.engine.restore_to_writer(&fixture.repository, record, &mut bytes, &control).unwrap_err();
    assert!(prefix.starts_with(&bytes));
    match error {
        Error::Unrestorable { offset, length, source, .. } => {
            assert!(source.is_damage(), "{source}");
            (offset, length)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chunk_that_is_shorter_or_longer_than_the_map_says() {
    for claimed in [1, 4999, 5001, 1 << 20, u32::MAX] {
        let fixture = Fixture::new();
        let parts = [Part::Chunk(noise(1, 3000)), Part::Claimed(noise(2, 5000), claimed), Part::Chunk(noise(3, 3000))];
        let size = 6000 + u64::from(claimed);
        let record = fixture.store("vm", Shape::Variable, size, &parts);
        assert_eq!(refused(&fixture, &record, &noise(1, 3000)), (3000, claimed.into()));
        for report in [fixture.verify(&Default::default()), fixture.verify_all()] {
            let [damaged] = report.damaged_backups.as_slice() else { panic!("{report:?}") };
            let lost: Vec<_> = damaged.lost.iter().map(|extent| (extent.offset, extent.length)).collect();
            assert_eq!(lost, [(3000, claimed.into())]);
            assert_eq!(
                report.damaged_objects[0].object,
                fixture.repository.record_object(&record.volume, record.id).unwrap().as_str()
            );
        }
    }
}

#[test]
fn a_fixed_map_whose_chunk_is_not_of_the_grid() {
    let fixture = Fixture::new();
    let parts = [Part::Chunk(noise(1, CHUNK)), Part::Chunk(noise(2, CHUNK - 1)), Part::Chunk(noise(3, CHUNK))];
    let record = fixture.store("vm", Shape::Fixed, 3 * CHUNK as u64, &parts);
    assert_eq!(refused(&fixture, &record, &noise(1, CHUNK)), (CHUNK as u64, CHUNK as u64));
}

#[test]
fn a_map_of_another_size_than_the_record_says() {
    for size in [1, CHUNK as u64, 4 * CHUNK as u64, 1 << 40] {
        let fixture = Fixture::new();
        let record = fixture.store("vm", Shape::Fixed, size, &fixed_parts(&noise(1, 3 * CHUNK)));
        assert_eq!(refused(&fixture, &record, &noise(1, 3 * CHUNK)), (0, size));
        let report = fixture.verify(&Default::default());
        assert_eq!(report.damaged_backups[0].lost[0].length, size);
    }
}
