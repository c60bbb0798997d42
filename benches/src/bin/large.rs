//! Times backups of large volumes: sparse ones up to 16 TiB, and a dense stream, GiB by GiB. Prints Markdown tables, and writes JSON for plots.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use cinderblock_benches::large::{sparse, stream};
use cinderblock_benches::{command, measure};
use clap::Parser;
use serde::Serialize;

/// Time backups of sparse volumes up to 16 TiB, or of a dense stream.
#[derive(Parser)]
struct Arguments {
    /// Folder for what is made. Sparse volumes want a file system with files of 16 TiB, such as a RAM disk, with room for their data once and a half; a
    /// stream an eighth of its length.
    #[arg(long, default_value = "/dev/shm")]
    work: PathBuf,
    /// The command to time; the `cinderblock` built beside this program if not given.
    #[arg(long)]
    bin: Option<PathBuf>,
    /// GiB of data in the largest sparse volume; the others have a half of it.
    #[arg(long, default_value_t = 4)]
    data: u64,
    /// Instead: back up a dense stream of so many GiB.
    #[arg(long, value_name = "GIB")]
    stream: Option<u64>,
    /// Also write what was measured to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run a command and print what it took: how this program starts what it measures.
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true, value_name = "COMMAND")]
    measure: Vec<OsString>,
}

#[derive(Serialize)]
struct Points<T> {
    points: Vec<T>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if !arguments.measure.is_empty() {
        return measure::here(&arguments.measure);
    }
    let program = command::named_or_built(arguments.bin.as_deref())?;
    let work = tempfile::Builder::new()
        .prefix("cinderblock-large-")
        .tempdir_in(&arguments.work)
        .with_context(|| format!("cannot use the folder {}", arguments.work.display()))?;
    match arguments.stream {
        Some(gib) => dense(&program, work.path(), gib, arguments.json.as_deref())?,
        None => volumes(&program, work.path(), arguments.data, arguments.json.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The same data in more and more space, and then twice the data.
fn volumes(program: &Path, work: &Path, data: u64, json: Option<&Path>) -> Result<()> {
    println!("| size, TiB | data, GiB | first s | MiB | unchanged s | MiB |\n|---|---|---|---|---|---|");
    let mut points = Vec::new();
    let half = (data / 2).max(1);
    for (tib, data) in [(1, half), (4, half), (16, half), (16, data)] {
        let done = sparse(program, work, tib, data)?;
        println!(
            "| {tib} | {data} | {:.2} | {:.0} | {:.2} | {:.0} |",
            done.first_seconds, done.first_peak_mib, done.unchanged_seconds, done.unchanged_peak_mib
        );
        points.push(done);
    }
    write(json, &Points { points })
}

fn dense(program: &Path, work: &Path, gib: u64, json: Option<&Path>) -> Result<()> {
    println!("| GiB | MiB/s of the last one | peak MiB so far |\n|---|---|---|");
    let done = stream(program, work, gib, |point| {
        println!("| {} | {:.0} | {:.0} |", point.gib, point.mib_per_s, point.peak_mib);
    })?;
    println!("\n{gib} GiB in {:.1} s; the repository has {:.2} GB.", done.seconds, done.stored_bytes as f64 / 1e9);
    write(json, &done)
}

fn write(path: Option<&Path>, results: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let json = serde_json::to_string_pretty(results)?;
    std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))
}
