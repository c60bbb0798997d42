//! [`ObjectName`]: a name that is safe as a path below a folder and as a key in a bucket.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::Error;

/// The longest object name, in bytes: the limit for a key in S3, the smallest among the usual object stores.
pub const MAX_NAME_LEN: usize = 1024;

/// The longest part of an object name between two slashes, in bytes: `NAME_MAX` of the usual Linux file systems.
pub const MAX_PART_LEN: usize = 255;

/// The name of an object: 1 to [`MAX_NAME_LEN`] bytes, in parts that are separated by `/`.
///
/// Each part is 1 to [`MAX_PART_LEN`] bytes of `A-Z a-z 0-9 . _ -` and does not begin with a dot. So a name is never
/// absolute, never holds `..` or an empty part, and joined to a folder it always stays below that folder. Hidden
/// files, such as a backend's temporary ones, are never objects.
///
/// Cloning is cheap: clones share the text.
///
/// One name must not be the folder of another: with an object `a`, there should be no `a/b`. Object stores allow
/// it, file systems can't; there it is refused with [`Error::Obstructed`].
///
/// ```
/// use cinderblock_backend::ObjectName;
///
/// let name = ObjectName::new("packs/ab/abcdef")?;
/// assert_eq!(name.as_str(), "packs/ab/abcdef");
/// assert_eq!(name.file_name(), "abcdef");
/// assert!(ObjectName::new("packs/../../etc/passwd").is_err());
/// # Ok::<(), cinderblock_backend::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// Checks `name` and takes it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`] says which rule the name breaks.
    pub fn new(name: impl Into<String>) -> Result<ObjectName, Error> {
        let name = name.into();
        match broken_rule(&name) {
            None => Ok(ObjectName(name.into())),
            Some(reason) => Err(Error::InvalidName { name, reason }),
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last slash; the whole name where there is none.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, last)| last)
    }

    /// The part before the last slash; empty where there is none.
    pub(crate) fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > MAX_NAME_LEN {
        return Some("it is longer than 1024 bytes");
    }
    name.split('/').find_map(broken_part_rule)
}

fn broken_part_rule(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        Some("a part between slashes is empty")
    } else if part.len() > MAX_PART_LEN {
        Some("a part between slashes is longer than 255 bytes")
    } else if part.starts_with('.') {
        Some("a part between slashes begins with a dot")
    } else if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        Some("it holds a character other than A-Z a-z 0-9 . _ - /")
    } else {
        None
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectName({:?})", self.as_str())
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names compare and hash as their text does, so that maps can be searched with it.
impl Borrow<str> for ObjectName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for ObjectName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    fn reason(name: &str) -> &'static str {
        match ObjectName::new(name) {
            Err(Error::InvalidName { name: named, reason }) => {
                assert_eq!(named, name);
                reason
            }
            other => panic!("{name:?} gave {other:?}"),
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        assert!(reason("").contains("empty"));
        assert!(reason("/a").contains("empty"));
        assert!(reason("a/").contains("empty"));
        assert!(reason("a//b").contains("empty"));
        assert!(reason(".").contains("dot"));
        assert!(reason("a/..").contains("dot"));
        assert!(reason("a/.tmp-1").contains("dot"));
        assert!(reason("a b").contains("character"));
        assert!(reason("a\0").contains("character"));
        assert!(reason("a\\b").contains("character"));
        assert!(reason("ä").contains("character"));
    }

    #[test]
    fn lengths_are_accepted_up_to_the_limit_and_not_beyond() {
        let part = "p".repeat(MAX_PART_LEN);
        assert!(ObjectName::new(part.as_str()).is_ok());
        assert!(reason(&format!("{part}p")).contains("255"));

        let longest = format!("{part}/{part}/{part}/{part}/x");
        assert_eq!(longest.len(), MAX_NAME_LEN + 1);
        assert!(reason(&longest).contains("1024"));
        assert!(ObjectName::new(&longest[1..]).is_ok());
    }

    #[test]
    fn parts_are_told_apart() {
        let nested = ObjectName::new("a/b/c").unwrap();
        assert_eq!((nested.folder(), nested.file_name()), ("a/b", "c"));
        let flat = ObjectName::new("cinderblock.json").unwrap();
        assert_eq!((flat.folder(), flat.file_name()), ("", "cinderblock.json"));
    }

    proptest! {
        #[test]
        fn a_name_never_leaves_its_folder(text in "[a-zA-Z0-9./_\\\\\0 -]{0,40}") {
            if let Ok(name) = ObjectName::new(text.as_str()) {
                let components: Vec<_> = Path::new(name.as_str()).components().collect();
                prop_assert!(components.iter().all(|c| matches!(c, Component::Normal(_))));
                let rejoined: Vec<_> = components.iter().map(|c| c.as_os_str().to_str().unwrap()).collect();
                prop_assert_eq!(rejoined.join("/"), text);
            }
        }

        #[test]
        fn arbitrary_text_is_taken_unchanged_or_refused(text in any::<String>()) {
            match ObjectName::new(text.as_str()) {
                Ok(name) => prop_assert_eq!(name.to_string(), text),
                Err(error) => {
                    let is_refused = matches!(error, Error::InvalidName { .. });
                    prop_assert!(is_refused);
                }
            }
        }

        #[test]
        fn every_valid_name_is_taken(text in "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,60}(/[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,60}){0,4}") {
            let name = ObjectName::new(text.as_str()).unwrap();
            prop_assert_eq!(name.as_str(), text.as_str());
            let whole = if name.folder().is_empty() {
                name.file_name().to_owned()
            } else {
                format!("{}/{}", name.folder(), name.file_name())
            };
            prop_assert_eq!(whole, text);
        }
    }
}
