//! Failures: how they are told, and their exit status.

use std::env;
use std::error::Error as StdError;
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use cinderblock_backend::Error as BackendError;
use cinderblock_pipeline::Error as PipelineError;
use cinderblock_store::Error as StoreError;
use clap::error::ErrorKind;
use clap::{Arg, CommandFactory};

use crate::arguments::Arguments;
use crate::output;

/// Arguments that make no sense: exit status 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Usage {}

/// Whoever reads standard output has gone away before all was written.
#[derive(Debug)]
pub struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl StdError for ReaderGone {}

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
/// As if SIGPIPE had ended the process, which is what a shell expects of a writer without a reader.
const READER_GONE: u8 = 128 + 13;

/// Tells of a failure in one line on standard error.
pub fn tell(error: &anyhow::Error) {
    // The alternate form is the error and its causes, never a backtrace.
    output::note(&format!("cinderblock: {error:#}"));
}

/// An error and its causes in one line.
pub fn words(error: &(dyn StdError + 'static)) -> String {
    anyhow::Chain::new(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether the storage refused a write for want of room.
pub fn is_full(error: &anyhow::Error) -> bool {
    storage_says(error, |error| matches!(error, BackendError::NoSpace { .. }))
}

/// Whether the storage takes no writes at all from this process.
pub fn is_refused(error: &anyhow::Error) -> bool {
    storage_says(error, |error| {
        matches!(
            error,
            BackendError::PermissionDenied { .. } | BackendError::ReadOnly { .. } | BackendError::AccessDenied { .. }
        )
    })
}

/// Whether a backup was made all the same, and only its record is not locked.
pub fn is_made(error: &anyhow::Error) -> bool {
    let of_store = |error: &StoreError| matches!(error, StoreError::NotLocked { .. });
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(of_store)
            || matches!(cause.downcast_ref(), Some(PipelineError::Store(error)) if of_store(error))
    })
}

fn storage_says(error: &anyhow::Error, says: fn(&BackendError) -> bool) -> bool {
    error.chain().any(|cause| cause.downcast_ref().is_some_and(says))
}

/// Tells of the failure that ends the command; `signal` is the one that came before it, if any.
pub fn report(error: &anyhow::Error, signal: Option<i32>) -> ExitCode {
    if error.is::<ReaderGone>() {
        return ExitCode::from(READER_GONE);
    }
    tell(error);
    match signal.map(|signal| u8::try_from(128 + signal)) {
        Some(Ok(status)) => ExitCode::from(status),
        _ => ExitCode::from(if is_usage(error) { USAGE } else { FAILURE }),
    }
}

fn is_usage(error: &anyhow::Error) -> bool {
    let of_store =
        |error: &StoreError| matches!(error, StoreError::InvalidId { .. } | StoreError::BackupAmbiguous { .. });
    error.chain().any(|cause| {
        cause.is::<Usage>()
            || cause.downcast_ref().is_some_and(of_store)
            || matches!(cause.downcast_ref(), Some(PipelineError::Store(error)) if of_store(error))
    })
}

/// Tells in one line what is wrong with the arguments; answers `--help` and `--version`.
pub fn report_arguments(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to tell that the help could not be printed.
            let _ = error.print();
        }
        _ => {
            let line = one_line(&error.render().to_string(), &command_of(env::args_os()));
            output::note(&format!("cinderblock: {line}"));
        }
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
}

/// The command that these arguments are of, as far as it can be told: not all of clap's errors name it.
fn command_of(arguments: impl IntoIterator<Item = OsString>) -> String {
    let mut all = Arguments::command();
    all.build();
    let (mut command, mut path) = (&all, all.get_name().to_owned());
    let mut words = arguments.into_iter().skip(1);
    while let Some(word) = words.next() {
        let word = word.to_string_lossy();
        if let Some(option) = word.strip_prefix("--") {
            let takes_value = |known: &Arg| known.get_long() == Some(option) && known.get_action().takes_values();
            if command.get_arguments().any(takes_value) {
                words.next();
            }
        } else if word.starts_with('-') {
            // No option of one letter takes a value.
        } else if let Some(found) = command.find_subcommand(&*word) {
            command = found;
            path = format!("{path} {}", found.get_name());
        } else {
            break;
        }
    }
    path
}

/// The first paragraphs of clap's text, up to the usage, and where to find help on `command`.
fn one_line(text: &str, command: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let said = text.split_once("\nUsage: ").map_or(text, |(said, _)| said);
    let said = said.split_once("\nFor more information").map_or(said, |(said, _)| said);
    let said: Vec<String> = said
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .collect();
    format!("{}; see '{command} --help'", said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn told(line: &str) -> String {
        let words = line.split(' ');
        let error = Arguments::try_parse_from(words.clone()).unwrap_err();
        one_line(&error.render().to_string(), &command_of(words.map(OsString::from)))
    }

    #[test]
    fn bad_arguments_are_told_in_one_line_with_the_way_to_help() {
        assert_eq!(
            told("cinderblock backup /dev/sdb"),
            "the following required arguments were not provided: --volume-id <ID>; see 'cinderblock backup --help'"
        );
        let line = told("cinderblock list --volume-id ../x");
        assert!(line.starts_with("invalid value '../x' for '--volume-id <ID>'"), "{line}");
        assert!(line.ends_with("; see 'cinderblock list --help'"), "{line}");
        let line = told("cinderblock --memroy 1G list");
        assert!(line.contains("unexpected argument '--memroy' found; tip: a similar argument exists"), "{line}");
        let line = told("cinderblock lst");
        assert!(line.contains("'lst'") && line.contains("'list'") && !line.contains('\n'), "{line}");
    }

    /// A bad value of an option of `cinder backup` was answered with the way to the list of all commands.
    #[test]
    fn the_way_to_help_leads_to_the_command_that_was_meant() {
        for (line, command) in [
            (
                "cinderblock cinder backup x --container-root r --volume-id v --chunk-size x",
                "cinderblock cinder backup",
            ),
            ("cinderblock cinder delete --container-root=r --container c --prefix=", "cinderblock cinder delete"),
            ("cinderblock --repo list -q cinder inspect", "cinderblock cinder inspect"),
            ("cinderblock cinder --cache-dir delete restore --layer x", "cinderblock cinder restore"),
            ("cinderblock cinder bakup", "cinderblock cinder"),
            ("cinderblock backup list --volume-id ../x", "cinderblock backup"),
            ("cinderblock --frobnicate", "cinderblock"),
        ] {
            let told = told(line);
            assert!(told.ends_with(&format!("; see '{command} --help'")), "{line}: {told}");
        }
    }

    #[test]
    fn a_usage_error_is_known_under_any_context() {
        let ambiguous = || StoreError::InvalidId { kind: "x", text: String::new(), reason: String::new() };
        assert!(is_usage(&anyhow::Error::new(ambiguous()).context("while doing that")));
        assert!(is_usage(&anyhow::Error::new(PipelineError::Store(ambiguous())).context("while doing that")));
        assert!(is_usage(&anyhow::Error::new(Usage("no".to_owned()))));
        assert!(!is_usage(&anyhow::Error::new(StoreError::BackupNotFound { text: String::new() })));
    }
}
