//! [`Ledger`]: puts what workers did, in whatever order, into the documents in the order of the volume.

use std::collections::BTreeMap;
use std::io::{self, BufWriter};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::group::Done;
use super::own::Own;
use super::sink::failed;
use crate::compression::Compression;
use crate::document::BlockHash;
use crate::document::{ExtraMetadata, Head, MetadataWriter, ObjectEntry, Sha256FileWriter};
use crate::error::Error;
use crate::layout::ObjectPrefix;
use crate::storage::ObjectWriter;

/// Bytes that are collected before they are written to a document.
const BUFFER_BYTES: usize = 256 << 10;

type Document<'a> = BufWriter<Box<dyn ObjectWriter + 'a>>;

/// Both documents, growing as objects are done. Neither is visible before the end.
pub(super) struct Ledger<'a> {
    prefix: ObjectPrefix,
    compression: Compression,
    /// Objects that may be done ahead of the first one that is not.
    window: u64,
    state: Mutex<State<'a>>,
    moved: Condvar,
}

struct State<'a> {
    /// Number of the object that the metadata wait for.
    next: u64,
    early: BTreeMap<u64, Done>,
    metadata: MetadataWriter<Document<'a>>,
    hashes: Sha256FileWriter<Document<'a>>,
    stored_bytes: u64,
    stopped: bool,
}

/// What the ledger counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Data objects.
    pub objects: u64,
    /// Their bytes as they are stored.
    pub stored_bytes: u64,
}

impl<'a> Ledger<'a> {
    /// Begins both documents.
    pub(super) fn new(
        prefix: ObjectPrefix,
        compression: Compression,
        window: u64,
        (head, chunk_size): (&Head, u64),
        extra_metadata: Option<&ExtraMetadata>,
        [metadata, hashes]: [Box<dyn ObjectWriter + 'a>; 2],
    ) -> Result<Self, Error> {
        let document = |writer| BufWriter::with_capacity(BUFFER_BYTES, writer);
        let metadata = MetadataWriter::new(document(metadata), head, extra_metadata)
            .map_err(|error| failed(&prefix.metadata(), error))?;
        let hashes = Sha256FileWriter::new(document(hashes), head, chunk_size)
            .map_err(|error| failed(&prefix.sha256file(), error))?;
        let state = State { next: 1, early: BTreeMap::new(), metadata, hashes, stored_bytes: 0, stopped: false };
        Ok(Self { prefix, compression, window, state: Mutex::new(state), moved: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an object that is stored; returns how many there are up to the first that is not.
    pub(super) fn take(&self, done: Done) -> Result<u64, Error> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.early.insert(done.number, done);
        while let Some(done) = state.early.remove(&state.next) {
            state.next += 1;
            state.stored_bytes += done.stored_bytes;
            let compression = if done.compressed { self.compression } else { Compression::NONE };
            let entry = ObjectEntry {
                name: self.prefix.data(done.number),
                compression: compression.alias().to_owned(),
                length: done.length,
                md5: done.md5,
                offset: done.offset,
            };
            state.metadata.push(&entry).map_err(|error| failed(&self.prefix.metadata(), error))?;
            let pushed = state.hashes.push_all(&done.hashes);
            pushed.map_err(|error| failed(&self.prefix.sha256file(), error))?;
        }
        let objects = state.next - 1;
        drop(guard);
        self.moved.notify_all();
        Ok(objects)
    }

    /// Takes hashes that belong to no object of this backup.
    pub(super) fn push_hashes(&self, hashes: &[BlockHash]) -> Result<(), Error> {
        let pushed = self.state().hashes.push_all(hashes);
        pushed.map_err(|error| failed(&self.prefix.sha256file(), error))
    }

    /// Waits until object `number` is not too far ahead of the first one that is not done: that bounds what is kept.
    pub(super) fn wait_for_turn(&self, number: u64) {
        let mut state = self.state();
        while !state.stopped && number >= state.next.saturating_add(self.window) {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether object `number` is not too far ahead of the first one that is not done.
    pub(super) fn is_its_turn(&self, number: u64) -> bool {
        number < self.state().next.saturating_add(self.window)
    }

    /// Nobody has to wait any more: the backup has failed.
    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.moved.notify_all();
    }

    /// Makes both documents visible, the hashes first, as Cinder does: with its metadata, a backup is whole.
    pub(super) fn finish(self, own: &Own, parent_id: Option<&str>, volume_meta: Option<&str>) -> Result<Totals, Error> {
        let Self { prefix, state, .. } = self;
        let State { next, metadata, hashes, stored_bytes, .. } =
            state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let hashes = hashes.finish().and_then(whole).map_err(|error| failed(&prefix.sha256file(), error))?;
        own.document(&prefix.sha256file(), || Ok(hashes.finish()?))?;
        let metadata = metadata.finish(parent_id, volume_meta).and_then(whole);
        let metadata = metadata.map_err(|error| failed(&prefix.metadata(), error))?;
        own.document(&prefix.metadata(), || Ok(metadata.finish()?))?;
        Ok(Totals { objects: next - 1, stored_bytes })
    }
}

fn whole(document: Document<'_>) -> io::Result<Box<dyn ObjectWriter + '_>> {
    document.into_inner().map_err(io::IntoInnerError::into_error)
}
