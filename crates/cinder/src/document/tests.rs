use super::*;

/// Reads a document and writes it again.
fn rewrite_metadata(document: &[u8]) -> Result<Vec<u8>, Error> {
    let mut objects = Vec::new();
    let read = read_metadata("x_metadata", document, &mut |object| {
        objects.push(object);
        Ok(())
    })?;
    assert_eq!(read.objects, objects.len() as u64);
    let mut writer = MetadataWriter::new(Vec::new(), &read.head, read.extra_metadata.as_ref()).unwrap();
    for object in &objects {
        writer.push(object).unwrap();
    }
    Ok(writer.finish(read.parent_id.as_deref(), read.volume_meta.as_deref()).unwrap())
}

/// Reads a document and writes it again.
fn rewrite_sha256file(document: &[u8]) -> Result<Vec<u8>, Error> {
    let mut hashes = Vec::new();
    let read = read_sha256file("x_sha256file", document, &mut |batch| {
        assert!((1..=HASHES_PER_VISIT).contains(&batch.len()));
        hashes.extend_from_slice(batch);
        Ok(())
    })?;
    assert_eq!(read.hashes, hashes.len() as u64);
    let mut writer = Sha256FileWriter::new(Vec::new(), &read.head, read.chunk_size).unwrap();
    writer.push_all(&hashes).unwrap();
    Ok(writer.finish().unwrap())
}

const FULL_METADATA: &[u8] = include_bytes!("../../tests/golden/documents/full_metadata");
const FULL_SHA256FILE: &[u8] = include_bytes!("../../tests/golden/documents/full_sha256file");

#[test]
fn documents_of_the_real_driver_are_written_again_byte_for_byte() {
    for document in [
        FULL_METADATA,
        include_bytes!("../../tests/golden/documents/increment_metadata"),
        include_bytes!("../../tests/golden/documents/unchanged_metadata"),
    ] {
        assert_eq!(String::from_utf8(rewrite_metadata(document).unwrap()), String::from_utf8(document.to_vec()));
    }
    for document in [
        FULL_SHA256FILE,
        include_bytes!("../../tests/golden/documents/increment_sha256file"),
        include_bytes!("../../tests/golden/documents/unchanged_sha256file"),
    ] {
        assert_eq!(String::from_utf8(rewrite_sha256file(document).unwrap()), String::from_utf8(document.to_vec()));
    }
}
