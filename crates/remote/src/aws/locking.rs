//! [`Locking`]: a bucket of S3, and the requests that keep its objects from being deleted (Object Lock).
//!
//! `object_store` has no words for these requests. It signs them all the same, as URLs that are valid for some minutes, so that nothing
//! of credentials, endpoints and signatures is here. S3 API Reference: `PutObjectRetention`, `GetObjectRetention`,
//! `GetObjectLockConfiguration`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cinderblock_backend::{
    Backend, Error, ForeignName, Leftovers, ObjectInfo, ObjectName, ObjectWriter, Retention, Tail,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use md5::{Digest as _, Md5};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use reqwest::Method;
use reqwest::header::HeaderMap;

use super::retention::{Fault, document, is_retention, parse_date, until};
use crate::bucket::Words;
use crate::http::{Refusal, client_of, element};
use crate::{Bucket, Settings, runtime};

/// How long a signed request is valid: as far as clocks may differ, and longer than it takes to send it.
const VALID_FOR: Duration = Duration::from_secs(15 * 60);

/// The most that is read of an answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// A bucket of S3 whose objects can be locked, if it was made so.
pub(crate) struct Locking {
    bucket: Bucket,
    signer: Arc<AmazonS3>,
    http: reqwest::Client,
    /// What all keys begin with; empty, or with a slash at its end.
    prefix: String,
    words: Words,
}

impl Locking {
    pub(super) fn new(
        bucket: Bucket,
        signer: Arc<AmazonS3>,
        prefix: &str,
        words: Words,
        (settings, is_plain): (&Settings, bool),
    ) -> Result<Locking, reqwest::Error> {
        let http = client_of(settings, is_plain).timeout(settings.request_timeout).build()?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Locking { bucket, signer, http, prefix, words })
    }

    fn wait<F>(&self, future: F) -> Result<F::Output, Error>
    where
        F: Future + Send,
        F::Output: Send,
    {
        let runtime = runtime::shared().map_err(|source| Error::Io {
            operation: "reach",
            name: self.bucket.location(),
            source,
        })?;
        Ok(runtime::wait(runtime, future))
    }

    fn path(&self, name: &ObjectName) -> Result<Path, Fault> {
        Path::parse(format!("{}{name}", self.prefix)).map_err(|error| Fault::Unsigned(error.into()))
    }

    /// Sends a request until it has an answer that is not passing; header and text of one that means success. `of` is the part of the object that it is about;
    /// none is the object itself.
    async fn request(
        &self,
        method: Method,
        path: &Path,
        of: Option<&str>,
        body: Option<String>,
    ) -> Result<(HeaderMap, String), Fault> {
        let mut tries = self.bucket.tries();
        loop {
            match self.once(method.clone(), path, of, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => tries.again(fault).await?,
            }
        }
    }

    async fn once(
        &self,
        method: Method,
        path: &Path,
        of: Option<&str>,
        body: Option<String>,
    ) -> Result<(HeaderMap, String), Fault> {
        let options = SignedUrlOptions::new().with_query(of.map(|of| (of, "")));
        let signed = self.signer.signed_url_opts(method.clone(), path, VALID_FOR, &options).await;
        let mut request = self.http.request(method, signed.map_err(Fault::Unsigned)?);
        if let Some(body) = body {
            // The service asks for it, so that no date is kept that was not sent.
            request = request.header("Content-MD5", STANDARD.encode(Md5::digest(body.as_bytes()))).body(body);
        }
        let mut response = request.send().await.map_err(|error| Fault::Silent(error.without_url()))?;
        self.bucket.has_answered();
        let mut answer = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|error| Fault::Silent(error.without_url()))? {
            let room = MAX_ANSWER.saturating_sub(answer.len());
            answer.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
            if answer.len() >= MAX_ANSWER {
                break;
            }
        }
        if !response.status().is_success() {
            return Err(Refusal::new(response.status().as_u16(), &answer).into());
        }
        Ok((std::mem::take(response.headers_mut()), String::from_utf8_lossy(&answer).into_owned()))
    }

    async fn keep(&self, name: &ObjectName, retention: Retention) -> Result<(), Error> {
        let failed = |fault| self.failed("lock", name, fault);
        let path = self.path(name).map_err(failed)?;
        let body = document(retention).map_err(failed)?;
        let Err(fault) = self.request(Method::PUT, &path, Some("retention"), Some(body)).await else { return Ok(()) };
        // What is kept longer already, because another host's clock is ahead, can't be kept shorter.
        if fault.status() == Some(403)
            && let Ok(Some(kept)) = self.kept_until(name).await
            && kept >= retention.whole_seconds()
        {
            return Ok(());
        }
        Err(failed(fault))
    }

    async fn kept_until(&self, name: &ObjectName) -> Result<Option<SystemTime>, Error> {
        let failed = |fault| self.failed("look at the lock of", name, fault);
        let path = self.path(name).map_err(failed)?;
        match self.request(Method::GET, &path, Some("retention"), None).await {
            Ok((_, answer)) if is_retention(&answer) => until(&answer).map_err(failed),
            Ok(_) => self.kept_by_header(&path).await.map_err(failed),
            Err(fault) if fault.says("NoSuchKey") || fault.is_unlocked() => Ok(None),
            // What this says can mean more than that nothing is kept. The object itself has the last word.
            Err(fault) if fault.is_unsupported() => match self.kept_by_header(&path).await {
                Err(fault) if fault.status() == Some(404) => Ok(None),
                answer => answer.map_err(failed),
            },
            Err(fault) => Err(failed(fault)),
        }
    }

    /// The same from what a service says when it is asked about the object itself: nothing to those who may not know.
    async fn kept_by_header(&self, path: &Path) -> Result<Option<SystemTime>, Fault> {
        let (headers, _) = self.request(Method::HEAD, path, None, None).await?;
        let date = headers.get("x-amz-object-lock-retain-until-date").and_then(|date| date.to_str().ok());
        date.map(|date| parse_date(date.trim())).transpose()
    }

    async fn has_object_lock(&self) -> Result<bool, Error> {
        match self.request(Method::GET, &Path::default(), Some("object-lock"), None).await {
            Ok((_, answer)) => Ok(element(&answer, "ObjectLockEnabled").is_some_and(|text| text.trim() == "Enabled")),
            Err(fault) if fault.is_unsupported() => Ok(false),
            Err(fault) => Err(self.error("ask about Object Lock of", self.bucket.location(), fault)),
        }
    }

    fn failed(&self, operation: &'static str, name: &ObjectName, fault: Fault) -> Error {
        if fault.is_not_found() {
            return Error::NotFound { name: name.clone() };
        }
        if operation == "lock" && fault.is_unsupported() {
            return Error::CannotRetain { location: self.bucket.location() };
        }
        self.error(operation, format!("{}/{name}", self.bucket.location()), fault)
    }

    /// Tells a refusal to delete what is kept from one for want of rights.
    fn say_retained(&self, name: &ObjectName, deletion: Result<(), Error>) -> Result<(), Error> {
        let Err(error @ Error::AccessDenied { .. }) = deletion else { return deletion };
        let kept = self.wait(self.kept_until(name))?;
        match kept.ok().flatten().filter(|until| *until > SystemTime::now()) {
            Some(until) => Err(Error::Retained { name: name.clone(), until }),
            None => Err(error),
        }
    }

    fn error(&self, operation: &'static str, name: String, fault: Fault) -> Error {
        match (&fault, fault.status()) {
            (_, Some(401 | 403)) => {
                let advice = format!(
                    "{}, of somebody who has s3:PutObjectRetention, s3:GetObjectRetention and s3:GetBucketObjectLockConfiguration",
                    self.words.credentials
                );
                Error::AccessDenied { operation, name, advice, source: fault.into() }
            }
            (_, Some(429 | 503)) => Error::Busy { operation, name, source: fault.into() },
            (Fault::Silent(_), _) => {
                Error::Unreachable { operation, name, advice: self.words.endpoint.to_owned(), source: fault.into() }
            }
            _ => Error::Io { operation, name, source: std::io::Error::other(fault) },
        }
    }
}

impl Backend for Locking {
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        self.bucket.create(name)
    }

    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
        self.bucket.put(name, parts)
    }

    fn put_shared(&self, name: &ObjectName, parts: &[Bytes]) -> Result<(), Error> {
        self.bucket.put_shared(name, parts)
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        self.bucket.get(name, limit)
    }

    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.bucket.read_into(name, offset, buf)
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        self.bucket.get_tail(name, len)
    }

    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        self.bucket.size(name)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        self.bucket.list(prefix, visit)
    }

    fn list_foreign(&self, prefix: &str, visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>) -> Result<(), Error> {
        self.bucket.list_foreign(prefix, visit)
    }

    /// A bucket with Object Lock has versions: a deletion hides an object, locked or not, and is refused by few services. Whoever
    /// must not hide what is locked has to look before.
    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.say_retained(name, self.bucket.delete(name))
    }

    fn discard(&self, name: &ObjectName) -> Result<(), Error> {
        self.say_retained(name, self.bucket.discard(name))
    }

    fn retain(&self, names: &[ObjectName], retention: Retention) -> Result<(), Error> {
        let all = stream::iter(names.iter().map(|name| self.keep(name, retention)));
        self.wait(all.buffer_unordered(self.requests_in_flight()).try_collect::<()>())?
    }

    fn retained(&self, names: &[ObjectName]) -> Result<Vec<Option<SystemTime>>, Error> {
        let all = stream::iter(names.iter().map(|name| self.kept_until(name)));
        self.wait(all.buffered(self.requests_in_flight()).try_collect())?
    }

    fn can_retain(&self) -> Result<bool, Error> {
        self.wait(self.has_object_lock())?
    }

    fn forget_cached(&self, name: &ObjectName) {
        self.bucket.forget_cached(name);
    }

    fn remove_leftovers(&self, prefix: &str, older_than: Duration, dry_run: bool) -> Result<Leftovers, Error> {
        self.bucket.remove_leftovers(prefix, older_than, dry_run)
    }

    fn settle_delay(&self) -> Duration {
        self.bucket.settle_delay()
    }

    fn requests_in_flight(&self) -> usize {
        self.bucket.requests_in_flight()
    }

    fn location(&self) -> String {
        self.bucket.location()
    }
}

impl fmt::Debug for Locking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bucket.fmt(f)
    }
}
