//! One run: who takes part, and what is checked in the end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use cinderblock_backend::Backend;
use cinderblock_backend::simulated::{Actor, Ending, Simulation, Weather};
use cinderblock_chunker::ChunkSize;

use super::actors::{Process, below, check, open, secret};
use super::model::{CHUNK, Model};
use super::plot::Plot;
use super::repairer::repair;
use crate::error::Error;
use crate::fence;
use crate::gc::{GcOptions, Observer};
use crate::id::PackId;
use crate::layout;
use crate::listing;
use crate::random::seeded;
use crate::repository::Repository;
use crate::sabotage::{Step, sabotage};
use crate::usage::Reached;

/// What became of a run.
pub(super) struct Outcome {
    pub verdict: Result<(), String>,
    pub trace: u64,
    pub operations: u64,
    pub log: Vec<String>,
}

/// Runs a seed, with a step of the protocol left out or not.
pub(super) fn run(seed: u64, step: Option<Step>, keep_log: bool) -> Outcome {
    let plot = Plot::of(seed);
    let mut simulation = Simulation::new(seed, plot.weather(seed));
    if keep_log {
        simulation.keep_log();
    }
    seeded::seed(Some(seed));
    let calm = simulation.calm_view();
    let size = ChunkSize::new(CHUNK as u64).expect("a chunk size");
    // Every fourth one is encrypted: all that there is goes through the same functions.
    match seed % 4 {
        3 => Repository::create_encrypted(&*calm, size, &secret(), "").expect("a repository"),
        _ => Repository::create(&*calm, size).expect("a repository"),
    };
    let seal = open(calm.clone(), None).expect("the repository").seal().clone();
    let model = Model::new(calm, seal);
    for round in 0..1 + below(2) {
        let mut actors = Vec::new();
        let model = &model;
        let mut add = |name: String, weather: Option<&Weather>, act: fn(Process<'_>)| {
            let seed = seeded::next().expect("a seed");
            let actor = Actor::new(name, move |handle| {
                sabotage(step);
                act(Process::new(handle, model, plot, seed));
            });
            actors.push(match weather {
                Some(weather) => actor.weather(weather.clone()),
                None => actor,
            });
        };
        let [writers, collectors, readers, deleters, repairers] = plot.cast();
        for n in 0..writers {
            add(format!("writer-{round}-{n}"), plot.weather_of_writers().as_ref(), |process| process.write());
        }
        for n in 0..collectors {
            add(format!("collector-{round}-{n}"), None, |process| process.collect());
        }
        for n in 0..readers {
            add(format!("reader-{round}-{n}"), None, |process| process.read());
        }
        for n in 0..deleters {
            add(format!("deleter-{round}-{n}"), None, |process| process.delete());
        }
        for n in 0..repairers {
            add(format!("rot-{round}-{n}"), None, |process| process.rot());
            add(format!("repairer-{round}-{n}"), None, |process| process.repair());
        }
        for ended in simulation.run(actors) {
            if let Ending::Panicked(message) = ended.ending {
                model.violated(format!("{} panicked: {message}", ended.name));
            }
        }
    }
    // Who looks afterwards is a reader, too.
    sabotage(step.filter(|step| *step == Step::ReaderCheck));
    let ending = at_the_end(&mut simulation, &model);
    sabotage(None);
    if let Err(failure) = ending {
        model.violated(failure);
    }
    seeded::seed(None);
    Outcome {
        verdict: model.verdict(),
        trace: simulation.trace(),
        operations: simulation.operations(),
        log: simulation.take_log(),
    }
}

/// Quiet, a repair where something went bad, and two collections; then all is as it ought to be.
fn at_the_end(simulation: &mut Simulation, model: &Model) -> Result<(), String> {
    simulation.settle();
    if !model.has_rotted() {
        check_backups(simulation, model)?;
    }
    simulation.set_weather(Weather::calm());
    if model.has_rotted() {
        let seed = seeded::next().expect("a seed");
        let repairer = Actor::new("last-repairer", move |handle| {
            seeded::seed(Some(seed));
            let repository = open(handle.backend(), Some(handle.clone())).expect("a repository");
            repair(&repository, model, &|| false).expect("a repair");
        });
        for ended in simulation.run([repairer]) {
            if ended.ending != Ending::Finished {
                return Err(format!("the last repair: {:?}", ended.ending));
            }
        }
        check_backups(simulation, model)?;
    }
    for _ in 0..2 {
        simulation.advance(Duration::from_secs(10 * 86_400));
        let seed = seeded::next().expect("a seed");
        let collector = Actor::new("last-collector", move |handle| {
            seeded::seed(Some(seed));
            let repository = open(handle.backend(), Some(handle.clone())).expect("a repository");
            let options = GcOptions { repack_below: 0, ..GcOptions::default() };
            let report = repository.collect_garbage(&options, &Observer::new(&|_| true)).expect("a collection");
            assert!(report.doubts.is_empty() && report.damage.is_empty() && report.missing == 0, "{report:?}");
            assert!(report.waiting.is_empty(), "{report:?}");
        });
        for ended in simulation.run([collector]) {
            if ended.ending != Ending::Finished {
                return Err(format!("the last collection: {:?}", ended.ending));
            }
        }
    }
    check_backups(simulation, model)?;
    match find_dead(simulation).map_err(|error| error.to_string())? {
        None => Ok(()),
        Some(dead) => Err(dead),
    }
}

fn check_backups(simulation: &Simulation, model: &Model) -> Result<(), String> {
    let repository = open(simulation.calm_view(), None).map_err(|error| error.to_string())?;
    let found = repository.backups(None).map_err(|error| error.to_string())?;
    let mut there = BTreeSet::new();
    for (volume, id) in found {
        match repository.record(&volume, id) {
            Ok(record) => {
                there.insert(id);
                check(&repository, &record, model)
                    .map_err(|error| format!("backup {id} is there and broken: {error}"))?;
            }
            Err(Error::BackupNotFound { .. }) => {}
            Err(error) => return Err(format!("the record of {id}: {error}")),
        }
    }
    for (id, known) in model.backups().iter() {
        if known.committed && !known.deleted && !there.contains(id) {
            return Err(format!("backup {id} was committed and is lost"));
        }
        if known.refused && there.contains(id) {
            return Err(format!("backup {id} was refused and is there"));
        }
    }
    Ok(())
}

/// What is there and ought not to be.
fn find_dead(simulation: &Simulation) -> Result<Option<String>, Error> {
    let backend = simulation.calm_view();
    let repository = open(backend.clone(), None)?;
    let (mut reached, mut writers) = (Reached::default(), HashSet::new());
    for (volume, id) in repository.backups(None)? {
        let record = repository.record(&volume, id)?;
        repository.reach(&record, &mut reached)?;
        writers.insert(record.session);
    }
    let live: BTreeSet<PackId> = reached.packs().collect();
    let packs: BTreeSet<PackId> = listing::packs::<BTreeMap<_, u64>>(&*backend)?.into_keys().collect();
    if let Some(dead) = packs.difference(&live).next() {
        return Ok(Some(format!("pack {dead} is dead and still there")));
    }
    for prefix in [layout::SESSIONS, layout::COLLECTIONS] {
        if let Some(object) = listing::any(&*backend, prefix)? {
            return Ok(Some(format!("{object} is left")));
        }
    }
    // Of a collector that was killed between its fence and its verdict, which nobody else may take back.
    for (session, by) in fence::fences(&*backend)? {
        if !writers.contains(&session) {
            return Ok(Some(format!("the fence of collector {by} around session {session} is left")));
        }
    }
    let mut stale = None;
    backend.list(layout::DAMAGE, &mut |info| {
        let pack = layout::parse_damage(&info.name).map(|(pack, _)| pack);
        if pack.is_none_or(|pack| !packs.contains(&pack)) {
            stale = Some(info.name);
        }
        Ok(())
    })?;
    if let Some(note) = stale {
        return Ok(Some(format!("{note} is left, and its pack is gone")));
    }
    for id in repository.list_segments()? {
        if let Some(pack) = repository.check_segment(id)?.into_iter().find(|pack| !packs.contains(pack)) {
            return Ok(Some(format!("segment {id} names pack {pack}, which is gone")));
        }
    }
    Ok(None)
}
