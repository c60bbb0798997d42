//! Every backend, and every decorator around one, passes the conformance suite.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::{
    Backend, Crashing, Faulty, Folder, Kind, Limited, Line, Memory, Recording, Rule, Throttled, conformance,
};

#[test]
fn memory_conforms() {
    conformance::run(&|| Arc::new(Memory::new()));
}

/// Runs the suite on folders below `place`.
fn folders_conform(place: &Path) {
    let places = std::cell::Cell::new(0);
    conformance::run(&|| {
        places.set(places.get() + 1);
        Arc::new(Folder::create(place.join(places.get().to_string())).unwrap())
    });
}

#[test]
fn folder_conforms() {
    let place = tempfile::tempdir().unwrap();
    folders_conform(place.path());
}

#[test]
fn folder_on_a_file_system_in_memory_conforms() {
    if let Ok(place) = tempfile::tempdir_in("/dev/shm") {
        folders_conform(place.path());
    }
}

#[test]
fn recording_conforms() {
    conformance::run(&|| Arc::new(Recording::with_log(Memory::new())));
}

#[test]
fn crashing_conforms() {
    conformance::run(&|| Arc::new(Crashing::new(Memory::new())));
}

#[test]
fn throttled_conforms() {
    conformance::run(&|| {
        let latency = Duration::from_micros(50);
        Arc::new(Throttled::new(Memory::new()).latency(latency).bytes_per_second(4_000_000_000))
    });
}

#[test]
fn limited_conforms() {
    let line = Arc::new(Line::new(std::num::NonZeroU64::new(4_000_000_000), std::num::NonZeroU64::new(4_000_000_000)));
    conformance::run(&|| Arc::new(Limited::new(Memory::new(), Arc::clone(&line))));
}

#[test]
fn faulty_without_a_rule_that_applies_conforms() {
    conformance::run(&|| {
        let backend = Faulty::new(Memory::new());
        backend.add(Rule::on(Kind::Get).prefix("no-such-object"));
        Arc::new(backend)
    });
}

#[test]
fn decorators_around_each_other_and_pointers_conform() {
    conformance::run(&|| {
        let inner: Box<dyn Backend> = Box::new(Recording::new(Arc::new(Memory::new())));
        Arc::new(Throttled::new(Faulty::new(inner)))
    });
}
