//! [`Pending`]: packs that are stored, and that no segment names yet. [`Named`]: chunks that one names, and that the index of this process does not know yet.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::Session;
use crate::error::Error;
use crate::id::ChunkId;
use crate::segment::{self, PackSummary, SEGMENT_MAX_PACKS, SEGMENT_TARGET_BYTES};
use crate::time::Timestamp;

/// After so long, a session's first segment names what is stored, however little: on a slow line, a pack may be minutes of work. The further ones take twice
/// as long each, up to 16 times: each is a look at the index for every host.
const NAME_AFTER: Duration = Duration::from_secs(60);

/// Packs that a session's first segment names; each further one names twice as many, up to [`SEGMENT_MAX_PACKS`].
const FIRST_SEGMENT_PACKS: usize = 8;

/// Packs that are stored, and that no segment names yet. If the process is killed, the next backup does not find them.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub packs: Vec<PackSummary>,
    bytes: usize,
    /// When the first of them was stored.
    since: Option<Timestamp>,
}

impl Pending {
    pub fn add(&mut self, pack: PackSummary, now: Timestamp) {
        self.bytes += pack.encoded_bytes();
        self.packs.push(pack);
        self.since.get_or_insert(now);
    }

    /// Takes back what could not be named.
    pub fn take_back(&mut self, earlier: Self) {
        self.bytes += earlier.bytes;
        self.packs.extend(earlier.packs);
        self.since = earlier.since.or(self.since);
    }

    /// Whether it is time for a segment, after so many of the session. The first ones come early, so that of a killed session no more is lost than some
    /// packs, or as much as is kept.
    pub fn is_due(&self, written: u32, now: Timestamp) -> bool {
        let doubled = 2_usize.saturating_pow(written).saturating_mul(FIRST_SEGMENT_PACKS);
        let age = self.since.map_or(0, |since| now.microseconds().saturating_sub(since.microseconds()));
        let patience = NAME_AFTER * 2_u32.pow(written.min(4));
        self.packs.len() >= doubled.min(SEGMENT_MAX_PACKS)
            || self.bytes >= SEGMENT_TARGET_BYTES
            || u128::from(age.unsigned_abs()) >= patience.as_micros()
    }
}

/// Chunks that a segment names, and that the index of this process does not know yet.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub chunks: Vec<ChunkId>,
    packs: usize,
    bytes: usize,
}

impl Named {
    pub fn of(pending: &Pending) -> Self {
        let chunks = pending.packs.iter().flat_map(|pack| pack.lists.ids.iter().copied()).collect();
        Self { chunks, packs: pending.packs.len(), bytes: pending.bytes }
    }

    pub fn add(&mut self, newly: Self) {
        self.chunks.extend(newly.chunks);
        self.packs += newly.packs;
        self.bytes += newly.bytes;
    }

    /// Whether it is worth the look of this process's index at what is new: that costs some requests, and what is not looked for there costs memory.
    pub fn is_full(&self) -> bool {
        self.packs >= SEGMENT_MAX_PACKS || self.bytes >= SEGMENT_TARGET_BYTES
    }
}

impl Session<'_> {
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the segment of packs. The index of this process is opened anew only when as much has come together as a full segment has: until then, whoever
    /// stores the chunks knows them.
    pub(super) fn name(&self, packs: Pending) -> Result<Option<Vec<ChunkId>>, Error> {
        let newly = Named::of(&packs);
        self.write_segment(packs)?;
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.add(newly);
        if !named.is_full() {
            return Ok(None);
        }
        self.repository.forget_index();
        Ok(Some(std::mem::take(&mut *named).chunks))
    }

    /// Adds a stored pack to those that no segment names yet; all of these, if it is time for one.
    pub(super) fn take_pending(&self, summary: PackSummary) -> Option<Pending> {
        let now = self.repository.clock().now();
        let mut pending = self.pending();
        pending.add(summary, now);
        pending.is_due(self.segments.load(Ordering::Relaxed), now).then(|| std::mem::take(&mut *pending))
    }

    pub(super) fn write_segment(&self, pending: Pending) -> Result<(), Error> {
        if pending.packs.is_empty() {
            return Ok(());
        }
        match segment::write(&*self.repository.backend, self.repository.seal(), self.id, &pending.packs) {
            Ok((_, bytes)) => {
                self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.segments.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                // Not forgotten: a record must not be committed before a segment names its packs.
                self.pending().take_back(pending);
                Err(error)
            }
        }
    }
}
