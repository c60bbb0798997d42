//! An object that changes after it was checked: nothing that was not checked reaches an existing target.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cinderblock_backend::{Backend, Faulty, Kind, Memory, ObjectName, Rule};
use cinderblock_cinder::{Backup, Context, Error, RestoreSummary};
use cinderblock_pipeline::{Settings, Target};
use common::{Place, VOLUME, context, driver_on, noise, object, text};

const BLOCK: usize = 4096;
/// Three pieces of 256 KiB, and a short one.
const CHUNK: usize = (3 * 256 + 100) << 10;

/// Enough for the lists, and none to hold pieces: all is read again.
const NO_MEMORY: usize = 1 << 20;

fn with_memory(memory_bytes: usize) -> Context {
    let settings = Settings { threads: 2, memory_bytes };
    Context { settings, ..context("none") }
}

/// Restores over `there`; what came of it, what the target holds then, and how many reads of data objects there were.
fn restore(
    backend: Arc<dyn Backend>,
    place: &Place,
    chain: &[Backup],
    there: &[u8],
    memory_bytes: usize,
) -> (Result<RestoreSummary, Error>, Vec<u8>) {
    let driver = driver_on(backend, with_memory(memory_bytes), CHUNK as u64, BLOCK as u64);
    let path = place.path("existing");
    std::fs::write(&path, there).unwrap();
    let outcome = driver.restore(chain, VOLUME, &Target::Existing(path.clone()));
    (outcome, std::fs::read(path).unwrap())
}

/// How often data objects are read while `run` does its work.
fn reads<T>(place: &Place, run: impl FnOnce(Arc<dyn Backend>) -> T) -> (u64, T) {
    let faulty = Faulty::new(Arc::clone(&place.memory) as Arc<dyn Backend>);
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    faulty.add(Rule::on(Kind::ReadInto).when(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        false
    }));
    let result = run(Arc::new(faulty));
    (count.load(Ordering::Relaxed), result)
}

/// Storage in which `change` is done to an object after `after` reads.
fn changes_after(place: &Place, after: u64, name: &str, change: fn(&mut Vec<u8>)) -> Arc<dyn Backend> {
    let faulty = Faulty::new(Arc::clone(&place.memory) as Arc<dyn Backend>);
    let (memory, name, seen): (Arc<Memory>, _, _) =
        (Arc::clone(&place.memory), ObjectName::new(name).unwrap(), AtomicU64::new(0));
    faulty.add(Rule::on(Kind::ReadInto).when(move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) == after {
            let mut bytes = memory.get(&name, u64::MAX).unwrap();
            change(&mut bytes);
            memory.delete(&name).unwrap();
            memory.put(&name, &[&bytes]).unwrap();
        }
        false
    }));
    Arc::new(faulty)
}

fn chain(place: &Place, compression: &str) -> (Vec<Backup>, Vec<u8>) {
    let driver = place.driver(compression, CHUNK as u64, BLOCK as u64);
    let mut first = text(1, 5 * CHUNK + 777);
    first[2 * CHUNK..3 * CHUNK].fill(0);
    let mut second = first.clone();
    // Ranges in the midst of objects of the layer below, across the ends of their pieces.
    second[100 * BLOCK..140 * BLOCK].copy_from_slice(&noise(2, 40 * BLOCK));
    second[3 * CHUNK + 9 * BLOCK..3 * CHUNK + 10 * BLOCK].fill(0);
    let chain = place.chain(&driver, &[first, second.clone()]);
    (chain, second)
}

#[test]
fn an_object_that_changes_after_it_was_checked_is_refused_and_no_byte_of_it_is_written() {
    for compression in ["none", "zlib", "zstd"] {
        let place = Place::new();
        let (chain, volume) = chain(&place, compression);
        let there = noise(9, volume.len());
        let through = Arc::clone(&place.memory) as Arc<dyn Backend>;
        // The first read that belongs to the write pass is the one behind those of a restore to a new file.
        let (checking, _) = reads(&place, |backend| {
            let driver = driver_on(backend, with_memory(NO_MEMORY), CHUNK as u64, BLOCK as u64);
            driver.restore(&chain, VOLUME, &Target::New(place.path("new"))).unwrap();
        });
        let (all, (outcome, _)) = reads(&place, |backend| restore(backend, &place, &chain, &there, NO_MEMORY));
        outcome.unwrap();
        assert!(all > checking, "{compression}: without memory objects are read again");

        let driver = driver_on(through, context("none"), CHUNK as u64, BLOCK as u64);
        let name = object(&driver, &chain[0], 4);
        let original = place.memory.get(&ObjectName::new(&*name).unwrap(), u64::MAX).unwrap();
        let changes: [fn(&mut Vec<u8>); 2] = [
            |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle..].iter_mut().for_each(|byte| *byte ^= 0x55);
            },
            |bytes| bytes.truncate(bytes.len() / 2),
        ];
        for change in changes {
            let backend = changes_after(&place, checking, &name, change);
            let (outcome, holds) = restore(backend, &place, &chain, &there, NO_MEMORY);
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::PartlyRestored { .. }), "{compression}: {error}");
            let wrong = |at: &usize| holds[*at] != volume[*at] && holds[*at] != there[*at];
            assert_eq!((0..volume.len()).find(wrong), None, "{compression}: a byte that was not checked was written");
            assert!(holds != volume, "{compression}");
            place.change(&name, |bytes| *bytes = original.clone());
        }
    }
}

/// What is held, what is read again, and anything between gives the same; with memory nothing is read again.
#[test]
fn however_much_is_held_the_volume_comes_back() {
    for compression in ["none", "zlib", "zstd"] {
        let place = Place::new();
        let (chain, volume) = chain(&place, compression);
        let mut partly = volume.clone();
        for at in (0..volume.len()).step_by(300 << 10) {
            partly[at] ^= 1;
        }
        for there in [noise(9, volume.len()), vec![0; volume.len()], partly] {
            let mut counts = Vec::new();
            // One lane of each thread takes some 11 MB.
            for memory_bytes in [NO_MEMORY, 24 << 20, 256 << 20] {
                let (count, (outcome, holds)) =
                    reads(&place, |backend| restore(backend, &place, &chain, &there, memory_bytes));
                outcome.unwrap();
                assert!(holds == volume, "{compression}, {memory_bytes}");
                counts.push(count);
            }
            assert!(counts[2] < counts[0], "{compression}: {counts:?}");
        }
    }
}

#[test]
fn an_object_that_is_damaged_from_the_start_leaves_the_target_untouched() {
    let place = Place::new();
    let (chain, volume) = chain(&place, "zstd");
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let there = noise(9, volume.len());
    place.change(&object(&driver, &chain[0], 5), |bytes| bytes[20] ^= 1);
    for memory_bytes in [NO_MEMORY, 256 << 20] {
        let backend = Arc::clone(&place.memory) as Arc<dyn Backend>;
        let (outcome, holds) = restore(backend, &place, &chain, &there, memory_bytes);
        assert!(matches!(outcome, Err(Error::DamagedObject { .. })), "{outcome:?}");
        assert!(holds == there);
    }
}
