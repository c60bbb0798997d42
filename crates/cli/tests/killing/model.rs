//! What ought to be in a repository.

use std::collections::{BTreeMap, BTreeSet};

use super::chance::Chance;
use crate::common::{CHUNK, noise};

/// What a volume holds: of each chunk the seed; 0 is a chunk of zeros.
pub type Content = Vec<u64>;

pub fn bytes(content: &Content) -> Vec<u8> {
    let chunk = |seed: &u64| match seed {
        0 => vec![0; CHUNK],
        // Every third compresses well.
        seed if seed % 3 == 0 => noise(*seed, CHUNK / 8).repeat(8),
        seed => noise(*seed, CHUNK),
    };
    content.iter().flat_map(chunk).collect()
}

/// A volume that has something in common with others, and something that no other has.
pub fn content(chance: &mut Chance) -> Content {
    const POOL: u64 = 200;
    let chunks = 20 + chance.below(60);
    let mut content = Content::new();
    while content.len() < chunks {
        let run = 1 + chance.below(20);
        let first = chance.next() % POOL;
        match chance.below(4) {
            0 => content.extend((0..run).map(|_| POOL + chance.next() % (1 << 40))),
            1 => content.extend(vec![0; run]),
            _ => content.extend((first..).take(run)),
        }
    }
    content
}

/// What is known of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A command said that it was made, or a listing showed it when nothing ran.
    Made,
    /// It was to be made, and it is not known what came of that.
    MayBeMade,
    /// It was to be deleted, and it is not known what came of that.
    MayBeGone,
    /// A command said that it was not made, or that it was deleted; or a listing did not show it when nothing ran.
    Gone,
}

#[derive(Clone, Debug)]
pub struct Known {
    pub volume: String,
    pub content: Content,
    pub state: State,
    pub created_at: Option<jiff::Timestamp>,
}

/// All backups that anybody tried to make in a repository, by id.
#[derive(Default)]
pub struct Model(pub BTreeMap<String, Known>);

/// A backup as `list` shows it when nothing runs.
pub struct Listed {
    pub id: String,
    pub volume: String,
    pub created_at: jiff::Timestamp,
}

impl Model {
    /// Ids of those that are there.
    pub fn made(&self) -> Vec<String> {
        let made = self.0.iter().filter(|(_, known)| known.state == State::Made);
        made.map(|(id, _)| id.clone()).collect()
    }

    pub fn made_of(&self, volume: &str) -> Vec<String> {
        let made = self.0.iter().filter(|(_, known)| known.state == State::Made && known.volume == volume);
        made.map(|(id, _)| id.clone()).collect()
    }

    pub fn set(&mut self, id: &str, state: State) {
        self.0.get_mut(id).unwrap_or_else(|| panic!("nobody made backup {id}")).state = state;
    }

    /// Compares with what is listed while nothing runs, which is what counts from then on. `pruned` has for each volume that was
    /// pruned how many of its newest had to be kept.
    pub fn settle(&mut self, listed: &[Listed], pruned: &BTreeMap<String, usize>) {
        let there: BTreeSet<&str> = listed.iter().map(|backup| backup.id.as_str()).collect();
        for backup in listed {
            let known = self.0.get_mut(&backup.id).unwrap_or_else(|| panic!("nobody made backup {}", backup.id));
            assert!(known.state != State::Gone, "backup {} is there, and must not be", backup.id);
            assert_eq!(known.volume, backup.volume);
            (known.state, known.created_at) = (State::Made, Some(backup.created_at));
        }
        for (id, known) in self.0.iter_mut().filter(|(id, _)| !there.contains(id.as_str())) {
            if known.state == State::Made {
                let keep = pruned.get(&known.volume).unwrap_or_else(|| panic!("backup {id} is lost"));
                let newer = listed.iter().filter(|other| other.volume == known.volume);
                let newer = newer.filter(|other| known.created_at.is_none_or(|at| at < other.created_at)).count();
                assert!(newer >= *keep, "backup {id} is lost: {newer} are newer, and {keep} were to be kept");
            }
            known.state = State::Gone;
        }
    }
}
