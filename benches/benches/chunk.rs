//! Cutting volumes and streams into chunks, and finding zeros.

use std::hint::black_box;

use cinderblock_benches::sample;
use cinderblock_chunker::{ChunkSize, ContentChunker, ContentParameters, Grid, is_zero};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// As much as one read of the pipeline: 1 MiB.
const BYTES: usize = 1 << 20;

fn fixed(c: &mut Criterion) {
    let mut group = c.benchmark_group("fixed grid and zero check");
    group.throughput(Throughput::Bytes(BYTES as u64));
    let grid = Grid::new(ChunkSize::DEFAULT, BYTES as u64);
    let programs = sample::programs(BYTES).expect("this system's programs");
    let zeros = vec![0; BYTES];
    // Data is mostly left at its first bytes: for programs this is the cost of the walk, not a rate.
    // The worst case of data: a chunk that is zero up to its last byte.
    let mut late = zeros.clone();
    late.chunks_mut(ChunkSize::DEFAULT.bytes() as usize).for_each(|chunk| chunk[chunk.len() - 1] = 1);
    for (kind, bytes) in [("zeros", &zeros), ("programs", &programs), ("zeros to the last byte", &late)] {
        group.bench_function(kind, |b| b.iter(|| zero_chunks(grid, black_box(bytes))));
    }
    group.finish();
}

/// Walks the grid over `bytes`, which are the whole volume, and counts its zero chunks.
fn zero_chunks(grid: Grid, bytes: &[u8]) -> usize {
    let chunk = |index| {
        let start = grid.offset(index)? as usize;
        bytes.get(start..start + grid.length(index)? as usize)
    };
    (0..grid.chunks()).filter_map(chunk).filter(|chunk| is_zero(chunk)).count()
}

fn content(c: &mut Criterion) {
    let mut group = c.benchmark_group("FastCDC");
    let programs = sample::programs(8 * BYTES).expect("this system's programs");
    group.throughput(Throughput::Bytes(programs.len() as u64));
    let chunker = ContentChunker::new(ContentParameters::from(ChunkSize::DEFAULT));
    let mut lengths = Vec::new();
    group.bench_function("cut programs", |b| {
        b.iter(|| {
            lengths.clear();
            black_box(chunker.cut(black_box(&programs), true, &mut lengths))
        });
    });
    group.finish();
}

criterion_group!(benches, fixed, content);
criterion_main!(benches);
