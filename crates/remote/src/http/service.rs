//! [`Connector`]: makes the HTTP clients that `object_store` works with.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use md5::{Digest as _, Md5};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientConfigKey, ClientOptions, Error as StoreError, HeaderValue};

use super::stall::{Unstalled, stalled};
use super::{Refusal, client_of, rewrite};
use crate::Settings;
use crate::retry::Contact;

/// The most that is read of an answer that means failure, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;

/// The most that one page of a listing may have, in bytes: 1,000 keys of 1,024 bytes, each of them six times as long for being
/// escaped, and 2 KiB of other facts about each. Azure has up to 5,000 in a page, whose names are as long.
const MAX_LISTING: usize = 48 * 1024 * 1024;

/// How the service is told what it should have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Integrity {
    /// Each request names its body's SHA-256 already.
    Signed,
    /// By the header Content-MD5, which the service checks.
    SendMd5,
    /// It answers with the MD5 of what it has stored, which is compared here.
    CompareMd5,
}

/// Makes clients that bound what an answer may have and how long it may stall, and check uploads.
#[derive(Debug)]
pub(crate) struct Connector {
    integrity: Integrity,
    settings: Settings,
    contact: Contact,
}

impl Connector {
    /// `contact` hears of each answer.
    pub(crate) fn new(integrity: Integrity, settings: &Settings, contact: &Contact) -> Connector {
        Connector { integrity, settings: settings.clone(), contact: contact.clone() }
    }

    /// The client below. Redirections are not followed: a 303 would make a GET of an upload, whose success would be taken for
    /// the upload's, and what a token is for would be sent elsewhere. Of the options, it has those in which the clients for
    /// objects and for the metadata of an instance differ.
    fn client(&self, options: &ClientOptions) -> reqwest::Result<reqwest::Client> {
        let is_plain = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let connect_timeout = options.get_config_value(&ClientConfigKey::ConnectTimeout);
        let seconds = connect_timeout.and_then(|text| text.strip_suffix('s')?.parse().ok()).map(Duration::from_secs);
        client_of(&self.settings, is_plain)
            .http1_only()
            .connect_timeout(seconds.unwrap_or(self.settings.connect_timeout).min(self.settings.connect_timeout))
            .timeout(self.settings.request_timeout)
            .build()
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.client(options);
        let client = client.map_err(|error| StoreError::Generic { store: "HTTP client", source: Box::new(error) })?;
        let (inner, wait) = (HttpClient::new(client), self.settings.read_timeout);
        Ok(HttpClient::new(Service { inner, integrity: self.integrity, wait, contact: self.contact.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    integrity: Integrity,
    wait: Duration,
    contact: Contact,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let listed = listed_element(&request);
        let is_upload = request.method().as_str() == "PUT" && request.body().content_length() > 0;
        let md5 = match self.integrity {
            Integrity::SendMd5 | Integrity::CompareMd5 if is_upload => Some(md5(request.body()).await),
            _ => None,
        };
        if let (Integrity::SendMd5, Some(md5)) = (self.integrity, &md5) {
            let value = HeaderValue::from_str(md5).map_err(|e| HttpError::new(HttpErrorKind::Decode, e))?;
            request.headers_mut().insert("content-md5", value);
        }
        // An answer to what has a body begins after the upload, which takes as long as the line needs.
        let is_short = request.body().content_length() == 0;
        let answer = self.inner.execute(request);
        let response = match is_short {
            true => tokio::time::timeout(self.wait, answer).await.map_err(|_| stalled(self.wait))??,
            false => answer.await?,
        };
        self.contact.made();
        let wait = self.wait;
        let response = response.map(|body| HttpResponseBody::new(Unstalled::new(body, wait)));
        let status = response.status();
        if !status.is_success() {
            return refused(response, listed.is_some()).await;
        }
        if let (Integrity::CompareMd5, Some(md5)) = (self.integrity, &md5) {
            let stored = response.headers().get("content-md5").and_then(|value| value.to_str().ok());
            if let Some(stored) = stored.filter(|stored| stored != md5) {
                let error = WrongMd5 { sent: md5.clone(), stored: stored.chars().take(64).collect() };
                return Err(HttpError::new(HttpErrorKind::Decode, error));
            }
        }
        match listed {
            Some(element) => listing(response, element).await,
            None => Ok(response),
        }
    }
}

/// The service has stored other bytes than it was sent.
#[derive(Debug, thiserror::Error)]
#[error("the service has stored bytes with the MD5 {stored}, and was sent ones with {sent}")]
struct WrongMd5 {
    sent: String,
    stored: String,
}

/// A page of a listing is longer than any can be.
#[derive(Debug, thiserror::Error)]
#[error("a page of a listing has more than {MAX_LISTING} bytes")]
struct EndlessListing;

/// The name of the elements that hold keys, if the request asks for a listing (S3's and Google's `ListObjectsV2`,
/// Azure's `List Blobs`).
fn listed_element(request: &HttpRequest) -> Option<&'static str> {
    let query = request.uri().query().filter(|_| request.method().as_str() == "GET")?;
    let has = |wanted: &str| query.split('&').any(|pair| pair == wanted);
    if has("list-type=2") {
        Some("Key")
    } else if has("comp=list") {
        Some("Name")
    } else {
        None
    }
}

async fn md5(body: &HttpRequestBody) -> String {
    let mut hasher = Md5::new();
    let mut body = body.clone();
    // The body is in memory: its frames can't fail, nor keep anybody waiting.
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(bytes) = frame.into_data() {
            hasher.update(&bytes);
        }
    }
    STANDARD.encode(hasher.finalize())
}

/// An answer that means failure: what `object_store` has a word for stays an answer, all else becomes an error that says
/// whether it may pass. It has no words for what becomes of a listing.
async fn refused(response: HttpResponse, is_listing: bool) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let mut beginning = Vec::new();
    let mut stream = body.bytes_stream();
    // A body that breaks off says less, and its status as much.
    while let Some(Ok(bytes)) = stream.next().await {
        let room = MAX_REFUSAL - beginning.len();
        beginning.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
        if beginning.len() == MAX_REFUSAL {
            break;
        }
    }
    let mut refusal = Refusal::new(parts.status.as_u16(), &beginning);
    if parts.status.is_redirection() && refusal.text.is_empty() {
        "the service is at another address, which is not followed: check endpoint and region"
            .clone_into(&mut refusal.text);
    }
    if !is_listing && matches!(refusal.status, 304 | 401 | 403 | 404 | 409 | 412) {
        return Ok(HttpResponse::from_parts(parts, refusal.text.into()));
    }
    let kind = if refusal.is_passing() { HttpErrorKind::Request } else { HttpErrorKind::Decode };
    Err(HttpError::new(kind, refusal))
}

async fn listing(response: HttpResponse, element: &str) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let mut page = Vec::new();
    let mut stream = body.bytes_stream();
    while let Some(bytes) = stream.next().await {
        page.extend_from_slice(&bytes?);
        if page.len() > MAX_LISTING {
            return Err(HttpError::new(HttpErrorKind::Decode, EndlessListing));
        }
    }
    let page = match std::str::from_utf8(&page) {
        Ok(text) => HttpResponseBody::from(rewrite(text, element)),
        // Whoever reads it says what is wrong with it.
        Err(_) => HttpResponseBody::from(page),
    };
    Ok(HttpResponse::from_parts(parts, page))
}
