//! [`Layer`]: one backup of a chain, as its metadata describe it.

use std::collections::BTreeSet;

use cinderblock_store::MAX_VOLUME_BYTES;

use crate::backup::Backup;
use crate::compression::{Algorithm, Compression};
use crate::document::{Metadata, ObjectEntry, read_metadata};
use crate::driver::restore_version;
use crate::error::Error;
use crate::layout::{ObjectKind, ObjectPrefix};
use crate::storage::ChunkedStorage;

/// Memory that is reckoned for an object, in bytes: a [`LayerObject`] of 48, and what planning and carrying out its restore adds.
const OBJECT_BYTES: u64 = 256;

/// Names of objects that a message lists before it says how many more there are.
const NAMES_SHOWN: usize = 10;

/// A data object of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerObject {
    /// Its number, which its name ends in.
    pub number: u64,
    /// First byte of the volume that it holds.
    pub offset: u64,
    /// How many bytes of the volume it holds; at least 1.
    pub length: u64,
    /// MD5 of these bytes.
    pub md5: [u8; 16],
    /// How it is compressed.
    pub algorithm: Algorithm,
}

impl LayerObject {
    /// The first byte behind it.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// One backup of a chain: what its metadata say, checked.
///
/// Its objects ascend, by number and by place, and don't overlap; they end within the largest volume that there can be, 16 TiB.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Container of its objects.
    pub container: String,
    /// What their names begin with.
    pub prefix: ObjectPrefix,
    /// The metadata but for the objects.
    pub metadata: Metadata,
    /// The data objects.
    pub objects: Vec<LayerObject>,
}

/// What is under a layer's prefix besides what should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// Objects that the metadata name and the container does not have, at most 10,000.
    pub missing: Vec<String>,
    /// Objects that the metadata don't name, at most 10,000.
    pub stray: Vec<String>,
    /// Whether there is a `_sha256file`.
    pub has_sha256file: bool,
}

impl Layer {
    /// Reads and checks the metadata under a prefix. `memory_bytes` bounds what its objects take.
    ///
    /// # Errors
    /// [`Error::BadDocument`] where it is not what Cinder writes; [`Error::InvalidBackup`] for an unknown version;
    /// [`Error::UnsupportedCompression`]; [`Error::NotEnoughMemory`]; or what the storage says.
    pub fn read(
        storage: &dyn ChunkedStorage,
        container: &str,
        prefix: ObjectPrefix,
        memory_bytes: usize,
    ) -> Result<Self, Error> {
        let name = prefix.metadata();
        let reader = storage.get_object_reader(container, &name, None).map_err(|error| match error {
            Error::Backend(error) if error.is_not_found() => Error::InvalidBackup {
                reason: format!(
                    "there is no {container}/{name}: no backup of that prefix, or one that was never finished"
                ),
            },
            error => error,
        })?;
        Self::parse(container, prefix, reader, memory_bytes)
    }

    /// The same from any reader.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn parse(
        container: &str,
        prefix: ObjectPrefix,
        reader: impl std::io::Read,
        memory_bytes: usize,
    ) -> Result<Self, Error> {
        let name = prefix.metadata();
        let mut objects: Vec<LayerObject> = Vec::new();
        let metadata = read_metadata(&name, reader, &mut |entry| {
            let needed = (objects.len() as u64 + 1).saturating_mul(OBJECT_BYTES);
            if needed > memory_bytes as u64 {
                let what = format!("the list of objects in {name}");
                return Err(Error::NotEnoughMemory { what, needed, limit: memory_bytes as u64 });
            }
            objects.push(object(&name, &prefix, objects.last(), &entry)?);
            Ok(())
        })?;
        restore_version(&metadata.head.version)?;
        Ok(Self { container: container.to_owned(), prefix, metadata, objects })
    }

    /// Name of an object.
    pub fn name(&self, object: &LayerObject) -> String {
        self.prefix.data(object.number)
    }

    /// The first byte behind its last object.
    pub fn end(&self) -> u64 {
        self.objects.last().map_or(0, LayerObject::end)
    }

    /// About the memory that its objects take, planning a restore included, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.objects.len() * OBJECT_BYTES as usize
    }

    /// As a row of Cinder's database.
    pub fn backup(&self) -> Backup {
        let head = &self.metadata.head;
        Backup {
            id: head.backup_id.clone(),
            volume_id: head.volume_id.clone(),
            parent_id: self.metadata.parent_id.clone(),
            container: Some(self.container.clone()),
            service_metadata: Some(self.prefix.as_str().to_owned()),
            size_gib: 0,
            object_count: self.objects.len() as u64,
            display_name: head.backup_name.clone(),
            display_description: head.backup_description.clone(),
            created_at: head.created_at.clone(),
        }
    }

    /// Compares what the container has under the prefix with what the metadata name.
    ///
    /// # Errors
    /// What the storage says.
    pub fn list(&self, storage: &dyn ChunkedStorage) -> Result<Listing, Error> {
        const MOST: usize = 10_000;
        let mut listing = Listing::default();
        let mut found = vec![false; self.objects.len()];
        let mut stray = BTreeSet::new();
        storage.get_container_entries(&self.container, self.prefix.as_str(), &mut |name| {
            match self.prefix.kind(name) {
                ObjectKind::Metadata => {}
                ObjectKind::Sha256File => listing.has_sha256file = true,
                ObjectKind::Data(number) if self.mark(number, &mut found) => {}
                _ if stray.len() < MOST => drop(stray.insert(name.to_owned())),
                _ => {}
            }
            Ok(())
        })?;
        let missing = self.objects.iter().zip(found).filter(|(_, found)| !found);
        listing.missing = missing.map(|(object, _)| self.name(object)).take(MOST).collect();
        listing.stray = stray.into_iter().collect();
        Ok(listing)
    }

    fn mark(&self, number: u64, found: &mut [bool]) -> bool {
        let at = self.objects.binary_search_by_key(&number, |object| object.number);
        match at.ok().and_then(|at| found.get_mut(at)) {
            Some(found) => {
                *found = true;
                true
            }
            None => false,
        }
    }

    /// Refuses, as Cinder does, a container whose objects are not exactly those that the metadata name.
    ///
    /// # Errors
    /// [`Error::InvalidBackup`], which names what is missing or should not be there; or what the storage says.
    pub fn check_listing(&self, storage: &dyn ChunkedStorage) -> Result<(), Error> {
        let listing = self.list(storage)?;
        let mut wrong = Vec::new();
        for (names, what) in [(&listing.missing, "missing"), (&listing.stray, "not of this backup")] {
            if !names.is_empty() {
                let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
                let more = names.len().saturating_sub(NAMES_SHOWN);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                wrong.push(format!("{what}: {}{more}", shown.join(", ")));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::InvalidBackup {
            reason: format!(
                "restore_backup aborted, actual object list does not match object list stored in metadata; in container {} are {}",
                self.container,
                wrong.join("; ")
            ),
        })
    }
}

/// Checks an entry of the metadata; `before` is the one before it.
fn object(
    document: &str,
    prefix: &ObjectPrefix,
    before: Option<&LayerObject>,
    entry: &ObjectEntry,
) -> Result<LayerObject, Error> {
    let bad = |reason: String| Err(Error::BadDocument { object: document.to_owned(), reason });
    let ObjectEntry { name, compression, length, md5, offset } = entry;
    let ObjectKind::Data(number) = prefix.kind(name) else {
        return bad(format!("it names an object {name:?}, which is not one of this backup's data objects"));
    };
    let algorithm = compression.parse::<Compression>()?.algorithm();
    let object = LayerObject { number, offset: *offset, length: *length, md5: *md5, algorithm };
    if *length == 0 {
        return bad(format!("the object {name} has no bytes"));
    }
    if offset.checked_add(*length).is_none_or(|end| end > MAX_VOLUME_BYTES) {
        return bad(format!("the object {name} lies beyond byte {MAX_VOLUME_BYTES}, where no volume reaches"));
    }
    if let Some(before) = before {
        if before.number >= number {
            return bad(format!("the object {name} does not follow number {}", before.number));
        }
        if before.end() > *offset {
            return bad(format!("the object {name} begins at byte {offset}, before number {} ends", before.number));
        }
    }
    Ok(object)
}
