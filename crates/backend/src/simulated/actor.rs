//! [`Actor`]: what runs in a simulation; [`ActorHandle`]: what it is given; [`Ended`]: what became of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::fate::Effect;
use super::shared::Shared;
use super::view::View;
use super::weather::Weather;
use crate::Backend;

pub(super) type Body<'a> = Box<dyn FnOnce(ActorHandle) + Send + 'a>;

/// A process or thread of a simulation: a closure with its own connection to the store and its own clock.
pub struct Actor<'a> {
    pub(super) name: String,
    pub(super) body: Body<'a>,
    pub(super) weather: Option<Weather>,
    pub(super) crash_at: Option<(u64, Effect)>,
}

impl<'a> Actor<'a> {
    /// An actor that runs `body`, on a thread of its own. Actors of one name, in one run or several, have the same clock:
    /// they are on one host.
    pub fn new(name: impl Into<String>, body: impl FnOnce(ActorHandle) + Send + 'a) -> Actor<'a> {
        Actor { name: name.into(), body: Box::new(body), weather: None, crash_at: None }
    }

    /// Its own weather instead of the simulation's. Its listings lag by at most the simulation's `settle_delay`, too.
    pub fn weather(self, weather: Weather) -> Actor<'a> {
        Actor { weather: Some(weather), ..self }
    }

    /// Crashes when it begins its `n`-th operation, counted from 0, which does not happen.
    pub fn crash_before(self, n: u64) -> Actor<'a> {
        Actor { crash_at: Some((n, Effect::Never)), ..self }
    }

    /// Crashes when its `n`-th operation, counted from 0, has happened, before it hears of it.
    pub fn crash_after(self, n: u64) -> Actor<'a> {
        Actor { crash_at: Some((n, Effect::Now)), ..self }
    }
}

impl fmt::Debug for Actor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What an actor has of its simulation. Clones are the same actor.
#[derive(Clone)]
pub struct ActorHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) actor: usize,
}

impl ActorHandle {
    /// The store. When the actor has crashed or ended, every operation fails with [`Error::Io`](crate::Error::Io)
    /// and has no effect.
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(View { shared: Arc::clone(&self.shared), actor: self.actor })
    }

    /// Sleeps in virtual time, which takes no real time; with zero, it just lets others take a turn. Returns at
    /// once if the actor has crashed.
    pub fn sleep(&self, time: Duration) {
        self.shared.sleep(self.actor, time);
    }

    /// The actor's wall clock: virtual time, and how far this clock is ahead or behind. A simulation begins in November 2023.
    pub fn now(&self) -> SystemTime {
        self.shared.now(self.actor)
    }

    /// Virtual time since the simulation began, the same for all actors: a monotonic clock.
    pub fn elapsed(&self) -> Duration {
        self.shared.world().clock
    }

    /// Fills `bytes` with the actor's own random bytes, which the simulation's seed determines: for ids and nonces of code that is
    /// to do the same each time.
    pub fn fill_random(&self, bytes: &mut [u8]) {
        let mut world = self.shared.world();
        let Some(state) = world.actors.get_mut(self.actor) else { return };
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&state.random.next().to_le_bytes()[..chunk.len()]);
        }
    }

    /// Whether the actor has crashed, so that nothing that it does has any effect.
    pub fn has_crashed(&self) -> bool {
        self.shared.world().actors.get(self.actor).is_some_and(|state| state.crashed)
    }
}

impl fmt::Debug for ActorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorHandle").field("actor", &self.actor).finish_non_exhaustive()
    }
}

/// What became of an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The actor's name.
    pub name: String,
    /// How it ended.
    pub ending: Ending,
    /// The operations that it began: those that [`Actor::crash_before`] counts.
    pub operations: u64,
}

/// How an actor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its closure returned.
    Finished,
    /// It crashed by the simulation's will, however its closure ended after that.
    Crashed,
    /// Its closure panicked, with this message.
    Panicked(String),
}
