//! Waiting for the writers that may refer to what is condemned.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use crate::error::Error;
use crate::fence::{self, Collector};
use crate::gc::{GcOptions, Observer, Progress};
use crate::id::{CollectionId, SessionId};
use crate::layout;
use crate::repository::Repository;
use crate::sabotage::{Step, skips};
use crate::session::announcement::{Role, SessionInfo};
use crate::session::{RENEW_AFTER, renew_after};
use crate::time::Timestamp;

/// How often a collector looks who is at work.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Lets a collector wait.
pub(super) struct Waiter<'a> {
    pub repository: &'a Repository,
    /// The collector's own session.
    pub collector: SessionId,
    pub options: &'a GcOptions,
    pub observer: &'a Observer<'a>,
}

/// Who was waited for.
#[derive(Debug, Default)]
pub(super) struct Waited {
    /// Writers that are still at work and have not seen what is condemned.
    pub waiting: Vec<SessionInfo>,
    /// Sessions that were declared ended.
    pub ended: Vec<SessionInfo>,
    /// Why sessions that gave no sign of life could not be declared ended, where that is so.
    pub doubt: Option<Error>,
}

fn age(now: Timestamp, session: &SessionInfo) -> Option<Duration> {
    let since = now.microseconds().saturating_sub(session.renewed_at?.microseconds());
    Some(Duration::from_micros(u64::try_from(since).unwrap_or(0)))
}

impl Waiter<'_> {
    fn collector(&self) -> Collector<'_> {
        Collector { backend: self.repository.backend(), seal: self.repository.seal(), session: self.collector }
    }

    /// Waits until listings show what was put before.
    pub fn settle(&self, times: u32) {
        let delay = self.repository.backend().settle_delay();
        if !delay.is_zero() && !skips(Step::Settle) {
            self.repository.clock().sleep(delay * times);
        }
    }

    /// Waits for all writers that have not seen every one of the collections, at most for the grace.
    pub fn wait(&self, collections: &BTreeSet<CollectionId>) -> Result<Waited, Error> {
        let mut waited = Waited::default();
        if skips(Step::Wait) {
            return Ok(waited);
        }
        // Who announces itself after this sees what was put before it.
        self.settle(2);
        let mut left = self.options.grace;
        // Committed, and seen: they need not leave.
        let mut committed: HashSet<SessionId> = HashSet::new();
        loop {
            let mut sessions = self.repository.sessions()?;
            sessions.retain(|session| {
                session.role == Role::Writer
                    && session.is_at_work()
                    && !committed.contains(&session.id)
                    && !collections.iter().all(|id| session.seen.contains(id))
            });
            let (old, young): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|session| self.is_old(session));
            if !old.is_empty() {
                waited.doubt = self.end(&old, (&mut committed, &mut waited.ended))?;
                if waited.doubt.is_none() {
                    continue;
                }
                waited.waiting = old.into_iter().chain(young).collect();
                return Ok(waited);
            }
            if young.is_empty() {
                return Ok(waited);
            }
            if left.is_zero() {
                waited.waiting = young;
                return Ok(waited);
            }
            self.observer.tell(&Progress::Waiting { sessions: young.clone() })?;
            let pause = LOOK_EVERY.min(left);
            self.repository.clock().sleep(pause);
            left -= pause;
        }
    }

    /// Whether a session gave no sign of life for long; or none that can be read.
    fn is_old(&self, session: &SessionInfo) -> bool {
        let now = self.repository.clock().now();
        // Who looks for no fence has to be waited for.
        let heeds_fences = session.protocol > 0;
        session.damaged || heeds_fences && age(now, session).is_some_and(|age| age >= self.patience())
    }

    /// For how long a session may give no sign of life. Where listings lag for long, sessions renew themselves less often than a collector may have been told to
    /// expect.
    fn patience(&self) -> Duration {
        let least = match renew_after(self.repository) {
            RENEW_AFTER => Duration::ZERO,
            longer => 3 * longer,
        };
        self.options.fence_after.max(least)
    }

    /// Ends the writers that gave no sign of life for long: what they wrote is nobody's then.
    pub fn end_old_writers(&self) -> Result<Vec<SessionInfo>, Error> {
        let mut sessions = self.repository.sessions()?;
        sessions.retain(|session| session.role == Role::Writer && session.is_at_work() && self.is_old(session));
        let mut ended = Vec::new();
        if !sessions.is_empty() {
            self.end(&sessions, (&mut HashSet::new(), &mut ended))?;
        }
        Ok(ended)
    }

    /// Ends sessions that give no sign of life. Those whose record turns out to be there had committed before. Where that can't be
    /// told, because a record can't be read, they stay, and the record's error is returned.
    fn end(
        &self,
        sessions: &[SessionInfo],
        (committed, ended): (&mut HashSet<SessionId>, &mut Vec<SessionInfo>),
    ) -> Result<Option<Error>, Error> {
        let collector = self.collector();
        if skips(Step::Fence) {
            committed.extend(sessions.iter().map(|session| session.id));
            return Ok(None);
        }
        let writers = self.fence_and_look(sessions.iter().map(|session| session.id))?;
        for session in sessions {
            match &writers {
                Ok(writers) if !writers.contains(&session.id) => {
                    collector.bury(session.id, self.repository.clock().now())?;
                    self.remove(session)?;
                    ended.push(session.clone());
                }
                // Its record is there: it has nothing more to do, and was stopped before it left.
                Ok(_) => self.remove(session)?,
                Err(_) => {}
            }
            collector.lift(session.id)?;
            // A listing may show one that ended for a while; one that committed need not leave.
            committed.insert(session.id);
        }
        Ok(writers.err())
    }

    /// Asks sessions to end; the sessions that have put their records before, or why one of these can't be read.
    fn fence_and_look(
        &self,
        sessions: impl Iterator<Item = SessionId>,
    ) -> Result<Result<HashSet<SessionId>, Error>, Error> {
        for session in sessions {
            self.collector().fence(session, self.repository.clock().now())?;
        }
        // Whoever puts its record from now on sees the fence; the record of whoever did so before is shown after this.
        self.settle(2);
        if skips(Step::LookAfterFence) { Ok(Ok(HashSet::new())) } else { self.writers_of_records() }
    }

    fn remove(&self, session: &SessionInfo) -> Result<(), Error> {
        let backend = self.repository.backend();
        let mut numbers = session.numbers.iter();
        numbers.try_for_each(|number| fence::delete_session(backend, session.id, *number))?;
        // Last: without it, the session would be waited for again. It may be there and damaged.
        Ok(backend.discard(&layout::ended(session.id)?)?)
    }

    /// The sessions that wrote the records that there are; or why one of these can't be read.
    fn writers_of_records(&self) -> Result<Result<HashSet<SessionId>, Error>, Error> {
        let mut writers = HashSet::new();
        for (volume, id) in self.repository.backups(None)? {
            match self.repository.unchecked_record(&volume, id) {
                Ok(record) => drop(writers.insert(record.session)),
                Err(Error::BackupNotFound { .. }) => {}
                Err(error)
                    if error.is_damage() || matches!(error, Error::NewerFormat { .. } | Error::Unsupported { .. }) =>
                {
                    return Ok(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Ok(writers))
    }

    /// Removes what sessions and collectors that are gone have left: announcements of sessions that were declared ended, and
    /// fences around these.
    ///
    /// A fence around a session that was not declared ended is its collector's alone. That may have looked for the session's record before this was put,
    /// and go on to declare it ended: until then, nothing but its fence tells the session, which looks once more after its record. So where a collector
    /// was killed between its fence and its verdict, the fence stays, until the session has no record and can be declared ended here, too. `writers` are
    /// sessions whose records are known to be there.
    pub fn tidy(&self, writers: &HashSet<SessionId>) -> Result<(), Error> {
        let backend = self.repository.backend();
        let buried = fence::tombstones(backend)?;
        // In this order: a session that has a fence is listed by now, if it is at work.
        let fences = fence::fences(backend)?;
        let sessions: BTreeMap<SessionId, SessionInfo> =
            self.repository.sessions()?.into_iter().map(|session| (session.id, session)).collect();
        for session in sessions.values().filter(|session| session.ended || buried.contains(&session.id)) {
            self.remove(session)?;
        }
        let mut left: BTreeMap<SessionId, Vec<SessionId>> = BTreeMap::new();
        for (session, by) in fences {
            if buried.contains(&session) {
                backend.discard(&layout::fence(session, by)?)?;
            } else if by != self.collector && !sessions.contains_key(&session) && !writers.contains(&session) {
                left.entry(session).or_default().push(by);
            }
        }
        if left.is_empty() { Ok(()) } else { self.end_unlisted(&left) }
    }

    /// Declares sessions ended that have gone, and have no record: then the fences of others around them say nothing more.
    fn end_unlisted(&self, sessions: &BTreeMap<SessionId, Vec<SessionId>>) -> Result<(), Error> {
        let collector = self.collector();
        let writers = self.fence_and_look(sessions.keys().copied())?;
        for (session, others) in sessions {
            if writers.as_ref().is_ok_and(|writers| !writers.contains(session)) {
                collector.bury(*session, self.repository.clock().now())?;
                for by in others {
                    self.repository.backend().discard(&layout::fence(*session, *by)?)?;
                }
            }
            collector.lift(*session)?;
        }
        Ok(())
    }

    /// Sessions that could not remove their announcement, and said that they have ended, are nothing that anybody needs to know of.
    pub fn remove_ended(&self) -> Result<(), Error> {
        let sessions = self.repository.sessions()?;
        sessions.iter().filter(|session| session.ended).try_for_each(|session| self.remove(session))
    }

    /// Collectors that gave no sign of life for so long have crashed: nobody waits for them, and their announcements go.
    pub fn remove_old_collectors(&self) -> Result<(), Error> {
        let now = self.repository.clock().now();
        for session in self.repository.sessions()? {
            let old = age(now, &session).is_some_and(|age| age >= self.patience());
            if session.role == Role::Collector && session.id != self.collector && old {
                self.remove(&session)?;
            }
        }
        Ok(())
    }
}
