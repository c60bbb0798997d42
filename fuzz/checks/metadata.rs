//! What has to hold for any bytes that are read as a `_metadata` document.

use cinderblock_cinder::Error;
use cinderblock_cinder::document::{Metadata, MetadataWriter, ObjectEntry, read_metadata};

/// Hands out a few bytes at a time, so that buffers end anywhere.
struct Pieces<'a>(&'a [u8], usize);

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(buffer.len());
        std::io::Read::read(&mut self.0, &mut buffer[..length])
    }
}

fn read(reader: impl std::io::Read) -> Result<(Metadata, Vec<ObjectEntry>), Error> {
    let mut objects = Vec::new();
    let metadata = read_metadata("object", reader, &mut |object| {
        objects.push(object);
        Ok(())
    })?;
    assert_eq!(metadata.objects, objects.len() as u64);
    Ok((metadata, objects))
}

/// Panics where something does not hold.
pub fn check(bytes: &[u8]) {
    let result = read(bytes);
    for length in [1, 7] {
        assert_eq!(format!("{result:?}"), format!("{:?}", read(Pieces(bytes, length))));
    }
    let (metadata, objects) = match result {
        Ok(read) => read,
        Err(Error::BadDocument { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).expect("JSON by others' reckoning too");

    let mut writer = MetadataWriter::new(Vec::new(), &metadata.head, metadata.extra_metadata.as_ref()).unwrap();
    for object in &objects {
        writer.push(object).unwrap();
    }
    let again = writer.finish(metadata.parent_id.as_deref(), metadata.volume_meta.as_deref()).unwrap();
    assert_eq!(read(again.as_slice()).expect("what was written"), (metadata, objects));
}
