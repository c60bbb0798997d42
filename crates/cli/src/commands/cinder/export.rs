//! `cinder export`

use std::time::Instant;

use cinderblock_cinder::ExportOptions;

use super::backup::answer;
use crate::arguments::cinder;
use crate::context::Context;
use crate::progress::Phase;

pub fn run(context: &Context, arguments: &cinder::Export) -> anyhow::Result<()> {
    let form = &arguments.form;
    let repository = context.repository()?;
    let (volume, id) = repository.find_backup(&arguments.backup)?;
    let record = repository.record(&volume, id)?;
    let control = context.control();
    let driver = super::writer(context, &arguments.root, form, context.settings_beside_repository(), &control, None)?;
    let parent = super::parent(&driver, form)?;
    let mut options = ExportOptions::default();
    options.backup_id = arguments.backup_id.map(|id| id.to_string());
    options.volume_id.clone_from(&arguments.volume_id);
    options.container.clone_from(&form.container);
    options.name.clone_from(&form.name);
    options.description.clone_from(&form.description);
    options.created_at.clone_from(&form.created_at);
    options.volume_meta = super::volume_meta(form)?;
    let started = Instant::now();
    let display = context.show_progress(&control, Phase::CinderBackup);
    let exported = driver.export(&repository, &record, parent.as_ref(), &options);
    drop(display);
    let (backup, summary) = exported?;
    super::remove_leftovers(context, &driver, &backup);
    answer(context, &backup, &summary, started)
}
