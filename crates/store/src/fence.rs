//! Fences and tombstones: how a garbage collector ends a session that shows no sign of life.
//!
//! A *fence* `fences/<session>/<collector>` is a request: whoever commits looks for one after the record is put, and takes the
//! record back where there is one. The collector then looks whether the record was there before. Of the two, one sees the
//! other. A *tombstone* `tombstones/<session>` is the verdict that the record was not there: no record of that session counts
//! any more, whenever it may come. Tombstones stay for ever, for a process that was stopped may go on after any time.

use std::collections::HashSet;

use bincode::{Decode, Encode};
use cinderblock_backend::Backend;

use crate::codec;
use crate::error::Error;
use crate::id::SessionId;
use crate::layout;
use crate::listing;
use crate::object::{Header, Kind, put_envelope};
use crate::seal::Seal;
use crate::time::Timestamp;

/// What both say, for people; that they are there is what counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Notice {
    host: String,
    at: i64,
}

/// Who puts fences up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collector<'a> {
    pub backend: &'a dyn Backend,
    pub seal: &'a Seal,
    pub session: SessionId,
}

impl Collector<'_> {
    fn put(
        &self,
        name: &cinderblock_backend::ObjectName,
        kind: Kind,
        of: SessionId,
        now: Timestamp,
    ) -> Result<(), Error> {
        let notice =
            Notice { host: rustix::system::uname().nodename().to_string_lossy().into_owned(), at: now.microseconds() };
        let header = Header { kind, repository: self.seal.repository(), id: *of.as_bytes(), session: self.session };
        match put_envelope(self.backend, self.seal, name, &header, &codec::encode("a fence", &notice)?) {
            Err(Error::Backend(cinderblock_backend::Error::AlreadyExists { .. })) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Asks a session to end without a commit.
    pub(crate) fn fence(&self, session: SessionId, now: Timestamp) -> Result<(), Error> {
        self.put(&layout::fence(session, self.session)?, Kind::Fence, session, now)
    }

    /// Takes this collector's request back.
    pub(crate) fn lift(&self, session: SessionId) -> Result<(), Error> {
        Ok(self.backend.discard(&layout::fence(session, self.session)?)?)
    }

    /// Declares that no record of a session counts, for ever.
    pub(crate) fn bury(&self, session: SessionId, now: Timestamp) -> Result<(), Error> {
        self.put(&layout::tombstone(session)?, Kind::Tombstone, session, now)
    }
}

/// Deletes a renewal of a session's announcement.
pub(crate) fn delete_session(backend: &dyn Backend, session: SessionId, number: u32) -> Result<(), Error> {
    Ok(backend.discard(&layout::session(session, number)?)?)
}

/// Whether a session was asked to end, or declared ended.
pub(crate) fn is_fenced(backend: &dyn Backend, session: SessionId) -> Result<bool, Error> {
    // In this order: a fence is lifted only after its tombstone is there, or after the record was seen.
    Ok(listing::any(backend, &format!("{}{session}/", layout::FENCES))?.is_some() || is_buried(backend, session)?)
}

/// Whether a session was declared ended: a record of it does not count.
pub(crate) fn is_buried(backend: &dyn Backend, session: SessionId) -> Result<bool, Error> {
    listing::exists(backend, &layout::tombstone(session)?)
}

/// The sessions that were declared ended.
pub(crate) fn tombstones(backend: &dyn Backend) -> Result<HashSet<SessionId>, Error> {
    let mut found = HashSet::new();
    backend.list(layout::TOMBSTONES, &mut |info| {
        found.extend(layout::parse_tombstone(&info.name));
        Ok(())
    })?;
    Ok(found)
}

/// All fences: the session that is asked, and the collector that asks.
pub(crate) fn fences(backend: &dyn Backend) -> Result<Vec<(SessionId, SessionId)>, Error> {
    let mut found = Vec::new();
    backend.list(layout::FENCES, &mut |info| {
        found.extend(layout::parse_fence(&info.name));
        Ok(())
    })?;
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use cinderblock_backend::Memory;

    use super::*;
    use crate::id::RepositoryId;

    #[test]
    fn requests_are_each_collectors_own_and_tombstones_stay() -> Result<(), Error> {
        let backend = Memory::new();
        let seal = Seal::none(RepositoryId::from_bytes([9; 16]));
        let collector = |n| Collector { backend: &backend, seal: &seal, session: SessionId::from_bytes([n; 16]) };
        let (session, now) = (SessionId::from_bytes([1; 16]), Timestamp::from_microseconds(5));
        assert!(!is_fenced(&backend, session)?);
        collector(2).fence(session, now)?;
        collector(3).fence(session, now)?;
        collector(3).fence(session, now)?;
        assert_eq!(fences(&backend)?.len(), 2);
        collector(2).lift(session)?;
        assert!(is_fenced(&backend, session)?, "the other one's request stands");
        collector(3).lift(session)?;
        assert!(!is_fenced(&backend, session)? && !is_buried(&backend, session)?);
        collector(2).bury(session, now)?;
        collector(3).bury(session, now)?;
        assert!(is_fenced(&backend, session)? && is_buried(&backend, session)?);
        assert_eq!(tombstones(&backend)?, HashSet::from([session]));
        Ok(())
    }

    /// A collector removes the records of sessions that have a tombstone: it has to see the same ones as readers, who look for
    /// the very name. It took any object below `tombstones/` whose last part is a session's id.
    #[test]
    fn what_is_not_named_as_a_tombstone_is_none() -> Result<(), Error> {
        let (backend, session) = (Memory::new(), SessionId::from_bytes([1; 16]));
        for name in [format!("tombstones/old/{session}"), "tombstones/README".to_owned()] {
            backend.put(&cinderblock_backend::ObjectName::new(name)?, &[b"of somebody else"])?;
        }
        assert!(tombstones(&backend)?.is_empty() && !is_buried(&backend, session)?);
        Ok(())
    }
}
