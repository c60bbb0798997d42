//! Times backups of large volumes: sparse ones up to 16 TiB, and a dense stream, GiB by GiB. Prints Markdown tables, and writes JSON for plots.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use cinderblock_benches::command::Program;
use cinderblock_benches::large::{Sizes, sparse, stream};
use cinderblock_benches::measure::Instance;
use cinderblock_benches::place::folder_in;
use cinderblock_benches::report::write_json;
use clap::Parser;

/// Time backups of sparse volumes up to 16 TiB, or of a dense stream.
#[derive(Parser)]
struct Arguments {
    /// Folder for what is made. Sparse volumes want a file system with files of 16 TiB, such as a RAM disk, with room for their data once and a half; a
    /// stream an eighth of its length.
    #[arg(long, default_value = "/dev/shm")]
    work: PathBuf,
    #[command(flatten)]
    program: Program,
    /// GiB of data in the largest sparse volume; the others have a half of it.
    #[arg(long, default_value_t = 4)]
    data: u64,
    /// Instead: back up a dense stream of so many GiB.
    #[arg(long, value_name = "GIB")]
    stream: Option<u64>,
    /// Also write what was measured to this file, as JSON.
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
    let work = folder_in(&arguments.work, "large")?;
    match arguments.stream {
        Some(gib) => dense(&program, work.path(), gib, arguments.json.as_deref())?,
        None => volumes(&program, work.path(), arguments.data, arguments.json.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The same data in more and more space, and then twice the data.
fn volumes(program: &Path, work: &Path, data: u64, json: Option<&Path>) -> Result<()> {
    println!("| size, TiB | data, GiB | first s | MiB | unchanged s | MiB |\n|---|---|---|---|---|---|");
    let mut sizes = Sizes::default();
    let half = (data / 2).max(1);
    for (tib, data) in [(1, half), (4, half), (16, half), (16, data)] {
        let done = sparse(program, work, tib, data)?;
        println!(
            "| {tib} | {data} | {:.2} | {:.0} | {:.2} | {:.0} |",
            done.first_seconds, done.first_peak_mib, done.unchanged_seconds, done.unchanged_peak_mib
        );
        sizes.points.push(done);
    }
    json.map_or(Ok(()), |path| write_json(path, &sizes))
}

fn dense(program: &Path, work: &Path, gib: u64, json: Option<&Path>) -> Result<()> {
    println!("| GiB | MiB/s of the last one | peak MiB so far |\n|---|---|---|");
    let done = stream(program, work, gib, |point| {
        println!("| {} | {:.0} | {:.0} |", point.gib, point.mib_per_s, point.peak_mib);
    })?;
    println!("\n{gib} GiB in {:.1} s; the repository has {:.2} GB.", done.seconds, done.stored_bytes as f64 / 1e9);
    json.map_or(Ok(()), |path| write_json(path, &done))
}
