//! What becomes of the objects that only upkeep needs, which no message tells.

use cinderblock_backend::Memory;

use super::damage::Form;
use super::{Cell, Kind, objects};
use crate::scene::command::{Answer, Command};

impl Cell<'_> {
    pub(super) fn check_upkeep(&self, storage: &Memory, answer: &Answer) {
        match (self.kind, self.command) {
            (Kind::Ended, Command::Sessions) => self.check_end_is_believed(answer),
            (Kind::Ended, Command::Gc) => self.check_end_is_tidied(storage),
            (Kind::Cursor, Command::VerifyShare) => self.check_scrub_is_remembered(storage, answer),
            _ => {}
        }
    }

    fn is_intact(&self) -> bool {
        *self.form() == Form::Intact
    }

    /// Nobody stops waiting for a session because of a word that it has not put.
    fn check_end_is_believed(&self, answer: &Answer) {
        let host = answer.host.as_ref().expect("the repository can be opened");
        let sessions = host.repository.sessions().expect("sessions");
        let session = sessions.iter().find(|session| session.id.to_string() == self.identity());
        let session = session.expect("its announcement is there");
        assert!(session.ended == self.is_intact() && !session.damaged, "{}: {session:?}", self.text());
    }

    /// A collector removes what a session that has ended has left. Where it does not know that, it gives up on the session as on one that
    /// crashed.
    fn check_end_is_tidied(&self, storage: &Memory) {
        let left = objects(storage, &format!("sessions/{}/", self.identity()));
        let tombstones = objects(storage, &format!("tombstones/{}", self.identity()));
        assert!(left.is_empty() && tombstones.is_empty() == self.is_intact(), "{}: {left:?}", self.text());
    }

    /// A new cursor takes the place of the damaged one, and counts.
    fn check_scrub_is_remembered(&self, storage: &Memory, answer: &Answer) {
        let host = answer.host.as_ref().expect("the repository can be opened");
        let scrubs = host.repository.scrubs().expect("cursors");
        let rounds = scrubs.furthest.map(|scrub| scrub.rounds);
        let left = objects(storage, "scrub/");
        assert!(rounds == Some(1) && left.len() == 1 && left[0] != *self.name, "{}: {left:?}", self.text());
        assert!(scrubs.unreadable.is_empty(), "{}: {:?}", self.text(), scrubs.unreadable);
    }
}
