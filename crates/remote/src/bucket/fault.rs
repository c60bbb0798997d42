//! [`Fault`]: what went wrong with a request, and what to tell of it.

use std::error::Error as StdError;
use std::io;

use cinderblock_backend::{Error, ObjectName};
use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};

use crate::Service;
use crate::http::Refusal;
use crate::retry::Passing;

/// What a service's users call things.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    /// What its containers are called.
    pub(crate) container: &'static str,
    /// Where credentials come from.
    pub(crate) credentials: &'static str,
    /// Where the endpoint comes from.
    pub(crate) endpoint: &'static str,
}

impl Default for Words {
    fn default() -> Words {
        Words { container: "bucket", credentials: "check the credentials", endpoint: "check the endpoint" }
    }
}

impl Words {
    pub(crate) fn of(service: Service) -> Words {
        let endpoint = match service {
            Service::S3 => "check AWS_ENDPOINT_URL and the network",
            Service::Gcs => "check GOOGLE_BASE_URL, if it is set, and the network",
            Service::Azure => "check AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ENDPOINT and the network",
            Service::Swift => "check OS_AUTH_URL and the network",
        };
        Words { container: service.container_word(), credentials: service.credentials_advice(), endpoint }
    }
}

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another request for the same name was under way.
    #[error("another request was in the way")]
    Conflict(#[source] StoreError),
    /// A body ended before the length that was announced.
    #[error("the answer was cut off after {got} of {wanted} bytes")]
    Cut { got: u64, wanted: u64 },
    /// A body went on behind the length that was announced.
    #[error("the answer has more than the {wanted} bytes that it announced")]
    Overlong { wanted: u64 },
    #[error("the object has {size} bytes")]
    TooLarge { size: u64, limit: u64 },
    #[error("the object ends at byte {size}")]
    UnexpectedEnd { offset: u64, wanted: u64, size: u64 },
    #[error("there is not enough memory for an object of {size} bytes")]
    NoMemory { size: u64 },
    #[error("{0}")]
    Broken(&'static str),
}

impl Fault {
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Fault::Store(error @ StoreError::NotFound { .. }) if !names_container(error))
    }

    /// Whether it may be that the range was outside of the object, which services tell in several ways.
    pub(super) fn may_be_range(&self) -> bool {
        let Fault::Store(error) = self else { return false };
        match refusal(error) {
            Some(refusal) => matches!(refusal.status, 400 | 416),
            None => {
                matches!(error, StoreError::Generic { .. } | StoreError::NotSupported { .. }) && http(error).is_none()
            }
        }
    }

    /// The error for a failed `operation` (a verb) on an object, or on all there is at `location`.
    pub(super) fn into_error(
        self,
        operation: &'static str,
        object: Option<&ObjectName>,
        location: &str,
        words: &Words,
    ) -> Error {
        let name = object.map_or_else(|| location.to_owned(), |object| format!("{location}/{object}"));
        let error = match (self, object) {
            (Fault::TooLarge { size, limit }, Some(object)) => {
                return Error::TooLarge { name: object.clone(), size, limit };
            }
            (Fault::UnexpectedEnd { offset, wanted, size }, Some(object)) => {
                return Error::UnexpectedEnd { name: object.clone(), offset, wanted, size };
            }
            (Fault::Store(error), _) => error,
            (Fault::Conflict(error), _) => {
                return Error::Busy { operation, name, source: answer(&error) };
            }
            (fault, _) => return Error::Io { operation, name, source: io::Error::other(fault) },
        };
        let source = answer(&error);
        let status = refusal(&error).map(|refusal| refusal.status);
        // Of a listing, nothing else can be missing.
        if names_container(&error) || (status == Some(404) && object.is_none()) {
            let advice = format!("check its name, or make the {} first", words.container);
            return Error::NoContainer { location: location.to_owned(), advice, source };
        }
        let denied = matches!(error, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. });
        match (&error, object) {
            (StoreError::NotFound { .. }, Some(object)) => Error::NotFound { name: object.clone() },
            (StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }, Some(object)) => {
                Error::AlreadyExists { name: object.clone() }
            }
            _ if denied || matches!(status, Some(401 | 403)) => {
                let advice = format!("{}, of somebody who may do that", words.credentials);
                Error::AccessDenied { operation, name, advice, source }
            }
            _ if matches!(status, Some(429 | 503)) => Error::Busy { operation, name, source },
            _ if status == Some(507) => Error::NoSpace { operation, name, source: io::Error::other(source) },
            _ if matches!(
                http(&error).map(HttpError::kind),
                Some(HttpErrorKind::Connect | HttpErrorKind::Timeout | HttpErrorKind::Interrupted)
            ) =>
            {
                Error::Unreachable { operation, name, advice: words.endpoint.to_owned(), source }
            }
            _ => Error::Io { operation, name, source: io::Error::other(source) },
        }
    }
}

/// What the service or the system said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Answer(String);

/// The last cause, in words: those before it say the same again, with the URL of the request.
fn answer(error: &StoreError) -> Box<dyn StdError + Send + Sync> {
    let mut last: &(dyn StdError + 'static) = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    let text = last.to_string();
    // RetryError's words for what Refusal says.
    let text = text.strip_prefix("Server returned non-2xx status code: ").unwrap_or(&text);
    Box::new(Answer(text.to_owned()))
}

impl Passing for Fault {
    fn is_passing(&self) -> bool {
        match self {
            Fault::Conflict(_) | Fault::Cut { .. } | Fault::Overlong { .. } => true,
            Fault::Store(error) => http(error).is_some_and(|error| error.kind() != HttpErrorKind::Decode),
            _ => false,
        }
    }
}

/// The first cause of this type.
fn cause<T: StdError + 'static>(error: &StoreError) -> Option<&T> {
    let mut current: &(dyn StdError + 'static) = error;
    loop {
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        current = current.source()?;
    }
}

fn http(error: &StoreError) -> Option<&HttpError> {
    cause(error)
}

fn refusal(error: &StoreError) -> Option<&Refusal> {
    cause(error)
}

/// Whether the service says that there is no such bucket (S3, Google) or container (Azure). Both come as status 404, as a
/// missing object does.
fn names_container(error: &StoreError) -> bool {
    let StoreError::NotFound { source, .. } = error else { return false };
    let text = source.to_string();
    ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| text.contains(code))
}
