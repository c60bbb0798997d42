//! [`Error`]: what keeps Swift from being used, and what it answered.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use cinderblock_backend::Error as BackendError;

use crate::Service;
use crate::retry::Passing;

/// Swift or Keystone can't be asked, or gave an answer that helps nobody.
///
/// No message holds a password, a key or a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An environment variable, or a field of clouds.yaml, that is needed is not there.
    #[error("{variable} is not set; {advice}")]
    Missing {
        /// The variable or the field.
        variable: String,
        /// What it is for, and what may stand in its place.
        advice: &'static str,
    },

    /// An environment variable, a field of clouds.yaml or an argument makes no sense.
    #[error("{setting} is not valid: {problem}")]
    Invalid {
        /// The variable, field or argument.
        setting: String,
        /// What is wrong with it, and what it should be.
        problem: String,
    },

    /// A file can't be read.
    #[error("can't read {}; check who owns it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// A clouds.yaml is not what it should be. The parser's message may hold a line of the file, with a password in it,
    /// so only its place is told.
    #[error("{} is no valid clouds.yaml: line {line}, column {column}", path.display())]
    Clouds {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 where it is not known.
        line: u64,
        /// The column, from 1; 0 where it is not known.
        column: u64,
    },

    /// No clouds.yaml has that cloud.
    #[error("OS_CLOUD names {cloud}, which is in none of {searched}")]
    NoCloud {
        /// The name.
        cloud: String,
        /// The files that were looked for.
        searched: String,
    },

    /// The threads or the client for connections can't be made.
    #[error("can't start the client for HTTP: {problem}")]
    Client {
        /// What is in the way.
        problem: String,
    },

    /// Who is to prove who one is did not believe it.
    #[error("{url} refused the credentials with status {status}; check user, password and project")]
    Refused {
        /// Where they were sent.
        url: String,
        /// The HTTP status.
        status: u16,
    },

    /// Somebody else's attempt to get a token, which this one waited for, has failed.
    #[error("no token was to be had from {url}: {problem}")]
    NoToken {
        /// Who makes them.
        url: String,
        /// What happened to the attempt.
        problem: String,
    },

    /// The storage refuses the token that was made a moment ago.
    #[error("{request}: a new token was refused, too; check that the user may use this project's object storage")]
    TokenRefused {
        /// Method and URL.
        request: String,
    },

    /// The service catalogue has no object storage for this region and interface.
    #[error(
        "the service catalogue has no object-store with {wanted}; it has {found}: set OS_REGION_NAME and OS_INTERFACE"
    )]
    NoEndpoint {
        /// What was looked for.
        wanted: String,
        /// What there is.
        found: String,
    },

    /// The server gave an answer that is none for this request.
    #[error("{request} was answered with status {status}{reason}")]
    Answer {
        /// Method and URL.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer's text, after a colon, if there is one; and the transaction's id.
        reason: String,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },

    /// The container is not there.
    #[error("there is no container {container}")]
    NoContainer {
        /// Its name.
        container: String,
    },

    /// There was no connection, or it broke.
    #[error("{request} failed")]
    Connection {
        /// Method and URL.
        request: String,
        /// What went wrong.
        source: reqwest::Error,
    },

    /// Nothing moved for too long.
    #[error("{request}: nothing moved for {} s", after.as_secs())]
    Stalled {
        /// Method and URL.
        request: String,
        /// How long.
        after: Duration,
    },

    /// The answer has fewer bytes than it said.
    #[error("{request}: the answer ended after {got} of {wanted} bytes")]
    CutShort {
        /// Method and URL.
        request: String,
        /// How many bytes came.
        got: u64,
        /// How many were to come.
        wanted: u64,
    },

    /// The answer does not follow the protocol.
    #[error("{request}: the answer makes no sense: {problem}")]
    Protocol {
        /// Method and URL.
        request: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// What arrived is not what was sent.
    #[error("{request}: what was stored is not what was sent; memory or network may be bad")]
    Damaged {
        /// Method and URL.
        request: String,
    },

    /// The object is larger than Swift takes in one piece.
    #[error("an object of more than {limit} bytes does not fit into Swift in one piece; write smaller ones")]
    TooLarge {
        /// The most, in bytes.
        limit: u64,
    },

    /// The writer of a stream has gone without finishing it.
    #[error("the object was given up")]
    Abandoned,
}

impl Error {
    /// As a backend tells it: `operation` is a verb, `name` the object or the location.
    pub(super) fn of(self, operation: &'static str, name: impl Into<String>) -> BackendError {
        let name = name.into();
        let kind = match &self {
            Error::Refused { .. } | Error::TokenRefused { .. } | Error::Answer { status: 401 | 403, .. } => {
                let advice = format!("{}, of somebody who may do that", Service::Swift.credentials_advice());
                return BackendError::AccessDenied { operation, name, advice, source: self.into() };
            }
            Error::NoContainer { container } => {
                let location = format!("swift://{container}");
                let advice = format!("check its name, or make it with: swift post {container}");
                return BackendError::NoContainer { location, advice, source: self.into() };
            }
            Error::Connection { .. } | Error::Stalled { .. } | Error::NoToken { .. } => {
                let advice = "check OS_AUTH_URL or ST_AUTH, and the network".to_owned();
                return BackendError::Unreachable { operation, name, advice, source: self.into() };
            }
            Error::Answer { status: 429 | 498 | 503, .. } => {
                return BackendError::Busy { operation, name, source: self.into() };
            }
            // Quotas of a container or an account (413), and disks that are full (507).
            Error::Answer { status: 413 | 507, .. } => io::ErrorKind::QuotaExceeded,
            Error::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            _ => io::ErrorKind::Other,
        };
        BackendError::from_io(operation, name, io::Error::new(kind, self))
    }

    /// How long the server asked to wait before the next attempt.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Answer { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Passing for Error {
    fn is_passing(&self) -> bool {
        match self {
            Error::Answer { status, .. } => status_is_passing(*status),
            Error::Connection { source, .. } => !source.is_builder(),
            // 422: the bytes changed on the way (or the ETag did). They are sent again.
            Error::Stalled { .. } | Error::CutShort { .. } | Error::Damaged { .. } | Error::NoToken { .. } => true,
            _ => false,
        }
    }
}

/// Whether the same request may be answered otherwise a moment later. 408: the server waited too long for bytes; 409: a
/// server had a newer time stamp; 422: the bytes were not those of their ETag; 429 and 498: too many requests (the
/// latter is Swift's own, from its ratelimit filter); 5xx but for 501, 505 and 507, which a pause does not change.
pub(super) fn status_is_passing(status: u16) -> bool {
    matches!(status, 408 | 409 | 422 | 425 | 429 | 498) || (status >= 500 && !matches!(status, 501 | 505 | 507))
}
