//! [`ZeroObjects`]: objects of nothing but zeros, hashed and compressed once for each length.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::own::Own;
use super::piece::{PIECE_BYTES, ZEROS};
use super::sink::{Written, failed};
use crate::compression::{Algorithm, Encoder};
use crate::crew::Crew;
use crate::document::BlockHash;
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

/// MD5s of zeros that are kept at most, each of a whole number of pieces: 1.5 MiB, for objects of up to 64 GiB. What is
/// longer goes on from the last of them.
const MAX_STATES: u64 = 1 << 14;

/// A data object of nothing but zeros that is to be written.
#[derive(Debug)]
pub(super) struct ZeroWork {
    /// Its number, from 1.
    pub number: u64,
    /// First byte of the volume that it stands for.
    pub offset: u64,
    /// How many bytes of the volume that are.
    pub length: u64,
    /// The hashes of its blocks, where they are new.
    pub hashes: Vec<BlockHash>,
}

/// What is to be done for a work.
#[derive(Debug)]
pub(super) enum Claim {
    /// Write it: the object is there.
    Write(Arc<ZeroObject>, ZeroWork),
    /// Make the object, see [`ZeroObjects::make`].
    Make(ZeroWork),
    /// Nothing: it was given to the thread that makes the object, and nobody has to wait for that.
    Given,
}

#[derive(Debug)]
enum Slot {
    /// Being made; these works are to be written then.
    Making(Vec<ZeroWork>),
    Made(Arc<ZeroObject>),
}

/// Those that were made so far.
#[derive(Debug, Default)]
pub(super) struct ZeroObjects {
    /// By length.
    slots: Mutex<HashMap<u64, Slot>>,
    /// The MD5 of 1, 2, 3, … pieces of zeros.
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
    /// Takes a work, unless another thread is making the object that it needs.
    pub(super) fn claim(&self, work: ZeroWork) -> Claim {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.get_mut(&work.length) {
            Some(Slot::Made(object)) => Claim::Write(Arc::clone(object), work),
            Some(Slot::Making(works)) => {
                works.push(work);
                Claim::Given
            }
            None => {
                slots.insert(work.length, Slot::Making(Vec::new()));
                Claim::Make(work)
            }
        }
    }

    /// The object of so many zeros, and the works that came up while it was made: the caller has to write them.
    pub(super) fn make(
        &self,
        length: u64,
        algorithm: Algorithm,
        crew: &Crew,
    ) -> Result<(Arc<ZeroObject>, Vec<ZeroWork>), Error> {
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
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_LENGTHS {
            slots.retain(|_, slot| matches!(slot, Slot::Making(_)));
        }
        match slots.insert(length, Slot::Made(Arc::clone(&object))) {
            Some(Slot::Making(works)) => Ok((object, works)),
            _ => Ok((object, Vec::new())),
        }
    }

    /// The MD5 of so many zeros, to go on with. Threads that need it at once all work on it: none waits for one that needs more.
    pub(super) fn md5(&self, length: u64, crew: &Crew) -> Result<Md5, Error> {
        let wanted = (length / PIECE_BYTES).min(MAX_STATES);
        let (mut known, mut md5) = self.state(wanted);
        let add = |length, md5: &mut Md5| {
            each_piece(length, crew, |piece| {
                md5.update(piece);
                Ok(())
            })
        };
        while known < wanted {
            add(PIECE_BYTES, &mut md5)?;
            self.keep(known + 1, &md5);
            (known, md5) = self.state(wanted);
        }
        add(length - known * PIECE_BYTES, &mut md5)?;
        Ok(md5)
    }

    /// The MD5 of as many pieces of zeros as are known, at most `wanted`, and how many these are.
    fn state(&self, wanted: u64) -> (u64, Md5) {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let known = wanted.min(states.len() as u64);
        let last = known.checked_sub(1).and_then(|last| states.get(last as usize));
        (known, last.cloned().unwrap_or_default())
    }

    /// Keeps the MD5 of `pieces` pieces of zeros, where it is the first that is not known yet.
    fn keep(&self, pieces: u64, md5: &Md5) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if states.len() as u64 + 1 == pieces {
            states.push(md5.clone());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use cinderblock_pipeline::CancelToken;

    fn work(number: u64) -> ZeroWork {
        ZeroWork { number, offset: 0, length: 5 << 20, hashes: Vec::new() }
    }

    #[test]
    fn who_makes_an_object_is_given_the_works_that_come_up_meanwhile() {
        let zeros = ZeroObjects::default();
        let crew = Crew::new(CancelToken::default());
        assert!(matches!(zeros.claim(work(1)), Claim::Make(ZeroWork { number: 1, .. })));
        assert!(matches!(zeros.claim(work(2)), Claim::Given));
        assert!(matches!(zeros.claim(work(3)), Claim::Given));
        let (object, works) = zeros.make(5 << 20, Algorithm::Zstd, &crew).unwrap();
        assert_eq!(works.iter().map(|work| work.number).collect::<Vec<_>>(), [2, 3]);
        let Claim::Write(again, _) = zeros.claim(work(4)) else { panic!("it is made") };
        assert!(Arc::ptr_eq(&object, &again));
    }

    #[test]
    fn the_md5_of_zeros_is_right_whatever_was_asked_for_before() {
        let crew = Crew::new(CancelToken::default());
        let zeros = ZeroObjects::default();
        for length in [9 << 20, 5, PIECE_BYTES, 0, 3 * PIECE_BYTES + 1, 9 << 20] {
            let mut md5 = Md5::new();
            each_piece(length, &crew, |piece| {
                md5.update(piece);
                Ok(())
            })
            .unwrap();
            assert_eq!(zeros.md5(length, &crew).unwrap().finish(), md5.finish(), "{length}");
        }
    }
}
