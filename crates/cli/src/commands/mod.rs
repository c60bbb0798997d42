//! The commands, one a file.

mod backup;
mod cinder;
mod copy;
mod delete;
mod gc;
mod init;
mod key;
mod list;
mod protect;
mod prune;
mod rebuild_index;
mod records;
mod repair;
mod restore;
mod sessions;
mod show;
mod stats;
mod verify;

use crate::arguments::Command;
use crate::context::Context;

pub fn run(command: &Command, context: &Context) -> anyhow::Result<()> {
    match command {
        Command::Init { chunk_size, encrypt, label } => init::run(context, *chunk_size, *encrypt, label.as_deref()),
        Command::Key(command) => key::run(context, command),
        Command::Backup(arguments) => backup::run(context, arguments),
        Command::Restore(arguments) => restore::run(context, arguments),
        Command::List { volume_id } => list::run(context, volume_id.as_ref()),
        Command::Show { backup } => show::run(context, backup),
        Command::Stats => stats::run(context),
        Command::Delete { backups } => delete::run(context, backups),
        Command::Protect(arguments) => protect::run(context, arguments),
        Command::Prune(arguments) => prune::run(context, arguments),
        Command::Verify { backups, read_data } => verify::run(context, backups, read_data.unwrap_or_default()),
        Command::Repair(arguments) => repair::run(context, arguments),
        Command::RebuildIndex => rebuild_index::run(context),
        Command::Copy(arguments) => copy::run(context, arguments),
        Command::Gc(arguments) => gc::run(context, arguments),
        Command::Sessions => sessions::run(context),
        Command::Cinder(command) => cinder::run(context, command),
    }
}
