//! What people and programs are told.

pub mod facts;
pub mod number;
pub mod scrub;
pub mod size;
pub mod table;

use std::io::{self, ErrorKind, Write};

use anyhow::Context as _;
use serde::Serialize;

/// Prints a document on standard output.
pub fn json(document: &impl Serialize) -> anyhow::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(document).context("the answer could not be written as JSON")?;
    bytes.push(b'\n');
    print(&bytes)
}

/// Prints lines on standard output.
pub fn text(lines: &str) -> anyhow::Result<()> {
    print(lines.as_bytes())
}

/// A reader that wanted only the beginning, such as `head`, is no failure.
fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("the answer could not be written to standard output"),
    }
}

/// Prints one line on standard error.
pub fn note(line: &str) {
    // Nobody is left to tell that standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{}", printable(line));
}

/// The text with its control characters escaped: names in a repository may come from anybody, and are not to move the
/// cursor or to begin a line of their own.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unprintable(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Control characters, and those that change the direction of writing.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_stays_on_its_line() {
        assert_eq!(printable("web – nächtlich"), "web – nächtlich");
        assert_eq!(printable("a\nb\x1b[2J\u{202e}c\u{85}"), "a\\nb\\u{1b}[2J\\u{202e}c\\u{85}");
    }
}
