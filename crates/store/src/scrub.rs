//! Scrubs: how far the reading of all stored data has come, part by part.
//!
//! A *round* reads all packs in the order of their ids. `scrub/<cursor id>`, a *cursor*, says up to which pack a round has come, so
//! that any host goes on where the last one stopped. A run puts a cursor under a new name, and then removes those that are not
//! further; the furthest that can be read counts. What a cursor says stays true whatever others do: where several hosts read at once, or
//! a listing shows an old one, something is read twice.

use std::cmp::Ordering;

use bincode::{Decode, Encode};
use cinderblock_backend::Backend;

use crate::codec;
use crate::error::Error;
use crate::id::{CursorId, PackId, SessionId};
use crate::layout;
use crate::object::{HEADER_BYTES, Header, Kind, get_envelope, put_envelope};
use crate::repository::Repository;
use crate::seal::Seal;
use crate::time::Timestamp;

/// How far the reading of all stored data has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrub {
    /// Rounds that have ended.
    pub rounds: u64,
    /// When the round at hand began; where it has read nothing yet, when the one before it ended.
    pub began_at: Timestamp,
    /// All packs whose id is not above this one were read in the round at hand, as far as they were there when their turn came. None: none
    /// was yet.
    pub position: Option<PackId>,
    /// Bytes of these packs when this was written.
    pub covered_bytes: u64,
    /// Bytes of all packs when this was written.
    pub total_bytes: u64,
    /// The last round that ended.
    pub last_round: Option<Round>,
    /// When this was written.
    pub written_at: Timestamp,
}

/// A round in which every pack was read that was there from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Round {
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// What the repository remembers of the reading of its data.
#[derive(Debug, Default)]
pub struct Scrubs {
    /// The furthest that can be read.
    pub furthest: Option<Scrub>,
    /// Cursors that can't be read.
    pub unreadable: Vec<Error>,
}

#[derive(Encode, Decode)]
struct Body {
    rounds: u64,
    began_at: i64,
    position: Option<PackId>,
    covered_bytes: u64,
    total_bytes: u64,
    last_round: Option<Round>,
    written_at: i64,
    host: String,
}

impl Scrub {
    /// What there is to remember before anything was read.
    pub fn nothing(now: Timestamp) -> Self {
        let (covered_bytes, total_bytes) = (0, 0);
        Self { rounds: 0, began_at: now, position: None, covered_bytes, total_bytes, last_round: None, written_at: now }
    }

    /// Which of two is further.
    fn compare(&self, other: &Self) -> Ordering {
        (self.rounds, self.position).cmp(&(other.rounds, other.position))
    }

    fn put(&self, backend: &dyn Backend, seal: &Seal, id: CursorId) -> Result<(), Error> {
        let body = Body {
            rounds: self.rounds,
            began_at: self.began_at.microseconds(),
            position: self.position,
            covered_bytes: self.covered_bytes,
            total_bytes: self.total_bytes,
            last_round: self.last_round,
            written_at: self.written_at.microseconds(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        // No session writes it: it refers to nothing that a collector could take away.
        let session = SessionId::from_bytes([0; 16]);
        let header = Header { kind: Kind::Cursor, repository: seal.repository(), id: *id.as_bytes(), session };
        put_envelope(backend, seal, &layout::cursor(id)?, &header, &codec::encode("a cursor", &body)?).map(drop)
    }

    fn get(backend: &dyn Backend, seal: &Seal, id: CursorId) -> Result<Self, Error> {
        let name = layout::cursor(id)?;
        let (header, body) = get_envelope(backend, seal, &name, Kind::Cursor)?;
        header.expect(name.as_str(), &[Kind::Cursor], seal.repository(), *id.as_bytes())?;
        let body: Body = codec::decode(name.as_str(), HEADER_BYTES as u64, &body)?;
        Ok(Self {
            rounds: body.rounds,
            began_at: Timestamp::from_microseconds(body.began_at),
            position: body.position,
            covered_bytes: body.covered_bytes,
            total_bytes: body.total_bytes,
            last_round: body.last_round,
            written_at: Timestamp::from_microseconds(body.written_at),
        })
    }
}

/// A cursor, or why it can't be read.
type Listed = (CursorId, Result<Scrub, Error>);

/// The cursors that there are.
fn list(backend: &dyn Backend, seal: &Seal) -> Result<Vec<Listed>, Error> {
    let mut ids: Vec<CursorId> = Vec::new();
    backend.list(layout::CURSORS, &mut |info| {
        ids.extend(layout::parse_cursor(&info.name));
        Ok(())
    })?;
    let read = ids.into_iter().map(|id| (id, Scrub::get(backend, seal, id)));
    // One that went since was not the furthest.
    let gone = |scrub: &Result<Scrub, Error>| matches!(scrub, Err(Error::Backend(error)) if error.is_not_found());
    Ok(read.filter(|(_, scrub)| !gone(scrub)).collect())
}

impl Repository {
    /// How far the reading of all stored data has come. A cursor that can't be read, whatever the reason, is in the result.
    ///
    /// # Errors
    /// What the storage says when it is to list the cursors.
    pub fn scrubs(&self) -> Result<Scrubs, Error> {
        let mut found = Scrubs::default();
        for (_, scrub) in list(self.backend(), self.seal())? {
            match scrub {
                Ok(scrub) if found.furthest.as_ref().is_none_or(|best| best.compare(&scrub).is_lt()) => {
                    found.furthest = Some(scrub);
                }
                Ok(_) => {}
                Err(error) => found.unreadable.push(error),
            }
        }
        Ok(found)
    }

    /// Remembers how far the reading has come, for every host. Durable when this returns. Where another one has got further
    /// meanwhile, that stays.
    ///
    /// # Errors
    /// What the storage says.
    pub fn put_scrub(&self, scrub: &Scrub) -> Result<(), Error> {
        self.check_identity()?;
        let found = list(self.backend(), self.seal())?;
        if found.iter().any(|(_, other)| other.as_ref().is_ok_and(|other| other.compare(scrub).is_gt())) {
            return Ok(());
        }
        let id = CursorId::random()?;
        scrub.put(self.backend(), self.seal(), id)?;
        for (other, _) in found.into_iter().filter(|(_, other)| match other {
            Ok(_) => true,
            // A newer program's is not this one's to remove, and another time one may be read that can't be now.
            Err(error) => error.is_damage(),
        }) {
            // What can't be removed is not the furthest.
            let _ = self.backend().discard(&layout::cursor(other)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cinderblock_backend::{Faulty, Memory, Rule};
    use cinderblock_chunker::ChunkSize;

    use super::*;
    use crate::id::RepositoryId;
    use crate::repository::OpenOptions;

    fn seal() -> Seal {
        Seal::none(RepositoryId::from_bytes([9; 16]))
    }

    fn at(microseconds: i64) -> Timestamp {
        Timestamp::from_microseconds(microseconds)
    }

    fn scrub(rounds: u64, position: Option<u8>) -> Scrub {
        let position = position.map(|byte| PackId::from_bytes([byte; 16]));
        Scrub { rounds, position, total_bytes: 300, ..Scrub::nothing(at(5)) }
    }

    fn repository(storage: Arc<dyn Backend>) -> Result<(Repository, tempfile::TempDir), Box<dyn std::error::Error>> {
        let cache = tempfile::tempdir()?;
        Repository::create(&*storage, ChunkSize::DEFAULT)?;
        Ok((Repository::open(storage, &OpenOptions::new(cache.path()))?, cache))
    }

    fn count(backend: &dyn Backend) -> Result<usize, Error> {
        let mut count = 0;
        backend.list(layout::CURSORS, &mut |_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        let (backend, id) = (Memory::new(), CursorId::from_bytes([4; 16]));
        let last_round = Some(Round { began_at: at(-1), ended_at: at(1) });
        let written = Scrub { last_round, covered_bytes: 200, written_at: at(6), ..scrub(2, Some(7)) };
        written.put(&backend, &seal(), id)?;
        let bytes = backend.get(&layout::cursor(id)?, 1 << 20)?;
        let mut expected = b"CINDRBLK\x0b\x01\0\0\0\0\0\0".to_vec();
        expected.extend([9; 16]);
        expected.extend([4; 16]);
        expected.extend([0; 16]);
        expected.extend(b"\x02\x0a\x01");
        expected.extend([7; 16]);
        expected.extend(b"\xc8\xfb\x2c\x01\x01\x01\x02\x0c");
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        expected.extend([host.len() as u8]);
        expected.extend(host.as_bytes());
        expected.extend(crate::object::checksum(&[&expected]));
        assert_eq!(bytes, expected);
        assert_eq!(Scrub::get(&backend, &seal(), id)?, written);

        let id = CursorId::from_bytes([5; 16]);
        scrub(0, None).put(&backend, &seal(), id)?;
        let bytes = backend.get(&layout::cursor(id)?, 1 << 20)?;
        assert_eq!(bytes.get(64..72), Some(&b"\x00\x0a\x00\x00\xfb\x2c\x01\x00"[..]));
        assert_eq!(Scrub::get(&backend, &seal(), id)?, scrub(0, None));
        Ok(())
    }

    #[test]
    fn the_furthest_counts_and_replaces_the_others() -> Result<(), Box<dyn std::error::Error>> {
        let storage = Arc::new(Memory::new());
        let (repository, _cache) = repository(storage.clone())?;
        assert!(repository.scrubs()?.furthest.is_none());
        for (put, furthest) in [
            (scrub(0, Some(3)), scrub(0, Some(3))),
            (scrub(0, Some(9)), scrub(0, Some(9))),
            (scrub(0, Some(8)), scrub(0, Some(9))),
            (scrub(1, None), scrub(1, None)),
            (scrub(0, Some(255)), scrub(1, None)),
            (scrub(1, Some(0)), scrub(1, Some(0))),
        ] {
            repository.put_scrub(&put)?;
            assert_eq!(repository.scrubs()?.furthest, Some(furthest));
            assert_eq!(count(&*storage)?, 1);
        }
        // Two hosts at once: both are there, until the next one.
        scrub(1, Some(4)).put(&*storage, repository.seal(), CursorId::from_bytes([1; 16]))?;
        assert_eq!((repository.scrubs()?.furthest, count(&*storage)?), (Some(scrub(1, Some(4))), 2));
        repository.put_scrub(&scrub(1, Some(5)))?;
        assert_eq!((repository.scrubs()?.furthest, count(&*storage)?), (Some(scrub(1, Some(5))), 1));
        Ok(())
    }

    #[test]
    fn what_cannot_be_read_is_told_and_only_what_is_damaged_is_replaced() -> Result<(), Box<dyn std::error::Error>> {
        let storage = Arc::new(Memory::new());
        let faulty = Arc::new(Faulty::new(storage.clone()));
        let (repository, _cache) = repository(faulty.clone())?;
        let [damaged, newer, failing] = [1, 2, 3].map(|byte| CursorId::from_bytes([byte; 16]));
        for id in [damaged, newer, failing] {
            scrub(7, Some(7)).put(&*storage, repository.seal(), id)?;
        }
        let foreign = CursorId::from_bytes([4; 16]);
        scrub(7, Some(7)).put(&*storage, &seal(), foreign)?;
        for (id, at, value) in [(damaged, 70, 9), (newer, 9, 2)] {
            let name = layout::cursor(id)?;
            let mut bytes = storage.get(&name, 1 << 20)?;
            bytes[at] = value;
            let end = bytes.len() - 32;
            if id == newer {
                // With a checksum that agrees.
                let sum = crate::object::checksum(&[&bytes[..end]]);
                bytes[end..].copy_from_slice(&sum);
            }
            storage.delete(&name)?;
            storage.put(&name, &[&bytes])?;
        }
        faulty.add(Rule::on(cinderblock_backend::Kind::Get).prefix(layout::cursor(failing)?.as_str()).times(2));
        let found = repository.scrubs()?;
        assert_eq!((found.furthest, found.unreadable.len()), (None, 4));
        repository.put_scrub(&scrub(0, Some(1)))?;
        let found = repository.scrubs()?;
        assert_eq!(found.unreadable.len(), 1, "{:?}", found.unreadable);
        assert!(matches!(found.unreadable[0], Error::NewerFormat { .. }));
        // The one that failed for a while is still there, and what it says is still true.
        assert_eq!((found.furthest, count(&*storage)?), (Some(scrub(7, Some(7))), 3));
        Ok(())
    }
}
