//! Cinder's two documents: written and read.

use std::hint::black_box;
use std::io;

use cinderblock_cinder::document::{
    Head, MetadataWriter, ObjectEntry, Sha256FileWriter, read_metadata, read_sha256file,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const HASHES: usize = 100_000;
const OBJECTS: u64 = 10_000;

fn head() -> Head {
    Head {
        backup_name: Some("nightly".to_owned()),
        backup_id: "22222222-2222-4222-8222-222222222222".to_owned(),
        created_at: "2026-08-21 18:05:24+00:00".to_owned(),
        volume_id: "11111111-1111-4111-8111-111111111111".to_owned(),
        ..Head::default()
    }
}

fn write_sha256file<W: io::Write>(writer: W, hashes: &[[u8; 32]]) -> io::Result<W> {
    let mut writer = Sha256FileWriter::new(writer, &head(), 32_768)?;
    writer.push_all(hashes)?;
    writer.finish()
}

fn write_metadata<W: io::Write>(writer: W, objects: &[ObjectEntry]) -> io::Result<W> {
    let mut writer = MetadataWriter::new(writer, &head(), None)?;
    objects.iter().try_for_each(|object| writer.push(object))?;
    writer.finish(None, Some("{\"version\": 2}"))
}

fn sha256file(c: &mut Criterion) {
    // Bytes that look like hashes: BLAKE3's output stream.
    let mut bytes = vec![0; 32 * HASHES];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let (hashes, _) = bytes.as_chunks::<32>();
    let document = write_sha256file(Vec::new(), hashes).expect("a vector takes all");

    let mut group = c.benchmark_group("document");
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function("write 100,000 hashes", |b| {
        b.iter(|| write_sha256file(io::sink(), black_box(hashes)).expect("a sink takes all"));
    });
    group.bench_function("read 100,000 hashes", |b| {
        b.iter(|| {
            read_sha256file("sha256file", black_box(document.as_slice()), &mut |batch| {
                black_box(batch);
                Ok(())
            })
            .expect("just written")
        });
    });
    group.finish();
}

fn metadata(c: &mut Criterion) {
    let prefix =
        "volume_11111111-1111-4111-8111-111111111111_20260821180524_backup_22222222-2222-4222-8222-222222222222";
    let length = 52_428_800;
    let objects: Vec<_> = (0..OBJECTS)
        .map(|number| ObjectEntry {
            name: format!("{prefix}-{:05}", number + 1),
            compression: "zlib".to_owned(),
            length,
            md5: (u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_le_bytes(),
            offset: number * length,
        })
        .collect();
    let document = write_metadata(Vec::new(), &objects).expect("a vector takes all");

    let mut group = c.benchmark_group("document");
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function("write 10,000 objects", |b| {
        b.iter(|| write_metadata(io::sink(), black_box(&objects)).expect("a sink takes all"));
    });
    group.bench_function("read 10,000 objects", |b| {
        b.iter(|| {
            read_metadata("metadata", black_box(document.as_slice()), &mut |object| {
                black_box(object);
                Ok(())
            })
            .expect("just written")
        });
    });
    group.finish();
}

criterion_group!(benches, sha256file, metadata);
criterion_main!(benches);
