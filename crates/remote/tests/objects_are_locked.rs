//! Objects of a bucket with Object Lock are kept, on the servers that have it and that the environment names.

mod servers;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cinderblock_backend::{Backend, Error, ObjectName, Retention, RetentionMode};
use cinderblock_remote::{Place, Settings};

fn open(container: &str) -> Arc<dyn Backend> {
    let place: Place = format!("{container}/locks-{:08x}", std::process::id()).parse().unwrap();
    cinderblock_remote::open(&place, &Settings::default()).unwrap()
}

fn keep(days: u64, mode: RetentionMode) -> Retention {
    Retention { until: SystemTime::now() + Duration::from_secs(days * 86_400), mode }
}

/// In a bucket that was made with Object Lock. moto remembers locks, shortens them when it is asked to, and breaks
/// down where there is no such object.
fn locks(variable: &str, forbids_shortening: bool) {
    let Some(container) = servers::place(variable) else { return };
    let backend = open(&container);
    assert!(backend.can_retain().unwrap());
    let names: Vec<ObjectName> = (0..50).map(|n| ObjectName::new(format!("packs/{n:02}")).unwrap()).collect();
    names.iter().for_each(|name| backend.put(name, &[b"bytes"]).unwrap());
    let (_, some) = names.split_last().unwrap();
    assert_eq!(backend.retained(&names).unwrap(), vec![None; names.len()]);

    let (first, longer) = (keep(1, RetentionMode::Governance), keep(2, RetentionMode::Governance));
    backend.retain(some, first).unwrap();
    let mut expected = vec![Some(first.whole_seconds()); some.len()];
    expected.push(None);
    assert_eq!(backend.retained(&names).unwrap(), expected);

    // Longer; not shorter.
    backend.retain(&names, longer).unwrap();
    assert_eq!(backend.retained(&names).unwrap(), vec![Some(longer.whole_seconds()); names.len()]);
    let missing = [ObjectName::new("missing").unwrap()];
    let last = &[ObjectName::new("for-good").unwrap()];
    backend.put(&last[0], &[b"bytes"]).unwrap();
    backend.retain(last, keep(3, RetentionMode::Compliance)).unwrap();
    let kept = backend.retained(last).unwrap();
    assert!(kept[0] > Some(longer.whole_seconds()), "{kept:?}");
    if forbids_shortening {
        backend.retain(last, keep(1, RetentionMode::Compliance)).unwrap();
        assert_eq!(backend.retained(last).unwrap(), kept, "a lock is never shortened");
        assert!(backend.retain(&missing, first).unwrap_err().is_not_found());
    }

    assert_eq!(backend.retained(&missing).unwrap(), [None]);
}

/// In a bucket that was made without.
fn does_not_lock(variable: &str) {
    let Some(container) = servers::place(variable) else { return };
    let backend = open(&container);
    assert!(!backend.can_retain().unwrap());
    let name = [ObjectName::new("a").unwrap()];
    backend.put(&name[0], &[b"bytes"]).unwrap();
    assert_eq!(backend.retained(&name).unwrap(), [None]);
    let refused = backend.retain(&name, keep(1, RetentionMode::Governance)).unwrap_err();
    assert!(matches!(refused, Error::CannotRetain { .. }), "{refused}");
    backend.delete(&name[0]).unwrap();
}

#[test]
fn moto_locks() {
    locks("CINDERBLOCK_TEST_MOTO_LOCKED", false);
}

#[test]
fn seaweedfs_locks() {
    locks("CINDERBLOCK_TEST_S3_LOCKED", true);
}

#[test]
fn a_bucket_of_moto_without_object_lock_is_told() {
    does_not_lock("CINDERBLOCK_TEST_MOTO");
}

#[test]
fn a_bucket_of_seaweedfs_without_object_lock_is_told() {
    does_not_lock("CINDERBLOCK_TEST_S3");
}
