//! HTTP/1.1 messages, as far as a proxy has to know where they end ([RFC 9112](https://www.rfc-editor.org/rfc/rfc9112), section 6).

use std::io::{self, Read, Write};

/// The longest head of a message, and the longest line in a chunked body, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How much is read at once, in bytes.
const BUFFER: usize = 256 * 1024;

/// Where a message's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// After so many bytes.
    Bytes(u64),
    /// After the chunk of no bytes.
    Chunked,
    /// Where the connection ends.
    Close,
}

/// The lines before a body, with the empty one.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
}

impl Head {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// The nth word of the first line, from 0.
    pub(super) fn word(&self, n: usize) -> &str {
        self.text().lines().next().unwrap_or_default().split(' ').nth(n).unwrap_or_default()
    }

    /// An answer's status.
    pub(super) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.text().lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// Whether a header's list has that word.
    pub(super) fn has(&self, name: &str, word: &str) -> bool {
        self.header(name).is_some_and(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
    }

    fn framing(&self) -> io::Result<Option<Length>> {
        if self.has("transfer-encoding", "chunked") {
            return Ok(Some(Length::Chunked));
        }
        match self.header("content-length") {
            None => Ok(None),
            Some(text) => {
                text.parse().map(|length| Some(Length::Bytes(length))).map_err(|_| invalid("a bad Content-Length"))
            }
        }
    }

    /// The length of a request's body.
    pub(super) fn request_length(&self) -> io::Result<Length> {
        Ok(self.framing()?.unwrap_or(Length::Bytes(0)))
    }

    /// The length of the body of an answer to a request with that method.
    pub(super) fn answer_length(&self, method: &str) -> io::Result<Length> {
        match self.status() {
            _ if method == "HEAD" => Ok(Length::Bytes(0)),
            100..200 | 204 | 304 => Ok(Length::Bytes(0)),
            _ => Ok(self.framing()?.unwrap_or(Length::Close)),
        }
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// Reads messages from a connection.
pub(super) struct Messages<R> {
    pub(super) from: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Messages<R> {
    pub(super) fn new(from: R) -> Messages<R> {
        Messages { from, buffer: vec![0; BUFFER], start: 0, end: 0 }
    }

    /// Whether there is nothing that was read and not used.
    pub(super) fn is_drained(&self) -> bool {
        self.start == self.end
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads more behind what is unread. False at the end of the connection.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let read = self.from.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read > 0)
    }

    /// All up to and with `end`, which is at most [`MAX_HEAD`] bytes away. None where the connection ends before the first byte.
    fn until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.unread().windows(end.len()).position(|window| window == end) {
                let taken = self.unread()[..at + end.len()].to_vec();
                self.start += taken.len();
                return Ok(Some(taken));
            }
            if self.unread().len() > MAX_HEAD {
                return Err(invalid("a head or line that is too long"));
            }
            if !self.fill()? {
                return if self.is_drained() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The next message's head. None where there is no further message.
    pub(super) fn head(&mut self) -> io::Result<Option<Head>> {
        Ok(self.until(b"\r\n\r\n")?.map(|bytes| Head { bytes }))
    }

    /// Copies a body, but no more than `limit` bytes of it. Returns how many bytes of it went over the line, and whether that
    /// was all.
    pub(super) fn body(&mut self, length: Length, limit: u64, to: &mut dyn Write) -> io::Result<(u64, bool)> {
        let mut left = limit;
        let whole = match length {
            Length::Bytes(bytes) => {
                self.copy(bytes.min(left), to)?;
                left -= bytes.min(left);
                bytes <= limit
            }
            Length::Chunked => loop {
                let line = self.until(b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let digits = line.split(|byte| !byte.is_ascii_hexdigit()).next().unwrap_or_default();
                let text = std::str::from_utf8(digits).unwrap_or_default();
                let size = u64::from_str_radix(text, 16).map_err(|_| invalid("a bad chunk"))?;
                if size == 0 {
                    if left == 0 {
                        break false;
                    }
                    to.write_all(&line)?;
                    // Trailers, and an empty line.
                    loop {
                        let line = self.until(b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
                        to.write_all(&line)?;
                        if line == b"\r\n" {
                            break;
                        }
                    }
                    break true;
                }
                to.write_all(&line)?;
                let now = size.min(left);
                self.copy(now, to)?;
                left -= now;
                if now < size {
                    break false;
                }
                self.copy(2, to)?;
            },
            Length::Close => loop {
                if self.is_drained() && !self.fill()? {
                    break true;
                }
                let now = (self.unread().len() as u64).min(left);
                self.copy(now, to)?;
                left -= now;
                if left == 0 {
                    break false;
                }
            },
        };
        Ok((limit - left, whole))
    }

    /// Copies exactly so many bytes.
    fn copy(&mut self, mut bytes: u64, to: &mut dyn Write) -> io::Result<()> {
        while bytes > 0 {
            if self.is_drained() && !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let now = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.unread().len());
            to.write_all(&self.buffer[self.start..self.start + now])?;
            self.start += now;
            bytes -= now as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head { bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn the_end_of_a_message_is_found() {
        let text = "PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n\
                    GET /b HTTP/1.1\r\n\r\nPUT /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /d HTTP/1.1\r\n\r\n";
        let mut messages = Messages::new(text.as_bytes());
        let mut paths = Vec::new();
        let mut bodies = Vec::new();
        while let Some(head) = messages.head().unwrap() {
            paths.push(head.word(1).to_owned());
            let mut body = Vec::new();
            assert!(messages.body(head.request_length().unwrap(), u64::MAX, &mut body).unwrap().1);
            bodies.push(String::from_utf8(body).unwrap());
        }
        assert_eq!(paths, ["/a", "/b", "/c", "/d"]);
        assert_eq!(bodies, ["5;x=y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n", "", "abc", ""]);
    }

    #[test]
    fn a_limited_body_is_never_ended() {
        let text = "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
        for (limit, expected) in
            [(0, "3\r\n"), (2, "3\r\nab"), (4, "3\r\nabc\r\n3\r\nd"), (6, "3\r\nabc\r\n3\r\ndef\r\n")]
        {
            let mut body = Vec::new();
            let result = Messages::new(text.as_bytes()).body(Length::Chunked, limit, &mut body).unwrap();
            assert_eq!((result, String::from_utf8(body).unwrap().as_str()), ((limit, false), expected));
        }
    }

    #[test]
    fn answers_without_a_body_have_none() {
        let with = |status: u16| head(&format!("HTTP/1.1 {status} X\r\nContent-Length: 9\r\n\r\n"));
        assert_eq!(with(200).answer_length("GET").unwrap(), Length::Bytes(9));
        assert_eq!(with(200).answer_length("HEAD").unwrap(), Length::Bytes(0));
        assert_eq!(with(204).answer_length("DELETE").unwrap(), Length::Bytes(0));
        assert_eq!(head("HTTP/1.1 200 OK\r\n\r\n").answer_length("GET").unwrap(), Length::Close);
        assert!(head("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").answer_length("GET").is_err());
    }
}
