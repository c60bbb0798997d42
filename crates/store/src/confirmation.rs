//! Confirmation: what was read wrong is read a second time before it is noted. A note stays for good, and one bad read may be the fault of
//! memory, of a cable or of a network.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::id::PackId;
use crate::layout;
use crate::repository::Repository;

/// What a second reading of slots of a pack showed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Confirmation {
    /// Slots whose bytes are wrong again.
    pub wrong: BTreeSet<u32>,
    /// How many are right now.
    pub right: u64,
    /// How many could not be read: neither wrong nor right.
    pub unread: u64,
}

impl Repository {
    /// Reads slots of a pack again. Those that can't be read now, because the storage fails, are neither wrong nor right.
    ///
    /// # Errors
    /// [`Error::PackMissing`], or what the storage says of the pack's directory.
    pub fn confirm_damage(&self, id: PackId, slots: &BTreeSet<u32>) -> Result<Confirmation, Error> {
        let mut again = Confirmation::default();
        let pack = match self.pack(id) {
            Ok(pack) => pack,
            Err(error @ Error::PackMissing { .. }) => return Err(error),
            Err(error) if error.is_damage() => {
                again.unread = slots.len() as u64;
                return Ok(again);
            }
            Err(error) => return Err(error),
        };
        self.backend().forget_cached(pack.object());
        let (mut stored, mut plain) = (Vec::new(), Vec::new());
        let mut last = None;
        for slot in slots {
            let directory = pack.directory();
            let (Some(place), Some(chunk)) = (directory.place(*slot), directory.ids().get(*slot as usize)) else {
                again.unread += 1;
                continue;
            };
            if last.as_ref().is_none_or(|(frame, _)| *frame != place.frame) {
                last = Some((place.frame, self.read_frame(&pack, place.frame, &mut stored, &mut plain)));
            }
            let bytes = plain.get(place.offset as usize..).and_then(|rest| rest.get(..place.length as usize));
            match &last {
                Some((_, Ok(())))
                    if bytes.is_some_and(|bytes| self.ids().is_authentic(pack.content(), chunk, bytes)) =>
                {
                    again.right += 1;
                }
                Some((_, Ok(()) | Err(Error::Damaged { .. }))) => drop(again.wrong.insert(*slot)),
                Some((_, Err(Error::Backend(cinderblock_backend::Error::UnexpectedEnd { .. })))) => {
                    again.wrong.insert(*slot);
                }
                Some((_, Err(Error::Backend(error)))) if error.is_not_found() => {
                    return Err(Error::PackMissing { pack: id });
                }
                _ => again.unread += 1,
            }
        }
        Ok(again)
    }

    /// Whether the directory of a pack can't be read the second time either. None where the pack is gone.
    ///
    /// # Errors
    /// What the storage says.
    pub fn confirm_broken_pack(&self, id: PackId) -> Result<Option<bool>, Error> {
        self.backend().forget_cached(&layout::pack(id)?);
        match self.pack(id) {
            Ok(_) => Ok(Some(false)),
            Err(Error::PackMissing { .. }) => Ok(None),
            Err(error) if error.is_damage() => Ok(Some(true)),
            Err(error) => Err(error),
        }
    }
}
