//! Copies into another repository: equal bytes, nothing twice, and no backup where something is lost.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use cinderblock_backend::{Faulty, Kind, Memory, Recording, Rule};
use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::{BackupOptions, Control, CopySummary, Error, ReadData, Source, VerifyOptions};
use cinderblock_store::gc::{GcOptions, Observer};
use cinderblock_store::map::Shape;
use cinderblock_store::pack::frame::{Compression, FrameChunk};
use cinderblock_store::pack::{Content, moved};
use cinderblock_store::{ChunkId, OpenOptions, Record, Repository, VolumeId};
use common::*;

/// Another repository, in memory.
struct Other {
    storage: Arc<Recording<Faulty<Memory>>>,
    repository: Repository,
    cache: tempfile::TempDir,
}

impl Other {
    fn new() -> Self {
        Self::with_chunks(CHUNK as u64)
    }

    fn with_chunks(bytes: u64) -> Self {
        let storage = Arc::new(Recording::with_log(Faulty::new(Memory::new())));
        Repository::create(&*storage, ChunkSize::new(bytes).unwrap()).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let repository = Repository::open(storage.clone(), &OpenOptions::new(cache.path())).unwrap();
        storage.reset();
        Self { storage, repository, cache }
    }

    /// As a process that begins sees it.
    fn reopen(&mut self) {
        self.repository = Repository::open(self.storage.clone(), &OpenOptions::new(self.cache.path())).unwrap();
    }

    fn put_bytes(&self) -> u64 {
        self.storage.tally(Kind::Put).bytes
    }

    fn backups(&self) -> usize {
        self.repository.backups(None).unwrap().len()
    }
}

fn copy(fixture: &Fixture, record: &Record, other: &Other) -> Result<CopySummary, Error> {
    fixture.engine.copy(&fixture.repository, record, &other.repository, &Control::default())
}

fn assert_equal(fixture: &Fixture, record: &Record, other: &Other, volume: &[u8]) {
    let copied = other.repository.record(&record.volume, record.id).unwrap();
    assert_eq!(copied.map, record.map);
    assert_eq!(copied.created_at, record.created_at);
    let mut bytes = Vec::new();
    fixture.engine.restore_to_writer(&other.repository, &copied, &mut bytes, &Control::default()).unwrap();
    assert!(bytes == volume);
    let all = VerifyOptions { backups: None, read_data: ReadData::All };
    let report = fixture.engine.verify(&other.repository, &all, &Control::default()).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// Noise, zeros, text, and chunks that are there twice.
fn mixed(seed: u64, chunks: usize) -> Vec<u8> {
    let mut volume = noise(seed, chunks * CHUNK);
    volume.extend(vec![0; 1100 * CHUNK]);
    volume.extend(text(seed, 50 * CHUNK));
    volume.extend(noise(seed, 10 * CHUNK + 77));
    volume
}

#[test]
fn a_copy_has_equal_bytes_and_a_second_moves_nothing() {
    let (fixture, other) = (Fixture::new(), Other::new());
    let volume = mixed(1, 3000);
    let record = fixture.store_fixed("vm", &volume);
    let summary = copy(&fixture, &record, &other).unwrap();
    assert!(!summary.already_there && summary.moved_frames > 370, "{summary:?}");
    assert_eq!(summary.made_frames, 0);
    assert_equal(&fixture, &record, &other, &volume);

    other.storage.reset();
    let again = copy(&fixture, &record, &other).unwrap();
    assert!(again.already_there);
    assert_eq!(other.put_bytes(), 0);

    // Without the record, the packs are used as they are.
    other.repository.delete_backup(&record.volume, record.id).unwrap();
    let again = copy(&fixture, &record, &other).unwrap();
    assert_eq!((again.new_chunks, again.stored_bytes, again.read_bytes), (0, 0, 0));
    assert_equal(&fixture, &record, &other, &volume);
}

#[test]
fn an_increment_moves_only_what_is_new() {
    let (fixture, other) = (Fixture::new(), Other::new());
    let mut volume = noise(1, 2000 * CHUNK);
    let first = fixture.store_fixed("vm", &volume);
    copy(&fixture, &first, &other).unwrap();
    volume[500 * CHUNK..516 * CHUNK].copy_from_slice(&noise(2, 16 * CHUNK));
    let second = fixture.store_fixed("vm", &volume);
    other.storage.reset();
    let summary = copy(&fixture, &second, &other).unwrap();
    assert_eq!((summary.new_chunks, summary.new_bytes), (16, 16 * CHUNK as u64));
    // 16 chunks that do not compress, one leaf of 36 KiB, and what is around: directories, segments, record, announcement.
    assert!(other.put_bytes() < (16 * CHUNK + 160 * 1024) as u64, "{}", other.put_bytes());
    assert_equal(&fixture, &second, &other, &volume);
}

#[test]
fn parts_of_frames_move_with_their_hashes() {
    let (fixture, other) = (Fixture::new(), Other::new());
    let volume = noise(1, 64 * CHUNK);
    let whole = fixture.store_fixed("vm", &volume);
    // Every third chunk: no frame is wanted whole.
    let some: Vec<u8> = volume.chunks(CHUNK).step_by(3).flatten().copied().collect();
    let part = fixture.store_fixed("part", &some);
    let summary = copy(&fixture, &part, &other).unwrap();
    assert_eq!((summary.moved_frames, summary.new_chunks), (0, 22));
    assert_equal(&fixture, &part, &other, &some);
    let summary = copy(&fixture, &whole, &other).unwrap();
    assert_eq!(summary.new_chunks, 42);
    assert_equal(&fixture, &whole, &other, &volume);
    for pack in other.repository.packs().unwrap().iter().filter(|pack| pack.content == Content::Data) {
        let pack = other.repository.pack_with_hashes(pack.id).unwrap();
        assert_eq!(pack.directory().hashes().len(), pack.directory().ids().len());
    }
}

#[test]
fn what_reached_the_target_is_not_sent_again() {
    for killed in [false, true] {
        for fails_at in [1, 2, 3, 4] {
            let (fixture, mut other) = (Fixture::new(), Other::new());
            // Packs have 12 MiB here, with the least memory.
            let volume = noise(1, 13_000 * CHUNK);
            let record = fixture.store_fixed("vm", &volume);
            // What fails once fails from then on; a killed process does not even write its segment.
            let prefix = if killed { "" } else { "packs/" };
            other.storage.inner().add(Rule::on(Kind::Put).prefix(prefix).skip(fails_at));
            assert!(copy(&fixture, &record, &other).is_err());
            assert_eq!(other.backups(), 0);
            other.storage.inner().heal();
            other.reopen();
            let sent = pack_bytes(&other);
            copy(&fixture, &record, &other).unwrap();
            let total = pack_bytes(&other);
            let (bare, extra) = (volume.len() as u64, (13_000 * 120 + (1 << 20)) as u64);
            assert!(total < bare + extra, "{killed} {fails_at}: {sent} of {total}");
            let mut times: HashMap<_, u64> = HashMap::new();
            for (id, _) in other.repository.list_packs().unwrap() {
                for chunk in other.repository.pack(id).unwrap().directory().ids() {
                    *times.entry(*chunk).or_default() += 1;
                }
            }
            assert!(times.values().all(|times| *times == 1), "{killed} {fails_at}");
            assert_equal(&fixture, &record, &other, &volume);
        }
    }
}

/// Bytes of the packs that were stored since the beginning.
fn pack_bytes(other: &Other) -> u64 {
    other.repository.list_packs().unwrap().iter().map(|(_, bytes)| bytes).sum()
}

#[test]
fn what_is_lost_keeps_a_backup_from_the_target() {
    let (fixture, other) = (Fixture::new(), Other::new());
    let volume = noise(1, 100 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    let object = fixture.pack(record.data_packs[0]);
    fixture.change(&object, |mut bytes| {
        bytes[200] ^= 1;
        Some(bytes)
    });
    let error = copy(&fixture, &record, &other).unwrap_err();
    assert!(matches!(error, Error::Uncopyable { .. }), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains(object.as_str()), "{cause}");
    assert_eq!(other.backups(), 0);

    // With another copy of the chunks it is not lost.
    fixture.store_beside("again", Shape::Fixed, volume.len() as u64, &fixed_parts(&volume), false);
    copy(&fixture, &record, &other).unwrap();
    assert_equal(&fixture, &record, &other, &volume);
}

#[test]
fn garbage_is_collected_on_both_sides_between_copies() {
    let (fixture, other) = (Fixture::new(), Other::new());
    let mut volume = noise(1, 400 * CHUNK);
    let first = fixture.store_fixed("vm", &volume);
    copy(&fixture, &first, &other).unwrap();
    volume[..300 * CHUNK].copy_from_slice(&noise(2, 300 * CHUNK));
    let second = fixture.store_fixed("vm", &volume);
    for repository in [&fixture.repository, &other.repository] {
        repository.delete_backup(&first.volume, first.id).unwrap();
        repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
    }
    assert_eq!(other.repository.list_packs().unwrap().len(), 0);
    let summary = copy(&fixture, &second, &other).unwrap();
    assert_eq!(summary.new_chunks, 400);
    assert_equal(&fixture, &second, &other, &volume);
    other.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
    assert_equal(&fixture, &second, &other, &volume);
}

#[test]
fn maps_of_content_defined_chunks_are_copied_as_they_are() {
    let (fixture, other) = (Fixture::new(), Other::new());
    let parts: Vec<Part> = (0..3000)
        .map(|n| match n % 7 {
            3 => Part::Zeros(1000 + n),
            _ => Part::Chunk(noise(n + 1, 1024 + (n as usize * 37) % 4000)),
        })
        .collect();
    let volume = volume_of(&parts);
    let record = fixture.store("stream", Shape::Variable, volume.len() as u64, &parts);
    copy(&fixture, &record, &other).unwrap();
    assert_equal(&fixture, &record, &other, &volume);
}

#[test]
fn what_cannot_be_is_refused() {
    let fixture = Fixture::new();
    let record = fixture.store_fixed("vm", &noise(1, 10 * CHUNK));
    let same = fixture.engine.copy(&fixture.repository, &record, &fixture.repository, &Control::default());
    assert!(matches!(same, Err(Error::BadCopy { .. })), "{same:?}");
    let other = Other::with_chunks(8192);
    let sizes = copy(&fixture, &record, &other);
    assert!(matches!(sizes, Err(Error::BadCopy { .. })), "{sizes:?}");
    assert_eq!(other.put_bytes(), 0);

    let other = Other::new();
    copy(&fixture, &record, &other).unwrap();
    let changed = Record { volume_bytes: record.volume_bytes - 1, ..record.clone() };
    let differs = copy(&fixture, &changed, &other);
    assert!(matches!(differs, Err(Error::CopyDiffers { .. })), "{differs:?}");
    assert_eq!(other.backups(), 1);
}

/// The SHA-256 of chunks are checked by nothing else, and Cinder's incremental backups rely on them: a copy took over whatever the other
/// repository said.
#[test]
fn wrong_hashes_of_the_source_are_not_taken_over() {
    let (fixture, other) = (Fixture::new(), Other::new());
    let volume = noise(9, 4 * CHUNK);
    let session = fixture.repository.start_session("a writer with bad memory").unwrap();
    let listed =
        volume.chunks(CHUNK).map(|chunk| FrameChunk { id: ChunkId::of(chunk), length: CHUNK as u32 }).collect();
    let mut packs = session.pack_builder(Content::Data);
    assert!(
        packs.push(moved::gather(&volume, listed, vec![[7; 32]; 4], Compression::None).unwrap()).unwrap().is_none()
    );
    session.store_pack(&packs.finish().unwrap().unwrap()).unwrap();
    drop(session);
    let source = Source::stream(Box::new(std::io::Cursor::new(volume.clone())), "a volume");
    let options = BackupOptions::new(VolumeId::new("vm").unwrap());
    let record = fixture.engine.backup(&fixture.repository, source, &options, &Control::default()).unwrap();
    assert_eq!(record.statistics.new_chunks, 0);
    copy(&fixture, &record, &other).unwrap();
    assert_equal(&fixture, &record, &other, &volume);
    let mut hashes = Vec::new();
    for pack in other.repository.packs().unwrap() {
        hashes.extend(other.repository.pack_with_hashes(pack.id).unwrap().directory().hashes().to_vec());
    }
    let right: Vec<_> = volume.chunks(CHUNK).map(moved::hash).collect();
    assert_eq!(hashes, right);
}
