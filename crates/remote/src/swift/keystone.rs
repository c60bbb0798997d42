//! Keystone's [version 3](https://docs.openstack.org/api-ref/identity/v3/#authentication-and-token-management): a token and
//! the service catalogue for a name and a password.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Error;
use super::settings::{Credential, Domain, Identity, Keystone, Project, User};

/// Where tokens are made.
pub(super) fn tokens_url(url: &str) -> Result<String, Error> {
    let base = url.trim_end_matches('/');
    if base.ends_with("/v2.0") {
        let problem = "version 2 of Keystone is gone: give the URL with /v3, or without a version".to_owned();
        return Err(Error::Invalid { setting: "OS_AUTH_URL".to_owned(), problem });
    }
    let version = if base.ends_with("/v3") { "" } else { "/v3" };
    Ok(format!("{base}{version}/auth/tokens"))
}

/// The document that asks for a token.
pub(super) fn question(keystone: &Keystone) -> Value {
    let identity = match &keystone.identity {
        Identity::Password { user, password } => {
            let mut user = self::user(user);
            user["password"] = json!(password.reveal());
            json!({"methods": ["password"], "password": {"user": user}})
        }
        Identity::ApplicationCredential { credential, secret } => {
            let mut credential = match credential {
                Credential::Id(id) => json!({"id": id}),
                Credential::Name(name, user) => json!({"name": name, "user": self::user(user)}),
            };
            credential["secret"] = json!(secret.reveal());
            json!({"methods": ["application_credential"], "application_credential": credential})
        }
        Identity::Token(token) => json!({"methods": ["token"], "token": {"id": token.reveal()}}),
    };
    let mut auth = json!({"identity": identity});
    match &keystone.project {
        Some(Project::Id(id)) => auth["scope"] = json!({"project": {"id": id}}),
        Some(Project::Name(name, domain)) => {
            auth["scope"] = json!({"project": {"name": name, "domain": self::domain(domain)}});
        }
        None => {}
    }
    json!({"auth": auth})
}

fn user(user: &User) -> Value {
    match user {
        User::Id(id) => json!({"id": id}),
        User::Name(name, domain) => json!({"name": name, "domain": self::domain(domain)}),
    }
}

fn domain(domain: &Domain) -> Value {
    match domain {
        Domain::Id(id) => json!({"id": id}),
        Domain::Name(name) => json!({"name": name}),
    }
}

/// What Keystone answers.
#[derive(Deserialize)]
pub(super) struct Answer {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    issued_at: Option<String>,
    expires_at: Option<String>,
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    region: Option<String>,
    region_id: Option<String>,
    url: String,
}

impl Answer {
    /// How long the token is good, by Keystone's own clock: ours may differ.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        let time = |text: &Option<String>| text.as_ref()?.parse::<Timestamp>().ok();
        let issued = time(&self.token.issued_at).unwrap_or_else(Timestamp::now);
        Duration::try_from(time(&self.token.expires_at)?.duration_since(issued)).ok()
    }

    /// The account's URL on the object storage of that region and interface.
    pub(super) fn storage_url(&self, region: Option<&str>, interface: &str) -> Result<String, Error> {
        let stores = self.token.catalog.iter().filter(|service| service.kind == "object-store");
        let endpoints: Vec<&Endpoint> = stores.flat_map(|service| &service.endpoints).collect();
        let fits = |endpoint: &&&Endpoint| {
            endpoint.interface.strip_suffix("URL").unwrap_or(&endpoint.interface) == interface
                && region.is_none_or(|region| endpoint.regions().any(|name| name == region))
        };
        if let Some(endpoint) = endpoints.iter().find(fits) {
            return Ok(endpoint.url.clone());
        }
        let found: Vec<String> = endpoints
            .iter()
            .map(|endpoint| format!("{} in region {}", endpoint.interface, endpoint.regions().next().unwrap_or("?")))
            .collect();
        let wanted = match region {
            Some(region) => format!("interface {interface} in region {region}"),
            None => format!("interface {interface}"),
        };
        Err(Error::NoEndpoint { wanted, found: if found.is_empty() { "none".to_owned() } else { found.join(", ") } })
    }
}

impl Endpoint {
    fn regions(&self) -> impl Iterator<Item = &str> {
        self.region_id.as_deref().into_iter().chain(self.region.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swift::Secret;

    #[test]
    fn the_version_is_added_where_it_is_missing() {
        for url in ["http://k:5000", "http://k:5000/", "http://k:5000/v3", "http://k:5000/v3/"] {
            assert_eq!(tokens_url(url).unwrap(), "http://k:5000/v3/auth/tokens");
        }
        assert_eq!(tokens_url("https://k/identity").unwrap(), "https://k/identity/v3/auth/tokens");
        assert!(matches!(tokens_url("http://k/v2.0/"), Err(Error::Invalid { .. })));
    }

    #[test]
    fn questions_are_those_of_the_protocol() {
        let mut keystone = Keystone {
            url: String::new(),
            identity: Identity::Password {
                user: User::Name("u".into(), Domain::Name("d".into())),
                password: Secret::new("p"),
            },
            project: Some(Project::Name("x".into(), Domain::default())),
        };
        let user = json!({"name": "u", "domain": {"name": "d"}, "password": "p"});
        let scope = json!({"project": {"name": "x", "domain": {"id": "default"}}});
        let password = json!({"methods": ["password"], "password": {"user": user}});
        assert_eq!(question(&keystone), json!({"auth": {"identity": password, "scope": scope}}));

        keystone.project = None;
        keystone.identity =
            Identity::ApplicationCredential { credential: Credential::Id("c".into()), secret: Secret::new("s") };
        let credential = json!({"id": "c", "secret": "s"});
        let identity = json!({"methods": ["application_credential"], "application_credential": credential});
        assert_eq!(question(&keystone), json!({"auth": {"identity": identity}}));
    }

    fn answer() -> Answer {
        let endpoint = |interface: &str, region: &str| {
            let url = format!("http://{interface}.{region}");
            json!({"interface": interface, "region": region, "region_id": region, "url": url})
        };
        serde_json::from_value(json!({"token": {
            "issued_at": "2001-01-01T00:00:00.000000Z",
            "expires_at": "2001-01-01T01:00:00.000000Z",
            "catalog": [
                {"type": "volumev3", "endpoints": [endpoint("public", "south")]},
                {"type": "object-store", "endpoints": [
                    endpoint("internal", "north"), endpoint("public", "north"), endpoint("public", "south"),
                ]},
            ],
        }}))
        .unwrap()
    }

    #[test]
    fn region_and_interface_choose_the_endpoint() {
        let url = |region, interface| answer().storage_url(region, interface);
        assert_eq!(url(None, "public").unwrap(), "http://public.north");
        assert_eq!(url(Some("south"), "public").unwrap(), "http://public.south");
        assert_eq!(url(Some("north"), "internal").unwrap(), "http://internal.north");
        let error = url(Some("south"), "internal").unwrap_err().to_string();
        assert!(error.contains("region south") && error.contains("internal in region north"), "{error}");
    }

    #[test]
    fn the_lifetime_does_not_depend_on_this_hosts_clock() {
        assert_eq!(answer().lifetime(), Some(Duration::from_secs(3600)));
    }
}
