//! [`ZeroObjects`]: objects of nothing but zeros, hashed and compressed once for each length.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::own::Own;
use super::piece::{PIECE_BYTES, ZEROS};
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

/// MD5s of zeros that are kept at most, each of a whole number of pieces: 1.5 MiB, for objects of up to 32 GiB. What is
/// longer goes on from the last of them.
const MAX_STATES: u64 = 1 << 14;

/// Those that were made so far.
#[derive(Debug, Default)]
pub(super) struct ZeroObjects {
    made: Mutex<HashMap<u64, Arc<ZeroObject>>>,
    /// The MD5 of 0, 1, 2, … pieces of zeros.
    states: Mutex<Vec<Md5>>,
}

/// Calls `take` with `length` zeros, piece by piece, as long as the crew goes on.
pub(super) fn each_piece(
    length: u64,
    crew: &Crew,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = length;
    while left > 0 {
        crew.check()?;
        let piece = left.min(PIECE_BYTES);
        take(ZEROS.get(..piece as usize).unwrap_or_default())?;
        left -= piece;
    }
    Ok(())
}

impl ZeroObjects {
    /// The object of so many zeros.
    pub(super) fn get(&self, length: u64, algorithm: Algorithm, crew: &Crew) -> Result<Arc<ZeroObject>, Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(object) = made.get(&length) {
            return Ok(Arc::clone(object));
        }
        let md5 = self.md5(length, crew)?;
        let wrong = |source| Error::WriteObject { object: "an object of zeros".to_owned(), source };
        let mut encoder = match algorithm {
            Algorithm::None => None,
            algorithm => Some(Encoder::new(algorithm, Vec::new(), length).map_err(wrong)?),
        };
        if let Some(encoder) = &mut encoder {
            each_piece(length, crew, |piece| encoder.write_all(piece).map_err(wrong))?;
        }
        let packed = encoder.map(Encoder::finish).transpose().map_err(wrong)?;
        let packed = packed.filter(|packed| (packed.len() as u64) < length);
        let object = Arc::new(ZeroObject { length, md5: md5.finish(), packed });
        if made.len() >= MAX_LENGTHS {
            made.clear();
        }
        made.insert(length, Arc::clone(&object));
        Ok(object)
    }

    /// The MD5 of so many zeros, to go on with.
    pub(super) fn md5(&self, length: u64, crew: &Crew) -> Result<Md5, Error> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let pieces = (length / PIECE_BYTES).min(MAX_STATES);
        let mut md5 = states.get(pieces as usize).or(states.last()).cloned().unwrap_or_default();
        let mut known = pieces.min((states.len() as u64).saturating_sub(1));
        if states.is_empty() {
            states.push(md5.clone());
        }
        while known < pieces {
            each_piece(PIECE_BYTES, crew, |piece| {
                md5.update(piece);
                Ok(())
            })?;
            states.push(md5.clone());
            known += 1;
        }
        drop(states);
        each_piece(length - known * PIECE_BYTES, crew, |piece| {
            md5.update(piece);
            Ok(())
        })?;
        Ok(md5)
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
