//! Reading objects and ranges of them, on from where an answer broke off.

use cinderblock_backend::{Error as BackendError, ObjectName, Tail};
use reqwest::{Method, Response};
use tokio::sync::SemaphorePermit;

use super::Error;
use super::client::{Answer, Client, Request, header_text};
use crate::retry::Tries;

/// An answer that brought this many bytes before it broke off does not count as a failed attempt.
const PROGRESS: usize = 256 * 1024;

/// The most that is reserved for bytes that were announced and have not come.
const RESERVED: u64 = 64 * 1024 * 1024;

/// What an answer holds of an object.
struct Held {
    /// Where in the object its first byte is.
    start: u64,
    /// The object's size.
    size: u64,
}

/// What a request for a range came to.
enum Found {
    Bytes(Held),
    /// The range is not in the object.
    Unsatisfiable,
}

impl Client {
    fn get<'a>(name: &'a ObjectName, range: Option<String>) -> Request<'a> {
        Request { method: Method::GET, object: Some(name), range, ..Request::default() }
    }

    /// What an answer to a GET holds, by its status and headers.
    async fn held(&self, request: &Request<'_>, response: Response) -> Result<(Response, Found), ReadError> {
        let nonsense = |problem| Error::Protocol { request: self.describe(request), problem };
        let found = match response.status().as_u16() {
            200 => {
                let size = length(&response).ok_or_else(|| nonsense("it has no Content-Length"))?;
                Found::Bytes(Held { start: 0, size })
            }
            206 => {
                let (start, end, size) = header_text(response.headers(), "content-range")
                    .and_then(content_range)
                    .ok_or_else(|| nonsense("it has no valid Content-Range"))?;
                if length(&response).is_some_and(|length| length != end - start) {
                    return Err(nonsense("Content-Length and Content-Range differ").into());
                }
                Found::Bytes(Held { start, size })
            }
            416 => Found::Unsatisfiable,
            404 => return Err(ReadError::NotFound),
            _ => return Err(self.answer_error(request, response).await.into()),
        };
        Ok((response, found))
    }

    /// Hands the bytes of an answer over, after the first `skip` of them, until `take` wants no more. Returns how many
    /// it took.
    async fn drain(
        &self,
        request: &Request<'_>,
        mut response: Response,
        mut skip: u64,
        wanted: u64,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> (u64, Result<(), Error>) {
        let wait = self.settings.http.read_timeout;
        let mut taken = 0;
        while taken < wanted {
            let chunk = match tokio::time::timeout(wait, response.chunk()).await {
                Err(_) => return (taken, Err(Error::Stalled { request: self.describe(request), after: wait })),
                Ok(Err(source)) => {
                    let source = source.without_url();
                    return (taken, Err(Error::Connection { request: self.describe(request), source }));
                }
                Ok(Ok(None)) => {
                    return (taken, Err(Error::CutShort { request: self.describe(request), got: taken, wanted }));
                }
                Ok(Ok(Some(chunk))) => chunk,
            };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= skipped as u64;
            let rest = chunk.get(skipped..).unwrap_or_default();
            let room = usize::try_from(wanted - taken).unwrap_or(usize::MAX).min(rest.len());
            take(rest.get(..room).unwrap_or_default());
            taken += room as u64;
        }
        (taken, Ok(()))
    }

    /// Fills `buf` from the object's byte `offset` on.
    pub(super) async fn read(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let wanted = buf.len() as u64;
        let out_of_range = |size| ReadError::End { offset, wanted, size };
        let end = match offset.checked_add(wanted) {
            Some(end) if wanted > 0 => end,
            end => {
                let size = self.size(name).await?;
                return if end.is_some_and(|end| end <= size) { Ok(()) } else { Err(out_of_range(size)) };
            }
        };
        let mut tries = self.tries();
        let mut filled = 0;
        while filled < buf.len() {
            let from = offset + filled as u64;
            let request = Client::get(name, Some(format!("bytes={from}-{}", end - 1)));
            let Answer { response, permit } = self.execute(&request, &mut tries).await?;
            let (response, found) = self.held(&request, response).await?;
            let held = match found {
                Found::Bytes(held) if held.size >= end => held,
                Found::Bytes(held) => return Err(out_of_range(held.size)),
                Found::Unsatisfiable => {
                    drop((response, permit));
                    return Err(out_of_range(self.size(name).await?));
                }
            };
            if held.start != from && held.start != 0 {
                let problem = "it begins at another byte than was asked for";
                return Err(Error::Protocol { request: self.describe(&request), problem }.into());
            }
            let rest = buf.get_mut(filled..).unwrap_or_default();
            let (len, mut at) = (rest.len() as u64, 0);
            let (taken, result) = self
                .drain(&request, response, from - held.start, len, &mut |bytes| {
                    // `drain` hands over no more than `len` bytes.
                    if let Some(place) = rest.get_mut(at..at + bytes.len()) {
                        place.copy_from_slice(bytes);
                    }
                    at += bytes.len();
                })
                .await;
            drop(permit);
            filled += taken as usize;
            self.go_on(result, taken, &mut tries).await?;
        }
        Ok(())
    }

    async fn go_on(&self, result: Result<(), Error>, taken: u64, tries: &mut Tries) -> Result<(), Error> {
        let Err(error) = result else { return Ok(()) };
        if taken >= PROGRESS as u64 {
            *tries = self.tries();
        }
        super::client::pause(tries, error, &self.settings.http).await
    }

    /// `want` bytes of the object from its byte `start` on, the first of them from an answer that begins at
    /// `held.start`.
    async fn collect(
        &self,
        name: &ObjectName,
        request: &Request<'_>,
        (response, permit): (Response, SemaphorePermit<'_>),
        held: &Held,
        (start, want): (u64, u64),
    ) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        let reserve = usize::try_from(want.min(RESERVED)).unwrap_or(usize::MAX);
        bytes.try_reserve(reserve).map_err(|_| ReadError::Memory)?;
        let (taken, result) = self
            .drain(request, response, start.saturating_sub(held.start), want, &mut |piece| {
                bytes.extend_from_slice(piece)
            })
            .await;
        drop(permit);
        if let Err(error) = result {
            // The rest by itself. It is as large as what was announced, so it is fetched in pieces that really come.
            self.go_on(Err(error), taken, &mut self.tries()).await?;
            while (bytes.len() as u64) < want {
                let len = (want - bytes.len() as u64).min(RESERVED) as usize;
                let at = bytes.len();
                bytes.try_reserve(len).map_err(|_| ReadError::Memory)?;
                bytes.resize(at + len, 0);
                self.read(name, start + at as u64, bytes.get_mut(at..).unwrap_or_default()).await?;
            }
        }
        Ok(bytes)
    }

    /// The whole object, if it has at most `limit` bytes.
    pub(super) async fn whole(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, ReadError> {
        let request = Client::get(name, None);
        let Answer { response, permit } = self.execute(&request, &mut self.tries()).await?;
        if response.status().as_u16() == 404 {
            drop((response, permit));
            self.check_container().await?;
            return Err(ReadError::NotFound);
        }
        let (response, found) = self.held(&request, response).await?;
        let Found::Bytes(held @ Held { start: 0, size }) = found else {
            let problem = "it holds a part, and the whole was asked for";
            return Err(Error::Protocol { request: self.describe(&request), problem }.into());
        };
        if size > limit {
            return Err(ReadError::TooLarge { size, limit });
        }
        self.collect(name, &request, (response, permit), &held, (0, size)).await
    }

    /// The object's last `len` bytes, and its size.
    pub(super) async fn tail(&self, name: &ObjectName, len: usize) -> Result<Tail, ReadError> {
        let empty = |object_size| Tail { bytes: Vec::new(), object_size };
        if len == 0 {
            return Ok(empty(self.size(name).await?));
        }
        // No object is that long, and no server has to read such a number.
        let len = (len as u64).min(i64::MAX as u64);
        let request = Client::get(name, Some(format!("bytes=-{len}")));
        let Answer { response, permit } = self.execute(&request, &mut self.tries()).await?;
        let (response, found) = self.held(&request, response).await?;
        let Found::Bytes(held) = found else {
            drop((response, permit));
            // Of nothing there is no last byte.
            return match self.size(name).await? {
                0 => Ok(empty(0)),
                _ => Err(Error::Protocol { request: self.describe(&request), problem: "there are last bytes" }.into()),
            };
        };
        let want = len.min(held.size);
        let start = held.size - want;
        if held.start != start && held.start != 0 {
            let problem = "it does not hold the last bytes";
            return Err(Error::Protocol { request: self.describe(&request), problem }.into());
        }
        let bytes = self.collect(name, &request, (response, permit), &held, (start, want)).await?;
        Ok(Tail { bytes, object_size: held.size })
    }

    /// The object's size.
    pub(super) async fn size(&self, name: &ObjectName) -> Result<u64, ReadError> {
        self.head(name).await.map(|(size, _)| size)
    }

    /// The object's size and ETag, which is the MD5 of its bytes.
    pub(super) async fn head(&self, name: &ObjectName) -> Result<(u64, String), ReadError> {
        let request = Request { method: Method::HEAD, object: Some(name), ..Request::default() };
        let answer = self.execute(&request, &mut self.tries()).await?;
        match answer.status() {
            200 => {
                let no_length =
                    Error::Protocol { request: self.describe(&request), problem: "it has no Content-Length" };
                let etag = header_text(answer.response.headers(), "etag").unwrap_or_default().trim_matches('"');
                Ok((length(&answer.response).ok_or(no_length)?, etag.to_owned()))
            }
            404 => Err(ReadError::NotFound),
            _ => Err(self.answer_error(&request, answer.response).await.into()),
        }
    }
}

/// What a read came to, without the object's name.
#[derive(Debug)]
pub(super) enum ReadError {
    NotFound,
    TooLarge { size: u64, limit: u64 },
    End { offset: u64, wanted: u64, size: u64 },
    Memory,
    Failed(Error),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> ReadError {
        ReadError::Failed(error)
    }
}

impl ReadError {
    pub(super) fn of(self, name: &ObjectName) -> BackendError {
        let name = name.clone();
        match self {
            ReadError::NotFound => BackendError::NotFound { name },
            ReadError::TooLarge { size, limit } => BackendError::TooLarge { name, size, limit },
            ReadError::End { offset, wanted, size } => BackendError::UnexpectedEnd { name, offset, wanted, size },
            ReadError::Memory => BackendError::from_io("read", name.as_str(), std::io::ErrorKind::OutOfMemory.into()),
            ReadError::Failed(error) => error.of("read", name.as_str()),
        }
    }
}

/// The Content-Length as it was sent: reqwest's own is that of the body, and a HEAD has none.
fn length(response: &Response) -> Option<u64> {
    header_text(response.headers(), "content-length")?.parse().ok()
}

/// First byte, byte after the last, and size from `bytes 0-9/100` (RFC 9110, section 14.4).
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    let end = last.checked_add(1)?;
    (first < end && end <= size).then_some((first, end, size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn content_ranges_are_checked() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0, 10, 100)));
        assert_eq!(content_range("bytes 99-99/100"), Some((99, 100, 100)));
        for bad in [
            "bytes 9-0/100",
            "bytes 0-100/100",
            "bytes */100",
            "bytes 0-9/*",
            "0-9/100",
            "bytes 0-18446744073709551615/1",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_content_range_is_within_the_object_or_refused(text in "(bytes )?[0-9*-]{0,25}/?[0-9*]{0,25}") {
            if let Some((start, end, size)) = content_range(&text) {
                prop_assert!(start < end && end <= size);
            }
        }
    }
}
