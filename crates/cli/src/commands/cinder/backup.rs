//! `cinder backup`

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cinderblock_cinder::{Backup, BackupSummary, Error, VolumeApi};
use cinderblock_pipeline::VolumeFile;
use cinderblock_store::BackupId;
use serde::Serialize;

use super::facts::{BackupFacts, place};
use crate::arguments::cinder;
use crate::context::Context;
use crate::failure::Usage;
use crate::output::{number, size};
use crate::progress::Phase;

#[derive(Serialize)]
pub struct Written {
    #[serde(flatten)]
    backup: BackupFacts,
    volume_bytes: u64,
    stored_bytes: u64,
    seconds: f64,
}

/// What the command line says about the volume.
struct Given(String);

impl VolumeApi for Given {
    fn get_metadata(&self, _volume_id: &str) -> Result<Option<String>, Error> {
        Ok(Some(self.0.clone()))
    }

    fn put_metadata(&self, _volume_id: &str, _volume_meta: &str) -> Result<(), Error> {
        Ok(())
    }
}

pub fn run(context: &Context, arguments: &cinder::Backup) -> anyhow::Result<()> {
    let form = &arguments.form;
    if arguments.source == Path::new("-") {
        let reason = "a stream cannot be backed up as Cinder does: give a file or a block device";
        return Err(Usage(reason.to_owned()).into());
    }
    let volume = VolumeFile::open(&arguments.source)?;
    let control = context.control();
    let volume_meta = super::volume_meta(form)?;
    let api = volume_meta.map(|text| Arc::new(Given(text)) as Arc<dyn VolumeApi>);
    let driver = super::writer(context, &arguments.root, form, context.settings(), &control, api)?;
    let parent = super::parent(&driver, form)?;
    let id = arguments.backup_id.map_or_else(BackupId::random, Ok)?;
    let mut backup = Backup {
        id: id.to_string(),
        volume_id: arguments.volume_id.clone(),
        container: form.container.clone(),
        display_name: form.name.clone(),
        display_description: form.description.clone(),
        created_at: form.created_at.clone().unwrap_or_else(now),
        ..Backup::default()
    };
    let started = Instant::now();
    let display = context.show_progress(&control, Phase::CinderBackup);
    let summary = driver.backup(&mut backup, &volume, parent.as_ref(), true);
    drop(display);
    let summary = summary?;
    super::remove_leftovers(context, &driver, &backup);
    answer(context, &backup, &summary, started)
}

/// Tells of a backup that was written.
pub fn answer(context: &Context, backup: &Backup, summary: &BackupSummary, started: Instant) -> anyhow::Result<()> {
    let time = started.elapsed();
    let written = Written {
        backup: BackupFacts::from(backup),
        volume_bytes: summary.volume_bytes,
        stored_bytes: summary.stored_bytes,
        seconds: time.as_secs_f64(),
    };
    let rate = size::rate(summary.volume_bytes, time).map(|rate| format!(", {rate}")).unwrap_or_default();
    context.summary(&written, || {
        format!(
            "Cinder backup {} of {}: {} in {}, stored {}, {}{rate}\n--layer {}\n",
            backup.id,
            backup.volume_id,
            size::show(summary.volume_bytes),
            number::counted(summary.objects, "object"),
            size::show(summary.stored_bytes),
            number::duration(time),
            place(backup),
        )
    })
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()
}
