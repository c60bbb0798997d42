//! A restore that is asked to stop, or whose storage fails, stops: soon, and without leaving a new file behind.

mod common;

use std::io::{self, Write};
use std::sync::Arc;

use cinderblock_backend::{Faulty, Kind, Rule};
use cinderblock_pipeline::{CancelToken, Control, Engine, Error, ReadData, Settings, Target, VerifyOptions};
use common::*;

/// A repository whose storage asks to stop at the `n`-th read.
fn stopping(n: u64) -> (Fixture, Control, Arc<std::sync::atomic::AtomicBool>) {
    let control = Control::default();
    let token: CancelToken = control.cancel.clone();
    let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (watch, reads) = (armed.clone(), std::sync::atomic::AtomicU64::new(0));
    let fixture = Fixture::around(move |storage| {
        let faulty = Faulty::new(storage);
        faulty.add(Rule::on(Kind::ReadInto).when(move |_| {
            if watch.load(std::sync::atomic::Ordering::SeqCst)
                && reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == n
            {
                token.cancel();
            }
            false
        }));
        faulty
    });
    (fixture, control, armed)
}

/// A volume in far more reads than those after which the tests stop.
fn volume() -> Vec<u8> {
    noise(1, 2 * LEAF)
}

#[test]
fn a_stopped_restore_leaves_no_new_file() {
    for reads in [1, 2, 20] {
        let (fixture, control, armed) = stopping(reads);
        let record = fixture.store_fixed("vm", &volume());
        armed.store(true, std::sync::atomic::Ordering::SeqCst);
        let folder = tempfile::tempdir().unwrap();
        let target = Target::New(folder.path().join("volume"));
        let error = fixture.engine.restore(&fixture.repository, &record, &target, &control).unwrap_err();
        assert!(matches!(error, Error::Cancelled { partly_written: false }));
        assert!(names(folder.path()).is_empty());
    }
}

#[test]
fn a_stopped_restore_over_an_existing_file_says_so_and_can_go_on() {
    let (fixture, control, armed) = stopping(20);
    let volume = volume();
    let record = fixture.store_fixed("vm", &volume);
    // One job at a time, so that the first has written when the last begins.
    let engine = Engine::new(Settings { threads: 1, memory_bytes: 0 }).unwrap();
    armed.store(true, std::sync::atomic::Ordering::SeqCst);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    std::fs::write(&path, vec![1; volume.len()]).unwrap();
    let target = Target::Existing(path.clone());
    let error = engine.restore(&fixture.repository, &record, &target, &control).unwrap_err();
    let mixture = std::fs::read(&path).unwrap();
    let touched = mixture != vec![1; volume.len()];
    assert!(matches!(error, Error::Cancelled { partly_written } if partly_written == touched), "{error:?}");
    for (at, (byte, right)) in mixture.iter().zip(&volume).enumerate() {
        assert!(byte == right || *byte == 1, "byte {at}");
    }
    let summary = engine.restore(&fixture.repository, &record, &target, &Control::default()).unwrap();
    assert!(std::fs::read(&path).unwrap() == volume);
    assert_eq!(summary.unchanged_bytes > 0, touched);
}

#[test]
fn before_anything_is_done_nothing_is_written() {
    let fixture = Fixture::new();
    let record = fixture.store_fixed("vm", &volume());
    let control = Control::default();
    control.cancel.cancel();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    std::fs::write(&path, vec![1; volume().len()]).unwrap();
    let error = fixture.engine.restore(&fixture.repository, &record, &Target::Existing(path.clone()), &control);
    assert!(matches!(error, Err(Error::Cancelled { partly_written: false })));
    assert!(std::fs::read(&path).unwrap() == vec![1; volume().len()]);
    let mut bytes = Vec::new();
    let error = fixture.engine.restore_to_writer(&fixture.repository, &record, &mut bytes, &control);
    assert!(error.unwrap_err().is_cancelled() && bytes.is_empty());
    let error = fixture.engine.verify(&fixture.repository, &VerifyOptions::default(), &control);
    assert!(error.unwrap_err().is_cancelled());
}

#[test]
fn a_stopped_stream_and_verification_end() {
    let (fixture, control, armed) = stopping(3);
    let record = fixture.store_fixed("vm", &volume());
    armed.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut bytes = Vec::new();
    let error = fixture.engine.restore_to_writer(&fixture.repository, &record, &mut bytes, &control);
    assert!(error.unwrap_err().is_cancelled());
    assert!(volume().starts_with(&bytes));

    let (fixture, control, armed) = stopping(20);
    fixture.store_fixed("vm", &volume());
    armed.store(true, std::sync::atomic::Ordering::SeqCst);
    let options = VerifyOptions { backups: None, read_data: ReadData::All };
    assert!(fixture.engine.verify(&fixture.repository, &options, &control).unwrap_err().is_cancelled());
}

/// Takes so many bytes, then fails.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_fails_ends_the_stream() {
    let fixture = Fixture::new();
    let record = fixture.store_fixed("vm", &volume());
    let control = Control::default();
    match fixture.engine.restore_to_writer(&fixture.repository, &record, &mut Full(LEAF + 5), &control) {
        Err(Error::Target { operation: "writing", offset, source, .. }) => {
            assert!(offset <= LEAF as u64 + 5);
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn storage_that_fails_is_an_error_with_the_part_of_the_volume() {
    let (fixture, faulty) = Fixture::with(Faulty::new);
    let record = fixture.store_fixed("vm", &volume());
    // The header of each pack is read from byte 0, frames are not.
    faulty.add(Rule::on(Kind::ReadInto).prefix("packs/").when(|request| request.offset > 0));
    let folder = tempfile::tempdir().unwrap();
    let target = Target::New(folder.path().join("volume"));
    match fixture.engine.restore(&fixture.repository, &record, &target, &Control::default()) {
        Err(Error::Unrestorable { length, source, .. }) => {
            assert!(length > 0);
            assert!(!source.is_damage(), "{source}");
        }
        other => panic!("{other:?}"),
    }
    assert!(names(folder.path()).is_empty());
}
