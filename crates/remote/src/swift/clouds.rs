//! clouds.yaml: [where it is looked for](https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html), and
//! what a cloud in it says. The same fields come from `OS_*` variables.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::settings::{Account, Credential, Domain, Identity, Keystone, Project, Settings, User, plain_interface};
use super::{Error, Secret};

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Fills what is not set here with what is set there.
macro_rules! merge {
    ($own:expr, $other:expr, $($field:ident),+) => {$(
        if $other.$field.is_some() {
            $own.$field = $other.$field;
        }
    )+};
}

#[derive(Default, Deserialize)]
struct Clouds {
    #[serde(default)]
    clouds: BTreeMap<String, Option<Cloud>>,
}

/// What a file, or the environment, says about one cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Cloud {
    #[serde(default)]
    auth: Option<Auth>,
    auth_type: Option<String>,
    region_name: Option<String>,
    #[serde(alias = "endpoint_type")]
    interface: Option<String>,
    object_store_endpoint_override: Option<String>,
    cacert: Option<String>,
    verify: Option<bool>,
    profile: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Auth {
    auth_url: Option<String>,
    username: Option<String>,
    user_id: Option<String>,
    user_domain_name: Option<String>,
    user_domain_id: Option<String>,
    password: Option<Secret>,
    #[serde(alias = "tenant_name")]
    project_name: Option<String>,
    #[serde(alias = "tenant_id")]
    project_id: Option<String>,
    project_domain_name: Option<String>,
    project_domain_id: Option<String>,
    default_domain: Option<String>,
    application_credential_id: Option<String>,
    application_credential_name: Option<String>,
    application_credential_secret: Option<Secret>,
    token: Option<Secret>,
}

/// The cloud of that name, from the first clouds.yaml there is, with what the first secure.yaml adds to it.
pub(super) fn load(cloud: &str, get: &dyn Fn(&str) -> Option<String>) -> Result<Cloud, Error> {
    let public = candidates("clouds", get("OS_CLIENT_CONFIG_FILE"), get);
    let secure = candidates("secure", get("OS_CLIENT_SECURE_FILE"), get);
    let Some(mut found) = first(&public)?.and_then(|mut file| file.clouds.remove(cloud)) else {
        let searched: Vec<String> = public.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::NoCloud { cloud: cloud.to_owned(), searched: searched.join(", ") });
    };
    let added = first(&secure)?.and_then(|mut file| file.clouds.remove(cloud)).flatten();
    let found = found.get_or_insert_default();
    found.merge(added.unwrap_or_default());
    Ok(found.clone())
}

/// The files to look for, in this order.
fn candidates(stem: &str, given: Option<String>, get: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let user =
        get("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| get("HOME").map(|home| Path::new(&home).join(".config")));
    let folders = [Some(PathBuf::from(".")), user.map(|user| user.join("openstack")), Some("/etc/openstack".into())];
    let found = folders.into_iter().flatten();
    let files = found.flat_map(|folder| ["yaml", "yml"].map(|kind| folder.join(format!("{stem}.{kind}"))));
    given.map(PathBuf::from).into_iter().chain(files).collect()
}

fn first(candidates: &[PathBuf]) -> Result<Option<Clouds>, Error> {
    for path in candidates {
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text)) {
            Ok(read) if read as u64 > MAX_FILE => {
                return Err(Error::File { path: path.clone(), source: io::ErrorKind::FileTooLarge.into() });
            }
            Ok(_) => return parse(path, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::File { path: path.clone(), source }),
        }
    }
    Ok(None)
}

fn parse(path: &Path, text: &str) -> Result<Clouds, Error> {
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
        Error::Clouds { path: path.to_owned(), line, column }
    })
}

impl Cloud {
    fn merge(&mut self, other: Cloud) {
        if let Some(auth) = other.auth {
            self.auth.get_or_insert_default().merge(auth);
        }
        merge!(self, other, auth_type, region_name, interface, object_store_endpoint_override, cacert, verify, profile);
    }

    /// What the `OS_*` variables say.
    pub(super) fn from_variables(get: &dyn Fn(&str) -> Option<String>) -> Cloud {
        let auth = Auth {
            auth_url: get("OS_AUTH_URL"),
            username: get("OS_USERNAME"),
            user_id: get("OS_USER_ID"),
            user_domain_name: get("OS_USER_DOMAIN_NAME"),
            user_domain_id: get("OS_USER_DOMAIN_ID"),
            password: get("OS_PASSWORD").map(Secret::new),
            project_name: get("OS_PROJECT_NAME").or_else(|| get("OS_TENANT_NAME")),
            project_id: get("OS_PROJECT_ID").or_else(|| get("OS_TENANT_ID")),
            project_domain_name: get("OS_PROJECT_DOMAIN_NAME"),
            project_domain_id: get("OS_PROJECT_DOMAIN_ID"),
            default_domain: get("OS_DEFAULT_DOMAIN"),
            application_credential_id: get("OS_APPLICATION_CREDENTIAL_ID"),
            application_credential_name: get("OS_APPLICATION_CREDENTIAL_NAME"),
            application_credential_secret: get("OS_APPLICATION_CREDENTIAL_SECRET").map(Secret::new),
            token: get("OS_TOKEN").or_else(|| get("OS_AUTH_TOKEN")).map(Secret::new),
        };
        Cloud { auth: Some(auth), auth_type: get("OS_AUTH_TYPE"), ..Cloud::default() }
    }

    /// The settings that come of it. `setting` names a field of `auth` as the user knows it.
    pub(super) fn settings(self, setting: &dyn Fn(&str) -> String) -> Result<Settings, Error> {
        if let Some(profile) = self.profile {
            let problem =
                format!("profiles of vendors ({profile}) are not known here: write its auth_url into the file");
            return Err(Error::Invalid { setting: setting("profile"), problem });
        }
        let auth = self.auth.unwrap_or_default();
        let keystone = auth.keystone(self.auth_type.as_deref(), setting)?;
        let mut settings = Settings::new(Account::Keystone(Box::new(keystone)));
        settings.region = self.region_name;
        if let Some(interface) = self.interface {
            settings.interface = plain_interface(&setting("interface"), &interface)?;
        }
        settings.storage_url = self.object_store_endpoint_override;
        settings.ca_file = self.cacert.map(PathBuf::from);
        settings.verify = self.verify.unwrap_or(true);
        Ok(settings)
    }
}

impl Auth {
    fn merge(&mut self, other: Auth) {
        merge!(self, other, auth_url, username, user_id, user_domain_name, user_domain_id, password, project_name);
        merge!(self, other, project_id, project_domain_name, project_domain_id, default_domain, token);
        merge!(self, other, application_credential_id, application_credential_name, application_credential_secret);
    }

    fn keystone(self, kind: Option<&str>, setting: &dyn Fn(&str) -> String) -> Result<Keystone, Error> {
        let missing = |field: &str, advice| Error::Missing { variable: setting(field), advice };
        let url = self.auth_url.ok_or_else(|| missing("auth_url", "it is Keystone's URL"))?;
        let default = self.default_domain.map_or_else(Domain::default, Domain::Id);
        let domain = |id: Option<String>, name: Option<String>| {
            id.map(Domain::Id).or_else(|| name.map(Domain::Name)).unwrap_or_else(|| default.clone())
        };
        let user_domain = domain(self.user_domain_id, self.user_domain_name);
        let user = self.user_id.map(User::Id).or_else(|| self.username.map(|name| User::Name(name, user_domain)));
        let need_user = || missing("username", "Keystone needs a user and a password, or an application credential");

        let credential = match (self.application_credential_id, self.application_credential_name) {
            (Some(id), _) => Some(Credential::Id(id)),
            (None, Some(name)) => Some(Credential::Name(name, user.clone().ok_or_else(need_user)?)),
            (None, None) => None,
        };
        let identity = match (kind, credential) {
            (Some("v3applicationcredential"), None) => {
                return Err(missing("application_credential_id", "v3applicationcredential needs it"));
            }
            (None | Some("v3applicationcredential"), Some(credential)) => {
                let advice = "an application credential needs it";
                let secret = self.application_credential_secret;
                let secret = secret.ok_or_else(|| missing("application_credential_secret", advice))?;
                Identity::ApplicationCredential { credential, secret }
            }
            (Some("token" | "v3token"), _) => {
                Identity::Token(self.token.ok_or_else(|| missing("token", "v3token needs it"))?)
            }
            (None | Some("password" | "v3password"), _) => match (user, self.password, self.token) {
                (None, None, Some(token)) => Identity::Token(token),
                (None, ..) => return Err(need_user()),
                (Some(_), None, _) => return Err(missing("password", "it is the user's password")),
                (Some(user), Some(password), _) => Identity::Password { user, password },
            },
            (Some(other), _) => {
                let problem = format!("{other:?} is not supported: use password, v3applicationcredential or v3token");
                return Err(Error::Invalid { setting: setting("auth_type"), problem });
            }
        };
        let project_domain = domain(self.project_domain_id, self.project_domain_name);
        let named = self.project_name.map(|name| Project::Name(name, project_domain));
        let project = self.project_id.map(Project::Id).or(named);
        match (&identity, &project) {
            (Identity::ApplicationCredential { .. }, _) => Ok(Keystone { url, identity, project: None }),
            (_, None) => Err(missing("project_name", "the storage is a project's")),
            (_, Some(_)) => Ok(Keystone { url, identity, project }),
        }
    }
}

#[cfg(test)]
mod tests;
