//! Deleting condemned packs, and the segments that name them.

use std::collections::{BTreeSet, HashSet};

use crate::damage;
use crate::error::Error;
use crate::fence;
use crate::gc::{Observer, Progress};
use crate::id::{PackId, SegmentId, SessionId};
use crate::layout;
use crate::listing;
use crate::repository::Repository;
use crate::segment::{self, PackSummary, SEGMENT_TARGET_BYTES};

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

/// Deletes packs; the bytes of the segments that were written in their stead.
pub(super) fn sweep(
    repository: &Repository,
    collector: SessionId,
    condemned: &HashSet<PackId>,
    observer: &Observer<'_>,
) -> Result<u64, Error> {
    let backend = repository.backend();
    let mut replacer =
        Replacer { repository, collector, old: Vec::new(), kept: Vec::new(), bytes: 0, written_bytes: 0 };
    let segments: BTreeSet<SegmentId> = listing::segments(backend)?;
    for id in segments {
        match segment::read(backend, repository.seal(), id) {
            Ok((_, packs)) => replacer.take(id, packs, condemned)?,
            Err(Error::Backend(error)) if error.is_not_found() => {}
            // What it names is not known: it stays, and does no harm.
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
    }
    replacer.flush()?;
    repository.forget_index();
    repository.forget_packs();
    let sorted: BTreeSet<PackId> = condemned.iter().copied().collect();
    for (done, id) in (0..).zip(sorted) {
        observer.tell(&Progress::Deleting { done, total: condemned.len() as u64 })?;
        fence::delete(backend, &layout::pack(id)?)?;
    }
    damage::remove_notes(backend, condemned)?;
    Ok(replacer.written_bytes)
}
