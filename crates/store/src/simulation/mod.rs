//! A deterministic simulation of writers, readers, deleters and collectors that share a repository.
//!
//! The store's real code runs on a simulated backend, whose every operation a seed schedules: who is next, who stands still for
//! days, who crashes, which answer is lost, which listing lags, whose clock is wrong, which bits of packs flip. After each run every backup that was
//! reported as committed has to come back, byte for byte, whatever else there is has to be whole, and after a quiet time and two
//! collections nothing dead may remain.
//!
//! `SEEDS=FROM..TO cargo test --release -p cinderblock-store --lib simulation` runs others; `make simulate` goes on and on.

mod actors;
mod model;
mod plot;
mod repairer;
mod scenario;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sabotage::Step;
use scenario::{Outcome, run};

/// The seeds of an ordinary test run.
const SEEDS: Range<u64> = 0..2000;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SEEDS") else { return SEEDS };
    let range = match text.split_once("..") {
        Some((from, to)) => from.parse().ok().zip(to.parse().ok()).map(|(from, to)| from..to),
        None => text.parse().ok().map(|seed| seed..seed + 1),
    };
    range.expect("SEEDS=FROM..TO or SEEDS=SEED")
}

/// Runs seeds on all processors until one fails; what the failing one said.
fn first_failure(seeds: Range<u64>, step: Option<Step>) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let worker = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return None;
        }
        if let Err(failure) = run(seed, step, false).verdict {
            next.store(seeds.end, Ordering::Relaxed);
            return Some((seed, failure));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("a worker")).min()
    })
}

#[test]
fn nothing_is_lost_and_nothing_dead_remains() {
    if let Some((seed, failure)) = first_failure(seeds(), None) {
        let Outcome { log, .. } = run(seed, None, true);
        let path = std::env::temp_dir().join(format!("cinderblock-simulation-{seed}.log"));
        std::fs::write(&path, log.join("\n")).expect("the log");
        panic!("seed {seed}: {failure}\nReplay: SEEDS={seed}; its log: {}", path.display());
    }
}

#[test]
fn a_seed_does_the_same_each_time() {
    for seed in 0..20 {
        let (first, second) = (run(seed, None, false), run(seed, None, false));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert!(first.operations > 100, "seed {seed}: {} operations", first.operations);
    }
    assert_ne!(run(1, None, false).trace, run(2, None, false).trace);
}

/// Looks for seeds that notice that a step is left out; prints a line for each.
fn missed(steps: &[Step], seeds: Range<u64>) {
    let mut unnoticed = Vec::new();
    let mut table = String::new();
    for step in steps {
        match first_failure(seeds.clone(), Some(*step)) {
            Some((seed, failure)) => {
                let failure = failure.lines().next().unwrap_or_default().to_owned();
                table.push_str(&format!("{step:?}: seed {seed}: {failure}\n"));
            }
            None => unnoticed.push(*step),
        }
    }
    println!("{table}");
    assert!(unnoticed.is_empty(), "left out, these steps are not missed: {unnoticed:?}");
}

/// Left out, these steps are missed soon.
#[test]
fn steps_of_the_protocol_matter() {
    let steps = [
        Step::AvoidCondemned,
        Step::ForgetPacks,
        Step::FenceCheck,
        Step::Wait,
        Step::Fence,
        Step::LookAfterFence,
        Step::SecondMark,
        Step::Salvage,
        Step::KeptDirectory,
        Step::EndLast,
        Step::ReaderCheck,
        Step::Settle,
        Step::OwnTombstone,
    ];
    missed(&steps, 0..4000);
}

/// Each step of the protocol, left out, is noticed by some seed; some only by one in many thousands. `docs/design.md` has the
/// table. `STEP=NAME` looks for one alone.
#[test]
#[ignore = "takes minutes: make simulate-steps"]
fn every_step_of_the_protocol_matters() {
    let wanted = std::env::var("STEP").ok();
    let mut steps = Step::ALL.to_vec();
    steps.retain(|step| wanted.as_ref().is_none_or(|wanted| format!("{step:?}") == *wanted));
    missed(&steps, 0..200_000);
}
