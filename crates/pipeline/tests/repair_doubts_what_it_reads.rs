//! Repair on storage that lies for a while, and beside packs without a directory: nothing is noted that is right, and nothing is lost
//! that can still be read.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cinderblock_backend::{Backend, Error, ForeignName, Memory, ObjectInfo, ObjectName, ObjectWriter, Tail};
use cinderblock_pipeline::{Control, RepairOptions, RepairReport};
use cinderblock_store::gc::{GcOptions, GcReport, Observer};
use cinderblock_store::{PackId, Record, Repository};
use common::*;

/// Where in an object the bytes are wrong that are read, if it is not its end.
const WRONG_BYTE: u64 = 5000;

/// Storage that gives a wrong byte now and then, though what it holds is right.
#[derive(Debug)]
struct Lying {
    inner: Arc<Memory>,
    /// Objects, and how many of their reads are wrong still, of the end or of what is around [`WRONG_BYTE`].
    lies: Mutex<Vec<(ObjectName, bool, usize)>>,
}

impl Lying {
    fn lie(&self, object: &ObjectName, of_end: bool, times: usize) {
        self.lies.lock().unwrap().push((object.clone(), of_end, times));
    }

    fn lies(&self, object: &ObjectName, of_end: bool) -> bool {
        let mut lies = self.lies.lock().unwrap();
        let lie = lies.iter_mut().find(|(name, end, times)| name == object && *end == of_end && *times > 0);
        lie.is_some_and(|(_, _, times)| {
            *times -= 1;
            true
        })
    }
}

impl Backend for Lying {
    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.inner.read_into(name, offset, buf)?;
        let at = WRONG_BYTE.checked_sub(offset).filter(|at| *at < buf.len() as u64);
        if let Some(at) = at.filter(|_| self.lies(name, false)) {
            buf[at as usize] ^= 1;
        }
        Ok(())
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        let mut tail = self.inner.get_tail(name, len)?;
        if self.lies(name, true) {
            let at = tail.bytes.len() - 40;
            tail.bytes[at] ^= 1;
        }
        Ok(tail)
    }

    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        self.inner.create(name)
    }
    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        self.inner.get(name, limit)
    }
    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        self.inner.size(name)
    }
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        self.inner.list(prefix, visit)
    }
    fn list_foreign(&self, prefix: &str, visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>) -> Result<(), Error> {
        self.inner.list_foreign(prefix, visit)
    }
    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.inner.delete(name)
    }
    fn settle_delay(&self) -> Duration {
        self.inner.settle_delay()
    }
    fn location(&self) -> String {
        self.inner.location()
    }
}

fn lying() -> (Fixture, Arc<Lying>) {
    Fixture::with(|storage| Lying { inner: storage, lies: Mutex::default() })
}

fn repair(fixture: &Fixture, dry_run: bool) -> RepairReport {
    let options = RepairOptions { read_data: true, dry_run, ..RepairOptions::default() };
    fixture.engine.repair(&fixture.repository, None, &options, &Control::default()).unwrap()
}

fn collect(repository: &Repository) -> GcReport {
    repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap()
}

fn names_in(fixture: &Fixture, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    fixture
        .storage
        .list(prefix, &mut |info| {
            names.push(info.name.to_string());
            Ok(())
        })
        .unwrap();
    names.sort();
    names
}

/// Makes the directory of a pack unreadable.
fn break_directory(fixture: &Fixture, pack: PackId) {
    fixture.change(&fixture.pack(pack), |mut bytes| {
        let at = bytes.len() - 40;
        bytes[at] ^= 1;
        Some(bytes)
    });
}

fn is_whole(fixture: &Fixture, backups: &[(&Record, &[u8])]) {
    let report = fixture.verify_all();
    assert!(report.is_clean(), "{report:?}");
    let (elsewhere, _cache) = fixture.elsewhere();
    for (record, volume) in backups {
        let mut bytes = Vec::new();
        fixture.engine.restore_to_writer(&elsewhere, record, &mut bytes, &Control::default()).unwrap();
        assert!(bytes == *volume, "{}", record.volume);
    }
}

#[test]
fn a_passing_bad_read_is_not_noted() {
    for of_end in [false, true] {
        for dry_run in [true, false] {
            let (fixture, lying) = lying();
            let volume = noise(1, 20 * CHUNK);
            let record = fixture.store_fixed("vm", &volume);
            lying.lie(&fixture.pack(record.data_packs[0]), of_end, 1);
            let report = repair(&fixture, dry_run);
            assert_eq!((report.noted, report.broken_packs), (0, 0), "{report:?}");
            // Without a second reading it would have been noted, and nothing could have healed it.
            assert!(report.right_again > 0 && report.missing == 0 && report.damaged_backups.is_empty(), "{report:?}");
            assert!(names_in(&fixture, "damage/").is_empty());
            is_whole(&fixture, &[(&record, &volume)]);
        }
    }
}

#[test]
fn what_is_wrong_twice_is_noted_and_healed_when_it_can_be_read_after_all() {
    let (fixture, lying) = lying();
    let volume = noise(1, 20 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    let pack = fixture.pack(record.data_packs[0]);
    // When it is read, when it is read again, and when it is to be healed from there.
    lying.lie(&pack, false, 100);
    let report = repair(&fixture, false);
    assert!(report.noted > 0 && report.right_again == 0 && report.damaged_backups.len() == 1, "{report:?}");
    assert_eq!(names_in(&fixture, "damage/").len(), 1);
    lying.lies.lock().unwrap().clear();
    // The storage is well again.
    let report = repair(&fixture, false);
    assert_eq!((report.noted, report.damaged_backups.len()), (0, 0), "{report:?}");
    is_whole(&fixture, &[(&record, &volume)]);
    collect(&fixture.repository);
    assert!(names_in(&fixture, "damage/").is_empty());
    is_whole(&fixture, &[(&record, &volume)]);
}

#[test]
fn chunks_of_a_pack_without_a_directory_are_found_through_its_segment() {
    let fixture = Fixture::new();
    // With nodes in a pack of their own.
    let (volume, other) = (noise(1, LEAF + 20 * CHUNK), noise(2, 20 * CHUNK));
    let (record, beside) = (fixture.store_fixed("vm", &volume), fixture.store_fixed("other", &other));
    let broken = [record.data_packs[0], record.map_packs[0]];
    broken.iter().for_each(|pack| break_directory(&fixture, *pack));
    assert_eq!(fixture.verify(&Default::default()).damaged_backups.len(), 1);

    let dry = repair(&fixture, true);
    assert!(dry.broken_packs == 2 && dry.healed > 0, "{dry:?}");
    assert!(names_in(&fixture, "damage/").is_empty());
    let report = repair(&fixture, false);
    assert_eq!((report.broken_packs, report.damaged_backups.len()), (2, 0), "{report:?}");
    assert_eq!(report.healed, report.missing);
    is_whole(&fixture, &[(&record, &volume), (&beside, &other)]);

    let collected = collect(&fixture.repository);
    assert!(collected.damage.is_empty() && collected.missing == 0, "{collected:?}");
    let left = names_in(&fixture, "packs/");
    for pack in broken {
        assert!(!left.contains(&fixture.pack(pack).to_string()), "it is of no more use");
    }
    assert!(names_in(&fixture, "damage/").is_empty());
    is_whole(&fixture, &[(&record, &volume), (&beside, &other)]);
}

#[test]
fn a_pack_without_a_directory_stays_as_long_as_it_may_have_what_is_lost() {
    for with_segment in [true, false] {
        let fixture = Fixture::new();
        let volume = noise(1, 20 * CHUNK);
        let record = fixture.store_fixed("vm", &volume);
        let broken = record.data_packs[0];
        break_directory(&fixture, broken);
        if with_segment {
            // And one frame of it is wrong.
            fixture.change(&fixture.pack(broken), |mut bytes| {
                bytes[80] ^= 1;
                Some(bytes)
            });
        } else {
            for segment in names_in(&fixture, "index/") {
                fixture.change(&ObjectName::new(segment).unwrap(), |_| None);
            }
        }
        for _ in 0..2 {
            let report = repair(&fixture, false);
            assert_eq!(report.damaged_backups.len(), 1, "{report:?}");
            let collected = collect(&fixture.repository);
            assert!(collected.missing > 0, "{collected:?}");
            assert!(names_in(&fixture, "packs/").contains(&fixture.pack(broken).to_string()));
        }
        // Until the content is there again.
        let again = fixture.store_fixed("again", &volume);
        assert_eq!(repair(&fixture, false).whole_again.len(), 1);
        let collected = collect(&fixture.repository);
        assert!(collected.damage.is_empty() && collected.missing == 0, "{collected:?}");
        assert!(!names_in(&fixture, "packs/").contains(&fixture.pack(broken).to_string()));
        is_whole(&fixture, &[(&record, &volume), (&again, &volume)]);
    }
}
