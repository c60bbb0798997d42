//! Writing objects: whole ones, which can be sent again, and streams, which can't.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use cinderblock_backend::{Error as BackendError, ObjectName, ObjectWriter};
use md5::{Digest, Md5};
use reqwest::{Method, Response};
use tokio::task::JoinHandle;

use super::Error;
use super::body::{self, Feed, PIECE};
use super::client::{Answer, Client, Request, Upload, header_text};
use super::read::ReadError;
use crate::retry::Passing;

/// The most that Swift takes as one object (`max_file_size`): 5 GiB and 2 bytes by default. 5 GB leave room for clouds that
/// have set it to that.
const MAX_OBJECT: u64 = 5_000_000_000;

/// What a write came to, without the object's name.
pub(super) enum WriteError {
    AlreadyExists,
    Failed(Error),
}

impl From<Error> for WriteError {
    fn from(error: Error) -> WriteError {
        WriteError::Failed(error)
    }
}

impl WriteError {
    pub(super) fn of(self, name: &ObjectName) -> BackendError {
        match self {
            WriteError::AlreadyExists => BackendError::AlreadyExists { name: name.clone() },
            WriteError::Failed(error) => error.of("write", name.as_str()),
        }
    }
}

/// What is stored under a name, beside what was sent.
#[derive(PartialEq, Eq)]
enum Stored {
    Nothing,
    ThisOne,
    Another,
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Client {
    /// Creates an object, trying again where that may help.
    pub(super) async fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), WriteError> {
        let size: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if size > MAX_OBJECT {
            return Err(Error::TooLarge { limit: MAX_OBJECT }.into());
        }
        let mut hash = Md5::new();
        parts.iter().for_each(|part| hash.update(part));
        let md5 = hex(hash.finalize());
        let upload = Some(Upload { parts, size, md5: &md5 });
        let request = Request { method: Method::PUT, object: Some(name), upload, ..Request::default() };
        let mut tries = self.tries();
        // Whether an earlier attempt may have stored it, its answer being lost.
        let mut sent_before = false;
        loop {
            let error = match self.once(&request).await {
                Ok(Answer { response, permit }) => match response.status().as_u16() {
                    201 => return Ok(()),
                    // 202: there is an object with a later time stamp, which counts.
                    202 | 412 => {
                        drop((response, permit));
                        let ours = sent_before && self.stored(name, size, &md5).await? == Stored::ThisOne;
                        return if ours { Ok(()) } else { Err(WriteError::AlreadyExists) };
                    }
                    404 => return Err(Error::NoContainer { container: self.container.clone() }.into()),
                    _ => return Err(self.answer_error(&request, response).await.into()),
                },
                Err(error) => error,
            };
            // The server read all of it and said what it did not do: nothing was stored.
            sent_before |= !matches!(error, Error::Answer { status: 408 | 422 | 429 | 498, .. });
            let broke = matches!(error, Error::Connection { .. } | Error::Stalled { .. });
            super::client::pause(&mut tries, error, &self.settings.http).await?;
            // A server that refuses an object need not wait for its bytes: it may answer and hang up, and the answer may be
            // lost behind an error of the connection. Asking first is cheaper than sending all again, too.
            if broke {
                match self.stored(name, size, &md5).await? {
                    Stored::Nothing => {}
                    Stored::ThisOne => return Ok(()),
                    Stored::Another => return Err(WriteError::AlreadyExists),
                }
            }
        }
    }

    /// Makes the container, or finds it there.
    pub(super) async fn make(&self) -> Result<(), Error> {
        let request = Request { method: Method::PUT, ..Request::default() };
        let answer = self.execute(&request, &mut self.tries()).await?;
        match answer.status() {
            // 201: it is new; 202: it was there.
            200..300 => Ok(()),
            _ => Err(self.answer_error(&request, answer.response).await),
        }
    }

    async fn stored(&self, name: &ObjectName, size: u64, md5: &str) -> Result<Stored, Error> {
        match self.head(name).await {
            Ok((stored, etag)) if stored == size && etag.eq_ignore_ascii_case(md5) => Ok(Stored::ThisOne),
            Ok(_) => Ok(Stored::Another),
            Err(ReadError::Failed(error)) => Err(error),
            Err(_) => Ok(Stored::Nothing),
        }
    }

    /// Removes an object. True if it was there, or an attempt whose answer was lost may have removed it.
    pub(super) async fn remove(&self, name: &ObjectName) -> Result<bool, Error> {
        let request = Request { method: Method::DELETE, object: Some(name), ..Request::default() };
        let mut tries = self.tries();
        let mut sent_before = false;
        loop {
            match self.once(&request).await {
                Ok(answer) => match answer.status() {
                    200..300 => return Ok(true),
                    404 => return Ok(sent_before),
                    _ => return Err(self.answer_error(&request, answer.response).await),
                },
                Err(error) => {
                    sent_before |= error.is_passing() && !matches!(error, Error::Answer { status: 429 | 498, .. });
                    super::client::pause(&mut tries, error, &self.settings.http).await?;
                }
            }
        }
    }

    /// Makes of a stream's answer what came of it. What another has written over is not ours, and what is not what was
    /// sent goes.
    async fn settle(
        &self,
        name: &ObjectName,
        answer: Result<Response, Error>,
        size: u64,
        md5: &str,
    ) -> Result<(), WriteError> {
        let request = Request { method: Method::PUT, object: Some(name), ..Request::default() };
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                return match self.stored(name, size, md5).await {
                    Ok(Stored::ThisOne) => Ok(()),
                    _ => Err(error.into()),
                };
            }
        };
        match response.status().as_u16() {
            201 => {}
            202 | 412 => return Err(WriteError::AlreadyExists),
            404 => return Err(Error::NoContainer { container: self.container.clone() }.into()),
            _ => return Err(self.answer_error(&request, response).await.into()),
        }
        let etag = header_text(response.headers(), "etag").unwrap_or_default().trim_matches('"');
        if !etag.eq_ignore_ascii_case(md5) {
            self.remove(name).await?;
            return Err(Error::Damaged { request: self.describe(&request) }.into());
        }
        // The time stamp of a stream is that of its beginning: one that began later and ended earlier counts, and Swift
        // does not say so.
        match self.stored(name, size, md5).await? {
            Stored::ThisOne => Ok(()),
            Stored::Nothing | Stored::Another => Err(WriteError::AlreadyExists),
        }
    }
}

/// An object that is being written.
pub(super) struct Writer {
    client: Arc<Client>,
    name: ObjectName,
    /// What came so far, as long as it is little.
    pieces: Vec<Vec<u8>>,
    size: u64,
    hash: Md5,
    stream: Option<Stream>,
    failed: bool,
}

/// A request on its way, and what feeds it. Dropped before its end is said, its connection is cut.
struct Stream {
    feed: Feed,
    answer: JoinHandle<Result<Response, Error>>,
}

impl Writer {
    pub(super) fn new(client: Arc<Client>, name: ObjectName) -> Writer {
        Writer { client, name, pieces: Vec::new(), size: 0, hash: Md5::new(), stream: None, failed: false }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        let size = self.size + bytes.len() as u64;
        if size > MAX_OBJECT {
            return Err(WriteError::from(Error::TooLarge { limit: MAX_OBJECT }).of(&self.name));
        }
        if self.stream.is_none() {
            if size <= self.client.settings.write_buffer as u64 {
                self.keep(bytes);
                self.size = size;
                return Ok(());
            }
            self.begin_stream()?;
            for piece in std::mem::take(&mut self.pieces) {
                self.send(piece.into())?;
            }
        }
        for piece in bytes.chunks(PIECE) {
            self.send(Bytes::copy_from_slice(piece))?;
        }
        self.size = size;
        Ok(())
    }

    /// Appends to the pieces, each of which gets full.
    fn keep(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.pieces.last().is_none_or(|piece| piece.len() >= PIECE) {
                self.pieces.push(Vec::new());
            }
            let Some(piece) = self.pieces.last_mut() else { return };
            let (now, later) = bytes.split_at((PIECE - piece.len()).min(bytes.len()));
            piece.extend_from_slice(now);
            bytes = later;
        }
    }

    fn begin_stream(&mut self) -> Result<(), BackendError> {
        // A stream can be sent only once, so its token must be good, and it would be a pity about the bytes if the name were
        // taken. One small request shows both.
        match self.client.wait(self.client.head(&self.name))? {
            Err(ReadError::NotFound) => {}
            Ok(_) => return Err(WriteError::AlreadyExists.of(&self.name)),
            Err(error) => return Err(error.of(&self.name)),
        }
        let (feed, body) = body::pair();
        let (client, name) = (Arc::clone(&self.client), self.name.clone());
        let answer = self.client.runtime().map_err(|error| error.of("write", self.name.as_str()))?;
        let answer = answer.spawn(async move { client.stream(&name, body).await });
        self.stream = Some(Stream { feed, answer });
        Ok(())
    }

    fn send(&mut self, piece: Bytes) -> Result<(), BackendError> {
        self.hash.update(&piece);
        let Some(stream) = &self.stream else { return Ok(()) };
        let after = self.client.settings.http.read_timeout;
        let sent = self.client.wait(async { tokio::time::timeout(after, stream.feed.send(piece)).await })?;
        let stalled = || Error::Stalled { request: format!("PUT {}", self.name), after };
        match sent {
            Ok(Ok(())) => Ok(()),
            Err(_) => Err(stalled().of("write", self.name.as_str())),
            // The request has ended before its bytes: its answer says why.
            Ok(Err(body::Closed)) => {
                let Some(Stream { answer, .. }) = self.stream.take() else { return Ok(()) };
                let client = Arc::clone(&self.client);
                let request = Request { method: Method::PUT, object: Some(&self.name), ..Request::default() };
                let error = client.wait(async {
                    match joined(answer, after).await {
                        Ok(response) if matches!(response.status().as_u16(), 202 | 412) => WriteError::AlreadyExists,
                        Ok(response) => client.answer_error(&request, response).await.into(),
                        Err(error) => error.into(),
                    }
                })?;
                Err(error.of(&self.name))
            }
        }
    }

    fn end(self) -> Result<(), BackendError> {
        let name = self.name;
        let client = self.client;
        let result = match self.stream {
            None => {
                let parts: Vec<&[u8]> = self.pieces.iter().map(Vec::as_slice).collect();
                client.wait(client.put(&name, &parts))?
            }
            Some(Stream { feed, answer }) => {
                let md5 = hex(self.hash.finalize());
                let after = client.settings.http.read_timeout;
                client.wait(async {
                    // Where nobody takes the end, the answer says why.
                    let _ = tokio::time::timeout(after, feed.end()).await;
                    client.settle(&name, joined(answer, after).await, self.size, &md5).await
                })?
            }
        };
        result.map_err(|error| error.of(&name))
    }
}

/// What the task came to.
async fn joined(
    mut answer: JoinHandle<Result<Response, Error>>,
    after: std::time::Duration,
) -> Result<Response, Error> {
    match tokio::time::timeout(after, &mut answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(Error::Abandoned),
        Err(_) => {
            answer.abort();
            Err(Error::Stalled { request: "PUT of a stream".to_owned(), after })
        }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other(BackendError::Incomplete { name: self.name.clone() }));
        }
        match self.take(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = true;
                self.stream = None;
                Err(io::Error::other(error))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for Writer {
    fn finish(self: Box<Self>) -> Result<(), BackendError> {
        if self.failed {
            return Err(BackendError::Incomplete { name: self.name });
        }
        self.end()
    }
}
