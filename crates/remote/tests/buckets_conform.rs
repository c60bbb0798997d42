//! Buckets do what every backend does: on a store in memory always, on servers where the environment names them.
//!
//! `make test-remote` starts the servers and sets the variables.

mod servers;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cinderblock_backend::{Backend, Error, ObjectName, conformance};
use cinderblock_remote::{Bucket, Place, Settings};
use object_store::memory::InMemory;

#[test]
fn a_bucket_in_memory_conforms() {
    for prefix in ["", "some/prefix"] {
        conformance::run(&|| {
            Arc::new(Bucket::new(Arc::new(InMemory::new()), prefix, "memory", &Settings::default()).unwrap())
        });
    }
}

/// Two buckets in one store, one's prefix the beginning of the other's.
#[test]
fn prefixes_are_kept_apart() {
    let store = Arc::new(InMemory::new());
    let bucket = |prefix| Bucket::new(store.clone(), prefix, "memory", &Settings::default()).unwrap();
    let neighbours: Vec<Bucket> = ["p", "p/q", "pq"].into_iter().map(bucket).collect();
    for neighbour in &neighbours {
        neighbour.put(&ObjectName::new("only-mine").unwrap(), &[b"mine"]).unwrap();
    }
    let seen = |bucket: &Bucket| {
        let mut names = Vec::new();
        bucket
            .list("", &mut |object| {
                names.push(object.name.to_string());
                Ok(())
            })
            .unwrap();
        names.sort();
        names
    };
    assert_eq!(seen(&neighbours[0]), ["only-mine", "q/only-mine"]);
    assert_eq!(seen(&neighbours[1]), ["only-mine"]);
    assert_eq!(seen(&neighbours[2]), ["only-mine"]);
}

/// Objects that are larger than a part (8 MiB) go up in several, which the suite's are too small for.
fn large_objects_go_up_in_parts(bucket: &dyn Backend) {
    let (name, other) = (ObjectName::new("large/x").unwrap(), ObjectName::new("large/dropped").unwrap());
    for len in [8 << 20, (8 << 20) + 1, (50 << 20) + 17_usize] {
        let bytes: Vec<u8> = (0..len as u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        let write = |name: &ObjectName| {
            let mut writer = bucket.create(name).unwrap();
            bytes.chunks(1_000_003).for_each(|piece| writer.write_all(piece).unwrap());
            writer
        };
        drop(write(&other));
        let (first, second) = (write(&name), write(&name));
        assert!(bucket.size(&name).unwrap_err().is_not_found());
        first.finish().unwrap();
        let late = second.finish();
        assert!(late.as_ref().is_err_and(Error::is_already_exists), "{late:?}");
        assert_eq!(bucket.size(&name).unwrap(), len as u64);
        assert!(bucket.get(&name, len as u64).unwrap() == bytes);
        let mut listed = Vec::new();
        bucket
            .list("large/", &mut |object| {
                listed.push((object.name, object.size));
                Ok(())
            })
            .unwrap();
        assert_eq!(listed, [(name.clone(), len as u64)]);
        bucket.delete(&name).unwrap();
    }
}

#[test]
fn large_objects_go_up_in_parts_in_memory() {
    let bucket = Bucket::new(Arc::new(InMemory::new()), "p", "memory", &Settings::default()).unwrap();
    large_objects_go_up_in_parts(&bucket);
}

/// Runs the suite in the container that an environment variable names. Each check has a prefix of its own there.
fn conforms(variable: &str) {
    let Some(container) = servers::place(variable) else { return };
    let checks = AtomicU32::new(0);
    let prefix = |check: u32| format!("conformance-{:08x}-{check:02}", std::process::id());
    let large: Place = format!("{container}/{}", prefix(99)).parse().unwrap();
    large_objects_go_up_in_parts(&*cinderblock_remote::open(&large, &Settings::default()).unwrap());
    conformance::run_below(
        &|| {
            let place: Place =
                format!("{container}/{}", prefix(checks.fetch_add(1, Ordering::Relaxed))).parse().unwrap();
            cinderblock_remote::open(&place, &Settings::default()).unwrap()
        },
        prefix(0).len() + 1,
    );
}

#[test]
fn seaweedfs_conforms() {
    conforms("CINDERBLOCK_TEST_S3");
}

#[test]
fn moto_conforms() {
    conforms("CINDERBLOCK_TEST_MOTO");
}

#[test]
fn azurite_conforms() {
    conforms("CINDERBLOCK_TEST_AZURE");
}
