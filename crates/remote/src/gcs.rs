//! `gs://`: Google Cloud Storage.

use std::sync::Arc;

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use crate::bucket::{Stores, Words};
use crate::http::{Connector, Integrity};
use crate::open::{check_endpoint, client_options, no_retries, retries};
use crate::retry::Contact;
use crate::{Bucket, Container, Environment, Error, Settings};

/// A bucket, with credentials as Google's own tools find them: `GOOGLE_APPLICATION_CREDENTIALS`, what `gcloud auth
/// application-default login` has left, or the metadata of the instance.
pub(crate) fn open(environment: &Environment, container: &Container, settings: &Settings) -> Result<Bucket, Error> {
    let failed = |source: object_store::Error| Error::Client {
        location: container.to_string(),
        variables: "GOOGLE_",
        source: source.into(),
    };
    let contact = Contact::default();
    let configured = configure(environment, container, (settings, &contact))?;
    let once = Arc::new(configured.clone().with_retry(no_retries()).build().map_err(failed)?);
    let patient = Arc::new(configured.with_retry(retries(settings)).build().map_err(failed)?);
    let stores = Stores { once: once.clone(), patient, pages: Some(once), omits_prefix: false, contact };
    Bucket::on(stores, container.prefix(), container.to_string(), Words::of(container.service()), settings)
}

fn configure(
    environment: &Environment,
    container: &Container,
    (settings, contact): (&Settings, &Contact),
) -> Result<GoogleCloudStorageBuilder, Error> {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (variable, value) in environment.with_prefix("GOOGLE_") {
        if let Ok(key) = variable.to_ascii_lowercase().parse::<GoogleConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = environment.get("GOOGLE_BASE_URL");
    if let Some(endpoint) = endpoint {
        check_endpoint("GOOGLE_BASE_URL", endpoint)?;
    }
    // Metadata of an instance are asked for by HTTP; the builder sees to that by itself.
    Ok(builder
        .with_bucket_name(container.name())
        .with_client_options(client_options(settings, endpoint))
        .with_http_connector(Connector::new(Integrity::SendMd5, settings, contact)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    #[test]
    fn the_environment_gives_credentials_and_endpoint() {
        let Ok(Place::Container(container)) = "gs://bucket".parse() else { panic!("gs:// is a container") };
        let variables = [("GOOGLE_APPLICATION_CREDENTIALS", "/k.json"), ("GOOGLE_BASE_URL", "http://127.0.0.1:1")];
        let builder =
            configure(&Environment::new(&variables), &container, (&Settings::default(), &Contact::default())).unwrap();
        let value = |key| builder.get_config_value(&key);
        assert_eq!(value(GoogleConfigKey::ApplicationCredentials).as_deref(), Some("/k.json"));
        assert_eq!(value(GoogleConfigKey::BaseUrl).as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(value(GoogleConfigKey::Bucket).as_deref(), Some("bucket"));
    }
}
