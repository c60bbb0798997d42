//! Frames of 256 KiB: zstd at level 1, in and out.

use std::hint::black_box;

use cinderblock_benches::limit::{FRAME, LEVEL};
use cinderblock_benches::sample::{self, Random};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use zstd::bulk::{Compressor, Decompressor};

fn frame(c: &mut Criterion) {
    let programs = sample::programs(16 * FRAME).expect("this system's programs");
    let mut random = vec![0; 16 * FRAME];
    Random::new(1).fill(&mut random);
    for (kind, bytes) in [("programs", &programs), ("random", &random)] {
        let mut group = c.benchmark_group(format!("frame of {kind}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut compressor = Compressor::new(LEVEL).expect("a compressor");
        let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME));
        group.bench_function("compress", |b| {
            b.iter(|| {
                for frame in bytes.chunks(FRAME) {
                    out.clear();
                    compressor.compress_to_buffer(black_box(frame), &mut out).expect("room for the frame");
                    black_box(&out);
                }
            });
        });
        let compressed: Vec<_> =
            bytes.chunks(FRAME).map(|frame| compressor.compress(frame).expect("a frame")).collect();
        let mut decompressor = Decompressor::new().expect("a decompressor");
        let mut plain = Vec::with_capacity(FRAME);
        group.bench_function("decompress", |b| {
            b.iter(|| {
                for frame in &compressed {
                    plain.clear();
                    decompressor.decompress_to_buffer(black_box(frame), &mut plain).expect("a whole frame");
                    black_box(&plain);
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, frame);
criterion_main!(benches);
