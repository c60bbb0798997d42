//! One step, done and counted in this process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cinderblock_backend::{Backend, Folder, Kind, Recording, Throttled, for_each_in_flight};
use cinderblock_pipeline::{BackupOptions, Control, Engine, ReadData, Settings, Source, Target, VerifyOptions};
use cinderblock_store::{OpenOptions, Repository, VolumeId};
use clap::{Args, ValueEnum};

/// How far the storage is.
#[derive(Args, Clone, Copy, Debug)]
pub struct Far {
    /// Milliseconds that each request takes longer.
    #[arg(long, default_value_t = 50)]
    pub latency: u64,
    /// Megabytes per second that pass the line, both ways together.
    #[arg(long, default_value_t = 200)]
    pub rate: u64,
    /// Requests at once that the storage is said to want; also without latency.
    #[arg(long, default_value_t = 32)]
    pub in_flight: usize,
    /// MiB of memory, as the command's --memory.
    #[arg(long, default_value_t = 256)]
    pub memory: usize,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Act {
    /// Back up a file; its name is the volume's.
    Backup,
    /// Restore the newest backup to a new file.
    Restore,
    /// The same to a stream that nobody reads.
    Stream,
    /// Verify the structure.
    Verify,
    /// Verify all data.
    VerifyData,
    /// Read all records.
    List,
}

/// One step.
#[derive(Args, Clone, Debug)]
pub struct Step {
    /// Internal: what to do.
    #[arg(long, hide = true)]
    pub act: Option<Act>,
    /// Internal: the repository's folder.
    #[arg(long, hide = true, default_value = ".")]
    pub repository: PathBuf,
    /// Internal: the cache folder.
    #[arg(long, hide = true, default_value = ".")]
    pub cache: PathBuf,
    /// Internal: the volume's file.
    #[arg(long, hide = true, default_value = ".")]
    pub volume: PathBuf,
    /// Internal: where to restore to.
    #[arg(long, hide = true, default_value = ".")]
    pub target: PathBuf,
    /// Internal: where to write the numbers of requests to.
    #[arg(long, hide = true, default_value = ".")]
    pub tally: PathBuf,
}

/// The volume's name: its file's, without the end.
fn volume_id(path: &Path) -> Result<VolumeId> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).context("a volume's file name is not text")?;
    Ok(VolumeId::new(stem)?)
}

impl Step {
    /// Does `act`, and writes how many requests of each kind it took, as JSON.
    ///
    /// # Errors
    /// The step fails, or finds damage.
    pub fn run(&self, act: Act, far: Far) -> Result<()> {
        let folder = Throttled::new(Folder::open(&self.repository)?)
            .latency(Duration::from_millis(far.latency))
            .bytes_per_second(far.rate * 1_000_000)
            .wanting_in_flight(far.in_flight);
        let backend = Arc::new(Recording::new(folder));
        let memory = far.memory << 20;
        let options = OpenOptions { memory_bytes: memory / 4, ..OpenOptions::new(&self.cache) };
        let repository = Repository::open(Arc::clone(&backend) as Arc<dyn Backend>, &options)?;
        let settings = Settings { memory_bytes: memory - memory / 4, ..Settings::default() };
        let engine = Engine::new(settings)?;
        let control = Control::default();
        match act {
            Act::Backup => {
                let source = Source::open(&self.volume)?;
                let options = BackupOptions::new(volume_id(&self.volume)?);
                engine.backup(&repository, source, &options, &control)?;
            }
            Act::Restore | Act::Stream => {
                let volume = volume_id(&self.volume)?;
                let (_, id) = repository.backups(Some(&volume))?.pop().context("there is no backup")?;
                let record = repository.record(&volume, id)?;
                if act == Act::Restore {
                    engine.restore(&repository, &record, &Target::New(self.target.clone()), &control)?;
                } else {
                    engine.restore_to_writer(&repository, &record, &mut io::sink(), &control)?;
                }
            }
            Act::Verify | Act::VerifyData => {
                let read_data = if act == Act::Verify { ReadData::No } else { ReadData::All };
                let report = engine.verify(&repository, &VerifyOptions { backups: None, read_data }, &control)?;
                ensure!(report.is_clean(), "the repository is damaged: {report:?}");
            }
            Act::List => {
                let backups = repository.backups(None)?;
                for_each_in_flight(far.in_flight, &backups, |(volume, id)| repository.record(volume, *id).map(drop))?;
            }
        }
        let tallies = backend.tallies().into_iter().map(|(kind, tally)| (word(kind), tally.calls, tally.bytes));
        std::fs::write(&self.tally, serde_json::to_vec(&tallies.collect::<Vec<_>>())?)?;
        Ok(())
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Put | Kind::Create | Kind::Write | Kind::Finish => "put",
        Kind::Get | Kind::ReadInto | Kind::GetTail => "get",
        Kind::Size => "head",
        Kind::Delete => "delete",
        _ => "list",
    }
}
