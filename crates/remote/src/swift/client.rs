//! [`Client`]: requests to one container, with a token, within limits, repeated as long as that may help.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cinderblock_backend::ObjectName;
use futures::future::{self, Either};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, RANGE, RETRY_AFTER};
use reqwest::{Body, Method, Response};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::body::{self, Feed, PIECE};
use super::error::status_is_passing;
use super::session::{Session, Sessions};
use super::{Error, Settings};
use crate::http::client;
use crate::retry::{Contact, Tries};

/// The longest pause that a server's `Retry-After` can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// How much of an answer's text goes into a message, in bytes.
const MAX_REASON: usize = 200;

/// One request, which can be sent any number of times.
#[derive(Clone, Default)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// The object; none: the container itself.
    pub(super) object: Option<&'a ObjectName>,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) range: Option<String>,
    pub(super) upload: Option<Upload<'a>>,
}

/// The bytes of a PUT and their MD5 in hexadecimal, which Swift compares with what arrives.
#[derive(Clone, Copy)]
pub(super) struct Upload<'a> {
    pub(super) parts: &'a [&'a [u8]],
    pub(super) size: u64,
    pub(super) md5: &'a str,
}

/// An answer that is not passing.
pub(super) struct Answer<'a> {
    pub(super) response: Response,
    /// To be dropped before another request is made: all permits might wait for one more.
    pub(super) permit: SemaphorePermit<'a>,
}

impl Answer<'_> {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }
}

/// The way to a container.
pub(super) struct Client {
    http: reqwest::Client,
    sessions: Sessions,
    permits: Semaphore,
    contact: Contact,
    /// Whether the container has given or taken anything.
    container_seen: AtomicBool,
    pub(super) settings: Settings,
    pub(super) container: String,
    pub(super) prefix: String,
}

impl Client {
    pub(super) fn new(container: &str, prefix: &str, settings: &Settings) -> Result<Client, Error> {
        let mut builder = client(&settings.http).http1_only().pool_max_idle_per_host(settings.http.requests_in_flight);
        if let Some(path) = &settings.ca_file {
            let bytes = std::fs::read(path).map_err(|source| Error::File { path: path.clone(), source })?;
            let invalid = |_| Error::Invalid {
                setting: format!("the file of certificates {}", path.display()),
                problem: "it is not in the PEM format".to_owned(),
            };
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&bytes).map_err(invalid)?);
        }
        if !settings.verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let http = builder.build().map_err(|error| Error::Client { problem: error.to_string() })?;
        let contact = Contact::default();
        Ok(Client {
            sessions: Sessions::new(http.clone(), settings.clone(), contact.clone()),
            http,
            permits: Semaphore::new(settings.http.requests_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            contact,
            container_seen: AtomicBool::new(false),
            settings: settings.clone(),
            container: container.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    pub(super) fn tries(&self) -> Tries {
        Tries::begin(&self.settings.http, &self.contact)
    }

    /// Sends a request until it has an answer that is not passing, for as long as there are tries.
    pub(super) async fn execute(&self, request: &Request<'_>, tries: &mut Tries) -> Result<Answer<'_>, Error> {
        loop {
            match self.once(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => pause(tries, error, &self.settings.http).await?,
            }
        }
    }

    /// Sends a request once; once more, with a new token, if its token is refused. An answer that is passing is an error.
    pub(super) async fn once(&self, request: &Request<'_>) -> Result<Answer<'_>, Error> {
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.map_err(|_| Error::Abandoned)?;
        let session = self.sessions.current(None).await?;
        let mut response = self.send(request, &session).await?;
        self.contact.made();
        if response.status().as_u16() == 401 {
            let renewed = self.sessions.current(Some(&session)).await?;
            response = self.send(request, &renewed).await?;
            if response.status().as_u16() == 401 {
                return Err(Error::TokenRefused { request: self.describe(request) });
            }
        }
        if response.status().is_success() {
            self.container_seen.store(true, Ordering::Relaxed);
        }
        if status_is_passing(response.status().as_u16()) {
            return Err(self.answer_error(request, response).await);
        }
        Ok(Answer { response, permit })
    }

    /// Asks whether the container is there, unless that is known: Swift answers 404 to whoever asks for an object, be it the object or the
    /// container that is missing.
    pub(super) async fn check_container(&self) -> Result<(), Error> {
        if self.container_seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let request = Request { method: Method::HEAD, ..Request::default() };
        match self.execute(&request, &mut self.tries()).await {
            Ok(answer) if answer.status() == 404 => Err(Error::NoContainer { container: self.container.clone() }),
            // Whoever may read objects may not be allowed this.
            Ok(_) | Err(Error::TokenRefused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, request: &Request<'_>, session: &Session) -> Result<Response, Error> {
        let mut builder = self
            .http
            .request(request.method.clone(), self.url(session, request.object))
            .header("X-Auth-Token", session.token.reveal())
            .query(request.query);
        if let Some(range) = &request.range {
            builder = builder.header(RANGE, range);
        }
        let Some(upload) = request.upload else {
            return self.in_time(request, builder.send()).await;
        };
        let (feed, body) = body::pair();
        let sending = builder
            .header(ETAG, upload.md5)
            .header(IF_NONE_MATCH, "*")
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, upload.size)
            .body(Body::wrap_stream(body))
            .send();
        let feeding = pin!(self.feed(request, feed, upload.parts));
        // An answer may come before all is sent, and it may take its time after that.
        match future::select(pin!(sending), feeding).await {
            Either::Left((answer, _)) => answer.map_err(|source| self.connection(request, source)),
            Either::Right((Ok(()), sending)) => self.in_time(request, sending).await,
            Either::Right((Err(error), _)) => Err(error),
        }
    }

    async fn feed(&self, request: &Request<'_>, feed: Feed, parts: &[&[u8]]) -> Result<(), Error> {
        let wait = self.settings.http.read_timeout;
        let stalled = |_| Error::Stalled { request: self.describe(request), after: wait };
        for piece in parts.iter().flat_map(|part| part.chunks(PIECE)) {
            let sent = tokio::time::timeout(wait, feed.send(Bytes::copy_from_slice(piece))).await.map_err(stalled)?;
            if sent.is_err() {
                // The answer says why.
                return Ok(());
            }
        }
        let _ = tokio::time::timeout(wait, feed.end()).await.map_err(stalled)?;
        Ok(())
    }

    /// Sends what comes through `body` as an object, once. The answer may be any.
    pub(super) async fn stream(&self, name: &ObjectName, body: body::Body) -> Result<Response, Error> {
        let request = Request { method: Method::PUT, object: Some(name), ..Request::default() };
        let session = self.sessions.current(None).await?;
        let sending = self
            .http
            .request(Method::PUT, self.url(&session, Some(name)))
            .header("X-Auth-Token", session.token.reveal())
            .header(IF_NONE_MATCH, "*")
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Body::wrap_stream(body))
            .send();
        let response = sending.await.map_err(|source| self.connection(&request, source))?;
        self.contact.made();
        Ok(response)
    }

    async fn in_time(
        &self,
        request: &Request<'_>,
        sending: impl Future<Output = Result<Response, reqwest::Error>>,
    ) -> Result<Response, Error> {
        let wait = self.settings.http.read_timeout;
        match tokio::time::timeout(wait, sending).await {
            Ok(answer) => answer.map_err(|source| self.connection(request, source)),
            Err(_) => Err(Error::Stalled { request: self.describe(request), after: wait }),
        }
    }

    fn connection(&self, request: &Request<'_>, source: reqwest::Error) -> Error {
        Error::Connection { request: self.describe(request), source: source.without_url() }
    }

    fn url(&self, session: &Session, object: Option<&ObjectName>) -> Url {
        let mut url = session.storage_url.clone();
        // It has a host, so it can have a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(&self.container);
            if let Some(object) = object {
                path.extend(self.prefix.split('/').filter(|part| !part.is_empty()));
                path.extend(object.as_str().split('/'));
            }
        }
        url
    }

    /// Method, place and object, for messages.
    pub(super) fn describe(&self, request: &Request<'_>) -> String {
        let object = request.object.map_or("", ObjectName::as_str);
        format!("{} {}/{object}", request.method, self.location()).trim_end_matches('/').to_owned()
    }

    pub(super) fn location(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("swift://{}{slash}{}", self.container, self.prefix)
    }

    /// The error for an answer that this request should not have.
    pub(super) async fn answer_error(&self, request: &Request<'_>, response: Response) -> Error {
        let mut response = response;
        let mut text = Vec::new();
        let transaction = header_text(response.headers(), "x-trans-id").map(str::to_owned);
        let short = Duration::from_secs(1);
        while text.len() < MAX_REASON {
            match tokio::time::timeout(short, response.chunk()).await {
                Ok(Ok(Some(chunk))) => text.extend_from_slice(&chunk),
                _ => break,
            }
        }
        let text = plain_reason(&text);
        let reason = [Some(text).filter(|text| !text.is_empty()), transaction.map(|id| format!("transaction {id}"))];
        let reason: Vec<String> = reason.into_iter().flatten().collect();
        let reason = if reason.is_empty() { String::new() } else { format!(": {}", reason.join(", ")) };
        refusal(self.describe(request), &response, reason)
    }
}

/// The printable beginning of an answer's text, without its tags: Swift explains itself in HTML.
fn plain_reason(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..MAX_REASON).unwrap_or(text));
    let mut plain = String::new();
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                plain.push(' ');
            }
            c if !in_tag => plain.push(if c.is_control() { ' ' } else { c }),
            _ => {}
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The error for an answer's status.
pub(super) fn refusal(request: String, response: &Response, reason: String) -> Error {
    // A date is as good as none: the pause grows by itself.
    let retry_after = header_text(response.headers(), RETRY_AFTER.as_str())
        .and_then(|text| text.parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    Error::Answer { request, status: response.status().as_u16(), reason, retry_after }
}

/// A header's text, if it is text.
pub(super) fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Waits before the next attempt, at least as long as the server asks, or gives the error back where there is none.
pub(super) async fn pause(tries: &mut Tries, error: Error, settings: &crate::Settings) -> Result<(), Error> {
    let asked = error.retry_after().unwrap_or_default().min(settings.retry_for);
    tries.again(error).await?;
    tokio::time::sleep(asked).await;
    Ok(())
}

/// All of an answer's text, if it has at most `limit` bytes.
pub(super) async fn bounded_text(
    mut response: Response,
    limit: usize,
    wait: Duration,
    request: &str,
) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    loop {
        match tokio::time::timeout(wait, response.chunk()).await {
            Err(_) => return Err(Error::Stalled { request: request.to_owned(), after: wait }),
            Ok(Err(source)) => {
                return Err(Error::Connection { request: request.to_owned(), source: source.without_url() });
            }
            Ok(Ok(None)) => return Ok(text),
            Ok(Ok(Some(chunk))) if chunk.len() > limit.saturating_sub(text.len()) => {
                return Err(Error::Protocol { request: request.to_owned(), problem: "it is too long" });
            }
            Ok(Ok(Some(chunk))) => text.extend_from_slice(&chunk),
        }
    }
}
