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

/// What the last part of an input begins with where it says what to do to the container; see [`Choices`].
const CHOICES: &[u8] = b"choices:";

/// What names of strays have behind the prefix.
const STRAYS: [&str; 5] = ["", "-1", "x", "_metadata2", "-00001/x"];

type Driver = ChunkedBackupDriver<BackendContainers<Arc<Memory>>>;

/// A container and a document.
type Place<'a> = (String, &'a [u8]);

/// What is done to a chain; each is a byte, and `-` or no byte for nothing.
#[derive(Default)]
struct Choices {
    /// The data object that is left out, counted over all layers.
    missing: Option<usize>,
    /// The stray object that is put beside the first layer's.
    stray: Option<usize>,
    /// The layer that the first one changes places with.
    swap: Option<usize>,
}

impl Choices {
    /// Takes them off the end of an input, where they are.
    fn take(parts: &mut Vec<&[u8]>) -> Self {
        let Some(bytes) = parts.last().and_then(|last| last.strip_prefix(CHOICES)) else { return Self::default() };
        let choice = |at: usize| bytes.get(at).filter(|byte| **byte != b'-').map(|byte| usize::from(*byte));
        let choices = Self { missing: choice(0), stray: choice(1), swap: choice(2) };
        parts.pop();
        choices
    }
}

/// Panics where something does not hold.
pub fn check(bytes: &[u8]) {
    static DRIVER: OnceLock<(Arc<Memory>, Mutex<Driver>)> = OnceLock::new();
    let (memory, driver) = DRIVER.get_or_init(|| {
        let memory = Arc::new(Memory::new());
        let containers = BackendContainers::new(Arc::clone(&memory), Layout::Posix, "");
        let settings = Settings { threads: 1, memory_bytes: Settings::MIN_MEMORY_BYTES };
        let context = Context { settings, ..Context::default() };
        (memory, Mutex::new(Driver::new(context, containers, 4096, 4096, None, false).unwrap()))
    });
    let driver = driver.lock().unwrap_or_else(PoisonError::into_inner);

    let mut parts = parts(bytes);
    let choices = Choices::take(&mut parts);
    let (documents, data) = parts.split_at(parts.len().min(MAX_LAYERS));
    let mut places: Vec<Place<'_>> =
        documents.iter().enumerate().map(|(number, document)| (format!("c{number}"), *document)).collect();
    if let (Some(swap), false) = (choices.swap, places.is_empty()) {
        let with = swap % places.len();
        places.swap(0, with);
    }
    let layers: Option<Vec<Layer>> = places.iter().map(parse).collect();
    check_chain(&driver, memory, &places, layers.as_deref());
    let Some(layers) = layers else { return };
    let plan = RestorePlan::new(&layers);
    check_plan(&layers, &plan);
    if plan.volume_bytes <= MAX_RESTORED_BYTES && !layers.is_empty() {
        restore((&driver, memory), &layers, &places, data, &choices);
    }
}

/// Whether an error says that a document is not what it should be.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::BadDocument { .. }
            | Error::InvalidBackup { .. }
            | Error::UnsupportedCompression { .. }
            | Error::NotEnoughMemory { .. }
    )
}

fn parse((container, document): &Place<'_>) -> Option<Layer> {
    match Layer::parse(container, ObjectPrefix::new(PREFIX).unwrap(), *document, 1 << 20) {
        Ok(layer) => Some(layer),
        Err(error) if is_refusal(&error) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Puts the documents where they belong; their names.
fn put_documents(memory: &Memory, places: &[Place<'_>]) -> Vec<ObjectName> {
    let put = |(container, document): &Place<'_>| {
        let name = ObjectName::new(format!("{container}/{PREFIX}_metadata")).unwrap();
        memory.put(&name, &[document]).unwrap();
        name
    };
    places.iter().map(put).collect()
}

/// What is taken for a chain is one, and documents without objects, whatever they are, can be inspected.
fn check_chain(driver: &Driver, memory: &Memory, places: &[Place<'_>], layers: Option<&[Layer]>) {
    let names = put_documents(memory, places);
    let wanted: Vec<(String, String)> = places.iter().map(|(at, _)| (at.clone(), PREFIX.to_owned())).collect();
    match driver.chain(&wanted) {
        Ok(chain) => {
            assert_eq!(chain.len(), places.len());
            for (layer, parsed) in chain.iter().zip(layers.unwrap_or_default()) {
                assert_eq!(layer.objects, parsed.objects);
            }
            let mut before = None;
            for layer in &chain {
                assert_eq!(layer.metadata.parent_id, before, "no increment of the layer before it");
                assert_eq!(layer.metadata.head.volume_id, chain[0].metadata.head.volume_id);
                before = Some(layer.metadata.head.backup_id.clone());
            }
        }
        Err(error) => assert!(is_refusal(&error), "{error}"),
    }
    for (container, _) in places {
        match driver.inspect(container, PREFIX, false) {
            Ok(found) => assert!(!found.is_whole() && found.stray.is_empty()),
            Err(error) => assert!(matches!(error, Error::NotEnoughMemory { .. }), "{error}"),
        }
    }
    for name in names {
        memory.delete(&name).unwrap();
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

/// Restores the chain from containers with these data objects, the first of each layer first.
fn restore(
    (driver, memory): (&Driver, &Memory),
    layers: &[Layer],
    places: &[Place<'_>],
    data: &[&[u8]],
    choices: &Choices,
) {
    let mut data = data.iter().copied().cycle();
    let mut names = put_documents(memory, places);
    let objects: Vec<(&str, String)> = layers
        .iter()
        .flat_map(|layer| layer.objects.iter().map(|object| (layer.container.as_str(), layer.name(object))))
        .collect();
    let missing = choices.missing.and_then(|choice| objects.get(choice.checked_rem(objects.len())?));
    for object @ (container, name) in &objects {
        let bytes = data.next().unwrap_or_default();
        if missing != Some(object) {
            let name = ObjectName::new(format!("{container}/{name}")).unwrap();
            memory.put(&name, &[bytes]).unwrap();
            names.push(name);
        }
    }
    let stray = choices.stray.map(|choice| format!("{PREFIX}{}", STRAYS[choice % STRAYS.len()])).filter(|stray| {
        let name = ObjectName::new(format!("{}/{stray}", layers[0].container)).unwrap();
        match memory.put(&name, &[b"stray"]) {
            Ok(()) => {
                names.push(name);
                true
            }
            // As in a folder, `p-00001/x` cannot be where `p-00001` is.
            Err(cinderblock_backend::Error::Obstructed { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    });
    let wrong: Vec<&str> = missing.map(|(_, name)| name.as_str()).into_iter().chain(stray.as_deref()).collect();
    let volume_bytes = RestorePlan::new(layers).volume_bytes;
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
            assert!(wrong.is_empty(), "it was restored beside or without {wrong:?}");
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
            // The volume's metadata of a layer are looked at before the objects of the next one.
            let named =
                matches!(&first, Error::InvalidBackup { reason } if wrong.iter().any(|name| reason.contains(name)));
            assert!(wrong.is_empty() || named || matches!(first, Error::BackupOperation { .. }), "{first}");
        }
        _ => unreachable!(),
    }
    for (number, layer) in layers.iter().enumerate() {
        let found = driver.inspect(&layer.container, layer.prefix.as_str(), true).unwrap();
        // There are no lists of hashes.
        let mut expected = vec![layer.prefix.sha256file()];
        expected.extend(missing.filter(|(at, _)| *at == layer.container).map(|(_, name)| name.clone()));
        assert!(found.missing.len() == expected.len() && expected.iter().all(|name| found.missing.contains(name)));
        assert_eq!(found.stray.first(), stray.as_ref().filter(|_| number == 0));
    }
    for name in names {
        memory.delete(&name).unwrap();
    }
}
