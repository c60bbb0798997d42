//! Damage notes: slots of packs whose bytes were found to be wrong.
//!
//! A pack never changes, so what is wrong in it stays wrong. `damage/<pack id>/<number>` lists slots of one pack; a later finding is a
//! further note with the next number, and all that can be read count together. Whoever looks for a chunk treats a noted slot as
//! absent: a writer stores the chunk again, a reader and a garbage collector take another copy. Of a pack whose directory can't be
//! read, a note without slots notes all. Notes go when their pack is gone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bincode::{Decode, Encode};
use cinderblock_backend::Backend;

use crate::codec;
use crate::error::Error;
use crate::fence;
use crate::id::{PackId, SessionId};
use crate::layout;
use crate::listing;
use crate::object::{HEADER_BYTES, Header, Kind, get_envelope, put_envelope};
use crate::pack::PACK_MAX_CHUNKS;
use crate::repository::Repository;
use crate::seal::Seal;

/// How often a writer takes the next number because another one has taken it.
const MAX_ATTEMPTS: usize = 100;

/// What is noted, by pack.
pub(crate) type Notes = HashMap<PackId, Wrong>;

/// What of a pack is known to be wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrong {
    whole: bool,
    slots: BTreeSet<u32>,
}

impl Wrong {
    /// Whether the bytes of a slot are.
    pub fn contains(&self, slot: u32) -> bool {
        self.whole || self.slots.contains(&slot)
    }

    /// Whether its directory could not be read, so that nothing in it is found.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    fn add(&mut self, slots: &[u32]) {
        self.whole |= slots.is_empty();
        self.slots.extend(slots);
    }
}

/// What a process knows of the notes.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// None: they are read when they are next needed.
    current: RwLock<Option<Arc<Notes>>>,
    last: RwLock<Arc<Notes>>,
    /// Taken while they are being read, so that threads which miss them together read them once.
    reading: Mutex<()>,
}

/// A note. 16,384 slots, the most that a pack has, take 48 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Note {
    found_at: i64,
    host: String,
    /// Ascending. None: the whole pack.
    slots: Vec<u32>,
}

impl Note {
    fn put(
        &self,
        backend: &dyn Backend,
        (seal, session): (&Seal, SessionId),
        pack: PackId,
        number: u32,
    ) -> Result<(), Error> {
        let header = Header { kind: Kind::Damage, repository: seal.repository(), id: *pack.as_bytes(), session };
        put_envelope(backend, seal, &layout::damage(pack, number)?, &header, &codec::encode("a damage note", self)?)
            .map(drop)
    }

    fn get(backend: &dyn Backend, seal: &Seal, pack: PackId, number: u32) -> Result<Self, Error> {
        let name = layout::damage(pack, number)?;
        let (header, body) = get_envelope(backend, seal, &name, Kind::Damage)?;
        header.expect(name.as_str(), &[Kind::Damage], seal.repository(), *pack.as_bytes())?;
        let note: Self = codec::decode(name.as_str(), HEADER_BYTES as u64, &body)?;
        let ascending = note.slots.is_sorted_by(|a, b| a < b);
        if !ascending || note.slots.last().is_some_and(|slot| *slot as usize >= PACK_MAX_CHUNKS) {
            return Err(Error::damaged(name, HEADER_BYTES as u64, "its slots are not those of a pack"));
        }
        Ok(note)
    }
}

fn numbers(backend: &dyn Backend) -> Result<BTreeMap<PackId, Vec<u32>>, Error> {
    let mut found: BTreeMap<PackId, Vec<u32>> = BTreeMap::new();
    backend.list(layout::DAMAGE, &mut |info| {
        if let Some((pack, number)) = layout::parse_damage(&info.name) {
            found.entry(pack).or_default().push(number);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `visit` for every note that is there, with its pack and number, read or not.
fn each_note(
    backend: &dyn Backend,
    seal: &Seal,
    mut visit: impl FnMut(PackId, u32, Result<Note, Error>),
) -> Result<(), Error> {
    for (pack, numbers) in numbers(backend)? {
        for number in numbers {
            match Note::get(backend, seal, pack, number) {
                Err(Error::Backend(error)) if error.is_not_found() => {}
                Err(error)
                    if !error.is_damage()
                        && !matches!(error, Error::NewerFormat { .. } | Error::Unsupported { .. }) =>
                {
                    return Err(error);
                }
                note => visit(pack, number, note),
            }
        }
    }
    Ok(())
}

/// Reads all notes. One that cannot be read says nothing: what it noted is found again.
fn read(backend: &dyn Backend, seal: &Seal) -> Result<Notes, Error> {
    let mut notes = Notes::new();
    each_note(backend, seal, |pack, _, note| {
        if let Ok(note) = note {
            notes.entry(pack).or_default().add(&note.slots);
        }
    })?;
    Ok(notes)
}

/// Why notes cannot be read, each with its pack and number. What such a note says is found again where the pack is read; until then
/// a copy may count that is known to be wrong.
pub(crate) fn unreadable(backend: &dyn Backend, seal: &Seal) -> Result<Vec<(PackId, u32, Error)>, Error> {
    let mut found = Vec::new();
    each_note(backend, seal, |pack, number, note| match note {
        Ok(_) => {}
        Err(Error::Damaged { object, offset, reason }) => {
            let reason = format!(
                "{reason}; it says what of a pack is damaged: 'cinderblock repair --read-data' finds that again and replaces it"
            );
            found.push((pack, number, Error::Damaged { object, offset, reason }));
        }
        Err(error) => found.push((pack, number, error)),
    })?;
    Ok(found)
}

/// Removes the notes of packs that are gone.
pub(crate) fn remove_notes(backend: &dyn Backend, gone: &HashSet<PackId>) -> Result<u64, Error> {
    let mut removed = 0;
    for (pack, numbers) in numbers(backend)?.into_iter().filter(|(pack, _)| gone.contains(pack)) {
        for number in numbers {
            fence::delete(backend, &layout::damage(pack, number)?)?;
            removed += 1;
        }
    }
    Ok(removed)
}

impl Repository {
    /// The notes, read when they are first needed after they were forgotten.
    pub(crate) fn damage(&self) -> Result<Arc<Notes>, Error> {
        let known = || self.damage.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(notes) = known() {
            return Ok(notes);
        }
        let _reading = self.damage.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notes) = known() {
            return Ok(notes);
        }
        let notes = Arc::new(read(self.backend(), self.seal())?);
        self.take_notes(&notes);
        Ok(notes)
    }

    fn take_notes(&self, notes: &Arc<Notes>) {
        let mut last = self.damage.last.write().unwrap_or_else(PoisonError::into_inner);
        *self.damage.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(notes));
        if **last != **notes {
            // Packs in memory were taken in without the new notes.
            self.neighbourhood.clear();
            *last = Arc::clone(notes);
        }
    }

    /// Lets the notes be read anew when they are next needed.
    pub(crate) fn forget_damage(&self) {
        *self.damage.current.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What of a pack is known to be wrong.
    ///
    /// # Errors
    /// What the storage says.
    pub fn damaged_slots(&self, pack: PackId) -> Result<Wrong, Error> {
        Ok(self.damage()?.get(&pack).cloned().unwrap_or_default())
    }

    /// Remembers, for every host, that the bytes of these slots are wrong; how many of them were not noted before. Durable when
    /// this returns. `session` is the writer's; without one they are only taken as wrong by this process.
    ///
    /// # Errors
    /// What the storage says.
    pub fn note_damage(&self, session: Option<SessionId>, pack: PackId, slots: &BTreeSet<u32>) -> Result<usize, Error> {
        let known = self.damaged_slots(pack)?;
        let new: Vec<u32> = slots.iter().copied().filter(|slot| !known.contains(*slot)).collect();
        if !new.is_empty() {
            self.note(session, pack, &new)?;
        }
        Ok(new.len())
    }

    /// Remembers the same of a whole pack, whose directory can't be read; whether that was not noted before.
    ///
    /// # Errors
    /// What the storage says.
    pub fn note_broken_pack(&self, session: Option<SessionId>, pack: PackId) -> Result<bool, Error> {
        let new = !self.damaged_slots(pack)?.is_whole();
        if new {
            self.note(session, pack, &[])?;
        }
        Ok(new)
    }

    fn note(&self, session: Option<SessionId>, pack: PackId, slots: &[u32]) -> Result<(), Error> {
        if let Some(session) = session {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            let note = Note { found_at: self.now().microseconds(), host, slots: slots.to_vec() };
            let mut number =
                numbers(self.backend())?.remove(&pack).and_then(|numbers| numbers.into_iter().max()).unwrap_or(0);
            let mut attempts = 0;
            loop {
                (number, attempts) = (number.saturating_add(1), attempts + 1);
                match note.put(self.backend(), (self.seal(), session), pack, number) {
                    Err(Error::Backend(error)) if error.is_already_exists() && attempts < MAX_ATTEMPTS => {}
                    other => break other?,
                }
            }
        }
        let mut notes = (*self.damage()?).clone();
        notes.entry(pack).or_default().add(slots);
        self.take_notes(&Arc::new(notes));
        self.forget_index();
        Ok(())
    }

    /// Removes damaged notes of packs of which `is_noted` says that all that is wrong in them is in other notes; how many.
    ///
    /// # Errors
    /// What the storage says.
    pub fn remove_damaged_notes(&self, is_noted: impl Fn(PackId) -> bool) -> Result<u64, Error> {
        let mut removed = 0;
        for (pack, number, error) in unreadable(self.backend(), self.seal())? {
            if error.is_damage() && is_noted(pack) {
                fence::delete(self.backend(), &layout::damage(pack, number)?)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Notes that can't be read: what they said is not known.
    ///
    /// # Errors
    /// What the storage says.
    pub fn unreadable_notes(&self) -> Result<Vec<Error>, Error> {
        Ok(unreadable(self.backend(), self.seal())?.into_iter().map(|(_, _, error)| error).collect())
    }

    /// Removes notes of packs that are gone; how many.
    ///
    /// # Errors
    /// What the storage says.
    pub fn remove_stale_notes(&self) -> Result<u64, Error> {
        let mut gone = HashSet::new();
        for pack in numbers(self.backend())?.into_keys() {
            if !listing::exists(self.backend(), &layout::pack(pack)?)? {
                gone.insert(pack);
            }
        }
        let removed = if gone.is_empty() { 0 } else { remove_notes(self.backend(), &gone)? };
        if removed > 0 {
            self.forget_damage();
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RepositoryId;
    use cinderblock_backend::Memory;

    fn seal() -> Seal {
        Seal::none(RepositoryId::from_bytes([9; 16]))
    }
    const SESSION: SessionId = SessionId::from_bytes([3; 16]);
    const PACK: PackId = PackId::from_bytes([1; 16]);

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        let backend = Memory::new();
        let note = Note { found_at: -1, host: "h".to_owned(), slots: vec![0, 300] };
        note.put(&backend, (&seal(), SESSION), PACK, 7)?;
        let bytes = backend.get(&layout::damage(PACK, 7)?, 1 << 20)?;
        let mut expected = b"CINDRBLK\x0a\x01\0\0\0\0\0\0".to_vec();
        expected.extend([9; 16]);
        expected.extend([1; 16]);
        expected.extend([3; 16]);
        expected.extend(b"\x01\x01h\x02\x00\xfb\x2c\x01");
        expected.extend(crate::object::checksum(&[&expected]));
        assert_eq!(bytes, expected);
        assert_eq!(Note::get(&backend, &seal(), PACK, 7)?, note);
        Ok(())
    }

    #[test]
    fn a_note_of_every_slot_fits_and_notes_add_up() -> Result<(), Error> {
        let backend = Memory::new();
        let all = Note { found_at: 1, host: "h".repeat(255), slots: (0..PACK_MAX_CHUNKS as u32).collect() };
        all.put(&backend, (&seal(), SESSION), PACK, 1)?;
        assert_eq!(read(&backend, &seal())?.get(&PACK).map(|wrong| wrong.slots.len()), Some(PACK_MAX_CHUNKS));
        let other = PackId::from_bytes([2; 16]);
        for (number, slots) in [(1, vec![5]), (2, vec![4, 9]), (3, vec![9, 4]), (4, vec![PACK_MAX_CHUNKS as u32])] {
            Note { slots, ..all.clone() }.put(&backend, (&seal(), SESSION), other, number)?;
        }
        let slots = BTreeSet::from([4, 5, 9]);
        assert_eq!(read(&backend, &seal())?.get(&other), Some(&Wrong { whole: false, slots }), "two are no notes");
        Note { slots: vec![], ..all }.put(&backend, (&seal(), SESSION), other, 5)?;
        let wrong = read(&backend, &seal())?.remove(&other).unwrap_or_default();
        assert!(wrong.is_whole() && wrong.contains(6));
        assert_eq!(remove_notes(&backend, &HashSet::from([other]))?, 5);
        assert_eq!(read(&backend, &seal())?.len(), 1);
        Ok(())
    }
}
