//! A writer at work: it announces itself, stores packs, writes index segments, and commits a record.
//!
//! The order is invariant I1: packs, then the segment that names them, then the record, each durable before the next.
//! A crash at any point leaves objects that nothing refers to, and no backup.
//!
//! What a session owes to garbage collectors (`docs/design.md` has the whole protocol): it announces itself before it looks at
//! which packs are condemned; it treats those as absent, or else does not say that it has seen them, so that a collector waits for
//! it; it renews its announcement; and it looks for a fence after its record is put.

pub(crate) mod announcement;
mod ending;
mod pending;
mod strays;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use announcement::{Announcement, Role, SessionInfo};
use pending::{Named, Pending};

use crate::error::Error;
use crate::fence;
use crate::gc::collection;
use crate::id::{ChunkId, PackId, SessionId};
use crate::layout;
use crate::pack::{Content, FinishedPack, PackBuilder};
use crate::record::Record;
use crate::repository::{Location, Repository};
use crate::sabotage::{Step, skips};
use crate::segment::PackSummary;

/// How often a session gives a sign of life: every 5 minutes, or less often where listings take long to show one.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(300);

/// How often a session of a repository gives a sign of life.
pub(crate) fn renew_after(repository: &Repository) -> Duration {
    RENEW_AFTER.max(2 * repository.backend().settle_delay())
}

/// A session of writing. Its methods may be called from several threads. Dropped without a commit, it leaves no backup.
#[derive(Debug)]
pub struct Session<'r> {
    repository: &'r Repository,
    id: SessionId,
    announced: Mutex<Announcement>,
    /// Packs that are about to be deleted: absent, as far as this session is concerned.
    condemned: HashSet<PackId>,
    /// Packs that are stored but in no segment yet.
    pending: Mutex<Pending>,
    /// What segments name of it and this process's index does not know.
    named: Mutex<Named>,
    /// Segments that were written.
    segments: AtomicU32,
    stored_bytes: AtomicU64,
    /// Packs that it has stored.
    stored: Mutex<Vec<PackId>>,
    left: AtomicBool,
}

impl Repository {
    /// Announces a writer. It may refer to what [`Session::locate`] finds, which leaves out what is about to be deleted, and to nothing
    /// that [`Session::avoids`]: a collector that has waited for all others does not wait for this one. `activity` says for people what it
    /// does, such as `backup of vm-1`.
    ///
    /// # Errors
    /// What the storage says.
    pub fn start_session(&self, activity: &str) -> Result<Session<'_>, Error> {
        self.announce(Role::Writer, activity)
    }

    pub(crate) fn announce(&self, role: Role, activity: &str) -> Result<Session<'_>, Error> {
        if self.backend().requests_in_flight() <= 1 {
            self.check_identity()?;
            return self.put_announcement(role, activity);
        }
        // Both wait for answers. In a repository that is another's, the announcement is taken back before anything else is written.
        std::thread::scope(|threads| {
            let look = threads.spawn(|| self.check_identity());
            let announced = self.put_announcement(role, activity);
            look.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            announced
        })
    }

    fn put_announcement(&self, role: Role, activity: &str) -> Result<Session<'_>, Error> {
        let id = SessionId::random()?;
        let announcement = Announcement::new(role, activity, self.clock().now());
        let announced = announcement.put(self.backend(), self.seal(), id);
        // An answer may be lost: a collector would wait for a session that nobody has.
        announced.inspect_err(|_| drop(fence::delete_session(self.backend(), id, 1)))?;
        let mut session = Session {
            repository: self,
            id,
            announced: Mutex::new(announcement),
            condemned: HashSet::new(),
            pending: Mutex::default(),
            named: Mutex::default(),
            segments: AtomicU32::new(0),
            stored_bytes: AtomicU64::new(0),
            stored: Mutex::default(),
            left: AtomicBool::new(false),
        };
        // In this order: a collection that is put after this look sees the announcement.
        if role == Role::Writer {
            let collections = collection::list(self.backend(), self.seal())?;
            if !collections.is_empty() {
                if !skips(Step::AvoidCondemned) {
                    session.condemned = collections.values().flatten().copied().collect();
                }
                let seen = collections.into_keys().collect();
                session.renew(&mut session.announced(), |announcement| announcement.seen = seen)?;
            }
        }
        // A pack whose directory was read before the session began may be gone by now, and nobody would notice.
        if !skips(Step::ForgetPacks) {
            self.forget_packs();
        }
        Ok(session)
    }

    /// The sessions at work, and those that ended without leaving, by id.
    ///
    /// # Errors
    /// What the storage says.
    pub fn sessions(&self) -> Result<Vec<SessionInfo>, Error> {
        announcement::list(self.backend(), self.seal())
    }
}

impl<'r> Session<'r> {
    /// Lets this session take the directories of packs from this host, where their packs are there, instead of from the storage. What a damaged
    /// directory in the storage would show is not seen then: not for who looks for damage.
    pub fn use_kept_directories(&self) {
        if let Some(directories) = &self.repository.directories {
            directories.begin();
        }
    }

    /// The packs that it has stored so far, in no particular order.
    pub(crate) fn stored_packs(&self) -> Vec<PackId> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its identity.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Finds chunks as [`Repository::locate`] does, but for copies in packs that are about to be deleted: what has no place here has
    /// to be stored, and what has one may be referred to by this session's record.
    ///
    /// # Errors
    /// What the storage or the index says.
    pub fn locate(&self, ids: &[ChunkId], places: &mut Vec<Option<Location>>) -> Result<(), Error> {
        self.repository.locate(ids, places)?;
        if !self.condemned.is_empty() {
            for place in places {
                if place.as_ref().is_some_and(|place| self.condemned.contains(&place.pack.id())) {
                    *place = None;
                }
            }
        }
        Ok(())
    }

    /// Whether a pack is about to be deleted: what is in it does not count as stored.
    pub fn avoids(&self, pack: PackId) -> bool {
        self.condemned.contains(&pack)
    }

    /// Gives a sign of life, if the last one is 5 minutes ago (twice the storage's settle delay, where that is more): to be called now
    /// and then.
    ///
    /// # Errors
    /// [`Error::Fenced`] where a garbage collector has given up on this session; what the storage says.
    pub fn stay(&self) -> Result<(), Error> {
        // The announcement before the last one goes with the next: the last one has to show in listings by then. So of several threads that
        // come here together, one renews it: the others wait, and find it done.
        let mut announced = self.announced();
        let age = self.repository.clock().now().microseconds().saturating_sub(announced.renewed_at);
        if u128::from(age.unsigned_abs()) < renew_after(self.repository).as_micros() {
            return Ok(());
        }
        self.renew(&mut announced, |_| ())?;
        drop(announced);
        self.check_not_fenced()
    }

    fn announced(&self) -> MutexGuard<'_, Announcement> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces the session again, under the next number. The last announcement is left: a listing may not show the new one yet.
    fn renew(&self, announced: &mut Announcement, change: impl FnOnce(&mut Announcement)) -> Result<(), Error> {
        let mut next = announced.clone();
        next.number += 1;
        next.renewed_at = self.repository.clock().now().microseconds();
        change(&mut next);
        let put = next.put(self.repository.backend(), self.repository.seal(), self.id);
        // It may have been made all the same.
        put.inspect_err(|_| drop(fence::delete_session(self.repository.backend(), self.id, next.number)))?;
        *announced = next;
        let keep = if skips(Step::KeepRenewal) { 1 } else { 2 };
        if let Some(old) = announced.number.checked_sub(keep).filter(|old| *old > 0) {
            self.delete(&layout::session(self.id, old)?)?;
        }
        Ok(())
    }

    fn check_not_fenced(&self) -> Result<(), Error> {
        if fence::is_fenced(self.repository.backend(), self.id)? {
            return Err(Error::Fenced { session: self.id });
        }
        Ok(())
    }

    /// The repository that it writes to.
    pub fn repository(&self) -> &'r Repository {
        self.repository
    }

    /// Bytes that it has added to the repository so far: whole packs and segments.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes.load(Ordering::Relaxed)
    }

    /// A builder of packs of this session.
    pub fn pack_builder(&self, content: Content) -> PackBuilder {
        PackBuilder::new(self.repository.seal().clone(), self.id, content)
    }

    /// Stores a pack: durable when this returns. Several threads may store packs at the same time. Once enough have come together, the segment
    /// that names them is written as well; then this returns the chunks of all of them, which the index finds from then on.
    ///
    /// # Errors
    /// What the storage says.
    pub fn store_pack(&self, pack: &FinishedPack) -> Result<Option<Vec<ChunkId>>, Error> {
        self.stay()?;
        self.repository.backend.put_shared(&layout::pack(pack.id())?, pack.parts())?;
        self.stored_bytes.fetch_add(pack.object_bytes(), Ordering::Relaxed);
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).push(pack.id());
        if let Some(directories) = &self.repository.directories {
            directories.keep(pack.id(), || pack.description());
        }
        // Only now that it is durable: whichever thread writes the segment names no other.
        let summary = PackSummary::of_finished(pack);
        match self.take_pending(summary) {
            Some(due) => self.name(due),
            None => Ok(None),
        }
    }

    /// Writes the segment of the packs that are in none yet. Without it, another writer could not find them; a rebuild of
    /// the index would.
    ///
    /// # Errors
    /// What the storage says.
    pub fn flush(&self) -> Result<(), Error> {
        let pending = std::mem::take(&mut *self.pending());
        let newly = !pending.packs.is_empty();
        self.write_segment(pending)?;
        let named = std::mem::take(&mut *self.named.lock().unwrap_or_else(PoisonError::into_inner));
        if newly || !named.chunks.is_empty() {
            self.repository.forget_index();
        }
        Ok(())
    }

    /// Commits a backup: when this returns the backup exists, and not before. The record's session and chunk size are
    /// set to what they are.
    ///
    /// # Errors
    /// [`Error::BackupExists`] where the volume has a backup with this id; [`Error::Fenced`] where a garbage collector has given up
    /// on this session: there is no backup then; [`Error::NotLocked`] where there is one whose record is not locked, as the repository's
    /// policy asks; what the storage says, after which there may be one or not.
    pub fn commit(self, record: &mut Record) -> Result<(), Error> {
        let checked = !skips(Step::FenceCheck);
        // Mostly this finds a fence, and no reader ever meets the record. It may come before the segment, or at the same time.
        if checked && self.repository.backend().requests_in_flight() > 1 {
            let (flushed, looked) = std::thread::scope(|threads| {
                let look = threads.spawn(|| self.check_not_fenced());
                // What it answers is remembered; where it fails, it is asked again.
                threads.spawn(|| self.repository.object_lock().map(drop));
                (self.flush(), look.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            });
            flushed.and(looked)?;
        } else {
            self.flush()?;
            if checked {
                self.check_not_fenced()?;
            }
        }
        record.session = self.id;
        record.chunk_bytes = self.repository.descriptor().chunk_size.bytes();
        record.statistics.stored_bytes = self.stored_bytes();
        if skips(Step::EndLast) {
            self.say_ended();
        }
        let locked = self.lock_packs(record)?;
        self.put_record(record)?;
        // This is the look that counts: a fence that was put before the record is seen here, and the collector that puts one later
        // sees the record.
        if checked && fence::is_fenced(self.repository.backend(), self.id).inspect_err(|_| self.abandon())? {
            self.take_back(record).inspect_err(|_| self.abandon())?;
            return Err(Error::Fenced { session: self.id });
        }
        let locked = locked.map_or(Ok(()), |commitment| self.lock_record(record, &commitment));
        self.leave();
        locked
    }

    /// Behind a network, a refusal may be the answer to a second attempt, while the first one is still on its way.
    fn abandon_if_in_doubt(&self) {
        if self.repository.backend().requests_in_flight() > 1 {
            self.abandon();
        }
    }

    fn put_record(&self, record: &Record) -> Result<(), Error> {
        let name = self.repository.record_object(&record.volume, record.id)?;
        let error = match record.write(self.repository.backend(), self.repository.seal(), &name) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // Storage that tries again by itself may say that the record which it has just stored is there already, and an answer may
        // be lost.
        match self.repository.record(&record.volume, record.id) {
            Ok(there) if there.session == self.id => return Ok(()),
            Ok(_) => {
                self.abandon_if_in_doubt();
                return Err(Error::BackupExists { id: record.id, volume: record.volume.clone() });
            }
            Err(_) => {}
        }
        // Of any other error it is not known whether the record comes when the void one is gone.
        let refused = matches!(error, Error::Backend(cinderblock_backend::Error::AlreadyExists { .. }));
        if refused && self.is_obstructed(record) {
            self.abandon_if_in_doubt();
            return Err(Error::VoidRecord { id: record.id, volume: record.volume.clone() });
        }
        if let Error::TooLarge { .. } | Error::Encode { .. } = error {
            return Err(error);
        }
        // It may still come, from somewhere in the network.
        self.abandon();
        match error {
            Error::Backend(cinderblock_backend::Error::AlreadyExists { .. }) => {
                Err(Error::BackupExists { id: record.id, volume: record.volume.clone() })
            }
            error => Err(error),
        }
    }

    /// Whether a record of another session has this one's name: one that does not count, for no reader sees it.
    fn is_obstructed(&self, record: &Record) -> bool {
        self.repository.unchecked_record(&record.volume, record.id).is_ok_and(|there| there.session != self.id)
    }

    /// Goes without leaving, where it is not known what became of the record: as long as the announcement is there, nothing that the
    /// record may need is deleted, until a collector has declared the session ended, and the record void.
    pub(crate) fn abandon(&self) {
        if !skips(Step::Abandon) {
            self.left.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // A session that ends early still names its packs: a later backup finds their chunks.
        let _ = self.flush();
        self.leave();
        // Also where it goes without leaving.
        if let Some(directories) = &self.repository.directories {
            directories.end();
        }
    }
}

/// Adds ids to a list of hints, each once.
pub fn merge_hints(hints: &mut Vec<PackId>, more: impl IntoIterator<Item = PackId>) {
    hints.extend(more);
    hints.sort_unstable();
    hints.dedup();
}
