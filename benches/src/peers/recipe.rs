//! [`Recipe`]: a tool's commands, as data.

/// The words of a command line.
///
/// - In each, `{repository}`, `{cache}` and `{home}` are replaced by paths of the tool's own, `{source}` by that of the volume,
///   `{volume}` by its name, `{target}` by the file that is restored to or `{folder}` by the folder, `{backup}` by the backup's number, `{uuid}` by the number as a UUID.
/// - Leading words may name files for standard input and output: `<{source}`, `>{target}`.
/// - A word of the form `HELP?WORD` is WORD where the tool's help on the command has the text HELP, and left out where not: for options that
///   not all versions have.
pub type Words = &'static [&'static str];

/// A tool, and how it is told to do what is measured.
#[derive(Debug)]
pub struct Recipe {
    /// Its name in tables and for `--tools`.
    pub name: &'static str,
    /// Its program, which is looked for on the PATH.
    pub program: &'static str,
    /// The arguments that make it print its version.
    pub version: Words,
    /// What is told about it under the tables, besides its name and version: how it was set. May be empty.
    pub settings: &'static str,
    /// Variables of its environment; with the same replacements.
    pub environment: &'static [(&'static str, &'static str)],
    /// Folders that it wants to find, besides those of the replacements.
    pub folders: Words,
    /// Files that it wants to find, and what is in them; with the same replacements.
    pub files: &'static [(&'static str, &'static str)],
    /// The commands that make a new repository.
    pub init: &'static [Words],
    /// The command that backs up `{source}`.
    pub backup: Words,
    /// How it restores.
    pub restore: Restore,
    /// How it checks what is stored.
    pub verify: Verify,
}

/// How a tool restores a volume.
#[derive(Debug, Clone, Copy)]
pub enum Restore {
    /// To the file `{target}`.
    File {
        /// The command, where there is no such file yet.
        new: Words,
        /// The command for a file with an older version of the volume; `None` where the tool has none.
        over: Option<Words>,
    },
    /// Into the folder `{folder}`, which is the working folder too. The volume is found somewhere below it, and what lies there
    /// already is dealt with as the tool likes.
    Folder(Words),
}

/// How a tool reads and checks every stored byte.
#[derive(Debug, Clone, Copy)]
pub enum Verify {
    /// With one command.
    All(Words),
    /// With one command for each `{backup}`.
    Each(Words),
    /// It can't.
    Never,
}
