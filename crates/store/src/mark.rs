//! Marks: what is to be remembered of a backup beside its record, such as that it must not be deleted.
//!
//! A record never changes. What changes is in `marks/<backup id>/<number>`: each change is a new object with the next higher
//! number, and then the lower ones are removed. The highest readable number counts. The highest number never gets lower
//! while the backup exists, so that whoever has written sees whether somebody else wrote beside it.

mod found;

use std::collections::HashMap;

use bincode::{Decode, Encode};
use cinderblock_backend::Backend;

use crate::codec;
use crate::error::Error;
use crate::id::{BackupId, SessionId, VolumeId};
use crate::layout;
use crate::listing;
use crate::object::{HEADER_BYTES, Header, Kind, get_envelope, put_envelope};
use crate::repository::Repository;
use crate::seal::Seal;
use crate::time::Timestamp;
use found::Found;

pub use found::Marks;

/// How often a reader or writer begins again because others have changed a backup's marks meanwhile: each time one of them
/// has got on, so this many in a row are not to be expected.
const MAX_ATTEMPTS: u32 = 100;

/// What is to be remembered of a backup beside its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The backup's volume.
    pub volume: VolumeId,
    /// Whether it must not be deleted.
    pub protected: bool,
    /// When that ends by itself. None: not before it is lifted.
    pub protected_until: Option<Timestamp>,
    /// What of it was found to be lost.
    pub damaged: Option<Damage>,
    /// When the mark was last changed, by the clock of that host.
    pub changed_at: Timestamp,
    /// Name of that host, for people.
    pub host: String,
}

/// How much of a backup was found to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Chunks of the volume that cannot be read.
    pub chunks: u64,
    /// Bytes of the volume that are in them.
    pub bytes: u64,
    /// When that was found.
    pub found_at: Timestamp,
}

#[derive(Encode, Decode)]
struct Body {
    volume: VolumeId,
    protected: bool,
    protected_until: Option<i64>,
    damaged: Option<BodyDamage>,
    changed_at: i64,
    host: String,
}

#[derive(Encode, Decode)]
struct BodyDamage {
    chunks: u64,
    bytes: u64,
    found_at: i64,
}

impl Mark {
    /// One that says nothing, which is what a backup without a mark has.
    fn blank(volume: &VolumeId, now: Timestamp) -> Self {
        Self {
            volume: volume.clone(),
            protected: false,
            protected_until: None,
            damaged: None,
            changed_at: now,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }

    /// Whether the backup must not be deleted at this time.
    pub fn is_protected(&self, now: Timestamp) -> bool {
        self.protected && self.protected_until.is_none_or(|until| now < until)
    }

    fn write(&self, backend: &dyn Backend, seal: &Seal, id: BackupId, number: u32) -> Result<(), Error> {
        let damage = |damage: Damage| BodyDamage {
            chunks: damage.chunks,
            bytes: damage.bytes,
            found_at: damage.found_at.microseconds(),
        };
        let body = Body {
            volume: self.volume.clone(),
            protected: self.protected,
            protected_until: self.protected_until.map(Timestamp::microseconds),
            damaged: self.damaged.map(damage),
            changed_at: self.changed_at.microseconds(),
            host: self.host.clone(),
        };
        // No session writes it: it refers to nothing that a collector could take away.
        let session = SessionId::from_bytes([0; 16]);
        let header = Header { kind: Kind::Mark, repository: seal.repository(), id: *id.as_bytes(), session };
        put_envelope(backend, seal, &layout::mark(id, number)?, &header, &codec::encode("a mark", &body)?).map(drop)
    }

    fn read(backend: &dyn Backend, seal: &Seal, id: BackupId, number: u32) -> Result<Self, Error> {
        let name = layout::mark(id, number)?;
        let (header, body) = get_envelope(backend, seal, &name, Kind::Mark)?;
        header.expect(name.as_str(), &[Kind::Mark], seal.repository(), *id.as_bytes())?;
        let body: Body = codec::decode(name.as_str(), HEADER_BYTES as u64, &body)?;
        let damage = |damage: BodyDamage| Damage {
            chunks: damage.chunks,
            bytes: damage.bytes,
            found_at: Timestamp::from_microseconds(damage.found_at),
        };
        Ok(Self {
            volume: body.volume,
            protected: body.protected,
            protected_until: body.protected_until.map(Timestamp::from_microseconds),
            damaged: body.damaged.map(damage),
            changed_at: Timestamp::from_microseconds(body.changed_at),
            host: body.host,
        })
    }
}

/// Others have been quicker in every attempt.
fn too_busy(id: BackupId, number: u32) -> Error {
    match layout::mark(id, number) {
        Ok(name) => cinderblock_backend::Error::AlreadyExists { name }.into(),
        Err(error) => error,
    }
}

impl Repository {
    fn found_marks(&self, id: BackupId) -> Result<Found, Error> {
        let mut numbers = Vec::new();
        for _ in 0..MAX_ATTEMPTS {
            numbers.clear();
            self.backend.list(&layout::marks_of(id), &mut |info| {
                numbers.extend(layout::parse_mark(&info.name).map(|(_, number)| number));
                Ok(())
            })?;
            if let Some(found) = Found::read(self, id, &mut numbers)? {
                return Ok(found);
            }
        }
        Err(too_busy(id, numbers.last().copied().unwrap_or(0)))
    }

    /// A backup's mark, if it has one.
    ///
    /// # Errors
    /// [`Error::Damaged`] where there are marks and none is readable, [`Error::NewerFormat`] and [`Error::Unsupported`] where a
    /// newer program's counts; what the storage says.
    pub fn mark(&self, volume: &VolumeId, id: BackupId) -> Result<Option<Mark>, Error> {
        self.found_marks(id)?.into_mark(volume)
    }

    /// The marks of all backups: one listing, and one read for each.
    ///
    /// # Errors
    /// What the storage says. Marks that are damaged, or of a newer format, are in the result.
    pub fn marks(&self) -> Result<Marks, Error> {
        let mut listed: HashMap<BackupId, Vec<u32>> = HashMap::new();
        self.backend.list(layout::MARKS, &mut |info| {
            if let Some((id, number)) = layout::parse_mark(&info.name) {
                listed.entry(id).or_default().push(number);
            }
            Ok(())
        })?;
        let mut marks = Marks::default();
        for (id, mut numbers) in listed {
            let found = match Found::read(self, id, &mut numbers)? {
                Some(found) => found,
                None => self.found_marks(id)?,
            };
            marks.found.insert(id, found);
        }
        Ok(marks)
    }

    /// Changes a backup's mark, or gives it one; the mark as it is then. A mark that cannot be read because it is damaged is
    /// replaced. When this returns the change is durable. A deletion of the backup that has begun is not stopped by it.
    ///
    /// `change` is called again, with what is there by then, where other hosts write at the same time. Applied to its own
    /// result it has to change nothing more.
    ///
    /// # Errors
    /// [`Error::BackupNotFound`]; [`Error::NewerFormat`] and [`Error::Unsupported`] where a newer program's mark counts; what
    /// the storage says.
    pub fn set_mark(&self, volume: &VolumeId, id: BackupId, mut change: impl FnMut(&mut Mark)) -> Result<Mark, Error> {
        self.check_identity()?;
        self.require_backup(volume, id)?;
        let mut number = 0;
        for _ in 0..MAX_ATTEMPTS {
            let before = self.found_marks(id)?;
            let (highest, damaged) = (before.highest(), !before.unreadable.is_empty());
            let old = match before.into_mark(volume) {
                Err(error) if !error.is_damage() => return Err(error),
                old => old.unwrap_or_default().unwrap_or_else(|| Mark::blank(volume, self.now())),
            };
            let mut mark = old.clone();
            change(&mut mark);
            if mark == old && !damaged {
                return Ok(mark);
            }
            // Not for `change` to say.
            mark = Mark {
                protected: mark.protected,
                protected_until: mark.protected_until,
                damaged: mark.damaged,
                ..Mark::blank(volume, self.now())
            };
            number = highest.checked_add(1).ok_or_else(|| match layout::mark(id, highest) {
                Ok(name) => Error::damaged(name, 0, "no number is left above its own"),
                Err(error) => error,
            })?;
            match mark.write(&*self.backend, self.seal(), id, number) {
                Err(Error::Backend(error)) if error.is_already_exists() => continue,
                written => written?,
            }
            let after = self.found_marks(id)?;
            if let Err(error) = self.require_backup(volume, id) {
                if matches!(error, Error::BackupNotFound { .. }) {
                    self.remove_marks(volume, id);
                }
                return Err(error);
            }
            // Somebody wrote above: it may not have seen this mark, and this one not theirs.
            if after.highest() > number {
                continue;
            }
            self.remove_numbers(id, after.numbers_of(volume).filter(|other| *other < number));
            return Ok(mark);
        }
        Err(too_busy(id, number))
    }

    fn require_backup(&self, volume: &VolumeId, id: BackupId) -> Result<(), Error> {
        match listing::exists(&*self.backend, &self.record_object(volume, id)?)? {
            true => Ok(()),
            false => Err(Error::BackupNotFound { text: id.to_string() }),
        }
    }

    /// Removes the marks of a backup that does not exist any more. What can't be removed says nothing to anybody.
    pub(crate) fn remove_marks(&self, volume: &VolumeId, id: BackupId) {
        if let Ok(found) = self.found_marks(id) {
            self.remove_numbers(id, found.numbers_of(volume));
        }
    }

    /// Removes marks that do not count. What can't be removed does not count all the same.
    fn remove_numbers(&self, id: BackupId, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            if let Ok(name) = layout::mark(id, number) {
                let _ = self.backend.discard(&name);
            }
        }
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
    const ID: BackupId = BackupId::from_bytes([1; 16]);

    fn mark() -> Result<Mark, Error> {
        Ok(Mark {
            volume: VolumeId::new("vm-1")?,
            protected: true,
            protected_until: Some(Timestamp::from_microseconds(1_000_000)),
            damaged: Some(Damage { chunks: 3, bytes: 98304, found_at: Timestamp::from_microseconds(-1) }),
            changed_at: Timestamp::from_microseconds(2),
            host: "h".to_owned(),
        })
    }

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        let backend = Memory::new();
        mark()?.write(&backend, &seal(), ID, 7)?;
        let bytes = backend.get(&layout::mark(ID, 7)?, 1 << 20)?;
        let mut expected = b"CINDRBLK\x06\x01\0\0\0\0\0\0".to_vec();
        expected.extend([9; 16]);
        expected.extend([1; 16]);
        expected.extend([0; 16]);
        expected.extend(b"\x04vm-1\x01\x01\xfc\x80\x84\x1e\x00\x01\x03\xfc\x00\x80\x01\x00\x01\x04\x01h");
        expected.extend(crate::object::checksum(&[&expected]));
        assert_eq!(bytes, expected);
        assert_eq!(Mark::read(&backend, &seal(), ID, 7)?, mark()?);

        let plain = Mark { protected: false, protected_until: None, damaged: None, ..mark()? };
        plain.write(&backend, &seal(), ID, 8)?;
        let bytes = backend.get(&layout::mark(ID, 8)?, 1 << 20)?;
        assert_eq!(bytes.get(64..bytes.len() - 32), Some(&b"\x04vm-1\x00\x00\x00\x04\x01h"[..]));
        assert_eq!(Mark::read(&backend, &seal(), ID, 8)?, plain);
        Ok(())
    }

    #[test]
    fn a_mark_under_another_backups_name_is_refused() -> Result<(), Error> {
        let (backend, other) = (Memory::new(), BackupId::from_bytes([2; 16]));
        mark()?.write(&backend, &seal(), ID, 1)?;
        let bytes = backend.get(&layout::mark(ID, 1)?, 1 << 20)?;
        backend.put(&layout::mark(other, 1)?, &[&bytes])?;
        assert!(matches!(Mark::read(&backend, &seal(), other, 1), Err(Error::Damaged { .. })));
        Ok(())
    }

    #[test]
    fn protection_ends_at_its_time() -> Result<(), Error> {
        let [before, at] = [999_999, 1_000_000].map(Timestamp::from_microseconds);
        let mark = mark()?;
        assert!(mark.is_protected(before) && !mark.is_protected(at));
        assert!(Mark { protected_until: None, ..mark.clone() }.is_protected(at));
        assert!(!Mark { protected: false, ..mark }.is_protected(before));
        Ok(())
    }
}
