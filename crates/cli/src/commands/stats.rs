//! `stats`

use cinderblock_store::{Scrub, Usage};
use serde::Serialize;

use crate::context::Context;
use crate::output::scrub::{self, ScrubFacts};
use crate::output::{number, size, table};

#[derive(Serialize)]
struct Stats {
    backups: u64,
    volumes: u64,
    volume_bytes: u64,
    stored_bytes: u64,
    data_bytes: u64,
    map_bytes: u64,
    segment_bytes: u64,
    record_bytes: u64,
    packs: u64,
    chunks: u64,
    chunk_bytes: u64,
    unreferenced_bytes: u64,
    missing: u64,
    /// How far `verify --read-data=PERCENT` has come, where it was ever run.
    scrub: Option<ScrubFacts>,
}

impl From<Usage> for Stats {
    fn from(usage: Usage) -> Self {
        Self {
            backups: usage.backups,
            volumes: usage.volumes,
            volume_bytes: usage.volume_bytes,
            stored_bytes: usage.stored_bytes,
            data_bytes: usage.data_bytes,
            map_bytes: usage.map_bytes,
            segment_bytes: usage.segment_bytes,
            record_bytes: usage.record_bytes,
            packs: usage.packs,
            chunks: usage.chunks,
            chunk_bytes: usage.chunk_bytes,
            unreferenced_bytes: usage.unreferenced_bytes,
            missing: usage.missing,
            scrub: None,
        }
    }
}

pub fn run(context: &Context) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let scrub = repository.scrubs()?.furthest;
    let stats = Stats { scrub: scrub.as_ref().map(ScrubFacts::from), ..Stats::from(repository.usage()?) };
    context.answer(&stats, || text(&stats, scrub.as_ref()))
}

fn text(stats: &Stats, scrub: Option<&Scrub>) -> String {
    let times = |ratio: Option<String>| {
        ratio.map(|ratio| format!(" ({ratio} less than the different chunks)")).unwrap_or_default()
    };
    let volumes = number::counted(stats.volumes, "volume");
    let mut facts = vec![
        ("backups", format!("{} of {volumes}", number::grouped(stats.backups))),
        ("size of the volumes", size::show(stats.volume_bytes)),
        (
            "different chunks",
            format!("{} in {}", size::show(stats.chunk_bytes), number::counted(stats.chunks, "chunk")),
        ),
        (
            "stored",
            format!(
                "{}{}",
                size::show(stats.stored_bytes),
                times(number::ratio(stats.chunk_bytes, stats.stored_bytes))
            ),
        ),
        ("  data", format!("{} in {}", size::show(stats.data_bytes), number::counted(stats.packs, "pack"))),
        ("  maps", size::show(stats.map_bytes)),
        ("  index segments", size::show(stats.segment_bytes)),
        ("  records", size::show(stats.record_bytes)),
        ("needed by no backup", {
            // What a map that can't be read needs is not known.
            let limit = if stats.missing > 0 { "at most " } else { "" };
            format!("{limit}{}", size::show(stats.unreferenced_bytes))
        }),
    ];
    if stats.missing > 0 {
        let objects = number::counted(stats.missing, "object");
        facts.push(("missing or damaged", format!("{objects}: 'cinderblock verify' tells what is lost")));
    }
    if let Some(scrub) = scrub {
        facts.push(("data read back", scrub::words(scrub)));
    }
    table::facts(&facts)
}
