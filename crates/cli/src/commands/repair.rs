//! `repair`

use std::fmt::Write as _;

use cinderblock_pipeline::{RepairOptions, RepairReport};
use serde::Serialize;

use crate::arguments::Repair;
use crate::commands::verify;
use crate::context::Context;
use crate::output::{note, number, size};

#[derive(Serialize)]
struct Repaired<'a> {
    dry_run: bool,
    /// Whether no backup lacks anything.
    whole: bool,
    backups: u64,
    replaced_segments: u64,
    noted: u64,
    broken_packs: u64,
    right_again: u64,
    missing: u64,
    healed: u64,
    stored_bytes: u64,
    damaged_backups: Vec<verify::Backup<'a>>,
    whole_again: Vec<String>,
    unreadable_notes: &'a [String],
    data_was_read: bool,
}

pub fn run(context: &Context, arguments: &Repair) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let keys = arguments.keys.sources();
    let other = arguments.from_repo.as_ref().map(|place| context.repository_at(place, keys)).transpose()?;
    let found = arguments.backups.iter().map(|text| repository.find_backup(text)).collect::<Result<Vec<_>, _>>()?;
    let options = RepairOptions {
        backups: (!found.is_empty()).then_some(found),
        read_data: arguments.read_data,
        sources: arguments.from.clone(),
        dry_run: arguments.dry_run,
    };
    let report = context.engine()?.repair(&repository, other.as_ref(), &options, &context.control())?;
    let repaired = Repaired {
        dry_run: arguments.dry_run,
        whole: report.damaged_backups.is_empty(),
        backups: report.backups,
        replaced_segments: report.replaced_segments,
        noted: report.noted,
        broken_packs: report.broken_packs,
        right_again: report.right_again,
        missing: report.missing,
        healed: report.healed,
        stored_bytes: report.stored_bytes,
        damaged_backups: report.damaged_backups.iter().map(verify::Backup::from).collect(),
        whole_again: report.whole_again.iter().map(|(_, id)| id.to_string()).collect(),
        unreadable_notes: &report.unreadable_notes,
        data_was_read: arguments.read_data,
    };
    if !report.unreadable_notes.is_empty() {
        context.answer(&repaired, || text(&report, arguments))?;
        report.unreadable_notes.iter().for_each(|note_of| note(&format!("cinderblock: {note_of}")));
        anyhow::bail!("what damage notes say is not known, so no backup is taken for whole again");
    }
    if repaired.whole {
        return context.summary(&repaired, || text(&report, arguments));
    }
    context.answer(&repaired, || text(&report, arguments))?;
    let backups = number::counted(report.damaged_backups.len() as u64, "backup");
    if arguments.dry_run {
        anyhow::bail!(
            "{backups} cannot be restored whole as it is; nothing was changed. Of what is missing, {} of {} could be healed",
            report.healed,
            report.missing
        )
    }
    anyhow::bail!(
        "{backups} cannot be restored whole: try 'cinderblock repair' with --from a volume or --from-repo a copy"
    )
}

fn text(report: &RepairReport, arguments: &Repair) -> String {
    let (mut text, dry_run) = (String::new(), arguments.dry_run);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{}: {} newly found damaged; {} missing, {}{} of them{}",
        number::counted(report.backups, "backup"),
        number::counted(report.noted, "chunk"),
        number::counted(report.missing, "chunk"),
        if dry_run { "could heal " } else { "healed " },
        report.healed,
        if dry_run { String::new() } else { format!(", {} stored", size::show(report.stored_bytes)) },
    );
    if !arguments.read_data {
        let _ = writeln!(text, "the data of volumes were not read: --read-data does");
    }
    if report.broken_packs > 0 {
        let _ = writeln!(text, "newly found without a directory: {}", number::counted(report.broken_packs, "pack"));
    }
    if report.right_again > 0 {
        let places = number::counted(report.right_again, "place");
        let _ = writeln!(
            text,
            "wrong once, right when read again, not noted: {places}; look at the memory, the cables and the disks"
        );
    }
    if report.replaced_segments > 0 {
        let _ = writeln!(text, "replaced {}", number::counted(report.replaced_segments, "damaged index segment"));
    }
    for (volume, id) in &report.whole_again {
        let _ = writeln!(text, "whole again: backup {id} of {volume}");
    }
    for damaged in &report.damaged_backups {
        let _ = writeln!(text, "{}{}", if dry_run { "as it is, " } else { "" }, verify::lost(damaged));
    }
    text
}
