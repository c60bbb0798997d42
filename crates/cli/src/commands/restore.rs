//! `restore`

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use cinderblock_pipeline::{RestoreSummary, Target};
use cinderblock_store::Record;
use serde::Serialize;

use crate::arguments::Restore;
use crate::context::Context;
use crate::failure::{ReaderGone, Usage};
use crate::output::{number, size};
use crate::progress::Phase;
use crate::streams::Output;

#[derive(Serialize)]
struct Restored {
    backup_id: String,
    volume_id: String,
    target: String,
    volume_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
    unchanged_bytes: u64,
    zero_bytes: u64,
    seconds: f64,
}

pub fn run(context: &Context, arguments: &Restore) -> anyhow::Result<()> {
    if arguments.target == Path::new("-") {
        return to_standard_output(context, arguments);
    }
    let repository = context.repository()?;
    let (volume, id) = repository.find_backup(&arguments.backup)?;
    let record = repository.record(&volume, id)?;
    let path = arguments.target.clone();
    let target = if arguments.existing { Target::Existing(path) } else { Target::New(path) };
    let engine = context.engine()?;
    let control = context.control();
    let display = context.show_progress(&control, Phase::Restore);
    let restored = engine.restore(&repository, &record, &target, &control);
    drop(display);
    let summary = restored?;
    let restored = Restored {
        backup_id: record.id.to_string(),
        volume_id: record.volume.to_string(),
        target: arguments.target.display().to_string(),
        volume_bytes: summary.volume_bytes,
        read_bytes: summary.read_bytes,
        written_bytes: summary.written_bytes,
        unchanged_bytes: summary.unchanged_bytes,
        zero_bytes: summary.zero_bytes,
        seconds: summary.milliseconds as f64 / 1000.0,
    };
    context.summary(&restored, || format!("{}\n", text(&record, &restored.target, &summary)))
}

fn to_standard_output(context: &Context, arguments: &Restore) -> anyhow::Result<()> {
    let refused = match () {
        () if arguments.existing => Some("--existing needs a file or a block device, not standard output"),
        () if context.json() => Some("--json cannot be used here: standard output carries the volume"),
        () if io::stdout().is_terminal() => Some("standard output is a terminal: send it to a pipe or a file"),
        () => None,
    };
    if let Some(reason) = refused {
        return Err(Usage(reason.to_owned()).into());
    }
    let repository = context.repository()?;
    let (volume, id) = repository.find_backup(&arguments.backup)?;
    let record = repository.record(&volume, id)?;
    let engine = context.engine()?;
    let mut output = Output::new().context("standard output could not be opened")?;
    // A write to a pipe that nobody reads from cannot be interrupted, and there is nothing to clean up.
    let control = context.control_without_signals();
    let display = context.show_progress(&control, Phase::Restore);
    let restored = engine.restore_to_writer(&repository, &record, &mut output, &control);
    drop(display);
    if restored.is_err() && output.reader_gone() {
        return Err(ReaderGone.into());
    }
    let summary = restored?;
    context.summary_aside(|| text(&record, "standard output", &summary));
    Ok(())
}

fn text(record: &Record, target: &str, summary: &RestoreSummary) -> String {
    let time = Duration::from_millis(summary.milliseconds);
    let data = summary.volume_bytes.saturating_sub(summary.zero_bytes);
    let unchanged = match summary.unchanged_bytes {
        0 => String::new(),
        bytes => format!(", {} there already", size::show(bytes)),
    };
    let rate = size::rate(data, time).map(|rate| format!(", {rate}")).unwrap_or_default();
    format!(
        "restored backup {} of {} to {target}: {}, wrote {}{unchanged}, zero {}, {}{rate}",
        record.id,
        record.volume,
        size::show(summary.volume_bytes),
        size::show(summary.written_bytes),
        size::show(summary.zero_bytes),
        number::duration(time),
    )
}
