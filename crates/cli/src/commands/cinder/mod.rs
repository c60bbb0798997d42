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

use anyhow::Context as _;
use cinderblock_backend::Folder;
use cinderblock_cinder::{
    BackendContainers, Backup, ChunkedBackupDriver, Context as DriverContext, Layout, VolumeApi, check_volume_meta,
};
use cinderblock_pipeline::{Control, Settings};

use crate::arguments::cinder::{Command, Form, Root};
use crate::context::Context;

/// Cinder's driver on a folder.
type Driver = ChunkedBackupDriver<BackendContainers<Folder>>;

/// Modes of the posix driver's files and of a backup's own folder.
const OBJECT_MODE: u32 = 0o660;
const CONTAINER_MODE: u32 = 0o770;

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
    let read = |path: &Path| {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        // What could not be put back must not be written down.
        check_volume_meta(&text).with_context(|| format!("--volume-meta {}", path.display()))?;
        Ok(text)
    };
    form.volume_meta.as_deref().map(read).transpose()
}
