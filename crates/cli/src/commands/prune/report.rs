//! What people and programs are told of a pruning.

use cinderblock_store::Timestamp;
use cinderblock_store::retention::Reason;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{Decision, Outcome};
use crate::context::Context;
use crate::failure;
use crate::output::facts;
use crate::output::number;
use crate::output::table::{self, Align};

#[derive(Serialize)]
struct Pruned {
    dry_run: bool,
    /// Name of the time zone whose days and hours were counted, if it has one.
    time_zone: Option<String>,
    kept: u64,
    /// With `dry_run`, those that would be deleted.
    removed: u64,
    failed: u64,
    /// No rule wants these, and they were not reached before the command was stopped.
    left: u64,
    volumes: Vec<Volume>,
}

#[derive(Serialize)]
struct Volume {
    volume_id: String,
    kept: Vec<Kept>,
    removed: Vec<Backup>,
    failed: Vec<Failed>,
    left: Vec<Backup>,
}

#[derive(Serialize)]
struct Backup {
    backup_id: String,
    created_at: Option<String>,
}

#[derive(Serialize)]
struct Kept {
    #[serde(flatten)]
    backup: Backup,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct Failed {
    #[serde(flatten)]
    backup: Backup,
    error: String,
}

pub fn answer(context: &Context, decisions: &[Decision], zone: &TimeZone, dry_run: bool) -> anyhow::Result<()> {
    let document = pruned(decisions, zone, dry_run);
    let text = || text(&document, decisions, zone);
    if dry_run { context.answer(&document, text) } else { context.summary(&document, text) }
}

fn pruned(decisions: &[Decision], zone: &TimeZone, dry_run: bool) -> Pruned {
    let mut pruned = Pruned {
        dry_run,
        time_zone: zone.iana_name().map(str::to_owned),
        kept: 0,
        removed: 0,
        failed: 0,
        left: 0,
        volumes: Vec::new(),
    };
    for of_volume in decisions.chunk_by(|a, b| a.volume == b.volume) {
        let Some(Decision { volume, .. }) = of_volume.first() else { continue };
        let (mut kept, mut removed, mut failed, mut left) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for Decision { id, created_at, outcome, .. } in of_volume {
            let backup = Backup { backup_id: id.to_string(), created_at: created_at.map(facts::microseconds) };
            match outcome {
                Outcome::Kept(reasons) => {
                    kept.push(Kept { backup, reasons: reasons.iter().map(Reason::to_string).collect() });
                }
                Outcome::Unwanted if !dry_run => left.push(backup),
                Outcome::Removed | Outcome::Unwanted => removed.push(backup),
                Outcome::Failed(error) => failed.push(Failed { backup, error: failure::words(error) }),
            }
        }
        pruned.kept += kept.len() as u64;
        pruned.removed += removed.len() as u64;
        pruned.failed += failed.len() as u64;
        pruned.left += left.len() as u64;
        pruned.volumes.push(Volume { volume_id: volume.to_string(), kept, removed, failed, left });
    }
    pruned
}

fn text(pruned: &Pruned, decisions: &[Decision], zone: &TimeZone) -> String {
    let headings = [
        ("VOLUME", Align::Left),
        ("BACKUP", Align::Left),
        ("CREATED", Align::Left),
        ("", Align::Left),
        ("REASONS", Align::Left),
    ];
    let row = |decision: &Decision| {
        let (done, reasons) = match &decision.outcome {
            Outcome::Kept(reasons) => ("keep", reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join(", ")),
            Outcome::Removed => ("delete", String::new()),
            Outcome::Unwanted if pruned.dry_run => ("delete", String::new()),
            Outcome::Unwanted => ("left", String::new()),
            Outcome::Failed(_) => ("failed", String::new()),
        };
        let created_at = decision.created_at.map_or_else(|| "?".to_owned(), |time| local(time, zone));
        [decision.volume.to_string(), decision.id.to_string(), created_at, done.to_owned(), reasons]
    };
    let mut text = table::columns(headings, &decisions.iter().map(row).collect::<Vec<_>>());
    let [kept, removed] = [pruned.kept, pruned.removed].map(|count| number::counted(count, "backup"));
    let volumes = number::counted(pruned.volumes.len() as u64, "volume");
    text.push_str(&match (pruned.dry_run, pruned.removed) {
        (true, _) => format!("would keep {kept} of {volumes} and delete {removed}; nothing was changed\n"),
        (false, 0) => format!("kept {kept} of {volumes}, deleted none\n"),
        (false, _) => format!("kept {kept} of {volumes}, deleted {removed}: 'cinderblock gc' frees their space\n"),
    });
    text
}

/// The time on this host's clocks, by which its hour and day are counted: `2026-11-23 06:08:59 CET`
fn local(time: Timestamp, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_microsecond(time.microseconds()) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
        Err(_) => time.to_string(),
    }
}
