//! `s3://`: Amazon S3, and whatever speaks its protocol.

mod credentials;
mod locking;
mod making;
mod profile;
mod retention;

use std::sync::Arc;

use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};

use self::credentials::Explained;
use self::locking::Locking;
pub(crate) use self::making::make_bucket;
use self::profile::Profile;
use crate::bucket::{Stores, Words};
use crate::http::{Connector, Integrity};
use crate::open::{check_endpoint, client_options, no_retries, retries, retries_of_credentials};
use crate::retry::Contact;
use crate::{Bucket, Container, Environment, Error, Settings};

/// A bucket, with endpoint and credentials from the environment and the files of AWS's own tools.
pub(crate) fn open(environment: &Environment, container: &Container, settings: &Settings) -> Result<Locking, Error> {
    let failed = |source| cannot_use(container, source);
    let contact = Contact::default();
    let configured =
        with_credentials(configure(environment, container, (settings, &contact))?, settings).map_err(failed)?;
    let allows_http = configured.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    let is_plain = allows_http.is_some_and(|value| value == "true");
    let once = Arc::new(configured.clone().with_retry(no_retries()).build().map_err(failed)?);
    let patient = Arc::new(configured.with_retry(retries(settings)).build().map_err(failed)?);
    let stores = Stores { once: once.clone(), patient, pages: Some(once.clone()), omits_prefix: false, contact };
    let words = Words::of(container.service());
    let bucket = Bucket::on(stores, container.prefix(), container.to_string(), words.clone(), settings)?;
    Locking::new(bucket, once, container.prefix(), words, (settings, is_plain)).map_err(|source| Error::Client {
        location: container.to_string(),
        variables: "AWS_",
        source: source.into(),
    })
}

fn cannot_use(container: &Container, source: object_store::Error) -> Error {
    Error::Client { location: container.to_string(), variables: "AWS_", source: source.into() }
}

/// Where credentials come from a service, it is asked a few times only: a host that has no such service, which is what forgotten
/// variables look like, would wait for minutes.
fn with_credentials(configured: AmazonS3Builder, settings: &Settings) -> object_store::Result<AmazonS3Builder> {
    let asking = configured.clone().with_retry(retries_of_credentials(settings)).build()?;
    let credentials = Arc::new(Explained(Arc::clone(asking.credentials())));
    Ok(configured.with_credentials(credentials))
}

/// What the environment and the files say, and on top of it what we rely on.
fn configure(
    environment: &Environment,
    container: &Container,
    (settings, contact): (&Settings, &Contact),
) -> Result<AmazonS3Builder, Error> {
    let mut builder = AmazonS3Builder::new();
    for (variable, value) in environment.with_prefix("AWS_") {
        if let Ok(key) = variable.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let set = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some();
    let has_keys = set(&builder, AmazonS3ConfigKey::AccessKeyId);
    if has_keys != set(&builder, AmazonS3ConfigKey::SecretAccessKey) {
        return Err(Error::Configuration {
            setting: "AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY".to_owned(),
            problem: "is set without the other: set both".to_owned(),
        });
    }
    let profile = Profile::read(environment, !has_keys)?;
    let is_region_set = set(&builder, AmazonS3ConfigKey::Region);
    if let Some(region) = profile.region.as_ref().filter(|_| !is_region_set) {
        builder = builder.with_region(region);
    }
    let is_endpoint_set = set(&builder, AmazonS3ConfigKey::Endpoint) || set(&builder, AmazonS3ConfigKey::S3Endpoint);
    if let Some(endpoint) = profile.endpoint_url.as_ref().filter(|_| !is_endpoint_set) {
        builder = builder.with_endpoint(endpoint);
    }
    if !has_keys {
        if let Some(provider) = profile.credentials {
            builder = builder.with_credentials(provider);
        } else if environment.is_true("AWS_EC2_METADATA_DISABLED") && !asks_a_service(&builder) {
            return Err(Error::Configuration {
                setting: "AWS_EC2_METADATA_DISABLED".to_owned(),
                problem: "is set, and nothing else gives credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
                    .to_owned(),
            });
        }
    }
    let endpoint = builder
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    if let Some(endpoint) = &endpoint {
        check_endpoint("AWS_ENDPOINT_URL", endpoint)?;
    }
    Ok(builder
        .with_bucket_name(container.name())
        .with_client_options(client_options(settings, endpoint.as_deref()))
        .with_http_connector(Connector::new(Integrity::Signed, settings, contact))
        // A name is never taken twice, whoever has set AWS_CONDITIONAL_PUT to what.
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_checksum_algorithm(Checksum::SHA256)
        // Single requests to delete, which every service has.
        .with_disable_bulk_delete(true))
}

/// Whether credentials come from a service that the environment names: of a container, or for a web identity.
fn asks_a_service(builder: &AmazonS3Builder) -> bool {
    let keys = [
        AmazonS3ConfigKey::WebIdentityTokenFile,
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ];
    keys.iter().any(|key| builder.get_config_value(key).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    fn container() -> Container {
        match "s3://bucket/prefix".parse() {
            Ok(Place::Container(container)) => container,
            other => panic!("{other:?}"),
        }
    }

    fn configured(variables: &[(&str, &str)]) -> Result<AmazonS3Builder, Error> {
        configure(&Environment::new(variables), &container(), (&Settings::default(), &Contact::default()))
    }

    fn value(builder: &AmazonS3Builder, key: AmazonS3ConfigKey) -> Option<String> {
        builder.get_config_value(&key)
    }

    #[test]
    fn the_environment_gives_keys_region_and_endpoint() {
        let builder = configured(&[
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL", "https://one.example"),
            ("AWS_ENDPOINT_URL_S3", "https://two.example"),
        ])
        .unwrap();
        assert_eq!(value(&builder, AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("key"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::SecretAccessKey).as_deref(), Some("secret"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Token).as_deref(), Some("token"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Region).as_deref(), Some("eu-central-1"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::S3Endpoint).as_deref(), Some("https://two.example"));
    }

    #[test]
    fn half_of_a_pair_of_keys_is_refused() {
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert!(matches!(configured(&[(variable, "x")]), Err(Error::Configuration { .. })), "{variable}");
        }
    }

    #[test]
    fn an_endpoint_is_a_url() {
        for endpoint in ["localhost:9000", "ftp://x", "https://", "https://user:hunter2@x"] {
            let keys = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_ENDPOINT_URL", endpoint)];
            let error = configured(&keys).unwrap_err();
            assert!(matches!(error, Error::Configuration { .. }), "{endpoint}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn profiles_give_what_the_environment_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (config, shared) = (folder.path().join("config"), folder.path().join("credentials"));
        let text =
            "[default]\nregion = us-west-2\n[profile far]\nregion=eu-west-1\nendpoint_url = http://far.example:9000\n";
        std::fs::write(&config, text).unwrap();
        let text = "[default]\naws_access_key_id=dk\naws_secret_access_key=ds\n[far]\naws_access_key_id = fk\naws_secret_access_key = f/+s\\n\n";
        std::fs::write(&shared, text).unwrap();
        let (config, shared) = (config.to_str().unwrap(), shared.to_str().unwrap());
        let files = [("AWS_CONFIG_FILE", config), ("AWS_SHARED_CREDENTIALS_FILE", shared)];
        let with = |more: &[(&str, &str)]| {
            let variables: Vec<_> = files.iter().chain(more).copied().collect();
            let profile = Profile::read(&Environment::new(&variables), true).unwrap();
            (configured(&variables).unwrap(), profile)
        };

        let (builder, profile) = with(&[("AWS_PROFILE", "far")]);
        assert_eq!(value(&builder, AmazonS3ConfigKey::Region).as_deref(), Some("eu-west-1"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Endpoint).as_deref(), Some("http://far.example:9000"));
        let runtime = crate::runtime::shared().unwrap();
        let credential = runtime.block_on(profile.credentials.unwrap().get_credential()).unwrap();
        assert_eq!((credential.key_id.as_str(), credential.secret_key.as_str()), ("fk", "f/+s\\n"));

        let (builder, _) = with(&[]);
        assert_eq!(value(&builder, AmazonS3ConfigKey::Region).as_deref(), Some("us-west-2"));
        let (builder, _) = with(&[("AWS_PROFILE", "far"), ("AWS_REGION", "ap-south-1")]);
        assert_eq!(value(&builder, AmazonS3ConfigKey::Region).as_deref(), Some("ap-south-1"));

        let missing: Vec<_> = files.iter().copied().chain([("AWS_PROFILE", "nobody")]).collect();
        let error = configured(&missing).unwrap_err();
        assert!(error.to_string().contains("nobody"), "{error}");
    }
}
