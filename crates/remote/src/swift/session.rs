//! [`Sessions`]: one token for all threads, made anew in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use tokio::sync::Mutex;
use url::Url;

use super::client::{bounded_text, refusal};
use super::settings::{Account, Settings};
use super::{Error, Secret, keystone};
use crate::retry::Contact;

/// A token that ends within this time is made anew before it is used.
const MARGIN: Duration = Duration::from_secs(60);

/// After a refusal, nobody asks again for this long: many threads with a wrong password could lock a user out.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// The longest answer of Keystone that is read, in bytes. A catalogue has some dozen services.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A token and what it opens.
pub(super) struct Session {
    /// The token.
    pub(super) token: Secret,
    /// The account's URL.
    pub(super) storage_url: Url,
    /// When to make a new one.
    renew_at: Option<Instant>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    refused: Option<(Instant, u16)>,
    /// Why the last attempt failed, if it did.
    failure: String,
}

/// Makes tokens.
pub(super) struct Sessions {
    http: reqwest::Client,
    settings: Settings,
    contact: Contact,
    // Held while a token is made: the others wait for it.
    state: Mutex<State>,
    /// How many attempts have failed.
    failures: AtomicU64,
}

impl Sessions {
    /// `contact` hears of each answer.
    pub(super) fn new(http: reqwest::Client, settings: Settings, contact: Contact) -> Sessions {
        Sessions { http, settings, contact, state: Mutex::default(), failures: AtomicU64::new(0) }
    }

    /// The session to use; a new one if there is none, if it ends soon, or if it is the one that was `refused`.
    ///
    /// A new one is asked for once: whoever needs it has tries of its own. An attempt that fails counts for all who waited for it, or each
    /// of many requests at once would ask one after the other.
    pub(super) async fn current(&self, refused: Option<&Arc<Session>>) -> Result<Arc<Session>, Error> {
        let failures = self.failures.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(session) = &state.session {
            let is_refused = refused.is_some_and(|refused| Arc::ptr_eq(refused, session));
            let ends = session.renew_at.is_some_and(|time| time <= Instant::now());
            if !is_refused && !ends {
                return Ok(Arc::clone(session));
            }
        }
        if let Some((_, status)) = state.refused.filter(|(time, _)| time.elapsed() < REFUSED_FOR) {
            return Err(Error::Refused { url: self.url().to_owned(), status });
        }
        if self.failures.load(Ordering::Acquire) != failures {
            return Err(Error::NoToken { url: self.url().to_owned(), problem: state.failure.clone() });
        }
        state.session = None;
        match self.make(refused.is_some()).await {
            Ok(session) => Ok(Arc::clone(state.session.insert(Arc::new(session)))),
            Err(error) => {
                if let Error::Refused { status, .. } = error {
                    state.refused = Some((Instant::now(), status));
                }
                state.failure = error.to_string();
                self.failures.fetch_add(1, Ordering::AcqRel);
                Err(error)
            }
        }
    }

    /// Who makes the tokens.
    fn url(&self) -> &str {
        match &self.settings.account {
            Account::V1 { url, .. } => url,
            Account::Keystone(keystone) => &keystone.url,
            Account::Token { storage_url, .. } => storage_url,
        }
    }

    async fn make(&self, renewed: bool) -> Result<Session, Error> {
        let (token, storage_url, lifetime) = match &self.settings.account {
            Account::Token { storage_url, .. } if renewed => {
                return Err(Error::Refused { url: storage_url.clone(), status: 401 });
            }
            Account::Token { token, storage_url } => (token.clone(), storage_url.clone(), None),
            Account::V1 { url, user, key } => {
                let request = self.http.get(url).header("X-Auth-User", user).header("X-Auth-Key", key.reveal());
                let response = self.ask(url, request).await?;
                let token = token_of(response.headers(), "x-auth-token", url)?;
                let storage_url = match &self.settings.storage_url {
                    Some(storage_url) => storage_url.clone(),
                    None => header(response.headers(), "x-storage-url").ok_or_else(|| no(url, "no X-Storage-Url"))?,
                };
                let seconds = header(response.headers(), "x-auth-token-expires").and_then(|text| text.parse().ok());
                (token, storage_url, seconds.map(Duration::from_secs))
            }
            Account::Keystone(account) => {
                let url = keystone::tokens_url(&account.url)?;
                let request = self.http.post(&url).json(&keystone::question(account));
                let response = self.ask(&url, request).await?;
                let token = token_of(response.headers(), "x-subject-token", &url)?;
                let wait = self.settings.http.read_timeout;
                let text = bounded_text(response, MAX_ANSWER, wait, &format!("POST {url}")).await?;
                let answer: keystone::Answer =
                    serde_json::from_slice(&text).map_err(|_| no(&url, "it is no token of Keystone v3"))?;
                let storage_url = match &self.settings.storage_url {
                    Some(storage_url) => storage_url.clone(),
                    None => answer.storage_url(self.settings.region.as_deref(), &self.settings.interface)?,
                };
                (token, storage_url, answer.lifetime())
            }
        };
        let storage_url = Url::parse(storage_url.trim_end_matches('/'))
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Error::Invalid {
                setting: "the storage's URL".to_owned(),
                problem: format!("{storage_url:?} is no HTTP URL"),
            })?;
        // Of a token that is short-lived, half of its life is used.
        let use_for = lifetime.map(|lifetime| lifetime.saturating_sub(MARGIN).max(lifetime / 2));
        Ok(Session { token, storage_url, renew_at: use_for.and_then(|time| Instant::now().checked_add(time)) })
    }

    async fn ask(&self, url: &str, request: reqwest::RequestBuilder) -> Result<Response, Error> {
        let request_text = || format!("authentication at {url}");
        let wait = self.settings.http.read_timeout;
        let response = match tokio::time::timeout(wait, request.send()).await {
            Err(_) => return Err(Error::Stalled { request: request_text(), after: wait }),
            Ok(Err(source)) => return Err(Error::Connection { request: request_text(), source: source.without_url() }),
            Ok(Ok(response)) => response,
        };
        self.contact.made();
        match response.status() {
            status if status.is_success() => Ok(response),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Error::Refused { url: url.to_owned(), status: status.as_u16() })
            }
            // Without the answer's text, which may repeat what was sent.
            _ => Err(refusal(request_text(), &response, String::new())),
        }
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn token_of(headers: &HeaderMap, name: &str, url: &str) -> Result<Secret, Error> {
    header(headers, name).map(Secret::new).ok_or_else(|| no(url, "it has no token"))
}

fn no(url: &str, problem: &'static str) -> Error {
    Error::Protocol { request: format!("authentication at {url}"), problem }
}
