//! A volume that is given as changes to an earlier backup is backed up as if it had been given as a whole.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::{Backend, Faulty, Kind, Memory, ObjectName, Recording, Rule};
use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::{BackupOptions, Chunker, Control, Engine, Error, Parent, Part, Settings, Source};
use cinderblock_store::gc::{GcOptions, Observer, Progress};
use cinderblock_store::pack::frame::Compression;
use cinderblock_store::{Error as StoreError, OpenOptions, Record, Repository, Timestamp, VolumeId};

struct Place {
    storage: Arc<Memory>,
    repository: Repository,
    engine: Engine,
    _cache: tempfile::TempDir,
}

type Decorate = fn(Arc<Memory>) -> Arc<dyn Backend>;

impl Place {
    fn new(chunk_bytes: u64) -> Self {
        Self::around(chunk_bytes, |storage| storage)
    }

    fn around(chunk_bytes: u64, decorate: Decorate) -> Self {
        let storage = Arc::new(Memory::new());
        Repository::create(&*storage, ChunkSize::new(chunk_bytes).unwrap()).unwrap();
        Self::open(storage, decorate)
    }

    fn open(storage: Arc<Memory>, decorate: Decorate) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let options = OpenOptions::new(cache.path());
        let repository = Repository::open(decorate(Arc::clone(&storage)), &options).unwrap();
        let engine = Engine::new(Settings { threads: 2, memory_bytes: 0 }).unwrap();
        Self { storage, repository, engine, _cache: cache }
    }

    fn back_up(&self, source: Source, chunker: Chunker) -> Result<Record, Error> {
        let mut options = BackupOptions::new(VolumeId::new("vm").unwrap());
        options.chunker = chunker;
        options.parent = Parent::None;
        self.engine.backup(&self.repository, source, &options, &Control::default())
    }

    fn whole(&self, volume: &[u8], chunker: Chunker) -> Record {
        let reader = Box::new(io::Cursor::new(volume.to_vec()));
        self.back_up(Source::stream(reader, "whole"), chunker).unwrap()
    }

    fn overlay(&self, base: Option<&Record>, volume_bytes: u64, parts: &[Part]) -> Result<Record, Error> {
        let parts = parts.to_vec();
        let parts = parts.into_iter().map(Ok);
        self.back_up(Source::overlay(base.cloned(), volume_bytes, Box::new(parts), "changes"), Chunker::Fixed)
    }

    fn restored(&self, record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.engine.restore_to_writer(&self.repository, record, &mut bytes, &Control::default()).unwrap();
        bytes
    }

    fn backups(&self) -> usize {
        self.repository.backups(None).unwrap().len()
    }

    fn pack(&self, id: cinderblock_store::PackId) -> ObjectName {
        ObjectName::new(self.repository.pack_object(id).unwrap()).unwrap()
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Mostly short, sometimes long.
    fn length(&mut self) -> usize {
        let limit = 1 << self.below(20);
        self.below(limit) as usize
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn volume(random: &mut Random, length: usize) -> Vec<u8> {
    let mut volume = Vec::new();
    while volume.len() < length {
        let run = random.length();
        match random.below(3) {
            0 => volume.resize(volume.len() + 3 * run, 0),
            _ => volume.extend(noise(random.0, run)),
        }
    }
    volume.truncate(length);
    volume
}

/// Ascending, apart or touching, some of zeros, some empty, some at multiples of 32 KiB.
fn parts(random: &mut Random, volume_bytes: usize) -> Vec<Part> {
    let (mut parts, mut at) = (Vec::new(), 0);
    loop {
        if random.below(3) > 0 {
            at += random.length();
        }
        if random.below(3) == 0 {
            at = at.next_multiple_of(32 << 10);
        }
        let mut length = if random.below(3) == 0 { 32 << 10 } else { random.length() };
        if at > volume_bytes {
            return parts;
        }
        length = length.min(volume_bytes - at);
        let bytes = if random.below(5) == 0 { vec![0; length] } else { noise(random.0, length) };
        parts.push(Part { offset: at as u64, bytes });
        at += length;
        if random.below(30) == 0 {
            return parts;
        }
    }
}

/// What the parts make of the base.
fn reference(base: &[u8], volume_bytes: usize, parts: &[Part]) -> Vec<u8> {
    let mut volume = base.to_vec();
    volume.resize(volume_bytes, 0);
    for part in parts {
        volume[part.offset as usize..][..part.bytes.len()].copy_from_slice(&part.bytes);
    }
    volume
}

#[test]
fn it_is_the_same_backup_as_of_the_whole_volume() {
    for chunk_bytes in [4 << 10, 32 << 10] {
        let place = Place::new(chunk_bytes);
        let mut random = Random(chunk_bytes);
        for round in 0..24 {
            let length = 3_000_000 + random.length();
            let before = volume(&mut random, length);
            let chunker = if round % 4 == 3 { Chunker::FastCdc } else { Chunker::Fixed };
            let base = (round % 8 != 0).then(|| place.whole(&before, chunker));
            let before = if base.is_some() { before.as_slice() } else { &[] };
            // The same size, larger, smaller.
            let volume_bytes = match round % 3 {
                0 => length,
                1 => length + random.length() + 1,
                _ => length - random.length() - 1,
            };
            let parts = if round == 5 { Vec::new() } else { parts(&mut random, volume_bytes) };
            let expected = reference(before, volume_bytes, &parts);
            let record = place.overlay(base.as_ref(), volume_bytes as u64, &parts).unwrap();
            assert!(place.restored(&record) == expected, "round {round}");
            let whole = place.whole(&expected, Chunker::Fixed);
            assert_eq!(record.map, whole.map, "round {round}");
            assert_eq!(whole.statistics.new_chunks, 0);
            let given: usize = parts.iter().map(|part| part.bytes.len()).sum();
            let (got, want) = (record.statistics, whole.statistics);
            assert_eq!((got.read_bytes, got.chunks, got.zero_chunks), (given as u64, want.chunks, want.zero_chunks));
            // What the map refers to is in packs that the record names.
            assert!(whole.data_packs.iter().all(|pack| record.data_packs.contains(pack)), "round {round}");
        }
    }
}

#[test]
fn what_is_kept_is_not_read() {
    let place = Place::new(4096);
    let before = noise(1, 8 << 20);
    let base = place.whole(&before, Chunker::Fixed);
    let recording = Arc::new(Recording::with_log(Arc::clone(&place.storage)));
    let cache = tempfile::tempdir().unwrap();
    let repository = Repository::open(recording.clone(), &OpenOptions::new(cache.path())).unwrap();
    let parts =
        [Part { offset: 4096 * 700, bytes: noise(2, 4096 * 3) }, Part { offset: 4096 * 1500, bytes: vec![0; 4096] }];
    let frames_read = |parts: &[Part]| {
        recording.take_log();
        let given: Vec<_> = parts.iter().cloned().map(Ok).collect();
        let source = Source::overlay(Some(base.clone()), 8 << 20, Box::new(given.into_iter()), "x");
        let options = BackupOptions::new(VolumeId::new("vm").unwrap());
        let record = place.engine.backup(&repository, source, &options, &Control::default()).unwrap();
        assert!(place.restored(&record) == reference(&before, 8 << 20, parts));
        let data: Vec<_> = base.data_packs.iter().map(|pack| place.pack(*pack)).collect();
        let reads = recording.take_log().into_iter().filter(|entry| {
            entry.kind == Kind::ReadInto && entry.offset > 0 && data.iter().any(|pack| pack.as_str() == entry.name)
        });
        (reads.count(), record.statistics.new_chunks)
    };
    assert_eq!(frames_read(&parts), (0, 3));
    // A chunk that is changed in part needs the rest of it.
    assert_eq!(frames_read(&[Part { offset: 4096 * 10 + 1, bytes: vec![7] }]), (1, 1));
}

#[test]
fn a_chunk_that_the_repository_lost_fails_the_backup_unless_a_part_covers_it() {
    let first = Place::new(4096);
    let before = noise(1, 4096 * 1000);
    let base = first.whole(&before, Chunker::Fixed);
    for pack in &base.data_packs {
        first.storage.delete(&first.pack(*pack)).unwrap();
    }
    let place = Place::open(first.storage, |storage| storage);
    let lost = |parts: &[Part]| match place.overlay(Some(&base), before.len() as u64, parts) {
        Err(Error::BaseLost { base: id, offset, source, .. }) => {
            assert!(id == base.id && source.is_damage(), "{source:?}");
            offset
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(lost(&[]), 0);
    assert_eq!(lost(&[Part { offset: 0, bytes: noise(2, 4096 * 500) }]), 4096 * 500);
    assert_eq!(lost(&[Part { offset: 0, bytes: noise(2, 4096 * 1000 - 1) }]), 4096 * 999);
    assert_eq!(place.backups(), 1);
    let record = place.overlay(Some(&base), before.len() as u64, &[Part { offset: 0, bytes: noise(2, before.len()) }]);
    assert!(place.restored(&record.unwrap()) == noise(2, before.len()));
}

#[test]
fn a_base_whose_map_is_lost_fails_the_backup() {
    let first = Place::new(4096);
    let base = first.whole(&noise(1, 4096 * 3000), Chunker::Fixed);
    for pack in &base.map_packs {
        first.storage.delete(&first.pack(*pack)).unwrap();
    }
    let place = Place::open(first.storage, |storage| storage);
    let failed = place.overlay(Some(&base), 4096 * 3000, &[]);
    assert!(matches!(failed, Err(Error::BaseLost { offset: 0, .. })), "{failed:?}");
    assert_eq!(place.backups(), 1);
}

fn failing(place: &Place, base: &Record, parts: Vec<io::Result<Part>>) -> (u64, io::Error) {
    let source = Source::overlay(Some(base.clone()), 1 << 20, Box::new(parts.into_iter()), "volume-backup");
    match place.back_up(source, Chunker::Fixed) {
        Err(Error::ReadSource { path, offset, source }) => {
            assert_eq!(path, "volume-backup");
            (offset, source)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_error_of_the_parts_is_kept_as_it_is_and_leaves_no_backup() {
    let place = Place::new(4096);
    let base = place.whole(&noise(1, 1 << 20), Chunker::Fixed);
    let wrong = io::Error::other(StoreError::BackupNotFound { text: "this one".to_owned() });
    let good = Part { offset: 5000, bytes: noise(2, 300_000) };
    let (offset, error) = failing(&place, &base, vec![Ok(good), Err(wrong)]);
    assert_eq!(offset, 305_000);
    let inner = error.into_inner().unwrap().downcast::<StoreError>().unwrap();
    assert!(matches!(*inner, StoreError::BackupNotFound { text } if text == "this one"));
    assert_eq!(place.backups(), 1);
}

#[test]
fn parts_that_do_not_do_are_refused() {
    let place = Place::new(4096);
    let base = place.whole(&noise(1, 1 << 20), Chunker::Fixed);
    let part = |offset, length| Ok(Part { offset, bytes: noise(offset, length) });
    for (parts, at) in [
        (vec![part(8192, 4096), part(4096, 4096)], 4096),
        (vec![part(5000, 100), part(5099, 100)], 5099),
        (vec![part(5000, 100), part(4000, 0)], 4000),
        (vec![part((1 << 20) - 5, 6)], (1 << 20) - 5),
        (vec![part(1 << 20, 1)], 1 << 20),
        (vec![part(u64::MAX, 1)], u64::MAX),
    ] {
        let (offset, error) = failing(&place, &base, parts);
        assert_eq!((offset, error.kind()), (at, io::ErrorKind::InvalidData));
    }
    assert_eq!(place.backups(), 1);
    place.overlay(Some(&base), 1 << 20, &[Part { offset: 1 << 20, bytes: vec![] }]).unwrap();
}

#[test]
fn an_overlay_that_cannot_be_is_refused() {
    let place = Place::new(4096);
    let overlay = |bytes| Source::overlay(None, bytes, Box::new(std::iter::empty()), "changes");
    let by_content = place.back_up(overlay(10), Chunker::FastCdc);
    assert!(matches!(by_content, Err(Error::BadSource { path, .. }) if path.as_os_str() == "changes"));
    let huge = place.back_up(overlay(u64::MAX), Chunker::Fixed);
    assert!(matches!(huge, Err(Error::SourceTooLarge { path, .. }) if path == "changes"));
    assert!(place.restored(&place.back_up(overlay(0), Chunker::Fixed).unwrap()).is_empty());
    let empty = place.back_up(overlay(100_000), Chunker::Fixed).unwrap();
    assert_eq!(place.restored(&empty), vec![0; 100_000]);
    assert_eq!((empty.statistics.chunks, empty.statistics.zero_chunks), (0, 25));
}

#[test]
fn parts_that_do_not_come_keep_no_backup_from_ending() {
    // Without end, and silent after the first.
    let silent = || {
        let (sender, receiver) = std::sync::mpsc::channel();
        sender.send(Part { offset: 0, bytes: noise(1, 40 << 20) }).unwrap();
        (sender, Source::overlay(None, 64 << 20, Box::new(receiver.into_iter().map(Ok)), "silent"))
    };
    let place = Place::new(4096);
    let (_open, source) = silent();
    let control = Control::default();
    let options = BackupOptions::new(VolumeId::new("vm").unwrap());
    let result = std::thread::scope(|scope| {
        let running = scope.spawn(|| place.engine.backup(&place.repository, source, &options, &control));
        std::thread::sleep(Duration::from_millis(200));
        control.cancel.cancel();
        running.join().unwrap()
    });
    assert!(result.unwrap_err().is_cancelled());

    let place = Place::around(4096, |storage| {
        let faulty = Faulty::new(storage);
        faulty.add(Rule::on(Kind::Put).prefix("packs/"));
        faulty.add(Rule::on(Kind::Create).prefix("packs/"));
        Arc::new(faulty)
    });
    let (_open, source) = silent();
    let mut options = options;
    options.compression = Compression::None;
    let failed = place.engine.backup(&place.repository, source, &options, &Control::default());
    assert!(matches!(failed, Err(Error::Store(StoreError::Backend(_)))), "{failed:?}");
}

#[test]
fn a_panic_of_the_parts_is_an_error() {
    let place = Place::new(4096);
    let parts = (0..3_u64).map(|number| {
        assert!(number < 2, "on purpose");
        Ok(Part { offset: number * 4096, bytes: noise(number, 4096) })
    });
    let failed = place.back_up(Source::overlay(None, 1 << 20, Box::new(parts), "panics"), Chunker::Fixed);
    assert!(matches!(failed, Err(Error::ReadSource { offset: 8192, .. })), "{failed:?}");
    assert_eq!(place.backups(), 0);
}

#[test]
fn the_record_has_the_time_and_the_parent_that_were_given() {
    let place = Place::new(4096);
    let base = place.whole(&noise(1, 1 << 20), Chunker::Fixed);
    let mut options = BackupOptions::new(VolumeId::new("vm").unwrap());
    options.created_at = Some(Timestamp::from_microseconds(1_234_567_890_123_456));
    options.parent = Parent::Backup(base.volume.clone(), base.id);
    let source = Source::overlay(Some(base.clone()), 1 << 20, Box::new(std::iter::empty()), "changes");
    let record = place.engine.backup(&place.repository, source, &options, &Control::default()).unwrap();
    let stored = place.repository.record(&record.volume, record.id).unwrap();
    assert_eq!(stored.created_at.microseconds(), 1_234_567_890_123_456);
    assert_eq!((stored.parent, stored.map), (Some(base.id), base.map));
}

/// A collector that has waited for all who were at work does not wait for an overlay that begins then. It found, in a pack that was
/// about to be deleted, a chunk that nobody else needed, and lost it.
#[test]
fn an_overlay_that_begins_during_a_collection_shares_nothing_that_is_about_to_go() {
    let place = Place::new(4096);
    let base = place.whole(&noise(1, 16 << 10), Chunker::Fixed);
    let garbage = place.whole(&noise(2, 16 << 10), Chunker::Fixed);
    place.repository.delete_backup(&garbage.volume, garbage.id).unwrap();
    // Another process, which has its own index.
    let other = Place::open(place.storage.clone(), |storage| storage);
    let (made, markings) = (std::cell::OnceCell::new(), std::cell::Cell::new(0));
    let begin = |progress: &Progress| {
        if matches!(progress, Progress::Marking { done: 0, .. }) {
            markings.set(markings.get() + 1);
        }
        // It has waited, and listed the records that it will look at.
        if markings.get() == 2 {
            made.get_or_init(|| {
                let part = Part { offset: 4096, bytes: noise(2, 16 << 10)[..8192].to_vec() };
                other.overlay(Some(&base), 16 << 10, &[part]).unwrap()
            });
        }
        true
    };
    let report = place.repository.collect_garbage(&GcOptions::default(), &Observer::new(&begin)).unwrap();
    assert!(report.deleted > 0);
    let expected = [&noise(1, 16 << 10)[..4096], &noise(2, 16 << 10)[..8192], &noise(1, 16 << 10)[12_288..]].concat();
    assert!(place.restored(made.get().expect("the collection marked twice")) == expected);
}
