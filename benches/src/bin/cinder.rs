//! Times the `cinderblock cinder` commands side by side with OpenStack Cinder's real driver, in
//! the same run, and prints a Markdown table of the medians.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use cinderblock_benches::cinder::Form;
use cinderblock_benches::cinder::real::Oracle;
use cinderblock_benches::cinder::report::{Report, Row};
use cinderblock_benches::cinder::rounds::{Bench, STEPS, Step};
use cinderblock_benches::command::Program;
use cinderblock_benches::measure::Instance;
use cinderblock_benches::place::folder_in;
use cinderblock_benches::report::write_json;
use cinderblock_benches::volumes;
use clap::Parser;

/// Time cinderblock's commands for Cinder's backups beside Cinder's own driver.
#[derive(Parser)]
struct Arguments {
    /// Folder with web.img; a family of volumes is made anew if not given.
    #[arg(long)]
    volumes: Option<PathBuf>,
    /// Folder for what is made, best on a RAM disk, with room for seven times the volume where it
    /// is dense [default: /dev/shm if there, or else the folder for temporary files].
    #[arg(long)]
    work: Option<PathBuf>,
    #[command(flatten)]
    program: Program,
    /// A Python that has the cinder package [default: what tools/cinder-oracle prints].
    #[arg(long, env = "CINDERBLOCK_CINDER_PYTHON")]
    python: Option<PathBuf>,
    /// The script that runs Cinder's driver [default:
    /// ../shared/cinder-reference/cinder_reference.py beside the checkout].
    #[arg(long, env = "CINDERBLOCK_CINDER_REFERENCE")]
    reference: Option<PathBuf>,
    /// How the objects are compressed: zstd, zlib, bz2 or none, each in turn.
    #[arg(long, value_delimiter = ',', default_value = "zstd,zlib,none")]
    compression: Vec<String>,
    /// Bytes of a data object; a multiple of 32768. Cinder's posix driver has 1999994880.
    #[arg(long, default_value_t = 52_428_800)]
    chunk_size: u64,
    /// Measure on a copy of the volume without holes, as a block device would show it.
    #[arg(long)]
    dense: bool,
    /// How often everything is measured; the medians are printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
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
    let oracle = match Oracle::find(arguments.python.as_deref(), arguments.reference.as_deref()) {
        Ok(oracle) => Some(oracle),
        Err(error) => {
            eprintln!("without Cinder's own driver, so ours is measured alone: {error:#}");
            None
        }
    };
    let folder = arguments.work.clone().unwrap_or_else(ram_disk);
    let work = folder_in(&folder, "cinder")?;
    let volume = match &arguments.volumes {
        Some(folder) => folder.join("web.img"),
        None => {
            eprintln!("making volumes of this system's files");
            let [_, web, ..] = volumes::make(work.path())?;
            web
        }
    };
    ensure!(volume.is_file(), "there is no volume {}", volume.display());
    let bench = Bench::new(program, oracle, work.path(), &volume, arguments.dense)?;
    let steps = measure_all(&bench, &arguments)?;

    let rounds = arguments.rounds.max(1);
    let report = Report { rounds, chunk_size: arguments.chunk_size, dense: arguments.dense, steps };
    println!("{report}");
    if let Some(path) = &arguments.json {
        write_json(path, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All rounds of all compressions; their medians.
fn measure_all(bench: &Bench, arguments: &Arguments) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for compression in &arguments.compression {
        let form = Form { compression: compression.clone(), chunk_size: arguments.chunk_size };
        let mut rounds = Vec::new();
        for number in 1..=arguments.rounds.max(1) {
            let steps = bench
                .round(&form, number % 2 == 1, |step| progress(number, compression, step))
                .with_context(|| format!("{compression}, in round {number}"))?;
            rounds.push(steps);
        }
        for position in 0..STEPS.len() {
            let steps: Vec<Step> = rounds.iter().filter_map(|round| round.get(position).copied()).collect();
            rows.push(Row::of(compression, &steps));
        }
    }
    Ok(rows)
}

fn progress(number: usize, compression: &str, step: &Step) {
    let real = step.real.map_or("-".to_owned(), |timed| format!("{:.2}", timed.seconds));
    eprintln!(
        "round {number}, {compression}: {}: real {real}, ours {:.2} ({:.2} cpu, {:.0} MiB); others used {:.2} s",
        step.name, step.ours.wall, step.ours.cpu, step.ours.peak_mib, step.others
    );
}

fn ram_disk() -> PathBuf {
    let ram = Path::new("/dev/shm");
    if ram.is_dir() { ram.to_owned() } else { std::env::temp_dir() }
}
