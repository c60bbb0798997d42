//! The way from a place to a backend.

use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::{Backend, Folder};
use object_store::{BackoffConfig, ClientOptions, HeaderValue, RetryConfig};
use url::Url;

use crate::swift::{self, Swift};
use crate::{Container, Environment, Error, Place, Service, Settings, aws, azure, gcs};

/// The variable that says for how long a folder's listing may not show a change; without it, the kinds of file systems say it.
const FOLDER_SETTLE_VARIABLE: &str = "CINDERBLOCK_FOLDER_SETTLE";

/// Opens a place that is there.
///
/// A folder has to exist; `CINDERBLOCK_FOLDER_SETTLE` (`90s`, `10m`), where it is set, makes its settle delay longer than the kinds of file systems say. Of a bucket or container that is not known yet: it is not asked for anything here, and the
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
        Place::Folder(path) => Ok(Arc::new(settling(environment, Folder::open(path)?)?)),
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
    let environment = Environment::of_process();
    match place {
        Place::Folder(path) => Ok(Arc::new(settling(&environment, Folder::create(path)?)?)),
        Place::Container(container) => open_container(&environment, container, settings),
    }
}

/// A folder with the settle delay that the environment asks for.
fn settling(environment: &Environment, folder: Folder) -> Result<Folder, Error> {
    let Some(text) = environment.get(FOLDER_SETTLE_VARIABLE) else { return Ok(folder) };
    let delay = swift::duration(text).ok_or_else(|| Error::Configuration {
        setting: FOLDER_SETTLE_VARIABLE.to_owned(),
        problem: format!("is {text:?}, which is no time: write 0s, 90s or 10m"),
    })?;
    // What is known of the file system holds all the same: without any wait, collectors would rely on what they don't see yet.
    let least = cinderblock_backend::Backend::settle_delay(&folder);
    Ok(folder.with_settle_delay(delay.max(least)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_how_long_a_folder_takes_to_settle() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_owned());
        let open = |text: &str| {
            let environment = Environment::new(&[(FOLDER_SETTLE_VARIABLE, text)]);
            open_in(&environment, &place, &Settings::default())
        };
        assert_eq!(open("90s").unwrap().settle_delay(), Duration::from_secs(90));
        assert_eq!(open("10m").unwrap().settle_delay(), Duration::from_secs(600));
        assert_eq!(open("0s").unwrap().settle_delay(), Duration::ZERO);
        for wrong in ["90", "s", "-1s", "1 m"] {
            let error = open(wrong).unwrap_err();
            assert!(error.to_string().starts_with(FOLDER_SETTLE_VARIABLE), "{error}");
        }
    }
}
