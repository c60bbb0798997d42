//! A disk that can't read some sectors, as often as it is asked, has lost what is in them, and no more: that is found, noted, and taken from elsewhere,
//! and everything else goes on. `repair` counted them and called the repository whole, and the next backup relied on them.

mod common;

use std::io::Write as _;
use std::sync::Arc;

use cinderblock_backend::{Error, Faulty, Kind, Memory, ObjectName, Rule};
use cinderblock_pipeline::{Control, RepairOptions, RepairReport};
use cinderblock_store::gc::{GcOptions, Observer};
use common::*;

type Disk = Faulty<Arc<Memory>>;

/// Reads of `object` that touch its byte `at` fail as those of a bad sector do; without one, those of its end.
fn spoil(disk: &Disk, object: &ObjectName, at: Option<u64>) {
    let object = object.clone();
    let rule = Rule::any().when(move |request| {
        request.name == object.as_str()
            && match (request.kind, at) {
                (Kind::ReadInto, Some(at)) => (request.offset..request.offset + request.bytes).contains(&at),
                (Kind::GetTail, None) | (Kind::Get, _) => true,
                _ => false,
            }
    });
    disk.add(rule.error(|request| {
        // EIO.
        Error::Unreadable { name: request.name.to_owned(), source: std::io::Error::from_raw_os_error(5) }
    }));
}

fn repair(fixture: &Fixture, from: Option<&[u8]>) -> RepairReport {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(from.unwrap_or_default()).unwrap();
    let sources = from.map(|_| file.path().to_owned()).into_iter().collect();
    let options = RepairOptions { read_data: true, sources, ..RepairOptions::default() };
    fixture.engine.repair(&fixture.repository, None, &options, &Control::default()).unwrap()
}

#[test]
fn a_bad_sector_among_the_data_is_taken_from_the_volume() {
    let (fixture, disk) = Fixture::with(Faulty::new);
    let (volume, other) = (noise(1, 60 * CHUNK), noise(2, 20 * CHUNK));
    let (record, beside) = (fixture.store_fixed("vm", &volume), fixture.store_fixed("other", &other));
    spoil(&disk, &fixture.pack(record.data_packs[0]), Some(5000));

    let report = fixture.verify_all();
    let lost: u64 = report.damaged_backups.iter().flat_map(|backup| &backup.lost).map(|extent| extent.length).sum();
    assert_eq!(report.damaged_backups.len(), 1, "{report:?}");
    assert!(
        (1..=16 * CHUNK as u64).contains(&lost),
        "one frame of the pack, and not all that is read together: {report:?}"
    );

    let report = repair(&fixture, None);
    assert!(report.noted > 0 && report.healed == 0 && report.damaged_backups.len() == 1, "{report:?}");
    let report = repair(&fixture, Some(&volume));
    assert!(report.noted == 0 && report.healed > 0 && report.damaged_backups.is_empty(), "{report:?}");
    assert!(fixture.verify_all().is_clean());
    assert!(fixture.stream(&record).unwrap() == volume && fixture.stream(&beside).unwrap() == other);
    // What is right in the pack is copied out of it, and the pack goes.
    let collected = fixture.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
    assert!(collected.damage.is_empty() && collected.deleted == 1, "{collected:?}");
    assert!(fixture.stream(&record).unwrap() == volume);
}

#[test]
fn a_later_backup_stores_again_what_was_noted() {
    let (fixture, disk) = Fixture::with(Faulty::new);
    let volume = noise(1, 20 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    spoil(&disk, &fixture.pack(record.data_packs[0]), Some(5000));
    assert!(repair(&fixture, None).noted > 0);
    let again = fixture.store_fixed("vm", &volume);
    assert!(fixture.stream(&again).unwrap() == volume && fixture.stream(&record).unwrap() == volume);
}

/// Every command stopped at such a pack, also those that did not need it.
#[test]
fn a_bad_sector_in_a_directory_stops_nobody() {
    let (fixture, disk) = Fixture::with(Faulty::new);
    let (volume, other) = (noise(1, 20 * CHUNK), noise(2, 20 * CHUNK));
    let (record, beside) = (fixture.store_fixed("vm", &volume), fixture.store_fixed("other", &other));
    spoil(&disk, &fixture.pack(record.data_packs[0]), None);
    fixture.repository.forget_packs();

    assert_eq!(fixture.verify_all().damaged_backups.len(), 1);
    assert!(fixture.stream(&beside).unwrap() == other);
    let collected = fixture.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
    assert_eq!((collected.deleted, collected.condemned), (0, 0), "{collected:?}");
    let report = repair(&fixture, Some(&volume));
    assert!(report.broken_packs == 1 && report.damaged_backups.is_empty(), "{report:?}");
    assert!(fixture.stream(&record).unwrap() == volume);
    assert!(fixture.verify_all().is_clean());
}

/// A record that the disk can't read is no backup that is gone: nothing is deleted while it is not known what it needs.
#[test]
fn a_bad_sector_in_a_record_is_a_doubt() {
    let (fixture, disk) = Fixture::with(Faulty::new);
    let (volume, other) = (noise(1, 20 * CHUNK), noise(2, 20 * CHUNK));
    let (record, beside) = (fixture.store_fixed("vm", &volume), fixture.store_fixed("other", &other));
    let name = fixture.repository.record_object(&record.volume, record.id).unwrap();
    spoil(&disk, &name, Some(0));
    let collected = fixture.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
    assert!(collected.deleted == 0 && !collected.doubts.is_empty(), "{collected:?}");
    assert!(fixture.stream(&beside).unwrap() == other);
    disk.heal();
    assert!(fixture.stream(&record).unwrap() == volume);
}

/// A volume that gives nothing but errors, as a device that is gone: the search in it ended nowhere. The memory of this process below its first page answers
/// as such a disk does.
#[test]
#[cfg(target_os = "linux")]
fn a_volume_that_cannot_be_read_at_all_is_no_source() {
    let fixture = Fixture::new();
    let volume = noise(1, 20 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    fixture.change(&fixture.pack(record.data_packs[0]), |mut bytes| {
        bytes[5000] ^= 1;
        Some(bytes)
    });
    let options = RepairOptions { read_data: true, sources: vec!["/proc/self/mem".into()], ..RepairOptions::default() };
    let failed = fixture.engine.repair(&fixture.repository, None, &options, &Control::default());
    assert!(
        matches!(&failed, Err(cinderblock_pipeline::Error::ReadSource { offset, .. }) if *offset > 0),
        "{failed:?}"
    );
    assert!(repair(&fixture, Some(&volume)).damaged_backups.is_empty());
    assert!(fixture.stream(&record).unwrap() == volume);
}
