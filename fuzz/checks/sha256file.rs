//! What has to hold for any bytes that are read as a `_sha256file` document.

use cinderblock_cinder::Error;
use cinderblock_cinder::document::{BlockHash, HASHES_PER_VISIT, Sha256File, Sha256FileWriter, read_sha256file};

/// Hands out a few bytes at a time, so that buffers end anywhere.
struct Pieces<'a>(&'a [u8], usize);

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(buffer.len());
        std::io::Read::read(&mut self.0, &mut buffer[..length])
    }
}

fn read(reader: impl std::io::Read) -> Result<(Sha256File, Vec<BlockHash>), Error> {
    let mut hashes = Vec::new();
    let sha256file = read_sha256file("object", reader, &mut |batch| {
        assert!((1..=HASHES_PER_VISIT).contains(&batch.len()));
        hashes.extend_from_slice(batch);
        Ok(())
    })?;
    assert_eq!(sha256file.hashes, hashes.len() as u64);
    Ok((sha256file, hashes))
}

/// Panics where something does not hold.
pub fn check(bytes: &[u8]) {
    let result = read(bytes);
    for length in [1, 7] {
        assert_eq!(format!("{result:?}"), format!("{:?}", read(Pieces(bytes, length))));
    }
    let (sha256file, hashes) = match result {
        Ok(read) => read,
        Err(Error::BadDocument { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).expect("JSON by others' reckoning too");

    let mut writer = Sha256FileWriter::new(Vec::new(), &sha256file.head, sha256file.chunk_size).unwrap();
    writer.push_all(&hashes).unwrap();
    let again = writer.finish().unwrap();
    assert_eq!(read(again.as_slice()).expect("what was written"), (sha256file, hashes));
}
