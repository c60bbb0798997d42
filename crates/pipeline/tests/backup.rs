//! What a backup leaves in the repository, read back through the store alone.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use cinderblock_backend::{Backend, Faulty, Memory, Rule};
use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::{BackupOptions, CancelToken, Chunker, Control, Engine, Error, Parent, Settings, Source};
use cinderblock_store::map::PieceContent;
use cinderblock_store::pack::frame::Compression;
use cinderblock_store::{BackupId, OpenOptions, Record, Repository, VolumeId};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const CHUNK: usize = 4096;

struct Place {
    repository: Repository,
    engine: Engine,
    _cache: tempfile::TempDir,
}

fn place_on(storage: Arc<dyn Backend>) -> Result<Place, Box<dyn std::error::Error>> {
    let cache = tempfile::tempdir()?;
    Repository::create(&*storage, ChunkSize::new(CHUNK as u64)?)?;
    let repository = Repository::open(storage, &OpenOptions::new(cache.path()))?;
    let engine = Engine::new(Settings { threads: 2, ..Settings::default() })?;
    Ok(Place { repository, engine, _cache: cache })
}

fn place() -> Result<Place, Box<dyn std::error::Error>> {
    place_on(Arc::new(Memory::new()))
}

fn options() -> Result<BackupOptions, cinderblock_store::Error> {
    Ok(BackupOptions::new(VolumeId::new("vm-1")?))
}

/// Bytes that do not repeat and do not compress; the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn stream(bytes: &[u8]) -> Source {
    Source::stream(Box::new(Cursor::new(bytes.to_vec())), "test")
}

fn file(bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start((number * CHUNK) as u64))?;
            file.write_all(chunk)?;
        }
    }
    file.as_file().set_len(bytes.len() as u64)?;
    Ok(file)
}

/// The volume's bytes, each chunk checked against its id.
fn read_back(repository: &Repository, record: &Record) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut volume = vec![0; usize::try_from(record.volume_bytes)?];
    let (mut stored, mut plain, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for leaf in repository.leaves(record, 0..record.volume_bytes) {
        for piece in leaf.map_err(|unreadable| unreadable.error)?.pieces {
            let PieceContent::Chunk(id) = piece.content else { continue };
            repository.locate(&[id], &mut places)?;
            let place = places[0].clone().ok_or("a chunk is missing")?;
            let at = place.pack.directory().place(place.slot).ok_or("no such slot")?;
            repository.read_frame(&place.pack, at.frame, &mut stored, &mut plain)?;
            let bytes = &plain[at.offset as usize..][..at.length as usize];
            assert!(repository.ids().is_authentic(place.pack.content(), &id, bytes));
            volume[usize::try_from(piece.offset)?..][..bytes.len()].copy_from_slice(bytes);
        }
    }
    Ok(volume)
}

#[test]
fn volumes_of_every_length_come_back() -> Outcome {
    let place = place()?;
    let mut volume = noise(1, 3_000_000);
    volume[500_000..1_700_000].fill(0);
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK, 600_000, 1 << 20, (1 << 20) + 1, 3_000_000] {
        let volume = &volume[..length];
        for chunker in [Chunker::Fixed, Chunker::FastCdc] {
            for source in [stream(volume), Source::open(file(volume)?.path())?] {
                let mut options = options()?;
                options.chunker = chunker;
                let record = place.engine.backup(&place.repository, source, &options, &Control::default())?;
                assert_eq!(record.volume_bytes, length as u64);
                assert!(read_back(&place.repository, &record)? == volume, "{length} bytes, {chunker:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_stream_and_a_file_make_the_same_map() -> Outcome {
    let place = place()?;
    let mut volume = noise(2, 5_000_000);
    volume[1_000_000..4_000_000].fill(0);
    let from_stream = place.engine.backup(&place.repository, stream(&volume), &options()?, &Control::default())?;
    let source = Source::open(file(&volume)?.path())?;
    let from_file = place.engine.backup(&place.repository, source, &options()?, &Control::default())?;
    assert_eq!(from_stream.map, from_file.map);
    assert_eq!(from_stream.statistics.zero_chunks, from_file.statistics.zero_chunks);
    assert_eq!(from_file.statistics.new_chunks, 0);
    assert!(from_file.statistics.read_bytes < 2_100_000, "holes were read: {:?}", from_file.statistics);
    Ok(())
}

#[test]
fn only_what_changed_is_stored_with_and_without_a_parent() -> Outcome {
    for parent in [Parent::Auto, Parent::None] {
        let place = place()?;
        let mut volume = noise(3, 8 << 20);
        let mut options = options()?;
        let first = place.engine.backup(&place.repository, stream(&volume), &options, &Control::default())?;
        assert_eq!(first.statistics.new_chunks, 2048);
        options.parent = parent.clone();
        let same = place.engine.backup(&place.repository, stream(&volume), &options, &Control::default())?;
        assert_eq!((same.statistics.new_chunks, same.statistics.stored_bytes), (0, 0), "{parent:?}");
        assert_eq!(same.parent, (parent == Parent::Auto).then_some(first.id));
        volume[5 * CHUNK + 17] ^= 1;
        volume[700 * CHUNK] ^= 1;
        let changed = place.engine.backup(&place.repository, stream(&volume), &options, &Control::default())?;
        assert_eq!(changed.statistics.new_chunks, 2, "{parent:?}");
        assert!(changed.statistics.stored_bytes < 80_000, "{:?}", changed.statistics);
        assert!(read_back(&place.repository, &changed)? == volume);
        // No backup needs another one.
        place.repository.delete_backup(&first.volume, first.id)?;
        place.repository.delete_backup(&same.volume, same.id)?;
        assert!(read_back(&place.repository, &changed)? == volume);
    }
    Ok(())
}

#[test]
fn equal_chunks_in_flight_together_are_stored_once() -> Outcome {
    let place = place()?;
    let chunk = noise(4, CHUNK);
    let volume: Vec<u8> = chunk.iter().copied().cycle().take(6 << 20).collect();
    let record = place.engine.backup(&place.repository, stream(&volume), &options()?, &Control::default())?;
    assert_eq!((record.statistics.chunks, record.statistics.new_chunks), (1536, 1));
    assert!(read_back(&place.repository, &record)? == volume);
    Ok(())
}

#[test]
fn content_defined_chunks_survive_an_insertion() -> Outcome {
    let place = place()?;
    let mut options = options()?;
    options.chunker = Chunker::FastCdc;
    let mut volume = noise(5, 6 << 20);
    let first = place.engine.backup(&place.repository, stream(&volume), &options, &Control::default())?;
    volume.splice(1_000_000..1_000_000, *b"a few bytes");
    let second = place.engine.backup(&place.repository, stream(&volume), &options, &Control::default())?;
    assert!(second.statistics.new_chunks <= 3, "{:?}", second.statistics);
    assert!(first.statistics.new_chunks > 500);
    assert!(read_back(&place.repository, &second)? == volume);
    Ok(())
}

#[test]
fn every_compression_comes_back() -> Outcome {
    let place = place()?;
    let mut sizes = Vec::new();
    for (seed, compression) in [Compression::None, Compression::Zstd(1), Compression::Zstd(9)].into_iter().enumerate() {
        let mut options = options()?;
        options.compression = compression;
        // Other numbers each time: nothing is deduplicated between them.
        let numbers = seed as u32 * 1_000_000 + 1_000_000..;
        let volume: Vec<u8> = numbers.take(300_000).flat_map(|n| n.to_string().into_bytes()).collect();
        let record = place.engine.backup(&place.repository, stream(&volume), &options, &Control::default())?;
        assert!(read_back(&place.repository, &record)? == volume);
        sizes.push(record.statistics.stored_bytes);
    }
    assert!(sizes[0] > 2 * sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
    Ok(())
}

#[test]
fn a_source_that_changes_its_size_makes_no_backup() -> Outcome {
    for length in [1_000_000, 3_000_000] {
        for chunker in [Chunker::Fixed, Chunker::FastCdc] {
            let place = place()?;
            let file = file(&noise(6, 2_000_000))?;
            let source = Source::open(file.path())?;
            file.as_file().set_len(length)?;
            let mut options = options()?;
            options.chunker = chunker;
            let failed = place.engine.backup(&place.repository, source, &options, &Control::default());
            let Err(Error::SourceChanged { before, after, .. }) = failed else {
                panic!("{length}, {chunker:?}: {failed:?}")
            };
            assert_eq!((before, after), (2_000_000, length));
            assert!(place.repository.backups(None)?.is_empty());
        }
    }
    Ok(())
}

/// Gives some bytes and then an error, or a request to stop.
struct Breaking {
    bytes: Cursor<Vec<u8>>,
    cancel: Option<CancelToken>,
}

impl Read for Breaking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.bytes.read(buffer)?, &self.cancel) {
            (0, Some(cancel)) => {
                cancel.cancel();
                std::thread::sleep(std::time::Duration::from_millis(5));
                Err(io::Error::from(io::ErrorKind::Interrupted))
            }
            (0, None) => Err(io::Error::other("the cable is out")),
            (count, _) => Ok(count),
        }
    }
}

#[test]
fn a_source_that_fails_or_a_request_to_stop_leaves_no_backup_but_reusable_chunks() -> Outcome {
    let volume = noise(7, 64 << 20);
    for cancels in [false, true] {
        let place = place()?;
        let control = Control::default();
        let cancel = cancels.then(|| control.cancel.clone());
        let breaking = Breaking { bytes: Cursor::new(volume[..50 << 20].to_vec()), cancel };
        let source = Source::stream(Box::new(breaking), "a volume");
        match place.engine.backup(&place.repository, source, &options()?, &control) {
            Err(Error::Cancelled { .. }) if cancels => {}
            Err(Error::ReadSource { path, offset, .. }) if !cancels => {
                assert_eq!((path.as_str(), offset), ("a volume", 50 << 20));
            }
            other => panic!("{other:?}"),
        }
        assert!(place.repository.backups(None)?.is_empty());
        // The announcement is gone too.
        let mut sessions = 0;
        place.repository.backend().list("sessions/", &mut |_| {
            sessions += 1;
            Ok(())
        })?;
        assert_eq!(sessions, 0);
        place.repository.refresh_index()?;
        let again = place.engine.backup(&place.repository, stream(&volume), &options()?, &Control::default())?;
        assert!(again.statistics.new_bytes <= 33 << 20, "the first pack was not used: {:?}", again.statistics);
        assert!(read_back(&place.repository, &again)? == volume);
    }
    Ok(())
}

#[test]
fn failing_storage_at_any_write_leaves_no_backup_and_the_next_one_works() -> Outcome {
    let volume = noise(8, 5 << 20);
    for skip in 0.. {
        let faulty = Arc::new(Faulty::new(Memory::new()));
        let place = place_on(Arc::clone(&faulty) as Arc<dyn Backend>)?;
        faulty.add(Rule::on(cinderblock_backend::Kind::Put).skip(skip).times(1));
        let outcome = place.engine.backup(&place.repository, stream(&volume), &options()?, &Control::default());
        let failed = faulty.faults() > 0;
        faulty.heal();
        assert_eq!(outcome.is_err(), failed, "write {skip}");
        assert_eq!(place.repository.backups(None)?.len(), usize::from(!failed));
        let again = place.engine.backup(&place.repository, stream(&volume), &options()?, &Control::default())?;
        assert!(read_back(&place.repository, &again)? == volume);
        if !failed {
            // Session, data pack, map pack, segment and record at least.
            assert!(skip >= 5, "only {skip} writes");
            break;
        }
    }
    Ok(())
}

#[test]
fn an_id_that_is_taken_is_refused_before_anything_is_read() -> Outcome {
    let place = place()?;
    let mut options = options()?;
    options.id = Some(BackupId::from_bytes([7; 16]));
    place.engine.backup(&place.repository, stream(b"one"), &options, &Control::default())?;
    options.volume = VolumeId::new("another")?;
    let refused = place.engine.backup(&place.repository, stream(b"two"), &options, &Control::default());
    assert!(matches!(refused, Err(Error::Store(cinderblock_store::Error::BackupExists { .. }))), "{refused:?}");
    Ok(())
}

#[test]
fn what_cannot_be_a_volume_is_refused() -> Outcome {
    let folder = tempfile::tempdir()?;
    assert!(matches!(Source::open(folder.path()), Err(Error::BadSource { .. })));
    assert!(matches!(Source::open("/dev/null".as_ref()), Err(Error::BadSource { .. })));
    assert!(matches!(Source::open(&folder.path().join("nothing")), Err(Error::OpenSource { .. })));
    Ok(())
}

#[test]
fn a_parent_whose_packs_are_gone_is_not_believed() -> Outcome {
    let place = place()?;
    let volume = noise(9, 4 << 20);
    let first = place.engine.backup(&place.repository, stream(&volume), &options()?, &Control::default())?;
    let mut packs = Vec::new();
    place.repository.backend().list("packs/", &mut |info| {
        packs.push(info.name);
        Ok(())
    })?;
    for pack in packs {
        place.repository.backend().delete(&pack)?;
    }
    // Another process, which has nothing in memory.
    let fresh = tempfile::tempdir()?;
    drop(first);
    let storage: Arc<dyn Backend> = Arc::new(Memory::new());
    place.repository.backend().list("", &mut |info| {
        let bytes = place.repository.backend().get(&info.name, 1 << 30)?;
        storage.put(&info.name, &[&bytes])
    })?;
    let repository = Repository::open(storage, &OpenOptions::new(fresh.path()))?;
    let second = place.engine.backup(&repository, stream(&volume), &options()?, &Control::default())?;
    assert_eq!(second.statistics.new_chunks, 1024);
    assert!(read_back(&repository, &second)? == volume);
    Ok(())
}

/// A pack was cut short on the storage. The backups that followed reported success with nothing new, because the parent
/// had every chunk and its pack was, after all, there: each of them was born damaged.
#[test]
fn a_parent_whose_pack_was_cut_short_is_not_believed() -> Outcome {
    for keep in [0, 100, 1_000_000] {
        let folder = tempfile::tempdir()?;
        let storage: Arc<dyn Backend> =
            Arc::new(cinderblock_backend::Folder::create(folder.path().join("repository"))?);
        let place = place_on(Arc::clone(&storage))?;
        let volume = noise(10, 4 << 20);
        let first = place.engine.backup(&place.repository, stream(&volume), &options()?, &Control::default())?;
        let name = first.data_packs[0].to_string();
        let path = folder.path().join("repository/packs").join(&name[..2]).join(&name);
        std::fs::OpenOptions::new().write(true).open(path)?.set_len(keep)?;
        // Another process, which has nothing in memory.
        let cache = tempfile::tempdir()?;
        let repository = Repository::open(storage, &OpenOptions::new(cache.path()))?;
        let second = place.engine.backup(&repository, stream(&volume), &options()?, &Control::default())?;
        assert_eq!(second.statistics.new_chunks, 1024, "{keep} bytes kept");
        assert!(read_back(&repository, &second)? == volume);
        // The first one is whole again, too.
        assert!(read_back(&repository, &first)? == volume);
    }
    Ok(())
}

/// A chain of backups named all packs of its ancestors for ever.
#[test]
fn a_record_names_only_packs_that_it_needs() -> Outcome {
    let place = place()?;
    let mut packs = Vec::new();
    for seed in 0..4 {
        // Half of the volume stays, the other half is new each time.
        let volume = [noise(11, 1 << 20), noise(100 + seed, 1 << 20)].concat();
        let record = place.engine.backup(&place.repository, stream(&volume), &options()?, &Control::default())?;
        packs.push(record.data_packs.len());
    }
    assert_eq!(packs, [1, 2, 2, 2]);
    Ok(())
}

/// Refused only at the end, a name that no record can hold cost a whole backup.
#[test]
fn a_name_that_is_too_long_is_refused_before_anything_is_read() -> Outcome {
    let place = place()?;
    let mut options = options()?;
    options.name = Some("x".repeat(2000));
    let control = Control::default();
    let refused = place.engine.backup(&place.repository, stream(b"volume"), &options, &control);
    assert!(matches!(refused, Err(Error::Store(cinderblock_store::Error::TooLarge { .. }))), "{refused:?}");
    let mut objects = 0;
    place.repository.backend().list("", &mut |_| {
        objects += 1;
        Ok(())
    })?;
    assert_eq!(objects, 1, "more than the descriptor");
    Ok(())
}

/// Storage that panics: the collector waited for the writer's reason for ever.
#[test]
fn a_panicking_writer_ends_the_backup() -> Outcome {
    let faulty = Arc::new(Faulty::new(Memory::new()));
    let place = place_on(Arc::clone(&faulty) as Arc<dyn Backend>)?;
    faulty.add(Rule::on(cinderblock_backend::Kind::Put).prefix("packs/").when(|_| panic!("on purpose")));
    let volume = noise(12, 80 << 20);
    let run = std::panic::AssertUnwindSafe(|| {
        place.engine.backup(&place.repository, stream(&volume), &options()?, &Control::default())?;
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    assert!(!matches!(std::panic::catch_unwind(run), Ok(Ok(()))));
    Ok(())
}
