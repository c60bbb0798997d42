//! Prints the limit alone: seconds of the least work of a backup, a restore and a verification.

use anyhow::{Context, Result};
use cinderblock_benches::extents;
use cinderblock_benches::limit::{Archive, Backup, Limit};
use cinderblock_benches::place::Place;
use cinderblock_benches::report::median_seconds;
use clap::Parser;
use serde::Serialize;

/// Time the least work of a deduplicating backup of a family of volumes, without storing anything.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Threads; all cores if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// How often everything is measured; the medians are printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    threads: usize,
    rounds: usize,
    first: Backup,
    family: Backup,
    unchanged: Backup,
    restore_seconds: f64,
    verify_seconds: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let threads = match arguments.threads {
        Some(threads) => threads.max(1),
        None => std::thread::available_parallelism().context("cannot count the cores")?.get(),
    };
    let rounds = arguments.rounds.max(1);
    let (work, volumes) = arguments.place.prepare("limit")?;

    let (mut first, mut family, mut unchanged) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let limit = Limit::new(threads);
        first.push(limit.backup(&volumes[0])?);
        let mut others = Backup::default();
        for volume in &volumes[1..] {
            others.add(&limit.backup(volume)?);
        }
        family.push(others);
        unchanged.push(limit.backup(&volumes[1])?);
    }
    let archive = Archive::of(&volumes, threads)?;
    let target = work.path().join("restored.img");
    let (mut restore, mut verify) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        restore.push(archive.restore(2, &target)?);
        if round == 0 {
            extents::compare(&volumes[2], &target)?;
        }
        std::fs::remove_file(&target)?;
        verify.push(archive.verify()?);
    }
    let answer = Answer {
        threads,
        rounds,
        first: median(first),
        family: median(family),
        unchanged: median(unchanged),
        restore_seconds: median_seconds(restore).unwrap_or_default(),
        verify_seconds: median_seconds(verify).unwrap_or_default(),
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print_table(&answer);
    }
    Ok(())
}

/// The run of middle length.
fn median(mut runs: Vec<Backup>) -> Backup {
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    runs[runs.len() / 2]
}

fn print_table(answer: &Answer) {
    println!("| step | limit s | read MB | new MB | stored MB |\n|---|---|---|---|---|");
    for (step, backup) in [("first", answer.first), ("family", answer.family), ("unchanged", answer.unchanged)] {
        let [read, new, stored] =
            [backup.read_bytes, backup.new_bytes, backup.stored_bytes].map(|bytes| bytes as f64 / 1e6);
        println!("| {step} | {:.2} | {read:.1} | {new:.1} | {stored:.1} |", backup.seconds);
    }
    println!("| restore | {:.2} | | | |\n| verify | {:.2} | | | |", answer.restore_seconds, answer.verify_seconds);
    println!("\nRounds: {} (medians). Threads: {}.", answer.rounds, answer.threads);
}
