//! Times cinderblock, the peers that are installed and its own limit on the same volumes, in one run: Markdown tables, JSON and plots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use cinderblock_benches::command::Program;
use cinderblock_benches::extents::data_units;
use cinderblock_benches::measure::Instance;
use cinderblock_benches::peers::course::{Course, Subject};
use cinderblock_benches::peers::growth::Growing;
use cinderblock_benches::peers::limit::Frames;
use cinderblock_benches::peers::recipe::{Recipe, Restore};
use cinderblock_benches::peers::report::markdown;
use cinderblock_benches::peers::repository::{Repository, installed};
use cinderblock_benches::peers::results::{LIMIT, Results, Tool};
use cinderblock_benches::peers::table::{CINDERBLOCK, LEFT_OUT, TOOLS};
use cinderblock_benches::place::Place;
use cinderblock_benches::{machine, plot};
use clap::Parser;

/// Time cinderblock, its installed peers and its own limit on the same volumes, in one run.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    program: Program,
    /// The tools to time, by name, besides cinderblock and the limit; all that are installed if not given.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    tools: Option<Vec<String>>,
    /// How often everything is measured; 0 leaves the steps out. The medians are printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Time the volumes without holes too, as block devices show them.
    #[arg(long)]
    dense: bool,
    /// Time the volumes without holes only.
    #[arg(long, conflicts_with = "dense")]
    dense_only: bool,
    /// How many backups of one volume are made, 2 % of it changed each time, to see what is stored; 0 leaves that out.
    #[arg(long, default_value_t = 20)]
    backups: usize,
    /// Threads of the limit; all cores if not given. The tools choose for themselves.
    #[arg(long)]
    threads: Option<usize>,
    /// Where the numbers go, as JSON.
    #[arg(long, value_name = "FILE", default_value = "benches/results/peers.json")]
    json: PathBuf,
    /// Add to the numbers of earlier runs in that file, of the same machine and volumes. Each run times cinderblock and
    /// the limit again.
    #[arg(long)]
    add: bool,
    /// Folder for plots of them; none are made if not given.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    #[command(flatten)]
    instance: Instance,
}

/// A tool that is there.
type Found = (&'static Recipe, PathBuf);

/// A run of this program.
struct Run<'a> {
    work: &'a Path,
    /// Where the results go, after each tool's part.
    json: &'a Path,
    found: Vec<Found>,
    results: Results,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(ended) = arguments.instance.work() {
        return ended;
    }
    let threads = match arguments.threads {
        Some(threads) => threads.max(1),
        None => std::thread::available_parallelism().context("cannot count the cores")?.get(),
    };
    let earlier = arguments.add.then(|| Results::read(&arguments.json)).transpose()?;
    let mut found = find(&arguments)?;
    let (work, volumes) = arguments.place.prepare("peers")?;
    let work = work.path();

    let mut results = Results { machine: machine::describe(), data_bytes: data(&volumes)?, tools: Vec::new() };
    results.tools.push(Tool { name: LIMIT.into(), ..Tool::default() });
    found.retain(|(recipe, program)| match describe(recipe, program, work) {
        Ok(tool) => {
            results.tools.push(tool);
            true
        }
        Err(error) => {
            eprintln!("{} is left out: {error:#}", recipe.name);
            false
        }
    });
    if let Some(earlier) = earlier {
        results.add_earlier(earlier)?;
    }
    let names: Vec<_> = [LIMIT].into_iter().chain(TOOLS.map(|recipe| recipe.name)).collect();
    results.sort(&names);
    let mut run = Run { work, json: &arguments.json, found, results };
    for dense in [false, true] {
        let wanted = if dense { arguments.dense || arguments.dense_only } else { !arguments.dense_only };
        if wanted && arguments.rounds > 0 {
            let course = Course::new(&volumes, work, dense);
            let frames = Frames::of(&volumes, &course, work, threads)?;
            for number in 0..arguments.rounds {
                run.round(number, dense, &course, &frames)?;
            }
        }
    }
    if arguments.backups > 0 {
        run.grow(arguments.backups, &volumes[0])?;
    }
    println!("{}", markdown(&run.results));
    if let Some(folder) = &arguments.plots {
        plot::results::draw_peers(&run.results, folder)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// cinderblock, and those of the wanted tools that are installed; says which are not.
fn find(arguments: &Arguments) -> Result<Vec<Found>> {
    if let Some(names) = &arguments.tools {
        let known = |name: &str| TOOLS.iter().any(|recipe| recipe.name == name);
        let unknown: Vec<_> = names.iter().filter(|name| !known(name)).cloned().collect();
        let all = TOOLS.map(|recipe| recipe.name).join(", ");
        anyhow::ensure!(unknown.is_empty(), "there is no tool {}: name some of {all}", unknown.join(", "));
    }
    let mut found = vec![(&CINDERBLOCK, arguments.program.find()?)];
    for recipe in TOOLS.into_iter().filter(|recipe| recipe.name != CINDERBLOCK.name) {
        if arguments.tools.as_ref().is_some_and(|names| !names.iter().any(|name| name == recipe.name)) {
            continue;
        }
        match installed(recipe.program) {
            Some(program) => found.push((recipe, program)),
            None => eprintln!("{} is left out: no {} on the PATH", recipe.name, recipe.program),
        }
    }
    for (name, why) in LEFT_OUT {
        eprintln!("{name} is left out: {why}");
    }
    Ok(found)
}

/// Bytes of data in golden, and in all volumes.
fn data(volumes: &[PathBuf; 5]) -> Result<[u64; 2]> {
    let mut each = [0; 5];
    for (bytes, volume) in each.iter_mut().zip(volumes) {
        let file = fs::File::open(volume).with_context(|| format!("cannot open {}", volume.display()))?;
        *bytes = data_units(&file, 1 << 12)?.iter().map(|unit| unit.length as u64).sum();
    }
    Ok([each[0], each.iter().sum()])
}

/// A tool without numbers yet, whose repository can be made.
fn describe(recipe: &'static Recipe, program: &Path, work: &Path) -> Result<Tool> {
    let folder = work.join(recipe.name);
    let made = Repository::init(recipe, program, &folder).and_then(|repository| repository.version());
    let _ = fs::remove_dir_all(&folder);
    Ok(Tool {
        name: recipe.name.into(),
        version: made?,
        settings: recipe.settings.into(),
        new_files_only: matches!(recipe.restore, Restore::File { over: None, .. }),
        ..Tool::default()
    })
}

impl Run<'_> {
    /// One round of all, forwards and backwards in turn. A tool that fails is left out of what follows; cinderblock may not.
    fn round(&mut self, number: usize, dense: bool, course: &Course, frames: &Frames) -> Result<()> {
        let mut order: Vec<Option<Found>> = [None].into_iter().chain(self.found.iter().cloned().map(Some)).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for tool in order {
            let name = tool.as_ref().map_or(LIMIT, |(recipe, _)| recipe.name);
            let ran = match &tool {
                None => course.run(&mut frames.runner()),
                Some((recipe, program)) => {
                    let folder = self.work.join(name);
                    let ran = Repository::init(recipe, program, &folder)
                        .and_then(|mut repository| course.run(&mut repository));
                    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
                    ran
                }
            };
            let round = match ran {
                Ok(round) => round,
                Err(error) if name == LIMIT || name == CINDERBLOCK.name => return Err(error.context(name)),
                Err(error) => {
                    self.leave_out(name, &error)?;
                    continue;
                }
            };
            let walls: Vec<_> = round.steps.values().map(|measured| format!("{:.2}", measured.wall)).collect();
            let kind = if dense { "dense " } else { "" };
            eprintln!("{kind}round {}, {name}: {} s, {} bytes", number + 1, walls.join(" "), round.stored_bytes);
            if let Some(tool) = self.results.tools.iter_mut().find(|tool| tool.name == name) {
                if dense { &mut tool.dense } else { &mut tool.sparse }.push(round);
            }
            self.results.write(self.json)?;
        }
        Ok(())
    }

    /// Backs the same volume up again and again with all tools, and adds up what they store.
    fn grow(&mut self, backups: usize, volume: &Path) -> Result<()> {
        for (recipe, program) in self.found.clone() {
            let (name, path, folder) = (recipe.name, self.work.join("growing.img"), self.work.join(recipe.name));
            let grown = (|| {
                let mut growing = Growing::new(volume, &path)?;
                let mut repository = Repository::init(recipe, &program, &folder)?;
                let mut stored = Vec::with_capacity(backups);
                for number in 0..backups {
                    if number > 0 {
                        growing.change()?;
                    }
                    repository.backup(growing.path(), "growing")?;
                    stored.push(repository.stored_bytes()?);
                }
                anyhow::Ok(stored)
            })();
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            match grown {
                Ok(stored) => {
                    eprintln!("{name}: {} bytes after {backups} backups", stored.last().copied().unwrap_or_default());
                    if let Some(tool) = self.results.tools.iter_mut().find(|tool| tool.name == name) {
                        tool.growth = stored;
                    }
                    self.results.write(self.json)?;
                }
                Err(error) if name == CINDERBLOCK.name => return Err(error),
                Err(error) => self.leave_out(name, &error)?,
            }
        }
        Ok(())
    }

    /// Says that a tool failed, and forgets it and what it left in the folder `work`.
    fn leave_out(&mut self, name: &str, error: &anyhow::Error) -> Result<()> {
        eprintln!("{name} is left out from here on: {error:#}");
        self.found.retain(|(recipe, _)| recipe.name != name);
        for left in ["restored.img", "changed.img", "restored.folder"] {
            let path = self.work.join(left);
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            } else if path.exists() {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}
