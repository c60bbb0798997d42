//! `cinder`: OpenStack Cinder's own backups.

mod backup;
mod delete;
mod export;
mod facts;
mod import;
mod inspect;
mod restore;
mod root;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cinderblock_backend::{Backend, Leftovers};
use cinderblock_cinder::{BackendContainers, Backup, ChunkedBackupDriver, Context as DriverContext, Layout, VolumeApi};
use cinderblock_pipeline::{Control, Settings};

use crate::arguments::cinder::{Command, Form, Root};
use crate::context::Context;
use crate::output::{note, number, size};

/// Cinder's driver, wherever its containers are.
type Driver = ChunkedBackupDriver<BackendContainers<Arc<dyn Backend>>>;

/// Whoever has not written to a file for a day is not writing it any more.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

pub fn run(context: &Context, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Backup(arguments) => backup::run(context, arguments),
        Command::Restore(arguments) => restore::run(context, arguments),
        Command::Delete(arguments) => delete::run(context, arguments),
        Command::Inspect(arguments) => inspect::run(context, arguments),
        Command::Import(arguments) => import::run(context, arguments),
        Command::Export(arguments) => export::run(context, arguments),
    }
}

/// A driver that reads what is there, in these containers.
fn reader<'c>(
    context: &Context,
    root: &Root,
    containers: impl IntoIterator<Item = &'c str>,
    settings: Settings,
    control: &Control,
) -> anyhow::Result<Driver> {
    root::check_names(root, containers)?;
    let storage = root::open(context, root)?;
    let settings = context.waiting_for(storage.requests_in_flight(), settings);
    let driver_context = DriverContext { settings, control: control.clone(), ..DriverContext::default() };
    let containers = BackendContainers::new(storage, Layout::Posix, "");
    let (chunk, block) = (Layout::Posix.default_chunk_size_bytes(), Layout::DEFAULT_SHA_BLOCK_SIZE_BYTES);
    Ok(Driver::new(driver_context, containers, chunk, block, None, false)?)
}

/// A driver that writes there.
fn writer(
    context: &Context,
    root: &Root,
    form: &Form,
    settings: Settings,
    control: &Control,
    volume_api: Option<Arc<dyn VolumeApi>>,
) -> anyhow::Result<Driver> {
    root::check_names(root, form.container.iter().chain(&form.parent_container).map(String::as_str))?;
    let layout = root::layout(root, form.layout)?;
    let containers = root::create(context, root, layout, &form.az)?;
    let settings = context.waiting_for(containers.backend().requests_in_flight(), settings);
    let driver_context = DriverContext {
        settings,
        control: control.clone(),
        compression: form.compression,
        availability_zone: form.az.clone(),
        volume_api,
        ..DriverContext::default()
    };
    let chunk = form.chunk_size.unwrap_or(layout.default_chunk_size_bytes());
    let container = layout.default_container().map(str::to_owned);
    Ok(Driver::new(driver_context, containers, chunk, form.sha_block_size, container, false)?)
}

/// The backup that a new one is to be an increment of.
fn parent(driver: &Driver, form: &Form) -> anyhow::Result<Option<Backup>> {
    let (Some(container), Some(prefix)) = (&form.parent_container, &form.parent_prefix) else { return Ok(None) };
    Ok(Some(driver.layer(container, prefix).context("the parent")?.backup()))
}

fn volume_meta(form: &Form) -> anyhow::Result<Option<String>> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    form.volume_meta.as_deref().map(read).transpose()
}

/// Removes what processes that were killed left half written where this backup's objects are: in its container or, where
/// names have slashes, what is of its volume there. The backup does not depend on it: a failure is only told.
fn remove_leftovers(context: &Context, driver: &Driver, backup: &Backup) {
    let (Some(container), Some(prefix)) = (&backup.container, &backup.service_metadata) else { return };
    let place = match prefix.split_once('/') {
        Some((first, _)) => format!("{container}/{first}"),
        None => container.clone(),
    };
    match driver.storage().backend().remove_leftovers(&format!("{place}/"), LEFTOVER_AGE, false) {
        Ok(Leftovers { files: 0, .. }) => {}
        Ok(removed) => context.summary_aside(|| {
            let (files, bytes) = (number::counted(removed.files, "file"), size::show(removed.bytes));
            format!("removed {files} in {place} that a killed process left half written: {bytes}")
        }),
        Err(error) => note(&format!("what killed processes may have left in {place} was not removed: {error}")),
    }
}
