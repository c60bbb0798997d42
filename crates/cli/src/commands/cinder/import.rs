//! `cinder import`

use std::time::Duration;

use cinderblock_cinder::ImportedBackup;
use serde::Serialize;

use super::facts::BackupFacts;
use crate::arguments::cinder;
use crate::context::Context;
use crate::output::{number, size};
use crate::progress::Phase;

#[derive(Serialize)]
struct Imported {
    backups: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    #[serde(flatten)]
    backup: BackupFacts,
    /// Whether it was in the repository already.
    was_there: bool,
    volume_bytes: u64,
    read_bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    seconds: f64,
}

impl From<&ImportedBackup> for Layer {
    fn from(imported: &ImportedBackup) -> Self {
        let statistics = &imported.record.statistics;
        Self {
            backup: BackupFacts::from(&imported.backup),
            was_there: imported.was_there,
            volume_bytes: imported.record.volume_bytes,
            read_bytes: statistics.read_bytes,
            new_bytes: statistics.new_bytes,
            stored_bytes: statistics.stored_bytes,
            seconds: statistics.milliseconds as f64 / 1000.0,
        }
    }
}

pub fn run(context: &Context, arguments: &cinder::Import) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let control = context.control();
    let driver = super::reader(
        context,
        &arguments.chain.root,
        arguments.chain.containers(),
        context.settings_beside_repository(),
        &control,
    )?;
    let layers = driver.chain(&arguments.chain.layers)?;
    let engine = context.engine()?;
    let display = context.show_progress(&control, Phase::Backup);
    let imported = driver.import(&repository, &engine, &layers, arguments.compression);
    drop(display);
    let imported = imported?;
    let document = Imported { backups: imported.iter().map(Layer::from).collect() };
    context.summary(&document, || imported.iter().map(line).collect())
}

fn line(imported: &ImportedBackup) -> String {
    let record = &imported.record;
    let statistics = &record.statistics;
    if imported.was_there {
        return format!("backup {} of {} was there already\n", record.id, record.volume);
    }
    format!(
        "imported backup {} of {}: read {} of {}, new {}, stored {}, {}\n",
        record.id,
        record.volume,
        size::show(statistics.read_bytes),
        size::show(record.volume_bytes),
        size::show(statistics.new_bytes),
        size::show(statistics.stored_bytes),
        number::duration(Duration::from_millis(statistics.milliseconds)),
    )
}
