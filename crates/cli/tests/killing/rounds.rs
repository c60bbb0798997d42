//! Rounds of processes, until enough were killed.

use std::env;
use std::time::SystemTime;

use super::deeds::World;
use super::process::{self, Habits};

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// SEED, or a new one, which is told.
pub fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64;
    let seed = setting("SEED").unwrap_or_else(now);
    println!("SEED={seed}");
    seed
}

impl World {
    /// Runs so many processes at once, round after round, until `kills` were killed, and looks at what they left. At the end
    /// everything is restored, copied, collected, deleted and collected again.
    pub fn survive(&mut self, kills: u64, processes: usize) {
        let mut habits = Habits::default();
        for round in 0.. {
            let cache = ["cache", "cache-2"][round % 2];
            let (planned, meanwhile) = self.plan(processes);
            let planned = self.schedule(planned, &habits);
            for ended in process::run(planned) {
                habits.learn(&ended);
                self.judge(&ended, &meanwhile);
            }
            self.settle(&meanwhile, cache);
            let enough = habits.kills() >= kills;
            if enough || round % 8 == 7 {
                self.restore_all(cache);
            }
            if enough {
                println!("{} processes were killed in {} rounds:\n{}", habits.kills(), round + 1, habits.table());
                break;
            }
        }
        // A copy that was killed ends well when it is started again.
        let copied = self.place.json(&["copy", "--to", &self.second, "--all"]);
        assert_eq!(copied["failed"], serde_json::json!([]));
        for id in self.here.made() {
            let known = self.here.0[&id].clone();
            self.away.0.insert(id, known);
        }
        for away in [false, true] {
            self.nothing_dead_is_left(away);
        }
        self.settle(&Default::default(), "cache");
        self.restore_all("cache-2");
        for away in [false, true] {
            self.nothing_is_left_of_nothing(away);
        }
    }
}
