//! `backup`

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use cinderblock_pipeline::{BackupOptions, CancelToken, Chunker, Parent, Source};
use cinderblock_store::{Record, Repository};

use crate::arguments;
use crate::context::Context;
use crate::failure::{self, Usage};
use crate::output::facts::BackupFacts;
use crate::output::{number, size};
use crate::progress::Phase;
use crate::streams::Input;

pub fn run(context: &Context, arguments: &arguments::Backup) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let control = context.control();
    let source = open(&arguments.source, &control.cancel)?;
    let mut options = BackupOptions::new(arguments.volume_id.clone());
    options.id = arguments.backup_id;
    options.name.clone_from(&arguments.name);
    options.description.clone_from(&arguments.description);
    options.parent = parent(&repository, &arguments.parent)?;
    options.compression = arguments.compression;
    options.chunker = match arguments.chunker {
        arguments::Chunker::Fixed => Chunker::Fixed,
        arguments::Chunker::Fastcdc => Chunker::FastCdc,
    };
    let engine = context.engine()?;
    let display = context.show_progress(&control, Phase::Backup);
    let record = engine.backup(&repository, source, &options, &control);
    drop(display);
    context.tell_of_refused_deletes(&repository);
    let record = match record.map_err(|error| (error.is_cancelled(), anyhow::Error::new(error))) {
        Err((_, error)) if failure::is_made(&error) => return Err(error),
        // Of other failures of the storage it is not certain: an answer may have been lost.
        Err((cancelled, error)) if cancelled || failure::is_full(&error) || failure::is_refused(&error) => {
            return Err(error).context("no backup was made");
        }
        Err((_, error)) => return Err(error),
        Ok(record) => record,
    };
    context.detail(|| match record.parent {
        Some(parent) => format!("compared with backup {parent}"),
        None => "compared with no other backup".to_owned(),
    });
    context.summary(&BackupFacts::from(&record), || summary(&record))
}

fn open(path: &Path, cancel: &CancelToken) -> anyhow::Result<Source> {
    if path != Path::new("-") {
        return Ok(Source::open(path)?);
    }
    if io::stdin().is_terminal() {
        return Err(Usage("standard input is a terminal: send the volume through a pipe".to_owned()).into());
    }
    let input = Input::new(cancel.clone()).context("standard input could not be opened")?;
    Ok(Source::stream(Box::new(input), "standard input"))
}

fn parent(repository: &Repository, argument: &arguments::Parent) -> anyhow::Result<Parent> {
    Ok(match argument {
        arguments::Parent::Auto => Parent::Auto,
        arguments::Parent::None => Parent::None,
        arguments::Parent::Backup(text) => {
            let (volume, id) = repository.find_backup(text).context("--parent")?;
            Parent::Backup(volume, id)
        }
    })
}

fn summary(record: &Record) -> String {
    let statistics = &record.statistics;
    let time = Duration::from_millis(statistics.milliseconds);
    let times = match number::ratio(statistics.new_bytes, statistics.stored_bytes) {
        Some(ratio) if statistics.new_bytes > 0 => format!(" ({ratio})"),
        _ => String::new(),
    };
    let rate = size::rate(statistics.read_bytes, time).map(|rate| format!(", {rate}")).unwrap_or_default();
    format!(
        "backup {} of {}: read {} of {}, new {} in {}, stored {}{times}, {}{rate}\n",
        record.id,
        record.volume,
        size::show(statistics.read_bytes),
        size::show(record.volume_bytes),
        size::show(statistics.new_bytes),
        number::counted(statistics.new_chunks, "chunk"),
        size::show(statistics.stored_bytes),
        number::duration(time),
    )
}
