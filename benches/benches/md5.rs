//! The MD5 of one stream, and of several side by side.

use std::hint::black_box;

use cinderblock_benches::sample;
use cinderblock_cinder::md5::{Md5, update_many};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// As much of each stream as is hashed at once: 256 KiB.
const PIECE: usize = 256 << 10;

fn md5(c: &mut Criterion) {
    let bytes = sample::programs(16 * PIECE).expect("this system's programs");
    let mut group = c.benchmark_group("md5");
    for count in [1, 2, 3, 4, 8, 12, 16] {
        let pieces: Vec<&[u8]> = bytes.chunks(PIECE).take(count).collect();
        group.throughput(Throughput::Bytes((count * PIECE) as u64));
        group.bench_function(BenchmarkId::new("streams of 256 KiB pieces", count), |b| {
            let mut streams = vec![Md5::new(); count];
            b.iter(|| update_many(black_box(&mut streams), black_box(&pieces)));
        });
    }
    group.finish();
}

criterion_group!(benches, md5);
criterion_main!(benches);
