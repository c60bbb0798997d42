//! Times what looks after a repository of many backups (verify, prune, gc, and a backup beside gc),
//! beside restic and rustic where they are installed, in one run, and prints Markdown tables.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use cinderblock_benches::command::{Cinderblock, Program};
use cinderblock_benches::extents::copy_dense;
use cinderblock_benches::limit::Archive;
use cinderblock_benches::measure::{Instance, Measured};
use cinderblock_benches::peers::repository::installed;
use cinderblock_benches::place::Place;
use cinderblock_benches::report::median_seconds;
use cinderblock_benches::upkeep::beside::{backup_beside_gc, copy_folder};
use cinderblock_benches::upkeep::generations::Generations;
use cinderblock_benches::upkeep::tools::{Peer, Tool};
use cinderblock_benches::volumes::NAMES;
use clap::Parser;

/// Time verify, prune and gc on a repository of many backups, beside restic and rustic.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    program: Program,
    /// restic; the one on the PATH if not given.
    #[arg(long)]
    restic: Option<PathBuf>,
    /// rustic; the one on the PATH if not given.
    #[arg(long)]
    rustic: Option<PathBuf>,
    /// How often each volume is backed up.
    #[arg(long, default_value_t = 20)]
    backups: usize,
    /// How many blocks of 32 KiB change in each volume before the next backup.
    #[arg(long, default_value_t = 20)]
    changes: usize,
    /// How many backups of each volume prune keeps.
    #[arg(long, default_value_t = 3)]
    keep_last: usize,
    /// How often a backup runs alone and beside gc; the medians are printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(flatten)]
    instance: Instance,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(ended) = arguments.instance.work() {
        return ended;
    }
    let program = arguments.program.find()?;
    let (work, volumes) = arguments.place.prepare("upkeep")?;
    let work = work.path();
    let threads = std::thread::available_parallelism().context("cannot count the cores")?.get();
    let ours = work.join("cinderblock");
    let mut tools: Vec<Box<dyn Tool>> = vec![Box::new(Cinderblock::init(&program, &ours, None)?)];
    if let Some(restic) = arguments.restic.clone().or_else(|| installed("restic")) {
        tools.push(Box::new(Peer::restic(&restic, &work.join("restic"))?));
    }
    if let Some(rustic) = arguments.rustic.clone().or_else(|| installed("rustic")) {
        tools.push(Box::new(Peer::rustic(&rustic, &work.join("rustic"))?));
    }

    let (archive, backups) = fill(&arguments, &volumes, work, &mut tools, threads)?;
    let saved = work.join("saved");
    table(&arguments, &archive, &backups, &mut tools, &ours, &saved)?;
    beside(&arguments, &volumes, work, &program, &saved)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives all tools the same generations of the volumes; the limit's frames of the same bytes, and
/// what the backups took each tool.
fn fill(
    arguments: &Arguments,
    volumes: &[PathBuf; 5],
    work: &Path,
    tools: &mut [Box<dyn Tool>],
    threads: usize,
) -> Result<(Archive, Vec<Measured>)> {
    let copies = work.join("volumes");
    let mut generations = Generations::new(volumes, &copies, arguments.changes)?;
    let mut archive = Archive::new(threads);
    let mut took = vec![Measured::default(); tools.len()];
    for number in 0..arguments.backups {
        eprintln!("backup {} of {} of each volume", number + 1, arguments.backups);
        if number > 0 {
            generations.advance()?;
        }
        for (path, name) in generations.paths().iter().zip(NAMES) {
            archive.add(path)?;
            for (tool, took) in tools.iter_mut().zip(&mut took) {
                took.add(&tool.backup(path, name)?);
            }
        }
    }
    fs::remove_dir_all(&copies)?;
    Ok((archive, took))
}

/// Measures and prints the steps that look after the repositories. What ours is before gc is kept
/// in the folder `saved`.
fn table(
    arguments: &Arguments,
    archive: &Archive,
    backups: &[Measured],
    tools: &mut [Box<dyn Tool>],
    ours: &Path,
    saved: &Path,
) -> Result<()> {
    let stored = |tools: &[Box<dyn Tool>]| tools.iter().map(|tool| tool.stored_bytes()).collect::<Result<Vec<_>>>();
    let before = stored(tools)?;
    let mut rows = vec![(format!("all {} backups", 5 * arguments.backups), backups.to_vec())];
    let mut step = |name: String, run: &dyn Fn(&dyn Tool) -> Result<Measured>| {
        eprintln!("{name}");
        let measured = tools.iter().map(|tool| run(tool.as_ref())).collect::<Result<Vec<_>>>();
        measured.map(|measured| rows.push((name, measured)))
    };
    let limit = archive.verify()?;
    step("verify all data".into(), &|tool| tool.verify())?;
    let limit = limit.min(archive.verify()?);
    step(format!("prune, keeping {} of each volume", arguments.keep_last), &|tool| tool.prune(arguments.keep_last))?;
    copy_folder(ours, saved)?;
    step("gc".into(), &|tool| tool.gc())?;
    step("gc, nothing to do".into(), &|tool| tool.gc())?;

    let names: Vec<_> = tools.iter().map(|tool| tool.name()).collect();
    println!("| step | {} s (cpu s, MiB) | fastest peer against {} |", names.join(" | "), names[0]);
    println!("|---|{}", "---|".repeat(names.len() + 1));
    for (name, measured) in &rows {
        let cell = |m: &Measured| format!("{:.2} ({:.2}, {:.0})", m.wall, m.cpu, m.peak_mib);
        let cells: Vec<_> = measured.iter().map(cell).collect();
        let (first, peers) = measured.split_first().context("no tool was measured")?;
        let fastest = peers.iter().map(|m| m.wall).min_by(f64::total_cmp);
        let ratio = fastest.map_or("-".into(), |fastest| format!("{:.1} ×", fastest / first.wall));
        println!("| {name} | {} | {ratio} |", cells.join(" | "));
    }
    let bytes =
        |sizes: &[u64]| sizes.iter().map(|size| format!("{:.1}", *size as f64 / 1e6)).collect::<Vec<_>>().join(" | ");
    println!("| stored MB before prune | {} | |", bytes(&before));
    println!("| stored MB after gc | {} | |", bytes(&stored(tools)?));
    let verify = rows.get(1).and_then(|(_, measured)| measured.first()).context("verify was not measured")?;
    println!(
        "\nDecompressing and hashing the same bytes in memory: {limit:.2} s, {:.0} % of verify.",
        100.0 * limit / verify.wall
    );
    Ok(())
}

/// Measures and prints a backup of a dense volume alone and beside gc, each on a repository as it
/// was before gc.
fn beside(arguments: &Arguments, volumes: &[PathBuf; 5], work: &Path, program: &Path, saved: &Path) -> Result<()> {
    let source = work.join("dense.img");
    copy_dense(&volumes[4], &source)?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        for with_gc in [false, true] {
            let folder = work.join("beside");
            copy_folder(saved, &folder)?;
            let mut command = Cinderblock::open(program, &folder, None);
            if with_gc {
                beside.push(backup_beside_gc(&mut command, &source, "dense")?.wall);
            } else {
                alone.push(command.backup(&source, "dense")?.1.wall);
            }
            fs::remove_dir_all(&folder)?;
        }
    }
    let rounds = beside.len();
    if let (Some(alone), Some(beside)) = (median_seconds(alone), median_seconds(beside)) {
        let slower = 100.0 * (beside / alone - 1.0);
        println!(
            "A backup of other.img, dense, takes {alone:.2} s alone and {beside:.2} s ({slower:+.0} %) beside a gc that starts with it; \
             medians of {rounds} rounds."
        );
    }
    Ok(())
}
