//! Times a family of volumes with several chunk sizes and compressions, by turns in one run, and prints a Markdown table of the medians.

use std::process::ExitCode;

use anyhow::{Context, Result};
use cinderblock_benches::command::{Cinderblock, Program, bytes_in};
use cinderblock_benches::measure::{Instance, Measured};
use cinderblock_benches::place::Place;
use cinderblock_benches::report::{Report, Round, Step};
use clap::Parser;

/// Time the cinderblock command with several chunk sizes and compressions.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    program: Program,
    /// Chunk size and compression of each repository, as `init` and `backup` take them.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "32KiB/zstd:1,32KiB/zstd:2,32KiB/zstd:3,16KiB/zstd:1,8KiB/zstd:1,4KiB/zstd:1,4KiB/zstd:2,4KiB/zstd:3"
    )]
    settings: Vec<String>,
    /// How often everything is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    instance: Instance,
}

const STEPS: [&str; 5] = ["first", "family", "unchanged", "restore", "verify"];

/// Each backup's step and the position of its volume: *web*, the second one, again and unchanged at the end.
const BACKUPS: [(usize, usize); 6] = [(0, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 1)];

/// The rounds of one repository.
#[derive(Default)]
struct Taken {
    rounds: Vec<Round>,
    index_bytes: u64,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(ended) = arguments.instance.work() {
        return ended;
    }
    let program = arguments.program.find()?;
    let (work, volumes) = arguments.place.prepare("settings")?;
    let mut taken: Vec<Taken> = arguments.settings.iter().map(|_| Taken::default()).collect();
    for number in 0..arguments.rounds.max(1) {
        // Forwards and backwards, so that what else the machine does hits all.
        let mut order: Vec<_> = arguments.settings.iter().zip(&mut taken).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for (setting, taken) in order {
            let (chunk_size, compression) =
                setting.split_once('/').with_context(|| format!("{setting} is not CHUNK-SIZE/COMPRESSION"))?;
            let folder = work.path().join("repository");
            let mut repository = Cinderblock::init_with(&program, &folder, chunk_size, compression)?;
            let mut times = [Measured::default(); STEPS.len()];
            let mut last = String::new();
            for (step, position) in BACKUPS {
                let volume = &volumes[position];
                let name = volume.file_stem().context("a volume without a name")?.to_string_lossy();
                let (id, took) = repository.backup(volume, &name)?;
                times[step].add(&took);
                last = id;
            }
            let target = work.path().join("restored");
            times[3] = repository.restore(&last, &target)?;
            times[4] = repository.verify()?;
            let steps = STEPS.into_iter().zip(times).map(|(name, measured)| Step { name, measured, limit: None });
            let stored_bytes = repository.stored_bytes()?;
            taken.rounds.push(Round { steps: steps.collect(), stored_bytes, limit_stored_bytes: 0 });
            taken.index_bytes = bytes_in(&folder.join("cache"))?;
            std::fs::remove_file(target)?;
            std::fs::remove_dir_all(folder)?;
        }
        eprintln!("round {} done", number + 1);
    }
    println!(
        "| chunks, compression | {} | stored MB | index MB |",
        STEPS.map(|step| format!("{step} s (CPU s)")).join(" | ")
    );
    println!("|---|{}", "---:|".repeat(STEPS.len() + 2));
    for (setting, taken) in arguments.settings.iter().zip(&taken) {
        let report = Report::of(&taken.rounds, 0);
        print!("| {} |", setting.replace('/', ", "));
        for row in &report.steps {
            print!(" {:.2} ({:.2}) |", row.measured.wall, row.measured.cpu);
        }
        println!(" {:.1} | {:.1} |", report.stored_bytes as f64 / 1e6, taken.index_bytes as f64 / 1e6);
    }
    Ok(ExitCode::SUCCESS)
}
