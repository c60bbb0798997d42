//! A grid of damage: kind × place. Whatever happens to an object, verification names exactly the backups that it
//! takes with it and what of their volumes is lost; these are not restored, and all others are.

mod common;

use std::collections::BTreeMap;

use cinderblock_backend::{Backend, ObjectName};
use cinderblock_pipeline::{Control, Error, Target, VerifyReport};
use cinderblock_store::gc::{GcOptions, Observer};
use cinderblock_store::{BackupId, PackId, Record};
use common::*;

struct Family {
    fixture: Fixture,
    /// Each with its volume.
    backups: Vec<(Record, Vec<u8>)>,
}

/// Three volumes: the second shares most with the first, the third nothing.
fn family() -> Family {
    let fixture = Fixture::new();
    let mut first = noise(1, LEAF + 100 * CHUNK);
    first[10 * CHUNK..30 * CHUNK].fill(0);
    let mut second = first.clone();
    second[40 * CHUNK..60 * CHUNK].copy_from_slice(&noise(2, 20 * CHUNK));
    let third = [noise(3, 90 * CHUNK), vec![0; LEAF], text(4, 70 * CHUNK + 5)].concat();
    let backups = [("first", first), ("second", second), ("third", third)];
    let backups = backups.map(|(name, volume)| (fixture.store_fixed(name, &volume), volume)).into();
    Family { fixture, backups }
}

impl Family {
    /// The chunks of each volume that have a copy only in this place of a pack.
    fn expected(&self, is_lost: impl Fn(&[u8]) -> bool) -> BTreeMap<BackupId, Vec<(u64, u64)>> {
        let mut expected = BTreeMap::new();
        for (record, volume) in &self.backups {
            let mut lost: Vec<(u64, u64)> = Vec::new();
            for (number, chunk) in volume.chunks(CHUNK).enumerate() {
                if cinderblock_chunker::is_zero(chunk) || !is_lost(chunk) {
                    continue;
                }
                let (offset, length) = ((number * CHUNK) as u64, chunk.len() as u64);
                match lost.last_mut() {
                    Some((start, had)) if *start + *had == offset => *had += length,
                    _ => lost.push((offset, length)),
                }
            }
            if !lost.is_empty() {
                expected.insert(record.id, lost);
            }
        }
        expected
    }

    /// Restores every backup in every way, and holds that against what is lost.
    fn restores_all_but(&self, lost: &BTreeMap<BackupId, Vec<(u64, u64)>>, what: &str) {
        for (record, volume) in &self.backups {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("volume");
            let control = Control::default();
            let restored =
                self.fixture.engine.restore(&self.fixture.repository, record, &Target::New(path.clone()), &control);
            let mut bytes = Vec::new();
            let streamed =
                self.fixture.engine.restore_to_writer(&self.fixture.repository, record, &mut bytes, &control);
            let old = vec![0xa5; volume.len()];
            let existing = folder.path().join("existing");
            std::fs::write(&existing, &old).unwrap();
            let over = self.fixture.engine.restore(
                &self.fixture.repository,
                record,
                &Target::Existing(existing.clone()),
                &control,
            );
            let overwritten = std::fs::read(&existing).unwrap();
            let Some(lost) = lost.get(&record.id) else {
                restored.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert!(std::fs::read(&path).unwrap() == *volume, "{what}");
                assert!(streamed.is_ok() && bytes == *volume, "{what}");
                assert!(over.is_ok() && overwritten == *volume, "{what}");
                continue;
            };
            assert_eq!(names(folder.path()), [existing], "{what}: a new file is left");
            assert!(volume.starts_with(&bytes), "{what}: a wrong byte was streamed");
            for (at, (byte, right)) in overwritten.iter().zip(volume).enumerate() {
                assert!(byte == right || *byte == 0xa5, "{what}: byte {at} is wrong");
            }
            for (result, touched) in
                [(restored.err(), None), (streamed.err(), None), (over.err(), Some(overwritten != old))]
            {
                match result {
                    Some(Error::Unrestorable { offset, length, partly_written, .. }) => {
                        let named = lost.iter().any(|(from, bytes)| *from <= offset && offset + length <= from + bytes);
                        assert!(named, "{what}: {offset}+{length} is not in {lost:?}");
                        assert!(touched.unwrap_or(false) == partly_written, "{what}");
                    }
                    other => panic!("{what}: {other:?}"),
                }
            }
        }
    }

    fn chunks_of(&self, pack: PackId) -> Vec<cinderblock_store::ChunkId> {
        self.fixture.repository.pack_with_hashes(pack).unwrap().directory().ids().to_vec()
    }
}

fn found(report: &VerifyReport) -> BTreeMap<BackupId, Vec<(u64, u64)>> {
    let extents = |lost: &[cinderblock_chunker::Extent]| lost.iter().map(|e| (e.offset, e.length)).collect();
    report.damaged_backups.iter().map(|damaged| (damaged.id, extents(&damaged.lost))).collect()
}

type Change = fn(Vec<u8>) -> Option<Vec<u8>>;

/// What breaks a whole pack: its directory can't be believed any more.
const WHOLE: [(&str, Change); 8] = [
    ("a bit of the header", |mut b| {
        b[20] ^= 1;
        Some(b)
    }),
    ("a bit of the directory", |mut b| {
        let at = b.len() - 70;
        b[at] ^= 8;
        Some(b)
    }),
    ("a bit of the footer", |mut b| {
        let at = b.len() - 60;
        b[at] ^= 1;
        Some(b)
    }),
    ("the last byte is cut off", |mut b| {
        b.pop();
        Some(b)
    }),
    ("half is cut off", |mut b| {
        b.truncate(b.len() / 2);
        Some(b)
    }),
    ("nothing but zeros", |b| Some(vec![0; b.len()])),
    ("empty", |_| Some(Vec::new())),
    ("deleted", |_| None),
];

#[test]
fn a_pack_without_a_directory_takes_all_its_chunks_with_it() {
    for (what, change) in WHOLE {
        for which in [0, 2] {
            let family = family();
            let pack = family.backups[which].0.data_packs[0];
            let ids = family.chunks_of(pack);
            family.fixture.change(&family.fixture.pack(pack), change);
            let expected = family.expected(|chunk| ids.contains(&cinderblock_store::ChunkId::of(chunk)));
            assert!(!expected.is_empty());
            for report in [family.fixture.verify(&Default::default()), family.fixture.verify_all()] {
                assert_eq!(found(&report), expected, "{what}");
                let object = family.fixture.pack(pack);
                assert!(report.damaged_objects.iter().all(|damaged| damaged.object == object.as_str()), "{report:?}");
                assert!(!report.damaged_objects.is_empty(), "{what}");
            }
            family.restores_all_but(&expected, what);
        }
    }
}

#[test]
fn a_bit_in_a_frame_takes_what_it_has_to() {
    for at in [64, 65, 5000, 40_000, 70_000, 100_000] {
        let family = family();
        // Packs are named in the order of their random ids: the longest is the one that has all these bytes.
        let packs = family.backups[0].0.data_packs.iter();
        let readers = packs.map(|pack| family.fixture.repository.pack_with_hashes(*pack).unwrap());
        let reader = readers.max_by_key(cinderblock_store::pack::PackReader::object_bytes).unwrap();
        let (pack, directory) = (reader.id(), reader.directory());
        let frame =
            (0..directory.frames().len() as u32).rfind(|n| directory.frame_offset(*n).unwrap() <= at as u64).unwrap();
        let frame_at = directory.frame_offset(frame).unwrap();
        let stored = directory.frames()[frame as usize].codec == cinderblock_store::pack::directory::Codec::Stored;
        let ids: Vec<_> = directory
            .frame_chunks(frame)
            // Of a frame that is not compressed, only the chunk with the bit.
            .filter(|(_, place)| {
                let within = at as u64 - frame_at;
                !stored || (u64::from(place.offset)..u64::from(place.offset + place.length)).contains(&within)
            })
            .map(|(id, _)| id)
            .collect();
        family.fixture.change(&family.fixture.pack(pack), |mut bytes| {
            bytes[at] ^= 0x10;
            Some(bytes)
        });
        assert!(family.fixture.verify(&Default::default()).is_clean(), "structure alone does not read frames");
        let report = family.fixture.verify_all();
        let expected = family.expected(|chunk| ids.contains(&cinderblock_store::ChunkId::of(chunk)));
        assert!(!expected.is_empty());
        assert_eq!(found(&report), expected, "byte {at}");
        let [damaged] = report.damaged_objects.as_slice() else { panic!("{report:?}") };
        assert_eq!((damaged.object.as_str(), damaged.offset), (family.fixture.pack(pack).as_str(), frame_at));
        family.restores_all_but(&expected, &format!("byte {at}"));
    }
}

#[test]
fn packs_that_were_swapped_are_both_refused() {
    let family = family();
    let packs = [family.backups[0].0.data_packs[0], family.backups[2].0.data_packs[0]];
    let ids: Vec<_> = packs.iter().flat_map(|pack| family.chunks_of(*pack)).collect();
    let objects: Vec<ObjectName> = packs.iter().map(|pack| family.fixture.pack(*pack)).collect();
    let bytes: Vec<_> = objects.iter().map(|object| family.fixture.storage.get(object, u64::MAX).unwrap()).collect();
    family.fixture.change(&objects[0], |_| Some(bytes[1].clone()));
    family.fixture.change(&objects[1], |_| Some(bytes[0].clone()));
    let expected = family.expected(|chunk| ids.contains(&cinderblock_store::ChunkId::of(chunk)));
    assert_eq!(found(&family.fixture.verify_all()), expected);
    family.restores_all_but(&expected, "swapped");
}

#[test]
fn a_map_that_is_gone_takes_the_volume_with_it() {
    for (what, change) in WHOLE {
        let family = family();
        // Of its own: the third volume shares no leaf with the others.
        let record = &family.backups[2].0;
        let pack = record.map_packs[0];
        family.fixture.change(&family.fixture.pack(pack), change);
        let report = family.fixture.verify_all();
        let found = found(&report);
        let lost = &found[&record.id];
        assert_eq!(found.len(), 1, "{what}: {report:?}");
        // All but what the root itself says is zero.
        let size = record.volume_bytes;
        assert!(lost.iter().all(|(offset, length)| offset + length <= size));
        assert_eq!(lost.first().map(|(offset, _)| *offset), Some(0), "{what}: {report:?} {record:?}");
        family.restores_all_but(&found, what);
    }
}

#[test]
fn a_record_that_is_damaged_is_named_and_no_other() {
    let changes: [(&str, Change); 3] = [
        ("a bit", |mut b| {
            let at = b.len() / 2;
            b[at] ^= 1;
            Some(b)
        }),
        ("cut off", |mut b| {
            b.truncate(70);
            Some(b)
        }),
        ("zeros", |b| Some(vec![0; b.len()])),
    ];
    for (what, change) in changes {
        let family = family();
        let record = &family.backups[1].0;
        let object = family.fixture.repository.record_object(&record.volume, record.id).unwrap();
        family.fixture.change(&object, change);
        let report = family.fixture.verify_all();
        let [damaged] = report.damaged_backups.as_slice() else { panic!("{what}: {report:?}") };
        assert_eq!((&damaged.volume, damaged.id), (&record.volume, record.id));
        assert!(damaged.reason.is_some() && damaged.lost.is_empty());
        assert_eq!(report.damaged_objects[0].object, object.as_str());
    }
}

#[test]
fn a_segment_that_is_damaged_is_named_and_costs_no_backup() {
    let family = family();
    let id = family.fixture.repository.list_segments().unwrap()[0];
    let object = ObjectName::new(family.fixture.repository.segment_object(id).unwrap()).unwrap();
    family.fixture.change(&object, |mut bytes| {
        bytes[80] ^= 1;
        Some(bytes)
    });
    let (repository, _cache) = family.fixture.elsewhere();
    let report = family.fixture.engine.verify(&repository, &Default::default(), &Control::default()).unwrap();
    assert!(report.damaged_backups.is_empty(), "{report:?}");
    let [damaged] = report.damaged_objects.as_slice() else { panic!("{report:?}") };
    assert_eq!(damaged.object, object.as_str());
    family.restores_all_but(&BTreeMap::new(), "a segment");
}

/// Records name for ever the packs that their backups were in. Where one of them was damaged, verify told also of those that a collector had copied elsewhere.
#[test]
fn packs_that_were_gathered_are_not_told_as_gone() {
    let fixture = Fixture::new();
    let records: Vec<_> =
        (0..32).map(|number| fixture.store_fixed(&format!("vm-{number}"), &noise(number, 3 * CHUNK))).collect();
    let options = GcOptions { gather: true, grace: std::time::Duration::ZERO, ..GcOptions::default() };
    let report = fixture.repository.collect_garbage(&options, &Observer::new(&|_| true)).unwrap();
    assert!(report.gathered >= 32, "{report:?}");
    assert!(fixture.verify_all().is_clean());
    let (pack, _) = fixture.repository.list_packs().unwrap()[0];
    assert!(records.iter().all(|record| !record.data_packs.contains(&pack)));
    fixture.change(&fixture.pack(pack), |mut bytes| {
        bytes[70] ^= 1;
        Some(bytes)
    });
    let report = fixture.verify_all();
    assert_eq!(report.damaged_backups.len(), 1);
    let objects: Vec<_> = report.damaged_objects.iter().map(|damaged| damaged.object.as_str()).collect();
    assert_eq!(objects, [fixture.pack(pack).as_str()]);
}
