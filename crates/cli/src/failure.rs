//! Failures: how they are told, and their exit status.

use std::error::Error as StdError;
use std::fmt;
use std::process::ExitCode;

use cinderblock_pipeline::Error as PipelineError;
use cinderblock_store::Error as StoreError;
use clap::error::ErrorKind;

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
        _ => output::note(&format!("cinderblock: {}", one_line(&error.render().to_string()))),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
}

/// The first paragraphs of clap's text, up to the usage.
fn one_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let (said, usage) = text.split_once("\nUsage: ").unwrap_or((text, ""));
    let said = said.split_once("\nFor more information").map_or(said, |(said, _)| said);
    let command: Vec<&str> =
        usage.split_whitespace().take_while(|word| word.starts_with(char::is_alphabetic)).collect();
    let command = if command.is_empty() { "cinderblock".to_owned() } else { command.join(" ") };
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
    use crate::arguments::Arguments;
    use clap::Parser;

    fn told(line: &str) -> String {
        one_line(&Arguments::try_parse_from(line.split(' ')).unwrap_err().render().to_string())
    }

    #[test]
    fn bad_arguments_are_told_in_one_line_with_the_way_to_help() {
        assert_eq!(
            told("cinderblock backup /dev/sdb"),
            "the following required arguments were not provided: --volume-id <ID>; see 'cinderblock backup --help'"
        );
        let line = told("cinderblock list --volume-id ../x");
        assert!(line.starts_with("invalid value '../x' for '--volume-id <ID>'"), "{line}");
        assert!(line.ends_with("; see 'cinderblock --help'"), "{line}");
        let line = told("cinderblock --memroy 1G list");
        assert!(line.contains("unexpected argument '--memroy' found; tip: a similar argument exists"), "{line}");
        let line = told("cinderblock lst");
        assert!(line.contains("'lst'") && line.contains("'list'") && !line.contains('\n'), "{line}");
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
