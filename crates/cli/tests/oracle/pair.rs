//! [`Pair`]: the real driver and ours, in one place.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::case::Side;
use super::layer::Layer;
use super::process::{Oracle, S3Server};
use super::{volume, words};
use crate::common::{Place, noise};

/// How objects are named and where they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Cinder's posix driver, and our `--layout posix`.
    Posix,
    /// Cinder's S3 driver, and our `--layout swift` with the bucket copied from and into a folder.
    S3,
}

/// A backup to be made.
pub struct Wanted<'a> {
    pub volume: &'a [u8],
    /// How long the volume is made, with a hole at its end.
    pub length: u64,
    /// Whether zeros are holes of its file.
    pub holes: bool,
    pub volume_id: &'a str,
    pub backup_id: &'a str,
    pub parent: Option<&'a Layer>,
    pub compression: &'a str,
    /// Bytes of data objects and hash blocks; the defaults where there are none.
    pub pieces: Option<(usize, usize)>,
    /// What Cinder's database knows is taken from the real driver's metadata, for ours.
    pub like: Option<&'a Layer>,
}

impl<'a> Wanted<'a> {
    /// A full backup, not compressed, with Cinder's defaults.
    pub fn new(volume: &'a [u8], volume_id: &'a str, backup_id: &'a str) -> Self {
        Self {
            volume,
            length: volume.len() as u64,
            holes: false,
            volume_id,
            backup_id,
            parent: None,
            compression: "none",
            pieces: None,
            like: None,
        }
    }

    fn write(&self, place: &Place) -> PathBuf {
        let path = place.path("volume");
        volume::write(&path, self.volume, self.holes);
        File::options().write(true).open(&path).unwrap().set_len(self.length).unwrap();
        path
    }
}

/// What is restored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    New,
    /// A volume that is longer, and full of other bytes.
    Existing,
}

pub const TARGETS: [Target; 2] = [Target::New, Target::Existing];

/// The two drivers, and a folder for what they do.
pub struct Pair {
    // Before the folder that they work in.
    oracle: Oracle,
    store: Option<S3Server>,
    pub place: Place,
}

impl Pair {
    /// None, and a word why, where the real driver is not to be had.
    pub fn start() -> Option<Self> {
        let place = Place::in_memory();
        match Oracle::start(&place.path("")) {
            Ok(oracle) => Some(Self { place, oracle, store: None }),
            Err(reason) => {
                println!("skipped: {reason}");
                None
            }
        }
    }

    /// The same with Cinder's S3 driver.
    pub fn start_with_store() -> Option<Self> {
        match S3Server::start() {
            Ok(store) => Some(Self { store: Some(store), ..Self::start()? }),
            Err(reason) => {
                println!("skipped: {reason}");
                None
            }
        }
    }

    fn kind(&self) -> Kind {
        if self.store.is_some() { Kind::S3 } else { Kind::Posix }
    }

    /// A folder for containers.
    pub fn root(&self, name: &str) -> PathBuf {
        let root = self.place.path(name);
        fs::create_dir_all(&root).unwrap();
        root
    }

    /// What a question to the real driver begins with.
    fn driver(&self, root: &Path, settings: Option<(&str, Option<(usize, usize)>)>) -> Vec<String> {
        let mut options = Vec::new();
        let mut class = None;
        let (chunk, block) = match &self.store {
            None => {
                options.push(format!("backup_posix_path={}", root.display()));
                ("backup_file_size", "backup_sha_block_size_bytes")
            }
            Some(store) => {
                class = Some("cinder.backup.drivers.s3.S3BackupDriver");
                options.push(format!("backup_s3_endpoint_url={}", store.endpoint()));
                options.push("backup_s3_store_access_key=access".to_owned());
                options.push("backup_s3_store_secret_key=secret".to_owned());
                ("backup_s3_object_size", "backup_s3_block_size")
            }
        };
        if let Some((compression, pieces)) = settings {
            options.push(format!("backup_compression_algorithm={compression}"));
            if let Some((chunk_bytes, block_bytes)) = pieces {
                options.extend([format!("{chunk}={chunk_bytes}"), format!("{block}={block_bytes}")]);
            }
        }
        let class = class.into_iter().flat_map(|class| ["--driver".to_owned(), class.to_owned()]);
        class.chain(options.into_iter().flat_map(|option| ["--option".to_owned(), option])).collect()
    }

    fn real_backup(&self, root: &Path, wanted: &Wanted) -> Vec<String> {
        let path = wanted.write(&self.place);
        let mut question = self.driver(root, Some((wanted.compression, wanted.pieces)));
        let volume = path.to_str().unwrap();
        question.extend(words(&["backup", "--volume", volume, "--name", "täglich", "--description", "ein \"Wort\"\n"]));
        question.extend(words(&["--volume-id", wanted.volume_id, "--backup-id", wanted.backup_id]));
        if let Some(parent) = wanted.parent {
            question.extend(words(&["--parent", parent.backup_id()]));
        }
        question
    }

    fn our_backup(&self, root: &Path, wanted: &Wanted) -> Vec<String> {
        let path = wanted.write(&self.place);
        let mut arguments = words(&["cinder", "backup", path.to_str().unwrap()]);
        arguments.extend(self.our_options(root, wanted));
        arguments
    }

    /// What `cinder backup` and `cinder export` have in common.
    pub fn our_options(&self, root: &Path, wanted: &Wanted) -> Vec<String> {
        let layout = if self.kind() == Kind::Posix { "posix" } else { "swift" };
        let mut options = words(&["--container-root", root.to_str().unwrap(), "--layout", layout]);
        options.extend(words(&["--volume-id", wanted.volume_id, "--backup-id", wanted.backup_id]));
        options.extend(words(&["--compression", wanted.compression]));
        if let Some((chunk, block)) = wanted.pieces {
            options.extend(words(&["--chunk-size", &chunk.to_string(), "--sha-block-size", &block.to_string()]));
        }
        if let Some(parent) = wanted.parent {
            options.extend(words(&["--parent-container", parent.container(), "--parent-prefix", parent.prefix()]));
        }
        if let Some(like) = wanted.like {
            let metadata = like.metadata();
            for (option, member) in
                [("--name", "backup_name"), ("--description", "backup_description"), ("--created-at", "created_at")]
            {
                if let Some(value) = metadata[member].as_str() {
                    options.extend(words(&[option, value]));
                }
            }
            if let Some(meta) = metadata["volume_meta"].as_str() {
                let file = self.place.file("volume-meta", meta.as_bytes());
                options.extend(words(&["--volume-meta", file.to_str().unwrap()]));
            }
        }
        options
    }

    /// Our command with `--json`, which has to succeed.
    pub fn json(&self, arguments: &[String]) -> Value {
        self.place.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Our command, which has to fail; returns its line of error.
    pub fn fail(&self, arguments: &[String]) -> String {
        self.place.fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 1)
    }

    /// Makes a backup among the containers of `root`. The real driver knows it from then on.
    pub fn backup(&mut self, side: Side, root: &Path, wanted: &Wanted) -> Layer {
        match side {
            Side::Real => {
                let question = self.real_backup(root, wanted);
                let layer = Layer::new(root, self.oracle.ask(&question));
                self.dump(&layer);
                layer
            }
            Side::Ours => {
                let layer = Layer::new(root, self.json(&self.our_backup(root, wanted)));
                self.register(&layer);
                layer
            }
        }
    }

    /// A backup that has to be refused: our line of error, or Cinder's exception and message.
    pub fn refused_backup(&mut self, side: Side, root: &Path, wanted: &Wanted) -> String {
        match side {
            Side::Real => {
                let question = self.real_backup(root, wanted);
                let (class, message) = self.oracle.refusal(&question);
                format!("{class}: {message}")
            }
            Side::Ours => self.fail(&self.our_backup(root, wanted)),
        }
    }

    /// Tells the real driver of a backup that it did not write.
    pub fn register(&mut self, layer: &Layer) {
        if let Some(store) = &self.store {
            let root = layer.root.to_str().unwrap().to_owned();
            self.oracle.ask(&words(&["upload", store.endpoint(), layer.container(), &root]));
        }
        let mut question = self.driver(&layer.root, None);
        let size = layer.facts["size_gib"].to_string();
        question.extend(words(&["import", "--backup-id", layer.backup_id(), "--volume-id", layer.volume_id()]));
        question.extend(words(&["--container", layer.container(), "--prefix", layer.prefix(), "--size-gib", &size]));
        if let Some(parent) = layer.facts["parent_id"].as_str() {
            question.extend(words(&["--parent", parent]));
        }
        self.oracle.ask(&question);
    }

    /// Copies a backup's bucket, where it is in one, into the folder that it belongs to.
    fn dump(&mut self, layer: &Layer) {
        if let Some(store) = &self.store {
            let root = layer.root.to_str().unwrap().to_owned();
            self.oracle.ask(&words(&["dump", store.endpoint(), layer.container(), &root]));
        }
    }

    /// Makes the real driver forget all backups: their ids can be used again.
    pub fn forget(&mut self) {
        self.oracle.ask(&words(&["forget"]));
    }

    /// Restores the last of a chain, oldest first. Returns the first bytes, as many as `length`, and how long the target is.
    pub fn restore(&mut self, side: Side, chain: &[Layer], target: Target, length: usize) -> (Vec<u8>, u64) {
        let path = self.place.path("target");
        let _ = fs::remove_file(&path);
        if target == Target::Existing {
            fs::write(&path, noise(99, length + 100_000)).unwrap();
        }
        let last = chain.last().unwrap();
        match side {
            Side::Real => {
                let mut question = self.driver(&last.root, None);
                question.extend(words(&[
                    "restore",
                    "--backup-id",
                    last.backup_id(),
                    "--volume",
                    path.to_str().unwrap(),
                ]));
                question.extend((target == Target::Existing).then(|| "--existing".to_owned()));
                self.oracle.ask(&question);
            }
            Side::Ours => {
                self.json(&our_restore(chain, &path, target));
            }
        }
        let mut restored = Vec::new();
        let file = File::open(&path).unwrap();
        let long = file.metadata().unwrap().len();
        file.take(length as u64).read_to_end(&mut restored).unwrap();
        fs::remove_file(&path).unwrap();
        (restored, long)
    }

    /// Checks that both drivers restore the last of a chain as the last of its volumes, to new and existing targets.
    pub fn assert_restores(&mut self, sides: &[Side], chain: &[Layer], volumes: &[Vec<u8>]) {
        let expected = volume::restored(volumes);
        let volume = volumes.last().unwrap();
        for &side in sides {
            for target in TARGETS {
                let what = format!("{side:?} driver, {target:?} target, {} layers", chain.len());
                let (restored, long) = self.restore(side, chain, target, expected.len());
                assert!(restored.len() >= volume.len(), "{what}: {} of {} bytes", restored.len(), volume.len());
                let differ = restored.iter().zip(&expected).position(|(byte, expected)| byte != expected);
                assert_eq!(differ, None, "{what}: first byte that differs, of {}", expected.len());
                if side == Side::Real || target == Target::Existing {
                    assert_eq!(restored.len(), expected.len(), "{what}");
                }
                if target == Target::Existing {
                    assert_eq!(long, (expected.len() + 100_000) as u64, "{what}: the target's length changed");
                }
            }
        }
    }

    /// Checks each data object of a backup, decompressed by Python's modules, against the volume.
    pub fn assert_objects_hold(&mut self, layer: &Layer, volume: &[u8]) {
        let into = self.place.path("unpacked");
        let (folder, prefix) = (layer.folder(), layer.prefix());
        let question = words(&["unpack", folder.to_str().unwrap(), prefix, into.to_str().unwrap()]);
        self.oracle.ask(&question);
        for (rest, fields) in layer.objects() {
            let name = format!("{prefix}{rest}");
            let data = fs::read(into.join(name.rsplit('/').next().unwrap())).unwrap();
            let offset = fields["offset"].as_u64().unwrap() as usize;
            assert_eq!(fields["length"].as_u64().unwrap(), data.len() as u64, "{name}");
            assert!(volume.get(offset..offset + data.len()) == Some(&data), "{name} holds other bytes");
        }
        fs::remove_dir_all(into).unwrap();
    }

    /// Deletes a backup.
    pub fn delete(&mut self, side: Side, layer: &Layer) {
        match side {
            Side::Real => {
                let mut question = self.driver(&layer.root, None);
                question.extend(words(&["delete", "--backup-id", layer.backup_id()]));
                self.oracle.ask(&question);
            }
            Side::Ours => {
                let root = layer.root.to_str().unwrap();
                let which = ["--container", layer.container(), "--prefix", layer.prefix()];
                self.json(&words(&[&["cinder", "delete", "--container-root", root], &which[..]].concat()));
            }
        }
    }

    /// A folder with what is in a bucket now.
    pub fn bucket(&mut self, bucket: &str, name: &str) -> PathBuf {
        let root = self.root(name);
        let endpoint = self.store.as_ref().unwrap().endpoint().to_owned();
        self.oracle.ask(&words(&["dump", &endpoint, bucket, root.to_str().unwrap()]));
        root
    }
}

/// Our `cinder restore` of the last of a chain, oldest first.
pub fn our_restore(chain: &[Layer], path: &Path, target: Target) -> Vec<String> {
    let root = chain[0].root.to_str().unwrap();
    let mut arguments = words(&["cinder", "restore", path.to_str().unwrap(), "--container-root", root]);
    for layer in chain {
        arguments.extend(words(&["--layer", &layer.spelled()]));
    }
    arguments.extend((target == Target::Existing).then(|| "--existing".to_owned()));
    arguments
}
