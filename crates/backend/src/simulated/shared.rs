//! [`Shared`]: how the actors' threads take turns.

use std::io;
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::fate::{Answer, Effect, Fate};
use super::weather::Weather;
use super::world::{Change, World};
use crate::{Error, Kind};

/// The wall clock of an actor without skew when the simulation begins: 2023-11-14 22:13:20 UTC.
const START: Duration = Duration::from_secs(1_700_000_000);

/// So many calls of an actor that has crashed are refused with an error. One that goes on all the same is unwound.
const REFUSALS: u64 = 10_000;

/// What is thrown through an actor that goes on after its crash.
pub(super) struct Unwound;

pub(super) struct Shared {
    world: Mutex<World>,
}

type Guard<'a> = MutexGuard<'a, World>;

impl Shared {
    pub(super) fn new(world: World) -> Shared {
        Shared { world: Mutex::new(world) }
    }

    pub(super) fn world(&self) -> Guard<'_> {
        // Nothing of the actors' own runs under the lock.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is the actor's turn for the first time.
    pub(super) fn begin(&self, actor: usize) {
        drop(self.wait(self.world(), actor));
    }

    /// Takes an actor out, whose closure has returned or panicked, and passes its turn on.
    pub(super) fn end(&self, actor: usize, outcome: &'static str) {
        let mut world = self.world();
        world.end(actor);
        world.record(actor, "end", "", outcome);
        self.notify(&world, actor);
        if world.turn == Some(actor) {
            self.pass_on(&mut world);
        }
    }

    /// Sets the actor aside for this long. An actor that has crashed goes on at once.
    pub(super) fn sleep(&self, actor: usize, time: Duration) {
        if let Some(mut world) = self.take_turn(self.world(), actor, time) {
            world.record(actor, "sleep", "", "ok");
        }
    }

    pub(super) fn now(&self, actor: usize) -> SystemTime {
        let world = self.world();
        let time = START.saturating_add(world.clock);
        let (skew, behind) = world.actors.get(actor).map_or((Duration::ZERO, false), |state| state.skew);
        let time = if behind { time.saturating_sub(skew) } else { time.saturating_add(skew) };
        SystemTime::UNIX_EPOCH.checked_add(time).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// What the actor may meet.
    pub(super) fn weather(&self, actor: usize) -> Weather {
        let world = self.world();
        weather(&world, actor).clone()
    }

    /// An operation that does not change what is visible.
    pub(super) fn read<T>(
        &self,
        actor: usize,
        kind: Kind,
        name: &str,
        read: impl FnOnce(&mut World) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (mut world, fate) = self.begin_operation(actor, kind, name)?;
        let result = (fate.effect == Effect::Now).then(|| read(&mut world));
        self.end_operation(world, actor, fate, kind, name, result)
    }

    /// An operation that changes an object.
    pub(super) fn change(&self, actor: usize, kind: Kind, change: Change) -> Result<(), Error> {
        let name = change.name().clone();
        let (mut world, fate) = self.begin_operation(actor, kind, name.as_str())?;
        let result = match fate.effect {
            Effect::Now => Some(world.apply(change)),
            Effect::Never => None,
            Effect::Later(delay) => {
                world.postpone(delay, change);
                None
            }
        };
        self.end_operation(world, actor, fate, kind, name.as_str(), result)
    }

    /// Waits for the actor's turn, and decides what becomes of its operation.
    fn begin_operation(&self, actor: usize, kind: Kind, name: &str) -> Result<(Guard<'_>, Fate), Error> {
        let gone = || gone(kind, name);
        let mut world = self.take_turn(self.world(), actor, Duration::ZERO).ok_or_else(gone)?;
        if let Some(pause) = draw_pause(&mut world, actor) {
            world.record(actor, "pause before", name, "ok");
            world = self.take_turn(world, actor, pause).ok_or_else(gone)?;
        }
        let World { random, actors, weather: common, clock, .. } = &mut *world;
        let Some(state) = actors.get_mut(actor) else { return Err(gone()) };
        let weather = state.weather.as_ref().unwrap_or(common);
        let mut fate = Fate::draw(weather, random, kind);
        if let Some((_, effect)) = state.crash_at.filter(|(at, _)| *at == state.operations) {
            fate = Fate { effect, answer: Answer::Crash };
        }
        state.operations += 1;
        let end = clock.saturating_add(random.duration(weather.operation_time));
        world.advance(end);
        Ok((world, fate))
    }

    fn end_operation<T>(
        &self,
        mut world: Guard<'_>,
        actor: usize,
        fate: Fate,
        kind: Kind,
        name: &str,
        result: Option<Result<T, Error>>,
    ) -> Result<T, Error> {
        let succeeded = matches!(result, Some(Ok(_)));
        world.trace.operations += 1;
        world.record(actor, kind.verb(), name, fate.outcome(succeeded));
        match (fate.answer, result) {
            (Answer::Crash, _) => {
                if let Some(state) = world.actors.get_mut(actor) {
                    state.crashed = true;
                }
                self.notify(&world, actor);
                Err(gone(kind, name))
            }
            (Answer::Failure, Some(Err(error))) => Err(error),
            (Answer::Failure, _) | (Answer::True, None) => Err(io_error(kind, name, "simulated failure")),
            (Answer::True, Some(result)) => {
                if let Some(pause) = draw_pause(&mut world, actor) {
                    world.record(actor, "pause after", name, "ok");
                    // What comes of it, the next operation tells.
                    drop(self.take_turn(world, actor, pause));
                }
                result
            }
        }
    }

    /// Gives the turn away, not to come back before `pause` has passed, and waits for it. None if the actor is gone.
    fn take_turn<'a>(&'a self, world: Guard<'a>, actor: usize, pause: Duration) -> Option<Guard<'a>> {
        // Of several threads of one actor, another may have given the turn away.
        let mut world = self.wait(world, actor)?;
        world.set_aside(actor, pause);
        self.pass_on(&mut world);
        self.wait(world, actor)
    }

    fn pass_on(&self, world: &mut Guard<'_>) {
        let before = world.turn;
        let next = world.choose();
        if world.turn != before
            && let Some(condition) = next
        {
            condition.notify_all();
        }
    }

    fn notify(&self, world: &Guard<'_>, actor: usize) {
        if let Some(state) = world.actors.get(actor) {
            state.condition.notify_all();
        }
    }

    fn wait<'a>(&'a self, mut world: Guard<'a>, actor: usize) -> Option<Guard<'a>> {
        loop {
            let turn = world.turn;
            let state = world.actors.get_mut(actor)?;
            if state.is_gone() {
                state.refused += 1;
                if state.refused > REFUSALS && !std::thread::panicking() {
                    drop(world);
                    resume_unwind(Box::new(Unwound));
                }
                return None;
            }
            if turn == Some(actor) {
                return Some(world);
            }
            let condition = std::sync::Arc::clone(&state.condition);
            world = condition.wait(world).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn weather(world: &World, actor: usize) -> &Weather {
    world.actors.get(actor).and_then(|state| state.weather.as_ref()).unwrap_or(&world.weather)
}

/// How long the actor stands still, if it does. At an operation this is asked twice.
fn draw_pause(world: &mut Guard<'_>, actor: usize) -> Option<Duration> {
    let (probability, longest) = {
        let weather = weather(world, actor);
        (weather.pause / 2.0, weather.longest_pause)
    };
    world.random.chance(probability).then(|| world.random.magnitude(longest))
}

fn io_error(kind: Kind, name: &str, cause: &'static str) -> Error {
    Error::Io { operation: kind.verb(), name: name.to_owned(), source: io::Error::other(cause) }
}

fn gone(kind: Kind, name: &str) -> Error {
    io_error(kind, name, "the simulated process has crashed or ended")
}
