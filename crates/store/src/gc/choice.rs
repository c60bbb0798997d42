//! Choosing what to condemn.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::error::Error;
use crate::gc::Locked;
use crate::gc::gather::{SMALL_BYTES, worth_gathering};
use crate::gc::marking::Marking;
use crate::gc::segments;
use crate::id::{PackId, SessionId};
use crate::layout;
use crate::listing;
use crate::pack::PackReader;
use crate::pack::directory::Directory;
use crate::repository::Repository;
use crate::segment::PackSummary;

/// What becomes of the packs.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Nothing in them is reached.
    pub dead: Vec<PackId>,
    /// Little in them is reached: it is copied first.
    pub sparse: Vec<PackId>,
    /// Enough of them is reached, but they are small, and many: they are copied together, as they are.
    pub gathered: Vec<PackId>,
    /// Segments name them, and they are gone.
    pub gone: HashSet<PackId>,
    /// Nothing in them is reached, but their writer is at work.
    pub kept_for_writers: u64,
    /// Of the dead and the sparse ones, what can be freed: all bytes, or those of what is not reached.
    freeable: HashMap<PackId, u64>,
    /// Nothing or little in them is reached, but they are locked: when the first of these locks ends, and how many there are.
    pub locked: Locked,
    /// Packs that can't be read: they are kept.
    pub damage: Vec<Error>,
    /// Small packs of data and of maps, with the bytes of each, that would stay as they are.
    small: [Vec<(PackId, u64)>; 2],
}

/// By what to choose.
pub(super) struct Criteria<'a> {
    /// The packs that there are, with the bytes of each.
    pub packs: &'a BTreeMap<PackId, u64>,
    /// Sessions at work.
    pub at_work: &'a HashSet<SessionId>,
    /// Packs that are condemned already.
    pub condemned: &'a HashSet<PackId>,
    pub repack_below: u8,
    /// Whether small packs are copied together.
    pub gather: bool,
}

impl Choice {
    /// Looks at every pack, through the segments, or where none names it through its own directory.
    pub fn make(repository: &Repository, marking: &Marking, criteria: &Criteria<'_>) -> Result<Self, Error> {
        let mut choice = Self::default();
        let mut left: BTreeSet<PackId> = criteria.packs.keys().copied().collect();
        let backend = repository.backend();
        segments::read(repository, &listing::segment_sizes(backend)?, |_, found| {
            let (session, packs) = match found {
                Ok(read) => read,
                // Its packs are looked at one by one.
                Err(error) if error.is_damage() => {
                    choice.damage.push(error);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            for pack in packs {
                if left.remove(&pack.id) {
                    choice.consider(repository, (marking, criteria), session, pack)?;
                } else if !criteria.packs.contains_key(&pack.id)
                    // A listing may only not show it yet; its segment came after it.
                    && !listing::exists(backend, &layout::pack(pack.id)?)?
                {
                    choice.gone.insert(pack.id);
                }
            }
            Ok(())
        })?;
        for id in left {
            match PackReader::open(backend, repository.seal(), id) {
                Ok(pack) => {
                    choice.consider(repository, (marking, criteria), pack.session(), PackSummary::of_reader(&pack))?
                }
                Err(Error::PackMissing { .. }) => {}
                Err(_) if criteria.condemned.contains(&id) => {}
                // Whoever wrote it, if that is still at work, is waited for.
                Err(error) if error.is_damage() && marking.is_done_with(id) => {
                    choice.freeable.insert(id, criteria.packs.get(&id).copied().unwrap_or(0));
                    choice.dead.push(id);
                }
                Err(error) if error.is_damage() => choice.damage.push(error),
                Err(error) => return Err(error),
            }
        }
        choice.leave_locked(repository)?;
        // Where something is missing, what is not needed now may be what a repair finds it in.
        if criteria.gather && marking.reached.is_whole() && repository.object_lock()?.is_none() {
            choice.gathered = choice.small.iter_mut().map(std::mem::take).flat_map(worth_gathering).collect();
            choice.gathered.sort_unstable();
        }
        choice.dead.sort_unstable();
        choice.sparse.sort_unstable();
        Ok(choice)
    }

    /// Bytes of the dead packs, and of what is not reached in the sparse ones.
    pub fn freeable_bytes(&self) -> u64 {
        self.freeable.values().sum()
    }

    /// What is locked can't go, and the locks of what a backup needs must not be lost by moving it.
    fn leave_locked(&mut self, repository: &Repository) -> Result<(), Error> {
        let locked = repository.locked_packs(self.dead.iter().chain(&self.sparse).copied())?;
        self.locked.add(&locked);
        for packs in [&mut self.dead, &mut self.sparse] {
            packs.retain(|id| !locked.contains_key(id));
        }
        self.freeable.retain(|id, _| !locked.contains_key(id));
        Ok(())
    }

    fn consider(
        &mut self,
        repository: &Repository,
        (marking, criteria): (&Marking, &Criteria<'_>),
        session: SessionId,
        pack: PackSummary,
    ) -> Result<(), Error> {
        let object_bytes = criteria.packs.get(&pack.id).copied().unwrap_or(pack.object_bytes);
        if criteria.condemned.contains(&pack.id) {
            return Ok(());
        }
        let is_map = pack.map;
        let directory = Directory::new(("an index segment", 0), pack.lists, repository.seal().framing(), false)?;
        let (mut live, mut any) = (0, false);
        for (number, entry) in (0..).zip(directory.frames()) {
            let first = directory.first_slot(number).unwrap_or(0);
            let reached = (first..first + entry.chunks).filter(|slot| marking.reached.is_marked(pack.id, *slot));
            let reached = reached.count() as u64;
            any |= reached > 0;
            live += u64::from(entry.stored_bytes) * reached / u64::from(entry.chunks).max(1);
        }
        let all = directory.stored_bytes();
        // One that is damaged in part goes as soon as what is right in it has been copied.
        let sparse =
            marking.is_damaged(pack.id) || live.saturating_mul(100) < all.saturating_mul(criteria.repack_below.into());
        if any && !sparse {
            if object_bytes < SMALL_BYTES && !criteria.at_work.contains(&session) {
                let [data, map] = &mut self.small;
                if is_map { map } else { data }.push((pack.id, object_bytes));
            }
            return Ok(());
        }
        if marking.is_last_resort(repository, pack.id)? {
            self.damage.extend(repository.pack(pack.id).err());
            return Ok(());
        }
        // What such a session refers to is not known before it has committed.
        if criteria.at_work.contains(&session) {
            self.kept_for_writers += u64::from(!any);
            return Ok(());
        }
        if any {
            self.freeable.insert(pack.id, all.saturating_sub(live));
            self.sparse.push(pack.id);
        } else {
            self.freeable.insert(pack.id, object_bytes);
            self.dead.push(pack.id);
        }
        Ok(())
    }
}
