//! Times backups and a restore of a family of volumes with encryption and without, by turns in one run, and prints a Markdown table of the
//! medians.

use std::process::ExitCode;

use anyhow::{Context, Result};
use cinderblock_benches::command::{Cinderblock, Program};
use cinderblock_benches::measure::Instance;
use cinderblock_benches::place::Place;
use clap::Parser;

/// Time the cinderblock command on encrypted repositories beside others.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    program: Program,
    /// How often everything is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(flatten)]
    instance: Instance,
}

/// Wall and processor seconds of one step in each round.
type Times = Vec<(f64, f64)>;

const STEPS: [&str; 3] = ["five volumes", "one again, unchanged", "restore of one"];

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(ended) = arguments.instance.work() {
        return ended;
    }
    let program = arguments.program.find()?;
    let (work, volumes) = arguments.place.prepare("encryption")?;
    let mut times: [[Times; STEPS.len()]; 2] = Default::default();
    let mut stored = [0; 2];
    for round in 0..arguments.rounds.max(1) {
        // By turns, so that what else the machine does hits both.
        for kind in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let folder = work.path().join("repository");
            let mut repository = match kind {
                0 => Cinderblock::init(&program, &folder, None)?,
                _ => Cinderblock::init_encrypted(&program, &folder, None)?,
            };
            let (mut all, mut last) = ((0.0, 0.0), String::new());
            for volume in &volumes {
                let name = volume.file_stem().context("a volume without a name")?.to_string_lossy().into_owned();
                let (id, took) = repository.backup(volume, &name)?;
                all = (all.0 + took.wall, all.1 + took.cpu);
                last = id;
            }
            times[kind][0].push(all);
            let (_, again) = repository.backup(&volumes[4], "other")?;
            times[kind][1].push((again.wall, again.cpu));
            let target = work.path().join("restored");
            let restored = repository.restore(&last, &target)?;
            times[kind][2].push((restored.wall, restored.cpu));
            stored[kind] = repository.stored_bytes()?;
            std::fs::remove_file(target)?;
            std::fs::remove_dir_all(folder)?;
        }
    }
    println!("| step | plain s | encrypted s | ratio | plain CPU s | encrypted CPU s | ratio |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (number, step) in STEPS.iter().enumerate() {
        let median = |kind: usize, of: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = times[kind][number].iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let wall = [0, 1].map(|kind| median(kind, |time| time.0));
        let cpu = [0, 1].map(|kind| median(kind, |time| time.1));
        println!(
            "| {step} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            wall[0],
            wall[1],
            wall[1] / wall[0],
            cpu[0],
            cpu[1],
            cpu[1] / cpu[0]
        );
    }
    println!("\nstored: {} and {} bytes, of the last round", stored[0], stored[1]);
    Ok(ExitCode::SUCCESS)
}
