//! A repository: making, opening, and what is in it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cinderblock_backend::Backend;
use cinderblock_chunker::ChunkSize;

use crate::clock::{Clock, SystemClock};
use crate::damage::Known;
use crate::descriptor::Descriptor;
use crate::directory_cache::DirectoryCache;
use crate::error::Error;
use crate::fence;
use crate::id::{BackupId, Ids, KeySlotId, PackId, RepositoryId, SegmentId, VolumeId};
use crate::index::{self, Index, Neighbourhood, Share};
use crate::key::{self, Secret, Unlocked};
use crate::layout;
use crate::listing;
use crate::locking::ObjectLock;
use crate::node_cache::NodeCache;
use crate::pack::{Content, PackReader};
use crate::record::Record;
use crate::sabotage::{Step, skips};
use crate::seal::{Keys, Seal};
use crate::time::Timestamp;
use crate::volume_names::VolumeNames;

/// Where a chunk (or map node) is.
#[derive(Clone, Debug)]
pub struct Location {
    /// Its pack.
    pub pack: Arc<PackReader>,
    /// Its slot in the pack's directory.
    pub slot: u32,
}

/// How to use a repository from this host.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Folder for the index; a subfolder named for the repository is made in it when the index is first needed.
    pub cache_folder: PathBuf,
    /// Bytes of memory for the index and for the directories of packs in use. At least 8 MiB are taken.
    pub memory_bytes: usize,
    /// Where the time is taken from.
    pub clock: Arc<dyn Clock>,
    /// What opens it, where it is encrypted.
    pub secret: Option<Secret>,
    /// Keeps the index in memory: a simulation makes many.
    #[cfg(test)]
    pub(crate) index_in_memory: bool,
}

impl OpenOptions {
    /// This cache folder, 48 MiB of memory, and the system's clock.
    pub fn new(cache_folder: impl Into<PathBuf>) -> Self {
        Self {
            cache_folder: cache_folder.into(),
            memory_bytes: 48 << 20,
            clock: Arc::new(SystemClock),
            secret: None,
            #[cfg(test)]
            index_in_memory: false,
        }
    }
}

/// An open repository. Opening reads its descriptor, where it is encrypted its key slots, and nothing else: the index is opened when it is first needed.
#[derive(Debug)]
pub struct Repository {
    pub(crate) backend: Arc<dyn Backend>,
    descriptor: Descriptor,
    seal: Seal,
    ids: Ids,
    /// The keys, and the slot that gave them.
    unlocked: Option<(Arc<Keys>, KeySlotId)>,
    pub(crate) volume_names: VolumeNames,
    clock: Arc<dyn Clock>,
    #[cfg(test)]
    index_in_memory: bool,
    index_folder: PathBuf,
    /// Bytes of memory for the index.
    index_bytes: usize,
    pub(crate) neighbourhood: Neighbourhood,
    pub(crate) nodes: NodeCache,
    /// Where requests are dear.
    pub(crate) directories: Option<DirectoryCache>,
    pub(crate) damage: Known,
    index: RwLock<Option<OpenIndex>>,
    /// Grows with every segment that is known to have come.
    generation: AtomicU64,
    /// Taken while the index is being opened, so that it is opened once.
    opening: Mutex<()>,
    /// Whether the objects were seen to be this repository's.
    pub(crate) identified: AtomicBool,
    /// Whether the storage refused to delete what a session left.
    pub(crate) deletes_refused: AtomicBool,
    /// What the policy says of locks, once it was read.
    pub(crate) object_lock: Mutex<Option<Option<ObjectLock>>>,
}

/// The index, or nothing where the repository had no packs when it was looked at.
type OpenIndex = Option<Arc<dyn Index>>;

/// What [`Repository::rebuild_index`] did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RebuildReport {
    /// Index segments that were read.
    pub segments: u64,
    /// Packs that the index knows now.
    pub packs: u64,
    /// Packs that no readable segment named: their own directories were read, and new segments written.
    pub adopted_packs: u64,
    /// Segments that could not be read.
    pub unreadable_segments: Vec<SegmentId>,
    /// What could not be read, each with its name.
    pub damage: Vec<Error>,
    /// Why new segments could not be written, where that is so: the index is whole all the same.
    pub segments_not_written: Option<Error>,
}

/// A pack, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub id: PackId,
    /// What it holds.
    pub content: Content,
    /// Length of the whole object in bytes.
    pub object_bytes: u64,
}

impl Repository {
    /// Makes a repository. The place has to be empty.
    ///
    /// # Errors
    /// [`Error::AlreadyARepository`], [`Error::NotEmpty`], or what the storage says.
    pub fn create(backend: &dyn Backend, chunk_size: ChunkSize) -> Result<RepositoryId, Error> {
        Self::make(backend, chunk_size, None)
    }

    /// Makes an encrypted repository, with a random key that this secret opens. `label` tells people which secret it is.
    ///
    /// # Errors
    /// As [`Self::create`]; [`Error::TooLarge`] for a label above 255 bytes; [`Error::Random`].
    pub fn create_encrypted(
        backend: &dyn Backend,
        chunk_size: ChunkSize,
        secret: &Secret,
        label: &str,
    ) -> Result<RepositoryId, Error> {
        Self::make(backend, chunk_size, Some((secret, label)))
    }

    fn make(backend: &dyn Backend, chunk_size: ChunkSize, key: Option<(&Secret, &str)>) -> Result<RepositoryId, Error> {
        let name = layout::descriptor()?;
        let taken = || Error::AlreadyARepository { location: backend.location() };
        if listing::exists(backend, &name)? {
            return Err(taken());
        }
        if listing::any(backend, "")?.is_some() {
            return Err(Error::NotEmpty { location: backend.location() });
        }
        let repository = RepositoryId::random()?;
        // First: a repository that is there can be opened.
        let slot = key.map(|(secret, label)| key::create(backend, repository, secret, label)).transpose()?;
        let created_at = Timestamp::now();
        let descriptor = Descriptor { repository, chunk_size, created_at, encrypted: slot.is_some() };
        let put = backend.put(&name, &[&descriptor.encode()]);
        // Where the answer was lost, the descriptor may be there.
        let is_anothers = || match Descriptor::load(backend) {
            Ok(there) => there.repository != repository,
            Err(error) => matches!(error, Error::NotARepository { .. }),
        };
        if let (Err(_), Some(slot)) = (&put, slot)
            && is_anothers()
        {
            // Another one's repository has no use for it. Where it can't be removed, it opens nothing.
            let _ = backend.discard(&layout::key_slot(slot)?);
        }
        match put {
            Ok(()) => Ok(repository),
            Err(cinderblock_backend::Error::AlreadyExists { .. }) => Err(taken()),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a repository. Where it is encrypted, its key slots are read, and the secret is tried on them: with a passphrase that
    /// takes some tenths of a second, and 64 MiB of memory, for each.
    ///
    /// # Errors
    /// [`Error::NotARepository`], [`Error::NewerFormat`]; [`Error::SecretMissing`] where there is no secret, [`Error::WrongSecret`] where it opens no
    /// slot, [`Error::NotEncrypted`] where there is one and nothing to open; or what the storage says.
    pub fn open(backend: Arc<dyn Backend>, options: &OpenOptions) -> Result<Self, Error> {
        let descriptor = Descriptor::load(&*backend)?;
        let location = || backend.location();
        let unlocked = match (&options.secret, descriptor.encrypted) {
            (None, false) => None,
            (None, true) => return Err(Error::SecretMissing { location: location() }),
            // What was to be secret would be written for all to read.
            (Some(_), false) => return Err(Error::NotEncrypted { location: location() }),
            (Some(secret), true) => Some(key::unlock(&*backend, descriptor.repository, secret)?),
        };
        let unlocked = unlocked.map(|Unlocked { keys, slot }| (Arc::new(keys), slot));
        let seal = match &unlocked {
            None => Seal::none(descriptor.repository),
            Some((keys, _)) => Seal::new(descriptor.repository, Arc::clone(keys)),
        };
        let memory_bytes = options.memory_bytes.max(8 << 20);
        let index_folder = options.cache_folder.join(descriptor.repository.to_string());
        let share = Share::of(&index_folder, memory_bytes);
        let is_far = backend.requests_in_flight() > 1;
        Ok(Self {
            backend,
            directories: is_far.then(|| DirectoryCache::new(index_folder.join("directories"))),
            index_folder,
            descriptor,
            ids: seal.ids(),
            seal,
            unlocked,
            volume_names: VolumeNames::default(),
            clock: Arc::clone(&options.clock),
            #[cfg(test)]
            index_in_memory: options.index_in_memory,
            index_bytes: share.index_bytes,
            neighbourhood: Neighbourhood::new(share.neighbourhood_bytes),
            nodes: NodeCache::new(memory_bytes / 8),
            damage: Known::default(),
            index: RwLock::default(),
            generation: AtomicU64::new(0),
            opening: Mutex::default(),
            identified: AtomicBool::new(false),
            deletes_refused: AtomicBool::new(false),
            object_lock: Mutex::default(),
        })
    }

    /// What the repository is.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Its identity.
    pub fn id(&self) -> RepositoryId {
        self.descriptor.repository
    }

    /// What names its chunks and map nodes.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// What its objects are written and read with.
    pub(crate) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Its keys, and the slot that gave them.
    pub(crate) fn unlocked(&self) -> Result<(&Keys, KeySlotId), Error> {
        let unlocked = self.unlocked.as_ref().map(|(keys, slot)| (&**keys, *slot));
        unlocked.ok_or_else(|| Error::NotEncrypted { location: self.backend.location() })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The time of day, by the clock that it was opened with.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The storage that it is in.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Whether the storage refused to delete what a session of this process left when it ended. A collector removes that.
    pub fn deletes_refused(&self) -> bool {
        self.deletes_refused.load(Ordering::Relaxed)
    }

    /// Folder of this host's index of this repository.
    pub fn index_folder(&self) -> &Path {
        &self.index_folder
    }

    /// Reads a backup's record.
    ///
    /// # Errors
    /// [`Error::BackupNotFound`], also where a garbage collector gave up on the session that was to commit it;
    /// [`Error::Damaged`], or what the storage says.
    pub fn record(&self, volume: &VolumeId, id: BackupId) -> Result<Record, Error> {
        let record = self.unchecked_record(volume, id)?;
        // After the record: a tombstone that is put later finds the record, or its session takes it back.
        if !skips(Step::ReaderCheck) && fence::is_buried(&*self.backend, record.session)? {
            return Err(Error::BackupNotFound { text: id.to_string() });
        }
        Ok(record)
    }

    /// Reads a record, whether it counts or not: for who reads many of them, and has [`retain_valid`](Self::retain_valid) sort out all at once.
    ///
    /// # Errors
    /// [`Error::BackupNotFound`], [`Error::Damaged`], or what the storage says.
    pub fn unchecked_record(&self, volume: &VolumeId, id: BackupId) -> Result<Record, Error> {
        let name = self.record_object(volume, id)?;
        let record = Record::read(&*self.backend, self.seal(), &name, id)?;
        let chunk_bytes = self.descriptor.chunk_size.bytes();
        if record.chunk_bytes != chunk_bytes {
            let reason = format!("its chunk size is {} bytes, the repository's {chunk_bytes}", record.chunk_bytes);
            return Err(Error::damaged(name, 0, reason));
        }
        Ok(record)
    }

    /// The index, opened and brought up to date when it is first needed.
    pub(crate) fn index(&self) -> Result<OpenIndex, Error> {
        let opened = || self.index.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(database) = opened() {
            return Ok(database);
        }
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = opened() {
            return Ok(database);
        }
        loop {
            let generation = self.generation.load(Ordering::Acquire);
            let database = self.open_index()?;
            let mut slot = self.index.write().unwrap_or_else(PoisonError::into_inner);
            // A segment that was written meanwhile may have been missed.
            if generation == self.generation.load(Ordering::Acquire) {
                *slot = Some(database.clone());
                return Ok(database);
            }
        }
    }

    fn open_index(&self) -> Result<OpenIndex, Error> {
        #[cfg(test)]
        if self.index_in_memory {
            let index = index::memory::MemoryIndex::load(&*self.backend, self.seal(), &*self.damage()?)?;
            return Ok(Some(Arc::new(index)));
        }
        let database =
            index::open(&self.index_folder, self.seal(), (&*self.backend, &*self.damage()?), self.index_bytes)?;
        Ok(database.map(|database| Arc::new(database) as Arc<dyn Index>))
    }

    /// Brings the index up to date with what other writers, and this one, have added since it was opened.
    ///
    /// # Errors
    /// What the storage or the index says.
    pub fn refresh_index(&self) -> Result<(), Error> {
        self.forget_damage();
        self.damage()?;
        self.forget_index();
        self.index().map(drop)
    }

    /// Lets the index be opened anew when it is next needed.
    pub(crate) fn forget_index(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Makes the index anew from the segments, and new segments for packs that none names.
    ///
    /// # Errors
    /// What the storage or the index says; damage is in the report instead.
    pub fn rebuild_index(&self) -> Result<RebuildReport, Error> {
        self.forget_index();
        self.forget_damage();
        self.neighbourhood.clear();
        #[cfg(test)]
        if self.index_in_memory {
            // It is made anew whenever it is opened, and takes in every pack.
            return Ok(RebuildReport::default());
        }
        let outcome =
            index::rebuild(&self.index_folder, self.seal(), (&*self.backend, &*self.damage()?), self.index_bytes)?;
        let unreadable_segments = outcome.unreadable_segments.iter().map(|(id, _)| *id).collect();
        let segments = outcome.unreadable_segments.into_iter().map(|(_, error)| error);
        let packs = outcome.unreadable_packs.into_iter().map(|(_, error)| error);
        Ok(RebuildReport {
            segments: outcome.segments,
            packs: self.packs()?.len() as u64,
            adopted_packs: outcome.adopted_packs,
            unreadable_segments,
            damage: segments.chain(packs).collect(),
            segments_not_written: outcome.not_written,
        })
    }

    /// The packs that the index knows, in no particular order.
    ///
    /// # Errors
    /// What the storage or the index says.
    pub fn packs(&self) -> Result<Vec<PackInfo>, Error> {
        let Some(index) = self.index()? else { return Ok(Vec::new()) };
        let packs = index.packs()?.into_iter();
        Ok(packs
            .map(|entry| PackInfo { id: entry.id, content: entry.content, object_bytes: entry.object_bytes })
            .collect())
    }
}
