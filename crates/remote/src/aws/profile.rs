//! [`Profile`]: what `~/.aws/config` and `~/.aws/credentials` say.
//!
//! Their format: docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ini::{Ini, ParseOption};
use object_store::StaticCredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

use super::credentials::Process;
use crate::{Environment, Error};

/// The largest file of configuration that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What of a profile concerns us.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) region: Option<String>,
    pub(super) endpoint_url: Option<String>,
    pub(super) credentials: Option<AwsCredentialProvider>,
}

impl Profile {
    /// The profile that `AWS_PROFILE` names, or the default one, which may be missing. Credentials are looked at only if they
    /// are wanted.
    pub(super) fn read(environment: &Environment, wants_credentials: bool) -> Result<Profile, Error> {
        let file = |variable: &str, name: &str| match environment.get(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => environment.get("HOME").map(|home| Path::new(home).join(".aws").join(name)),
        };
        let config = file("AWS_CONFIG_FILE", "config").map(|path| read(&path)).transpose()?.flatten();
        let shared = file("AWS_SHARED_CREDENTIALS_FILE", "credentials").map(|path| read(&path)).transpose()?.flatten();

        let chosen = environment.get("AWS_PROFILE").or_else(|| environment.get("AWS_DEFAULT_PROFILE"));
        let name = chosen.unwrap_or("default");
        let in_config = config.as_ref().and_then(|ini| {
            let prefixed = ini.section(Some(format!("profile {name}")));
            prefixed.or_else(|| if name == "default" { ini.section(Some("default")) } else { None })
        });
        let in_shared = shared.as_ref().and_then(|ini| ini.section(Some(name)));
        if chosen.is_some() && in_config.is_none() && in_shared.is_none() {
            return Err(Error::Configuration {
                setting: format!("AWS_PROFILE={name}"),
                problem: "is neither in ~/.aws/config, as [profile NAME], nor in ~/.aws/credentials, as [NAME]"
                    .to_owned(),
            });
        }
        let of_config = |key: &str| in_config.and_then(|section| section.get(key)).map(str::to_owned);
        let both =
            |key: &str| in_shared.and_then(|section| section.get(key)).map(str::to_owned).or_else(|| of_config(key));

        let mut profile =
            Profile { region: of_config("region"), endpoint_url: of_config("endpoint_url"), credentials: None };
        if !wants_credentials {
            return Ok(profile);
        }
        match (both("aws_access_key_id"), both("aws_secret_access_key")) {
            (Some(key_id), Some(secret_key)) => {
                let credential = AwsCredential { key_id, secret_key, token: both("aws_session_token") };
                profile.credentials = Some(Arc::new(StaticCredentialProvider::new(credential)));
            }
            (None, None) => {
                profile.credentials = both("credential_process").map(|command| Arc::new(Process::new(command)) as _);
            }
            _ => {
                return Err(Error::Configuration {
                    setting: format!("the profile {name} of ~/.aws"),
                    problem: "has only one of aws_access_key_id and aws_secret_access_key: it needs both".to_owned(),
                });
            }
        }
        let other = ["sso_session", "sso_start_url", "role_arn"].into_iter().find(|key| of_config(key).is_some());
        match (other, &profile.credentials, chosen) {
            (Some(key), None, Some(_)) => Err(Error::Configuration {
                setting: format!("the profile {name} of ~/.aws"),
                problem: format!(
                    "gets its credentials by {key}, which cinderblock does not do itself: run it with 'aws configure \
                     export-credentials --format env', or set credential_process"
                ),
            }),
            _ => Ok(profile),
        }
    }
}

/// A file that may be missing.
fn read(path: &Path) -> Result<Option<Ini>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(facts) if facts.len() > MAX_FILE => {
            return Err(Error::Configuration {
                setting: path.display().to_string(),
                problem: "is larger than 1 MiB: that is no file of configuration".to_owned(),
            });
        }
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    // Secret keys may hold quotes and backslashes, which mean themselves. Lines that are indented belong to the key before.
    let options = ParseOption {
        enabled_quote: false,
        enabled_escape: false,
        enabled_indented_mutiline_value: true,
        ..ParseOption::default()
    };
    let parsed = Ini::load_from_str_opt(&text, options).map_err(|error| Error::Configuration {
        setting: format!("{}, line {},", path.display(), error.line),
        problem: "is no [section] and no key = value".to_owned(),
    });
    parsed.map(Some)
}
