//! [`KnownZeros`]: stored bytes that were found to be nothing but zeros.

use std::collections::HashMap;
use std::io::Read;

use cinderblock_chunker::is_zero;

use super::group::Task;
use crate::compression::Algorithm;
use crate::error::Error;
use crate::md5::Md5;
use crate::storage::ChunkedStorage;

/// Objects are looked at here whose plain bytes are at least so many times their stored ones.
const LEAST_RATIO: u64 = 500;

/// Largest stored object that is looked at here, in bytes: 4 MiB.
const MAX_STORED_BYTES: u64 = 4 << 20;

/// Different objects that are remembered at most: whole ones, the last one, and some for other lengths.
const MAX_KNOWN: usize = 16;

/// Volumes are full of zeros, and an object of zeros is the same few bytes each time: what was decompressed and hashed once
/// need not be again.
#[derive(Debug, Default)]
pub(super) struct KnownZeros(HashMap<(Algorithm, u64), Known>);

#[derive(Debug)]
struct Known {
    stored: Vec<u8>,
    md5: [u8; 16],
}

impl KnownZeros {
    /// Whether the object is nothing but zeros, and was checked; false where that is not known yet.
    ///
    /// # Errors
    /// That it is damaged, or what the storage says.
    pub(super) fn check(&mut self, task: &Task<'_>, storage: &dyn ChunkedStorage) -> Result<bool, Error> {
        let (algorithm, length) = (task.object.algorithm, task.object.length);
        if algorithm == Algorithm::None {
            return Ok(false);
        }
        let size = match storage.object_size(&task.layer.container, &task.layer.name(task.object)) {
            Err(Error::Backend(error)) if error.is_not_found() => return Err(task.missing()),
            size => size?,
        };
        if size > MAX_STORED_BYTES || size.saturating_mul(LEAST_RATIO) > length {
            return Ok(false);
        }
        let mut stored = Vec::new();
        task.open(storage, 0)?.take(MAX_STORED_BYTES).read_to_end(&mut stored).map_err(|error| task.failed(error))?;
        if let Some(known) = self.0.get(&(algorithm, length)) {
            if known.stored != stored {
                return Ok(false);
            }
            return task.check_md5(known.md5).map(|()| true);
        }
        if self.0.len() >= MAX_KNOWN {
            return Ok(false);
        }
        let Some(md5) = decode(task, &stored)? else { return Ok(false) };
        self.0.insert((algorithm, length), Known { stored, md5 });
        task.check_md5(md5).map(|()| true)
    }
}

/// The MD5 of an object of zeros; none for another one, which is then read as any.
fn decode(task: &Task<'_>, stored: &[u8]) -> Result<Option<[u8; 16]>, Error> {
    let failed = |error| task.failed(error);
    let mut decoder =
        crate::compression::Decoder::new(task.object.algorithm, stored, task.object.length).map_err(failed)?;
    let mut piece = vec![0; 256 << 10];
    let mut md5 = Md5::new();
    loop {
        let count = decoder.read(&mut piece).map_err(failed)?;
        let bytes = piece.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        if !is_zero(bytes) {
            return Ok(None);
        }
        md5.update(bytes);
    }
    decoder.finish().map_err(failed)?;
    Ok(Some(md5.finish()))
}
