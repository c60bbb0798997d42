//! `protect`

use anyhow::Context as _;
use cinderblock_store::{BackupId, Repository, Timestamp, VolumeId};
use serde::Serialize;

use crate::arguments::retention::Protect;
use crate::context::Context;
use crate::failure::Usage;
use crate::output::facts::Protection;
use crate::output::number;

#[derive(Serialize)]
struct Changed {
    backups: Vec<State>,
}

#[derive(Serialize)]
struct State {
    backup_id: String,
    volume_id: String,
    protected: bool,
    protected_until: Option<String>,
}

/// A protection that ends sooner than it did would let others delete.
fn check_not_shorter(
    repository: &Repository,
    volume: &VolumeId,
    id: BackupId,
    until: Option<Timestamp>,
) -> anyhow::Result<()> {
    let Some(mark) = repository.mark(volume, id)?.filter(|mark| mark.is_protected(repository.now())) else {
        return Ok(());
    };
    let Some(until) = until.filter(|until| mark.protected_until.is_none_or(|now| *until < now)) else { return Ok(()) };
    Err(Usage(format!(
        "backup {id} of {volume} is protected for longer than until {until}, and --append-only says that nothing is to be deleted"
    ))
    .into())
}

pub fn run(context: &Context, arguments: &Protect) -> anyhow::Result<()> {
    let repository = context.repository()?;
    // All are found before one is changed.
    let mut found = Vec::with_capacity(arguments.backups.len());
    for text in &arguments.backups {
        let backup = repository.find_backup(text).context("nothing was changed")?;
        if !found.contains(&backup) {
            found.push(backup);
        }
    }
    if context.append_only() {
        for (volume, id) in &found {
            check_not_shorter(&repository, volume, *id, arguments.until).context("nothing was changed")?;
        }
    }
    let mut backups = Vec::with_capacity(found.len());
    let mut lines = String::new();
    for (volume, id) in found {
        let mut before = None;
        let mark = repository
            .set_mark(&volume, id, |mark| {
                before.get_or_insert_with(|| Protection::of(Some(&*mark)));
                (mark.protected, mark.protected_until) = (!arguments.remove, arguments.until);
            })
            .with_context(|| format!("{} changed, then", number::counted(backups.len() as u64, "backup")))?;
        let protection = Protection::of(Some(&mark));
        lines.push_str(&match protection {
            Protection::None => format!("backup {id} of {volume} is not protected\n"),
            Protection::Until(None) | Protection::Unknown => format!("backup {id} of {volume} is protected\n"),
            Protection::Until(Some(until)) => {
                // Who meant to prolong a protection sees that it ends sooner.
                let longer = match before {
                    Some(Protection::Until(None)) => " (before: without an end)".to_owned(),
                    Some(before @ Protection::Until(Some(end))) if end > until => {
                        format!(" (before: {})", before.words())
                    }
                    _ => String::new(),
                };
                format!("backup {id} of {volume} is protected {}{longer}\n", protection.words())
            }
        });
        backups.push(State {
            backup_id: id.to_string(),
            volume_id: volume.to_string(),
            protected: !protection.is_none(),
            protected_until: protection.until(),
        });
    }
    context.summary(&Changed { backups }, || lines)
}
