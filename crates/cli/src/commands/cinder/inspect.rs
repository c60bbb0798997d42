//! `cinder inspect`

use std::fmt::Write as _;

use cinderblock_cinder::Inspection;
use serde::Serialize;

use super::facts::BackupFacts;
use crate::arguments::cinder;
use crate::context::Context;
use crate::output::{number, printable, size, table};
use crate::progress::Phase;

#[derive(Serialize)]
struct Inspected<'a> {
    #[serde(flatten)]
    backup: BackupFacts,
    whole: bool,
    data_was_read: bool,
    version: Option<&'a str>,
    volume_bytes: u64,
    sha_block_size: Option<u64>,
    hashes: u64,
    data_bytes: u64,
    stored_bytes: u64,
    missing: &'a [String],
    stray: &'a [String],
    damaged: Vec<Damaged<'a>>,
}

#[derive(Serialize)]
struct Damaged<'a> {
    object: &'a str,
    /// First byte of the volume that is affected, and how many; null where it is not the data.
    offset: Option<u64>,
    length: Option<u64>,
    reason: &'a str,
}

pub fn run(context: &Context, arguments: &cinder::Inspect) -> anyhow::Result<()> {
    let control = context.control();
    let place = &arguments.place;
    let driver = super::reader(context, &place.root, [place.container.as_str()], context.settings(), &control)?;
    let display = context.show_progress(&control, Phase::Verify);
    let found = driver.inspect(&place.container, &place.prefix, arguments.read_data);
    drop(display);
    let found = found?;
    let damaged = found.damaged.iter().map(|part| Damaged {
        object: &part.object,
        offset: part.offset,
        length: part.length,
        reason: &part.reason,
    });
    let inspected = Inspected {
        backup: BackupFacts::from(&found.backup),
        whole: found.is_whole(),
        data_was_read: found.data_was_read,
        version: found.version.as_deref(),
        volume_bytes: found.volume_bytes,
        sha_block_size: found.sha_block_size_bytes,
        hashes: found.hashes,
        data_bytes: found.data_bytes,
        stored_bytes: found.stored_bytes,
        missing: &found.missing,
        stray: &found.stray,
        damaged: damaged.collect(),
    };
    context.answer(&inspected, || if found.is_nothing() { String::new() } else { text(&found) })?;
    if found.is_whole() {
        return Ok(());
    }
    if found.is_nothing() {
        anyhow::bail!(
            "there is no backup: nothing in the container {} begins with {}; Cinder's table of backups has both, as container and service_metadata",
            place.container,
            place.prefix,
        );
    }
    anyhow::bail!(
        "the backup is not as it should be: {} missing, {} not of it, {} damaged",
        number::grouped(found.missing.len() as u64),
        number::grouped(found.stray.len() as u64),
        number::grouped(found.damaged.len() as u64),
    )
}

fn text(found: &Inspection) -> String {
    let backup = &found.backup;
    let known = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
    let mut rows = vec![("backup", known(&backup.id)), ("volume", known(&backup.volume_id))];
    rows.extend(backup.display_name.clone().map(|name| ("name", name)));
    rows.extend(backup.display_description.clone().map(|text| ("description", text)));
    rows.push(("created", known(&backup.created_at)));
    let parent =
        backup.parent_id.clone().or_else(|| found.version.as_ref().map(|_| "nothing: a full backup".to_owned()));
    rows.push(("increment of", parent.unwrap_or_else(|| "unknown".to_owned())));
    rows.push(("size", size::show(found.volume_bytes)));
    let kinds: Vec<String> = found.compression.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    rows.push(("objects", format!("{}{kinds}", number::grouped(backup.object_count))));
    rows.push(("data", size::show(found.data_bytes)));
    rows.push(("stored", size::show(found.stored_bytes)));
    if let Some(bytes) = found.sha_block_size_bytes {
        rows.push(("hashes", format!("{} of {} each", number::grouped(found.hashes), size::show(bytes))));
    }
    let state = match (found.is_whole(), found.data_was_read) {
        (true, true) => "whole; all data were read and are right",
        (true, false) => "whole; data were not read (--read-data)",
        (false, _) => "not as it should be",
    };
    rows.push(("state", state.to_owned()));
    let mut text = table::facts(&rows);
    let mut add = |line: String| {
        let _ = writeln!(text, "{}", printable(&line));
    };
    found.missing.iter().for_each(|name| add(format!("missing: {name}")));
    found.stray.iter().for_each(|name| add(format!("not of this backup: {name}")));
    for part in &found.damaged {
        let range = match (part.offset, part.length) {
            (Some(offset), Some(length)) => format!(" (bytes {offset} to {} of the volume)", offset + length),
            _ => String::new(),
        };
        add(format!("damaged: {}{range}: {}", part.object, part.reason));
    }
    text
}
