//! `verify`

use std::fmt::Write as _;
use std::time::Duration;

use cinderblock_pipeline::{DamagedBackup, VerifyOptions, VerifyReport};
use serde::Serialize;

use crate::context::Context;
use crate::output::{number, printable, size};
use crate::progress::Phase;

#[derive(Serialize)]
struct Verified<'a> {
    clean: bool,
    backups: u64,
    packs: u64,
    segments: u64,
    read_bytes: u64,
    chunks: u64,
    seconds: f64,
    damaged_objects: Vec<Object<'a>>,
    damaged_backups: Vec<Backup<'a>>,
}

#[derive(Serialize)]
struct Object<'a> {
    object: &'a str,
    offset: u64,
    reason: &'a str,
}

#[derive(Serialize)]
pub(super) struct Backup<'a> {
    volume_id: &'a str,
    backup_id: String,
    /// Why nothing of it can be read, where that is so.
    reason: Option<&'a str>,
    lost: Vec<Lost>,
}

/// An extent of the volume, in bytes.
#[derive(Serialize)]
struct Lost {
    offset: u64,
    length: u64,
}

impl<'a> From<&'a DamagedBackup> for Backup<'a> {
    fn from(damaged: &'a DamagedBackup) -> Self {
        Self {
            volume_id: damaged.volume.as_str(),
            backup_id: damaged.id.to_string(),
            reason: damaged.reason.as_deref(),
            lost: damaged.lost.iter().map(|lost| Lost { offset: lost.offset, length: lost.length }).collect(),
        }
    }
}

impl<'a> From<&'a VerifyReport> for Verified<'a> {
    fn from(report: &'a VerifyReport) -> Self {
        let objects = report.damaged_objects.iter().map(|damaged| Object {
            object: &damaged.object,
            offset: damaged.offset,
            reason: &damaged.reason,
        });
        let backups = report.damaged_backups.iter().map(Backup::from);
        Self {
            clean: report.is_clean(),
            backups: report.backups,
            packs: report.packs,
            segments: report.segments,
            read_bytes: report.read_bytes,
            chunks: report.chunks,
            seconds: report.milliseconds as f64 / 1000.0,
            damaged_objects: objects.collect(),
            damaged_backups: backups.collect(),
        }
    }
}

pub fn run(context: &Context, backups: &[String], read_data: bool) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let found = backups.iter().map(|text| repository.find_backup(text)).collect::<Result<Vec<_>, _>>()?;
    let options = VerifyOptions { backups: (!found.is_empty()).then_some(found), read_data };
    let engine = context.engine()?;
    let control = context.control();
    let display = context.show_progress(&control, Phase::Verify);
    let report = engine.verify(&repository, &options, &control);
    drop(display);
    let report = report?;
    if report.is_clean() {
        return context.summary(&Verified::from(&report), || format!("{}\n", checked(&report, read_data)));
    }
    context.answer(&Verified::from(&report), || format!("{}\n{}", checked(&report, read_data), damage(&report)))?;
    let objects = number::counted(report.damaged_objects.len() as u64, "damaged object");
    if report.damaged_backups.is_empty() {
        anyhow::bail!(
            "{objects}, and every backup can be restored without: 'cinderblock repair --read-data' notes them"
        )
    }
    let backups =
        format!("{} cannot be restored whole", number::counted(report.damaged_backups.len() as u64, "backup"));
    anyhow::bail!(
        "{objects}, {backups}: 'cinderblock repair --read-data', with --from a volume or --from-repo a copy of the repository, heals what these still have"
    )
}

fn checked(report: &VerifyReport, read_data: bool) -> String {
    let time = Duration::from_millis(report.milliseconds);
    let mut text = format!(
        "checked {}, {}, {}",
        number::counted(report.backups, "backup"),
        number::counted(report.segments, "segment"),
        number::counted(report.packs, "pack"),
    );
    // Writing to a string does not fail.
    if read_data {
        let chunks = number::counted(report.chunks, "chunk");
        let _ = write!(text, "; read all data, {} in {chunks}", size::show(report.read_bytes));
    } else {
        text.push_str("; data not read (--read-data)");
    }
    let _ = write!(text, ", {}", number::duration(time));
    if let Some(rate) = size::rate(report.read_bytes, time).filter(|_| read_data) {
        let _ = write!(text, ", {rate}");
    }
    text.push_str(if report.is_clean() { "; no damage" } else { "; DAMAGED" });
    text
}

fn damage(report: &VerifyReport) -> String {
    let mut text = String::new();
    for damaged in &report.damaged_objects {
        let _ = writeln!(
            text,
            "damaged: {}, byte {}: {}",
            printable(&damaged.object),
            damaged.offset,
            printable(&damaged.reason)
        );
    }
    for damaged in &report.damaged_backups {
        let _ = writeln!(text, "{}", lost(damaged));
        for extent in &damaged.lost {
            let (first, end) = (number::grouped(extent.offset), number::grouped(extent.end()));
            let _ = writeln!(text, "    bytes {first} to {end} ({})", size::show(extent.length));
        }
    }
    text
}

pub(super) fn lost(damaged: &DamagedBackup) -> String {
    let DamagedBackup { volume, id, reason, lost, .. } = damaged;
    let bytes = lost.iter().fold(0, |sum: u64, extent| sum.saturating_add(extent.length));
    let extents = number::counted(lost.len() as u64, "extent");
    match reason {
        Some(reason) => format!("lost: all of backup {id} of {volume}: {}", printable(reason)),
        None => format!("lost: {} of backup {id} of {volume}, in {extents}", size::show(bytes)),
    }
}
