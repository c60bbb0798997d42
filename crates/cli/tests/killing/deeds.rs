//! What the processes do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::chance::Chance;
use super::model::{self, Known, Model, State};
use super::process::Planned;
use crate::common::Place;

/// What a process does. `away` is the second repository.
#[derive(Clone, Debug)]
pub enum Deed {
    Backup {
        id: String,
    },
    Restore {
        id: String,
        target: String,
    },
    Overwrite {
        id: String,
        target: String,
    },
    Delete {
        ids: Vec<String>,
        away: bool,
    },
    Prune {
        volume: String,
    },
    Protect {
        id: String,
    },
    Collect {
        away: bool,
    },
    /// A collector with less patience than the command allows.
    CollectAtOnce {
        away: bool,
    },
    Verify {
        away: bool,
    },
    Repair {
        away: bool,
    },
    Copy,
    RebuildIndex,
    List,
    Stats,
}

impl Deed {
    pub fn kind(&self) -> &'static str {
        match self {
            Deed::Backup { .. } => "backup",
            Deed::Restore { .. } => "restore",
            Deed::Overwrite { .. } => "restore over",
            Deed::Delete { .. } => "delete",
            Deed::Prune { .. } => "prune",
            Deed::Protect { .. } => "protect",
            Deed::Collect { .. } => "gc",
            Deed::CollectAtOnce { .. } => "gc, impatient",
            Deed::Verify { .. } => "verify",
            Deed::Repair { .. } => "repair",
            Deed::Copy => "copy",
            Deed::RebuildIndex => "rebuild-index",
            Deed::List => "list",
            Deed::Stats => "stats",
        }
    }
}

/// Two repositories, the second one for copies, and what ought to be in them.
pub struct World {
    pub place: Place,
    /// The second repository: a path or a URL.
    pub second: String,
    pub chance: Chance,
    pub here: Model,
    pub away: Model,
    /// Numbers what needs a name.
    pub names: usize,
}

/// What else goes on while a process runs, which excuses some failures.
#[derive(Default)]
pub struct Meanwhile {
    pub deleting: BTreeSet<String>,
    pub deleting_away: BTreeSet<String>,
    /// Volumes that are pruned, and the least number that is kept of each.
    pub pruned: BTreeMap<String, usize>,
    /// Somebody declares sessions ended that are not, and removes what is being written.
    pub impatient: bool,
}

const VOLUMES: [&str; 4] = ["a", "b", "c", "d"];
/// Each with an index of its own, as if they were hosts.
const CACHES: [&str; 2] = ["cache", "cache-2"];

/// Settings of a collector for [`CollectAtOnce`](Deed::CollectAtOnce): repository, cache folder, milliseconds.
pub const AT_ONCE: &str = "CINDERBLOCK_TEST_COLLECT_AT_ONCE";

impl World {
    pub fn new(seed: u64) -> Self {
        let place = Place::in_memory();
        place.succeed(&["init"]);
        let second = place.path("away").to_str().unwrap().to_owned();
        place.succeed(&["init", "--repo", &second]);
        Self::of(seed, place, second)
    }

    /// With a place's repository and a second one, both of which are there and empty.
    pub fn of(seed: u64, place: Place, second: String) -> Self {
        fs::create_dir(place.path("targets")).unwrap();
        Self { place, second, chance: Chance::new(seed), here: Model::default(), away: Model::default(), names: 0 }
    }

    /// The arguments that name one of the repositories.
    pub fn repository(&self, away: bool) -> Vec<&str> {
        if away { vec!["--repo", &self.second] } else { Vec::new() }
    }

    /// The path or the URL of one of the repositories.
    pub fn location(&self, away: bool) -> String {
        if away { self.second.clone() } else { self.place.repository().to_str().unwrap().to_owned() }
    }

    /// The processes of a round, and what each of them has to reckon with.
    pub fn plan(&mut self, processes: usize) -> (Vec<(Deed, Command)>, Meanwhile) {
        let mut meanwhile = Meanwhile::default();
        let mut planned: Vec<(Deed, Command)> = Vec::new();
        while planned.len() < processes {
            if let Some(deed) = self.choose(&mut meanwhile) {
                let command = self.command(&deed, &meanwhile);
                planned.push((deed, command));
            }
        }
        (planned, meanwhile)
    }

    /// The same with times, and with instants at which some are killed.
    pub fn schedule(&mut self, planned: Vec<(Deed, Command)>, habits: &super::process::Habits) -> Vec<Planned> {
        let mut schedule = |(deed, command): (Deed, Command)| {
            let start = self.chance.time(Duration::from_millis(60));
            let kill = self.chance.in_100(85).then(|| habits.instant(deed.kind(), &mut self.chance));
            Planned { deed, command, start, kill }
        };
        planned.into_iter().map(&mut schedule).collect()
    }

    fn choose(&mut self, meanwhile: &mut Meanwhile) -> Option<Deed> {
        let number = self.chance.below(100);
        let somewhere = self.chance.in_100(25);
        let made = self.here.made();
        let some_backup = self.chance.one_of(&made).cloned();
        self.names += 1;
        let target = format!("targets/{}", self.names);
        Some(match number {
            0..34 => self.new_backup(),
            34..43 => Deed::Restore { id: some_backup?, target },
            43..47 => Deed::Overwrite { id: some_backup?, target },
            47..58 => self.new_deletion(meanwhile)?,
            58..62 => {
                let volume = (*self.chance.one_of(&VOLUMES)?).to_owned();
                let deleting = self.here.made_of(&volume).iter().any(|id| meanwhile.deleting.contains(id));
                if deleting {
                    return None;
                }
                meanwhile.pruned.entry(volume.clone()).or_insert(2 + self.chance.below(3));
                Deed::Prune { volume }
            }
            62..64 => Deed::Protect { id: some_backup? },
            64..74 => Deed::Collect { away: somewhere },
            74..80 => {
                meanwhile.impatient = true;
                Deed::CollectAtOnce { away: somewhere }
            }
            80..86 => Deed::Verify { away: somewhere },
            86..90 => Deed::Repair { away: somewhere },
            90..95 => Deed::Copy,
            95..97 => Deed::RebuildIndex,
            97..99 => Deed::List,
            _ => Deed::Stats,
        })
    }

    fn new_backup(&mut self) -> Deed {
        let id = format!("{:08x}-0000-4000-8000-{:012x}", self.chance.next() as u32, self.names);
        let volume = (*self.chance.one_of(&VOLUMES).unwrap()).to_owned();
        let content = model::content(&mut self.chance);
        let known = Known { volume, content, state: State::MayBeMade, created_at: None };
        self.here.0.insert(id.clone(), known);
        Deed::Backup { id }
    }

    fn new_deletion(&mut self, meanwhile: &mut Meanwhile) -> Option<Deed> {
        let away = self.chance.in_100(20);
        let (model, deleting) = match away {
            true => (&self.away, &mut meanwhile.deleting_away),
            false => (&self.here, &mut meanwhile.deleting),
        };
        let free =
            |id: &String| !deleting.contains(id) && (away || !meanwhile.pruned.contains_key(&model.0[id].volume));
        let all: Vec<String> = model.made().into_iter().filter(free).collect();
        let first = self.chance.one_of(&all)?.clone();
        let mut ids = BTreeSet::from([first]);
        ids.extend(self.chance.one_of(&all).cloned().filter(|_| all.len() > 6));
        deleting.extend(ids.iter().cloned());
        Some(Deed::Delete { ids: ids.into_iter().collect(), away })
    }

    fn command(&mut self, deed: &Deed, meanwhile: &Meanwhile) -> Command {
        let place = &self.place;
        let cache = CACHES[self.chance.below(CACHES.len())];
        let mut options = vec!["--json", "--memory", "96M", "--threads", "2", "--cache-dir", cache];
        let second = self.second.as_str();
        let in_away = |away: &bool| if *away { vec!["--repo", second] } else { Vec::new() };
        let keep;
        match deed {
            Deed::Backup { id } => {
                let known = &self.here.0[id];
                place.file(id, &model::bytes(&known.content));
                options.extend(["backup", id, "--volume-id", &known.volume, "--backup-id", id]);
            }
            Deed::Restore { id, target } => options.extend(["restore", id, target]),
            Deed::Overwrite { id, target } => {
                let mut bytes = model::bytes(&model::content(&mut self.chance));
                bytes.resize(model::bytes(&self.here.0[id].content).len(), 1);
                place.file(target, &bytes);
                options.extend(["restore", id, target, "--existing"]);
            }
            Deed::Delete { ids, away } => {
                options.extend(in_away(away));
                options.push("delete");
                options.extend(ids.iter().map(String::as_str));
            }
            Deed::Prune { volume } => {
                keep = meanwhile.pruned[volume].to_string();
                options.extend(["prune", "--volume-id", volume, "--keep-last", &keep]);
            }
            Deed::Protect { id } => options.extend(["protect", id, "--until", "1d"]),
            Deed::Collect { away } => {
                options.extend(in_away(away));
                let grace = if self.chance.in_100(50) { "0s" } else { "2s" };
                options.extend(["gc", "--grace", grace, "--fence-after", "15m", "--repack-below"]);
                options.push(if self.chance.in_100(50) { "50" } else { "100" });
            }
            Deed::CollectAtOnce { away } => {
                let patience = [0, 20, 200, 2000][self.chance.below(4)];
                return self.collect_at_once(*away, cache, patience);
            }
            Deed::Verify { away } => {
                options.extend(in_away(away));
                options.extend(["verify", "--read-data"]);
            }
            Deed::Repair { away } => {
                options.extend(in_away(away));
                options.extend(["repair", "--read-data"]);
            }
            Deed::Copy => options.extend(["copy", "--to", second, "--all"]),
            Deed::RebuildIndex => options.push("rebuild-index"),
            Deed::List => options.push("list"),
            Deed::Stats => options.push("stats"),
        }
        place.command(&options)
    }

    /// A process of this very program, which collects garbage and waits for nobody who was silent for so many milliseconds.
    pub fn collect_at_once(&self, away: bool, cache: &str, patience: u64) -> Command {
        let order = format!("{}\n{}\n{patience}", self.location(away), self.place.path(cache).display());
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--ignored", "--exact", "collect_at_once", "--nocapture"]).env(AT_ONCE, order);
        process.envs(self.place.environment().iter().map(|(name, value)| (name, value)));
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process
    }
}
