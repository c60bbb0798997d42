//! `protect`

use anyhow::Context as _;
use serde::Serialize;

use crate::arguments::retention::Protect;
use crate::context::Context;
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
    let mut backups = Vec::with_capacity(found.len());
    let mut lines = String::new();
    for (volume, id) in found {
        let mark = repository
            .set_mark(&volume, id, |mark| {
                (mark.protected, mark.protected_until) = (!arguments.remove, arguments.until);
            })
            .with_context(|| format!("{} changed, then", number::counted(backups.len() as u64, "backup")))?;
        let protection = Protection::of(Some(&mark));
        lines.push_str(&match protection {
            Protection::None => format!("backup {id} of {volume} is not protected\n"),
            Protection::Until(None) | Protection::Unknown => format!("backup {id} of {volume} is protected\n"),
            Protection::Until(Some(_)) => format!("backup {id} of {volume} is protected {}\n", protection.words()),
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
