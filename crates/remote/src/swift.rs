//! OpenStack Swift, by its [HTTP interface](https://docs.openstack.org/api-ref/object-store/).
//!
//! ```no_run
//! use cinderblock_backend::{Backend, ObjectName};
//! use cinderblock_remote::swift::{Settings, Swift};
//!
//! let swift = Swift::open("backups", "hosts/web", &Settings::from_env()?)?;
//! swift.put(&ObjectName::new("index/0001")?, &[b"bytes"])?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **What Swift does not promise.** `If-None-Match: *` is looked at before the bytes come, so of two that create one
//! name at the same time both may be told that they did, and the later one counts; so it is with two that delete. Listings lag
//! ([`Settings::settle_delay`]). The repository relies on neither.
//!
//! **Failures.** What may pass is tried again, with pauses that grow: connections that fail or stall, 408, 429 and 498 (after
//! `Retry-After`), 5xx, 409, and 422, by which Swift says that the bytes it got do not have the MD5 that was sent with them. A read whose
//! answer breaks off goes on where it was. An upload whose answer was lost is looked for before it is sent again.
//! A delete whose answer was lost, and that finds nothing when it is tried again, has succeeded: whether the object was there before can no
//! longer be told.
//!
//! | module or type | what it is |
//! |---|---|
//! | [`Swift`] | the backend |
//! | [`Settings`], [`Account`] | who one is, and how the storage is used; from variables or clouds.yaml |
//! | [`Secret`] | a text that is never shown |
//! | [`Error`] | what Swift answered, or why it can't be asked |

mod body;
mod client;
mod clouds;
mod error;
mod keystone;
mod list;
mod read;
mod secret;
mod session;
mod settings;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::{Backend, Error as BackendError, ForeignName, ObjectInfo, ObjectName, ObjectWriter, Tail};
use tokio::runtime::Runtime;

pub use error::Error;
pub use secret::Secret;
pub use settings::{Account, Credential, Domain, Identity, Keystone, Project, Settings, User};
pub(crate) use settings::{WRITE_BUFFER, duration};

use client::Client;
use list::Listed;
use write::Writer;

use crate::runtime;

/// The longest name of a container, in bytes (`max_container_name_length`).
const MAX_CONTAINER: usize = 256;

/// Objects in a container of a Swift, those whose names begin with a prefix and a slash. The prefix is no part of their
/// names here.
///
/// What a program before it left half written Swift itself drops, so there are no leftovers.
pub struct Swift {
    client: Arc<Client>,
}

impl Swift {
    /// A container, or what is below a prefix in it; an empty prefix is the whole. Nothing is asked yet: the first operation says
    /// what is wrong with the account or the container, which is not made.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the container or the prefix can't be one, or a certificate is none; [`Error::Client`].
    pub fn open(container: &str, prefix: &str, settings: &Settings) -> Result<Swift, Error> {
        let invalid =
            |setting: &str, problem: &str| Error::Invalid { setting: setting.to_owned(), problem: problem.to_owned() };
        let plain = (1..=MAX_CONTAINER).contains(&container.len())
            && !container.chars().any(|c| c == '/' || c.is_control())
            && !matches!(container, "." | "..");
        if !plain {
            return Err(invalid("the container's name", "it has 1 to 256 bytes and no slash"));
        }
        match ObjectName::new(prefix) {
            Ok(_) => {}
            Err(_) if prefix.is_empty() => {}
            Err(BackendError::InvalidName { reason, .. }) => return Err(invalid("the prefix", reason)),
            Err(other) => return Err(invalid("the prefix", &other.to_string())),
        }
        Ok(Swift { client: Arc::new(Client::new(container, prefix, settings)?) })
    }

    /// Makes the container, with the cluster's own storage policy. That it is there already is no error.
    ///
    /// # Errors
    ///
    /// What Swift says.
    pub fn make(&self) -> Result<(), BackendError> {
        self.client.wait(self.client.make())?.map_err(|error| error.of("make", self.location()))
    }
}

impl Client {
    fn runtime(&self) -> Result<&'static Runtime, Error> {
        runtime::shared().map_err(|error| Error::Client { problem: error.to_string() })
    }

    /// Waits on this thread for what the shared threads do.
    fn wait<F>(&self, future: F) -> Result<F::Output, BackendError>
    where
        F: Future + Send,
        F::Output: Send,
    {
        let runtime = self.runtime().map_err(|error| error.of("use", self.location()))?;
        Ok(runtime::wait(runtime, future))
    }
}

impl Backend for Swift {
    /// Up to [`Settings::write_buffer`] bytes are held and can be sent again; a longer object is sent as it comes, and only once.
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, BackendError> {
        Ok(Box::new(Writer::new(Arc::clone(&self.client), name.clone())))
    }

    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), BackendError> {
        self.client.wait(self.client.put(name, parts))?.map_err(|error| error.of(name))
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, BackendError> {
        self.client.wait(self.client.whole(name, limit))?.map_err(|error| error.of(name))
    }

    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), BackendError> {
        self.client.wait(self.client.read(name, offset, buf))?.map_err(|error| error.of(name))
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, BackendError> {
        self.client.wait(self.client.tail(name, len))?.map_err(|error| error.of(name))
    }

    fn size(&self, name: &ObjectName) -> Result<u64, BackendError> {
        self.client.wait(self.client.size(name))?.map_err(|error| error.of(name))
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectInfo) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        self.client.list(prefix, &mut |listed| match listed {
            Listed::Object(object) => visit(object),
            Listed::Foreign(_) => Ok(()),
        })
    }

    fn list_foreign(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ForeignName) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        self.client.list(prefix, &mut |listed| match listed {
            Listed::Object(_) => Ok(()),
            Listed::Foreign(name) => visit(name),
        })
    }

    fn delete(&self, name: &ObjectName) -> Result<(), BackendError> {
        match self.client.wait(self.client.remove(name))? {
            Ok(true) => Ok(()),
            Ok(false) => Err(BackendError::NotFound { name: name.clone() }),
            Err(error) => Err(error.of("delete", name.as_str())),
        }
    }

    fn settle_delay(&self) -> Duration {
        self.client.settings.settle_delay
    }

    fn requests_in_flight(&self) -> usize {
        self.client.settings.http.requests_in_flight
    }

    fn location(&self) -> String {
        self.client.location()
    }
}

impl fmt::Debug for Swift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swift").field("location", &self.location()).field("settings", &self.client.settings).finish()
    }
}
