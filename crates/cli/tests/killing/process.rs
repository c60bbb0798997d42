//! Processes side by side, some of which are killed.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::deeds::Deed;

/// A process that is to run.
pub struct Planned {
    pub deed: Deed,
    pub command: Command,
    /// When, after the round's beginning.
    pub start: Duration,
    /// How long after its start it is killed, if it is.
    pub kill: Option<Duration>,
}

/// A process that has ended.
pub struct Ended {
    pub deed: Deed,
    pub status: ExitStatus,
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Whether it was killed before it came to its end.
    pub fn killed(&self) -> bool {
        self.status.signal() == Some(9)
    }
}

/// Runs all of them, each from its time on, and waits for their ends.
pub fn run(planned: Vec<Planned>) -> Vec<Ended> {
    let beginning = Instant::now();
    let run = |Planned { deed, mut command, start, kill }: Planned| {
        thread::sleep(start.saturating_sub(beginning.elapsed()));
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        if let Some(kill) = kill {
            thread::sleep(kill.saturating_sub(started.elapsed()));
            // It may have ended; nobody else has its number before it was waited for.
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Ended { deed, status: output.status, took: started.elapsed(), stdout, stderr }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = planned.into_iter().map(|planned| scope.spawn(move || run(planned))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// How long each kind of process takes beside the others, and how many were killed.
#[derive(Default)]
pub struct Habits {
    usual: HashMap<&'static str, Duration>,
    kills: HashMap<&'static str, (u64, u64)>,
}

impl Habits {
    /// An instant within the usual time of such a process, or a little later.
    pub fn instant(&self, kind: &'static str, chance: &mut Chance) -> Duration {
        let usual = self.usual.get(kind).copied().unwrap_or(Duration::from_millis(60));
        chance.time(usual + usual / 10)
    }

    pub fn learn(&mut self, ended: &Ended) {
        let kind = ended.deed.kind();
        let (runs, kills) = self.kills.entry(kind).or_default();
        *runs += 1;
        if ended.killed() {
            *kills += 1;
        } else {
            let usual = self.usual.entry(kind).or_insert(ended.took);
            *usual = (*usual * 3 + ended.took) / 4;
        }
    }

    /// Processes that were killed before they came to their end.
    pub fn kills(&self) -> u64 {
        self.kills.values().map(|(_, kills)| kills).sum()
    }

    /// The same by kind.
    pub fn table(&self) -> String {
        let mut kinds: Vec<_> = self.kills.iter().collect();
        kinds.sort();
        let line = |(kind, (runs, kills)): (&&str, &(u64, u64))| {
            let usual = self.usual.get(*kind).map_or(0, Duration::as_millis);
            format!("    {kind:<16} {kills:>5} of {runs:>5}, which else take {usual} ms\n")
        };
        kinds.into_iter().map(line).collect()
    }
}
