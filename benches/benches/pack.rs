//! Packs of 32 MiB: building, storing, and reading their directory.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use cinderblock_backend::{Backend, Folder, Memory};
use cinderblock_benches::limit::{CHUNK, FRAME};
use cinderblock_benches::sample;
use cinderblock_chunker::ChunkSize;
use cinderblock_store::pack::frame::{self, Compression, EncodedFrame, FrameChunk};
use cinderblock_store::pack::{Content, FinishedPack, PACK_TARGET_BYTES};
use cinderblock_store::{ChunkId, OpenOptions, Repository, Session};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// The frames of one pack, stored as they are: compression has a benchmark of its own.
fn frames() -> Vec<EncodedFrame> {
    // One less than fills the pack, so that pushing the last does not close it.
    let plain = sample::programs(PACK_TARGET_BYTES - FRAME).expect("this system's programs");
    let encode = |frame: &[u8]| {
        let chunks = frame.chunks(CHUNK).map(|chunk| FrameChunk { id: ChunkId::of(chunk), length: chunk.len() as u32 });
        frame::encode(frame, chunks.collect(), true, Compression::None).expect("a frame")
    };
    plain.chunks(FRAME).map(encode).collect()
}

fn build(session: &Session<'_>, frames: Vec<EncodedFrame>) -> FinishedPack {
    let mut builder = session.pack_builder(Content::Data);
    for frame in frames {
        assert!(builder.push(frame).expect("a place in the pack").is_none());
    }
    builder.finish().expect("a pack").expect("with frames in it")
}

fn open(storage: Arc<dyn Backend>, cache: &Path) -> Repository {
    Repository::create(&*storage, ChunkSize::DEFAULT).expect("a new repository");
    Repository::open(storage, &OpenOptions::new(cache)).expect("the repository")
}

fn pack(c: &mut Criterion) {
    let frames = frames();
    let cache = tempfile::tempdir().expect("a folder for the index");
    // Of a RAM disk, so that it is this program that is measured, not a disk; where there is none, the usual place.
    let ram = Path::new("/dev/shm");
    let folder = if ram.is_dir() { tempfile::tempdir_in(ram) } else { tempfile::tempdir() };
    let folder = folder.expect("a folder for packs");
    let folder_storage = Arc::new(Folder::create(folder.path().join("repository")).expect("a folder"));

    let bytes = frames.iter().map(|frame| frame.stored_bytes() as u64).sum();
    let storages: [(&str, Arc<dyn Backend>); 2] =
        [("memory", Arc::new(Memory::new())), ("a folder on a RAM disk", folder_storage)];
    for (place, storage) in storages {
        let repository = open(storage, cache.path());
        let session = repository.start_session("a benchmark").expect("a session");
        let mut group = c.benchmark_group(format!("pack of 32 MiB in {place}"));
        group.sample_size(20);
        // Neither of these touches the frames' bytes: they have a time and no rate.
        if place == "memory" {
            let built = |frames| build(&session, frames);
            group.bench_function("build", |b| b.iter_batched(|| frames.clone(), built, BatchSize::PerIteration));
        }
        let kept = build(&session, frames.clone());
        session.store_pack(&kept).expect("room for the pack");
        group.bench_function("read the directory", |b| {
            b.iter(|| black_box(repository.pack_with_hashes(kept.id()).expect("the pack")));
        });
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function("store", |b| {
            let remove = |pack: &FinishedPack| {
                let id = pack.id().to_string();
                repository.backend().list("packs/", &mut |info| match info.name.file_name() == id {
                    true => repository.backend().delete(&info.name),
                    false => Ok(()),
                })
            };
            b.iter_custom(|rounds| {
                let mut spent = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    let pack = build(&session, frames.clone());
                    let start = std::time::Instant::now();
                    session.store_pack(&pack).expect("room for the pack");
                    spent += start.elapsed();
                    // Not measured, and the memory of one pack is enough for any number of rounds.
                    remove(&pack).expect("the pack is there");
                }
                spent
            });
        });
        group.finish();
    }
}

criterion_group!(benches, pack);
criterion_main!(benches);
