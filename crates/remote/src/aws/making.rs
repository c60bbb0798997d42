//! Making a bucket, which `object_store` leaves to others.

use std::time::Duration;

use cinderblock_backend::Error as BackendError;
use object_store::aws::{AmazonS3, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::signer::Signer as _;
use reqwest::Method;

use super::{cannot_use, configure, with_credentials};
use crate::http::{self, Refusal};
use crate::open::no_retries;
use crate::retry::{Contact, Passing, Tries};
use crate::{Container, Environment, Error, Settings, runtime};

/// How long the request that is signed may be sent.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);

/// The most bytes of an answer that are looked at.
const MAX_ANSWER: usize = 4096;

/// The region whose buckets are made without naming it.
const FIRST_REGION: &str = "us-east-1";

/// Why a bucket was not made.
#[derive(Debug, thiserror::Error)]
enum Unmade {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Connection(#[from] reqwest::Error),
    #[error(transparent)]
    Unsigned(#[from] object_store::Error),
}

impl Passing for Unmade {
    fn is_passing(&self) -> bool {
        match self {
            // 409 with this code: the bucket was deleted a moment ago, or is being made.
            Unmade::Refused(refusal) => refusal.is_passing() || refusal.text.starts_with("OperationAborted"),
            Unmade::Connection(error) => !error.is_builder(),
            Unmade::Unsigned(_) => false,
        }
    }
}

/// Makes a bucket (`CreateBucket`), as Cinder's driver does. On AWS itself it is in the region that the environment names.
///
/// # Errors
///
/// What the service says. That the bucket is one's own already is no error.
pub(crate) fn make_bucket(
    environment: &Environment,
    container: &Container,
    settings: &Settings,
) -> Result<(), BackendError> {
    let location = container.to_string();
    let unusable = |error: Error| BackendError::from_io("make", location.clone(), std::io::Error::other(error));
    let contact = Contact::default();
    let configured = configure(environment, container, (settings, &contact)).map_err(unusable)?;
    let value = |key| configured.get_config_value(&key);
    let is_elsewhere = value(AmazonS3ConfigKey::Endpoint).or_else(|| value(AmazonS3ConfigKey::S3Endpoint)).is_some();
    // Other services have names of their own for where a bucket may be.
    let region = value(AmazonS3ConfigKey::Region).filter(|region| !is_elsewhere && region != FIRST_REGION);
    let signer = with_credentials(configured, settings)
        .and_then(|builder| builder.with_retry(no_retries()).build())
        .map_err(|error| unusable(cannot_use(container, error)))?;
    let runtime = runtime::shared().map_err(|source| unusable(Error::Runtime { source }))?;
    let made = runtime::wait(runtime, make(&signer, region, (settings, &contact)));
    made.map_err(|error| explained(error, container))
}

async fn make(
    signer: &AmazonS3,
    region: Option<String>,
    (settings, contact): (&Settings, &Contact),
) -> Result<(), Unmade> {
    let client = http::client(settings).timeout(settings.read_timeout).build()?;
    let body = region.map_or_else(String::new, |region| {
        format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}\
             </LocationConstraint></CreateBucketConfiguration>"
        )
    });
    let mut tries = Tries::begin(settings, contact);
    loop {
        match once(&client, signer, body.clone(), contact).await {
            Ok(()) => return Ok(()),
            Err(error) => tries.again(error).await?,
        }
    }
}

async fn once(client: &reqwest::Client, signer: &AmazonS3, body: String, contact: &Contact) -> Result<(), Unmade> {
    let url = signer.signed_url(Method::PUT, &Path::default(), SIGNED_FOR).await?;
    let request = client.put(url).header(reqwest::header::CONTENT_LENGTH, body.len()).body(body);
    // The URL has a signature in it.
    let mut answer = request.send().await.map_err(reqwest::Error::without_url)?;
    contact.made();
    if answer.status().is_success() {
        return Ok(());
    }
    let (status, mut text) = (answer.status().as_u16(), Vec::new());
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.extend_from_slice(&chunk);
        if text.len() >= MAX_ANSWER {
            text.truncate(MAX_ANSWER);
            break;
        }
    }
    let refusal = Refusal::new(status, &text);
    match refusal.text.starts_with("BucketAlreadyOwnedByYou") {
        true => Ok(()),
        false => Err(refusal.into()),
    }
}

fn explained(error: Unmade, container: &Container) -> BackendError {
    let (operation, name) = ("make", container.to_string());
    let advice = |text: &str| text.to_owned();
    match &error {
        Unmade::Refused(refusal) if refusal.status == 403 => {
            let advice = advice("make it first, or use credentials of somebody who may (s3:CreateBucket)");
            BackendError::AccessDenied { operation, name, advice, source: error.into() }
        }
        Unmade::Refused(refusal) if refusal.text.starts_with("BucketAlreadyExists") => {
            let advice = advice("it is somebody else's: use another name");
            BackendError::AccessDenied { operation, name, advice, source: error.into() }
        }
        Unmade::Connection(_) => {
            let advice = advice("check AWS_ENDPOINT_URL and the network");
            BackendError::Unreachable { operation, name, advice, source: error.into() }
        }
        _ => BackendError::from_io(operation, name, std::io::Error::other(error)),
    }
}
