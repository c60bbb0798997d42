//! [`JsonReader`]: JSON from a stream, one value after the other, in bounded memory.
//!
//! serde_json reads from a stream too, but takes a text byte by byte: 175 MB/s of a list of hashes where this one has 600
//! (`benches/benches/document.rs`). Nor does it bound the texts that it collects. The tests compare the two.

mod text;

use std::io::{self, Read};

use super::MAX_VOLUME_META_BYTES;
use crate::error::Error;

const BUFFER_BYTES: usize = 64 << 10;

/// How deep lists and objects that are skipped may be nested.
const MAX_DEPTH: usize = 128;

/// Reads a document's values in the order in which they come.
#[derive(Debug)]
pub(super) struct JsonReader<'a, R> {
    /// Name of the object, for errors.
    object: &'a str,
    reader: R,
    buffer: Box<[u8]>,
    /// What is still to be read of the buffer: `at..end`.
    at: usize,
    end: usize,
    /// Bytes of the document before the buffer, line breaks among them, and where the last line began.
    before: u64,
    lines_before: u64,
    line_start: u64,
    /// A text that is not in the buffer as it is.
    scratch: Vec<u8>,
    capture: Option<Capture>,
}

/// Bytes that are kept as they are read.
#[derive(Debug)]
struct Capture {
    bytes: Vec<u8>,
    /// Where they go on in the buffer.
    from: usize,
    limit: usize,
}

impl<'a, R: Read> JsonReader<'a, R> {
    pub(super) fn new(object: &'a str, reader: R) -> Self {
        Self {
            object,
            reader,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            at: 0,
            end: 0,
            before: 0,
            lines_before: 0,
            line_start: 0,
            scratch: Vec::new(),
            capture: None,
        }
    }

    /// Reads an object: calls `member` with each key, and it has to read the value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<(), Error>) -> Result<(), Error> {
        self.open(b'{', "an object")?;
        let mut key = String::new();
        let mut first = true;
        while self.more(&mut first, b'}')? {
            key.clear();
            key.push_str(self.text(super::MAX_NAME_BYTES)?);
            self.open(b':', "a colon")?;
            member(self, &key)?;
        }
        Ok(())
    }

    /// Reads a list: calls `element` at each element, and it has to read it.
    pub(super) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.open(b'[', "a list")?;
        let mut first = true;
        while self.more(&mut first, b']')? {
            element(self)?;
        }
        Ok(())
    }

    /// Reads the value of a key that may be there only once.
    pub(super) fn once<T>(
        &mut self,
        slot: &mut Option<T>,
        key: &str,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<(), Error> {
        if slot.is_some() {
            return Err(self.bad(format!("a second {key}")));
        }
        *slot = Some(read(self)?);
        Ok(())
    }

    /// Reads a whole number.
    pub(super) fn number(&mut self) -> Result<u64, Error> {
        match self.peek()? {
            Some(b'0'..=b'9') => {}
            Some(b'-') => return Err(self.bad("a negative number".to_owned())),
            found => return Err(self.unexpected("a number", found)),
        }
        let mut number: u64 = 0;
        let mut zero_first = false;
        while let Some(digit @ b'0'..=b'9') = self.here()? {
            if zero_first {
                return Err(self.bad("a number that begins with 0".to_owned()));
            }
            number = number
                .checked_mul(10)
                .and_then(|number| number.checked_add(u64::from(digit - b'0')))
                .ok_or_else(|| self.bad("a number of 2^64 or more".to_owned()))?;
            // Only the first digit can leave it at 0.
            zero_first = number == 0;
            self.at += 1;
        }
        match self.here()? {
            Some(b'.' | b'e' | b'E') => Err(self.bad("a number that is not whole".to_owned())),
            _ => Ok(number),
        }
    }

    /// Reads any value, and keeps nothing of it.
    pub(super) fn skip(&mut self) -> Result<(), Error> {
        self.skip_at(0)
    }

    /// Reads any value of at most `limit` bytes, and keeps its text.
    pub(super) fn verbatim(&mut self, limit: usize) -> Result<String, Error> {
        self.peek()?;
        self.capture = Some(Capture { bytes: Vec::new(), from: self.at, limit });
        self.skip()?;
        self.captured()?;
        let bytes = self.capture.take().map(|capture| capture.bytes).unwrap_or_default();
        String::from_utf8(bytes).map_err(|_| self.bad("not UTF-8".to_owned()))
    }

    /// Makes sure that the document ends here.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(self.bad("something follows the document".to_owned())),
        }
    }

    /// The error that something is wrong with what was read last.
    pub(super) fn bad(&self, reason: String) -> Error {
        let read = &self.buffer[..self.at];
        let line = self.lines_before + line_breaks(read) + 1;
        let line_start = last_line_start(read).map_or(self.line_start, |start| self.before + start);
        let column = self.before + self.at as u64 - line_start + 1;
        Error::BadDocument {
            object: self.object.to_owned(),
            reason: format!("{reason}, at line {line} column {column}"),
        }
    }

    /// The error that a key is not there.
    pub(super) fn missing(&self, key: &str) -> Error {
        Error::BadDocument { object: self.object.to_owned(), reason: format!("it has no {key}") }
    }

    fn unexpected(&self, wanted: &str, found: Option<u8>) -> Error {
        let found = match found {
            None => return self.early_end(),
            Some(b'"') => "a text",
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(b't' | b'f' | b'n') => "true, false or null",
            Some(byte) => return self.bad(format!("{:?} instead of {wanted}", char::from(byte))),
        };
        self.bad(format!("{found} instead of {wanted}"))
    }

    fn early_end(&self) -> Error {
        self.bad("the document ends early".to_owned())
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), Error> {
        match self.peek()? {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(self.bad(format!("nesting deeper than {MAX_DEPTH}"))),
            Some(b'{') => self.object(|json, _| json.skip_at(depth + 1)),
            Some(b'[') => self.list(|json| json.skip_at(depth + 1)),
            Some(b'"') => self.text(MAX_VOLUME_META_BYTES).map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            found => Err(self.unexpected("a value", found)),
        }
    }

    fn skip_number(&mut self) -> Result<(), Error> {
        self.take_if(|byte| byte == b'-')?;
        if !self.take_if(|byte| byte == b'0')? {
            self.skip_digits()?;
        }
        if self.take_if(|byte| byte == b'.')? {
            self.skip_digits()?;
        }
        if self.take_if(|byte| byte == b'e' || byte == b'E')? {
            self.take_if(|byte| byte == b'+' || byte == b'-')?;
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), Error> {
        if !self.take_if(|byte| byte.is_ascii_digit())? {
            let found = self.here()?;
            return Err(self.unexpected("a digit", found));
        }
        while self.take_if(|byte| byte.is_ascii_digit())? {}
        Ok(())
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), Error> {
        for letter in literal {
            match self.here()? {
                Some(byte) if byte == *letter => self.at += 1,
                Some(_) => return Err(self.bad("neither true, false nor null".to_owned())),
                None => return Err(self.early_end()),
            }
        }
        Ok(())
    }

    /// Goes to the next element or member; false at the end of the list or object.
    fn more(&mut self, first: &mut bool, close: u8) -> Result<bool, Error> {
        let found = self.peek()?;
        if found == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::replace(first, false) {
            if found != Some(b',') {
                return Err(self.unexpected("a comma", found));
            }
            self.at += 1;
        }
        Ok(true)
    }

    /// Reads one byte of syntax, after white space.
    fn open(&mut self, byte: u8, wanted: &str) -> Result<(), Error> {
        match self.peek()? {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            found => Err(self.unexpected(wanted, found)),
        }
    }

    /// The next byte that is not white space; it stays to be read. None at the end.
    fn peek(&mut self) -> Result<Option<u8>, Error> {
        loop {
            while let Some(byte) = self.buffer[self.at..self.end].first() {
                match byte {
                    b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                    byte => return Ok(Some(*byte)),
                }
            }
            if !self.refill()? {
                return Ok(None);
            }
        }
    }

    /// The next byte; it stays to be read. None at the end.
    fn here(&mut self) -> Result<Option<u8>, Error> {
        if self.at == self.end && !self.refill()? {
            return Ok(None);
        }
        Ok(self.buffer[self.at..self.end].first().copied())
    }

    fn take_if(&mut self, wanted: impl Fn(u8) -> bool) -> Result<bool, Error> {
        let taken = self.here()?.is_some_and(wanted);
        self.at += usize::from(taken);
        Ok(taken)
    }

    /// Keeps what was read since the capture began or went on.
    fn captured(&mut self) -> Result<(), Error> {
        if let Some(capture) = &mut self.capture {
            let bytes = &self.buffer[capture.from..self.at];
            if capture.bytes.len() + bytes.len() > capture.limit {
                let reason = format!("a value of more than {} bytes", capture.limit);
                return Err(self.bad(reason));
            }
            capture.bytes.extend_from_slice(bytes);
            capture.from = self.at;
        }
        Ok(())
    }

    /// Reads on, once all of the buffer was read; false at the end.
    fn refill(&mut self) -> Result<bool, Error> {
        self.captured()?;
        let read = &self.buffer[..self.at];
        if let Some(start) = last_line_start(read) {
            self.line_start = self.before + start;
            self.lines_before += line_breaks(read);
        }
        self.before += self.at as u64;
        (self.at, self.end) = (0, 0);
        if let Some(capture) = &mut self.capture {
            capture.from = 0;
        }
        loop {
            match self.reader.read(&mut self.buffer) {
                Ok(bytes) => {
                    self.end = bytes.min(self.buffer.len());
                    return Ok(bytes > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::ReadObject { object: self.object.to_owned(), source }),
            }
        }
    }
}

fn line_breaks(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Where the line begins that the last of these bytes is in, if it begins among them.
fn last_line_start(bytes: &[u8]) -> Option<u64> {
    bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at as u64 + 1)
}
