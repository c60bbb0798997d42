//! JSON as Python writes it: [`Output`].

use std::io::{self, Write};

const BUFFER_BYTES: usize = 64 << 10;

/// Two lower-case hexadecimal digits for each byte.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
};

/// A writer behind a buffer that JSON is put into.
#[derive(Debug)]
pub(super) struct Output<W> {
    writer: W,
    buffer: Vec<u8>,
}

impl<W: Write> Output<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, buffer: Vec::with_capacity(BUFFER_BYTES) }
    }

    /// Puts bytes into the document as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.writer.write_all(&self.buffer)?;
            self.buffer.clear();
            if bytes.len() > BUFFER_BYTES {
                return self.writer.write_all(bytes);
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.raw(b"\"")?;
        let mut rest = text;
        while !rest.is_empty() {
            let plain = rest.bytes().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
            self.raw(&rest.as_bytes()[..plain])?;
            // A byte that is not plain begins a character, as those before it are ASCII.
            let mut characters = rest[plain..].chars();
            if let Some(character) = characters.next() {
                self.escaped(character)?;
            }
            rest = characters.as_str();
        }
        self.raw(b"\"")
    }

    pub(super) fn text_or_null(&mut self, text: Option<&str>) -> io::Result<()> {
        match text {
            Some(text) => self.text(text),
            None => self.raw(b"null"),
        }
    }

    fn escaped(&mut self, character: char) -> io::Result<()> {
        match character {
            '"' => self.raw(b"\\\""),
            '\\' => self.raw(b"\\\\"),
            '\n' => self.raw(b"\\n"),
            '\r' => self.raw(b"\\r"),
            '\t' => self.raw(b"\\t"),
            '\u{8}' => self.raw(b"\\b"),
            '\u{c}' => self.raw(b"\\f"),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let [high, low] = unit.to_be_bytes().map(|byte| HEX[usize::from(byte)]);
                    self.raw(&[b'\\', b'u', high[0], high[1], low[0], low[1]])?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn number(&mut self, number: u64) -> io::Result<()> {
        self.raw(number.to_string().as_bytes())
    }

    /// Writes out what is buffered.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.writer.write_all(&self.buffer)?;
        Ok(self.writer)
    }
}

/// Whether Python writes a byte of a text as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Writes bytes as lower-case hexadecimal digits: two for each.
pub(super) fn put_hex(bytes: &[u8], digits: &mut [u8]) {
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&HEX[usize::from(*byte)]);
    }
}

/// The bytes that so many lower-case hexadecimal digits stand for; none if anything else is there.
pub(super) fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    /// What a digit stands for; 255 for what is none.
    const VALUES: [u8; 256] = {
        let mut table = [255; 256];
        let mut value = 0;
        while value < 16 {
            table[HEX[value as usize][1] as usize] = value;
            value += 1;
        }
        table
    };
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    let mut all = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        all |= high | low;
        *byte = high << 4 | low & 15;
    }
    (all < 16).then_some(bytes)
}
