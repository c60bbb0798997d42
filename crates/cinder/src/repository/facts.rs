//! What Cinder knew about a backup, kept in its record.

use cinderblock_store::Record;

use crate::document::{Metadata, MetadataWriter, read_metadata};
use crate::error::Error;

/// Name of the attribute of a record that has it: the backup's `_metadata`, with an empty list of objects.
const ATTRIBUTE: &str = "cinder.metadata";

/// Longest metadata that go into a record, in bytes: 1 MiB. Cinder's own have about 2 KiB.
const MAX_BYTES: usize = 1 << 20;

/// The attribute with what these metadata say but for objects.
pub(super) fn attribute(metadata: &Metadata) -> Result<(String, Vec<u8>), Error> {
    let failed = |source| Error::WriteObject { object: ATTRIBUTE.to_owned(), source };
    let writer = MetadataWriter::new(Vec::new(), &metadata.head, metadata.extra_metadata.as_ref());
    let finish =
        |writer: MetadataWriter<Vec<u8>>| writer.finish(metadata.parent_id.as_deref(), metadata.volume_meta.as_deref());
    let bytes = writer.and_then(finish).map_err(failed)?;
    if bytes.len() > MAX_BYTES {
        let reason = format!("its metadata without objects have {} bytes, more than {MAX_BYTES}", bytes.len());
        return Err(Error::InvalidBackup { reason });
    }
    Ok((ATTRIBUTE.to_owned(), bytes))
}

/// What Cinder knew about a backup; none where it did not come from Cinder.
pub(super) fn of(record: &Record) -> Result<Option<Metadata>, Error> {
    let Some(bytes) = record.attributes.get(ATTRIBUTE) else { return Ok(None) };
    read_metadata(ATTRIBUTE, bytes.as_slice(), &mut |_| Ok(())).map(Some)
}
