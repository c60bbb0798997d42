//! A repository in memory with some history, for tests that let something go wrong with every command.

// Every test binary has its own copy and uses a part of it.
#![allow(dead_code)]

pub mod command;
pub mod full;
pub mod image;

use std::error::Error as StdError;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_chunker::ChunkSize;
use cinderblock_pipeline::{BackupOptions, Control, Engine, Parent, Settings, Source, Target};
use cinderblock_store::gc::{GcOptions, GcReport, Observer};
use cinderblock_store::{BackupId, Clock, Error, OpenOptions, Record, Repository, Secret, Timestamp, VolumeId};
use command::Answer;
use image::Image;

/// Chunk size of all repositories here, in bytes: a leaf of a map covers 4 MiB, a node above it 4 GiB.
pub const CHUNK: usize = 4096;

pub static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(Settings { threads: 1, memory_bytes: 0 }).expect("threads"));

/// What opens the repositories of this test binary, where they are encrypted.
static SECRET: OnceLock<Secret> = OnceLock::new();

/// From now on, all repositories are encrypted. For test binaries of which every test begins so.
pub fn encrypt_everything() {
    SECRET.get_or_init(|| Secret::generate_key_file().expect("random bytes"));
}

/// Repositories are not encrypted.
pub fn encrypt_nothing() {
    assert!(!is_encrypted());
}

pub fn is_encrypted() -> bool {
    SECRET.get().is_some()
}

/// Makes a repository.
pub fn create(storage: &dyn Backend) {
    let chunk_size = ChunkSize::new(CHUNK as u64).expect("a size");
    let made = match SECRET.get() {
        None => Repository::create(storage, chunk_size),
        Some(secret) => Repository::create_encrypted(storage, chunk_size, secret, "the only one"),
    };
    made.expect("a repository");
}

/// A clock that is so many microseconds ahead, and on which no time passes while somebody sleeps.
#[derive(Debug)]
pub struct Ahead(AtomicI64);

impl Ahead {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::from_microseconds(Timestamp::now().microseconds() + self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, _: Duration) {}
}

pub const NOW: Duration = Duration::ZERO;
pub const IN_THREE_DAYS: Duration = Duration::from_secs(3 * 86_400);

/// Whether to go through all cases: `make exhaust` asks for it. Else there are as many as take seconds.
pub fn all_cases() -> bool {
    std::env::var_os("CINDERBLOCK_ALL_CASES").is_some()
}

/// A temporary folder, in memory where the system has one there.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("cinderblock-test-").tempdir_in(folder).expect("a folder")
}

/// A repository as a host sees it that has no index of it yet.
#[derive(Debug)]
pub struct Host {
    pub repository: Repository,
    pub clock: Arc<Ahead>,
    pub folder: tempfile::TempDir,
}

impl Host {
    pub fn open(storage: Arc<dyn Backend>, ahead: Duration) -> Result<Self, Error> {
        Self::open_in(scratch(), storage, ahead)
    }

    /// The same host, as another process that begins.
    pub fn reopen(self, storage: Arc<dyn Backend>, ahead: Duration) -> Result<Self, Error> {
        drop(self.repository);
        Self::open_in(self.folder, storage, ahead)
    }

    fn open_in(folder: tempfile::TempDir, storage: Arc<dyn Backend>, ahead: Duration) -> Result<Self, Error> {
        let clock = Arc::new(Ahead(AtomicI64::new(ahead.as_micros() as i64)));
        let cache = OpenOptions::new(folder.path().join("cache"));
        let options = OpenOptions { clock: clock.clone(), memory_bytes: 0, secret: SECRET.get().cloned(), ..cache };
        Ok(Self { repository: Repository::open(storage, &options)?, clock, folder })
    }

    /// Backs up an image; `hour` is when it is said to have been taken.
    pub fn back_up(&self, volume: &str, image: &Image, hour: i64) -> Result<Record, cinderblock_pipeline::Error> {
        let path = self.folder.path().join("volume");
        image.write(&path);
        let mut options = BackupOptions::new(VolumeId::new(volume).expect("a volume's name"));
        options.created_at = Some(Timestamp::from_microseconds(1_790_000_000_000_000 + hour * 3_600_000_000));
        options.parent = Parent::Auto;
        let source = Source::open(&path)?;
        ENGINE.backup(&self.repository, source, &options, &Control::default())
    }

    /// Restores a backup. An error is told; wrong bytes are a panic.
    pub fn restore(&self, backup: &Backup) -> Result<(), String> {
        let record = self.repository.record(&backup.volume, backup.id).map_err(|error| whole_text(&error))?;
        let target = Target::New(self.folder.path().join("restored"));
        let restored = ENGINE.restore(&self.repository, &record, &target, &Control::default());
        if let Err(error) = restored {
            assert!(!target.path().exists(), "a restore that failed has left a file");
            return Err(whole_text(&error));
        }
        assert!(backup.image.is_in(target.path()), "{} came back with other bytes", backup.name);
        std::fs::remove_file(target.path()).expect("the file is there");
        Ok(())
    }

    pub fn collect_garbage(&self) -> Result<GcReport, Error> {
        self.collect_garbage_with(&eager())
    }

    pub fn collect_garbage_with(&self, options: &GcOptions) -> Result<GcReport, Error> {
        self.repository.collect_garbage(options, &Observer::new(&|_| true))
    }
}

/// With packs repacked that are dead by a tenth, and without patience.
pub fn eager() -> GcOptions {
    GcOptions { repack_below: 90, grace: Duration::ZERO, ..GcOptions::default() }
}

/// An error's text with those of all its causes.
pub fn whole_text(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A backup that was made, and what has to come back.
#[derive(Clone, Debug)]
pub struct Backup {
    /// For messages.
    pub name: &'static str,
    pub volume: VolumeId,
    pub id: BackupId,
    pub image: Image,
}

/// A repository, and what is in it.
#[derive(Debug, Default)]
pub struct Scene {
    pub storage: Arc<Memory>,
    pub backups: Vec<Backup>,
}

impl Scene {
    /// Volume `one`, 4 GiB and a bit, with backups A, which is protected, and B; volume `two` with C and G.
    pub fn plain() -> Self {
        let mut scene = Self::default();
        create(&*scene.storage);
        let host = scene.host();
        let one = Image::of_chunks(&[(0, 1, 30), (20 << 20, 2, 6), ((4 << 30) + (1 << 20), 3, 8)]);
        let two = Image::of_chunks(&[(0, 4, 20), (9 << 20, 5, 20)]);
        scene.back_up(&host, "A", "one", &one);
        scene.back_up(&host, "B", "one", &one.with_chunks(0, 5, 6, 10));
        scene.back_up(&host, "C", "two", &two);
        scene.back_up(&host, "G", "two", &two.with_chunks(1, 0, 7, 12));
        scene.protect(&host, "A");
        scene
    }

    /// Volume `three` with backups E, which is deleted, and F, which shares half of it: there are packs that are dead, and packs of
    /// which little lives.
    pub fn with_garbage(mut self) -> Self {
        let host = self.host();
        let three = Image::of_chunks(&[(0, 8, 10), (6 << 20, 9, 20)]);
        self.back_up(&host, "E", "three", &three);
        self.back_up(&host, "F", "three", &three.with_chunks(1, 2, 10, 18));
        self.back_up(&host, "Z", "other", &Image::of_chunks(&[(0, 11, 10)]));
        for name in ["E", "Z"] {
            let deleted = self.backup(name).clone();
            host.repository.delete_backup(&deleted.volume, deleted.id).expect("it can be deleted");
            self.backups.retain(|backup| backup.name != name);
        }
        self
    }

    /// One with copies of all backups.
    pub fn replica(&self) -> Arc<Memory> {
        let storage = Arc::new(Memory::new());
        let mut answer = Answer::default();
        let copied = command::copy(&self.host(), &command::new_repository(storage.clone()), &mut answer);
        copied.expect("all can be copied");
        assert!(answer.is_clean(), "{:?}", answer.told);
        storage
    }

    /// Flips a bit of a chunk that A and B share.
    pub fn with_damage(self) -> Self {
        let host = self.host();
        let a = self.backup("A");
        let record = host.repository.record(&a.volume, a.id).expect("a record");
        let name = ObjectName::new(host.repository.pack_object(record.data_packs[0]).unwrap()).unwrap();
        let mut bytes = bytes_of(&*self.storage, &name).expect("a pack");
        bytes[3 * CHUNK] ^= 1;
        overwrite(&*self.storage, &name, Some(&bytes));
        self
    }

    /// What volume `one` is when its next backup is made.
    pub fn next_image(&self) -> Image {
        self.backup("B").image.with_chunks(2, 2, 12, 4)
    }

    pub fn host(&self) -> Host {
        Host::open(self.storage.clone(), NOW).expect("the repository can be opened")
    }

    pub fn back_up(&mut self, host: &Host, name: &'static str, volume: &str, image: &Image) -> Record {
        let record = host.back_up(volume, image, self.backups.len() as i64).expect("it can be backed up");
        self.backups.push(Backup { name, volume: record.volume.clone(), id: record.id, image: image.clone() });
        record
    }

    pub fn protect(&self, host: &Host, name: &str) {
        let Backup { volume, id, .. } = self.backup(name);
        let set = host.repository.set_mark(volume, *id, |mark| mark.protected = true);
        set.expect("it can be protected");
    }

    pub fn backup(&self, name: &str) -> &Backup {
        self.backups.iter().find(|backup| backup.name == name).expect("a backup of the scene")
    }

    /// A copy that is changed without changing the original.
    pub fn fork(&self) -> Arc<Memory> {
        Arc::new(self.storage.snapshot())
    }
}

/// Names of the objects that begin with `prefix`, in order.
pub fn objects(backend: &dyn Backend, prefix: &str) -> Vec<ObjectName> {
    let mut names = Vec::new();
    let listed = backend.list(prefix, &mut |info| {
        names.push(info.name);
        Ok(())
    });
    listed.expect("the storage can be listed");
    names.sort();
    names
}

pub fn bytes_of(backend: &dyn Backend, name: &ObjectName) -> Option<Vec<u8>> {
    backend.get(name, u64::MAX).ok()
}

/// Puts other bytes in an object's place, or none, as only a fault of the storage or an attacker does.
pub fn overwrite(backend: &dyn Backend, name: &ObjectName, bytes: Option<&[u8]>) {
    if backend.size(name).is_ok() {
        backend.delete(name).expect("the object can be deleted");
    }
    if let Some(bytes) = bytes {
        backend.put(name, &[bytes]).expect("the object can be put");
    }
}
