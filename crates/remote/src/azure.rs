//! `az://`: Azure Blob Storage.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use crate::bucket::{Stores, Words};
use crate::http::{Connector, Integrity};
use crate::open::{check_endpoint, client_options, no_retries, retries};
use crate::retry::Contact;
use crate::{Bucket, Container, Environment, Error, Settings};

/// A container, with account and credentials from `AZURE_STORAGE_...`, a connection string among them, or the identity of the
/// machine.
pub(crate) fn open(environment: &Environment, container: &Container, settings: &Settings) -> Result<Bucket, Error> {
    let failed = |source: object_store::Error| Error::Client {
        location: container.to_string(),
        variables: "AZURE_",
        source: source.into(),
    };
    let contact = Contact::default();
    let configured = configure(environment, container, (settings, &contact))?;
    let once = Arc::new(configured.clone().with_retry(no_retries()).build().map_err(failed)?);
    let patient = Arc::new(configured.with_retry(retries(settings)).build().map_err(failed)?);
    let stores = Stores { once: once.clone(), patient, pages: Some(once), omits_prefix: true, contact };
    Bucket::on(stores, container.prefix(), container.to_string(), Words::of(container.service()), settings)
}

fn configure(
    environment: &Environment,
    container: &Container,
    (settings, contact): (&Settings, &Contact),
) -> Result<MicrosoftAzureBuilder, Error> {
    let mut builder = MicrosoftAzureBuilder::new();
    if let Some(text) = environment.get("AZURE_STORAGE_CONNECTION_STRING") {
        for (key, value) in connection_string(text)? {
            builder = builder.with_config(key, value);
        }
    }
    // The tools of Azure's own have this name for the account.
    if let Some(account) = environment.get("AZURE_STORAGE_ACCOUNT") {
        builder = builder.with_account(account);
    }
    if let Some(key) = environment.get("AZURE_STORAGE_KEY") {
        builder = builder.with_access_key(key);
    }
    for (variable, value) in environment.with_prefix("AZURE_") {
        if let Ok(key) = variable.to_ascii_lowercase().parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    if let Some(endpoint) = &endpoint {
        check_endpoint("AZURE_STORAGE_ENDPOINT", endpoint)?;
    }
    if builder.get_config_value(&AzureConfigKey::AccountName).is_none() {
        return Err(Error::Configuration {
            setting: "AZURE_STORAGE_ACCOUNT_NAME".to_owned(),
            problem: "is not set, nor is AZURE_STORAGE_CONNECTION_STRING: one of them names the account".to_owned(),
        });
    }
    Ok(builder
        .with_container_name(container.name())
        .with_client_options(client_options(settings, endpoint.as_deref()))
        .with_http_connector(Connector::new(Integrity::CompareMd5, settings, contact)))
}

/// The settings in a connection string.
///
/// learn.microsoft.com/azure/storage/common/storage-configure-connection-string
fn connection_string(text: &str) -> Result<Vec<(AzureConfigKey, String)>, Error> {
    // The text holds a key: no message has any of it.
    let wrong = |problem: &str| Error::Configuration {
        setting: "AZURE_STORAGE_CONNECTION_STRING".to_owned(),
        problem: problem.to_owned(),
    };
    let mut settings = Vec::new();
    let (mut protocol, mut suffix, mut account, mut has_endpoint) = ("https", "core.windows.net", None, false);
    for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| wrong("has a part without '=': it is made of KEY=VALUE;"))?;
        match key.trim() {
            "AccountName" => {
                account = Some(value);
                settings.push((AzureConfigKey::AccountName, value.to_owned()));
            }
            "AccountKey" => settings.push((AzureConfigKey::AccessKey, value.to_owned())),
            "SharedAccessSignature" => settings.push((AzureConfigKey::SasKey, value.to_owned())),
            "BlobEndpoint" => {
                has_endpoint = true;
                settings.push((AzureConfigKey::Endpoint, value.trim_end_matches('/').to_owned()));
            }
            "DefaultEndpointsProtocol" => protocol = value,
            "EndpointSuffix" => suffix = value,
            "UseDevelopmentStorage" => {
                return Err(wrong("asks for development storage: give its account, key and BlobEndpoint"));
            }
            // Of services that we don't use.
            _ => {}
        }
    }
    match account {
        Some(account) if !has_endpoint => {
            settings.push((AzureConfigKey::Endpoint, format!("{protocol}://{account}.blob.{suffix}")));
        }
        Some(_) => {}
        None => return Err(wrong("has no AccountName")),
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    fn configured(variables: &[(&str, &str)]) -> Result<MicrosoftAzureBuilder, Error> {
        let Ok(Place::Container(container)) = "az://container".parse() else { panic!("az:// is a container") };
        configure(&Environment::new(variables), &container, (&Settings::default(), &Contact::default()))
    }

    #[test]
    fn a_connection_string_gives_account_key_and_endpoint() {
        let text = "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5PQ==;EndpointSuffix=core.example";
        let builder = configured(&[("AZURE_STORAGE_CONNECTION_STRING", text)]).unwrap();
        let value = |key| builder.get_config_value(&key);
        assert_eq!(value(AzureConfigKey::AccountName).as_deref(), Some("acc"));
        assert_eq!(value(AzureConfigKey::AccessKey).as_deref(), Some("a2V5PQ=="));
        assert_eq!(value(AzureConfigKey::Endpoint).as_deref(), Some("https://acc.blob.core.example"));
    }

    #[test]
    fn other_variables_win_over_a_connection_string() {
        let text = "AccountName=acc;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/acc/";
        let builder =
            configured(&[("AZURE_STORAGE_CONNECTION_STRING", text), ("AZURE_STORAGE_ACCOUNT_KEY", "b3RoZXI=")]);
        let builder = builder.unwrap();
        assert_eq!(builder.get_config_value(&AzureConfigKey::AccessKey).as_deref(), Some("b3RoZXI="));
        assert_eq!(builder.get_config_value(&AzureConfigKey::Endpoint).as_deref(), Some("http://127.0.0.1:1/acc"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_key() {
        for text in ["AccountKey=c2VjcmV0", "c2VjcmV0", "UseDevelopmentStorage=true;AccountKey=c2VjcmV0"] {
            let error = configured(&[("AZURE_STORAGE_CONNECTION_STRING", text)]).unwrap_err().to_string();
            assert!(error.starts_with("AZURE_STORAGE_CONNECTION_STRING") && !error.contains("c2VjcmV0"), "{error}");
        }
        assert!(configured(&[]).unwrap_err().to_string().contains("AZURE_STORAGE_ACCOUNT_NAME"));
    }
}
