//! No document makes a reader take memory for it.

use std::io::{self, Cursor, Read};

use crate::document::*;

/// A document that is made while it is read: something first, something many times, something last.
struct Made {
    first: Cursor<Vec<u8>>,
    repeated: Cursor<Vec<u8>>,
    times: u64,
    last: Cursor<Vec<u8>>,
    read: u64,
}

impl Made {
    fn new(first: &str, repeated: &str, times: u64, last: &str) -> Self {
        let cursor = |text: &str| Cursor::new(text.as_bytes().to_vec());
        Self { first: cursor(first), repeated: cursor(repeated), times, last: cursor(last), read: 0 }
    }
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.first.read(buffer)?;
        while bytes == 0 && self.times > 0 {
            bytes = self.repeated.read(buffer)?;
            if bytes == 0 {
                self.times -= 1;
                self.repeated.set_position(0);
            }
        }
        if bytes == 0 {
            bytes = self.last.read(buffer)?;
        }
        self.read += bytes as u64;
        Ok(bytes)
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::BadDocument { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_million_hashes_pass_in_batches() {
    let lines = format!("\n\"{}\",", "5a".repeat(32)).repeat(1_000);
    let head =
        "{\"backup_id\": \"b\", \"volume_id\": \"v\", \"chunk_size\": 32768, \"version\": \"1.0.0\", \"sha256s\": [";
    let mut document = Made::new(head, &lines, 2_000, &format!("\"{}\"]}}", "a5".repeat(32)));
    let (mut batches, mut hashes) = (0, 0);
    let read = read_sha256file("x", &mut document, &mut |batch| {
        assert!(batch.iter().rev().skip(1).all(|hash| *hash == [0x5a; 32]));
        batches += 1;
        hashes += batch.len();
        Ok(())
    });
    assert_eq!(read.unwrap().hashes, 2_000_001);
    assert_eq!((hashes, batches), (2_000_001, 2_000_001_usize.div_ceil(HASHES_PER_VISIT)));
}

#[test]
fn texts_without_end_are_refused_soon() {
    for (key, limit) in [
        ("backup_name", MAX_TEXT_BYTES),
        ("backup_description", MAX_TEXT_BYTES),
        ("backup_id", MAX_NAME_BYTES),
        ("created_at", MAX_NAME_BYTES),
        ("parent_id", MAX_NAME_BYTES),
        ("version", MAX_NAME_BYTES),
        ("extra_metadata", MAX_EXTRA_METADATA_BYTES),
        ("volume_meta", MAX_VOLUME_META_BYTES),
        ("unknown", MAX_VOLUME_META_BYTES),
    ] {
        let mut document = Made::new(&format!("{{\"{key}\": \""), &"x".repeat(1 << 20), 100, "\"}");
        let reason = refused(read_metadata("x", &mut document, &mut |_| Ok(())));
        assert!(reason.contains(&format!("more than {limit} bytes")), "{key}: {reason}");
        assert!(document.read <= limit as u64 + (128 << 10), "{key}: {} bytes read", document.read);
    }
    let names =
        ["{\"", "{\"objects\": [{\"", "{\"objects\": [{\"n\": {\"", "{\"objects\": [{\"n\": {\"compression\": \""];
    for first in names {
        let mut document = Made::new(first, &"x".repeat(1 << 20), 100, "\"}");
        let reason = refused(read_metadata("x", &mut document, &mut |_| Ok(())));
        assert!(reason.contains("more than 1024 bytes"), "{reason}");
        assert!(document.read <= 128 << 10, "{} bytes read", document.read);
    }
}

#[test]
fn texts_of_just_the_greatest_length_are_read() {
    let name = "n".repeat(MAX_NAME_BYTES);
    let document = format!(
        "{{\"version\": \"1.0.0\", \"objects\": [{{\"{name}\": {{\"compression\": \"\", \"length\": 0, \"md5\": \"{}\", \
         \"offset\": 0}}}}], \"backup_name\": \"{}\", \"volume_meta\": \"{}\", \"extra_metadata\": \"{}\"}}",
        "0".repeat(32),
        "\\u0078".repeat(MAX_TEXT_BYTES),
        "m".repeat(MAX_VOLUME_META_BYTES),
        "e".repeat(MAX_EXTRA_METADATA_BYTES - 2),
    );
    let read = read_metadata("x", document.as_bytes(), &mut |object| {
        assert_eq!(object.name, name);
        Ok(())
    });
    assert_eq!(read.unwrap().head.backup_name.unwrap().len(), MAX_TEXT_BYTES);
}

#[test]
fn unknown_lists_of_any_length_are_skipped() {
    let numbers = "1, ".repeat(10_000);
    let mut document = Made::new("{\"x\": [", &numbers, 1_000, "1], \"version\": \"1.0.0\", \"objects\": []}");
    assert_eq!(read_metadata("x", &mut document, &mut |_| Ok(())).unwrap().objects, 0);
    let spaces = " ".repeat(1 << 20);
    let mut document = Made::new("{\"version\":", &spaces, 100, "\"1.0.0\", \"objects\": []}");
    assert_eq!(read_metadata("x", &mut document, &mut |_| Ok(())).unwrap().objects, 0);
}
