//! Reading segments for a collector, and putting one in the place of many small ones.

use std::collections::HashSet;

use cinderblock_backend::for_each_in_flight;

use crate::ahead::Ahead;
use crate::error::Error;
use crate::id::{PackId, SegmentId, SessionId};
use crate::layout;
use crate::listing;
use crate::repository::Repository;
use crate::segment::{self, PackSummary, SEGMENT_TARGET_BYTES};
use crate::session::announcement::SessionInfo;

/// Bytes of segments that are read at once, if the storage wants several requests at once. Decoded, they take some more.
const BYTES_AT_ONCE: u64 = 16 << 20;

/// Bytes below which a segment is small: a quarter of what a session writes before it begins another.
const SMALL_BYTES: u64 = SEGMENT_TARGET_BYTES as u64 / 4;

/// So many small segments are worth one: fewer are less than the requests of a backup, and cost nobody much.
#[cfg(not(test))]
const MERGE_FROM: usize = 64;

/// A simulation has few segments, and is to see them merged.
#[cfg(test)]
const MERGE_FROM: usize = 4;

/// What was read of a segment.
type Read = Result<(SessionId, Vec<PackSummary>), Error>;

/// Reads segments, as many at once as the storage wants and as fit into memory, and hands them to `visit` in their order. One that is gone
/// is passed over: another collector has put others in its place.
pub(super) fn read(
    repository: &Repository,
    segments: &[(SegmentId, u64)],
    mut visit: impl FnMut(SegmentId, Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let (backend, seal) = (repository.backend(), repository.seal());
    let mut rest = segments;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|(_, size)| {
            bytes += size;
            bytes <= BYTES_AT_ONCE
        });
        let count = fitting.count().min(backend.requests_in_flight()).max(1);
        let (together, after) = rest.split_at(count.min(rest.len()));
        rest = after;
        let mut read = Ahead::new(count, together, |(id, _)| segment::read(backend, seal, *id));
        while let Some(((id, _), found)) = read.next() {
            match found {
                Err(Error::Backend(error)) if error.is_not_found() => {}
                found => visit(id, found)?,
            }
        }
    }
    Ok(())
}

/// What was replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replaced {
    /// Segments that others took the place of.
    pub segments: u64,
    /// Bytes of these others.
    pub written_bytes: u64,
}

/// Where there are many small segments, puts few large ones in their place. Each backup leaves one, however little is new in it, and each is a
/// request to every host that makes its index, to every collector, and to every verify.
///
/// Segments of sessions at work are left: by them, a collector knows whose packs they name. Those that can't be read are left, too.
pub(super) fn merge(repository: &Repository, collector: SessionId) -> Result<Replaced, Error> {
    let mut small = listing::segment_sizes(repository.backend())?;
    small.retain(|(_, bytes)| *bytes < SMALL_BYTES);
    if small.len() < MERGE_FROM {
        return Ok(Replaced::default());
    }
    // After the listing: who wrote what it shows, and is not at work now, has ended.
    let sessions = repository.sessions()?.into_iter().filter(SessionInfo::is_at_work);
    let at_work: HashSet<SessionId> = sessions.map(|session| session.id).collect();
    // One alone is as good as another that takes its place.
    let mut new = Replacer::new(repository, collector, 2);
    read(repository, &small, |id, found| match found {
        Ok((session, packs)) if !at_work.contains(&session) => new.take(id, packs),
        Ok(_) => Ok(()),
        Err(error) if error.is_damage() => Ok(()),
        Err(error) => Err(error),
    })?;
    let merged = new.finish()?;
    if merged.segments > 0 {
        repository.forget_index();
    }
    Ok(merged)
}

/// Puts new segments in the place of others.
pub(super) struct Replacer<'a> {
    repository: &'a Repository,
    collector: SessionId,
    /// So many are worth a new one.
    fewest: usize,
    /// Segments whose packs are in `packs`, or are not to be named any more.
    old: Vec<SegmentId>,
    packs: Vec<PackSummary>,
    named: HashSet<PackId>,
    bytes: usize,
    replaced: Replaced,
}

impl<'a> Replacer<'a> {
    pub(super) fn new(repository: &'a Repository, collector: SessionId, fewest: usize) -> Self {
        let (old, packs, named) = (Vec::new(), Vec::new(), HashSet::new());
        Self { repository, collector, fewest, old, packs, named, bytes: 0, replaced: Replaced::default() }
    }

    /// Takes a segment, of which these packs are to be named.
    pub(super) fn take(&mut self, id: SegmentId, packs: impl IntoIterator<Item = PackSummary>) -> Result<(), Error> {
        self.old.push(id);
        for pack in packs {
            // Two collectors at once may both have named it.
            if self.named.insert(pack.id) {
                self.bytes += pack.encoded_bytes();
                self.packs.push(pack);
            }
        }
        if self.bytes >= SEGMENT_TARGET_BYTES { self.flush() } else { Ok(()) }
    }

    /// Replaces what was taken last.
    pub(super) fn finish(mut self) -> Result<Replaced, Error> {
        self.flush()?;
        Ok(self.replaced)
    }

    /// The new segment is durable before the old ones go: a pack that lives is named by one at any time.
    fn flush(&mut self) -> Result<(), Error> {
        let (old, packs) = (std::mem::take(&mut self.old), std::mem::take(&mut self.packs));
        (self.bytes, self.named) = (0, HashSet::new());
        if old.len() < self.fewest {
            return Ok(());
        }
        let backend = self.repository.backend();
        if !packs.is_empty() {
            let (_, bytes) = segment::replace(backend, (self.repository.seal(), self.collector), &packs, &old)?;
            self.replaced.written_bytes += bytes;
        }
        for_each_in_flight(backend.requests_in_flight(), &old, |id| {
            Ok::<_, Error>(backend.discard(&layout::segment(*id)?)?)
        })?;
        self.replaced.segments += old.len() as u64;
        Ok(())
    }
}
