//! `list`

use anyhow::Context as _;
use cinderblock_store::{Error, Record, VolumeId};

use crate::context::Context;
use crate::failure;
use crate::output::facts::{self, BackupFacts};
use crate::output::table::{self, Align};
use crate::output::{number, size};

pub fn run(context: &Context, volume: Option<&VolumeId>) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let mut records = Vec::new();
    let mut damaged = 0;
    for (volume, id) in repository.backups(volume)? {
        match repository.record(&volume, id) {
            Ok(mut record) => {
                // Maps and hints are most of a record, and nothing that a listing shows.
                record.map.items = Vec::new();
                (record.data_packs, record.map_packs) = (Vec::new(), Vec::new());
                records.push(record);
            }
            // Deleted since it was listed.
            Err(Error::BackupNotFound { .. }) => {}
            Err(error)
                if error.is_damage() || matches!(error, Error::NewerFormat { .. } | Error::Unsupported { .. }) =>
            {
                damaged += 1;
                failure::tell(&anyhow::Error::new(error).context(format!("backup {id} of {volume} is not listed")));
            }
            Err(error) => return Err(error).with_context(|| format!("reading backup {id} of {volume}")),
        }
    }
    records.sort_by(|a, b| (&a.volume, a.created_at, a.id).cmp(&(&b.volume, b.created_at, b.id)));
    let listed: Vec<BackupFacts> = records.iter().map(BackupFacts::from).collect();
    context.answer(&listed, || table(&records))?;
    if damaged > 0 {
        let records = number::counted(damaged, "backup");
        anyhow::bail!("{records} cannot be read: restore the named objects of the repository, or delete the backups");
    }
    Ok(())
}

fn table(records: &[Record]) -> String {
    let headings = [
        ("BACKUP", Align::Left),
        ("VOLUME", Align::Left),
        ("CREATED", Align::Left),
        ("SIZE", Align::Right),
        ("NEW", Align::Right),
        ("NAME", Align::Left),
    ];
    let row = |record: &Record| {
        [
            record.id.to_string(),
            record.volume.to_string(),
            facts::time(record.created_at),
            size::show(record.volume_bytes),
            size::show(record.statistics.new_bytes),
            record.name.clone().unwrap_or_default(),
        ]
    };
    table::columns(headings, &records.iter().map(row).collect::<Vec<_>>())
}
