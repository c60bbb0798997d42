//! [`ExtraMetadata`]: what a storage added to a backup's metadata.

use std::fmt::Write as _;
use std::io;

use serde_json::{Number, Value};

use super::text::Output;

/// Facts of a storage's own in a backup's metadata: any JSON value that is true in Python's sense, as others are not written.
///
/// It is kept as text too, so that one that was read is written again byte for byte, whatever its numbers look like.
#[derive(Clone, Debug)]
pub struct ExtraMetadata {
    json: Box<str>,
    value: Value,
}

impl ExtraMetadata {
    /// Formats a value as Python would. None for those that Python takes for false: null, false, 0, and empty texts, lists and
    /// objects.
    pub fn new(value: &Value) -> Option<Self> {
        is_true(value).then(|| Self { json: format(value).into_boxed_str(), value: value.clone() })
    }

    /// Takes the text of a document, at its depth there. None inside for a value that is false.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn from_json(json: &str) -> Result<Option<Self>, serde_json::Error> {
        let value: Value = serde_json::from_str(json)?;
        Ok(is_true(&value).then(|| Self { json: json.into(), value }))
    }

    /// The JSON text, indented as in the document.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// The value. Where a number of the text has more digits than fit, this one is rounded.
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl PartialEq for ExtraMetadata {
    /// Compares the texts.
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

/// Whether Python takes a value for true.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// The text of a value that is a member of the document.
fn format(value: &Value) -> String {
    let mut out = Output::new(Vec::new());
    let bytes = put(&mut out, value, 1).and_then(|()| out.finish());
    // Neither fails: a vector takes all bytes, and all of them are ASCII.
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn put(out: &mut Output<Vec<u8>>, value: &Value, depth: usize) -> io::Result<()> {
    let line = |out: &mut Output<Vec<u8>>, depth: usize| out.raw(format!("\n{:1$}", "", 2 * depth).as_bytes());
    match value {
        Value::Null => out.raw(b"null"),
        Value::Bool(true) => out.raw(b"true"),
        Value::Bool(false) => out.raw(b"false"),
        Value::Number(number) => out.raw(python_number(number).as_bytes()),
        Value::String(text) => out.text(text),
        Value::Array(items) if items.is_empty() => out.raw(b"[]"),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                out.raw(if index == 0 { b"[" } else { b"," })?;
                line(out, depth + 1)?;
                put(out, item, depth + 1)?;
            }
            line(out, depth)?;
            out.raw(b"]")
        }
        Value::Object(members) if members.is_empty() => out.raw(b"{}"),
        Value::Object(members) => {
            // Python sorts by code points, which is the order of UTF-8 too.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            for (index, (key, member)) in members.into_iter().enumerate() {
                out.raw(if index == 0 { b"{" } else { b"," })?;
                line(out, depth + 1)?;
                out.text(key)?;
                out.raw(b": ")?;
                put(out, member, depth + 1)?;
            }
            line(out, depth)?;
            out.raw(b"}")
        }
    }
}

/// A number as Python's `repr` writes it.
fn python_number(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    // Rust and Python agree on the fewest digits that tell a number from all others; not on when to use an exponent.
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent @ -4..=15) => {
            let plain = format!("{float}");
            if exponent >= 0 && !plain.contains('.') { plain + ".0" } else { plain }
        }
        Ok(exponent) => {
            let mut text = digits.to_owned();
            // Writing to a string does not fail.
            let _ = write!(text, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs());
            text
        }
        Err(_) => scientific,
    }
}
