//! Inspecting a backup: what is there, whether it is whole, and what is damaged.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::backup::Backup;
use crate::blocks::Blocks;
use crate::crew::Crew;
use crate::document::{BlockHash, Sha256File};
use crate::driver::{ChunkedBackupDriver, GIB};
use crate::error::Error;
use crate::hashes::{self, HashStream};
use crate::layer::{Layer, LayerObject};
use crate::layout::{ObjectKind, ObjectPrefix};
use crate::read::{PIECE_BYTES, Reader, Sink, Task, lanes};
use crate::storage::ChunkedStorage;

/// Damaged parts that are told at most.
const MAX_DAMAGED: usize = 10_000;

/// Objects whose sizes are asked for before any is looked at.
const SIZES_AT_ONCE: usize = 1024;

/// A part of a backup that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPart {
    /// The object.
    pub object: String,
    /// First byte of the volume that is affected; none where it is not the data.
    pub offset: Option<u64>,
    /// How many bytes of the volume are; none where it is not the data.
    pub length: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

/// What is under a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// As a row of Cinder's database, as far as its metadata tell.
    pub backup: Backup,
    /// Version of the format; none where the metadata could not be read.
    pub version: Option<String>,
    /// Size of the volume in bytes, as far as the list of hashes tells: its last block may be shorter. For a full backup, what its
    /// objects cover.
    pub volume_bytes: u64,
    /// Bytes of a hash block; none where the list of hashes could not be read.
    pub sha_block_size_bytes: Option<u64>,
    /// Number of hashes.
    pub hashes: u64,
    /// Bytes of the data objects before compression.
    pub data_bytes: u64,
    /// Bytes of the data objects as they are stored.
    pub stored_bytes: u64,
    /// Data objects for each name of a compression, by name.
    pub compression: Vec<(String, u64)>,
    /// Objects that are missing.
    pub missing: Vec<String>,
    /// Objects under the prefix that are not the backup's.
    pub stray: Vec<String>,
    /// What is damaged, at most 10,000 parts.
    pub damaged: Vec<DamagedPart>,
    /// Whether every byte was read and checked.
    pub data_was_read: bool,
}

impl Inspection {
    /// Whether nothing is missing, damaged, or there too much.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.stray.is_empty() && self.damaged.is_empty()
    }

    /// Whether not one object of such a backup was found.
    pub fn is_nothing(&self) -> bool {
        let described = self.version.is_some() || self.sha_block_size_bytes.is_some();
        !described && self.stored_bytes == 0 && self.stray.is_empty() && self.damaged.is_empty()
    }

    fn damage(&mut self, object: impl Into<String>, error: &Error) {
        if self.damaged.len() >= MAX_DAMAGED {
            return;
        }
        let part = match error {
            Error::DamagedObject { offset, length, reason, .. } => DamagedPart {
                object: object.into(),
                offset: Some(*offset),
                length: Some(*length),
                reason: reason.clone(),
            },
            Error::MissingObject { offset, length, .. } => DamagedPart {
                object: object.into(),
                offset: Some(*offset),
                length: Some(*length),
                reason: "it is missing".to_owned(),
            },
            error => DamagedPart { object: object.into(), offset: None, length: None, reason: error.to_string() },
        };
        self.damaged.push(part);
    }
}

/// Whether an error says something about the backup, rather than that looking at it failed.
fn is_finding(error: &Error) -> bool {
    matches!(
        error,
        Error::BadDocument { .. }
            | Error::DamagedObject { .. }
            | Error::MissingObject { .. }
            | Error::InvalidBackup { .. }
            | Error::UnsupportedCompression { .. }
    ) || matches!(error, Error::Backend(error) if error.is_not_found())
}

impl<S: ChunkedStorage> ChunkedBackupDriver<S> {
    /// Looks at what is under a prefix: whether metadata and hashes can be read and agree, whether every object is there and
    /// no other. With `read_data`, every object is read and checked against its length and MD5, and its blocks against the list of
    /// hashes.
    ///
    /// # Errors
    /// What the storage says, or a request to stop. What is wrong with the backup is in the result.
    pub fn inspect(&self, container: &str, prefix: &str, read_data: bool) -> Result<Inspection, Error> {
        let mut found = Inspection { data_was_read: read_data, ..Inspection::default() };
        let prefix = ObjectPrefix::new(prefix)?;
        found.backup.container = Some(container.to_owned());
        found.backup.service_metadata = Some(prefix.as_str().to_owned());
        match self.storage().object_size(container, &prefix.metadata()) {
            Err(Error::Backend(error)) if error.is_not_found() => {
                found.missing.push(prefix.metadata());
                self.list_without_metadata(container, &prefix, &mut found)?;
                return Ok(found);
            }
            size => size?,
        };
        let layer = match self.layer(container, prefix.as_str()) {
            Ok(layer) => layer,
            Err(error) if is_finding(&error) => {
                found.damage(prefix.metadata(), &error);
                self.list_without_metadata(container, &prefix, &mut found)?;
                return Ok(found);
            }
            Err(error) => return Err(error),
        };
        found.backup = layer.backup();
        found.version = Some(layer.metadata.head.version.clone());
        found.volume_bytes = layer.end();
        found.data_bytes = layer.objects.iter().map(|object| object.length).sum();
        let listing = layer.list(self.storage())?;
        found.missing = listing.missing;
        found.stray = listing.stray;
        if !listing.has_sha256file {
            found.missing.push(prefix.sha256file());
        }
        self.examine_objects(&layer, &mut found)?;
        let list = match hashes::check(self.storage(), container, &prefix.sha256file()) {
            Ok(list) => Some(list),
            Err(error) if is_finding(&error) => {
                if listing.has_sha256file {
                    found.damage(prefix.sha256file(), &error);
                }
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(list) = &list {
            check_list(&layer, list, &mut found);
        }
        found.backup.size_gib = found.volume_bytes.div_ceil(GIB).max(1);
        if read_data {
            self.read_data(&layer, list.as_ref(), &mut found)?;
        }
        Ok(found)
    }

    fn list_without_metadata(
        &self,
        container: &str,
        prefix: &ObjectPrefix,
        found: &mut Inspection,
    ) -> Result<(), Error> {
        self.storage().get_container_entries(container, prefix.as_str(), &mut |name| {
            match prefix.kind(name) {
                ObjectKind::Data(_) => found.backup.object_count += 1,
                ObjectKind::Metadata | ObjectKind::Sha256File => {}
                ObjectKind::Stray if found.stray.len() < MAX_DAMAGED => found.stray.push(name.to_owned()),
                ObjectKind::Stray => {}
            }
            Ok(())
        })?;
        found.stray.sort_unstable();
        Ok(())
    }

    /// Adds up what is stored. An object that is not compressed has to be as long as its data.
    fn examine_objects(&self, layer: &Layer, found: &mut Inspection) -> Result<(), Error> {
        let mut by_algorithm = std::collections::BTreeMap::new();
        let missing: std::collections::HashSet<String> = found.missing.iter().cloned().collect();
        let storage = self.storage();
        let size_of = |object: &LayerObject| storage.object_size(&layer.container, &layer.name(object));
        // Where each asks over a network, many ask at once.
        let sizes = layer.objects.chunks(SIZES_AT_ONCE).flat_map(|objects| {
            let sizes: Vec<_> = self.pool().install(|| objects.par_iter().map(&size_of).collect());
            objects.iter().zip(sizes)
        });
        for (object, size) in sizes {
            let name = layer.name(object);
            let stored = match size {
                Ok(bytes) => bytes,
                Err(Error::Backend(error)) if error.is_not_found() => {
                    // Listed, and deleted meanwhile, say.
                    if found.missing.len() < MAX_DAMAGED && !missing.contains(&name) {
                        found.missing.push(name);
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            found.stored_bytes += stored;
            *by_algorithm.entry(object.algorithm.to_string()).or_insert(0) += 1;
            if object.algorithm == crate::compression::Algorithm::None
                && stored != object.length
                && !found.data_was_read
            {
                let task = Task { place: 0, layer, object, ranges: &[] };
                found.damage(name, &task.damaged(format!("it has {stored} bytes")));
            }
        }
        found.compression = by_algorithm.into_iter().collect();
        Ok(())
    }

    fn read_data(&self, layer: &Layer, list: Option<&Sha256File>, found: &mut Inspection) -> Result<(), Error> {
        let progress = &self.context().control.progress;
        progress.total_bytes.fetch_add(found.data_bytes, Ordering::Relaxed);
        let crew = Crew::new(self.context().control.cancel.clone());
        let reader = Reader { storage: self.storage(), crew: &crew, piece_bytes: PIECE_BYTES };
        let settings = self.context().settings;
        let (lanes, groups) = lanes(settings.memory_bytes, settings.threads);
        std::thread::scope(|threads| {
            let mut hashes = list.map(|list| {
                let stream = HashStream::start(threads, self.storage(), &layer.container, layer.prefix.sha256file());
                (stream, Blocks::new(list.chunk_size), 0)
            });
            // A batch is read on all threads; then the next one's hashes are taken from the list.
            for batch in layer.objects.chunks(lanes * groups as usize) {
                crew.check()?;
                let checks = match &mut hashes {
                    Some((stream, blocks, at)) => take_hashes(stream, blocks, at, batch)?,
                    None => batch.iter().map(|_| BlockCheck::default()).collect(),
                };
                let whole: Vec<Range<u64>> = batch.iter().map(|object| object.offset..object.end()).collect();
                let parts = batch.iter().zip(&whole).enumerate();
                let tasks: Vec<Task<'_>> = parts
                    .map(|(place, (object, range))| Task { place, layer, object, ranges: std::slice::from_ref(range) })
                    .collect();
                let sink = BlockChecks(&checks);
                let per_group = tasks.len().div_ceil(groups as usize).max(1);
                let outcomes: Result<Vec<_>, Error> = self.pool().install(|| {
                    use rayon::prelude::*;
                    tasks.par_chunks(per_group).map(|tasks| reader.read(tasks, &sink)).collect()
                });
                for (outcome, task) in outcomes?.into_iter().flatten().zip(&tasks) {
                    match outcome {
                        Ok(()) => {}
                        // It is among the missing ones already.
                        Err(Error::MissingObject { .. }) => {}
                        Err(error) if is_finding(&error) => found.damage(layer.name(task.object), &error),
                        Err(error) => return Err(error),
                    }
                    progress.done_bytes.fetch_add(task.object.length, Ordering::Relaxed);
                }
            }
            Ok(())
        })
    }
}

/// Compares what the list of hashes says with the metadata.
fn check_list(layer: &Layer, list: &Sha256File, found: &mut Inspection) {
    found.sha_block_size_bytes = Some(list.chunk_size);
    found.hashes = list.hashes;
    let head = &layer.metadata.head;
    let object = layer.prefix.sha256file();
    let mut disagree = |reason: String| {
        found.damaged.push(DamagedPart { object: object.clone(), offset: None, length: None, reason });
    };
    if (&list.head.backup_id, &list.head.volume_id) != (&head.backup_id, &head.volume_id) {
        disagree(format!("it is of backup {} of volume {}", list.head.backup_id, list.head.volume_id));
    }
    if list.head.version != head.version {
        disagree(format!("its version is {}, that of the metadata {}", list.head.version, head.version));
    }
    let covered = list.hashes.saturating_mul(list.chunk_size);
    if covered < layer.end() {
        disagree(format!(
            "its {} hashes are of {covered} bytes, and there are data up to byte {}",
            list.hashes,
            layer.end()
        ));
    }
    if layer.metadata.parent_id.is_none() {
        if layer.end().div_ceil(list.chunk_size) < list.hashes {
            disagree(format!("its {} hashes are of more than the {} bytes of data", list.hashes, layer.end()));
        }
    } else {
        found.volume_bytes = found.volume_bytes.max(covered);
    }
}

/// The hashes that an object's blocks should have.
#[derive(Debug, Default)]
struct BlockCheck {
    blocks: Option<Blocks>,
    expected: Vec<BlockHash>,
    state: Mutex<Checked>,
}

/// How far an object's blocks were checked. A block may be longer than memory.
#[derive(Debug, Default)]
struct Checked {
    /// Blocks that are done.
    blocks: usize,
    /// The hash of the one that is not, so far, and how many bytes of it there were.
    hasher: Sha256,
    bytes: u64,
}

impl Checked {
    /// Takes a part of a block, and gives its hash where it ends with it.
    fn take(&mut self, part: &[u8], blocks: &Blocks, is_end: bool) -> Option<BlockHash> {
        let length = self.bytes + part.len() as u64;
        if length < blocks.bytes() && !is_end {
            self.hasher.update(part);
            self.bytes = length;
            return None;
        }
        if self.bytes == 0 {
            return Some(blocks.hash(part));
        }
        self.hasher.update(part);
        self.bytes = 0;
        Some(self.hasher.finalize_reset().into())
    }
}

/// Takes the hashes of the objects' blocks from the list, which goes on from block `at`. Objects that are not on the grid of
/// blocks, which Cinder does not write, are left out.
fn take_hashes(
    stream: &mut HashStream<'_>,
    blocks: &Blocks,
    at: &mut u64,
    objects: &[LayerObject],
) -> Result<Vec<BlockCheck>, Error> {
    let mut checks = Vec::with_capacity(objects.len());
    for object in objects {
        let first = object.offset / blocks.bytes();
        if !object.offset.is_multiple_of(blocks.bytes()) || first < *at {
            checks.push(BlockCheck::default());
            continue;
        }
        stream.skip(first - *at)?;
        let count = blocks.count(object.length);
        let mut expected = Vec::new();
        stream.take(usize::try_from(count).unwrap_or(usize::MAX), &mut expected)?;
        *at = first + expected.len() as u64;
        checks.push(BlockCheck { blocks: Some(blocks.clone()), expected, state: Mutex::default() });
    }
    Ok(checks)
}

/// Compares the blocks of a batch of objects with what the list says.
struct BlockChecks<'a>(&'a [BlockCheck]);

impl Sink for BlockChecks<'_> {
    fn take(&self, task: &Task<'_>, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let check = self.0.get(task.place).and_then(|check| Some((check, check.blocks.as_ref()?)));
        let Some((check, blocks)) = check else { return Ok(()) };
        let mut state = check.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = offset + bytes.len() as u64 == task.object.end();
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let missing = usize::try_from(blocks.bytes() - state.bytes).unwrap_or(usize::MAX);
            let (part, after) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            bytes = after;
            let Some(hash) = state.take(part, blocks, ends && after.is_empty()) else { return Ok(()) };
            if check.expected.get(state.blocks) != Some(&hash) {
                let at = task.object.offset + state.blocks as u64 * blocks.bytes();
                let reason =
                    format!("the block at byte {at} of the volume has another SHA-256 than the list of hashes states");
                return Err(task.damaged(reason));
            }
            state.blocks += 1;
        }
        Ok(())
    }
}
