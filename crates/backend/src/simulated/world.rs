//! [`World`]: the objects, the clock and the turns that the actors of a simulation share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Condvar;
use std::time::Duration;

use super::fate::Effect;
use super::random::Random;
use super::trace::{Entry, Trace};
use super::weather::Weather;
use super::young::Young;
use crate::{Backend, Error, Memory, ObjectInfo, ObjectName};

/// The weights of a choice are 1 to 64, so that now and then one actor does a lot while another does nothing.
const WEIGHT_BITS: u64 = 7;

/// One of the weights is drawn anew about once in so many turns.
const TURNS_PER_WEIGHT: u64 = 32;

pub(super) struct World {
    pub(super) memory: Arc<Memory>,
    /// Virtual time since the simulation began.
    pub(super) clock: Duration,
    pub(super) weather: Weather,
    pub(super) random: Random,
    pub(super) trace: Trace,
    /// All actors of all runs; a view knows its actor by the index.
    pub(super) actors: Vec<ActorState>,
    /// Those that have not ended.
    live: Vec<usize>,
    /// Who may run.
    pub(super) turn: Option<usize>,
    young: Young,
    /// Changes that come late, by their time; the number keeps apart those of one time.
    late: BTreeMap<(Duration, u64), Change>,
    late_count: u64,
}

pub(super) struct ActorState {
    pub(super) name: String,
    pub(super) weather: Option<Weather>,
    pub(super) random: Random,
    /// Where to crash at the latest: the operation's number, and its effect.
    pub(super) crash_at: Option<(u64, Effect)>,
    /// How far its clock is off, and whether it is behind.
    pub(super) skew: (Duration, bool),
    pub(super) operations: u64,
    pub(super) crashed: bool,
    pub(super) ended: bool,
    /// Calls that were refused because it had crashed or ended.
    pub(super) refused: u64,
    /// Notified when it may run, or must end.
    pub(super) condition: Arc<Condvar>,
    /// It is not ready before.
    wake: Duration,
    weight: u64,
}

impl ActorState {
    pub(super) fn is_gone(&self) -> bool {
        self.crashed || self.ended
    }
}

/// A change of one object.
pub(super) enum Change {
    Put(ObjectName, Vec<u8>),
    Delete(ObjectName),
}

impl Change {
    pub(super) fn name(&self) -> &ObjectName {
        match self {
            Change::Put(name, _) | Change::Delete(name) => name,
        }
    }
}

/// A listing of which some pages were read.
pub(super) struct Listing {
    names: std::vec::IntoIter<ObjectName>,
    page: usize,
    lag: Lag,
}

enum Lag {
    None,
    /// All objects are as they were this long ago.
    Whole(Duration),
    /// Each object is as it was at a moment of its own.
    Each,
}

impl Listing {
    /// Whether there is no further page.
    pub(super) fn is_at_end(&self) -> bool {
        self.names.as_slice().is_empty()
    }
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather) -> World {
        World {
            memory: Arc::new(Memory::new()),
            clock: Duration::ZERO,
            weather,
            random: Random::new(seed),
            trace: Trace::new(),
            actors: Vec::new(),
            live: Vec::new(),
            turn: None,
            young: Young::default(),
            late: BTreeMap::new(),
            late_count: 0,
        }
    }

    /// Adds an actor, ready to run.
    pub(super) fn add(
        &mut self,
        name: &str,
        weather: Option<Weather>,
        crash_at: Option<(u64, Effect)>,
        mut by_name: Random,
    ) -> usize {
        let actor = self.actors.len();
        let limit = weather.as_ref().unwrap_or(&self.weather).clock_skew;
        self.actors.push(ActorState {
            name: name.to_owned(),
            weather,
            random: Random::new(self.random.next()),
            crash_at,
            skew: (by_name.duration(limit), by_name.chance(0.5)),
            operations: 0,
            crashed: false,
            ended: false,
            refused: 0,
            condition: Arc::new(Condvar::new()),
            wake: self.clock,
            weight: 1 << self.random.below(WEIGHT_BITS),
        });
        self.live.push(actor);
        actor
    }

    /// Takes `actor`, which has ended, out of the choice.
    pub(super) fn end(&mut self, actor: usize) {
        self.live.retain(|live| *live != actor);
        if let Some(state) = self.actors.get_mut(actor) {
            state.ended = true;
        }
    }

    /// Lets `actor` be chosen again only after `pause`.
    pub(super) fn set_aside(&mut self, actor: usize, pause: Duration) {
        let wake = self.clock.saturating_add(pause);
        if let Some(state) = self.actors.get_mut(actor) {
            state.wake = wake;
        }
    }

    /// Gives the turn to one of those that are ready; if none is, when the first of them is. Returns the condition to notify.
    pub(super) fn choose(&mut self) -> Option<Arc<Condvar>> {
        let first = self.live.iter().filter_map(|live| self.actors.get(*live)).map(|state| state.wake).min();
        self.turn = None;
        self.advance(first?.max(self.clock));
        if self.live.len() > 1 && self.random.below(TURNS_PER_WEIGHT) == 0 {
            let live = self.random.below(self.live.len() as u64) as usize;
            let weight = 1 << self.random.below(WEIGHT_BITS);
            if let Some(state) = self.live.get(live).and_then(|actor| self.actors.get_mut(*actor)) {
                state.weight = weight;
            }
        }
        let clock = self.clock;
        let weight = |actor: usize| {
            let ready = self.actors.get(actor).filter(|state| state.wake <= clock);
            ready.map_or(0, |state| state.weight)
        };
        let total: u64 = self.live.iter().map(|actor| weight(*actor)).sum();
        let mut drawn = if self.live.len() > 1 { self.random.below(total) } else { 0 };
        let chosen = self.live.iter().copied().find(|actor| {
            let weight = weight(*actor);
            let found = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            found
        })?;
        self.turn = Some(chosen);
        self.actors.get(chosen).map(|state| Arc::clone(&state.condition))
    }

    /// Sets the clock, and makes the late changes whose time has come.
    pub(super) fn advance(&mut self, to: Duration) {
        while let Some(entry) = self.late.first_entry().filter(|entry| entry.key().0 <= to) {
            let ((at, _), change) = entry.remove_entry();
            self.clock = at.max(self.clock);
            let name = change.name().clone();
            let verb = if matches!(change, Change::Put(..)) { "late put" } else { "late delete" };
            let outcome = if self.apply(change).is_ok() { "ok" } else { "dropped" };
            self.record(usize::MAX, verb, name.as_str(), outcome);
        }
        self.clock = to;
    }

    /// Lets all late changes come and all listings catch up.
    pub(super) fn settle(&mut self) {
        let last = self.late.last_key_value().map_or(Duration::ZERO, |((at, _), _)| *at);
        self.advance(self.clock.max(last));
        self.advance(self.clock.saturating_add(self.weather.settle_delay));
    }

    /// Makes the change after this time.
    pub(super) fn postpone(&mut self, delay: Duration, change: Change) {
        self.late_count += 1;
        self.late.insert((self.clock.saturating_add(delay), self.late_count), change);
    }

    pub(super) fn apply(&mut self, change: Change) -> Result<(), Error> {
        let name = change.name().clone();
        let before = self.memory.size(&name).ok();
        match change {
            Change::Put(name, bytes) => self.memory.put(&name, &[&bytes])?,
            Change::Delete(name) => self.memory.delete(&name)?,
        }
        if self.weather.settle_delay > Duration::ZERO {
            self.young.forget(self.clock, self.weather.settle_delay);
            self.young.note(self.clock, name, before);
        }
        Ok(())
    }

    /// Begins a listing in a drawn order, for an actor with this weather.
    pub(super) fn begin_listing(&mut self, weather: &Weather, prefix: &str) -> Result<Listing, Error> {
        let mut names: Vec<ObjectName> = self.young.names(prefix).cloned().collect();
        self.memory.list(prefix, &mut |object| {
            names.push(object.name);
            Ok(())
        })?;
        names.sort_unstable();
        names.dedup();
        // The order must not depend on names, which may be random.
        names.sort_by_key(|name| self.trace.ordinal(name.as_str()));
        self.random.shuffle(&mut names);
        let page = 1 + self.random.below(weather.listing_page) as usize;
        let lag = if weather.settle_delay.is_zero() || !self.random.chance(weather.lag) {
            Lag::None
        } else if self.random.chance(0.5) {
            Lag::Whole(self.random.duration(weather.settle_delay))
        } else {
            Lag::Each
        };
        Ok(Listing { names: names.into_iter(), page, lag })
    }

    /// The next objects of a listing; none if all that are left do not show.
    pub(super) fn next_page(&mut self, listing: &mut Listing, bound: Duration) -> Vec<ObjectInfo> {
        let mut page = Vec::new();
        for name in listing.names.by_ref() {
            let lag = match listing.lag {
                Lag::None => Duration::ZERO,
                Lag::Whole(lag) => lag,
                Lag::Each => self.random.duration(bound),
            };
            let moment = self.clock.saturating_sub(lag);
            let current = self.memory.size(&name).ok();
            if let Some(size) = self.young.state_at(moment, &name, current) {
                page.push(ObjectInfo { name, size });
                if page.len() >= listing.page {
                    break;
                }
            }
        }
        page
    }

    pub(super) fn record(&mut self, actor: usize, verb: &'static str, name: &str, outcome: &'static str) {
        let actor_name = self.actors.get(actor).map_or("storage", |state| &state.name);
        self.trace.record(&Entry { clock: self.clock, actor, actor_name, verb, name, outcome });
    }
}
