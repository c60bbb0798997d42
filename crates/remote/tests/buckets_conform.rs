//! Buckets do what every backend does: on a store in memory always, on servers where the environment names them.
//!
//! `make test-remote` starts the servers and sets the variables.

mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cinderblock_backend::{Backend as _, ObjectName, conformance};
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
        bucket.list("", &mut |object| Ok(names.push(object.name.to_string()))).unwrap();
        names.sort();
        names
    };
    assert_eq!(seen(&neighbours[0]), ["only-mine", "q/only-mine"]);
    assert_eq!(seen(&neighbours[1]), ["only-mine"]);
    assert_eq!(seen(&neighbours[2]), ["only-mine"]);
}

/// Runs the suite in the container that an environment variable names. Each check has a prefix of its own there.
fn conforms(variable: &str) {
    let Some(container) = servers::place(variable) else { return };
    let checks = AtomicU32::new(0);
    let prefix = |check: u32| format!("conformance-{:08x}-{check:02}", std::process::id());
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
