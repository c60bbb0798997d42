//! Processes of all commands at once on two repositories, killed at random instants: what was said to be made is there, what is there is
//! whole, and `gc` leaves nothing behind that nobody needs.
//!
//! `KILLS=5000` kills more (`make kill`). `SEED=n` repeats the choices of a seed, though not the instants at which the system lets each
//! process run.

mod common;
mod killing;

use std::env;
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use cinderblock_backend::Folder;
use cinderblock_store::gc::{GcOptions, Observer};
use cinderblock_store::{OpenOptions, Repository};
use common::{Place, noise};
use killing::chance::Chance;
use killing::deeds::{AT_ONCE, World};
use killing::process::{self, Habits};

const KILLS: u64 = 300;
const PROCESSES: usize = 12;

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64;
    let seed = setting("SEED").unwrap_or_else(now);
    println!("SEED={seed}");
    seed
}

#[test]
fn killed_processes_lose_nothing() {
    let mut world = World::new(seed());
    let mut habits = Habits::default();
    let kills = setting("KILLS").unwrap_or(KILLS);
    for round in 0.. {
        let cache = ["cache", "cache-2"][round % 2];
        let (planned, meanwhile) = world.plan(PROCESSES);
        let planned = world.schedule(planned, &habits);
        for ended in process::run(planned) {
            habits.learn(&ended);
            world.judge(&ended, &meanwhile);
        }
        world.settle(&meanwhile, cache);
        let enough = habits.kills() >= kills;
        if enough || round % 8 == 7 {
            world.restore_all(cache);
        }
        if enough {
            println!("{} processes were killed in {} rounds:\n{}", habits.kills(), round + 1, habits.table());
            break;
        }
    }
    // A copy that was killed ends well when it is started again.
    let copied = world.place.json(&["copy", "--to", "away", "--all"]);
    assert_eq!(copied["failed"], serde_json::json!([]));
    let made = world.here.made();
    for id in &made {
        world.away.0.insert(id.clone(), world.here.0[id].clone());
    }
    for away in [false, true] {
        world.nothing_dead_is_left(away);
    }
    world.settle(&Default::default(), "cache");
    world.restore_all("cache-2");
    for away in [false, true] {
        world.nothing_is_left_of_nothing(away);
    }
}

/// No test, but a process that the test above starts: a collector that declares sessions ended after milliseconds, where the command
/// wants 15 minutes at least.
#[test]
#[ignore = "started by another test"]
fn collect_at_once() {
    let order = env::var(AT_ONCE).expect("another test starts this");
    let [folder, cache, patience] = order.split('\n').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let repository = Repository::open(Arc::new(Folder::open(folder).unwrap()), &OpenOptions::new(cache)).unwrap();
    let fence_after = Duration::from_millis(patience.parse().unwrap());
    let options = GcOptions { grace: Duration::ZERO, fence_after, repack_below: 100, dry_run: false };
    let report = match repository.collect_garbage(&options, &Observer::new(&|_| true)) {
        Ok(report) => report,
        Err(error) => panic!("{:#}", anyhow::Error::new(error)),
    };
    assert_eq!((report.missing, report.damage.len(), report.doubts.len()), (0, 0, 0), "{report:?}");
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
