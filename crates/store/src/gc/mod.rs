//! Garbage collection: deleting what no backup reaches, beside backups, restores and other collectors at work.
//!
//! The protocol needs no locks, no clock that is right, and nothing of the storage but that a change is seen by reads when it has
//! returned, and by listings after [`settle_delay`](cinderblock_backend::Backend::settle_delay). In short:
//!
//! 1. **Mark** what all records reach. Choose the packs with nothing, or little, that is reached, or, if so asked, that are small and many, and whose writers are not at work.
//! 2. **Copy** what is reached in them into packs of its own.
//! 3. **Condemn** the packs: put a *collection* that names them. A writer that begins from now on treats them as absent.
//! 4. **Wait** for the writers that have not seen it, or declare them ended (`fence.rs` tells how).
//! 5. **Mark again** what was committed meanwhile. What is needed and is only in condemned packs, anyone's, is copied out.
//! 6. **Delete**: replace the segments that name the packs, delete these, and then the collection.
//!
//! A pack that is condemned stays so. Hence any collector may finish what another began, at the same time or after a crash, and a
//! collector that was stopped for a week and goes on deletes nothing that anyone relies on. `docs/design.md` has the reasons for each
//! step, and the simulation (`make simulate`) leaves them out one by one, to show that it matters.

mod choice;
pub(crate) mod collection;
mod copy;
mod gather;
mod marking;
mod run;
mod segments;
mod sweep;
mod wait;

use std::collections::HashMap;
use std::time::Duration;

use cinderblock_backend::Leftovers;

use crate::error::Error;
use crate::id::{BackupId, PackId, VolumeId};
use crate::session::announcement::SessionInfo;
use crate::time::Timestamp;

/// How to collect garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcOptions {
    /// How long to wait for backups that run. What is condemned by then and can't be deleted is left for the next time.
    pub grace: Duration,
    /// A session that gave no sign of life for so long is declared ended. Sessions renew themselves every 5 minutes. What has been
    /// half written for so long is removed.
    pub fence_after: Duration,
    /// Packs of which less than so many percent of the stored bytes are reached are copied together: 0 to 100.
    pub repack_below: u8,
    /// Whether small packs are copied together, where there are many. Backups name the packs that they are in, for hosts without an index: of those that are
    /// copied, such a host needs the index. Packs of a repository with a lock policy never are: their locks would be lost.
    pub gather: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl Default for GcOptions {
    /// Waits for an hour, declares sessions ended after a day, repacks below 50 percent, leaves small packs.
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(3600),
            fence_after: Duration::from_secs(24 * 3600),
            repack_below: 50,
            gather: false,
            dry_run: false,
        }
    }
}

/// What a collector is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// It walks the maps of backups.
    Marking {
        /// Backups so far.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// It copies what lives out of packs.
    Copying {
        /// Packs so far.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// It waits for these sessions to end.
    Waiting {
        /// Writers that may refer to what is condemned.
        sessions: Vec<SessionInfo>,
    },
    /// It deletes packs.
    Deleting {
        /// Packs so far.
        done: u64,
        /// Of so many.
        total: u64,
    },
}

/// Hears what a collector is doing, and says whether to go on.
pub struct Observer<'a>(&'a dyn Fn(&Progress) -> bool);

impl<'a> Observer<'a> {
    /// Calls `hear` often. Where it returns false, the collector stops; another run goes on from there.
    pub fn new(hear: &'a dyn Fn(&Progress) -> bool) -> Self {
        Self(hear)
    }

    fn tell(&self, progress: &Progress) -> Result<(), Error> {
        if (self.0)(progress) { Ok(()) } else { Err(Error::Stopped) }
    }
}

impl std::fmt::Debug for Observer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observer")
    }
}

/// Packs that are kept because they are locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Locked {
    /// How many.
    pub packs: u64,
    /// When the first of their locks ends.
    pub until: Option<Timestamp>,
}

impl Locked {
    fn add(&mut self, locked: &HashMap<PackId, Timestamp>) {
        self.packs += locked.len() as u64;
        self.until = self.until.into_iter().chain(locked.values().copied()).min();
    }

    fn merge(&mut self, other: Self) {
        self.packs += other.packs;
        self.until = self.until.into_iter().chain(other.until).min();
    }
}

/// What a collector did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct GcReport {
    /// Backups whose maps were walked.
    pub backups: u64,
    /// Packs that there were at the start.
    pub packs: u64,
    /// Bytes of all packs at the start.
    pub pack_bytes: u64,
    /// Packs that were condemned in this run: nothing of them was reached, or what was had been copied.
    pub condemned: u64,
    /// Of these, packs out of which something was copied.
    pub repacked: u64,
    /// Of these, small packs that were copied together.
    pub gathered: u64,
    /// Packs that were deleted, also those that an earlier run condemned.
    pub deleted: u64,
    /// Bytes of the packs that were deleted; of a dry run, what would be freed.
    pub freed_bytes: u64,
    /// Bytes that were written: packs of what lives, and segments.
    pub copied_bytes: u64,
    /// Small index segments that larger ones took the place of.
    pub merged_segments: u64,
    /// What killed processes had left half written, and was removed; of a dry run, what would be. It is no part of
    /// [`freed_bytes`](Self::freed_bytes).
    pub leftovers: Leftovers,
    /// Packs that hold nothing that is reached and were kept, because their writer is at work.
    pub kept_for_writers: u64,
    /// Packs of which nothing or little is reached, or that are condemned, and that were kept, because they are locked.
    pub locked: Locked,
    /// Packs that are condemned and still there, because of `waiting`.
    pub pending: u64,
    /// Sessions that have to end before what is condemned can be deleted.
    pub waiting: Vec<SessionInfo>,
    /// Sessions that were declared ended.
    pub ended: Vec<SessionInfo>,
    /// Records that such sessions had put too late, and that were removed.
    pub removed_records: Vec<(VolumeId, BackupId)>,
    /// Chunks and map nodes that backups need and that are nowhere.
    pub missing: u64,
    /// Packs that can't be read, in whole or in part. They were kept.
    pub damage: Vec<Error>,
    /// Chunks and map nodes in packs, and whole packs, of which that was noted for the first time. Of what has another copy, that is used from now on.
    pub noted: u64,
    /// Why nothing was condemned, where that is so: what these reach is not known, and nothing is deleted on doubt.
    pub doubts: Vec<Error>,
}
