//! Times backup, restore and verify on a storage that is slow to answer, beside the same storage without latency, and
//! prints a Markdown table: how much of the throughput is kept, and what is asked of the storage.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use cinderblock_backend::Folder;
use cinderblock_benches::extents;
use cinderblock_benches::latency::{Act, Far, Outcome, Step, table};
use cinderblock_benches::measure::{self, Instance};
use cinderblock_benches::place::Place;
use cinderblock_benches::sample::Random;
use cinderblock_chunker::ChunkSize;
use cinderblock_store::Repository;
use clap::Parser;

/// Time backup, restore and verify with and without latency.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// MiB of a further volume, of data that compresses to half: what long runs are like.
    #[arg(long, default_value_t = 2048)]
    large: u64,
    #[command(flatten)]
    far: Far,
    #[command(flatten)]
    step: Step,
    #[command(flatten)]
    instance: Instance,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(ended) = arguments.instance.work() {
        return ended;
    }
    if let Some(act) = arguments.step.act {
        arguments.step.run(act, arguments.far)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (work, volumes) = arguments.place.prepare("latency")?;
    let large = work.path().join("large.img");
    if arguments.large > 0 {
        make_large(&large, arguments.large)?;
    }
    let near = Round::of(&arguments, work.path(), &volumes, &large, 0)?;
    let far = Round::of(&arguments, work.path(), &volumes, &large, arguments.far.latency)?;
    let steps: Vec<_> =
        near.steps.into_iter().zip(far.steps).map(|((name, near), (_, far))| (name, near, far)).collect();
    println!("{}", table(&steps));
    let Far { latency, rate, in_flight, memory } = arguments.far;
    println!("{latency} ms, {rate} MB/s, {in_flight} requests wanted at once, --memory {memory}MiB.");
    Ok(ExitCode::SUCCESS)
}

fn make_large(path: &Path, mebibytes: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let (mut random, mut bytes) = (Random::new(7), vec![0; 1 << 20]);
    for _ in 0..mebibytes {
        random.fill_half_compressible(&mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// All steps at one latency, in a repository of their own.
struct Round<'a> {
    arguments: &'a Arguments,
    folder: PathBuf,
    latency: u64,
    steps: Vec<(String, Outcome)>,
}

impl<'a> Round<'a> {
    fn of(
        arguments: &'a Arguments,
        work: &Path,
        volumes: &[PathBuf; 5],
        large: &Path,
        latency: u64,
    ) -> Result<Round<'a>> {
        let folder = work.join(format!("at-{latency}-ms"));
        fs::create_dir(&folder)?;
        Repository::create(&Folder::create(folder.join("repository"))?, ChunkSize::DEFAULT)?;
        let mut round = Round { arguments, folder, latency, steps: Vec::new() };
        let [golden, web, day2, others @ ..] = volumes;
        round.step("first: golden into an empty repository", Act::Backup, golden, "cache")?;
        let mut family = Outcome::default();
        for volume in [web, day2].into_iter().chain(others) {
            family.add(&round.run(Act::Backup, volume, "cache")?);
        }
        round.steps.push(("family: the other four after it".to_owned(), family));
        round.step("web again, unchanged", Act::Backup, web, "cache")?;
        round.step("web again, unchanged, cold cache", Act::Backup, web, "cold 1")?;
        round.step("restore web-day2 to a new file", Act::Restore, day2, "cache")?;
        extents::compare(day2, &round.target())?;
        round.step("restore web-day2, cold cache", Act::Restore, day2, "cold 2")?;
        round.step("restore web-day2 as a stream", Act::Stream, day2, "cache")?;
        round.step("list", Act::List, golden, "cache")?;
        round.step("verify structure", Act::Verify, golden, "cache")?;
        round.step("verify all data", Act::VerifyData, golden, "cache")?;
        if arguments.large > 0 {
            round.step("large: backup", Act::Backup, large, "cache")?;
            round.step("large: restore to a new file, cold cache", Act::Restore, large, "cold 3")?;
            extents::compare(large, &round.target())?;
            round.step("large: restore as a stream", Act::Stream, large, "cache")?;
        }
        fs::remove_dir_all(&round.folder)?;
        Ok(round)
    }

    fn target(&self) -> PathBuf {
        self.folder.join("restored.img")
    }

    fn step(&mut self, name: &str, act: Act, volume: &Path, cache: &str) -> Result<()> {
        let outcome = self.run(act, volume, cache).with_context(|| format!("{name}, at {} ms", self.latency))?;
        eprintln!("{} ms: {name} {:.2} s", self.latency, outcome.measured.wall);
        self.steps.push((name.to_owned(), outcome));
        Ok(())
    }

    fn run(&self, act: Act, volume: &Path, cache: &str) -> Result<Outcome> {
        let Far { rate, in_flight, memory, .. } = self.arguments.far;
        let (tally, target) = (self.folder.join("tally.json"), self.target());
        if target.exists() {
            fs::remove_file(&target)?;
        }
        let act = match act {
            Act::Backup => "backup",
            Act::Restore => "restore",
            Act::Stream => "stream",
            Act::Verify => "verify",
            Act::VerifyData => "verify-data",
            Act::List => "list",
        };
        let mut command: Vec<OsString> = vec![std::env::current_exe()?.into()];
        let mut add = |name: &str, value: OsString| {
            command.push(format!("--{name}").into());
            command.push(value);
        };
        add("act", act.into());
        add("repository", self.folder.join("repository").into());
        add("cache", self.folder.join(cache).into());
        add("volume", volume.into());
        add("target", target.into());
        add("tally", tally.clone().into());
        add("latency", self.latency.to_string().into());
        add("rate", rate.to_string().into());
        add("in-flight", in_flight.to_string().into());
        add("memory", memory.to_string().into());
        let measured = measure::run(&command, &self.folder.join("log"))?;
        let mut outcome = Outcome { measured, ..Outcome::default() };
        let tallies: Vec<(String, u64, u64)> = serde_json::from_slice(&fs::read(tally)?)?;
        for (kind, calls, bytes) in tallies {
            *outcome.requests.entry(kind).or_default() += calls;
            outcome.bytes += bytes;
        }
        Ok(outcome)
    }
}
