//! A driver on memory, volumes to put into it, and chains.

// Every file of tests uses a part of this.
#![allow(dead_code)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_cinder::{
    BackendContainers, Backup, BackupSummary, ChunkedBackupDriver, Context, Error, Layer, Layout,
};
use cinderblock_pipeline::{Settings, Target, VolumeFile};
use tempfile::TempDir;

pub const VOLUME: &str = "11111111-1111-1111-1111-111111111111";

pub type Driver = ChunkedBackupDriver<BackendContainers<Arc<dyn Backend>>>;

/// Storage, and a folder for volumes.
pub struct Place {
    pub folder: TempDir,
    pub memory: Arc<Memory>,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), memory: Arc::new(Memory::new()) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn driver(&self, compression: &str, chunk: u64, block: u64) -> Driver {
        driver_on(Arc::clone(&self.memory) as Arc<dyn Backend>, context(compression), chunk, block)
    }

    /// Writes a volume as a file; where it is zero for a page or more it has holes.
    pub fn volume(&self, name: &str, bytes: &[u8]) -> VolumeFile {
        let file = File::create(self.path(name)).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        for (page, bytes) in bytes.chunks(4096).enumerate() {
            if bytes.iter().any(|byte| *byte != 0) {
                file.write_all_at(bytes, page as u64 * 4096).unwrap();
            }
        }
        VolumeFile::open(&self.path(name)).unwrap()
    }

    /// Backs up bytes.
    pub fn back_up(
        &self,
        driver: &Driver,
        number: u32,
        bytes: &[u8],
        parent: Option<&Backup>,
    ) -> Result<(Backup, BackupSummary), Error> {
        let mut backup = row(number);
        let volume = self.volume("volume", bytes);
        let summary = driver.backup(&mut backup, &volume, parent, true)?;
        Ok((backup, summary))
    }

    /// Backs up volumes, each as an increment of the one before it.
    pub fn chain(&self, driver: &Driver, volumes: &[Vec<u8>]) -> Vec<Backup> {
        let mut chain: Vec<Backup> = Vec::new();
        for (number, bytes) in (1..).zip(volumes) {
            let backup = self.back_up(driver, number, bytes, chain.last()).unwrap().0;
            chain.push(backup);
        }
        chain
    }

    pub fn restore_new(&self, driver: &Driver, chain: &[Backup]) -> Result<Vec<u8>, Error> {
        let path = self.path("restored");
        let restored = driver.restore(chain, VOLUME, &Target::New(path.clone()));
        assert_eq!(path.exists(), restored.is_ok(), "a new target appears if and only if it is whole");
        restored?;
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        Ok(bytes)
    }

    /// Restores over bytes that are all wrong; returns what the target holds then.
    pub fn restore_over(&self, driver: &Driver, chain: &[Backup], length: usize) -> (Result<(), Error>, Vec<u8>) {
        let path = self.path("existing");
        fs::write(&path, vec![0xa5; length]).unwrap();
        let restored = driver.restore(chain, VOLUME, &Target::Existing(path.clone())).map(drop);
        (restored, fs::read(path).unwrap())
    }

    /// Names of all objects, in order.
    pub fn objects(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.memory
            .list("", &mut |object| {
                names.push(object.name.as_str().to_owned());
                Ok(())
            })
            .unwrap();
        names.sort();
        names
    }

    /// Replaces an object's bytes.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let name = ObjectName::new(name).unwrap();
        let mut bytes = self.memory.get(&name, u64::MAX).unwrap();
        change(&mut bytes);
        self.memory.delete(&name).unwrap();
        self.memory.put(&name, &[&bytes]).unwrap();
    }
}

pub fn context(compression: &str) -> Context {
    let settings = Settings { threads: 2, ..Settings::default() };
    Context { settings, compression: compression.parse().unwrap(), ..Context::default() }
}

pub fn driver_on(backend: Arc<dyn Backend>, context: Context, chunk: u64, block: u64) -> Driver {
    let containers = BackendContainers::new(backend, Layout::Posix, "nova");
    Driver::new(context, containers, chunk, block, None, false).unwrap()
}

/// A row of Cinder's database for backup `number`.
pub fn row(number: u32) -> Backup {
    Backup {
        id: format!("22222222-2222-2222-2222-{number:012}"),
        volume_id: VOLUME.to_owned(),
        display_name: Some(format!("night {number}")),
        created_at: "2026-08-21 18:05:24+00:00".to_owned(),
        ..Backup::default()
    }
}

/// A backup as its metadata have it.
pub fn layer(driver: &Driver, backup: &Backup) -> Layer {
    driver.layer(backup.container.as_deref().unwrap(), backup.service_metadata.as_deref().unwrap()).unwrap()
}

/// Full name of a backup's data object.
pub fn object(driver: &Driver, backup: &Backup, at: usize) -> String {
    let layer = layer(driver, backup);
    format!("{}/{}", layer.container, layer.name(&layer.objects[at]))
}

/// Random bytes that are the same for the same seed: splitmix64.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Bytes that compress: noise of few different values.
pub fn text(seed: u64, length: usize) -> Vec<u8> {
    noise(seed, length).into_iter().map(|byte| byte & 3).collect()
}
