//! Directories of packs in a folder of this host, and which packs are there.
//!
//! Where each request costs time and often money, a backup should not read from the storage what this host has read, or written, before.
//! What a directory says never changes; whether its pack is still there does. So a kept directory counts only for a session that has announced
//! itself, and only where a listing that began after that shows its pack: what was there then stays until the session ends, but
//! for what the session avoids (`docs/design.md`). That is what reading the directory itself would show.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use cinderblock_backend::Backend;

use crate::error::Error;
use crate::id::PackId;
use crate::layout;
use crate::pack::Description;
use crate::random;
use crate::sabotage::{Step, skips};

/// Bytes that the kept directories may take: 512 MiB, those of some 200 GiB of data.
const LIMIT_BYTES: u64 = 512 << 20;

/// Packs that one listing may show before those of single folders are listed instead, as they are asked for: what one request shows on most storages.
const LISTED_TOGETHER: usize = 1000;

/// Kept directories of one repository, and what the running session knows of packs.
#[derive(Debug)]
pub(crate) struct DirectoryCache {
    folder: PathBuf,
    limit_bytes: u64,
    there: RwLock<Option<Arc<There>>>,
}

/// The packs that were there after a session announced itself, listed as far as they were asked for.
#[derive(Debug)]
struct There {
    /// All packs, where they are few.
    all: Mutex<Option<Listed>>,
    /// By the first byte of their ids.
    folders: Box<[Mutex<Option<HashSet<PackId>>>]>,
}

#[derive(Debug)]
enum Listed {
    All(HashSet<PackId>),
    TooMany,
}

impl There {
    fn new() -> Self {
        Self { all: Mutex::default(), folders: (0..=u8::MAX).map(|_| Mutex::default()).collect() }
    }

    fn has(&self, backend: &dyn Backend, id: PackId) -> Result<bool, Error> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = match &mut *all {
            Some(listed) => listed,
            none => none.insert(match packs_in(backend, layout::PACKS, LISTED_TOGETHER)? {
                Some(packs) => Listed::All(packs),
                None => Listed::TooMany,
            }),
        };
        if let Listed::All(packs) = listed {
            return Ok(packs.contains(&id));
        }
        // Others may list other folders meanwhile.
        drop(all);
        let [first, ..] = *id.as_bytes();
        let mut folder = self.folders[usize::from(first)].lock().unwrap_or_else(PoisonError::into_inner);
        let packs = match &mut *folder {
            Some(packs) => packs,
            none => none
                .insert(packs_in(backend, &format!("{}{first:02x}/", layout::PACKS), usize::MAX)?.unwrap_or_default()),
        };
        Ok(packs.contains(&id))
    }
}

/// The packs whose names begin so, or nothing where they are more than `most`.
fn packs_in(backend: &dyn Backend, prefix: &str, most: usize) -> Result<Option<HashSet<PackId>>, Error> {
    let mut packs = HashSet::new();
    let listed = backend.list(prefix, &mut |info| {
        packs.extend(layout::parse_pack(&info.name));
        if packs.len() <= most { Ok(()) } else { Err(cinderblock_backend::Error::Stopped) }
    });
    match listed {
        Err(cinderblock_backend::Error::Stopped) => Ok(None),
        other => Ok(other.map(|()| Some(packs))?),
    }
}

impl DirectoryCache {
    /// In this folder, which is made when something is kept.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, limit_bytes: LIMIT_BYTES, there: RwLock::default() }
    }

    /// A session has announced itself that may use what is kept.
    pub(crate) fn begin(&self) {
        *self.there.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(There::new()));
    }

    /// What is there is listed anew, for who found that something has gone meanwhile.
    pub(crate) fn renew(&self) {
        if let Some(there) = &mut *self.there.write().unwrap_or_else(PoisonError::into_inner) {
            *there = Arc::new(There::new());
        }
    }

    /// No such session runs any more.
    pub(crate) fn end(&self) {
        *self.there.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is kept of a pack that is there. Whoever takes it checks it: it is as damaged as the folder is.
    pub(crate) fn get(&self, backend: &dyn Backend, id: PackId) -> Result<Option<Description>, Error> {
        let Some(there) = self.there() else { return Ok(None) };
        let path = self.path(id);
        let Ok(bytes) = fs::read(&path) else { return Ok(None) };
        let Some(description) = Description::from_bytes(&bytes) else {
            self.forget(id);
            return Ok(None);
        };
        // A listing that lags may show what has gone. A look at the object itself does not.
        let is_there = match backend.settle_delay().is_zero() {
            true => there.has(backend, id)?,
            false => crate::listing::exists(backend, &layout::pack(id)?)?,
        };
        if !is_there && !skips(Step::KeptDirectory) {
            self.forget(id);
            return Ok(None);
        }
        // Used lately: for whoever makes room. Where that can't be noted, it goes early.
        let _ = fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(Some(description))
    }

    fn there(&self) -> Option<Arc<There>> {
        self.there.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a directory, as far as the folder lets it, if a session runs that may use what is kept: the next one of its kind will want it. Who reads all
    /// packs once, as a verification does, would only push those out.
    pub(crate) fn keep(&self, id: PackId, describe: impl FnOnce() -> Description) {
        if self.there().is_none() {
            return;
        }
        let path = self.path(id);
        let Some(folder) = path.parent() else { return };
        if path.exists() || self.write(folder, &path, &describe()).is_err() {
            return;
        }
        let mut chance = [0];
        if random::fill(&mut chance).is_ok_and(|()| chance[0] < 32) {
            self.make_room(folder);
        }
    }

    /// Removes what turned out to be wrong.
    pub(crate) fn forget(&self, id: PackId) {
        // Where that fails, it is found wrong again.
        let _ = fs::remove_file(self.path(id));
    }

    /// Whole or not at all as long as the system runs; a crash may leave anything, which its checksum tells.
    fn write(&self, folder: &Path, path: &Path, description: &Description) -> Result<(), Error> {
        let failed = |source| Error::Cache { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let mut unique = [0; 8];
        random::fill(&mut unique)?;
        let temporary = folder.join(format!(".tmp-{:016x}", u64::from_le_bytes(unique)));
        let written = fs::File::create_new(&temporary)
            .and_then(|mut file| file.write_all(&description.to_bytes()))
            .and_then(|()| fs::rename(&temporary, path));
        written.map_err(|source| {
            let _ = fs::remove_file(&temporary);
            failed(source)
        })
    }

    /// Removes what was used least lately in one of the 256 folders, if it holds more than its share. Ids are random, so they fill alike.
    fn make_room(&self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort_unstable();
        for (_, length, path) in files {
            if bytes <= self.limit_bytes / 256 {
                break;
            }
            // Another process may have removed it.
            let _ = fs::remove_file(path);
            bytes -= length;
        }
    }

    fn path(&self, id: PackId) -> PathBuf {
        let name = id.to_string();
        self.folder.join(name.get(..2).unwrap_or_default()).join(name)
    }
}

#[cfg(test)]
mod tests {
    use cinderblock_backend::{Kind, Memory, Recording};
    use cinderblock_chunker::ChunkSize;

    use super::*;
    use crate::pack::{Content, frame};
    use crate::repository::{OpenOptions, Repository};

    fn pack(first: u8, last: u8) -> PackId {
        let mut bytes = [first; 16];
        bytes[15] = last;
        PackId::from_bytes(bytes)
    }

    fn description(bytes: usize) -> Description {
        Description::from_bytes(&[&[1; 8][..], &[3, 0, 0, 0], &vec![7; bytes]].concat()).unwrap()
    }

    fn count(backend: &Recording<Memory>) -> usize {
        backend.take_log().iter().filter(|entry| entry.kind == Kind::List).count()
    }

    #[test]
    fn a_kept_directory_counts_only_in_a_session_and_where_its_pack_is() -> Result<(), Error> {
        let (folder, backend) = (tempfile::tempdir().unwrap(), Recording::with_log(Memory::new()));
        let cache = DirectoryCache::new(folder.path().join("directories"));
        let (here, gone) = (pack(1, 1), pack(1, 2));
        backend.put(&layout::pack(here)?, &[b"x"])?;
        cache.keep(here, || unreachable!("no session would use it"));
        cache.begin();
        for id in [here, gone] {
            cache.keep(id, || description(100));
        }
        cache.end();
        assert_eq!(cache.get(&backend, here)?, None, "no session has announced itself");
        cache.begin();
        assert_eq!(cache.get(&backend, here)?, Some(description(100)));
        assert_eq!(cache.get(&backend, gone)?, None);
        assert_eq!(cache.get(&backend, pack(1, 3))?, None, "never kept");
        assert_eq!(count(&backend), 1, "few packs are listed once");
        // What goes while one session runs is listed anew by the next.
        backend.delete(&layout::pack(here)?)?;
        cache.begin();
        assert_eq!(cache.get(&backend, here)?, None);
        cache.end();
        backend.put(&layout::pack(here)?, &[b"x"])?;
        assert_eq!(cache.get(&backend, here)?, None);
        cache.renew();
        assert_eq!(cache.get(&backend, here)?, None, "there is no session to renew it for");
        Ok(())
    }

    #[test]
    fn of_many_packs_only_the_folders_of_those_that_are_asked_for_are_listed() -> Result<(), Error> {
        let (folder, backend) = (tempfile::tempdir().unwrap(), Recording::with_log(Memory::new()));
        let cache = DirectoryCache::new(folder.path().to_owned());
        cache.begin();
        for first in 0..=u8::MAX {
            for last in 0..4 {
                backend.put(&layout::pack(pack(first, last))?, &[b"x"])?;
                cache.keep(pack(first, last), || description(10));
            }
        }
        backend.take_log();
        for first in [0, 9, 200] {
            for last in 0..4 {
                assert!(cache.get(&backend, pack(first, last))?.is_some());
            }
        }
        assert_eq!(count(&backend), 1 + 3);
        Ok(())
    }

    #[test]
    fn a_folder_keeps_its_share_of_what_was_used_lately() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DirectoryCache { limit_bytes: 256 * 1000, ..DirectoryCache::new(folder.path().to_owned()) };
        cache.begin();
        for last in 0..200 {
            cache.keep(pack(5, last), || description(90));
        }
        cache.make_room(&folder.path().join("05"));
        let left: u64 =
            fs::read_dir(folder.path().join("05")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!((800..=1000).contains(&left), "{left}");
        assert!(cache.path(pack(5, 199)).exists() && !cache.path(pack(5, 0)).exists());
    }

    /// A collector copied what is in a pack to another, and deleted it while a backup was at work. Whoever misses it looks anew, and was told again that it
    /// is there.
    #[test]
    fn a_pack_that_goes_while_a_session_runs_is_missed_once_packs_are_forgotten() -> Result<(), Error> {
        let (folder, backend) = (tempfile::tempdir().unwrap(), Arc::new(Memory::new()));
        Repository::create(&*backend, ChunkSize::DEFAULT)?;
        let mut repository = Repository::open(backend.clone(), &OpenOptions::new(folder.path()))?;
        repository.directories = Some(DirectoryCache::new(folder.path().join("directories")));
        let session = repository.start_session("a test")?;
        session.use_kept_directories();
        let mut packs = session.pack_builder(Content::Data);
        let chunk = frame::FrameChunk { id: repository.ids().chunk(b"x"), length: 1 };
        packs.push(frame::encode(b"x", vec![chunk], true, frame::Compression::None)?)?;
        let pack = packs.finish()?.expect("a pack");
        session.store_pack(&pack)?;
        assert_eq!(repository.pack(pack.id())?.id(), pack.id());
        backend.delete(&layout::pack(pack.id())?)?;
        repository.forget_packs();
        assert!(matches!(repository.pack(pack.id()), Err(Error::PackMissing { .. })));
        Ok(())
    }

    #[test]
    fn nothing_is_kept_in_use_once_a_session_has_gone_however_it_went() -> Result<(), Error> {
        let (folder, backend) = (tempfile::tempdir().unwrap(), Arc::new(Memory::new()));
        Repository::create(&*backend, ChunkSize::DEFAULT)?;
        let mut repository = Repository::open(backend, &OpenOptions::new(folder.path()))?;
        repository.directories = Some(DirectoryCache::new(folder.path().join("directories")));
        let in_use = || repository.directories.as_ref().is_some_and(|directories| directories.there().is_some());
        for abandoned in [false, true] {
            let session = repository.start_session("a test")?;
            session.use_kept_directories();
            assert!(in_use());
            if abandoned {
                session.abandon();
            }
            drop(session);
            assert!(!in_use(), "{abandoned}");
        }
        Ok(())
    }

    #[test]
    fn what_a_crash_has_cut_is_not_taken() {
        let whole = description(100).to_bytes();
        assert_eq!(Description::from_bytes(&whole), Some(description(100)));
        for length in 0..12 {
            assert_eq!(Description::from_bytes(&whole[..length]), None);
        }
        // A longer part is something, and its checksum is not right.
        let cut = Description::from_bytes(&whole[..40]).unwrap();
        assert!(cut.check("a pack", &[0]).is_err());
    }
}
