//! `list`

use cinderblock_pipeline::CancelToken;
use cinderblock_store::{Record, VolumeId};

use crate::commands::records::{self, Entry};
use crate::context::Context;
use crate::failure;
use crate::output::facts::{self, BackupFacts, Protection};
use crate::output::table::{self, Align};
use crate::output::{note, number, size};

pub fn run(context: &Context, volume: Option<&VolumeId>) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let pool = records::pool(context, &repository)?;
    let entries = records::read(&pool, &repository, volume, &CancelToken::default(), |mut record| {
        // Maps and hints are most of a record, and nothing that a listing shows.
        record.map.items = Vec::new();
        (record.data_packs, record.map_packs) = (Vec::new(), Vec::new());
        record
    })?;
    let marks = repository.marks()?;
    let mut listed = Vec::with_capacity(entries.len());
    let (mut damaged, mut unknown) = (0, 0);
    for Entry { volume, id, record } in entries {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                damaged += 1;
                failure::tell(&anyhow::Error::new(error).context(format!("backup {id} of {volume} is not listed")));
                continue;
            }
        };
        let protection = match marks.unreadable(&volume, id) {
            Some(error) => {
                unknown += 1;
                let reason = failure::words(error);
                note(&format!("cinderblock: backup {id} of {volume} counts as protected: {reason}"));
                Protection::Unknown
            }
            None => Protection::of(marks.get(&volume, id)),
        };
        listed.push((record, protection));
    }
    listed.sort_by(|(a, _), (b, _)| (&a.volume, a.created_at, a.id).cmp(&(&b.volume, b.created_at, b.id)));
    let all: Vec<BackupFacts> = listed
        .iter()
        .map(|(record, protection)| {
            BackupFacts::new(record, *protection).with_damage(marks.get(&record.volume, record.id))
        })
        .collect();
    context.answer(&all, || table(&listed))?;
    if let (Some(volume), true, 0) = (volume, listed.is_empty(), damaged) {
        note(&format!("cinderblock: there is no backup of a volume {volume}"));
    }
    for (record, _) in &listed {
        if let Some(damage) = marks.get(&record.volume, record.id).and_then(|mark| mark.damaged) {
            let lost = size::show(damage.bytes);
            note(&format!("cinderblock: backup {} of {} is damaged: {lost} are lost", record.id, record.volume));
        }
    }
    if damaged > 0 {
        let records = number::counted(damaged, "backup");
        anyhow::bail!("{records} cannot be read: restore the named objects of the repository, or delete the backups");
    }
    if unknown > 0 {
        let backups = number::counted(unknown, "backup");
        anyhow::bail!(
            "the marks of {backups} cannot be read: 'cinderblock protect', with or without --remove, renews them"
        );
    }
    Ok(())
}

/// With a column for protection only where a backup is protected.
fn table(listed: &[(Record, Protection)]) -> String {
    let begin = [("BACKUP", Align::Left), ("VOLUME", Align::Left), ("CREATED", Align::Left)];
    let end = [("SIZE", Align::Right), ("NEW", Align::Right), ("NAME", Align::Left)];
    let begin_of = |record: &Record| [record.id.to_string(), record.volume.to_string(), facts::time(record.created_at)];
    let end_of = |record: &Record| {
        let [size, new] = [record.volume_bytes, record.statistics.new_bytes].map(size::show);
        [size, new, record.name.clone().unwrap_or_default()]
    };
    let [(a, b, c), (x, y, z)] = [begin, end].map(|[first, second, third]| (first, second, third));
    if listed.iter().all(|(_, protection)| protection.is_none()) {
        let row = |(record, _): &(Record, Protection)| {
            let ([a, b, c], [x, y, z]) = (begin_of(record), end_of(record));
            [a, b, c, x, y, z]
        };
        return table::columns([a, b, c, x, y, z], &listed.iter().map(row).collect::<Vec<_>>());
    }
    let row = |(record, protection): &(Record, Protection)| {
        let ([a, b, c], [x, y, z]) = (begin_of(record), end_of(record));
        [a, b, c, if protection.is_none() { String::new() } else { protection.words() }, x, y, z]
    };
    let protected = ("PROTECTED", Align::Left);
    table::columns([a, b, c, protected, x, y, z], &listed.iter().map(row).collect::<Vec<_>>())
}
