//! Volumes that change while they are read, and volumes that panic.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cinderblock_chunker::Extent;
use cinderblock_cinder::{Error, Volume};
use common::{Place, row, text};

const BLOCK: u64 = 4096;
const CHUNK: u64 = 4 * BLOCK;

/// Bytes, part of which become zero, or panic, once everything was read.
struct Changing {
    bytes: Vec<u8>,
    size_read: AtomicU64,
    is_hole: AtomicBool,
    panics: bool,
}

impl Changing {
    fn new(bytes: Vec<u8>, panics: bool) -> Self {
        Self { bytes, size_read: AtomicU64::new(0), is_hole: AtomicBool::new(false), panics }
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
        assert!(!self.panics, "as a volume of somebody else's might");
        buffer.copy_from_slice(&self.bytes[offset as usize..][..buffer.len()]);
        let read = self.size_read.fetch_add(buffer.len() as u64, Ordering::SeqCst) + buffer.len() as u64;
        if read >= self.size() {
            self.is_hole.store(true, Ordering::SeqCst);
        }
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
    let volume = Changing::new(text(2, 10 * CHUNK as usize), false);
    let error = driver.backup(&mut row(2), &volume, Some(&parent), true).unwrap_err();
    assert!(matches!(error, Error::VolumeChanged { .. }), "{error}");
    assert_eq!(place.objects(), before);
}

#[test]
fn a_worker_that_panics_keeps_nobody_waiting() {
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let place = Place::new();
        let driver = place.driver("none", BLOCK, BLOCK);
        // More objects than may be done ahead of the one that never is.
        let volume = Changing::new(vec![1; 20_000 * BLOCK as usize], true);
        let backup = || driver.backup(&mut row(1), &volume, None, true).map(drop);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(backup));
        sender.send(outcome.is_err()).unwrap();
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(60)), Ok(true), "it panics, and does not wait for ever");
}

/// An object of zeros is compressed as a whole, which takes long where it is large.
#[test]
fn a_request_to_stop_is_heard_while_zeros_are_compressed() {
    use cinderblock_pipeline::{CancelToken, Control, VolumeFile};

    let place = Place::new();
    let file = std::fs::File::create(place.path("zeros")).unwrap();
    file.set_len(1 << 40).unwrap();
    let volume = VolumeFile::open(&place.path("zeros")).unwrap();
    let cancel = CancelToken::default();
    let control = Control { cancel: cancel.clone(), ..Control::default() };
    let context = cinderblock_cinder::Context { control, ..common::context("bz2") };
    let backend = std::sync::Arc::clone(&place.memory) as std::sync::Arc<dyn cinderblock_backend::Backend>;
    // One object of a tebibyte: some two hours of bzip2.
    let driver = common::driver_on(backend, context, 1 << 40, 4 << 20);
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(driver.backup(&mut row(1), &volume, None, false)).unwrap());
    std::thread::sleep(Duration::from_millis(200));
    cancel.cancel();
    let outcome = ended.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(matches!(outcome, Err(Error::BackupCancelled { .. })), "{outcome:?}");
}
