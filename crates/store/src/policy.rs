//! How long a repository's objects are kept from being deleted: the policy that `init --object-lock` sets.

use std::time::Duration;

use bincode::{Decode, Encode};
use cinderblock_backend::{Backend, RetentionMode};

use crate::codec;
use crate::error::Error;
use crate::id::SessionId;
use crate::layout;
use crate::object::{HEADER_BYTES, Header, Kind, get_envelope, put_envelope};
use crate::seal::Seal;
use crate::time::Timestamp;

/// How long objects are kept from being deleted, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLock {
    /// How long a backup is kept from its commit on: whole seconds.
    pub period: Duration,
    /// Who can shorten that.
    pub mode: RetentionMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
enum Mode {
    Governance,
    Compliance,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Body {
    set_at: i64,
    host: String,
    lock: Option<Lock>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Lock {
    seconds: u64,
    mode: Mode,
}

/// The numbers of all policies that there are, in no particular order.
pub(crate) fn numbers(backend: &dyn Backend) -> Result<Vec<u32>, Error> {
    let mut numbers = Vec::new();
    backend.list(layout::POLICIES, &mut |info| {
        numbers.extend(layout::parse_policy(&info.name));
        Ok(())
    })?;
    Ok(numbers)
}

/// What the newest policy says of locks. One that can't be read is an error: nobody may act as if there was none.
pub(crate) fn get(backend: &dyn Backend, seal: &Seal) -> Result<Option<ObjectLock>, Error> {
    let Some(number) = numbers(backend)?.into_iter().max() else { return Ok(None) };
    let name = layout::policy(number)?;
    let (header, body) = get_envelope(backend, seal, &name, Kind::Policy)?;
    header.expect(name.as_str(), &[Kind::Policy], seal.repository(), *seal.repository().as_bytes())?;
    let Body { lock, .. } = codec::decode(name.as_str(), HEADER_BYTES as u64, &body)?;
    Ok(lock.map(|lock| ObjectLock {
        period: Duration::from_secs(lock.seconds),
        mode: match lock.mode {
            Mode::Governance => RetentionMode::Governance,
            Mode::Compliance => RetentionMode::Compliance,
        },
    }))
}

/// Puts a policy above all that there are. Of two at once, the second fails.
pub(crate) fn put(backend: &dyn Backend, seal: &Seal, lock: Option<&ObjectLock>, now: Timestamp) -> Result<(), Error> {
    let number = numbers(backend)?.into_iter().max().unwrap_or(0).saturating_add(1);
    let lock = lock.map(|lock| Lock {
        seconds: lock.period.as_secs(),
        mode: match lock.mode {
            RetentionMode::Governance => Mode::Governance,
            RetentionMode::Compliance => Mode::Compliance,
        },
    });
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let body = codec::encode("a policy", &Body { set_at: now.microseconds(), host, lock })?;
    let repository = seal.repository();
    let header =
        Header { kind: Kind::Policy, repository, id: *repository.as_bytes(), session: SessionId::from_bytes([0; 16]) };
    put_envelope(backend, seal, &layout::policy(number)?, &header, &body).map(drop)
}

#[cfg(test)]
mod tests {
    use cinderblock_backend::Memory;

    use super::*;
    use crate::id::RepositoryId;

    const REPOSITORY: RepositoryId = RepositoryId::from_bytes([9; 16]);

    #[test]
    fn golden_bytes() -> Result<(), Error> {
        let lock = Some(Lock { seconds: 2_592_000, mode: Mode::Compliance });
        let body = Body { set_at: 5, host: "h".to_owned(), lock };
        let mut expected = vec![10, 1, b'h', 1, 0xfc, 0x00, 0x8d, 0x27, 0x00, 1];
        assert_eq!(codec::encode("x", &body)?, expected);
        expected.truncate(3);
        expected.push(0);
        assert_eq!(codec::encode("x", &Body { lock: None, ..body })?, expected);
        let backend = Memory::new();
        put(&backend, &Seal::none(REPOSITORY), None, Timestamp::from_microseconds(5))?;
        let bytes = backend.get(&layout::policy(1)?, 1 << 20)?;
        let mut header = b"CINDRBLK\x0e\x01\0\0\0\0\0\0".to_vec();
        header.extend([9; 32]);
        header.extend([0; 16]);
        assert_eq!(bytes[..64], header);
        Ok(())
    }

    #[test]
    fn the_newest_counts_and_must_be_readable() -> Result<(), Error> {
        let backend = Memory::new();
        assert_eq!(get(&backend, &Seal::none(REPOSITORY))?, None);
        let lock = |days: u64, mode| ObjectLock { period: Duration::from_secs(days * 86_400), mode };
        for lock in [lock(30, RetentionMode::Governance), lock(7, RetentionMode::Compliance)] {
            put(&backend, &Seal::none(REPOSITORY), Some(&lock), Timestamp::from_microseconds(5))?;
            assert_eq!(get(&backend, &Seal::none(REPOSITORY))?, Some(lock));
        }
        assert!(get(&backend, &Seal::none(RepositoryId::from_bytes([8; 16]))).is_err_and(|error| error.is_damage()));
        backend.put(&layout::policy(3)?, &[b"cut short"])?;
        assert!(get(&backend, &Seal::none(REPOSITORY)).is_err_and(|error| error.is_damage()));
        Ok(())
    }
}
