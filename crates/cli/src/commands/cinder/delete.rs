//! `cinder delete`

use cinderblock_cinder::Backup;
use serde::Serialize;

use super::facts::BackupFacts;
use crate::arguments::cinder;
use crate::context::Context;
use crate::output::{note, number};

#[derive(Serialize)]
struct Deleted {
    #[serde(flatten)]
    backup: BackupFacts,
    deleted_objects: u64,
    stray: Vec<String>,
}

pub fn run(context: &Context, arguments: &cinder::Place) -> anyhow::Result<()> {
    let control = context.control_without_signals();
    let driver = super::reader(context, &arguments.root, [arguments.container.as_str()], context.settings(), &control)?;
    // What it was can't be told any more afterwards; that the metadata are damaged or gone is no reason to keep the rest.
    let mut backup = match driver.layer(&arguments.container, &arguments.prefix) {
        Ok(layer) => layer.backup(),
        Err(_) => Backup::default(),
    };
    backup.container = Some(arguments.container.clone());
    backup.service_metadata = Some(arguments.prefix.clone());
    let summary = driver.delete_backup(&backup)?;
    super::remove_leftovers(context, &driver, &backup);
    if !context.json() {
        for name in &summary.stray {
            note(&format!("left: {name}, which is not one of this backup's objects"));
        }
        if summary.deleted == 0 {
            note(&format!("there is nothing of a backup {} in {}", arguments.prefix, arguments.container));
        }
    }
    let deleted =
        Deleted { backup: BackupFacts::from(&backup), deleted_objects: summary.deleted, stray: summary.stray };
    context.summary(&deleted, || format!("deleted {}\n", number::counted(summary.deleted, "object")))
}
