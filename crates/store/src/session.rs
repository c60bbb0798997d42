//! A writer at work: it announces itself, stores packs, writes index segments, and commits a record.
//!
//! The order is invariant I1: packs, then the segment that names them, then the record, each durable before the next.
//! A crash at any point leaves objects that nothing refers to, and no backup.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bincode::{Decode, Encode};
use cinderblock_backend::Backend;

use crate::codec;
use crate::error::Error;
use crate::id::{PackId, SessionId};
use crate::layout;
use crate::listing;
use crate::object::{Header, Kind, put_envelope};
use crate::pack::{Content, FinishedPack, PackBuilder};
use crate::record::Record;
use crate::repository::Repository;
use crate::segment::{self, PackSummary, SEGMENT_MAX_PACKS, SEGMENT_TARGET_BYTES};
use crate::time::Timestamp;

/// Longest text about what a session does.
const MAX_ACTIVITY_CHARACTERS: usize = 1000;

/// What a session says about itself, for people.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Announcement {
    /// Version of the protocol between writers and collectors that the writer keeps to. 0: it knows no collector, so
    /// a collector has to wait for it to end.
    protocol: u32,
    /// Number of the renewal: the one in the object's name.
    number: u32,
    host: String,
    process: u32,
    started_at: i64,
    activity: String,
    /// Collections that it has seen.
    seen: Vec<[u8; 16]>,
}

#[derive(Debug, Default)]
struct Pending {
    packs: Vec<PackSummary>,
    bytes: usize,
}

/// A session of writing. Its methods may be called from several threads. Dropped without a commit, it leaves no backup.
#[derive(Debug)]
pub struct Session<'r> {
    repository: &'r Repository,
    id: SessionId,
    /// Packs that are stored but in no segment yet.
    pending: Mutex<Pending>,
    stored_bytes: AtomicU64,
    left: AtomicBool,
}

impl Repository {
    /// Announces a writer. `activity` says for people what it does, such as `backup of vm-1`.
    ///
    /// # Errors
    /// What the storage says.
    pub fn start_session(&self, activity: &str) -> Result<Session<'_>, Error> {
        let id = SessionId::random()?;
        let announcement = Announcement {
            protocol: 0,
            number: 1,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            started_at: Timestamp::now().microseconds(),
            activity: activity.chars().take(MAX_ACTIVITY_CHARACTERS).collect(),
            seen: Vec::new(),
        };
        let header = Header { kind: Kind::Session, repository: self.id(), id: *id.as_bytes(), session: id };
        let body = codec::encode("a session", &announcement)?;
        put_envelope(&*self.backend, &layout::session(id, 1)?, &header, &body)?;
        let session = Session {
            repository: self,
            id,
            pending: Mutex::default(),
            stored_bytes: AtomicU64::new(0),
            left: AtomicBool::new(false),
        };
        // In this order: a collection that begins after the look sees the announcement.
        refuse_beside_collector(&*self.backend)?;
        Ok(session)
    }
}

/// This version knows no collector. Beside one of a newer program it must not write: it could refer to packs that are
/// about to be deleted.
pub(crate) fn refuse_beside_collector(backend: &dyn Backend) -> Result<(), Error> {
    match listing::any(backend, layout::COLLECTIONS)? {
        None => Ok(()),
        Some(object) => Err(Error::Unsupported {
            object: object.to_string(),
            reason: "a newer cinderblock is collecting garbage: wait until it has ended, or use the newer one"
                .to_owned(),
        }),
    }
}

impl Session<'_> {
    /// Its identity.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Bytes that it has added to the repository so far: whole packs and segments.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes.load(Ordering::Relaxed)
    }

    /// A builder of packs of this session.
    pub fn pack_builder(&self, content: Content) -> PackBuilder {
        PackBuilder::new(self.repository.id(), self.id, content)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a pack: durable when this returns. Once enough have come together, the segment that names them is
    /// written as well; then this returns true, and the index finds what is in it.
    ///
    /// # Errors
    /// What the storage says.
    pub fn store_pack(&self, pack: &FinishedPack) -> Result<bool, Error> {
        self.repository.backend.put(&layout::pack(pack.id())?, &pack.parts())?;
        self.stored_bytes.fetch_add(pack.object_bytes(), Ordering::Relaxed);
        let summary = PackSummary::of_finished(pack);
        let full = {
            let mut pending = self.pending();
            pending.bytes += summary.encoded_bytes();
            pending.packs.push(summary);
            (pending.bytes >= SEGMENT_TARGET_BYTES || pending.packs.len() >= SEGMENT_MAX_PACKS)
                .then(|| std::mem::take(&mut *pending))
        };
        match full {
            Some(full) => self.write_segment(full).map(|()| true),
            None => Ok(false),
        }
    }

    fn write_segment(&self, pending: Pending) -> Result<(), Error> {
        if pending.packs.is_empty() {
            return Ok(());
        }
        match segment::write(&*self.repository.backend, self.repository.id(), self.id, &pending.packs) {
            Ok((_, bytes)) => {
                self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.repository.forget_index();
                Ok(())
            }
            Err(error) => {
                // Not forgotten: a record must not be committed before a segment names its packs.
                let mut kept = self.pending();
                kept.bytes += pending.bytes;
                kept.packs.extend(pending.packs);
                Err(error)
            }
        }
    }

    /// Writes the segment of the packs that are in none yet. Without it, another writer could not find them; a rebuild of
    /// the index would.
    ///
    /// # Errors
    /// What the storage says.
    pub fn flush(&self) -> Result<(), Error> {
        let pending = std::mem::take(&mut *self.pending());
        self.write_segment(pending)
    }

    /// Commits a backup: when this returns the backup exists, and not before. The record's session and chunk size are
    /// set to what they are.
    ///
    /// # Errors
    /// [`Error::BackupExists`] where the volume has a backup with this id; what the storage says.
    pub fn commit(self, record: &mut Record) -> Result<(), Error> {
        self.flush()?;
        record.session = self.id;
        record.chunk_bytes = self.repository.descriptor().chunk_size.bytes();
        record.statistics.stored_bytes = self.stored_bytes();
        match record.write(&*self.repository.backend, self.repository.id()) {
            Err(Error::Backend(cinderblock_backend::Error::AlreadyExists { .. })) => {
                // Storage that tries again by itself may say so of the record that it has just stored.
                let there = self.repository.record(&record.volume, record.id);
                if !there.is_ok_and(|there| there.session == self.id) {
                    return Err(Error::BackupExists { id: record.id, volume: record.volume.clone() });
                }
            }
            other => drop(other?),
        }
        self.leave();
        Ok(())
    }

    fn leave(&self) {
        if self.left.swap(true, Ordering::Relaxed) {
            return;
        }
        // What can't be removed is harmless: a session that ended long ago is collected as a crashed one is.
        if let Ok(name) = layout::session(self.id, 1) {
            let _ = self.repository.backend.delete(&name);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // A session that ends early still names its packs: a later backup finds their chunks.
        let _ = self.flush();
        self.leave();
    }
}

/// Adds ids to a list of hints, each once.
pub fn merge_hints(hints: &mut Vec<PackId>, more: impl IntoIterator<Item = PackId>) {
    hints.extend(more);
    hints.sort_unstable();
    hints.dedup();
}
