//! [`Place`]: where objects are, as people write it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cinderblock_backend::ObjectName;
use url::Url;

use crate::{Container, Service};

/// The longest prefix in a container, in bytes: half of what a key may have, so that the other half is left for names.
const MAX_PREFIX_LEN: usize = 512;

/// The longest name of a container, in bytes: that of Swift. Each service has stricter rules, and says so.
const MAX_CONTAINER_LEN: usize = 255;

/// A text names no place.
///
/// Messages never hold the text: it may have a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The text is empty.
    #[error("the place is empty: give a folder, or a URL such as s3://bucket/prefix")]
    Empty,

    /// What is before `://` is none of ours.
    #[error(
        "{scheme}:// is not known: use s3://, gs://, az://, swift:// or file://, or ./ before a path that looks so"
    )]
    UnknownScheme {
        /// The scheme as it was written.
        scheme: String,
    },

    /// There is one slash, or none, where a URL has two.
    #[error("after {scheme}: come two slashes, as in {scheme}://bucket/prefix; write ./ before a path that looks so")]
    SlashesMissing {
        /// The scheme as it was written.
        scheme: String,
    },

    /// A user or a password stands before the container.
    #[error("a URL must not hold a user or a password: others could read it in the list of processes; {advice}")]
    Credentials {
        /// Where they belong.
        advice: &'static str,
    },

    /// There is no container.
    #[error("{scheme}:// needs the name of a {container}, as in {scheme}://{container}/prefix")]
    ContainerMissing {
        /// The scheme.
        scheme: &'static str,
        /// The service's word for a container.
        container: &'static str,
    },

    /// The container's name can't be one.
    #[error(
        "the name of the {container} is not valid: it has 1 to 255 of A-Z a-z 0-9 . _ -, and begins with none of . _ -"
    )]
    ContainerName {
        /// The service's word for a container.
        container: &'static str,
    },

    /// The prefix can't be one.
    #[error("what follows the {container} is not valid: {reason}")]
    Prefix {
        /// The service's word for a container.
        container: &'static str,
        /// The rule that is broken.
        reason: String,
    },

    /// There is a `?` or a `#` in it.
    #[error("a repository's URL has no {what}: endpoints and credentials come from the environment")]
    Extra {
        /// What it is.
        what: &'static str,
    },

    /// A `file://` URL that is no absolute path of this host.
    #[error("a file URL holds an absolute path of this host, as in file:///srv/backup")]
    File,
}

/// Where objects are: a folder, or a container of a service.
///
/// Text that begins with a scheme and `://` is a URL; other text is a path. A path that looks like a URL can be given
/// with `./` before it.
///
/// ```
/// use cinderblock_remote::Place;
///
/// assert_eq!("s3://bucket/a/b/".parse::<Place>()?.to_string(), "s3://bucket/a/b");
/// assert_eq!("file:///srv/backup".parse::<Place>()?, Place::Folder("/srv/backup".into()));
/// assert!("s3://".parse::<Place>().is_err());
/// # Ok::<(), cinderblock_remote::PlaceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A container, or a part of it.
    Container(Container),
}

impl Place {
    /// Takes what a command line or an environment variable holds: like [`str::parse`], but a path need not be UTF-8.
    ///
    /// # Errors
    ///
    /// [`PlaceError`] says what is wrong with it.
    pub fn new(text: &OsStr) -> Result<Place, PlaceError> {
        match text.to_str() {
            Some(text) => text.parse(),
            None => Ok(Place::Folder(PathBuf::from(text))),
        }
    }

    /// Whether it is reached over a network protocol of objects, and not as a folder.
    pub fn is_remote(&self) -> bool {
        matches!(self, Place::Container(_))
    }

    /// The folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Place::Folder(path) => Some(path),
            Place::Container(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(path) => write!(f, "{}", path.display()),
            Place::Container(container) => container.fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Place, PlaceError> {
        if text.is_empty() {
            return Err(PlaceError::Empty);
        }
        let Some((scheme, rest)) = split_scheme(text) else {
            return Ok(Place::Folder(PathBuf::from(text)));
        };
        let service = Service::ALL.into_iter().find(|service| scheme.eq_ignore_ascii_case(service.scheme()));
        let Some(rest) = rest.strip_prefix("//") else {
            // A drive letter or a time in a path's name is no slip of the pen; a scheme of ours is.
            return match service {
                Some(service) => Err(PlaceError::SlashesMissing { scheme: service.scheme().to_owned() }),
                None => Ok(Place::Folder(PathBuf::from(text))),
            };
        };
        match service {
            Some(service) => container(service, rest).map(Place::Container),
            None if scheme.eq_ignore_ascii_case("file") => file(text),
            None => Err(PlaceError::UnknownScheme { scheme: scheme.to_owned() }),
        }
    }
}

/// The scheme and what follows its colon, if the text begins as a URL does (RFC 3986, section 3.1).
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    valid.then_some((scheme, rest))
}

fn container(service: Service, rest: &str) -> Result<Container, PlaceError> {
    let word = service.container_word();
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if name.contains('@') {
        return Err(PlaceError::Credentials { advice: service.credentials_advice() });
    }
    refuse_extras(rest)?;
    if name.is_empty() {
        return Err(PlaceError::ContainerMissing { scheme: service.scheme(), container: word });
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let valid = name.len() <= MAX_CONTAINER_LEN
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !valid {
        return Err(PlaceError::ContainerName { container: word });
    }
    // A slash at the end is no part of it; one that stands alone after the container's is an empty part.
    let prefix = prefix.strip_suffix('/').filter(|prefix| !prefix.is_empty()).unwrap_or(prefix);
    let refused = |reason: &str| PlaceError::Prefix { container: word, reason: reason.to_owned() };
    if prefix.len() > MAX_PREFIX_LEN {
        return Err(refused("it is longer than 512 bytes"));
    }
    if !prefix.is_empty() {
        // What is safe as an object's name is safe before one.
        match ObjectName::new(prefix) {
            Ok(_) => {}
            Err(cinderblock_backend::Error::InvalidName { reason, .. }) => return Err(refused(reason)),
            Err(other) => return Err(refused(&other.to_string())),
        }
    }
    Ok(Container::new(service, name, prefix))
}

fn refuse_extras(rest: &str) -> Result<(), PlaceError> {
    if rest.contains('?') {
        return Err(PlaceError::Extra { what: "query (?)" });
    }
    if rest.contains('#') {
        return Err(PlaceError::Extra { what: "fragment (#)" });
    }
    Ok(())
}

fn file(text: &str) -> Result<Place, PlaceError> {
    refuse_extras(text)?;
    let url = Url::parse(text).map_err(|_| PlaceError::File)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(PlaceError::Credentials { advice: "a folder needs none" });
    }
    // The parser would have resolved them silently.
    if text.split('/').any(|part| part == "..") {
        return Err(PlaceError::File);
    }
    url.to_file_path().map(Place::Folder).map_err(|()| PlaceError::File)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Place, PlaceError> {
        text.parse()
    }

    fn container(text: &str) -> (Service, String, String) {
        match parsed(text) {
            Ok(Place::Container(c)) => (c.service(), c.name().to_owned(), c.prefix().to_owned()),
            other => panic!("{text} gave {other:?}"),
        }
    }

    #[test]
    fn urls_name_containers_and_prefixes() {
        assert_eq!(container("s3://b"), (Service::S3, "b".into(), "".into()));
        assert_eq!(container("s3://b/"), (Service::S3, "b".into(), "".into()));
        assert_eq!(container("S3://My.Bucket-1/x/y_z/"), (Service::S3, "My.Bucket-1".into(), "x/y_z".into()));
        assert_eq!(container("gs://b/x"), (Service::Gcs, "b".into(), "x".into()));
        assert_eq!(container("az://c/x"), (Service::Azure, "c".into(), "x".into()));
        assert_eq!(container("swift://c/x"), (Service::Swift, "c".into(), "x".into()));
    }

    #[test]
    fn paths_are_folders() {
        for text in ["/srv/backup", "backup", "./s3://b", "../x", "a b", "C:backup", "12:30", "/a?b#c@d", "a:b/c"] {
            assert_eq!(parsed(text), Ok(Place::Folder(text.into())), "{text}");
        }
        assert_eq!(parsed("file:///srv/my%20backup"), Ok(Place::Folder("/srv/my backup".into())));
        assert_eq!(parsed("file://localhost/srv"), Ok(Place::Folder("/srv".into())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parsed(""), Err(PlaceError::Empty));
        assert!(matches!(parsed("ftp://b"), Err(PlaceError::UnknownScheme { scheme }) if scheme == "ftp"));
        assert!(matches!(parsed("s3:b/x"), Err(PlaceError::SlashesMissing { .. })));
        assert!(matches!(parsed("s3:/b/x"), Err(PlaceError::SlashesMissing { .. })));
        assert!(matches!(parsed("s3://"), Err(PlaceError::ContainerMissing { .. })));
        assert!(matches!(parsed("s3:///x"), Err(PlaceError::ContainerMissing { .. })));
        assert!(matches!(parsed("s3://key:secret@b/x"), Err(PlaceError::Credentials { .. })));
        assert!(matches!(parsed("s3://b/x?region=eu"), Err(PlaceError::Extra { .. })));
        assert!(matches!(parsed("s3://b/x#y"), Err(PlaceError::Extra { .. })));
        for text in ["s3://b:9000/x", "s3://-b", "s3://.b", "s3://b%20", "s3://ü/x", "s3://b c"] {
            assert!(matches!(parsed(text), Err(PlaceError::ContainerName { .. })), "{text}");
        }
        for text in ["s3://b/..", "s3://b/a/../c", "s3://b/a//c", "s3://b//", "s3://b/.a", "s3://b/a%2fc", "s3://b/ä"]
        {
            assert!(matches!(parsed(text), Err(PlaceError::Prefix { .. })), "{text}");
        }
        for text in ["file://host/srv", "file://srv/../x", "file:///srv/../x"] {
            assert_eq!(parsed(text), Err(PlaceError::File), "{text}");
        }
        assert!(matches!(parsed("file:///x?y"), Err(PlaceError::Extra { .. })));
    }

    #[test]
    fn a_password_is_in_no_message() {
        for text in
            ["s3://key:hunter2@b/x", "s3://b/x?secret=hunter2", "ftp://u:hunter2@h", "s3://hunter2@", "s3://hunter2:/"]
        {
            let error = parsed(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_place_or_an_error(text in any::<String>()) {
            let _ = parsed(&text);
        }

        #[test]
        fn a_url_gives_a_container_that_shows_as_it_was_or_an_error(
            rest in "[a-zA-Z0-9./_:@?#% ä-]{0,40}", scheme in "s3|gs|az|swift"
        ) {
            let text = format!("{scheme}://{rest}");
            if let Ok(place) = parsed(&text) {
                prop_assert_eq!(place.to_string(), text.trim_end_matches('/'));
                let Place::Container(container) = &place else { panic!("{place:?}") };
                prop_assert!(container.prefix().is_empty() || ObjectName::new(container.prefix()).is_ok());
                prop_assert_eq!(parsed(&place.to_string()), Ok(place));
            }
        }
    }
}
