//! The two hashes of a chunk of 32 KiB.

use std::hint::black_box;

use cinderblock_benches::limit::CHUNK;
use cinderblock_benches::sample;
use cinderblock_store::sha256;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest, Sha256};

fn hash(c: &mut Criterion) {
    // As much as one read of the pipeline, so that the chunks come from the cache as they do there.
    let bytes = sample::programs(1 << 20).expect("this system's programs");
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("BLAKE3 of 32 KiB chunks", |b| {
        b.iter(|| {
            for chunk in bytes.chunks(CHUNK) {
                black_box(blake3::hash(black_box(chunk)));
            }
        });
    });
    group.bench_function("SHA-256 of 32 KiB chunks", |b| {
        b.iter(|| {
            for chunk in bytes.chunks(CHUNK) {
                black_box(Sha256::digest(black_box(chunk)));
            }
        });
    });
    group.bench_function("SHA-256 of 32 KiB chunks, side by side", |b| {
        let chunks: Vec<&[u8]> = bytes.chunks(CHUNK).collect();
        b.iter(|| black_box(sha256::digests(black_box(&chunks))));
    });
    group.finish();
}

criterion_group!(benches, hash);
criterion_main!(benches);
