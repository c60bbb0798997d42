//! A backup read at any place gives the bytes that a restore gives, and names what is lost.

mod common;

use std::sync::Arc;

use cinderblock_backend::{Backend, Kind, Recording};
use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::{BackupOptions, BackupVolume, Chunker, Control, Error, Source};
use cinderblock_store::map::Shape;
use cinderblock_store::{BackupId, ChunkId, Error as StoreError, Record, VolumeId};
use common::*;
use sha2::{Digest, Sha256};

const MEMORY: usize = 8 << 20;

fn back_up(fixture: &Fixture, volume: &[u8], chunker: Chunker) -> Record {
    let mut options = BackupOptions::new(VolumeId::new("vm").unwrap());
    options.chunker = chunker;
    let source = Source::stream(Box::new(std::io::Cursor::new(volume.to_vec())), "test");
    fixture.engine.backup(&fixture.repository, source, &options, &Control::default()).unwrap()
}

/// Data, text and zeros in runs of many lengths, over several leaves.
fn mixed(seed: u64) -> Vec<u8> {
    let mut volume = Vec::new();
    let mut random = Random(seed);
    while volume.len() < 3 * LEAF {
        let limit = 1 << random.below(21);
        let length = random.below(limit) as usize;
        match random.below(4) {
            0 => volume.resize(volume.len() + 4 * length, 0),
            1 => volume.extend(text(random.0, length)),
            // Again and again the same.
            2 => volume.extend(noise(random.below(3), length)),
            _ => volume.extend(noise(random.0, length)),
        }
    }
    volume
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Reads at many places by many threads, and holds the bytes against the volume's.
fn reads_right(backup: &BackupVolume<'_>, volume: &[u8]) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let mut random = Random(thread);
                for _ in 0..150 {
                    let offset = random.below(volume.len() as u64 + 5000);
                    let limit = 1 << random.below(20);
                    let mut buffer = vec![0xa5; random.below(limit) as usize];
                    backup.read_at(offset, &mut buffer).unwrap();
                    let rest = volume.get(offset as usize..).unwrap_or_default();
                    let (within, behind) = buffer.split_at(buffer.len().min(rest.len()));
                    assert!(rest.starts_with(within), "{offset}+{}", buffer.len());
                    assert!(cinderblock_chunker::is_zero(behind));
                }
            });
        }
    });
}

/// All data extents; what lies between is zero.
fn data_covers_the_volume(backup: &BackupVolume<'_>, volume: &[u8]) -> u64 {
    let (mut at, mut bytes) = (0, 0);
    while let Some(data) = backup.next_data(at, u64::MAX).unwrap() {
        assert!(data.length > 0 && data.offset >= at && data.end() <= volume.len() as u64);
        assert!(cinderblock_chunker::is_zero(&volume[at as usize..data.offset as usize]));
        (at, bytes) = (data.end(), bytes + data.length);
    }
    assert!(cinderblock_chunker::is_zero(&volume[at as usize..]));
    bytes
}

#[test]
fn any_range_of_any_volume_is_what_a_restore_gives() {
    for (seed, chunker) in [(1, Chunker::Fixed), (2, Chunker::FastCdc), (3, Chunker::Fixed), (4, Chunker::FastCdc)] {
        let fixture = Fixture::new();
        let volume = mixed(seed);
        let record = back_up(&fixture, &volume, chunker);
        assert!(fixture.stream(&record).unwrap() == volume);
        // So little memory that little is kept, and enough for all.
        for memory in [0, 1 << 20, 64 << 20] {
            let backup = BackupVolume::new(&fixture.repository, &record, memory).unwrap();
            assert_eq!(backup.size(), volume.len() as u64);
            reads_right(&backup, &volume);
        }
        let backup = BackupVolume::new(&fixture.repository, &record, MEMORY).unwrap();
        let data = data_covers_the_volume(&backup, &volume);
        if chunker == Chunker::Fixed {
            let chunks = volume.chunks(CHUNK).filter(|chunk| !cinderblock_chunker::is_zero(chunk));
            assert_eq!(data, chunks.map(|chunk| chunk.len() as u64).sum::<u64>());
        }
    }
}

#[test]
fn data_is_told_within_the_part_that_was_asked_for() {
    let fixture = Fixture::new();
    let volume = [vec![0; 10 * CHUNK], noise(1, 5 * CHUNK), vec![0; 2 * LEAF], noise(2, 3 * CHUNK + 7)].concat();
    let record = fixture.store_fixed("vm", &volume);
    let backup = BackupVolume::new(&fixture.repository, &record, MEMORY).unwrap();
    let next = |from: usize, end: usize| {
        let found = backup.next_data(from as u64, end as u64).unwrap();
        found.map(|data| (data.offset as usize, data.end() as usize))
    };
    let (first, last) = (10 * CHUNK, 15 * CHUNK + 2 * LEAF);
    assert_eq!(next(0, volume.len()), Some((first, 15 * CHUNK)));
    assert_eq!(next(0, first), None);
    assert_eq!(next(0, first + 1), Some((first, first + 1)));
    assert_eq!(next(first + 100, first + 300), Some((first + 100, first + 300)));
    assert_eq!(next(15 * CHUNK, usize::MAX), Some((last, volume.len())));
    assert_eq!((next(15 * CHUNK, last), next(volume.len(), usize::MAX), next(20, 10)), (None, None, None));
}

#[test]
fn hashes_are_those_of_the_chunks() {
    for length in [0, 1, 6 * LEAF / 4 + 100, 2 * LEAF] {
        let fixture = Fixture::new();
        let mut volume = mixed(7);
        volume.resize(length, 0);
        let record = fixture.store_fixed("vm", &volume);
        let backup = BackupVolume::new(&fixture.repository, &record, MEMORY).unwrap();
        let expected: Vec<Option<[u8; 32]>> =
            volume.chunks(CHUNK).map(|chunk| Some(Sha256::digest(chunk).into())).collect();
        let mut hashes = vec![None];
        backup.block_hashes(0..u64::MAX, &mut hashes).unwrap();
        assert!(hashes == expected, "{length}");
        let mut random = Random(9);
        for _ in 0..50 {
            let chunks = expected.len() as u64;
            let (from, end) = (random.below(chunks + 2), random.below(chunks + 2));
            backup.block_hashes(from..end, &mut hashes).unwrap();
            let part = expected.get(from as usize..(end.min(chunks)) as usize).unwrap_or_default();
            assert!(hashes == part, "{from}..{end}");
        }
    }
}

#[test]
fn chunks_without_a_hash_are_told_apart() {
    let fixture = Fixture::new();
    let volume = [noise(1, 50 * CHUNK), vec![0; 10 * CHUNK]].concat();
    let by_content = back_up(&fixture, &volume, Chunker::FastCdc);
    let backup = BackupVolume::new(&fixture.repository, &by_content, MEMORY).unwrap();
    let mut hashes = Vec::new();
    backup.block_hashes(3..100, &mut hashes).unwrap();
    assert_eq!(hashes, vec![None; 57]);

    // A chunk whose only copy was cut by content, whose frames are not hashed.
    let short = noise(5, 700);
    back_up(&fixture, &short, Chunker::FastCdc);
    let record = back_up(&fixture, &short, Chunker::Fixed);
    assert_eq!(record.statistics.new_chunks, 0);
    let backup = BackupVolume::new(&fixture.repository, &record, MEMORY).unwrap();
    backup.block_hashes(0..1, &mut hashes).unwrap();
    assert_eq!(hashes, [None]);
}

#[test]
fn chunks_of_cinders_block_and_larger_keep_their_hash_and_smaller_ones_keep_none() {
    let volume = [noise(1, 300_000), vec![0; 200_000], noise(2, 100_001)].concat();
    for (size, hashed) in [(4 << 10, false), (16 << 10, false), (32 << 10, true), (64 << 10, true)] {
        let fixture = Fixture::of_chunks(ChunkSize::new(size as u64).unwrap(), |storage| storage);
        let record = back_up(&fixture, &volume, Chunker::Fixed);
        let backup = BackupVolume::new(&fixture.repository, &record, MEMORY).unwrap();
        let mut hashes = Vec::new();
        backup.block_hashes(0..u64::MAX, &mut hashes).unwrap();
        let expected = volume.chunks(size).map(|chunk| {
            // Of zeros the hash is always known.
            (hashed || chunk.iter().all(|byte| *byte == 0)).then(|| Sha256::digest(chunk).into())
        });
        assert_eq!(hashes, expected.collect::<Vec<Option<[u8; 32]>>>(), "{size}");
    }
}

#[test]
fn neighbouring_reads_of_many_threads_read_a_frame_once() {
    let fixture = Fixture::new();
    let volume = noise(1, 16 * 64 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    let recording = Arc::new(Recording::with_log(fixture.storage.clone()));
    let cache = tempfile::tempdir().unwrap();
    let options = cinderblock_store::OpenOptions::new(cache.path());
    let repository = cinderblock_store::Repository::open(recording.clone(), &options).unwrap();
    let backup = BackupVolume::new(&repository, &record, 16 << 20).unwrap();
    // 16 places in turn, in pieces that do not end where frames do, by two threads that want the same.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for step in 0..8 {
                    for place in 0..16 {
                        let from = place * 64 * CHUNK + step * 8 * CHUNK + if step > 0 { 3000 } else { 0 };
                        let end = place * 64 * CHUNK + (step + 1) * 8 * CHUNK + if step < 7 { 3000 } else { 0 };
                        let mut bytes = vec![0; end - from];
                        backup.read_at(from as u64, &mut bytes).unwrap();
                        assert!(bytes == volume[from..end]);
                    }
                }
            });
        }
    });
    let data: Vec<_> = record.data_packs.iter().map(|pack| fixture.pack(*pack)).collect();
    let reads = recording.take_log().into_iter().filter(|entry| {
        entry.kind == Kind::ReadInto && entry.offset > 0 && data.iter().any(|pack| pack.as_str() == entry.name)
    });
    assert_eq!(reads.count(), volume.len() / (FRAME_CHUNKS * CHUNK));
}

/// What a read of every chunk by itself cannot give.
fn lost(backup: &BackupVolume<'_>, volume: &[u8]) -> Vec<u64> {
    let mut lost = Vec::new();
    for (number, chunk) in volume.chunks(CHUNK).enumerate() {
        let offset = (number * CHUNK) as u64;
        let mut bytes = vec![0; chunk.len()];
        match backup.read_at(offset, &mut bytes) {
            Ok(()) => assert!(bytes == chunk),
            Err(Error::Unrestorable { offset: at, length, partly_written: false, source }) => {
                assert_eq!((at, length), (offset, chunk.len() as u64));
                assert!(source.is_damage(), "{source:?}");
                lost.push(number as u64);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    lost
}

#[test]
fn damage_is_named_and_everything_else_is_read() {
    let fixture = Fixture::new();
    let volume = noise(1, 200 * CHUNK + 100);
    let record = fixture.store_fixed("vm", &volume);
    let packs: Vec<_> = record.data_packs.iter().map(|id| fixture.repository.pack_with_hashes(*id).unwrap()).collect();
    let number = |id: &ChunkId| volume.chunks(CHUNK).position(|chunk| ChunkId::of(chunk) == *id).unwrap() as u64;
    // A bit of a frame that is not compressed, and a whole pack.
    let frame = packs[0].directory().frames().iter().position(|frame| frame.stored_bytes == frame.plain_bytes);
    let frame = frame.unwrap() as u32;
    let at = packs[0].directory().frame_offset(frame).unwrap() as usize + CHUNK + 5;
    let (bad, _) = packs[0].directory().frame_chunks(frame).nth(1).unwrap();
    fixture.change(&fixture.pack(packs[0].id()), |mut bytes| {
        bytes[at] ^= 1;
        Some(bytes)
    });
    fixture.change(&fixture.pack(packs[2].id()), |_| None);
    let mut expected: Vec<u64> = packs[2].directory().ids().iter().map(number).chain([number(&bad)]).collect();
    expected.sort_unstable();

    let (elsewhere, _cache) = fixture.elsewhere();
    for repository in [&fixture.repository, &elsewhere] {
        let backup = BackupVolume::new(repository, &record, MEMORY).unwrap();
        assert_eq!(lost(&backup, &volume), expected);
        let whole = backup.read_at(0, &mut vec![0; volume.len()]);
        match whole {
            Err(Error::Unrestorable { offset, .. }) => assert!(expected.contains(&(offset / CHUNK as u64))),
            other => panic!("{other:?}"),
        }
    }

    // With another copy of everything, nothing is lost.
    fixture.store_beside("copy", Shape::Fixed, volume.len() as u64, &fixed_parts(&volume), false);
    for repository in [&fixture.repository, &elsewhere] {
        let backup = BackupVolume::new(repository, &record, MEMORY).unwrap();
        assert_eq!(lost(&backup, &volume), [] as [u64; 0]);
    }
}

#[test]
fn a_pack_that_is_gone_costs_hashes_no_error() {
    let fixture = Fixture::new();
    let volume = noise(1, 20 * CHUNK);
    let record = fixture.store_fixed("vm", &volume);
    fixture.store_beside("copy", Shape::Fixed, volume.len() as u64, &fixed_parts(&volume), false);
    let backup = BackupVolume::new(&fixture.repository, &record, MEMORY).unwrap();
    let mut hashes = Vec::new();
    backup.block_hashes(0..20, &mut hashes).unwrap();
    assert!(hashes.iter().all(Option::is_some));
    for pack in &record.data_packs {
        fixture.change(&fixture.pack(*pack), |_| None);
    }
    let backup = BackupVolume::new(&fixture.repository, &record, MEMORY).unwrap();
    backup.block_hashes(0..20, &mut hashes).unwrap();
    assert_eq!(hashes.len(), 20);
    for (chunk, hash) in volume.chunks(CHUNK).zip(hashes) {
        assert!(hash.is_none_or(|hash| hash[..] == Sha256::digest(chunk)[..]));
    }
    reads_right(&backup, &volume);
}

#[test]
fn a_map_that_is_gone_is_named() {
    let fixture = Fixture::new();
    let volume = noise(1, 2 * LEAF);
    let record = fixture.store_fixed("vm", &volume);
    for pack in &record.map_packs {
        fixture.storage.delete(&fixture.pack(*pack)).unwrap();
    }
    let (repository, _cache) = fixture.elsewhere();
    let backup = BackupVolume::new(&repository, &record, MEMORY).unwrap();
    let at = LEAF as u64 + 5;
    let leaf = |result: Result<(), Error>| match result {
        Err(Error::Unrestorable { offset, length, source, .. }) => {
            assert!(matches!(source, StoreError::PackMissing { .. }), "{source:?}");
            (offset, length)
        }
        other => panic!("{other:?}"),
    };
    let expected = (LEAF as u64, LEAF as u64);
    assert_eq!(leaf(backup.read_at(at, &mut [0; 10])), expected);
    assert_eq!(leaf(backup.next_data(at, at + 10).map(drop)), expected);
    assert_eq!(leaf(backup.block_hashes(1024..1025, &mut Vec::new())), expected);
}

#[test]
fn a_record_of_other_chunks_is_refused() {
    let fixture = Fixture::new();
    let mut record = fixture.store_fixed("vm", &noise(1, 10 * CHUNK));
    record.chunk_bytes *= 2;
    record.id = BackupId::random().unwrap();
    let refused = BackupVolume::new(&fixture.repository, &record, MEMORY);
    assert!(matches!(refused, Err(Error::Store(StoreError::BadMap { backup, .. })) if backup == record.id));
}
