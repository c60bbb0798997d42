//! Times the `cinderblock` command on a family of volumes, as whole processes, beside its own
//! limit in the same run, and prints a Markdown table of the medians.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use cinderblock_benches::command::Program;
use cinderblock_benches::measure::Instance;
use cinderblock_benches::place::Place;
use cinderblock_benches::report::{Report, Round, write_json};
use cinderblock_benches::rounds::Bench;
use clap::Parser;

/// Time the cinderblock command on a family of similar volumes, beside its own limit.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    program: Program,
    /// Threads of the limit and of the command; all cores, and the command's default, if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// How often everything is measured; the medians are printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Time the backups of the same volumes made dense (without holes) as well.
    #[arg(long)]
    dense: bool,
    /// Time the backup of a 4 TiB volume with 2 GiB of data as well.
    #[arg(long = "sparse-4t")]
    sparse_4t: bool,
    /// Also write the medians to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    instance: Instance,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(ended) = arguments.instance.work() {
        return ended;
    }
    let program = arguments.program.find()?;
    let (work, volumes) = arguments.place.prepare("family")?;
    let bench = Bench::new(program, work.path(), volumes, arguments.threads)?;

    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds.max(1) {
        let limit_first = number % 2 == 1;
        let mut round = Round::default();
        bench.sparse(limit_first, &mut round).with_context(|| format!("in round {number}"))?;
        if arguments.dense {
            bench.dense(limit_first, &mut round).with_context(|| format!("in round {number}, dense"))?;
        }
        if arguments.sparse_4t {
            bench.sparse_4t(limit_first, &mut round).with_context(|| format!("in round {number}, 4 TiB"))?;
        }
        let times: Vec<_> = round.steps.iter().map(|step| format!("{} {:.2}", step.name, step.measured.wall)).collect();
        eprintln!("round {number}: {}", times.join(", "));
        rounds.push(round);
    }
    let report = Report::of(&rounds, bench.threads());
    println!("{report}");
    if let Some(path) = &arguments.json {
        write_json(path, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}
