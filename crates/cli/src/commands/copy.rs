//! `copy`

use std::time::Duration;

use anyhow::Context as _;
use cinderblock_pipeline::{CopySummary, check_copy};
use cinderblock_store::{BackupId, Record, Timestamp, VolumeId};
use serde::Serialize;

use crate::arguments::Copy;
use crate::commands::records;
use crate::context::Context;
use crate::failure::{self, Usage};
use crate::output::{note, number, size};
use crate::progress::Phase;

#[derive(Serialize, Default)]
struct Copied {
    copied: Vec<Backup>,
    already_there: Vec<Named>,
    failed: Vec<Failed>,
    new_bytes: u64,
    read_bytes: u64,
    stored_bytes: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct Backup {
    volume_id: String,
    backup_id: String,
    volume_bytes: u64,
    chunks: u64,
    new_chunks: u64,
    new_bytes: u64,
    read_bytes: u64,
    stored_bytes: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct Named {
    volume_id: String,
    backup_id: String,
}

#[derive(Serialize)]
struct Failed {
    volume_id: String,
    backup_id: String,
    error: String,
}

pub fn run(context: &Context, arguments: &Copy) -> anyhow::Result<()> {
    if arguments.backups.is_empty() && !arguments.all {
        return Err(Usage("name the backups to copy, or give --all".to_owned()).into());
    }
    let (from, to) = context.two_repositories(&arguments.to, arguments.keys.sources())?;
    check_copy(&from, &to)?;
    let control = context.control();
    let mut done = Copied::default();
    let mut backups: Vec<(VolumeId, Timestamp, BackupId)> = Vec::new();
    if arguments.all {
        let pool = records::pool(context, &from)?;
        let read = records::read(&pool, &from, arguments.volume_id.as_ref(), &control.cancel, |r| r.created_at);
        let entries = read.context("nothing was copied")?;
        records::expect_some(&entries, arguments.volume_id.as_ref()).context("nothing was copied")?;
        for entry in entries {
            match entry.record {
                Ok(created_at) => backups.push((entry.volume, created_at, entry.id)),
                Err(error) => done.fail(&entry.volume, entry.id, failure::words(&error)),
            }
        }
    } else {
        for text in &arguments.backups {
            let (volume, id) = from.find_backup(text).context("nothing was copied")?;
            let record = from.record(&volume, id).context("nothing was copied")?;
            backups.push((volume, record.created_at, id));
        }
    }
    backups.sort();
    backups.dedup();
    let engine = context.engine()?;
    let mut stopped = None;
    for (volume, _, id) in backups {
        let record = match from.record(&volume, id) {
            Ok(record) => record,
            Err(error) => {
                done.fail(&volume, id, failure::words(&error));
                continue;
            }
        };
        // Each has a bar of its own.
        control.progress.reset();
        let display = context.show_progress(&control, Phase::Backup);
        let copied = engine.copy(&from, &record, &to, &control);
        drop(display);
        match copied {
            Ok(summary) => done.add(&record, &summary),
            Err(error) if error.is_cancelled() => {
                stopped = Some(error);
                break;
            }
            Err(error) => done.fail(&volume, id, failure::words(&error)),
        }
    }
    let (failed, location) = (done.failed.len() as u64, to.backend().location());
    context.summary(&done, || done.text(&location))?;
    if let Some(error) = stopped {
        let copied = number::counted(done.copied.len() as u64, "backup");
        return Err(error).with_context(|| format!("{copied} copied, then it was stopped; the same command goes on"));
    }
    anyhow::ensure!(failed == 0, "{} could not be copied", number::counted(failed, "backup"));
    Ok(())
}

impl Copied {
    fn fail(&mut self, volume: &VolumeId, id: BackupId, error: String) {
        note(&format!("cinderblock: backup {id} of {volume} could not be copied: {error}"));
        self.failed.push(Failed { volume_id: volume.to_string(), backup_id: id.to_string(), error });
    }

    fn add(&mut self, record: &Record, summary: &CopySummary) {
        let (volume_id, backup_id) = (record.volume.to_string(), record.id.to_string());
        if summary.already_there {
            self.already_there.push(Named { volume_id, backup_id });
            return;
        }
        let seconds = summary.milliseconds as f64 / 1000.0;
        self.new_bytes += summary.new_bytes;
        self.read_bytes += summary.read_bytes;
        self.stored_bytes += summary.stored_bytes;
        self.seconds += seconds;
        self.copied.push(Backup {
            volume_id,
            backup_id,
            volume_bytes: summary.volume_bytes,
            chunks: summary.chunks,
            new_chunks: summary.new_chunks,
            new_bytes: summary.new_bytes,
            read_bytes: summary.read_bytes,
            stored_bytes: summary.stored_bytes,
            seconds,
        });
    }

    fn text(&self, location: &str) -> String {
        let time = Duration::from_secs_f64(self.seconds);
        let rate = size::rate(self.read_bytes, time).map(|rate| format!(", {rate}")).unwrap_or_default();
        format!(
            "copied {} to {location}, {} already there: new {}, read {}, stored {}, {}{rate}\n",
            number::counted(self.copied.len() as u64, "backup"),
            number::grouped(self.already_there.len() as u64),
            size::show(self.new_bytes),
            size::show(self.read_bytes),
            size::show(self.stored_bytes),
            number::duration(time),
        )
    }
}
