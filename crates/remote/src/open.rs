//! The way from a place to a backend.

use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::{Backend, Folder};
use object_store::{BackoffConfig, ClientOptions, HeaderValue, RetryConfig};
use url::Url;

use crate::swift::{self, Swift};
use crate::{Container, Environment, Error, Place, Service, Settings, aws, azure, gcs};

/// Opens a place that is there.
///
/// A folder has to exist. Of a bucket or container that is not known yet: it is not asked for anything here, and the
/// first operation says what is wrong with it.
///
/// # Errors
///
/// [`Error::Backend`] where the folder can't be opened; the other [`Error`]s where the environment does not say how to
/// reach the service.
pub fn open(place: &Place, settings: &Settings) -> Result<Arc<dyn Backend>, Error> {
    open_in(&Environment::of_process(), place, settings)
}

/// The same with environment variables other than those of this process.
///
/// # Errors
///
/// Those of [`open`].
pub fn open_in(environment: &Environment, place: &Place, settings: &Settings) -> Result<Arc<dyn Backend>, Error> {
    match place {
        Place::Folder(path) => Ok(Arc::new(Folder::open(path)?)),
        Place::Container(container) => open_container(environment, container, settings),
    }
}

/// Opens a place for a new repository: a folder that is not there is made; a bucket or container has to be there, as its
/// owner decides where it is, who pays for it and what it keeps.
///
/// # Errors
///
/// Those of [`open`].
pub fn create(place: &Place, settings: &Settings) -> Result<Arc<dyn Backend>, Error> {
    match place {
        Place::Folder(path) => Ok(Arc::new(Folder::create(path)?)),
        Place::Container(container) => open_container(&Environment::of_process(), container, settings),
    }
}

pub(crate) fn open_container(
    environment: &Environment,
    container: &Container,
    settings: &Settings,
) -> Result<Arc<dyn Backend>, Error> {
    match container.service() {
        Service::S3 => Ok(Arc::new(aws::open(environment, container, settings)?)),
        Service::Gcs => Ok(Arc::new(gcs::open(environment, container, settings)?)),
        Service::Azure => Ok(Arc::new(azure::open(environment, container, settings)?)),
        Service::Swift => Ok(Arc::new(open_swift(environment, container, settings)?)),
    }
}

/// A container of the account that the environment names.
pub(crate) fn open_swift(
    environment: &Environment,
    container: &Container,
    settings: &Settings,
) -> Result<Swift, Error> {
    let failed = |source| Error::Swift { location: container.to_string(), source };
    let account = swift::Settings::from_variables(&|name| environment.get(name).map(str::to_owned)).map_err(failed)?;
    let swift = swift::Settings { http: settings.clone(), ..account };
    Swift::open(container.name(), container.prefix(), &swift).map_err(failed)
}

/// Refuses an endpoint that is none, in words without what it may hold of a password.
pub(crate) fn check_endpoint(variable: &str, endpoint: &str) -> Result<(), Error> {
    let wrong = |problem: &str| Error::Configuration { setting: variable.to_owned(), problem: problem.to_owned() };
    let url = Url::parse(endpoint).map_err(|_| wrong("is no URL: it should be like https://storage.example:9000"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("is no URL of a server: it should be like https://storage.example:9000"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not hold a user or a password: there are variables for them"));
    }
    Ok(())
}

/// How connections are made. Without TLS only where the endpoint says so.
///
/// No time-out of reads is among them: its clock begins when a request is sent, and an upload's progress does not set it
/// back. [`Connector`](crate::http::Connector) bounds what can stall.
pub(crate) fn client_options(settings: &Settings, endpoint: Option<&str>) -> ClientOptions {
    let is_plain = endpoint.is_some_and(|url| url.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://")));
    ClientOptions::new()
        .with_allow_http(is_plain)
        .with_user_agent(HeaderValue::from_static(concat!("cinderblock/", env!("CARGO_PKG_VERSION"))))
        .with_connect_timeout(settings.connect_timeout)
        .with_timeout(settings.request_timeout)
}

/// Each request is sent once.
pub(crate) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// How long `object_store` may repeat a request: it signs it once, and services take signatures of the last 15 minutes.
const LONGEST_SIGNED: Duration = Duration::from_secs(10 * 60);

/// What fails for a passing reason is sent again.
pub(crate) fn retries(settings: &Settings) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: settings.first_pause, max_backoff: Duration::from_secs(10), base: 2.0 },
        max_retries: settings.retries as usize,
        retry_timeout: settings.retry_for.min(LONGEST_SIGNED),
    }
}

/// Services that give credentials are near.
pub(crate) fn retries_of_credentials(settings: &Settings) -> RetryConfig {
    RetryConfig {
        max_retries: settings.retries.min(2) as usize,
        retry_timeout: Duration::from_secs(10),
        ..retries(settings)
    }
}
