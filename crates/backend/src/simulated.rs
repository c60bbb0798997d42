//! Several processes that share a store, in an order, at times and with mishaps that a seed decides.
//!
//! A [`Simulation`] has a store in memory, a clock of its own, and [`Actor`]s: closures with blocking calls, each on a
//! thread of its own. Only one of them runs at a time. With each operation on the store an actor gives its turn away,
//! and the seed chooses who is next. The [`Weather`] says what else may happen: pauses of days, crashes, failures with
//! and without effect, changes that come late, listings that lag, clocks that are off. The same seed does the same
//! thing each time, so that a failure can be replayed.
//!
//! ```
//! use cinderblock_backend::simulated::{Actor, Ending, Simulation, Weather};
//! use cinderblock_backend::{Backend, ObjectName};
//!
//! for seed in 0..100 {
//!     let mut simulation = Simulation::new(seed, Weather { lost_answer: 0.2, ..Weather::calm() });
//!     let actors = ["left", "right"].map(|side| {
//!         Actor::new(side, move |handle| {
//!             let backend = handle.backend();
//!             for n in 0..3 {
//!                 let name = ObjectName::new(format!("{side}/{n}")).unwrap();
//!                 let put = backend.put(&name, &[b"x"]);
//!                 assert!(put.is_ok() || backend.size(&name).is_ok());
//!             }
//!         })
//!     });
//!     let ended = simulation.run(actors);
//!     assert!(ended.iter().all(|actor| actor.ending == Ending::Finished), "seed {seed}: {ended:?}");
//!
//!     let mut objects = 0;
//!     simulation.calm_view().list("", &mut |_| {
//!         objects += 1;
//!         Ok(())
//!     })?;
//!     assert_eq!(objects, 6);
//! }
//! # Ok::<(), cinderblock_backend::Error>(())
//! ```
//!
//! # What the actors must keep to
//!
//! - Between operations an actor may do anything but wait for another one in real time. An actor that holds a lock during
//!   an operation, and another that waits for this lock, wait for ever. Wait with [`ActorHandle::sleep`].
//! - Time, random numbers and iteration over hash maps are not the seed's unless they come from the [`ActorHandle`]. The trace does
//!   not depend on the names of objects, so names may be random.
//! - An actor may have several threads that use its view. That is safe, and the order of their operations is the
//!   machine's, not the seed's.

mod actor;
mod fate;
mod random;
mod shared;
mod trace;
mod view;
mod weather;
mod world;
mod young;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use actor::{Actor, ActorHandle, Ended, Ending};
pub use weather::Weather;

use crate::Memory;
use actor::Body;
use random::{FNV_START, Random, fnv};
use shared::Shared;
use world::World;

/// A store, a clock, and the seed that decides what happens to those who use them.
pub struct Simulation {
    seed: u64,
    shared: Arc<Shared>,
}

impl Simulation {
    /// An empty store at virtual time zero.
    pub fn new(seed: u64, weather: Weather) -> Simulation {
        Simulation { seed, shared: Arc::new(Shared::new(World::new(seed, weather))) }
    }

    /// Runs the actors until all have ended, and tells how, in their order. May be called again: the store, the clock
    /// and the changes that are to come late stay.
    pub fn run<'a>(&mut self, actors: impl IntoIterator<Item = Actor<'a>>) -> Vec<Ended> {
        let mut world = self.shared.world();
        let bodies: Vec<(usize, Body<'a>)> = actors
            .into_iter()
            .map(|actor| {
                let host = Random::new(self.seed ^ fnv(FNV_START, actor.name.as_bytes()));
                (world.add(&actor.name, actor.weather, actor.crash_at, host), actor.body)
            })
            .collect();
        // No thread waits as yet, and one that begins looks whose turn it is.
        drop(world.choose());
        drop(world);
        let this = &*self;
        thread::scope(|scope| {
            let threads: Vec<_> = bodies
                .into_iter()
                .map(|(actor, body)| (actor, scope.spawn(move || this.run_actor(actor, body))))
                .collect();
            threads.into_iter().map(|(actor, thread)| this.ended(actor, thread.join())).collect()
        })
    }

    /// Runs one actor on this thread. Returns the message of its panic.
    fn run_actor(&self, actor: usize, body: Body<'_>) -> Option<String> {
        self.shared.begin(actor);
        let handle = ActorHandle { shared: Arc::clone(&self.shared), actor };
        let panic = catch_unwind(AssertUnwindSafe(|| body(handle))).err().map(|payload| message(&*payload));
        self.shared.end(actor, if panic.is_some() { "panicked" } else { "finished" });
        panic
    }

    fn ended(&self, actor: usize, panic: thread::Result<Option<String>>) -> Ended {
        let panic = panic.unwrap_or_else(|payload| Some(message(&*payload)));
        let world = self.shared.world();
        let (name, operations, crashed) = world
            .actors
            .get(actor)
            .map(|state| (state.name.clone(), state.operations, state.crashed))
            .unwrap_or_default();
        let ending = match panic {
            _ if crashed => Ending::Crashed,
            None => Ending::Finished,
            Some(message) => Ending::Panicked(message),
        };
        Ended { name, ending, operations }
    }

    /// The store itself, without turns, time and weather: what is there at the end of a run, or put there before one. What
    /// changes here shows in listings at once.
    pub fn calm_view(&self) -> Arc<Memory> {
        Arc::clone(&self.shared.world().memory)
    }

    /// Changes the weather for the runs to come, but for actors that bring their own.
    pub fn set_weather(&mut self, weather: Weather) {
        self.shared.world().weather = weather;
    }

    /// Lets virtual time pass.
    pub fn advance(&mut self, time: Duration) {
        let mut world = self.shared.world();
        let to = world.clock.saturating_add(time);
        world.advance(to);
    }

    /// Lets virtual time pass until every change that was to come late has come and no listing lags.
    pub fn settle(&mut self) {
        self.shared.world().settle();
    }

    /// Virtual time since the simulation began.
    pub fn elapsed(&self) -> Duration {
        self.shared.world().clock
    }

    /// The operations of all actors so far.
    pub fn operations(&self) -> u64 {
        self.shared.world().trace.operations
    }

    /// A hash of all that happened so far, in order: who did what to which object, when, and what came of it. Equal for
    /// two simulations that did the same, whatever the names of the objects.
    pub fn trace(&self) -> u64 {
        self.shared.world().trace.hash
    }

    /// Keeps a log from now on: a line of about 100 bytes for each operation, pause, sleep and ending.
    pub fn keep_log(&mut self) {
        self.shared.world().trace.log.get_or_insert_default();
    }

    /// Takes the log out. Each line has the virtual time in seconds, the actor, what it did and what came of it:
    /// `12.003417 writer: put packs/ab: ok, answer lost`.
    pub fn take_log(&mut self) -> Vec<String> {
        self.shared.world().trace.log.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.shared.world();
        f.debug_struct("Simulation")
            .field("seed", &self.seed)
            .field("elapsed", &world.clock)
            .field("operations", &world.trace.operations)
            .field("trace", &world.trace.hash)
            .finish_non_exhaustive()
    }
}

/// What a panic says.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without message".to_owned())
}

#[cfg(test)]
mod tests;
