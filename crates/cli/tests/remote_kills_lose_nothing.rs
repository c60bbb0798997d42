//! Processes of all commands at once on two repositories in a bucket, killed at random instants. See `killed_processes_lose_nothing`,
//! which does the same in folders.
//!
//! `KILLS=1000` kills more (`make test-remote KILLS=1000`); `SEED=n` repeats the choices of a seed.

mod common;
mod killing;
#[macro_use]
mod remote;

use killing::deeds::World;
use killing::rounds::{seed, setting};
use remote::{Store, init};

const KILLS: u64 = 20;
const PROCESSES: usize = 8;

on_each_store!(killed_processes_lose_nothing);

fn killed_processes_lose_nothing(store: &Store) {
    let (place, second) = (store.place(), store.url());
    init(&place, &["--repo", &second]);
    World::of(seed(), place, second).survive(setting("KILLS").unwrap_or(KILLS), PROCESSES);
}

/// No test, but a process that the tests above start.
#[test]
#[ignore = "started by another test"]
fn collect_at_once() {
    killing::collector::collect_at_once();
}
