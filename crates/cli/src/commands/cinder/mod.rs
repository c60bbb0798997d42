//! `cinder`: OpenStack Cinder's own backups.

mod backup;
mod delete;
mod export;
mod facts;
mod import;
mod inspect;
mod restore;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cinderblock_backend::{Backend as _, Folder, Leftovers};
use cinderblock_cinder::{BackendContainers, Backup, ChunkedBackupDriver, Context as DriverContext, Layout, VolumeApi};
use cinderblock_pipeline::{Control, Settings};

use crate::arguments::cinder::{Command, Form, Root};
use crate::context::Context;
use crate::output::{note, number, size};

/// Cinder's driver on a folder.
type Driver = ChunkedBackupDriver<BackendContainers<Folder>>;

/// Modes of the posix driver's files and of a backup's own folder.
const OBJECT_MODE: u32 = 0o660;
const CONTAINER_MODE: u32 = 0o770;

/// Whoever has not written to a file for a day is not writing it any more.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a command has to delete, where it has to: one that writes removes what it has written when it fails.
pub fn deletes(command: &Command) -> Option<&'static str> {
    match command {
        Command::Delete(_) => Some("'cinder delete' removes a backup"),
        Command::Backup(_) => Some("'cinder backup' removes what it has written when it fails"),
        Command::Export(_) => Some("'cinder export' removes what it has written when it fails"),
        Command::Restore(_) | Command::Inspect(_) | Command::Import(_) => None,
    }
}

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

/// A driver that reads what is in a folder.
fn reader(root: &Root, settings: Settings, control: &Control) -> anyhow::Result<Driver> {
    let folder = Folder::open(&root.path)?;
    let driver_context = DriverContext { settings, control: control.clone(), ..DriverContext::default() };
    let containers = BackendContainers::new(folder, Layout::Posix, "");
    let (chunk, block) = (Layout::Posix.default_chunk_size_bytes(), Layout::DEFAULT_SHA_BLOCK_SIZE_BYTES);
    Ok(Driver::new(driver_context, containers, chunk, block, None, false)?)
}

/// A driver that writes into a folder.
fn writer(
    root: &Root,
    form: &Form,
    settings: Settings,
    control: &Control,
    volume_api: Option<Arc<dyn VolumeApi>>,
) -> anyhow::Result<Driver> {
    let folder = Folder::create(&root.path)?;
    let folder = match form.layout {
        Layout::Posix => folder.with_modes(OBJECT_MODE, CONTAINER_MODE),
        _ => folder,
    };
    let driver_context = DriverContext {
        settings,
        control: control.clone(),
        compression: form.compression,
        availability_zone: form.az.clone(),
        volume_api,
        ..DriverContext::default()
    };
    let containers = BackendContainers::new(folder, form.layout, form.az.as_str());
    let chunk = form.chunk_size.unwrap_or(form.layout.default_chunk_size_bytes());
    let container = form.layout.default_container().map(str::to_owned);
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
