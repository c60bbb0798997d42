//! [`Error`]: what can go wrong between a caller and an object store.

use std::io;
use std::time::SystemTime;

use crate::ObjectName;

/// An operation on a backend failed.
///
/// Where a field `name` is a `String`, it is the object's name or, where the backend knows it, the full path or URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no object with this name.
    #[error("object {name} does not exist")]
    NotFound {
        /// The object that was asked for.
        name: ObjectName,
    },

    /// The name is taken. Objects are never overwritten.
    #[error("object {name} exists already; objects are never overwritten")]
    AlreadyExists {
        /// The object that was to be created.
        name: ObjectName,
    },

    /// The text can't be the name of an object.
    #[error("{name:?} is not a valid object name: {reason}")]
    InvalidName {
        /// The text that was refused.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },

    /// The object is larger than the caller is ready to hold in memory. Nothing was allocated.
    #[error("object {name} has {size} bytes, more than the {limit} that are allowed for it here; it may be damaged")]
    TooLarge {
        /// The object that was asked for.
        name: ObjectName,
        /// Its size in bytes.
        size: u64,
        /// The most that the caller would take, in bytes.
        limit: u64,
    },

    /// The object ends before the range that was asked for; it was cut short, or whoever named the range is wrong.
    #[error("object {name} ends at byte {size}, so {wanted} bytes from byte {offset} can't be read; it may be damaged")]
    UnexpectedEnd {
        /// The object that was asked for.
        name: ObjectName,
        /// Where the range begins, in bytes from the object's start.
        offset: u64,
        /// The range's length in bytes.
        wanted: u64,
        /// The object's size in bytes.
        size: u64,
    },

    /// An object and a folder would need the same path: there is an `a` and the caller wants `a/b`, or the reverse.
    #[error("object {name} can't be stored because {obstacle} is in its way; move that elsewhere if nothing needs it")]
    Obstructed {
        /// The object that was to be created.
        name: ObjectName,
        /// The path of what is there instead.
        obstacle: String,
    },

    /// The disk or the quota is full.
    #[error("no space left to {operation} {name}; free some or raise the quota, then try again")]
    NoSpace {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The object.
        name: String,
        /// The system's answer.
        source: io::Error,
    },

    /// The storage does not let this user do that.
    #[error("no permission to {operation} {name}; check who owns it and which user this runs as")]
    PermissionDenied {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The object.
        name: String,
        /// The system's answer.
        source: io::Error,
    },

    /// The storage is read-only.
    #[error("can't {operation} {name} on read-only storage; mount it writable, or use another place")]
    ReadOnly {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The object.
        name: String,
        /// The system's answer.
        source: io::Error,
    },

    /// The place is not a folder in which objects could be kept; or a symbolic link in it leads nowhere, so that objects
    /// may be behind it that can't be seen.
    #[error("can't {operation} the folder {path}; check that the path is right and that its storage is mounted")]
    Folder {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The folder's path.
        path: String,
        /// The system's answer.
        source: io::Error,
    },

    /// A service does not take the credentials, or does not let whoever they are of do that.
    #[error("the storage refuses to {operation} {name}: {advice}")]
    AccessDenied {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The object, or where the objects are.
        name: String,
        /// What to look at, such as the variables that credentials come from.
        advice: String,
        /// The service's answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The bucket or container in which objects should be is not there.
    #[error("{location} does not exist: {advice}")]
    NoContainer {
        /// The bucket or container.
        location: String,
        /// What to do about it.
        advice: String,
        /// The service's answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// No answer came, however often it was tried.
    #[error("can't reach the storage to {operation} {name}: {advice}")]
    Unreachable {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The object, or where the objects are.
        name: String,
        /// What to look at, such as the variable that the endpoint comes from.
        advice: String,
        /// What happened to the connection.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The service is overloaded, or wants fewer requests, however often it was tried.
    #[error("the storage is too busy to {operation} {name}; try again later, or with less at once")]
    Busy {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The object, or where the objects are.
        name: String,
        /// The service's answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// Nothing is deleted through [`AppendOnly`](crate::AppendOnly).
    #[error("{name} is not deleted, because --append-only says that this process deletes nothing")]
    AppendOnly {
        /// The object that was to be deleted.
        name: String,
    },

    /// The object is locked: nobody can delete it before that time.
    #[error("object {name} is locked until {}, and can't be deleted before", crate::retention::date(*until))]
    Retained {
        /// The object that was to be deleted.
        name: ObjectName,
        /// When its retention ends.
        until: SystemTime,
    },

    /// The storage can't lock objects.
    #[error(
        "{location} can't lock objects: that takes an S3 bucket that was made with Object Lock ('aws s3api create-bucket \
         --object-lock-enabled-for-bucket')"
    )]
    CannotRetain {
        /// Path or URL.
        location: String,
    },

    /// A write to this object failed before, so that it can't be finished.
    #[error("object {name} can't be finished because an earlier write to it failed; write it again from the start")]
    Incomplete {
        /// The object that was being written.
        name: ObjectName,
    },

    /// A disk that answers can't read what it holds here. The same bytes may be had from elsewhere, and others of the same object be read.
    #[error("the disk can't read {name}: a sector of it is bad, or its file system is damaged")]
    Unreadable {
        /// The object.
        name: String,
        /// The system's answer.
        source: io::Error,
    },

    /// Any other failure of the storage.
    #[error("can't {operation} {name}")]
    Io {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The object.
        name: String,
        /// The system's answer.
        source: io::Error,
    },

    /// The visitor of a listing wants no more of it. Backends never return this of their own accord.
    #[error("the listing was stopped by its visitor")]
    Stopped,
}

impl Error {
    /// Whether this says that the process may not delete the object, or nobody may: not that something failed, and not that the storage
    /// takes nothing at all.
    pub fn is_delete_refused(&self) -> bool {
        matches!(
            self,
            Error::AppendOnly { .. }
                | Error::Retained { .. }
                | Error::AccessDenied { .. }
                | Error::PermissionDenied { .. }
        )
    }

    /// The error for a failed `operation` (a verb) on the object, path or URL `name`.
    ///
    /// A full disk, a missing permission and read-only storage get their own variants; an [`Error`] that travelled
    /// inside of an [`io::Error`], as it does through [`io::Write`], comes out as it was.
    pub fn from_io(operation: &'static str, name: impl Into<String>, source: io::Error) -> Error {
        let source = match source.downcast::<Error>() {
            Ok(error) => return error,
            Err(source) => source,
        };
        let name = name.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { operation, name, source },
            io::ErrorKind::PermissionDenied => Error::PermissionDenied { operation, name, source },
            io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { operation, name, source },
            _ => Error::Io { operation, name, source },
        }
    }

    /// Whether a disk could not read what it holds: [`Error::Unreadable`].
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Error::Unreadable { .. })
    }

    /// Whether the object was not there: [`Error::NotFound`].
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }

    /// Whether the name was taken: [`Error::AlreadyExists`].
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Error::AlreadyExists { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use rustix::io::Errno;

    use super::*;

    fn from_errno(errno: Errno) -> Error {
        Error::from_io("write", "/srv/packs/ab", errno.into())
    }

    #[test]
    fn system_errors_that_have_a_remedy_get_their_own_variant() {
        assert!(matches!(from_errno(Errno::NOSPC), Error::NoSpace { .. }));
        assert!(matches!(from_errno(Errno::DQUOT), Error::NoSpace { .. }));
        assert!(matches!(from_errno(Errno::ACCESS), Error::PermissionDenied { .. }));
        assert!(matches!(from_errno(Errno::PERM), Error::PermissionDenied { .. }));
        assert!(matches!(from_errno(Errno::ROFS), Error::ReadOnly { .. }));
        assert!(matches!(from_errno(Errno::IO), Error::Io { .. }));
    }

    #[test]
    fn the_message_names_the_object_and_leaves_the_cause_to_the_source() {
        let error = from_errno(Errno::NOSPC);
        let cause = error.source().expect("the cause is kept").to_string();
        assert!(error.to_string().contains("/srv/packs/ab"));
        assert!(!error.to_string().contains(&cause));
    }

    #[test]
    fn an_error_survives_the_way_through_io() {
        let name = ObjectName::new("a").unwrap();
        let wrapped = io::Error::other(Error::AlreadyExists { name: name.clone() });
        let error = Error::from_io("write", "elsewhere", wrapped);
        assert!(matches!(error, Error::AlreadyExists { name: n } if n == name));
    }
}
