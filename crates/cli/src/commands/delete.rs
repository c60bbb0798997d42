//! `delete`

use anyhow::Context as _;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Usage;
use crate::output::number;

/// What is deleted does not come back: a slip of the pen should not be enough.
const LEAST_CHARACTERS: usize = 8;

#[derive(Serialize)]
struct Deleted {
    deleted: Vec<String>,
}

pub fn run(context: &Context, backups: &[String]) -> anyhow::Result<()> {
    let repository = context.repository()?;
    for text in backups {
        let id = text.rsplit('/').next().unwrap_or_default();
        if id.len() < LEAST_CHARACTERS {
            let reason =
                format!("'{text}' is too short to delete by: give at least {LEAST_CHARACTERS} characters of an id");
            return Err(Usage(reason).into());
        }
    }
    // All are found before one is deleted.
    let mut found = Vec::with_capacity(backups.len());
    for text in backups {
        let backup = repository.find_backup(text).context("nothing was deleted")?;
        if !found.contains(&backup) {
            found.push(backup);
        }
    }
    let mut deleted = Vec::with_capacity(found.len());
    let mut lines = String::new();
    for (volume, id) in found {
        repository
            .delete_backup(&volume, id)
            .with_context(|| format!("{} deleted, then", number::counted(deleted.len() as u64, "backup")))?;
        deleted.push(id.to_string());
        lines.push_str(&format!("deleted backup {id} of {volume}\n"));
    }
    context.summary(&Deleted { deleted }, || lines)
}
