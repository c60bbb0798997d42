//! Fills the index with many chunks, measures how it is made, opened and looked into, and prints a Markdown table.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cinderblock_benches::index::{Chunks, Followed, Looked, Made, Point, Results};
use cinderblock_benches::machine;
use cinderblock_benches::place::folder_in;
use cinderblock_benches::report::write_json;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Measure the index at scale.
#[derive(Parser)]
struct Arguments {
    /// Numbers of chunks, one after the other. 1e8 takes some 13 GB in the folder.
    #[arg(long, value_delimiter = ',', default_value = "1e6,1e7", value_parser = count)]
    chunks: Vec<u64>,
    /// Chunks in a pack.
    #[arg(long, default_value_t = 1_700)]
    in_a_pack: u64,
    /// Folder for what is made, on a disk. It is made in a folder of its own there, which is removed.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// `--memory` of the command, in MiB: to make the index with, and for look-ups with little memory.
    #[arg(long, default_value_t = 256)]
    memory: usize,
    /// The same for look-ups at full speed [default: 10 bytes a chunk more].
    #[arg(long)]
    full_memory: Option<usize>,
    /// Chunks that are added for the index to follow, one number after the other.
    #[arg(long, value_delimiter = ',', default_value = "1e5,2e6", value_parser = count)]
    follow: Vec<u64>,
    /// Also write the results to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// One step, of the repository that is in the folder itself: how this program starts what it measures.
    #[arg(long)]
    step: Option<Step>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Step {
    /// Make a repository.
    Fill,
    /// Make its index.
    Make,
    /// Look up.
    Look,
    /// Add to it, and follow.
    Follow,
}

fn count(text: &str) -> Result<u64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}: give a number such as 100000 or 1e8"))?;
    if (1.0..=1e12).contains(&number) { Ok(number as u64) } else { Err("give 1 to 1e12".to_owned()) }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(step) = arguments.step {
        return run(step, &arguments);
    }
    let mut results = Results { machine: machine::describe(), points: Vec::new() };
    for chunks in &arguments.chunks {
        let folder = folder_in(&arguments.folder, "index")?;
        let chunks = Chunks { count: *chunks, in_a_pack: arguments.in_a_pack };
        results.points.push(point(&arguments, folder.path(), chunks)?);
    }
    println!("{results}");
    if let Some(path) = &arguments.json {
        write_json(path, &results)?;
    }
    Ok(())
}

/// One step, in this process; what it found goes to the standard output.
fn run(step: Step, arguments: &Arguments) -> Result<()> {
    let Arguments { folder, memory, .. } = arguments;
    let count = *arguments.chunks.first().context("--chunks is missing")?;
    let chunks = Chunks { count, in_a_pack: arguments.in_a_pack };
    match step {
        Step::Fill => print(&chunks.make(folder)?),
        Step::Make => print(&Made::measure(folder, *memory)?),
        Step::Look => print(&Looked::measure(folder, chunks, *memory)?),
        Step::Follow => {
            let more = *arguments.follow.first().context("--follow is missing")?;
            print(&Followed::measure(folder, chunks, more, *memory)?)
        }
    }
}

fn print(found: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(found)?);
    Ok(())
}

fn point(arguments: &Arguments, folder: &Path, mut chunks: Chunks) -> Result<Point> {
    let all = chunks;
    let full = arguments.full_memory.unwrap_or(arguments.memory + ((10 * chunks.count) >> 20) as usize);
    let () = start("fill", folder, chunks, arguments.memory, 0)?;
    let made: Made = start("make", folder, chunks, arguments.memory, 0)?;
    let mut looked: Vec<Looked> = Vec::new();
    for memory in [arguments.memory, full] {
        looked.push(start("look", folder, chunks, memory, 0)?);
    }
    let mut followed: Vec<Followed> = Vec::new();
    for more in &arguments.follow {
        followed.push(start("follow", folder, chunks, arguments.memory, *more)?);
        chunks.count += more;
    }
    Ok(Point::new(all, made, looked, followed))
}

/// Runs a step as a process of its own.
fn start<T: DeserializeOwned>(step: &str, folder: &Path, chunks: Chunks, memory: usize, follow: u64) -> Result<T> {
    let this = std::env::current_exe().context("cannot tell this program's own path")?;
    let mut command = Command::new(this);
    command.args(["--step", step, "--chunks", &chunks.count.to_string()]);
    command.args(["--in-a-pack", &chunks.in_a_pack.to_string(), "--memory", &memory.to_string()]);
    command.args(["--follow", &follow.max(1).to_string(), "--folder"]).arg(folder);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start this program again")?;
    ensure!(output.status.success(), "the step {step} failed, {}", output.status);
    let text = String::from_utf8(output.stdout).context("a step's answer is no text")?;
    eprintln!("{} chunks, {step}: {}", chunks.count, text.trim_end());
    serde_json::from_str(text.trim_end()).with_context(|| format!("the step {step} answered {text}"))
}
