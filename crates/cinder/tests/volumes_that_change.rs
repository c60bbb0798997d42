//! Volumes that change while they are read.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cinderblock_chunker::Extent;
use cinderblock_cinder::{Error, Volume};
use common::{Place, row, text};

const BLOCK: u64 = 4096;
const CHUNK: u64 = 4 * BLOCK;

/// Bytes, part of which become zero once everything was read.
struct Changing {
    bytes: Vec<u8>,
    size_read: AtomicU64,
    is_hole: AtomicBool,
}

impl Changing {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, size_read: AtomicU64::new(0), is_hole: AtomicBool::new(false) }
    }
}

impl Volume for Changing {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error> {
        if self.is_hole.load(Ordering::SeqCst) {
            return Ok(None);
        }
        Ok((from < end).then_some(Extent { offset: from, length: end - from }))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        buffer.copy_from_slice(&self.bytes[offset as usize..][..buffer.len()]);
        let read = self.size_read.fetch_add(buffer.len() as u64, Ordering::SeqCst) + buffer.len() as u64;
        if read >= self.size() {
            self.is_hole.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    fn known_hashes(
        &self,
        _block_bytes: u64,
        _first: u64,
        count: usize,
        hashes: &mut Vec<Option<[u8; 32]>>,
    ) -> Result<(), Error> {
        hashes.resize(hashes.len() + count, None);
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The list of hashes would say one thing, and the object be another: the next increment would believe the list.
#[test]
fn a_part_that_became_a_hole_after_it_was_hashed_is_not_backed_up_as_zeros() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK, BLOCK);
    let parent = place.back_up(&driver, 1, &text(1, 10 * CHUNK as usize), None).unwrap().0;
    let before = place.objects();
    let volume = Changing::new(text(2, 10 * CHUNK as usize));
    let error = driver.backup(&mut row(2), &volume, Some(&parent), true).unwrap_err();
    assert!(matches!(error, Error::VolumeChanged { .. }), "{error}");
    assert_eq!(place.objects(), before);
}
