//! Reading texts.

use std::io::Read;

use super::JsonReader;
use crate::error::Error;

/// Where the first byte is that ends a text or may not be in one as it is: a quote, a backslash, a control character.
fn special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The top bit of each byte that is below a limit. Borrowing may set it wrongly, but only above one that is set rightly.
        let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & TOPS;
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let found = below(word, 0x20) | below(quote, 1) | below(backslash, 1);
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'))?;
    Some(bytes.len() - rest.len() + at)
}

impl<R: Read> JsonReader<'_, R> {
    /// Reads a text of at most `limit` bytes.
    pub(in crate::document) fn text(&mut self, limit: usize) -> Result<&str, Error> {
        self.open(b'"', "a text")?;
        self.scratch.clear();
        loop {
            let rest = &self.buffer[self.at..self.end];
            let special = special(rest);
            let plain = &rest[..special.unwrap_or(rest.len())];
            if self.scratch.len() + plain.len() > limit {
                // The place is the first byte too many, wherever the buffer ends.
                self.at += limit.saturating_sub(self.scratch.len());
                return Err(self.bad(format!("a text of more than {limit} bytes")));
            }
            let (start, stop) = (self.at, self.at + plain.len());
            match special.map(|special| rest[special]) {
                Some(b'"') if self.scratch.is_empty() => {
                    self.at = stop + 1;
                    return self.utf8(&self.buffer[start..stop]);
                }
                Some(b'"') => {
                    self.scratch.extend_from_slice(plain);
                    self.at = stop + 1;
                    return self.utf8(&self.scratch);
                }
                Some(b'\\') => {
                    self.scratch.extend_from_slice(plain);
                    self.at = stop + 1;
                    self.escape()?;
                }
                Some(byte) => {
                    self.at = stop;
                    return Err(self.bad(format!("a text with the control character {byte:#04x}")));
                }
                None => {
                    self.scratch.extend_from_slice(plain);
                    self.at = stop;
                    if !self.refill()? {
                        return Err(self.early_end());
                    }
                }
            }
        }
    }

    /// Reads a text of at most `limit` bytes, to be kept.
    pub(in crate::document) fn owned_text(&mut self, limit: usize) -> Result<String, Error> {
        self.text(limit).map(str::to_owned)
    }

    /// Reads a text of at most `limit` bytes, or null.
    pub(in crate::document) fn text_or_null(&mut self, limit: usize) -> Result<Option<String>, Error> {
        match self.peek()? {
            Some(b'n') => self.literal(b"null").map(|()| None),
            Some(b'"') => self.owned_text(limit).map(Some),
            found => Err(self.unexpected("a text or null", found)),
        }
    }

    fn utf8<'b>(&self, bytes: &'b [u8]) -> Result<&'b str, Error> {
        std::str::from_utf8(bytes).map_err(|_| self.bad("a text that is not UTF-8".to_owned()))
    }

    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<(), Error> {
        let character = match self.next_of_text()? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode_escape()?,
            byte => return Err(self.bad(format!("{:?} after a backslash", char::from(byte)))),
        };
        self.scratch.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<char, Error> {
        let high = self.four_digits()?;
        let code = match high {
            0xd800..0xdc00 if self.next_of_text()? == b'\\' && self.next_of_text()? == b'u' => {
                match self.four_digits()? {
                    low @ 0xdc00..0xe000 => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                    _ => high,
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| self.bad("a surrogate that is not one of a pair".to_owned()))
    }

    fn four_digits(&mut self) -> Result<u32, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.next_of_text()?).to_digit(16);
            code = code << 4 | digit.ok_or_else(|| self.bad("\\u without four hexadecimal digits".to_owned()))?;
        }
        Ok(code)
    }

    fn next_of_text(&mut self) -> Result<u8, Error> {
        let byte = self.here()?.ok_or_else(|| self.early_end())?;
        self.at += 1;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_special_byte_is_found_wherever_it_is(
            plain in prop::collection::vec(any::<u8>(), 0..40),
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let bytes = [plain.iter().map(|byte| byte | 0x80).collect(), rest].concat();
            let expected = bytes.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\');
            prop_assert_eq!(special(&bytes), expected);
        }
    }
}
