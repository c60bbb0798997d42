//! A server that speaks as much of S3 as a bucket asks for, and misbehaves when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use cinderblock_backend::Backend;
use cinderblock_remote::{Environment, Place, Settings};

/// What is done to the next request in place of an answer.
#[derive(Clone, Debug)]
pub enum Misdeed {
    /// None: this request is answered as it should be.
    Behave,
    /// Nothing is done, and the answer has this status.
    Refuse(u16),
    /// The same with this body.
    Explain(u16, &'static str),
    /// Nothing is done, and the answer has this status and sends to the key `elsewhere`.
    Redirect(u16),
    /// It is done, and the answer has this status.
    DoAndRefuse(u16),
    /// It is done, and the connection closed without an answer.
    DoAndHangUp,
    /// Somebody else has put these bytes there meanwhile; the answer has this status.
    Overtake(&'static [u8], u16),
    /// Only so many bytes of the body come.
    Cut(usize),
    /// The headers say that the body, and the object, is so large.
    Claim(u64),
    /// The range that was answered begins a byte later than the one that was asked for.
    Shift,
    /// It is done, and the answer comes so much later.
    Late(Duration),
    /// Only so many bytes of the body come, and the connection stays.
    Stall(usize),
    /// Every page of the listing says that another follows, and gives the same token.
    NeverEnd,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    misdeeds: VecDeque<Misdeed>,
    always: Option<Misdeed>,
    requests: Vec<String>,
}

/// The server. It runs until the process ends.
#[derive(Clone, Debug)]
pub struct BadServer {
    state: Arc<Mutex<State>>,
    endpoint: String,
}

struct Request {
    method: String,
    key: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl BadServer {
    pub fn start() -> BadServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = BadServer { state: Arc::default(), endpoint };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                thread::spawn(move || server.answer(stream));
            }
        });
        server
    }

    /// The bucket that it has.
    pub fn bucket(&self) -> Arc<dyn Backend> {
        self.bucket_with(&impatient())
    }

    /// The same with other settings.
    pub fn bucket_with(&self, settings: &Settings) -> Arc<dyn Backend> {
        let variables = [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let place: Place = "s3://bucket/prefix".parse().unwrap();
        cinderblock_remote::open_in(&Environment::new(&variables), &place, settings).unwrap()
    }

    /// The next requests meet these, one each.
    pub fn will(&self, misdeeds: &[Misdeed]) {
        self.state().misdeeds.extend(misdeeds.iter().cloned());
    }

    /// All requests meet this, once the others are used up.
    pub fn always(&self, misdeed: Misdeed) {
        self.state().always = Some(misdeed);
    }

    /// Puts an object there behind everybody's back, under its whole key.
    pub fn has(&self, key: &str, bytes: &[u8]) {
        self.state().objects.insert(key.to_owned(), bytes.to_owned());
    }

    /// The methods of the requests that came since this was called last.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, stream: TcpStream) -> Option<()> {
        let request = read(&stream)?;
        let mut state = self.state();
        state.requests.push(request.method.clone());
        let misdeed = state.misdeeds.pop_front().or_else(|| state.always.clone());
        match misdeed {
            Some(Misdeed::Refuse(status)) => send(&stream, &request, status, &[], b""),
            Some(Misdeed::Explain(status, body)) => send(&stream, &request, status, &[], body.as_bytes()),
            Some(Misdeed::Redirect(status)) => {
                let location = format!("location: {}/bucket/elsewhere", self.endpoint);
                send(&stream, &request, status, &[location], b"")
            }
            Some(Misdeed::DoAndRefuse(status)) => {
                perform(&mut state, &request);
                send(&stream, &request, status, &[], b"")
            }
            Some(Misdeed::DoAndHangUp) => {
                perform(&mut state, &request);
                Some(())
            }
            Some(Misdeed::Overtake(bytes, status)) => {
                state.objects.insert(request.key.clone(), bytes.to_owned());
                send(&stream, &request, status, &[], b"")
            }
            Some(Misdeed::Cut(len)) => {
                let (status, headers, body) = perform(&mut state, &request);
                send_head(&stream, status, &headers, body.len() as u64)?;
                (&stream).write_all(&body[..len.min(body.len())]).ok()
            }
            Some(Misdeed::Late(pause)) => {
                let (status, headers, body) = perform(&mut state, &request);
                drop(state);
                thread::sleep(pause);
                send(&stream, &request, status, &headers, &body)
            }
            Some(Misdeed::Stall(len)) => {
                let (status, headers, body) = perform(&mut state, &request);
                send_head(&stream, status, &headers, body.len() as u64)?;
                (&stream).write_all(&body[..len.min(body.len())]).ok()?;
                // Open until the process ends.
                std::mem::forget(stream);
                Some(())
            }
            Some(Misdeed::Claim(size)) => {
                let (status, headers, body) = perform(&mut state, &request);
                let headers = headers.iter().map(|header| match header.rsplit_once('/') {
                    Some((range, _)) if header.starts_with("content-range") => format!("{range}/{size}"),
                    _ => header.clone(),
                });
                let len = if status == 206 { body.len() as u64 } else { size };
                send_head(&stream, status, &headers.collect::<Vec<_>>(), len)?;
                (&stream).write_all(&body).ok()
            }
            Some(Misdeed::Shift) => {
                let (start, end) = bounds(&request, u64::MAX)?;
                let size = end + 2;
                let headers = [format!("content-range: bytes {}-{end}/{size}", start + 1)];
                send(&stream, &request, 206, &headers, &vec![7; (end - start) as usize])
            }
            Some(Misdeed::NeverEnd) => {
                let body = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                            <NextContinuationToken>again</NextContinuationToken></ListBucketResult>";
                send(&stream, &request, 200, &[], body.as_bytes())
            }
            Some(Misdeed::Behave) | None => {
                let (status, headers, body) = perform(&mut state, &request);
                drop(state);
                send(&stream, &request, status, &headers, &body)
            }
        }
    }
}

/// Settings that wait for milliseconds.
pub fn impatient() -> Settings {
    Settings {
        retries: 4,
        first_pause: Duration::from_millis(1),
        request_timeout: Duration::from_secs(20),
        ..Settings::default()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let key = path.strip_prefix("/bucket").unwrap_or(path).trim_start_matches('/').to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let len = headers.get("content-length").map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, key, query: query.to_owned(), headers, body })
}

fn send(stream: &TcpStream, request: &Request, status: u16, headers: &[String], body: &[u8]) -> Option<()> {
    send_head(stream, status, headers, body.len() as u64)?;
    if request.method == "HEAD" { Some(()) } else { (&*stream).write_all(body).ok() }
}

fn send_head(mut stream: &TcpStream, status: u16, headers: &[String], len: u64) -> Option<()> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let date = "last-modified: Thu, 01 Jan 2026 00:00:00 GMT";
    write!(stream, "HTTP/1.1 {status} X\r\n{headers}{date}\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n").ok()
}

/// The first and last byte of the range that was asked for.
fn bounds(request: &Request, size: u64) -> Option<(u64, u64)> {
    let (start, end) = request.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some(match (start, end) {
        ("", last) => (size.saturating_sub(last.parse().ok()?), size.checked_sub(1)?),
        (start, end) => (start.parse().ok()?, end.parse::<u64>().ok()?.min(size.saturating_sub(1))),
    })
}

/// What a good server does: status, headers and body.
fn perform(state: &mut State, request: &Request) -> (u16, Vec<String>, Vec<u8>) {
    let etag = "etag: \"e\"".to_owned();
    match (request.method.as_str(), state.objects.get(&request.key)) {
        ("GET", _) if request.query.contains("list-type=2") => (200, Vec::new(), listing(state).into_bytes()),
        ("PUT", found) => {
            assert_eq!(request.headers.get("if-none-match").map(String::as_str), Some("*"), "an upload may overwrite");
            assert!(request.headers.contains_key("x-amz-checksum-sha256"), "an upload is not checked");
            if found.is_some() {
                return (412, Vec::new(), Vec::new());
            }
            state.objects.insert(request.key.clone(), request.body.clone());
            (200, vec![etag], Vec::new())
        }
        ("DELETE", _) => {
            state.objects.remove(&request.key);
            (204, Vec::new(), Vec::new())
        }
        (_, None) => (404, Vec::new(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
        (_, Some(object)) if request.headers.contains_key("range") => match bounds(request, object.len() as u64) {
            Some((start, end)) if start <= end => {
                let range = format!("content-range: bytes {start}-{end}/{}", object.len());
                (206, vec![etag, range], object[start as usize..=end as usize].to_vec())
            }
            _ => (416, Vec::new(), Vec::new()),
        },
        (_, Some(object)) => (200, vec![etag], object.clone()),
    }
}

/// All keys, whatever the request asks for: the bucket has to see for itself what is its own.
fn listing(state: &State) -> String {
    let contents = state.objects.iter().map(|(key, object)| {
        let key: String = key
            .chars()
            .map(|c| match c {
                '&' => "&amp;".to_owned(),
                '<' => "&lt;".to_owned(),
                c if c.is_control() => format!("&#x{:x};", u32::from(c)),
                c => c.to_string(),
            })
            .collect();
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{}</Size></Contents>",
            object.len()
        )
    });
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>", contents.collect::<String>())
}
