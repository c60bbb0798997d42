//! What opens an encrypted repository.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::random;

/// How a key slot is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// With a passphrase.
    Passphrase,
    /// With the 32 random bytes of a key file.
    KeyFile,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Passphrase => "passphrase",
            Method::KeyFile => "key file",
        })
    }
}

/// A passphrase or the content of a key file. It is wiped when it is dropped, and never shown.
#[derive(Clone)]
pub struct Secret(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Passphrase(Zeroizing<Vec<u8>>),
    KeyFile(Zeroizing<[u8; 32]>),
}

/// Longest passphrase, in bytes.
const MAX_PASSPHRASE_BYTES: usize = 4096;

/// Longest key file that is read, in bytes.
const MAX_KEY_FILE_BYTES: usize = 4096;

/// What a key file's line begins with, so that another file is not taken for one.
const KEY_FILE_LABEL: &str = "cinderblock-key-1:";

impl Secret {
    /// A passphrase: any bytes.
    ///
    /// # Errors
    /// [`Error::BadSecret`] where it is empty or longer than 4,096 bytes.
    pub fn passphrase(bytes: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        match bytes.len() {
            0 => Err(Error::BadSecret { reason: "a passphrase may not be empty".to_owned() }),
            length if length > MAX_PASSPHRASE_BYTES => {
                Err(Error::BadSecret { reason: format!("a passphrase has at most {MAX_PASSPHRASE_BYTES} bytes") })
            }
            _ => Ok(Self(Kind::Passphrase(bytes))),
        }
    }

    /// A new key for a key file, of random bytes.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate_key_file() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        random::fill(&mut *bytes)?;
        Ok(Self(Kind::KeyFile(bytes)))
    }

    /// The key in the text of a key file.
    ///
    /// # Errors
    /// [`Error::BadSecret`] where it is not the text of a key file.
    pub fn key_file(text: &[u8]) -> Result<Self, Error> {
        let bad = |reason: &str| Error::BadSecret { reason: format!("it is not a key file: {reason}") };
        if text.len() > MAX_KEY_FILE_BYTES {
            return Err(bad("it is too long"));
        }
        let text = std::str::from_utf8(text).map_err(|_| bad("it is not text"))?.trim();
        let digits = text
            .strip_prefix(KEY_FILE_LABEL)
            .ok_or_else(|| bad(&format!("it does not begin with {KEY_FILE_LABEL}")))?;
        let mut bytes = Zeroizing::new([0; 32]);
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(bad("it does not have 64 hexadecimal digits"));
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad("it is not text"))?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad("it does not have 64 hexadecimal digits"))?;
        }
        Ok(Self(Kind::KeyFile(bytes)))
    }

    /// The text for a key file; none where this is a passphrase.
    pub fn key_file_text(&self) -> Option<Zeroizing<String>> {
        let Kind::KeyFile(bytes) = &self.0 else { return None };
        // Made in one piece: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_LABEL.len() + 65));
        text.push_str(KEY_FILE_LABEL);
        for byte in bytes.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        text.push('\n');
        Some(text)
    }

    /// What kind of secret it is.
    pub fn method(&self) -> Method {
        match self.0 {
            Kind::Passphrase(_) => Method::Passphrase,
            Kind::KeyFile(_) => Method::KeyFile,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.method())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_round_trips_and_shows_nothing() -> Result<(), Error> {
        let secret = Secret::key_file(format!("{KEY_FILE_LABEL}{}\n", "0aB1".repeat(16)).as_bytes())?;
        let text = secret.key_file_text().map(|text| text.to_string()).unwrap_or_default();
        assert_eq!(text, format!("cinderblock-key-1:{}\n", "0ab1".repeat(16)));
        assert_eq!(format!("{secret:?}"), "Secret(key file)");
        assert_eq!(format!("{:?}", Secret::passphrase(Zeroizing::new(b"hush".to_vec()))?), "Secret(passphrase)");
        Ok(())
    }

    #[test]
    fn other_texts_are_not_key_files() {
        let digits = "ab".repeat(32);
        for text in [
            String::new(),
            digits.clone(),
            format!("cinderblock-key-2:{digits}"),
            format!("{KEY_FILE_LABEL}{digits}0"),
            format!("{KEY_FILE_LABEL}{}", &digits[..63]),
            format!("{KEY_FILE_LABEL}{}+f", &digits[..62]),
            format!("{KEY_FILE_LABEL}{}é", &digits[..62]),
            format!("{KEY_FILE_LABEL}{digits}{}", "\n".repeat(5000)),
        ] {
            assert!(matches!(Secret::key_file(text.as_bytes()), Err(Error::BadSecret { .. })), "{text}");
        }
        assert!(Secret::key_file(&[0xff; 10]).is_err());
        assert!(Secret::passphrase(Zeroizing::new(Vec::new())).is_err());
        assert!(Secret::passphrase(Zeroizing::new(vec![b'x'; 4097])).is_err());
    }
}
