//! Confirmation: what was read wrong is read a second time. A note stays for good, and one bad read may be the fault of memory, of a
//! cable or of a network.

use std::collections::BTreeSet;

use cinderblock_backend::{Error as BackendError, ObjectName};
use cinderblock_store::{Error as StoreError, PackId, Repository};

use crate::error::Error;

/// What a second reading showed.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// Slots whose bytes are wrong again.
    pub wrong: BTreeSet<u32>,
    /// How many are right now.
    pub right: u64,
    /// How many could not be read: neither wrong nor right.
    pub unread: u64,
}

/// Reads slots of a pack again. Those that can't be read now, because the storage fails or the pack is gone, are neither wrong nor right.
pub(super) fn wrong_slots(repository: &Repository, id: PackId, slots: &BTreeSet<u32>) -> Result<Again, Error> {
    let mut again = Again::default();
    let pack = match repository.pack(id) {
        Ok(pack) => pack,
        Err(error) if error.is_damage() => {
            again.unread = slots.len() as u64;
            return Ok(again);
        }
        Err(error) => return Err(error.into()),
    };
    repository.backend().forget_cached(pack.object());
    let (mut stored, mut plain) = (Vec::new(), Vec::new());
    let mut last = None;
    for slot in slots {
        let (Some(place), Some(chunk)) = (pack.directory().place(*slot), pack.directory().ids().get(*slot as usize))
        else {
            again.unread += 1;
            continue;
        };
        if last.as_ref().is_none_or(|(frame, _)| *frame != place.frame) {
            last = Some((place.frame, repository.read_frame(&pack, place.frame, &mut stored, &mut plain)));
        }
        let from = place.offset as usize;
        let bytes = plain.get(from..from + place.length as usize);
        match &last {
            Some((_, Ok(())))
                if bytes.is_some_and(|bytes| repository.ids().is_authentic(pack.content(), chunk, bytes)) =>
            {
                again.right += 1;
            }
            Some((
                _,
                Ok(()) | Err(StoreError::Damaged { .. } | StoreError::Backend(BackendError::UnexpectedEnd { .. })),
            )) => {
                again.wrong.insert(*slot);
            }
            _ => again.unread += 1,
        }
    }
    Ok(again)
}

/// Whether the directory of a pack can't be read the second time either. None where the pack is gone.
pub(super) fn is_broken(repository: &Repository, id: PackId) -> Result<Option<bool>, Error> {
    if let Ok(name) = ObjectName::new(repository.pack_object(id)?) {
        repository.backend().forget_cached(&name);
    }
    match repository.pack(id) {
        Ok(_) => Ok(Some(false)),
        Err(StoreError::PackMissing { .. }) => Ok(None),
        Err(error) if error.is_damage() => Ok(Some(true)),
        Err(error) => Err(error.into()),
    }
}
