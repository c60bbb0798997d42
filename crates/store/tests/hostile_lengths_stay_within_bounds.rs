//! Lengths that an attacker chose, under checksums that fit: refused with a typed error, and without an allocation that the
//! format does not allow for. The allocator of this test notes the largest single request of each thread.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use cinderblock_backend::{Memory, ObjectName};
use cinderblock_store::pack::FRAME_MAX_BYTES;
use cinderblock_store::{Error, Kind, Repository};
use common::*;

struct Noting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    // A thread that is ending has no cell any more; nothing is measured there.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: every call is handed on to the system's allocator unchanged; the note neither allocates nor unwinds.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

fn largest_while<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.set(0);
    let value = work();
    (value, LARGEST.get())
}

/// A number as bincode writes it: one byte, or a mark and 2, 4 or 8 bytes.
fn number(value: u64) -> Vec<u8> {
    match value {
        0..=250 => vec![value as u8],
        251..=0xffff => [&[0xfb][..], &(value as u16).to_le_bytes()].concat(),
        0x1_0000..=0xffff_ffff => [&[0xfc][..], &(value as u32).to_le_bytes()].concat(),
        _ => [&[0xfd][..], &value.to_le_bytes()].concat(),
    }
}

struct Frame {
    stored: u64,
    plain: u64,
    chunks: u64,
    codec: u8,
    hashed: u8,
}

/// A directory's bytes, with counts that need not be those of what follows.
fn directory(frames: u64, frame: &Frame, ids: u64, real_ids: usize, length: u64, hashes: u64) -> Vec<u8> {
    let mut bytes = number(frames);
    for value in [frame.stored, frame.plain, frame.chunks, frame.codec.into(), frame.hashed.into()] {
        bytes.extend(number(value));
    }
    bytes.extend(number(ids));
    bytes.extend(vec![7; 32 * real_ids]);
    bytes.extend(number(ids));
    (0..real_ids).for_each(|_| bytes.extend(number(length)));
    bytes.extend(number(hashes));
    bytes
}

fn pack_alone() -> Result<(Arc<Memory>, ObjectName, Vec<u8>), Error> {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir().expect("a folder"));
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    back_up(&repository, &volume("vm"), &dense_volume(1, 3), &Plan::new())?;
    let name = packs_of_kind(&*storage, Kind::DataPack).remove(0);
    let bytes = bytes_of(&*storage, &name);
    Ok((storage, name, bytes))
}

fn read_first_frame(repository: &Repository, name: &ObjectName) -> Result<usize, Error> {
    let pack = repository.pack(pack_id(name))?;
    let mut plain = Vec::new();
    repository.read_frame(&pack, 0, &mut Vec::new(), &mut plain)?;
    Ok(plain.len())
}

#[test]
fn directories_of_packs() -> TestResult {
    let (storage, name, good) = pack_alone()?;
    let footer = good.len() - FOOTER;
    let stored = u64::from_le_bytes(good[footer..footer + 8].try_into()?) - HEADER as u64;
    let frame = || Frame { stored, plain: 12_288, chunks: 1, codec: 1, hashed: 0 };
    let max = u64::from(u32::MAX);
    let cases = [
        ("frames", directory(u64::MAX, &frame(), 1, 1, 12_288, 0)),
        ("many frames", directory(1 << 21, &frame(), 1, 1, 12_288, 0)),
        ("ids", directory(1, &frame(), u64::MAX, 1, 12_288, 0)),
        ("many ids", directory(1, &frame(), 1 << 20, 1, 12_288, 0)),
        ("hashes", directory(1, &frame(), 1, 1, 12_288, u64::MAX)),
        ("many hashes", directory(1, &frame(), 1, 1, 12_288, 1 << 20)),
        ("stored length", directory(1, &Frame { stored: max, ..frame() }, 1, 1, 12_288, 0)),
        ("stored length past 32 bits", directory(1, &Frame { stored: max + 1, ..frame() }, 1, 1, 12_288, 0)),
        ("plain length", directory(1, &Frame { plain: max, ..frame() }, 1, 1, max, 0)),
        ("sum of lengths", directory(1, &Frame { plain: 2, chunks: 2, ..frame() }, 2, 2, (1 << 31) + 1, 0)),
        ("plain length above the limit", {
            let plain = FRAME_MAX_BYTES as u64 + 1;
            directory(1, &Frame { plain, ..frame() }, 1, 1, plain, 0)
        }),
        ("chunks", directory(1, &Frame { chunks: max, ..frame() }, 1, 1, 12_288, 0)),
        ("no chunks", directory(1, &Frame { chunks: 0, ..frame() }, 1, 1, 12_288, 0)),
        ("codec", directory(1, &Frame { codec: 2, ..frame() }, 1, 1, 12_288, 0)),
        ("boolean", directory(1, &Frame { hashed: 2, ..frame() }, 1, 1, 12_288, 0)),
        ("bytes left over", [directory(1, &frame(), 1, 1, 12_288, 0), vec![0]].concat()),
    ];
    let cache = tempfile::tempdir()?;
    // The directory by itself is right: what is refused below is refused for its one wrong number.
    overwrite(&*storage, &name, &with_directory(&good, &directory(1, &frame(), 1, 1, 12_288, 0), 1));
    assert_eq!(read_first_frame(&open(storage.clone(), cache.path())?, &name)?, 12_288);
    for (case, directory) in cases {
        overwrite(&*storage, &name, &with_directory(&good, &directory, 1));
        let repository = open(storage.clone(), cache.path())?;
        let (result, largest) = largest_while(|| read_first_frame(&repository, &name));
        assert_names(&result.expect_err(case), &name, case);
        // The codec's limit on lists, which holds for frames of 16 MiB as well.
        assert!(largest <= 64 << 20, "{case}: {largest} bytes at once");
    }
    Ok(())
}

#[test]
fn a_frame_is_not_read_into_more_memory_than_a_frame_may_take() -> TestResult {
    let (storage, name, good) = pack_alone()?;
    // A pack of 65 MiB with a "compressed" frame of almost as much.
    let frame_bytes = 65 << 20;
    let frame = Frame { stored: frame_bytes as u64, plain: 4096, chunks: 1, codec: 1, hashed: 0 };
    let mut bytes = good[..HEADER].to_vec();
    bytes.resize(HEADER + frame_bytes, 0);
    bytes.extend(&good[good.len() - FOOTER..]);
    let footer = bytes.len() - FOOTER;
    bytes[footer..footer + 8].copy_from_slice(&(footer as u64).to_le_bytes());
    let bytes = with_directory(&bytes, &directory(1, &frame, 1, 1, 4096, 0), 1);
    overwrite(&*storage, &name, &bytes);
    let cache = tempfile::tempdir()?;
    let repository = open(storage, cache.path())?;
    let (result, largest) = largest_while(|| read_first_frame(&repository, &name));
    assert_names(&result.expect_err("not a frame"), &name, "stored length");
    assert!(largest <= FRAME_MAX_BYTES + (1 << 20), "{largest} bytes at once");
    Ok(())
}

#[test]
fn a_decompression_bomb() -> TestResult {
    let (storage, name, good) = pack_alone()?;
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19)?;
    for plain in [4096, FRAME_MAX_BYTES as u64] {
        let frame = Frame { stored: bomb.len() as u64, plain, chunks: 1, codec: 1, hashed: 0 };
        let mut bytes = [&good[..HEADER], &bomb[..], &good[good.len() - FOOTER..]].concat();
        let footer = bytes.len() - FOOTER;
        bytes[footer..footer + 8].copy_from_slice(&(footer as u64).to_le_bytes());
        overwrite(&*storage, &name, &with_directory(&bytes, &directory(1, &frame, 1, 1, plain, 0), 1));
        let cache = tempfile::tempdir()?;
        let repository = open(storage.clone(), cache.path())?;
        let (result, largest) = largest_while(|| read_first_frame(&repository, &name));
        assert_names(&result.expect_err("a bomb"), &name, "bomb");
        assert!(largest <= FRAME_MAX_BYTES + (1 << 20), "{largest} bytes at once");
    }
    Ok(())
}

#[test]
fn footers_of_packs() -> TestResult {
    let (storage, name, good) = pack_alone()?;
    let footer = good.len() - FOOTER;
    let cache = tempfile::tempdir()?;
    let (at, length) = (footer, footer + 8);
    let chunks = footer + 12;
    let cases: [(&str, usize, Vec<u8>); 10] = [
        ("place of the directory", at, u64::MAX.to_le_bytes().to_vec()),
        ("a place that wraps around", at, (u64::MAX - 100).to_le_bytes().to_vec()),
        ("place within the header", at, 63_u64.to_le_bytes().to_vec()),
        ("place behind the end", at, (good.len() as u64).to_le_bytes().to_vec()),
        ("length", length, u32::MAX.to_le_bytes().to_vec()),
        ("length of nothing", length, 0_u32.to_le_bytes().to_vec()),
        ("length past the start", length, (good.len() as u32).to_le_bytes().to_vec()),
        ("number of chunks", chunks, u32::MAX.to_le_bytes().to_vec()),
        ("no chunks", chunks, 0_u32.to_le_bytes().to_vec()),
        ("reserved bytes", footer + 48, vec![1]),
    ];
    for (case, place, value) in cases {
        let mut bytes = good.clone();
        bytes[place..place + value.len()].copy_from_slice(&value);
        if place == chunks {
            reseal_pack(&mut bytes);
        }
        overwrite(&*storage, &name, &bytes);
        let repository = open(storage.clone(), cache.path())?;
        let (result, largest) = largest_while(|| repository.pack(pack_id(&name)));
        assert_names(&result.expect_err(case), &name, case);
        assert!(largest < 16 << 20, "{case}: {largest} bytes at once");
    }
    Ok(())
}

#[test]
fn headers_of_packs() -> TestResult {
    let (storage, name, good) = pack_alone()?;
    let cache = tempfile::tempdir()?;
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        reseal_pack(&mut bytes);
        overwrite(&*storage, &name, &bytes);
        open(storage.clone(), cache.path())?.pack(pack_id(&name)).map(drop)
    };
    assert!(with(9, 1).is_ok());
    assert!(matches!(with(9, 2), Err(Error::NewerFormat { version: 2, .. })));
    assert!(matches!(with(9, 255), Err(Error::NewerFormat { version: 255, .. })));
    assert!(matches!(with(9, 0), Err(Error::Damaged { .. })));
    assert!(matches!(with(10, 1), Err(Error::Unsupported { .. })));
    for at in [0, 11, 12, 15, 16, 32] {
        let error = with(at, good[at] ^ 1).expect_err("a header with a wrong byte");
        assert_names(&error, &name, &format!("byte {at}"));
    }
    for kind in [0, 3, 4, 5, 6, 255] {
        assert_names(&with(8, kind).expect_err("another kind"), &name, &format!("kind {kind}"));
    }
    Ok(())
}

/// Data under the kind of a map, and the reverse, is never authentic.
#[test]
fn a_pack_of_data_does_not_pass_for_one_of_map_nodes() -> TestResult {
    let (storage, name, mut bytes) = pack_alone()?;
    bytes[8] = Kind::MapPack as u8;
    reseal_pack(&mut bytes);
    overwrite(&*storage, &name, &bytes);
    let cache = tempfile::tempdir()?;
    let repository = open(storage, cache.path())?;
    let (volume, id) = repository.backups(None)?.remove(0);
    let record = repository.record(&volume, id)?;
    assert_names(&read_backup(&repository, &record).expect_err("data as map nodes"), &name, "kind");
    let chunk = repository.pack(pack_id(&name))?.directory().ids()[0];
    assert_names(&repository.node(&chunk).expect_err("data as a map node"), &name, "node");
    Ok(())
}

#[test]
fn records() -> TestResult {
    let (storage, _, _) = pack_alone()?;
    let cache = tempfile::tempdir()?;
    let repository = open(storage.clone(), cache.path())?;
    let (volume, id) = repository.backups(None)?.remove(0);
    let name = ObjectName::new(format!("backups/{volume}/{id}"))?;
    let good = bytes_of(&*storage, &name);
    let body = &good[HEADER..good.len() - CHECKSUM];
    let huge = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    // Every byte of the body in turn is taken for the first of a huge length.
    for at in 0..body.len() {
        let changed = [&body[..at], &huge, &body[at + 1..]].concat();
        overwrite(&*storage, &name, &with_body(&good, &changed));
        let (result, largest) = largest_while(|| repository.record(&volume, id));
        assert!(largest <= 64 << 20, "at {at}: {largest} bytes at once");
        if let Err(error) = result {
            assert_names(&error, &name, &format!("at {at}"));
        }
    }
    // Every bit, under a checksum that fits: whatever it says, reading it to the end does not panic.
    for bit in 0..body.len() * 8 {
        let mut changed = body.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        overwrite(&*storage, &name, &with_body(&good, &changed));
        let (result, largest) = largest_while(|| repository.record(&volume, id));
        assert!(largest <= 64 << 20, "bit {bit}: {largest} bytes at once");
        if let Ok(record) = result {
            for leaf in repository.leaves(&record, 0..record.volume_bytes).take(10) {
                let covered = leaf.map_or_else(|lost| lost.offset + lost.length, |leaf| leaf.offset + leaf.length);
                assert!(covered <= record.volume_bytes, "bit {bit}");
            }
        }
    }
    Ok(())
}
