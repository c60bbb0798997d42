//! Processes of all commands at once on two repositories, killed at random instants: what was said to be made is there, what is there is
//! whole, and `gc` leaves nothing behind that nobody needs.
//!
//! `KILLS=5000` kills more (`make kill`). `SEED=n` repeats the choices of a seed, though not the instants at which the system lets each
//! process run.

mod common;
mod killing;

use std::process::Child;
use std::thread;
use std::time::Duration;

use common::{Place, noise};
use killing::chance::Chance;
use killing::deeds::World;
use killing::rounds::{seed, setting};

const KILLS: u64 = 300;
const PROCESSES: usize = 12;

#[test]
fn killed_processes_lose_nothing() {
    let mut world = World::new(seed());
    world.survive(setting("KILLS").unwrap_or(KILLS), PROCESSES);
}

/// No test, but a process that the test above starts: a collector that declares sessions ended after milliseconds, where the command
/// wants 15 minutes at least.
#[test]
#[ignore = "started by another test"]
fn collect_at_once() {
    killing::collector::collect_at_once();
}

/// A repository is made or not made; what is left of one that was not does not keep it from being made.
#[test]
fn an_init_that_was_killed_is_started_again() {
    let (place, mut chance) = (Place::in_memory(), Chance::new(seed()));
    for number in 0..20 {
        let name = format!("repository-{number}");
        let mut child: Child = place.command(&["init", "--repo", &name]).spawn().unwrap();
        thread::sleep(chance.time(Duration::from_millis(8)));
        child.kill().unwrap();
        child.wait().unwrap();
        if !place.run(&["init", "--repo", &name]).status.success() {
            assert!(place.path(&name).join("cinderblock.json").exists());
        }
        place.file("volume", &noise(number, 100_000));
        place.succeed(&["-q", "--repo", &name, "backup", "volume", "--volume-id", "v"]);
    }
}
