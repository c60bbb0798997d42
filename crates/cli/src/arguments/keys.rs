//! What opens encrypted repositories, and the arguments of `key`.

use std::path::PathBuf;

use cinderblock_store::KeySlotId;
use clap::{Args, Subcommand, ValueEnum};

use crate::secrets::Sources;

/// What opens the repository. A passphrase itself is never an argument: others would see it in the list of processes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of encrypted repositories")]
pub struct Keys {
    /// File with the passphrase in its first line; without any of these, CINDERBLOCK_PASSPHRASE or a prompt has it
    #[arg(long, value_name = "FILE", env = "CINDERBLOCK_PASSPHRASE_FILE", global = true)]
    pub passphrase_file: Option<PathBuf>,

    /// Command for the shell that prints the passphrase
    #[arg(long, value_name = "COMMAND", env = "CINDERBLOCK_PASSPHRASE_COMMAND", global = true)]
    pub passphrase_command: Option<String>,

    /// Key file, as 'cinderblock key generate' makes it
    #[arg(long, value_name = "FILE", env = "CINDERBLOCK_KEY_FILE", global = true)]
    pub key_file: Option<PathBuf>,
}

/// What opens a second repository.
#[derive(Debug, Args)]
pub struct OtherKeys {
    /// File with the passphrase of the other repository; else CINDERBLOCK_OTHER_PASSPHRASE or a prompt has it
    #[arg(long, value_name = "FILE", env = "CINDERBLOCK_OTHER_PASSPHRASE_FILE")]
    pub other_passphrase_file: Option<PathBuf>,

    /// Command that prints the passphrase of the other repository
    #[arg(long, value_name = "COMMAND", env = "CINDERBLOCK_OTHER_PASSPHRASE_COMMAND")]
    pub other_passphrase_command: Option<String>,

    /// Key file of the other repository
    #[arg(long, value_name = "FILE", env = "CINDERBLOCK_OTHER_KEY_FILE")]
    pub other_key_file: Option<PathBuf>,
}

/// What is to open the repository from now on.
#[derive(Debug, Args)]
pub struct NewKey {
    /// File with the new passphrase in its first line; else CINDERBLOCK_NEW_PASSPHRASE or a prompt has it
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,

    /// Command that prints the new passphrase
    #[arg(long, value_name = "COMMAND")]
    pub new_passphrase_command: Option<String>,

    /// New key file, which is made where it does not exist
    #[arg(long, value_name = "FILE")]
    pub new_key_file: Option<PathBuf>,

    /// What people are to know it by
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what opens the repository
    List,
    /// Let another passphrase or key file open the repository, too
    Add(NewKey),
    /// Let a passphrase or key file open the repository no more; not the one that it is opened with now
    Remove {
        /// Its id, or the beginning of it
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Put another passphrase or key file in place of the one that the repository is opened with now
    Rotate(NewKey),
    /// Make a key file
    Generate {
        /// The file, which must not exist yet
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// What `--encrypt` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encrypt {
    Passphrase,
    KeyFile,
}

impl Keys {
    pub fn sources(&self) -> Sources<'_> {
        Sources {
            passphrase_file: self.passphrase_file.as_deref(),
            passphrase_command: self.passphrase_command.as_deref(),
            key_file: self.key_file.as_deref(),
            variable: "CINDERBLOCK_PASSPHRASE",
            options: "--passphrase-file, --passphrase-command, --key-file",
        }
    }
}

impl OtherKeys {
    pub fn sources(&self) -> Sources<'_> {
        Sources {
            passphrase_file: self.other_passphrase_file.as_deref(),
            passphrase_command: self.other_passphrase_command.as_deref(),
            key_file: self.other_key_file.as_deref(),
            variable: "CINDERBLOCK_OTHER_PASSPHRASE",
            options: "--other-passphrase-file, --other-passphrase-command, --other-key-file",
        }
    }
}

impl NewKey {
    pub fn sources(&self) -> Sources<'_> {
        Sources {
            passphrase_file: self.new_passphrase_file.as_deref(),
            passphrase_command: self.new_passphrase_command.as_deref(),
            key_file: self.new_key_file.as_deref(),
            variable: "CINDERBLOCK_NEW_PASSPHRASE",
            options: "--new-passphrase-file, --new-passphrase-command, --new-key-file",
        }
    }
}

/// The only one of some ids that begins so.
pub fn only_match(ids: &[KeySlotId], text: &str) -> Result<KeySlotId, String> {
    let text = text.to_ascii_lowercase();
    let mut fitting = ids.iter().filter(|id| id.to_string().starts_with(&text));
    match (fitting.next(), fitting.next()) {
        (Some(id), None) if !text.is_empty() => Ok(*id),
        (Some(first), Some(second)) => Err(format!("{text} fits several keys, such as {first} and {second}")),
        _ => Err(format!("there is no key {text}: 'cinderblock key list' shows what there is")),
    }
}
