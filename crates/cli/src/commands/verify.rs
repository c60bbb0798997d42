//! `verify`

use std::fmt::Write as _;
use std::time::Duration;

use cinderblock_pipeline::{DamagedBackup, ReadData, Sampled, VerifyOptions, VerifyReport};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Usage;
use crate::output::scrub::{self, ScrubFacts};
use crate::output::{note, number, printable, size};
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
    /// Where a share of the data was read.
    sample: Option<Sample<'a>>,
}

#[derive(Serialize)]
struct Sample<'a> {
    packs: u64,
    bytes: u64,
    round_ended: bool,
    /// Why what was remembered could not be read.
    forgotten: &'a [String],
    /// Why the next run begins where this one did.
    not_remembered: Option<&'a str>,
    scrub: ScrubFacts,
}

impl<'a> From<&'a Sampled> for Sample<'a> {
    fn from(sampled: &'a Sampled) -> Self {
        Self {
            packs: sampled.packs,
            bytes: sampled.bytes,
            round_ended: sampled.round_ended,
            forgotten: &sampled.forgotten,
            not_remembered: sampled.not_remembered.as_deref(),
            scrub: ScrubFacts::from(&sampled.scrub),
        }
    }
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
            sample: report.sample.as_ref().map(Sample::from),
        }
    }
}

pub fn run(context: &Context, backups: &[String], read_data: ReadData) -> anyhow::Result<()> {
    if matches!(read_data, ReadData::Share(_)) && !backups.is_empty() {
        let reason = "--read-data=PERCENT is of all data: leave the backups out, or the percentage".to_owned();
        return Err(Usage(reason).into());
    }
    let repository = context.repository()?;
    let find = |text: &String| {
        repository.find_backup(text).map_err(|error| match text.trim_end_matches('%').parse::<f64>() {
            Ok(_) => anyhow::Error::new(error)
                .context(format!("a share of the data is --read-data={text}, with an equals sign")),
            Err(_) => error.into(),
        })
    };
    let found = backups.iter().map(find).collect::<anyhow::Result<Vec<_>>>()?;
    let options = VerifyOptions { backups: (!found.is_empty()).then_some(found), read_data };
    let engine = context.engine()?;
    let control = context.control();
    let display = context.show_progress(&control, Phase::Verify);
    let report = engine.verify(&repository, &options, &control);
    drop(display);
    let report = report?;
    if let Some(sampled) = &report.sample {
        tell_memory(sampled);
    }
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

/// Says where the memory of what was read is bad.
fn tell_memory(sampled: &Sampled) {
    for reason in &sampled.forgotten {
        note(&format!("cinderblock: what was read before could not be looked up, and may be read once more: {reason}"));
    }
    if let Some(reason) = &sampled.not_remembered {
        note(&format!(
            "cinderblock: what was read could not be remembered, the next run reads the same again: {reason}"
        ));
    }
}

fn checked(report: &VerifyReport, read_data: ReadData) -> String {
    let time = Duration::from_millis(report.milliseconds);
    let mut text = format!(
        "checked {}, {}, {}",
        number::counted(report.backups, "backup"),
        number::counted(report.segments, "segment"),
        number::counted(report.packs, "pack"),
    );
    // Writing to a string does not fail.
    let chunks = || format!("{} in {}", size::show(report.read_bytes), number::counted(report.chunks, "chunk"));
    match (read_data, &report.sample) {
        (ReadData::No, _) => text.push_str("; data not read (--read-data)"),
        (ReadData::Share(_), Some(sampled)) => {
            let share = number::percent(sampled.bytes, sampled.scrub.total_bytes);
            let _ = write!(text, "; read {share} of the stored bytes, {}", chunks());
        }
        _ => {
            let _ = write!(text, "; read all data, {}", chunks());
        }
    }
    let _ = write!(text, ", {}", number::duration(time));
    if let Some(rate) = size::rate(report.read_bytes, time).filter(|_| read_data != ReadData::No) {
        let _ = write!(text, ", {rate}");
    }
    text.push_str(if report.is_clean() { "; no damage" } else { "; DAMAGED" });
    if let Some(sampled) = report.sample.as_ref().filter(|sampled| sampled.packs > 0) {
        let _ = write!(text, "\n{}", scrub::words(&sampled.scrub));
    }
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
