//! [`ForeignName`]: the name of what is in the storage and is no object.

use std::ffi::{OsStr, OsString};
use std::fmt;

/// The whole name of something in the storage that is no object, from [`Backend::list_foreign`](crate::Backend::list_foreign).
///
/// It is kept as it is, in whatever bytes. Displayed, it is text, in which bytes that are not UTF-8 stand as `\xff`: two
/// names may show the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForeignName(OsString);

impl ForeignName {
    /// Takes a name, whatever it is.
    pub fn new(name: impl Into<OsString>) -> ForeignName {
        ForeignName(name.into())
    }

    /// The name as the system has it.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl fmt::Display for ForeignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_encoded_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_name_is_shown_as_text_and_kept_as_bytes() {
        for (bytes, shown) in [(&b"a b/\xc3\xa4"[..], "a b/ä"), (b"\xffa\xc3", "\\xffa\\xc3"), (b"", "")] {
            let name = ForeignName::new(OsString::from_vec(bytes.to_vec()));
            assert_eq!(name.to_string(), shown);
            assert_eq!(name.as_os_str().as_encoded_bytes(), bytes);
        }
    }
}
