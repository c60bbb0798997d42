//! [`Root`]: where a program's containers are, as people write it.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;

use crate::{Place, PlaceError, Service};

/// Where the containers of a program are that has several, such as those of OpenStack Cinder's backups.
///
/// ```
/// use cinderblock_remote::{Root, Service};
///
/// assert_eq!("s3://".parse::<Root>()?, Root::Service(Service::S3));
/// assert!(matches!("s3://bucket/cinder".parse::<Root>()?, Root::Below(_)));
/// assert!(matches!("/srv/cinder-backup".parse::<Root>()?, Root::Below(_)));
/// # Ok::<(), cinderblock_remote::PlaceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Root {
    /// They are the service's own: `s3://`, and nothing behind it.
    Service(Service),
    /// They are folders below a place, or what would be folders in a bucket.
    Below(Place),
}

impl Root {
    /// Takes what a command line holds: like [`str::parse`], but a path need not be UTF-8.
    ///
    /// # Errors
    ///
    /// [`PlaceError`] says what is wrong with it.
    pub fn new(text: &OsStr) -> Result<Root, PlaceError> {
        match text.to_str() {
            Some(text) => text.parse(),
            None => Place::new(text).map(Root::Below),
        }
    }

    /// Whether it is reached over a network protocol of objects, and not as a folder.
    pub fn is_remote(&self) -> bool {
        match self {
            Root::Service(_) => true,
            Root::Below(place) => place.is_remote(),
        }
    }
}

impl FromStr for Root {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Root, PlaceError> {
        let scheme = text.strip_suffix("://").unwrap_or_default();
        match Service::ALL.into_iter().find(|service| scheme.eq_ignore_ascii_case(service.scheme())) {
            Some(service) => Ok(Root::Service(service)),
            None => text.parse().map(Root::Below),
        }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Root::Service(service) => write!(f, "{}://", service.scheme()),
            Root::Below(place) => place.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_alone_is_a_service() {
        for (text, service) in
            [("s3://", Service::S3), ("GS://", Service::Gcs), ("az://", Service::Azure), ("swift://", Service::Swift)]
        {
            assert_eq!(text.parse(), Ok(Root::Service(service)), "{text}");
        }
        for text in ["s3://b", "swift://c/p", "/srv/x", "file:///srv/x", "x"] {
            let root: Root = text.parse().unwrap();
            assert_eq!(root, Root::Below(text.parse().unwrap()), "{text}");
        }
        for text in ["", "ftp://", "s3:///", "s3:", "s3://k:hunter2@b"] {
            let error = text.parse::<Root>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
