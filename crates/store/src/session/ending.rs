//! How a session ends; also on a storage where it can't delete, because the process promised not to (`--append-only`), its credentials do
//! not allow it, or the object is locked.
//!
//! It can't remove its announcement, so it puts its word beside it that it has ended, `sessions/<session>/ended`: nobody waits for it
//! any more, and a collector removes both. And it can't take a record back, so it puts the tombstone of its own session: the
//! record is void from then on, as one that comes after a collector has given up on its session.

use std::sync::atomic::Ordering;

use bincode::{Decode, Encode};
use cinderblock_backend::{Backend, ObjectName};

use super::Session;
use crate::codec;
use crate::deletion::{self, Deletion};
use crate::error::Error;
use crate::fence;
use crate::id::SessionId;
use crate::layout;
use crate::object::{Header, Kind, get_envelope, put_envelope};
use crate::record::Record;
use crate::sabotage::{Step, skips};
use crate::seal::Seal;
use crate::time::Timestamp;

/// The body of a session's word that it has ended, for people; that it is there and right is what counts.
#[derive(Debug, Encode, Decode)]
struct Ended {
    host: String,
    at: i64,
}

/// Says that a session has ended. From then on it must not put anything.
fn put(backend: &dyn Backend, seal: &Seal, id: SessionId, now: Timestamp) -> Result<(), Error> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let body = codec::encode("the end of a session", &Ended { host, at: now.microseconds() })?;
    let header = Header { kind: Kind::Ended, repository: seal.repository(), id: *id.as_bytes(), session: id };
    match put_envelope(backend, seal, &layout::ended(id)?, &header, &body) {
        Err(Error::Backend(error)) if error.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}

/// Whether a session has said that it has ended. Where its word can't be read, it has not: it is waited for.
pub(super) fn is_there(backend: &dyn Backend, seal: &Seal, id: SessionId) -> Result<bool, Error> {
    let name = layout::ended(id)?;
    let read = get_envelope(backend, seal, &name, Kind::Ended)
        .and_then(|(header, _)| header.expect(name.as_str(), &[Kind::Ended], seal.repository(), *id.as_bytes()));
    match read {
        Ok(()) => Ok(true),
        Err(Error::NewerFormat { .. } | Error::Unsupported { .. }) => Ok(false),
        Err(error) if error.is_damage() => Ok(false),
        Err(error) => Err(error),
    }
}

impl Session<'_> {
    /// Deletes what may be gone already; whether the storage lets this process.
    pub(super) fn delete(&self, name: &ObjectName) -> Result<Deletion, Error> {
        let deletion = deletion::delete(self.repository.backend(), name)?;
        if deletion == Deletion::Refused {
            self.repository.deletes_refused.store(true, Ordering::Relaxed);
        }
        Ok(deletion)
    }

    /// Removes its record. With a tombstone it is void without that, and by now another backup may have its name. Where the storage does
    /// not let this process delete, the session puts its own tombstone.
    pub(super) fn take_back(&self, record: &Record) -> Result<(), Error> {
        let (backend, seal) = (self.repository.backend(), self.repository.seal());
        if fence::is_buried(backend, self.id)? {
            return Ok(());
        }
        match self.repository.unchecked_record(&record.volume, record.id) {
            Ok(there) if there.session == self.id => {}
            Ok(_) | Err(Error::BackupNotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        let name = self.repository.record_object(&record.volume, record.id)?;
        if self.delete(&name)? == Deletion::Refused && !skips(Step::OwnTombstone) {
            fence::Collector { backend, seal, session: self.id }.bury(self.id, self.repository.now())?;
        }
        Ok(())
    }

    pub(super) fn leave(&self) {
        if self.left.swap(true, Ordering::Relaxed) {
            return;
        }
        // What can't be removed is harmless: a session that ended long ago is collected as a crashed one is.
        let newest = self.announced().number;
        let names =
            (newest.saturating_sub(1).max(1)..=newest).filter_map(|number| layout::session(self.id, number).ok());
        let mut refused = false;
        for name in names {
            refused |= self.delete(&name).is_ok_and(|deletion| deletion == Deletion::Refused);
        }
        if refused {
            self.say_ended();
        }
    }

    /// Nobody waits for it from now on: what is to become of its record has to be certain by then.
    pub(super) fn say_ended(&self) {
        let _ = put(self.repository.backend(), self.repository.seal(), self.id, self.repository.now());
    }
}

#[cfg(test)]
mod tests {
    use cinderblock_backend::Memory;

    use super::*;
    use crate::id::RepositoryId;

    const REPOSITORY: RepositoryId = RepositoryId::from_bytes([9; 16]);

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        assert_eq!(codec::encode("x", &Ended { host: "h".to_owned(), at: 10 })?, [1, b'h', 20]);
        let (backend, id) = (Memory::new(), SessionId::from_bytes([1; 16]));
        put(&backend, &Seal::none(REPOSITORY), id, Timestamp::from_microseconds(10))?;
        put(&backend, &Seal::none(REPOSITORY), id, Timestamp::from_microseconds(11))?;
        let bytes = backend.get(&layout::ended(id)?, 1 << 20)?;
        let mut expected = b"CINDRBLK\x0d\x01\0\0\0\0\0\0".to_vec();
        expected.extend([9; 16]);
        expected.extend([1; 16]);
        expected.extend([1; 16]);
        assert_eq!(bytes[..64], expected);
        assert!(is_there(&backend, &Seal::none(REPOSITORY), id)?);
        Ok(())
    }

    /// Nobody may stop waiting for a writer at work because of an object that it has not put.
    #[test]
    fn only_a_word_that_is_right_counts() -> Result<(), Error> {
        let (backend, id) = (Memory::new(), SessionId::from_bytes([1; 16]));
        assert!(!is_there(&backend, &Seal::none(REPOSITORY), id)?);
        backend.put(&layout::ended(id)?, &[b"cut short"])?;
        assert!(!is_there(&backend, &Seal::none(REPOSITORY), id)?);
        // That of another session.
        let other = SessionId::from_bytes([2; 16]);
        put(&backend, &Seal::none(REPOSITORY), other, Timestamp::from_microseconds(1))?;
        let bytes = backend.get(&layout::ended(other)?, 1 << 20)?;
        let third = SessionId::from_bytes([3; 16]);
        backend.put(&layout::ended(third)?, &[&bytes])?;
        assert!(
            !is_there(&backend, &Seal::none(REPOSITORY), third)? && is_there(&backend, &Seal::none(REPOSITORY), other)?
        );
        Ok(())
    }
}
