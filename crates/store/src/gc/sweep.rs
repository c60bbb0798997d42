//! Deleting condemned packs, and the segments that name them.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::damage;
use crate::error::Error;
use crate::gc::segments::{self, Replacer};
use crate::gc::{Observer, Progress};
use crate::id::{PackId, SessionId};
use crate::layout;
use crate::listing;
use crate::locking::timestamp;
use crate::repository::Repository;
use crate::time::Timestamp;

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
    let written_bytes = unname(repository, collector, condemned)?;
    repository.forget_packs();
    let sorted: BTreeSet<PackId> = condemned.iter().copied().collect();
    let mut locked = HashMap::new();
    let total = condemned.len() as u64;
    for (done, id) in (0..).zip(sorted) {
        observer.tell(&Progress::Deleting { done, total })?;
        match backend.discard(&layout::pack(id)?) {
            Err(cinderblock_backend::Error::Retained { until, .. }) => {
                condemned.remove(&id);
                locked.insert(id, timestamp(until));
            }
            deleted => deleted?,
        }
    }
    damage::remove_notes(backend, condemned)?;
    Ok(Swept { written_bytes, locked })
}

/// Replaces the segments that name packs by ones that do not; the bytes of these.
pub(super) fn unname(repository: &Repository, collector: SessionId, packs: &HashSet<PackId>) -> Result<u64, Error> {
    let backend = repository.backend();
    let mut replacer = Replacer::new(repository, collector, 1);
    segments::read(repository, &listing::segment_sizes(backend)?, |id, found| match found {
        Ok((_, named)) if named.iter().any(|pack| packs.contains(&pack.id)) => {
            replacer.take(id, named.into_iter().filter(|pack| !packs.contains(&pack.id)))
        }
        Ok(_) => Ok(()),
        // What it names is not known: it stays, and does no harm.
        Err(error) if error.is_damage() => Ok(()),
        Err(error) => Err(error),
    })?;
    let written_bytes = replacer.finish()?.written_bytes;
    repository.forget_index();
    Ok(written_bytes)
}
