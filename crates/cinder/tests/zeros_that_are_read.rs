//! Zeros that have to be read, as on a block device, and zeros that are holes make the same backups.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use cinderblock_backend::{Backend, ObjectName};
use cinderblock_chunker::Extent;
use cinderblock_cinder::{Backup, Error, Volume};
use common::{Driver, Place, layer, noise, row, text};

const COMPRESSIONS: [&str; 4] = ["none", "zlib", "bz2", "zstd"];
const BLOCK: usize = 32 << 10;
const MIB: usize = 1 << 20;

/// Bytes without holes.
struct Dense {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl Volume for Dense {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error> {
        Ok((from < end).then(|| Extent { offset: from, length: end - from }))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        buffer.copy_from_slice(&self.bytes[offset as usize..][..buffer.len()]);
        self.read.fetch_add(buffer.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Backs up bytes without holes; how many were read.
fn back_up_dense(driver: &Driver, number: u32, bytes: &[u8], parent: Option<&Backup>) -> (Backup, u64) {
    let volume = Dense { bytes: bytes.to_vec(), read: AtomicU64::new(0) };
    let mut backup = row(number);
    driver.backup(&mut backup, &volume, parent, true).unwrap();
    (backup, volume.read.into_inner())
}

/// All objects' bytes, in the order of their names. Metadata repeat the prefix, which says the second in which a backup began.
fn contents(place: &Place, chain: &[Backup]) -> Vec<Vec<u8>> {
    let get = |name: &String| {
        let bytes = place.memory.get(&ObjectName::new(name.as_str()).unwrap(), u64::MAX).unwrap();
        if !name.ends_with("_metadata") {
            return bytes;
        }
        let text = String::from_utf8(bytes).unwrap();
        let prefixes = chain.iter().filter_map(|backup| backup.service_metadata.as_deref());
        prefixes.fold(text, |text, prefix| text.replace(prefix, "prefix")).into_bytes()
    };
    place.objects().iter().map(get).collect()
}

/// Backs up a chain of two with and without holes, which has to give the same objects, and restores it.
fn compare(compression: &str, chunk: usize, block: usize, volumes: &[Vec<u8>; 2]) {
    let (sparse, dense) = (Place::new(), Place::new());
    let drivers = [&sparse, &dense].map(|place| place.driver(compression, chunk as u64, block as u64));
    let with_holes = sparse.chain(&drivers[0], volumes);
    let mut chain: Vec<Backup> = Vec::new();
    for (number, bytes) in (1..).zip(volumes) {
        let backup = back_up_dense(&drivers[1], number, bytes, chain.last()).0;
        chain.push(backup);
    }
    for (a, b) in with_holes.iter().zip(&chain) {
        assert!(layer(&drivers[0], a).objects == layer(&drivers[1], b).objects, "{compression}");
    }
    assert!(contents(&sparse, &with_holes) == contents(&dense, &chain), "{compression}");
    for length in 1..=2 {
        let restored = dense.restore_new(&drivers[1], &chain[..length]).unwrap();
        assert!(restored == volumes[length - 1], "{compression}: volume {length} comes back");
    }
}

/// zstd's input is in a ring of a few MiB, where what is far back and what was never written is zero; pieces that are no whole units of it begin
/// anywhere.
#[test]
fn objects_that_are_longer_than_the_ring_come_back() {
    let mut before = vec![0; 75 * MIB + 5000];
    // Data at the start and, after more zeros than the ring keeps, repeated from further back than it does.
    let data = text(1, 3 * MIB);
    before[..3 * MIB].copy_from_slice(&data);
    before[15 * MIB..18 * MIB].copy_from_slice(&data);
    before[21 * MIB + 7..24 * MIB].copy_from_slice(&data[7..]);
    // Nothing before the last MiB.
    before[47 * MIB..48 * MIB].copy_from_slice(&text(2, MIB));
    // Noise that repeats just within the window, just beyond it, and beyond the ring.
    for (at, length, from) in [(48, 9, 0), (57, 2, 55), (60, 2, 57), (63, 8, 48)] {
        let bytes = if from == 0 { noise(3, length * MIB) } else { before[from * MIB..][..length * MIB].to_vec() };
        before[at * MIB..][..length * MIB].copy_from_slice(&bytes);
    }
    let mut after = before.clone();
    after[16 * MIB..50 * MIB].rotate_left(MIB + 512);
    for block in [BLOCK, 12 << 10, MIB * 3 / 2, 6 * MIB] {
        compare("zstd", 24 * MIB, block, &[before.clone(), after.clone()]);
    }
}

#[test]
fn objects_of_several_pieces_are_those_of_a_volume_with_holes() {
    // Objects of 5 MiB, which are read in pieces of 2 MiB.
    let mut before = vec![0; 26 * MIB + 5000];
    // The first object is zero; the second is at its end, in its last piece, the third at its start, the fourth in between, ...
    before[10 * MIB - 10..10 * MIB].fill(1);
    before[10 * MIB..11 * MIB].copy_from_slice(&text(1, MIB));
    before[17 * MIB + 5..18 * MIB].copy_from_slice(&text(2, MIB - 5));
    // ... the fifth does not shrink, and the last one, which is short, is zero.
    before[20 * MIB..25 * MIB].copy_from_slice(&noise(3, 5 * MIB));
    let mut after = before.clone();
    after[2 * MIB + 7..5 * MIB].copy_from_slice(&text(4, 3 * MIB - 7));
    after[9 * MIB..15 * MIB].fill(0);
    after[20 * MIB..23 * MIB].fill(0);
    after[26 * MIB + 4999] = 1;
    for compression in COMPRESSIONS {
        compare(compression, 5 * MIB, BLOCK, &[before.clone(), after.clone()]);
    }
}

#[test]
fn many_small_objects_of_all_kinds_are_those_of_a_volume_with_holes() {
    const SMALL: usize = 4096;
    let volume = |seed: u64| -> Vec<u8> {
        let kinds = noise(seed, 400);
        let parts = (seed * 1000..).zip(kinds).map(|(seed, kind)| match kind % 4 {
            0 | 1 => vec![0; SMALL],
            2 => text(seed, SMALL),
            _ => noise(seed, SMALL),
        });
        let mut bytes = parts.collect::<Vec<_>>().concat();
        bytes.truncate(bytes.len() - 100);
        bytes
    };
    for compression in COMPRESSIONS {
        for chunk in [SMALL, 3 * SMALL] {
            compare(compression, chunk, SMALL, &[volume(1), volume(2)]);
        }
    }
}

#[test]
fn pieces_that_are_no_multiple_of_the_block_have_the_right_zeros_before_them() {
    // Blocks of 3,000,000 bytes are larger than a piece otherwise is, and those of 700,000 do not divide it.
    for (block, chunk) in [(3_000_000, 9_000_000), (700_000, 7_000_000)] {
        let mut before = vec![0; 2 * chunk + 12_345];
        before[chunk - 1] = 1;
        before[2 * chunk + 12_000] = 1;
        let mut after = before.clone();
        after[chunk + 6_500_000] = 1;
        compare("zstd", chunk, block, &[before, after]);
    }
}

#[test]
fn what_shrinks_is_read_once() {
    let mut bytes = vec![0; 40 * MIB];
    bytes[7 * MIB..8 * MIB].copy_from_slice(&text(1, MIB));
    for compression in COMPRESSIONS {
        let place = Place::new();
        let driver = place.driver(compression, 5 * MIB as u64, BLOCK as u64);
        let (backup, read) = back_up_dense(&driver, 1, &bytes, None);
        assert_eq!(read, bytes.len() as u64, "{compression}");
        let (_, read) = back_up_dense(&driver, 2, &bytes, Some(&backup));
        assert_eq!(read, bytes.len() as u64, "{compression}");
    }
}
