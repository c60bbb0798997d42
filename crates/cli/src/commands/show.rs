//! `show`

use std::time::Duration;

use anyhow::Context as _;
use cinderblock_store::{Chunking, Mark, Record};
use serde::Serialize;

use crate::context::Context;
use crate::output::facts::{self, BackupFacts, Protection};
use crate::output::{number, size, table};

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    backup: BackupFacts,
    /// Names of further facts that are kept with the backup.
    attributes: Vec<&'a str>,
    /// Packs that held the backup when it was made.
    packs: usize,
}

pub fn run(context: &Context, backup: &str) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let (volume, id) = repository.find_backup(backup)?;
    let record = repository.record(&volume, id)?;
    // A record can be shown although its mark cannot.
    let (mark, protection, unknown) = match repository.mark(&volume, id) {
        Ok(mark) => (mark.clone(), Protection::of(mark.as_ref()), None),
        Err(error) => (None, Protection::Unknown, Some(error)),
    };
    let shown = Shown {
        backup: BackupFacts::new(&record, protection).with_damage(mark.as_ref()),
        attributes: record.attributes.keys().map(String::as_str).collect(),
        packs: record.data_packs.len() + record.map_packs.len(),
    };
    context.answer(&shown, || text(&record, &shown, protection, mark.as_ref()))?;
    match unknown {
        Some(error) => Err(error).context("it is not known whether the backup is protected"),
        None => Ok(()),
    }
}

fn text(record: &Record, shown: &Shown, protection: Protection, mark: Option<&Mark>) -> String {
    let statistics = &record.statistics;
    let parent = record.parent.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let chunker = match record.chunking {
        Chunking::Fixed => "fixed".to_owned(),
        Chunking::Content { minimum, average, maximum } => {
            let [minimum, average, maximum] = [minimum, average, maximum].map(|bytes| size::show(bytes.into()));
            format!("fastcdc: {minimum} to {maximum}, about {average}")
        }
    };
    let exact = |bytes: u64| match bytes {
        0..1024 => size::show(bytes),
        _ => format!("{} ({} bytes)", size::show(bytes), number::grouped(bytes)),
    };
    let mut facts = vec![("backup", record.id.to_string()), ("volume", record.volume.to_string())];
    facts.extend(record.name.clone().map(|name| ("name", name)));
    facts.extend(record.description.clone().map(|description| ("description", description)));
    facts.extend([
        ("created", facts::time(record.created_at)),
        ("protected", protection.words()),
        ("compared with", parent),
        ("size", exact(record.volume_bytes)),
        ("read", exact(statistics.read_bytes)),
        ("new", exact(statistics.new_bytes)),
        ("stored", exact(statistics.stored_bytes)),
        ("chunks", number::grouped(statistics.chunks)),
        ("new chunks", number::grouped(statistics.new_chunks)),
        ("zero chunks", number::grouped(statistics.zero_chunks)),
        ("chunker", chunker),
        ("compression", record.compression.clone()),
        ("packs", number::grouped(shown.packs as u64)),
        ("took", number::duration(Duration::from_millis(statistics.milliseconds))),
    ]);
    if let Some(damage) = mark.and_then(|mark| mark.damaged) {
        let found = facts::time(damage.found_at);
        facts.push(("damaged", format!("{} lost, found {found}", exact(damage.bytes))));
    }
    if !shown.attributes.is_empty() {
        facts.push(("attributes", shown.attributes.join(", ")));
    }
    table::facts(&facts)
}
