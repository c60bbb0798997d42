//! [`Settings`]: whose account it is, where it is, and how it is used.

use std::path::PathBuf;
use std::time::Duration;

use super::{Error, Secret, clouds};

/// How long a listing may lag, where the environment does not say otherwise.
///
/// A PUT or DELETE waits up to a second for its container servers to note it (`container_update_timeout`). A listing is
/// then read from any of their replicas, of which one may have missed that: container replicators go round every
/// 30 s (`interval`). What all replicas missed waits for the object updaters, which go round every 5 minutes. It is these that
/// count, with a minute for their round: what a collector doesn't see, it may delete.
const SETTLE_DELAY: Duration = Duration::from_secs(6 * 60);

/// The variable that says how long a listing may lag.
const SETTLE_VARIABLE: &str = "CINDERBLOCK_SWIFT_SETTLE";

/// How many bytes of a stream are held, where nobody says otherwise.
pub(crate) const WRITE_BUFFER: usize = 64 * 1024 * 1024;

/// How one proves who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Account {
    /// The first version of Swift's protocol, which its tempauth and Ceph's gateway speak.
    V1 {
        /// Where to ask for a token.
        url: String,
        /// Account and user, as in `test:tester`.
        user: String,
        /// The user's key.
        key: Secret,
    },
    /// Keystone, version 3.
    Keystone(Box<Keystone>),
    /// A token that somebody else has got. It is not renewed.
    Token {
        /// The token.
        token: Secret,
        /// The account's URL.
        storage_url: String,
    },
}

/// What Keystone wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keystone {
    /// Its URL, with or without `/v3`.
    pub url: String,
    /// Who asks.
    pub identity: Identity,
    /// The project; none for application credentials, which belong to one.
    pub project: Option<Project>,
}

/// Who asks Keystone for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// A user and a password.
    Password {
        /// The user.
        user: User,
        /// The password.
        password: Secret,
    },
    /// An application credential and its secret.
    ApplicationCredential {
        /// Its id, or its name with the user whose it is.
        credential: Credential,
        /// Its secret.
        secret: Secret,
    },
    /// A token, in exchange for which a new one is given.
    Token(Secret),
}

/// An application credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// By its id.
    Id(String),
    /// By its name among those of a user.
    Name(String, User),
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By id.
    Id(String),
    /// By name in a domain.
    Name(String, Domain),
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Project {
    /// By id.
    Id(String),
    /// By name in a domain.
    Name(String, Domain),
}

/// A domain, in which names of users and projects are unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

impl Default for Domain {
    /// The domain that every Keystone has.
    fn default() -> Domain {
        Domain::Id("default".to_owned())
    }
}

/// An account on a Swift, and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who one is.
    pub account: Account,
    /// The account's URL, instead of the one that comes with a token.
    pub storage_url: Option<String>,
    /// The region whose object storage it is; without one, the first in the catalogue.
    pub region: Option<String>,
    /// The kind of endpoint: `public`, `internal` or `admin`.
    pub interface: String,
    /// A file of certificates (PEM) to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether the server's certificate is checked. It is, unless a clouds.yaml says `verify: false`.
    pub verify: bool,
    /// How long a listing may not show a change: see [`Backend::settle_delay`](cinderblock_backend::Backend::settle_delay).
    pub settle_delay: Duration,
    /// How many bytes of an object that comes as a stream are held, so that they can be sent again. A longer one is sent as
    /// it comes, and only once: it fails where the connection does. 64 MiB if not said otherwise.
    pub write_buffer: usize,
    /// How many objects one page of a listing shows, 1 to 10,000; 1,000 if not said otherwise. Some clouds refuse more.
    pub page: usize,
    /// The requests.
    pub http: crate::Settings,
}

impl Settings {
    /// An account, used as is usual.
    pub fn new(account: Account) -> Settings {
        Settings {
            account,
            storage_url: None,
            region: None,
            interface: "public".to_owned(),
            ca_file: None,
            verify: true,
            settle_delay: SETTLE_DELAY,
            write_buffer: WRITE_BUFFER,
            page: 1000,
            http: crate::Settings::default(),
        }
    }

    /// What the environment says, as python-swiftclient and openstacksdk read it. The first of these that is set decides:
    /// `OS_STORAGE_URL` with `OS_TOKEN` or `OS_AUTH_TOKEN`; `OS_CLOUD`, a cloud of a clouds.yaml; `ST_AUTH`; `OS_AUTH_URL`.
    ///
    /// # Errors
    ///
    /// [`Error`] says which variable is missing or wrong, or which file.
    pub fn from_env() -> Result<Settings, Error> {
        Settings::from_variables(&|name| std::env::var(name).ok())
    }

    /// As [`from_env`](Settings::from_env), with variables from elsewhere. Empty ones count as not set.
    ///
    /// # Errors
    ///
    /// Those of [`from_env`](Settings::from_env).
    pub fn from_variables(variables: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Error> {
        let get = |name: &str| variables(name).filter(|value| !value.is_empty());
        let any = |names: &[&str]| names.iter().find_map(|name| get(name));

        let token = any(&["OS_TOKEN", "OS_AUTH_TOKEN"]).map(Secret::new);
        let mut settings = if let (Some(token), Some(storage_url)) = (token, get("OS_STORAGE_URL")) {
            Settings::new(Account::Token { token, storage_url })
        } else if let Some(cloud) = get("OS_CLOUD") {
            clouds::load(&cloud, &get)?.settings(&|field| format!("{field} of {cloud} in clouds.yaml"))?
        } else if let Some(url) = get("ST_AUTH") {
            let need = |name: &str| {
                get(name)
                    .ok_or(Error::Missing { variable: name.to_owned(), advice: "ST_AUTH needs ST_USER and ST_KEY" })
            };
            Settings::new(Account::V1 { url, user: need("ST_USER")?, key: Secret::new(need("ST_KEY")?) })
        } else if get("OS_AUTH_URL").is_some() {
            clouds::Cloud::from_variables(&get).settings(&variable_of)?
        } else {
            let advice = "set OS_CLOUD, or OS_AUTH_URL and what belongs to it, or ST_AUTH, ST_USER and ST_KEY";
            return Err(Error::Missing { variable: "OS_AUTH_URL".to_owned(), advice });
        };
        if let Some(region) = get("OS_REGION_NAME") {
            settings.region = Some(region);
        }
        if let Some(interface) = any(&["OS_INTERFACE", "OS_ENDPOINT_TYPE"]) {
            settings.interface = plain_interface("OS_INTERFACE", &interface)?;
        }
        if let Some(url) = get("OS_STORAGE_URL") {
            settings.storage_url = Some(url);
        }
        if let Some(path) = get("OS_CACERT") {
            settings.ca_file = Some(path.into());
        }
        if let Some(text) = get(SETTLE_VARIABLE) {
            settings.settle_delay = duration(&text).ok_or_else(|| Error::Invalid {
                setting: SETTLE_VARIABLE.to_owned(),
                problem: format!("{text:?} is no time: write 0s, 90s or 6m"),
            })?;
        }
        Ok(settings)
    }
}

/// The variable of a field in a cloud's `auth`.
fn variable_of(field: &str) -> String {
    format!("OS_{}", field.to_ascii_uppercase())
}

/// `publicURL`, as older tools have it, is `public`.
pub(super) fn plain_interface(setting: &str, text: &str) -> Result<String, Error> {
    let plain = text.strip_suffix("URL").unwrap_or(text);
    if matches!(plain, "public" | "internal" | "admin") {
        return Ok(plain.to_owned());
    }
    let problem = format!("{text:?} is neither public nor internal nor admin");
    Err(Error::Invalid { setting: setting.to_owned(), problem })
}

/// A number with `ms`, `s`, `m` or `h`, up to a day.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let whole = number.parse::<u64>().ok()?.checked_mul(milliseconds)?;
    (whole <= 24 * 3_600_000).then(|| Duration::from_millis(whole))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        let map: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Settings::from_variables(&|name| map.get(name).map(|value| (*value).to_owned()))
    }

    fn missing(variables: &[(&str, &str)]) -> String {
        match from(variables) {
            Err(Error::Missing { variable, .. }) => variable,
            other => panic!("{variables:?} gave {other:?}"),
        }
    }

    const V1: [(&str, &str); 3] =
        [("ST_AUTH", "http://a/auth/v1.0"), ("ST_USER", "test:tester"), ("ST_KEY", "hunter2")];
    const V3: [(&str, &str); 4] =
        [("OS_AUTH_URL", "http://k"), ("OS_USERNAME", "u"), ("OS_PASSWORD", "hunter2"), ("OS_PROJECT_NAME", "p")];

    #[test]
    fn the_missing_variable_is_named() {
        assert_eq!(missing(&[]), "OS_AUTH_URL");
        assert_eq!(missing(&[V1[0], V1[2]]), "ST_USER");
        assert_eq!(missing(&[V1[0], V1[1], ("ST_KEY", "")]), "ST_KEY");
        assert_eq!(missing(&[V3[0], V3[2], V3[3]]), "OS_USERNAME");
        assert_eq!(missing(&[V3[0], V3[1], V3[3]]), "OS_PASSWORD");
        assert_eq!(missing(&V3[..3]), "OS_PROJECT_NAME");
        assert_eq!(missing(&[V3[0], ("OS_APPLICATION_CREDENTIAL_ID", "i")]), "OS_APPLICATION_CREDENTIAL_SECRET");
    }

    #[test]
    fn no_secret_is_shown() {
        for variables in [&V1[..], &V3[..], &[("OS_TOKEN", "hunter2"), ("OS_STORAGE_URL", "http://s")][..]] {
            let shown = format!("{:?}", from(variables).unwrap());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn each_way_to_an_account_is_taken() {
        assert!(matches!(from(&V1).unwrap().account, Account::V1 { user, .. } if user == "test:tester"));
        let Account::Keystone(keystone) = from(&V3).unwrap().account else { panic!("no Keystone") };
        assert_eq!(keystone.project, Some(Project::Name("p".into(), Domain::default())));

        let domains = [("OS_USER_DOMAIN_NAME", "ud"), ("OS_PROJECT_DOMAIN_ID", "pd")];
        let Account::Keystone(keystone) = from(&[&V3[..], &domains[..]].concat()).unwrap().account else {
            panic!("no Keystone")
        };
        assert_eq!(keystone.project, Some(Project::Name("p".into(), Domain::Id("pd".into()))));
        let user = User::Name("u".into(), Domain::Name("ud".into()));
        assert_eq!(keystone.identity, Identity::Password { user, password: Secret::new("hunter2") });

        let credential =
            [V3[0], ("OS_APPLICATION_CREDENTIAL_ID", "i"), ("OS_APPLICATION_CREDENTIAL_SECRET", "hunter2")];
        let Account::Keystone(keystone) = from(&credential).unwrap().account else { panic!("no Keystone") };
        assert_eq!(keystone.project, None);
        assert!(
            matches!(keystone.identity, Identity::ApplicationCredential { credential: Credential::Id(id), .. } if id == "i")
        );

        let token = from(&[V1[0], ("OS_AUTH_TOKEN", "t"), ("OS_STORAGE_URL", "http://s")]).unwrap();
        assert!(matches!(token.account, Account::Token { .. }));
    }

    #[test]
    fn region_interface_and_settle_delay_are_read() {
        let more = [("OS_REGION_NAME", "north"), ("OS_ENDPOINT_TYPE", "internalURL"), (SETTLE_VARIABLE, "90s")];
        let settings = from(&[&V3[..], &more[..]].concat()).unwrap();
        assert_eq!((settings.region.as_deref(), settings.interface.as_str()), (Some("north"), "internal"));
        assert_eq!(settings.settle_delay, Duration::from_secs(90));
        assert_eq!(from(&V1).unwrap().settle_delay, SETTLE_DELAY);
        for bad in ["", "s", "1", "1d", "-1s", "1.5s", "25h", "99999999999999999999s", "ä"] {
            let result = from(&[&V1[..], &[(SETTLE_VARIABLE, bad)]].concat());
            assert_eq!(result.is_ok(), bad.is_empty(), "{bad:?}");
        }
        assert!(matches!(from(&[V1[0], V1[1], V1[2], ("OS_INTERFACE", "x")]), Err(Error::Invalid { .. })));
    }
}
