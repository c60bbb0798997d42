//! The keys of an encrypted repository: slots that open it, and what may be done with them.

mod secret;
mod slot;

use std::fmt;

use cinderblock_backend::Backend;

pub use self::secret::{Method, Secret};
use self::slot::Slot;
use crate::error::Error;
use crate::id::{KeySlotId, RepositoryId};
use crate::layout;
use crate::repository::Repository;
use crate::seal::{Keys, MasterKey};
use crate::time::Timestamp;

/// Most slots of a repository: each may cost seconds to try.
pub const MAX_KEY_SLOTS: usize = 32;

/// Most objects that are looked at as slots. Whoever may only add objects must not be able to lock the owner out: more slots than this
/// program makes cost time, and open the repository all the same.
const MAX_LISTED: usize = 1024;

/// What a key slot says of itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeySlot {
    /// Its id.
    pub id: KeySlotId,
    /// What opens it.
    pub method: Method,
    /// For people.
    pub label: String,
    /// When it was made, by that host's clock.
    pub created_at: Timestamp,
    /// Whether the repository was opened with it.
    pub in_use: bool,
}

/// The slots of a repository.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct KeySlots {
    /// Those that can be read, oldest first.
    pub slots: Vec<KeySlot>,
    /// Why others can't be.
    pub unreadable: Vec<(KeySlotId, Error)>,
}

/// How a repository was opened.
pub(crate) struct Unlocked {
    pub keys: Keys,
    pub slot: KeySlotId,
}

impl fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unlocked({})", self.slot)
    }
}

/// Slots that were read, oldest first, and what could not be.
type Found = (Vec<Slot>, Vec<(KeySlotId, Error)>);

fn list(backend: &dyn Backend, repository: RepositoryId) -> Result<Found, Error> {
    let mut ids = Vec::new();
    backend.list(layout::KEYS, &mut |info| {
        ids.extend(layout::parse_key_slot(&info.name));
        Ok(())
    })?;
    if ids.len() > MAX_LISTED {
        return Err(Error::TooLarge { what: "the list of keys", bytes: ids.len() as u64, limit: MAX_LISTED as u64 });
    }
    let (mut slots, mut unreadable) = (Vec::new(), Vec::new());
    for id in ids {
        match Slot::get(backend, repository, id) {
            Ok(slot) => slots.push(slot),
            Err(Error::Backend(error)) if error.is_not_found() => {}
            Err(error @ (Error::Damaged { .. } | Error::NewerFormat { .. } | Error::Unsupported { .. })) => {
                unreadable.push((id, error));
            }
            Err(error) if error.is_damage() => unreadable.push((id, error)),
            Err(error) => return Err(error),
        }
    }
    slots.sort_by_key(|slot| (slot.created_at(), slot.id));
    Ok((slots, unreadable))
}

/// Makes the key of a new repository, and its first slot. Durable when this returns.
pub(crate) fn create(
    backend: &dyn Backend,
    repository: RepositoryId,
    secret: &Secret,
    label: &str,
) -> Result<KeySlotId, Error> {
    let slot = Slot::new(repository, &MasterKey::random()?, secret, label, Timestamp::now())?;
    slot.put(backend)?;
    Ok(slot.id)
}

/// Opens a repository with a secret: tries every slot that it may fit.
pub(crate) fn unlock(backend: &dyn Backend, repository: RepositoryId, secret: &Secret) -> Result<Unlocked, Error> {
    let (slots, mut unreadable) = list(backend, repository)?;
    for slot in &slots {
        match slot.open(secret) {
            Ok(Some(master)) => return Ok(Unlocked { keys: Keys::new(master), slot: slot.id }),
            Ok(None) => {}
            // Another one may open it.
            Err(error) => unreadable.push((slot.id, error)),
        }
    }
    match unreadable.pop() {
        // It may be the one.
        Some((_, error)) => Err(error),
        None if slots.is_empty() => Err(Error::NoKeys { location: backend.location() }),
        None => Err(Error::WrongSecret { location: backend.location(), method: secret.method() }),
    }
}

impl Repository {
    /// The key slots.
    ///
    /// # Errors
    /// [`Error::NotEncrypted`], or what the storage says.
    pub fn key_slots(&self) -> Result<KeySlots, Error> {
        let used = self.unlocked()?.1;
        let (slots, unreadable) = list(self.backend(), self.id())?;
        let slots = slots.into_iter().map(|slot| KeySlot {
            id: slot.id,
            method: slot.method(),
            label: slot.label().to_owned(),
            created_at: slot.created_at(),
            in_use: slot.id == used,
        });
        Ok(KeySlots { slots: slots.collect(), unreadable })
    }

    /// Adds a slot that this secret opens, too. Durable when this returns.
    ///
    /// # Errors
    /// [`Error::NotEncrypted`]; [`Error::TooLarge`] for a label above 255 bytes or the 33rd slot; or what the storage says.
    pub fn add_key(&self, secret: &Secret, label: &str) -> Result<KeySlotId, Error> {
        let (keys, _) = self.unlocked()?;
        self.check_identity()?;
        let (slots, unreadable) = list(self.backend(), self.id())?;
        let count = (slots.len() + unreadable.len()) as u64;
        if count >= MAX_KEY_SLOTS as u64 {
            return Err(Error::TooLarge { what: "the list of keys", bytes: count + 1, limit: MAX_KEY_SLOTS as u64 });
        }
        let slot = Slot::new(self.id(), keys.master(), secret, label, self.now())?;
        slot.put(self.backend())?;
        // Whoever removes another slot now relies on this one.
        match Slot::get(self.backend(), self.id(), slot.id)?.open(secret)? {
            Some(_) => Ok(slot.id),
            None => Err(Error::damaged(
                layout::key_slot(slot.id)?,
                0,
                "it does not open with the secret that it was made with",
            )),
        }
    }

    /// Removes a slot: what it was opened with opens the repository no more, though whoever had it may have kept the repository's key. The
    /// slot that this repository was opened with is not removed: so nobody takes the last one that they can open.
    ///
    /// # Errors
    /// [`Error::NotEncrypted`]; [`Error::KeyNotFound`]; [`Error::KeyInUse`]; or what the storage says.
    pub fn remove_key(&self, id: KeySlotId) -> Result<(), Error> {
        let used = self.unlocked()?.1;
        self.check_identity()?;
        if id == used {
            return Err(Error::KeyInUse { id });
        }
        self.delete_slot(id, used)
    }

    /// Puts a slot for a new secret in place of the one that the repository was opened with, under another id: the new one is durable,
    /// and was seen to open, before the old one goes. The repository's key stays the same.
    ///
    /// # Errors
    /// As [`Self::add_key`] and [`Self::remove_key`].
    pub fn rotate_key(&self, secret: &Secret, label: Option<&str>) -> Result<KeySlotId, Error> {
        let used = self.unlocked()?.1;
        let label = match label {
            Some(label) => label.to_owned(),
            None => {
                let slots = self.key_slots()?.slots;
                slots.into_iter().find(|slot| slot.in_use).map(|slot| slot.label).unwrap_or_default()
            }
        };
        let added = self.add_key(secret, &label)?;
        self.delete_slot(used, added)?;
        Ok(added)
    }

    /// Removes a slot while `kept`, which is known to open, stays: where another host removed that one at the same time, it is put back as it was.
    fn delete_slot(&self, id: KeySlotId, kept: KeySlotId) -> Result<(), Error> {
        let backend = self.backend();
        let not_found = |id| Error::KeyNotFound { id };
        let keeper = match Slot::get(backend, self.id(), kept) {
            Err(Error::Backend(error)) if error.is_not_found() => return Err(not_found(kept)),
            slot => slot?,
        };
        match backend.delete(&layout::key_slot(id)?) {
            Err(error) if error.is_not_found() => return Err(not_found(id)),
            deleted => deleted?,
        }
        match Slot::get(backend, self.id(), kept) {
            Err(Error::Backend(error)) if error.is_not_found() => keeper.put(backend),
            slot => slot.map(drop),
        }
    }
}
