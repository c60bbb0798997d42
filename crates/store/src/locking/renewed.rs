//! [`Renewed`]: until when this host has locked what, as far as it remembers.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cinderblock_backend::ObjectName;

use crate::id::RepositoryId;
use crate::object::checksum;

const MAGIC: [u8; 8] = *b"CINDRLCK";

/// Length of an entry: 16 bytes of the name's hash, and seconds since 1970.
const ENTRY_BYTES: usize = 24;

/// The most that is read, which is enough for 80 TiB in packs.
const MAX_BYTES: u64 = 64 << 20;

/// Until when objects are locked at least. It is a cache: what it does not know is locked once more. A lock can't be shortened, so that what
/// it says stays true, but of the storage where it was learnt: see [`forget`](Self::forget).
#[derive(Debug)]
pub(super) struct Renewed {
    repository: RepositoryId,
    until: HashMap<[u8; 16], u64>,
    forgotten: bool,
}

fn key(name: &ObjectName) -> [u8; 16] {
    let hash = checksum(&[name.as_str().as_bytes()]);
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Renewed {
    /// Nothing where the file is not there, is of another repository, or is not as it was written.
    pub fn read(path: &Path, repository: RepositoryId) -> Self {
        let mut renewed = Self { repository, until: HashMap::new(), forgotten: false };
        if fs::metadata(path).is_ok_and(|file| file.len() <= MAX_BYTES)
            && let Ok(bytes) = fs::read(path)
        {
            renewed.until = renewed.decode(&bytes).unwrap_or_default();
        }
        renewed
    }

    fn decode(&self, bytes: &[u8]) -> Option<HashMap<[u8; 16], u64>> {
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if checksum(&[content]) != *sum {
            return None;
        }
        let rest = content.strip_prefix(&MAGIC)?.strip_prefix(self.repository.as_bytes())?;
        let mut until = HashMap::with_capacity(rest.len() / ENTRY_BYTES);
        for entry in rest.chunks_exact(ENTRY_BYTES) {
            let (key, seconds) = entry.split_first_chunk::<16>()?;
            until.insert(*key, u64::from_le_bytes(seconds.try_into().ok()?));
        }
        Some(until)
    }

    /// Until when an object is locked at least.
    pub fn until(&self, name: &ObjectName) -> Option<SystemTime> {
        self.until.get(&key(name)).and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(*seconds)))
    }

    /// Forgets all, also what the file has: the objects are in another storage by now.
    pub fn forget(&mut self) {
        self.until.clear();
        self.forgotten = true;
    }

    pub fn add(&mut self, names: &[ObjectName], until: SystemTime) {
        for name in names {
            let known = self.until.entry(key(name)).or_default();
            *known = (*known).max(seconds(until));
        }
    }

    /// Remembers it, with what other processes of this host have written meanwhile and without what is over. Of two that write at once,
    /// one is forgotten; so is this where it can't be written.
    pub fn write(&mut self, path: &Path, now: SystemTime) {
        let others = if self.forgotten { HashMap::new() } else { Self::read(path, self.repository).until };
        for (key, until) in others {
            let known = self.until.entry(key).or_default();
            *known = (*known).max(until);
        }
        self.until.retain(|_, until| *until > seconds(now));
        let mut bytes = Vec::with_capacity(24 + self.until.len() * ENTRY_BYTES + 32);
        bytes.extend(MAGIC);
        bytes.extend(self.repository.as_bytes());
        for (key, until) in &self.until {
            bytes.extend(key);
            bytes.extend(until.to_le_bytes());
        }
        bytes.extend(checksum(&[&bytes]));
        let part = path.with_extension(format!("part-{}", std::process::id()));
        let _ = path.parent().map(fs::create_dir_all);
        if fs::write(&part, &bytes).and_then(|()| fs::rename(&part, path)).is_err() {
            let _ = fs::remove_file(&part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPOSITORY: RepositoryId = RepositoryId::from_bytes([9; 16]);

    #[test]
    fn what_is_remembered_is_true_or_forgotten() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("below").join("renewed");
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let (a, b) = (ObjectName::new("packs/a")?, ObjectName::new("packs/b")?);
        let (mut first, mut second) = (Renewed::read(&path, REPOSITORY), Renewed::read(&path, REPOSITORY));
        first.add(std::slice::from_ref(&a), at(100));
        first.write(&path, at(10));
        second.add(&[a.clone(), b.clone()], at(50));
        second.write(&path, at(10));
        let read = Renewed::read(&path, REPOSITORY);
        assert_eq!((read.until(&a), read.until(&b)), (Some(at(100)), Some(at(50))));
        assert_eq!(Renewed::read(&path, RepositoryId::from_bytes([8; 16])).until(&a), None);
        Renewed::read(&path, REPOSITORY).write(&path, at(60));
        let read = Renewed::read(&path, REPOSITORY);
        assert_eq!((read.until(&a), read.until(&b)), (Some(at(100)), None));
        let good = fs::read(&path)?;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad)?;
            assert_eq!(Renewed::read(&path, REPOSITORY).until(&a), None, "byte {at}");
            fs::write(&path, &good[..at])?;
            assert_eq!(Renewed::read(&path, REPOSITORY).until(&a), None, "cut at {at}");
        }
        Ok(())
    }
}
