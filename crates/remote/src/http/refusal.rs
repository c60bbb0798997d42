//! [`Refusal`]: what a service answered in place of success.

use std::fmt;

/// The longest text of an answer that is kept, in characters.
const MAX_TEXT: usize = 300;

/// An answer whose status means failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What the service says about it, in one line: its code and message where it has them.
    pub(crate) text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ", {}", self.text) }
    }
}

impl Refusal {
    /// Of an answer's status and the beginning of its body.
    pub(crate) fn new(status: u16, body: &[u8]) -> Refusal {
        let body = String::from_utf8_lossy(body);
        let text = match (element(&body, "Code"), element(&body, "Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            // Markup that says nothing to people is left out.
            _ if body.trim_start().starts_with('<') => String::new(),
            _ => body.into_owned(),
        };
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Refusal { status, text: line.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect() }
    }

    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        self.status >= 500 || matches!(self.status, 408 | 429)
    }
}

/// The text of the first element of this name. Its entities stay as they are.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_one_line() {
        let xml = b"<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>Reduce\nyour rate.</Message></Error>";
        assert_eq!(Refusal::new(503, xml).to_string(), "status 503, SlowDown: Reduce your rate.");
        assert_eq!(Refusal::new(502, b"<html><body>Bad gateway</body></html>").to_string(), "status 502");
        assert_eq!(Refusal::new(400, b"no\x1b[31m\xff").text, "no[31m\u{fffd}");
        assert_eq!(Refusal::new(500, &[b'x'; 10_000]).text.len(), MAX_TEXT);
    }

    #[test]
    fn only_what_may_pass_is_passing() {
        for status in [500, 502, 503, 504, 429, 408] {
            assert!(Refusal::new(status, b"").is_passing(), "{status}");
        }
        for status in [400, 401, 403, 404, 405, 409, 411, 412, 416, 301] {
            assert!(!Refusal::new(status, b"").is_passing(), "{status}");
        }
    }
}
