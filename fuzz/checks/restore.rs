//! What has to hold for a chain of any bytes as `_metadata` documents, and for a restore of it.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_cinder::{
    BackendContainers, ChunkedBackupDriver, Context, Error, Layer, Layout, ObjectPrefix, RestorePlan,
};
use cinderblock_pipeline::{Settings, Target};

/// Between two parts of an input.
const SEPARATOR: &[u8] = b"\n---\n";

/// Layers of a chain at most.
const MAX_LAYERS: usize = 3;

/// Volumes above this are planned, not restored: 16 MiB.
const MAX_RESTORED_BYTES: u64 = 16 << 20;

/// What the names of all objects begin with in the seeds.
const PREFIX: &str = "p";

type Driver = ChunkedBackupDriver<BackendContainers<Arc<Memory>>>;

/// Panics where something does not hold.
pub fn check(bytes: &[u8]) {
    let parts = parts(bytes);
    let (documents, data) = parts.split_at(parts.len().min(MAX_LAYERS));
    let mut layers = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        let prefix = ObjectPrefix::new(PREFIX).unwrap();
        match Layer::parse(&format!("c{number}"), prefix, *document, 1 << 20) {
            Ok(layer) => layers.push(layer),
            Err(
                Error::BadDocument { .. }
                | Error::InvalidBackup { .. }
                | Error::UnsupportedCompression { .. }
                | Error::NotEnoughMemory { .. },
            ) => return,
            Err(error) => panic!("{error}"),
        }
    }
    let plan = RestorePlan::new(&layers);
    check_plan(&layers, &plan);
    if plan.volume_bytes <= MAX_RESTORED_BYTES && !layers.is_empty() {
        restore(&layers, documents, data, plan.volume_bytes);
    }
}

fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
        parts.push(&rest[..at]);
        rest = &rest[at + SEPARATOR.len()..];
    }
    parts.push(rest);
    parts
}

/// Each byte that a layer has is planned once, from the newest layer that has it.
fn check_plan(layers: &[Layer], plan: &RestorePlan) {
    let ends = layers.iter().map(Layer::end);
    assert_eq!(plan.volume_bytes, ends.max().unwrap_or(0));
    assert!(plan.reads.is_sorted_by_key(|read| (read.layer, read.object)));
    let mut planned: Vec<(Range<u64>, usize)> = Vec::new();
    for read in &plan.reads {
        let object = &layers[read.layer].objects[read.object];
        assert!(!read.ranges.is_empty());
        for range in &read.ranges {
            assert!(range.start < range.end && object.offset <= range.start && range.end <= object.end());
            planned.push((range.clone(), read.layer));
        }
    }
    planned.sort_by_key(|(range, _)| range.start);
    assert!(planned.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start), "a byte is planned twice");
    for (layer, newest) in layers.iter().enumerate() {
        for object in &newest.objects {
            // What is planned within an object comes from its layer or a newer one, and leaves no gap.
            let mut at = object.offset;
            let first = planned.partition_point(|(range, _)| range.end <= object.offset);
            for (range, from) in &planned[first..] {
                if range.start >= object.end() {
                    break;
                }
                assert!(range.start <= at && *from >= layer);
                at = range.end;
            }
            assert!(at >= object.end(), "a byte is not planned");
        }
    }
}

/// Restores the chain from a container with these data objects, the first of each layer first.
fn restore(layers: &[Layer], documents: &[&[u8]], data: &[&[u8]], volume_bytes: u64) {
    static DRIVER: OnceLock<(Arc<Memory>, Mutex<Driver>)> = OnceLock::new();
    let (memory, driver) = DRIVER.get_or_init(|| {
        let memory = Arc::new(Memory::new());
        let containers = BackendContainers::new(Arc::clone(&memory), Layout::Posix, "");
        let settings = Settings { threads: 1, memory_bytes: Settings::MIN_MEMORY_BYTES };
        let context = Context { settings, ..Context::default() };
        (memory, Mutex::new(Driver::new(context, containers, 4096, 4096, None, false).unwrap()))
    });
    let driver = driver.lock().unwrap_or_else(PoisonError::into_inner);
    let mut data = data.iter().copied().cycle();
    let mut names = Vec::new();
    for (layer, document) in layers.iter().zip(documents) {
        let name = ObjectName::new(format!("{}/{}", layer.container, layer.prefix.metadata())).unwrap();
        memory.put(&name, &[document]).unwrap();
        names.push(name);
        for object in &layer.objects {
            let name = ObjectName::new(format!("{}/{}", layer.container, layer.name(object))).unwrap();
            memory.put(&name, &[data.next().unwrap_or_default()]).unwrap();
            names.push(name);
        }
    }
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("new");
    let restored = driver.restore_layers(layers, "v", &Target::New(path.clone()));
    assert_eq!(restored.is_ok(), path.exists(), "a new target appears if and only if it is whole");
    let existing = place.path().join("existing");
    let there = vec![0xa5; volume_bytes as usize];
    std::fs::write(&existing, &there).unwrap();
    let over = driver.restore_layers(layers, "v", &Target::Existing(existing.clone()));
    assert_eq!(restored.is_ok(), over.is_ok());
    let now = std::fs::read(&existing).unwrap();
    match (restored, over) {
        (Ok(_), Ok(_)) => {
            let new = std::fs::read(&path).unwrap();
            for read in RestorePlan::new(layers).reads {
                for range in read.ranges {
                    let range = range.start as usize..range.end as usize;
                    assert!(now[range.clone()] == new[range]);
                }
            }
        }
        (Err(first), Err(_)) => {
            assert!(now == there, "an existing target was touched: {first}");
            assert!(
                matches!(
                    first,
                    Error::DamagedObject { .. } | Error::InvalidBackup { .. } | Error::BackupOperation { .. }
                ),
                "{first}"
            );
        }
        _ => unreachable!(),
    }
    for layer in layers {
        let found = driver.inspect(&layer.container, layer.prefix.as_str(), true).unwrap();
        // There are no lists of hashes.
        assert!(found.missing.contains(&layer.prefix.sha256file()));
    }
    for name in names {
        memory.delete(&name).unwrap();
    }
}
