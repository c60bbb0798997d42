//! Deleting condemned packs, and the segments that name them.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::damage;
use crate::error::Error;
use crate::fence;
use crate::gc::{Observer, Progress, segments};
use crate::id::{PackId, SegmentId, SessionId};
use crate::layout;
use crate::locking::timestamp;
use crate::repository::Repository;
use crate::segment::{self, PackSummary, SEGMENT_TARGET_BYTES};
use crate::time::Timestamp;

/// Replaces segments that name condemned packs by such that do not.
struct Replacer<'a> {
    repository: &'a Repository,
    collector: SessionId,
    /// Segments whose other packs are in `kept`, or in segments that were written.
    old: Vec<SegmentId>,
    kept: Vec<PackSummary>,
    bytes: usize,
    written_bytes: u64,
}

impl Replacer<'_> {
    fn take(&mut self, id: SegmentId, packs: Vec<PackSummary>, condemned: &HashSet<PackId>) -> Result<(), Error> {
        if !packs.iter().any(|pack| condemned.contains(&pack.id)) {
            return Ok(());
        }
        self.old.push(id);
        for pack in packs.into_iter().filter(|pack| !condemned.contains(&pack.id)) {
            self.bytes += pack.encoded_bytes();
            self.kept.push(pack);
        }
        if self.bytes >= SEGMENT_TARGET_BYTES { self.flush() } else { Ok(()) }
    }

    /// The new segment is durable before the old ones go: a pack that lives is named by one at any time.
    fn flush(&mut self) -> Result<(), Error> {
        let backend = self.repository.backend();
        let (old, kept) = (std::mem::take(&mut self.old), std::mem::take(&mut self.kept));
        self.bytes = 0;
        if !kept.is_empty() {
            let (_, bytes) = segment::replace(backend, (self.repository.seal(), self.collector), &kept, &old)?;
            self.written_bytes += bytes;
        }
        old.iter().try_for_each(|id| fence::delete(backend, &layout::segment(*id)?))
    }
}

/// What a sweep did.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// The bytes of the segments that were written in the stead of others.
    pub written_bytes: u64,
    /// Packs that the storage did not let go, as they are locked. No segment names them any more; they are found by their own
    /// directories.
    pub locked: HashMap<PackId, Timestamp>,
}

/// Deletes packs, and takes those that are locked off the list.
pub(super) fn sweep(
    repository: &Repository,
    collector: SessionId,
    condemned: &mut HashSet<PackId>,
    observer: &Observer<'_>,
) -> Result<Swept, Error> {
    let backend = repository.backend();
    let mut replacer =
        Replacer { repository, collector, old: Vec::new(), kept: Vec::new(), bytes: 0, written_bytes: 0 };
    segments::read(repository, &segments::list(repository)?, |id, found| match found {
        Ok((_, packs)) => replacer.take(id, packs, condemned),
        // What it names is not known: it stays, and does no harm.
        Err(error) if error.is_damage() => Ok(()),
        Err(error) => Err(error),
    })?;
    replacer.flush()?;
    repository.forget_index();
    repository.forget_packs();
    let sorted: BTreeSet<PackId> = condemned.iter().copied().collect();
    let mut locked = HashMap::new();
    let total = condemned.len() as u64;
    for (done, id) in (0..).zip(sorted) {
        observer.tell(&Progress::Deleting { done, total })?;
        match fence::delete(backend, &layout::pack(id)?) {
            Err(Error::Backend(cinderblock_backend::Error::Retained { until, .. })) => {
                condemned.remove(&id);
                locked.insert(id, timestamp(until));
            }
            deleted => deleted?,
        }
    }
    damage::remove_notes(backend, condemned)?;
    Ok(Swept { written_bytes: replacer.written_bytes, locked })
}
