//! Finding chunks: in the packs whose directory is in memory, through RocksDB, and not at all; and opening the index.

use std::hint::black_box;
use std::sync::Arc;

use cinderblock_backend::Memory;
use cinderblock_benches::sample::Random;
use cinderblock_chunker::ChunkSize;
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::pack::{Content, PACK_MAX_CHUNKS};
use cinderblock_store::{ChunkId, OpenOptions, Repository};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Chunks of the repository: as many as 32 GiB of volumes have at 32 KiB. Each is only 8 bytes long, which look-ups do
/// not see; 64 packs of 16,384.
const CHUNKS: u64 = 64 * PACK_MAX_CHUNKS as u64;

/// Chunks in one look-up: those of one read of the pipeline, 1 MiB.
const BATCH: usize = 32;

fn id(number: u64) -> ChunkId {
    ChunkId::of(&number.to_le_bytes())
}

/// A repository of [`CHUNKS`] chunks, numbered in the order in which they were written.
fn fill(storage: &Arc<Memory>, options: &OpenOptions) -> Repository {
    Repository::create(&**storage, ChunkSize::DEFAULT).expect("a new repository");
    let repository = Repository::open(storage.clone(), options).expect("the repository");
    let session = repository.start_session("a benchmark").expect("a session");
    let mut packs = session.pack_builder(Content::Data);
    let store = |pack| session.store_pack(&pack).expect("memory takes every pack");
    for first in (0..CHUNKS).step_by(4096) {
        let plain: Vec<u8> = (first..first + 4096).flat_map(u64::to_le_bytes).collect();
        let chunks = (first..first + 4096).map(|number| FrameChunk { id: id(number), length: 8 }).collect();
        let frame = frame::encode(&plain, chunks, false, Compression::None).expect("a frame");
        if let Some(pack) = packs.push(frame).expect("a pack") {
            store(pack);
        }
    }
    if let Some(pack) = packs.finish().expect("the last pack") {
        store(pack);
    }
    drop(session);
    repository.refresh_index().expect("the index");
    repository
}

fn index(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the index");
    let storage = Arc::new(Memory::new());
    let options = OpenOptions::new(folder.path());
    let filled = fill(&storage, &options);
    let open = |memory_bytes| {
        let options = OpenOptions { memory_bytes, ..options.clone() };
        let repository = Repository::open(storage.clone(), &options).expect("the repository");
        repository.refresh_index().expect("the index");
        repository
    };
    let mut random = Random::new(1);
    let mut places = Vec::new();

    let mut group = c.benchmark_group("index of a million chunks");
    group.throughput(Throughput::Elements(BATCH as u64));

    // One pack: after the first look-up, all answers are in memory.
    let near: Vec<_> = (0..PACK_MAX_CHUNKS as u64).map(id).collect();
    group.bench_function("hit in the neighbourhood", |b| {
        let mut batches = near.chunks(BATCH).cycle();
        b.iter(|| {
            filled.locate(batches.next().expect("endless"), &mut places).expect("a look-up");
            assert!(places.iter().all(Option::is_some));
        });
    });

    // As little memory as there may be, which holds three of the 64 directories: most look-ups read one.
    let small = open(0);
    group.bench_function("random hit through RocksDB, with the pack's directory", |b| {
        b.iter(|| {
            let ids: [_; BATCH] = std::array::from_fn(|_| id(random.next_u64() % CHUNKS));
            small.locate(&ids, &mut places).expect("a look-up");
            assert!(places.iter().all(Option::is_some));
        });
    });

    let unknown: Vec<_> = (0..PACK_MAX_CHUNKS as u64).map(|number| id(CHUNKS + number)).collect();
    group.bench_function("miss", |b| {
        let mut batches = unknown.chunks(BATCH).cycle();
        b.iter(|| {
            small.locate(batches.next().expect("endless"), &mut places).expect("a look-up");
            assert!(places.iter().all(Option::is_none));
        });
    });
    group.finish();

    let mut group = c.benchmark_group("opening");
    group.bench_function("repository and index", |b| b.iter(|| black_box(open(48 << 20))));
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
