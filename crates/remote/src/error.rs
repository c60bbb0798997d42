//! [`Error`]: what keeps a place from being opened.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use cinderblock_backend::Error as BackendError;

use crate::PlaceError;

/// A place can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text names no place.
    #[error(transparent)]
    Place(#[from] PlaceError),

    /// The folder can't be opened.
    #[error(transparent)]
    Backend(#[from] BackendError),

    /// A container of Swift can't be used with what the environment says.
    #[error("can't use {location}")]
    Swift {
        /// The place.
        location: String,
        /// What is missing or wrong.
        source: crate::swift::Error,
    },

    /// An environment variable or a file of configuration makes no sense.
    #[error("{setting} {problem}")]
    Configuration {
        /// The variable, or the file and what of it.
        setting: String,
        /// What is wrong with it, and what it should be.
        problem: String,
    },

    /// A file of configuration can't be read.
    #[error("can't read {}; check who owns it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// The client for the service can't be made of what the environment says.
    #[error("can't use {location}: check the variables that begin with {variables}")]
    Client {
        /// The place.
        location: String,
        /// The prefix of the service's environment variables.
        variables: &'static str,
        /// What is missing or wrong.
        source: Box<dyn StdError + Send + Sync>,
    },

    /// The threads for connections can't be started.
    #[error("can't start the threads that talk to the storage; the system may be out of threads or memory")]
    Runtime {
        /// The system's answer.
        source: io::Error,
    },
}
