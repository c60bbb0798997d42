//! The JSON that a command prints.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

use crate::measure::{self, Measured};

/// Runs `command`, which prints one JSON document; that and what it took.
///
/// What it prints is in the new file `log` afterwards.
///
/// # Errors
/// The command fails, or what it printed is not what is expected.
pub fn of<T: DeserializeOwned>(command: &[OsString], log: &Path) -> Result<(T, Measured)> {
    if log.exists() {
        fs::remove_file(log).with_context(|| format!("cannot remove {}", log.display()))?;
    }
    let measured = measure::run(command, log)?;
    let printed = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    let answer = last(&printed).with_context(|| format!("in what {command:?} printed"))?;
    Ok((answer, measured))
}

/// The last JSON object of `printed` that begins at the start of a line: warnings may come before
/// and after it.
fn last<T: DeserializeOwned>(printed: &str) -> Result<T> {
    let start = if printed.starts_with('{') { Some(0) } else { None };
    let start = printed.rfind("\n{").map(|newline| newline + 1).or(start);
    ensure!(start.is_some(), "there is no JSON object");
    let text = start.and_then(|start| printed.get(start..)).unwrap_or_default();
    let first = serde_json::Deserializer::from_str(text).into_iter().next();
    first.context("there is no JSON object")?.context("cannot read the JSON object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_found_among_warnings() {
        let object = |printed: &str| last::<serde_json::Value>(printed).unwrap();
        assert_eq!(object("{\"a\": 1}")["a"], 1);
        assert_eq!(object("deprecated: {}\n{\"a\": 2}\nbye\n")["a"], 2);
        assert_eq!(object("{\n  \"a\": {\n    \"b\": 3\n  }\n}\n")["a"]["b"], 3);
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        for printed in ["", "nothing {\"a\": 1}", "{\"a\": "] {
            assert!(last::<serde_json::Value>(printed).is_err(), "{printed:?}");
        }
    }
}
