//! Times what walks through a repository on one of very many tiny backups (list, prune, gc, verify of structure), or, with
//! --parallel, several backups at once beside the same one after the other, and prints Markdown tables.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cinderblock_benches::command::{Cinderblock, Program};
use cinderblock_benches::many::{Many, fill, parallel};
use cinderblock_benches::measure::{Instance, Measured};
use cinderblock_benches::place::folder_in;
use clap::Parser;

/// Time list, prune, gc and verify on a repository of very many backups, or several backups at once.
#[derive(Parser)]
struct Arguments {
    /// Folder for what is made, best on a RAM disk: 2 GB do for 50,000 backups, and for 8 volumes of 128 MiB at once.
    #[arg(long, default_value = "/dev/shm")]
    work: PathBuf,
    #[command(flatten)]
    program: Program,
    /// Volumes.
    #[arg(long, default_value_t = 1000)]
    volumes: u64,
    /// Backups of each volume: one a day.
    #[arg(long, default_value_t = 50)]
    backups: u64,
    /// Instead: so many backups at once through one cache folder, beside the same one after the other.
    #[arg(long, value_name = "COUNT")]
    parallel: Option<u64>,
    /// MiB of each volume for --parallel.
    #[arg(long, default_value_t = 128)]
    mib: u64,
    /// Keep what was made in this new folder, for a look.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    #[command(flatten)]
    instance: Instance,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(ended) = arguments.instance.work() {
        return ended;
    }
    let program = arguments.program.find()?;
    let mut work = folder_in(&arguments.work, "many")?;
    work.disable_cleanup(arguments.keep.is_some());
    match arguments.parallel {
        Some(count) => at_once(&program, work.path(), count, arguments.mib)?,
        None => walks(&program, work.path(), Many { volumes: arguments.volumes, backups: arguments.backups })?,
    }
    if let Some(keep) = &arguments.keep {
        std::fs::rename(work.path(), keep).with_context(|| format!("cannot move it to {}", keep.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Fills a repository, and times what walks through it.
fn walks(program: &Path, work: &Path, many: Many) -> Result<()> {
    ensure!(many.volumes > 0 && many.backups > 0, "give at least one volume and one backup");
    let folder = work.join("cinderblock");
    std::fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    eprintln!("making {} volumes with {} backups each", many.volumes, many.backups);
    let began = Instant::now();
    let filled = fill(&folder.join("repository"), &work.join("filler"), many)?;
    eprintln!("{} backups, {} packs, in {:.1} s", filled.backups, filled.packs, began.elapsed().as_secs_f64());
    let mut ours = Cinderblock::open(program, &folder, None);
    let volume = work.join("one.img");
    std::fs::write(&volume, vec![7; 1 << 20]).with_context(|| format!("cannot write {}", volume.display()))?;
    println!("{} volumes, {} backups, {} packs; s (CPU s, MiB)\n", many.volumes, filled.backups, filled.packs);
    println!("| step | s | CPU s | peak MiB |\n|---|---|---|---|");
    let row = |name: &str, Measured { wall, cpu, peak_mib }: Measured| {
        println!("| {name} | {wall:.2} | {cpu:.2} | {peak_mib:.0} |");
    };
    let one = "volume-0000";
    let keep = ["--keep-daily", "7", "--keep-weekly", "4"].map(OsString::from);
    let prune = |dry: bool| {
        let [a, b, c, d] = keep.clone();
        match dry {
            true => ours.run(["prune".into(), "--dry-run".into(), a, b, c, d]),
            false => ours.run(["prune".into(), a, b, c, d]),
        }
    };
    row("list, all", ours.run(["list".into()])?);
    row("list, one volume", ours.run(["list".into(), "--volume-id".into(), one.into()])?);
    row("verify structure, no cache", ours.run(["verify".into()])?);
    row("verify structure", ours.run(["verify".into()])?);
    row("gc, nothing to do", ours.run(["gc".into()])?);
    row("prune, dry run", prune(true)?);
    row("prune", prune(false)?);
    row("gc after it", ours.run(["gc".into()])?);
    row("list after it", ours.run(["list".into()])?);
    row("verify structure after it", ours.run(["verify".into()])?);
    row("a backup of one volume", ours.backup(&volume, one)?.1);
    row("stats", ours.run(["stats".into()])?);
    row("gc --gather", ours.run(["gc".into(), "--gather".into()])?);
    row("verify all data after it", ours.verify()?);
    row("verify structure after it", ours.run(["verify".into()])?);
    Ok(())
}

/// Times backups at once, beside the same one after the other.
fn at_once(program: &Path, work: &Path, count: u64, mib: u64) -> Result<()> {
    println!("{count} volumes of {mib} MiB; s (CPU s, MiB of the largest process)\n");
    println!("| step | one at a time | at once | throughput at once | stored MB |\n|---|---|---|---|---|");
    for done in parallel(program, work, count, mib)? {
        let cell = |m: Measured| format!("{:.2} ({:.2}, {:.0})", m.wall, m.cpu, m.peak_mib);
        let times = done.in_turn.wall / done.at_once.wall;
        let stored = done.stored_bytes.map(|bytes| format!("{:.1}", bytes as f64 / 1e6)).join(", ");
        println!("| {} | {} | {} | {times:.2} × | {stored} |", done.step, cell(done.in_turn), cell(done.at_once));
    }
    Ok(())
}
