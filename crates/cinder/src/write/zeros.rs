//! [`ZeroObjects`]: objects of nothing but zeros, hashed and compressed once for each length.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::own::Own;
use super::piece::PIECE_BYTES;
use super::sink::{Written, failed};
use crate::compression::{Algorithm, Encoder};
use crate::crew::Crew;
use crate::error::Error;
use crate::md5::Md5;
use crate::storage::ObjectWriter;

/// An object of zeros.
#[derive(Debug)]
pub(super) struct ZeroObject {
    length: u64,
    /// MD5 of that many zeros.
    pub md5: [u8; 16],
    /// What is stored, where that is fewer bytes.
    packed: Option<Vec<u8>>,
}

/// Lengths that are kept at most. A full backup has one or two: whole objects, and the last one.
const MAX_LENGTHS: usize = 64;

/// Those that were made so far.
#[derive(Debug, Default)]
pub(super) struct ZeroObjects(Mutex<HashMap<u64, Arc<ZeroObject>>>);

/// Calls `take` with `length` zeros, piece by piece, as long as the crew goes on.
fn each_piece(length: u64, crew: &Crew, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let zeros = vec![0; PIECE_BYTES as usize];
    let mut left = length;
    while left > 0 {
        crew.check()?;
        let piece = left.min(PIECE_BYTES);
        take(zeros.get(..piece as usize).unwrap_or_default())?;
        left -= piece;
    }
    Ok(())
}

impl ZeroObjects {
    /// The object of so many zeros.
    pub(super) fn get(&self, length: u64, algorithm: Algorithm, crew: &Crew) -> Result<Arc<ZeroObject>, Error> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(object) = made.get(&length) {
            return Ok(Arc::clone(object));
        }
        let mut md5 = Md5::new();
        let wrong = |source| Error::WriteObject { object: "an object of zeros".to_owned(), source };
        let mut encoder = match algorithm {
            Algorithm::None => None,
            algorithm => Some(Encoder::new(algorithm, Vec::new(), length).map_err(wrong)?),
        };
        each_piece(length, crew, |piece| {
            md5.update(piece);
            encoder.iter_mut().try_for_each(|encoder| encoder.write_all(piece)).map_err(wrong)
        })?;
        let packed = encoder.map(Encoder::finish).transpose().map_err(wrong)?;
        let packed = packed.filter(|packed| (packed.len() as u64) < length);
        let object = Arc::new(ZeroObject { length, md5: md5.finish(), packed });
        if made.len() >= MAX_LENGTHS {
            made.clear();
        }
        made.insert(length, Arc::clone(&object));
        Ok(object)
    }
}

impl ZeroObject {
    /// Writes the object. Not smaller means here that it was stored as it is, which Cinder then says of it.
    pub(super) fn write(
        &self,
        name: &str,
        mut writer: Box<dyn ObjectWriter + '_>,
        (number, own, crew): (u64, &Own, &Crew),
    ) -> Result<Written, Error> {
        let written = match &self.packed {
            Some(packed) => {
                writer.write_all(packed).map_err(|error| failed(name, error))?;
                Written::Stored(packed.len() as u64)
            }
            None => {
                each_piece(self.length, crew, |piece| writer.write_all(piece).map_err(|error| failed(name, error)))?;
                Written::NotSmaller
            }
        };
        own.data(number, name, || Ok(writer.finish()?))?;
        Ok(written)
    }
}
