//! What every [`Backend`] must do, as tests that each of them runs.
//!
//! ```
//! use std::sync::Arc;
//!
//! use cinderblock_backend::{Memory, conformance};
//!
//! conformance::run(&|| Arc::new(Memory::new()));
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::Barrier;
use std::thread;

use crate::{Backend, Error, ObjectName};

/// Larger than what one read or write of a pipe or buffer moves, and a multiple of nothing.
const LARGE: usize = 3 * 1024 * 1024 + 17;

/// How many threads race for one name.
const RACERS: usize = 8;

/// Runs all checks. Each gets a backend from `make`, which must be empty and apart from those made before. A check
/// writes at most a few dozen MiB. Before each listing it waits for the backend's
/// [`settle_delay`](Backend::settle_delay).
///
/// # Panics
///
/// At the first thing that the backend does not do as [`Backend`] says. The message names it.
pub fn run(make: &dyn Fn() -> Arc<dyn Backend>) {
    run_below(make, 0);
}

/// The same for a backend that puts `prefix_len` bytes before each name, so that there is less room for names of
/// [`MAX_NAME_LEN`](crate::MAX_NAME_LEN) bytes.
///
/// # Panics
///
/// As [`run`].
pub fn run_below(make: &dyn Fn() -> Arc<dyn Backend>, prefix_len: usize) {
    run_without_races(make, prefix_len);
    for check in [one_of_many_creators_wins, one_of_many_deleters_wins] {
        check(&*make());
    }
}

/// The same for a storage that can't tell which of several wins that create, or delete, one object at the same time: OpenStack
/// Swift. No protocol of the repository relies on it.
///
/// # Panics
///
/// As [`run`].
pub fn run_without_races(make: &dyn Fn() -> Arc<dyn Backend>, prefix_len: usize) {
    let checks = [
        objects_are_what_was_put,
        parts_are_joined_in_order,
        limits_are_kept,
        ranges_are_exact,
        tails_are_cut_at_the_start,
        what_is_not_there_is_not_found,
        nothing_is_visible_before_finish,
        a_dropped_writer_leaves_nothing,
        nothing_is_overwritten,
        listings_show_what_has_the_prefix,
        objects_are_not_foreign,
        listings_can_be_stopped_and_change_things,
        listings_bear_concurrent_changes,
    ];
    for check in checks {
        check(&*make());
    }
    names_may_be_long(&*make(), crate::MAX_NAME_LEN.saturating_sub(prefix_len));
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap_or_else(|error| panic!("the check uses a bad name: {error}"))
}

#[track_caller]
fn ok<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("an operation that must succeed failed: {error:?}"))
}

#[track_caller]
fn assert_not_found<T: std::fmt::Debug>(result: Result<T, Error>, object: &ObjectName) {
    match result {
        Err(Error::NotFound { name }) => assert_eq!(name, *object, "NotFound names another object"),
        other => panic!("{object} is not there, which gave {other:?} instead of NotFound"),
    }
}

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

/// A listing as a map; an object that shows twice fails the check.
#[track_caller]
fn listing(backend: &dyn Backend, prefix: &str) -> BTreeMap<String, u64> {
    thread::sleep(backend.settle_delay());
    let mut objects = BTreeMap::new();
    ok(backend.list(prefix, &mut |object| {
        let earlier = objects.insert(object.name.to_string(), object.size);
        assert_eq!(earlier, None, "{} is listed twice", object.name);
        Ok(())
    }));
    objects
}

fn objects_are_what_was_put(backend: &dyn Backend) {
    for (object, len) in [("empty", 0), ("a/small", 1), ("a/b/c/large", LARGE)] {
        let (object, bytes) = (name(object), pattern(len));
        ok(backend.put(&object, &[&bytes]));
        assert!(ok(backend.get(&object, len as u64)) == bytes, "{object}: the put bytes don't come back");
        backend.forget_cached(&object);
        assert!(ok(backend.get(&object, len as u64)) == bytes, "{object}: the bytes don't come back anew");
        assert_eq!(ok(backend.size(&object)), len as u64);

        let streamed = name(&format!("streamed/{object}"));
        let mut writer = ok(backend.create(&streamed));
        for piece in bytes.chunks(100_003) {
            writer.write_all(piece).unwrap_or_else(|error| panic!("{streamed}: a write failed: {error:?}"));
        }
        ok(writer.finish());
        assert!(ok(backend.get(&streamed, len as u64)) == bytes, "{streamed}: the written bytes don't come back");
    }
    assert!(!backend.location().is_empty());
}

fn parts_are_joined_in_order(backend: &dyn Backend) {
    let bytes = pattern(LARGE);
    // More parts than one vectored write takes (1024 on Linux), some of them empty.
    let mut parts: Vec<&[u8]> = bytes.chunks(1999).flat_map(|part| [part, &[]]).collect();
    parts.insert(0, &[]);
    let object = name("joined");
    ok(backend.put(&object, &parts));
    assert!(ok(backend.get(&object, u64::MAX)) == bytes, "the parts were not joined in their order");

    let empty = name("no-parts");
    ok(backend.put(&empty, &[]));
    assert_eq!(ok(backend.size(&empty)), 0);
}

fn limits_are_kept(backend: &dyn Backend) {
    let object = name("ten");
    ok(backend.put(&object, &[&pattern(10)]));
    assert_eq!(ok(backend.get(&object, u64::MAX)).len(), 10);
    match backend.get(&object, 9) {
        Err(Error::TooLarge { name, size: 10, limit: 9 }) => assert_eq!(name, object),
        other => panic!("a get of 10 bytes with limit 9 gave {other:?}"),
    }
}

fn ranges_are_exact(backend: &dyn Backend) {
    let (object, bytes) = (name("packs/ab/x"), pattern(LARGE));
    ok(backend.put(&object, &[&bytes]));
    for (start, len) in [(0, LARGE), (0, 1), (LARGE - 1, 1), (12_345, 262_144), (LARGE, 0), (7, 0)] {
        let mut buf = vec![0; len];
        ok(backend.read_into(&object, start as u64, &mut buf));
        assert!(buf == bytes[start..start + len], "bytes {start}..{} are wrong", start + len);
    }
    let end = LARGE as u64;
    for (start, len) in [(0, LARGE + 1), (end - 1, 2), (end, 1), (end + 1, 0), (u64::MAX, 1), (1 << 63, 1)] {
        match backend.read_into(&object, start, &mut vec![0; len]) {
            Err(Error::UnexpectedEnd { name, offset, wanted, size }) => {
                assert_eq!((name, offset, wanted, size), (object.clone(), start, len as u64, end));
            }
            other => panic!("{len} bytes from byte {start} of {end} gave {other:?}"),
        }
    }
    thread::scope(|scope| {
        for reader in 0..4 {
            let (object, bytes) = (&object, &bytes);
            scope.spawn(move || {
                let mut buf = vec![0; 65_536];
                for round in 0..20 {
                    let start = (reader * 20 + round) * 32_768;
                    ok(backend.read_into(object, start as u64, &mut buf));
                    assert!(buf == bytes[start..start + buf.len()], "readers disturb each other");
                }
            });
        }
    });
}

fn tails_are_cut_at_the_start(backend: &dyn Backend) {
    let (object, bytes) = (name("tail"), pattern(1000));
    ok(backend.put(&object, &[&bytes]));
    for len in [0, 1, 999, 1000, 1001, usize::MAX] {
        let tail = ok(backend.get_tail(&object, len));
        assert_eq!(tail.object_size, 1000);
        assert!(tail.bytes == bytes[1000 - len.min(1000)..], "the last {len} bytes of 1000 are wrong");
    }
    let empty = name("empty");
    ok(backend.put(&empty, &[]));
    assert_eq!(ok(backend.get_tail(&empty, 5)).bytes, b"");
}

fn what_is_not_there_is_not_found(backend: &dyn Backend) {
    ok(backend.put(&name("a/there"), &[b"x"]));
    ok(backend.put(&name("deleted"), &[b"x"]));
    ok(backend.read_into(&name("deleted"), 0, &mut [0]));
    ok(backend.delete(&name("deleted")));
    // The folder of an object is no object, and neither is what an object would be the folder of.
    for absent in ["absent", "no/such/folder", "a", "a/ther", "a/there/below", "deleted"] {
        let absent = name(absent);
        assert_not_found(backend.get(&absent, 10), &absent);
        assert_not_found(backend.read_into(&absent, 0, &mut [0]), &absent);
        assert_not_found(backend.read_into(&absent, 0, &mut []), &absent);
        assert_not_found(backend.get_tail(&absent, 10), &absent);
        backend.forget_cached(&absent);
        assert_not_found(backend.size(&absent), &absent);
        assert_not_found(backend.delete(&absent), &absent);
    }
    assert_eq!(ok(backend.size(&name("a/there"))), 1);
}

fn nothing_is_visible_before_finish(backend: &dyn Backend) {
    let object = name("packs/ab/x");
    let mut writer = ok(backend.create(&object));
    writer.write_all(&pattern(LARGE)).unwrap_or_else(|error| panic!("a write failed: {error:?}"));
    writer.flush().unwrap_or_else(|error| panic!("a flush failed: {error:?}"));
    assert_not_found(backend.size(&object), &object);
    assert_not_found(backend.get(&object, u64::MAX), &object);
    assert_eq!(listing(backend, ""), BTreeMap::new());
    ok(writer.finish());
    assert_eq!(listing(backend, ""), BTreeMap::from([("packs/ab/x".to_owned(), LARGE as u64)]));
}

fn a_dropped_writer_leaves_nothing(backend: &dyn Backend) {
    let object = name("packs/ab/x");
    let mut writer = ok(backend.create(&object));
    writer.write_all(b"half").unwrap_or_else(|error| panic!("a write failed: {error:?}"));
    drop(writer);
    assert_not_found(backend.size(&object), &object);
    assert_eq!(listing(backend, ""), BTreeMap::new());
    ok(backend.put(&object, &[b"whole"]));
    assert_eq!(ok(backend.get(&object, 5)), b"whole");
}

fn nothing_is_overwritten(backend: &dyn Backend) {
    let object = name("a/b");
    let early = ok(backend.create(&object));
    ok(backend.put(&object, &[b"first"]));
    let put = backend.put(&object, &[b"second"]);
    assert!(matches!(&put, Err(Error::AlreadyExists { name }) if *name == object), "a second put gave {put:?}");
    let finished = early.finish();
    assert!(
        matches!(&finished, Err(Error::AlreadyExists { .. })),
        "a writer that began before another finished gave {finished:?}"
    );
    let late = backend.create(&object).and_then(|writer| writer.finish());
    assert!(matches!(&late, Err(Error::AlreadyExists { .. })), "a late writer gave {late:?}");
    assert_eq!(ok(backend.get(&object, 10)), b"first");
    assert_eq!(listing(backend, "").len(), 1);
}

fn one_of_many_creators_wins(backend: &dyn Backend) {
    for round in 0..10 {
        let object = name(&format!("race/{round}/x"));
        let start = Barrier::new(RACERS);
        let winners: Vec<usize> = thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|racer| {
                    let (object, start) = (&object, &start);
                    scope.spawn(move || {
                        start.wait();
                        match backend.put(object, &[&[racer as u8; 1000]]) {
                            Ok(()) => Some(racer),
                            Err(Error::AlreadyExists { .. }) => None,
                            Err(error) => panic!("a creator in a race got {error:?}"),
                        }
                    })
                })
                .collect();
            racers.into_iter().filter_map(|racer| racer.join().unwrap_or(None)).collect()
        });
        assert_eq!(winners.len(), 1, "creators {winners:?} of one object all succeeded");
        assert_eq!(ok(backend.get(&object, 1000)), [winners[0] as u8; 1000]);
    }
}

fn one_of_many_deleters_wins(backend: &dyn Backend) {
    let object = name("race/x");
    ok(backend.put(&object, &[b"x"]));
    let start = Barrier::new(RACERS);
    let deleted: usize = thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    match backend.delete(&object) {
                        Ok(()) => 1,
                        Err(Error::NotFound { .. }) => 0,
                        Err(error) => panic!("a deleter in a race got {error:?}"),
                    }
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap_or(RACERS)).sum()
    });
    assert_eq!(deleted, 1, "one object was deleted {deleted} times");
}

fn names_may_be_long(backend: &dyn Backend, limit: usize) {
    let part = "p".repeat(crate::MAX_PART_LEN);
    let deep = "d/".repeat(limit / 2 - 1) + "xy";
    let mut wide = format!("{part}/{part}/{part}/{}", &part[1..]);
    wide.truncate(limit);
    for long in [part.clone(), wide, deep] {
        let object = name(&long);
        ok(backend.put(&object, &[b"x"]));
        assert_eq!(ok(backend.get(&object, 1)), b"x");
        assert_eq!(listing(backend, ""), BTreeMap::from([(long, 1)]));
        ok(backend.delete(&object));
    }
}

fn listings_show_what_has_the_prefix(backend: &dyn Backend) {
    let all = ["a.b", "a/b", "a/bc/d", "a/bc/e", "a/c", "ab", "b/a/b", "packs/ab/1", "packs/ab/2", "packs/b/1"];
    for (size, object) in all.iter().enumerate() {
        ok(backend.put(&name(object), &[&pattern(size)]));
    }
    let prefixes = [
        "",
        "a",
        "a/",
        "a/b",
        "a/b/",
        "a/bc/",
        "a/bc/e",
        "a/c",
        "b",
        "packs/",
        "packs/a",
        "packs/ab/",
        "z",
        "z/",
        "/",
        "//",
        "a//",
        "/a",
        ".",
        "..",
        "../",
        "../a",
        "a/..",
        "a/../",
        "a/./",
        "ä",
        "\0",
        "a\0/b",
    ];
    for prefix in prefixes {
        let expected: BTreeMap<String, u64> = (0..)
            .zip(all)
            .filter(|(_, object)| object.starts_with(prefix))
            .map(|(size, object)| (object.to_owned(), size))
            .collect();
        assert_eq!(listing(backend, prefix), expected, "the listing of prefix {prefix:?}");
    }
    assert_eq!(listing(backend, &"x".repeat(100_000)), BTreeMap::new());
}

fn objects_are_not_foreign(backend: &dyn Backend) {
    ok(backend.put(&name("a/b"), &[b"x"]));
    // Neither are those that are being written.
    let mut writer = ok(backend.create(&name("a/c/d")));
    writer.write_all(b"half").unwrap_or_else(|error| panic!("a write failed: {error:?}"));
    for prefix in ["", "a", "a/", "a/b", "a/c/", ".", "../", "ä", "a\0"] {
        ok(backend.list_foreign(prefix, &mut |other| panic!("{other} is foreign, and nobody put it there")));
    }
}

fn listings_can_be_stopped_and_change_things(backend: &dyn Backend) {
    for n in 0..20 {
        ok(backend.put(&name(&format!("a{}/{n}", n % 3)), &[b"x"]));
    }
    thread::sleep(backend.settle_delay());
    let mut seen = 0;
    let stopped = backend.list("", &mut |_| {
        seen += 1;
        if seen == 5 { Err(Error::Stopped) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(Error::Stopped)), "a stopped listing gave {stopped:?}");
    assert_eq!(seen, 5, "the visitor was called after it had stopped the listing");

    ok(backend.list("", &mut |object| backend.delete(&object.name)));
    assert_eq!(listing(backend, ""), BTreeMap::new());
}

fn listings_bear_concurrent_changes(backend: &dyn Backend) {
    for n in 0..40 {
        ok(backend.put(&name(&format!("steady/{}/{n}", n % 4)), &[b"x"]));
    }
    thread::scope(|scope| {
        for writer in 0..2 {
            scope.spawn(move || {
                // Two writers share folders, which come and go with their objects.
                for n in 0..60 {
                    let object = name(&format!("passing/{}/{writer}-{n}", n % 2));
                    ok(backend.put(&object, &[b"12"]));
                    ok(backend.delete(&object));
                }
            });
        }
        for _ in 0..20 {
            let seen = listing(backend, "");
            let steady = seen.iter().filter(|(object, size)| object.starts_with("steady/") && **size == 1).count();
            assert_eq!(steady, 40, "objects that nobody touches must show in every listing");
            let others = seen.iter().filter(|(object, _)| !object.starts_with("steady/"));
            for (object, size) in others {
                assert!(object.starts_with("passing/") && *size == 2, "{object} with {size} bytes was never put");
            }
        }
    });
    assert_eq!(listing(backend, "passing/"), BTreeMap::new());
}
