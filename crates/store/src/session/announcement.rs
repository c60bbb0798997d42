//! What sessions say about themselves.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use cinderblock_backend::Backend;

use crate::codec;
use crate::error::Error;
use crate::id::{CollectionId, SessionId};
use crate::layout;
use crate::object::{HEADER_BYTES, Header, Kind, get_envelope, put_envelope};
use crate::seal::Seal;
use crate::time::Timestamp;

/// Longest text about what a session does.
const MAX_ACTIVITY_CHARACTERS: usize = 1000;

/// What a session is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Role {
    /// It writes a backup. Nothing that it may refer to is deleted before it has ended, or was declared ended.
    Writer,
    /// It collects garbage. It refers to nothing, and nobody has to wait for it.
    Collector,
}

/// Version of the protocol between writers and collectors that this program keeps to. Version 0 knew no collectors.
const PROTOCOL: u32 = 1;

/// The body of an announcement.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Announcement {
    pub protocol: u32,
    /// Number of the renewal: the one in the object's name.
    pub number: u32,
    pub role: Role,
    pub host: String,
    pub process: u32,
    pub started_at: i64,
    pub renewed_at: i64,
    pub activity: String,
    /// Collections whose packs it treats as absent.
    pub seen: Vec<CollectionId>,
}

/// The body that protocol 0 wrote.
#[derive(Encode, Decode)]
struct Announcement0 {
    protocol: u32,
    number: u32,
    host: String,
    process: u32,
    started_at: i64,
    activity: String,
    seen: Vec<CollectionId>,
}

impl Announcement {
    pub(crate) fn new(role: Role, activity: &str, now: Timestamp) -> Self {
        Self {
            protocol: PROTOCOL,
            number: 1,
            role,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            started_at: now.microseconds(),
            renewed_at: now.microseconds(),
            activity: activity.chars().take(MAX_ACTIVITY_CHARACTERS).collect(),
            seen: Vec::new(),
        }
    }

    pub(crate) fn put(&self, backend: &dyn Backend, seal: &Seal, id: SessionId) -> Result<(), Error> {
        let header = Header { kind: Kind::Session, repository: seal.repository(), id: *id.as_bytes(), session: id };
        let body = codec::encode("a session", self)?;
        match put_envelope(backend, seal, &layout::session(id, self.number)?, &header, &body) {
            // Storage that tries again by itself may say so of what it has just stored.
            Err(Error::Backend(cinderblock_backend::Error::AlreadyExists { .. })) => Ok(()),
            other => other.map(drop),
        }
    }

    fn get(backend: &dyn Backend, seal: &Seal, id: SessionId, number: u32) -> Result<Self, Error> {
        let name = layout::session(id, number)?;
        let (header, body) = get_envelope(backend, seal, &name, Kind::Session)?;
        header.expect(name.as_str(), &[Kind::Session], seal.repository(), *id.as_bytes())?;
        let at = HEADER_BYTES as u64;
        let found = match body.first() {
            Some(0) => {
                let old: Announcement0 = codec::decode(name.as_str(), at, &body)?;
                Self {
                    protocol: old.protocol,
                    number: old.number,
                    role: Role::Writer,
                    host: old.host,
                    process: old.process,
                    started_at: old.started_at,
                    renewed_at: old.started_at,
                    activity: old.activity,
                    seen: Vec::new(),
                }
            }
            _ => codec::decode::<Self>(name.as_str(), at, &body)?,
        };
        if found.number != number {
            return Err(Error::damaged(name, at, "its number is not the one in its name"));
        }
        Ok(found)
    }
}

/// A session as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its identity.
    pub id: SessionId,
    /// What it is there for; a writer where that can't be read.
    pub role: Role,
    /// Name of its host; empty where that can't be read, like the other texts.
    pub host: String,
    /// Number of its process on that host.
    pub process: u32,
    /// When it began, by its host's clock.
    pub started_at: Option<Timestamp>,
    /// When it last gave a sign of life, by its host's clock.
    pub renewed_at: Option<Timestamp>,
    /// What it does, for people.
    pub activity: String,
    /// Whether its announcement is damaged: it says nothing about itself.
    pub damaged: bool,
    /// Version of the protocol between writers and collectors that it keeps to; 0 is one that looks for no fences.
    pub protocol: u32,
    /// Collections whose packs it treats as absent.
    pub(crate) seen: Vec<CollectionId>,
    /// Numbers of its renewals that there are.
    pub(crate) numbers: Vec<u32>,
}

impl SessionInfo {
    fn unknown(id: SessionId, numbers: Vec<u32>, damaged: bool) -> Self {
        Self {
            id,
            role: Role::Writer,
            host: String::new(),
            process: 0,
            started_at: None,
            renewed_at: None,
            activity: String::new(),
            damaged,
            protocol: PROTOCOL,
            seen: Vec::new(),
            numbers,
        }
    }
}

/// All sessions that announced themselves and have not left, by id.
pub(crate) fn list(backend: &dyn Backend, seal: &Seal) -> Result<Vec<SessionInfo>, Error> {
    let mut numbers: BTreeMap<SessionId, Vec<u32>> = BTreeMap::new();
    backend.list(layout::SESSIONS, &mut |info| {
        if let Some((id, number)) = layout::parse_session(&info.name) {
            numbers.entry(id).or_default().push(number);
        }
        Ok(())
    })?;
    let mut sessions = Vec::with_capacity(numbers.len());
    for (id, mut numbers) in numbers {
        numbers.sort_unstable();
        sessions.push(read(backend, seal, id, numbers)?);
    }
    Ok(sessions)
}

/// The newest that a session says of those numbers. What is listed and not there any more may have been renewed under a number
/// that the listing does not show yet: such a session is at work, as far as anyone knows.
fn read(backend: &dyn Backend, seal: &Seal, id: SessionId, numbers: Vec<u32>) -> Result<SessionInfo, Error> {
    let mut damaged = false;
    for number in numbers.iter().rev() {
        match Announcement::get(backend, seal, id, *number) {
            Ok(found) => {
                return Ok(SessionInfo {
                    id,
                    role: found.role,
                    host: found.host,
                    process: found.process,
                    started_at: Some(Timestamp::from_microseconds(found.started_at)),
                    renewed_at: Some(Timestamp::from_microseconds(found.renewed_at)),
                    activity: found.activity,
                    damaged: false,
                    protocol: found.protocol,
                    seen: found.seen,
                    numbers,
                });
            }
            Err(Error::Backend(error)) if error.is_not_found() => {}
            Err(error) if error.is_damage() => damaged = true,
            Err(Error::NewerFormat { .. } | Error::Unsupported { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(SessionInfo::unknown(id, numbers, damaged))
}

#[cfg(test)]
mod tests {
    use cinderblock_backend::Memory;

    use super::*;
    use crate::id::RepositoryId;

    fn announcement() -> Announcement {
        Announcement {
            protocol: 1,
            number: 2,
            role: Role::Writer,
            host: "h".to_owned(),
            process: 7,
            started_at: 10,
            renewed_at: 20,
            activity: "a".to_owned(),
            seen: vec![CollectionId::from_bytes([3; 16])],
        }
    }

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        let mut expected = vec![1, 2, 0, 1, b'h', 7, 20, 40, 1, b'a', 1];
        expected.extend([3; 16]);
        assert_eq!(codec::encode("x", &announcement())?, expected);
        Ok(())
    }

    #[test]
    fn what_protocol_0_wrote_is_read_as_a_writer() -> Result<(), Error> {
        let (backend, seal) = (Memory::new(), Seal::none(RepositoryId::from_bytes([9; 16])));
        let id = SessionId::from_bytes([1; 16]);
        let old = Announcement0 {
            protocol: 0,
            number: 1,
            host: "h".to_owned(),
            process: 7,
            started_at: 10,
            activity: "a".to_owned(),
            seen: vec![],
        };
        let header = Header { kind: Kind::Session, repository: seal.repository(), id: *id.as_bytes(), session: id };
        put_envelope(&backend, &seal, &layout::session(id, 1)?, &header, &codec::encode("x", &old)?)?;
        let found = list(&backend, &seal)?;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].role, found[0].host.as_str(), found[0].damaged), (Role::Writer, "h", false));
        Ok(())
    }

    #[test]
    fn the_newest_readable_renewal_counts() -> Result<(), Error> {
        let (backend, seal) = (Memory::new(), Seal::none(RepositoryId::from_bytes([9; 16])));
        let id = SessionId::from_bytes([1; 16]);
        for number in [1, 2] {
            Announcement { number, renewed_at: number.into(), ..announcement() }.put(&backend, &seal, id)?;
        }
        backend.put(&layout::session(id, 3)?, &[b"cut short"])?;
        let found = list(&backend, &seal)?;
        assert_eq!(found[0].renewed_at, Some(Timestamp::from_microseconds(2)));
        backend.delete(&layout::session(id, 1)?)?;
        backend.delete(&layout::session(id, 2)?)?;
        assert!(list(&backend, &seal)?[0].damaged);
        Ok(())
    }
}
