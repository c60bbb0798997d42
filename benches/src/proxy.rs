//! A proxy for HTTP/1.1 that makes a fast and sound storage slow and faulty, and counts the requests.
//!
//! It passes on what it gets as it is, the `Host` too, which S3 signs. Each client's connection has one of its own to the
//! storage. For tests and measurements on one machine; not for a network.
//!
//! ```no_run
//! use cinderblock_benches::proxy::{Faults, Proxy, Settings};
//!
//! let faults = Faults { seed: 7, cut: 0.02, refuse: 0.05, ..Faults::default() };
//! let proxy = Proxy::start("127.0.0.1:0", Settings { upstream: "127.0.0.1:8333".to_owned(), faults, ..Settings::default() })?;
//! println!("{}", proxy.address());
//! // … use it …
//! println!("{} requests", proxy.counts().requests.values().sum::<u64>());
//! # Ok::<(), std::io::Error>(())
//! ```

mod fault;
mod message;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

pub use fault::Faults;

use fault::Fault;
use message::{Length, Messages};

/// The path under which a proxy itself answers, with its [`Counts`] as JSON.
pub const COUNTS_PATH: &str = "/__counts";

/// What a proxy does with requests.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where they go: host and port.
    pub upstream: String,
    /// How long each request is held before it goes on: what a network's round trip adds.
    pub latency: Duration,
    /// What goes wrong.
    pub faults: Faults,
    /// GETs whose path, without the query, has this in it are counted apart. Empty: none are.
    pub watch: String,
    /// Write a line to standard error for each request: its method, its path, and the range that it asks for.
    pub log: bool,
}

/// What went through a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests by method, those too to which something was done.
    pub requests: BTreeMap<String, u64>,
    /// GETs of what [`Settings::watch`] says.
    pub watched: u64,
    /// The bytes of their bodies that were passed on.
    pub request_bytes: u64,
    /// The bytes of the answers' bodies that were passed on.
    pub answer_bytes: u64,
    /// How many requests something was done to: `cut`, `truncated`, `refused` and `delayed`.
    pub faults: BTreeMap<String, u64>,
}

/// A proxy at work. It stops taking connections when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    counts: Mutex<Counts>,
    requests: AtomicU64,
    stopped: AtomicBool,
}

impl Proxy {
    /// Begins to listen at an address, `127.0.0.1:0` for any free port.
    ///
    /// # Errors
    ///
    /// The system's answer if it can't listen there.
    pub fn start(listen: &str, settings: Settings) -> io::Result<Proxy> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            settings,
            counts: Mutex::default(),
            requests: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if accepting.stopped.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&accepting)) else { continue };
                // A connection that ends in the middle is nothing that its proxy could mend.
                thread::spawn(move || drop(shared.serve(client)));
            }
        })?;
        Ok(Proxy { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What went through so far.
    pub fn counts(&self) -> Counts {
        self.shared.count(|counts| counts.clone())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Wakes the thread that listens.
        let _ = TcpStream::connect(self.address);
    }
}

/// The connection to the storage.
struct Upstream {
    answers: Messages<TcpStream>,
    requests: TcpStream,
}

impl Upstream {
    fn connect(address: &str) -> io::Result<Upstream> {
        let requests = TcpStream::connect(address)?;
        requests.set_nodelay(true)?;
        Ok(Upstream { answers: Messages::new(requests.try_clone()?), requests })
    }

    /// Whether the storage has hung up, as it may between two requests.
    fn has_ended(&self) -> bool {
        let peeked = self.requests.set_nonblocking(true).and_then(|()| self.requests.peek(&mut [0]));
        let _ = self.requests.set_nonblocking(false);
        !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Shared {
    fn count<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut requests = Messages::new(client.try_clone()?);
        let mut client = client;
        let mut upstream: Option<Upstream> = None;
        while let Some(head) = requests.head()? {
            let method = head.word(0).to_owned();
            let length = head.request_length()?;
            if head.word(1) == COUNTS_PATH {
                let text = serde_json::to_string(&self.count(|counts| counts.clone()))?;
                answer(&mut client, "200 OK", &text)?;
                continue;
            }
            if self.settings.log {
                eprintln!("{method} {} {}", head.word(1), head.header("range").unwrap_or_default());
            }
            let fault = self.settings.faults.of(self.requests.fetch_add(1, Ordering::Relaxed));
            self.count(|counts| {
                *counts.requests.entry(method.clone()).or_default() += 1;
                let (path, watch) = (head.word(1).split('?').next().unwrap_or_default(), &self.settings.watch);
                counts.watched += u64::from(method == "GET" && !watch.is_empty() && path.contains(watch));
                if let Some(name) = fault.name() {
                    *counts.faults.entry(name.to_owned()).or_default() += 1;
                }
            });
            thread::sleep(self.settings.latency);
            match fault {
                Fault::Delay(time) => thread::sleep(time),
                Fault::Refuse(status) => {
                    if head.has("expect", "100-continue") {
                        answer(&mut client, &status_line(status), "refused by the proxy")?;
                        return hang_up(&client);
                    }
                    requests.body(length, u64::MAX, &mut io::sink())?;
                    answer(&mut client, &status_line(status), "refused by the proxy")?;
                    continue;
                }
                _ => {}
            }
            let server = match upstream.take().filter(|server| !server.has_ended()) {
                Some(server) => upstream.insert(server),
                None => upstream.insert(Upstream::connect(&self.settings.upstream)?),
            };
            if !self.pass(&mut requests, &mut client, server, &head, fault)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Passes a request and its answer on. False if that was the connection's last.
    fn pass(
        &self,
        requests: &mut Messages<TcpStream>,
        client: &mut TcpStream,
        server: &mut Upstream,
        head: &message::Head,
        fault: Fault,
    ) -> io::Result<bool> {
        server.requests.write_all(&head.bytes)?;
        let length = head.request_length()?;
        let mut early = None;
        if head.has("expect", "100-continue") {
            let answer = server.answers.head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if answer.status() == 100 {
                client.write_all(&answer.bytes)?;
            } else {
                early = Some(answer);
            }
        }
        let mut keeps = early.is_none();
        if early.is_none() && length != Length::Bytes(0) {
            let limit = match (fault, length) {
                (Fault::CutRequest, Length::Bytes(bytes)) => bytes / 2,
                (Fault::CutRequest, _) => 64 * 1024,
                _ => u64::MAX,
            };
            match requests.body(length, limit, &mut server.requests) {
                Ok((bytes, whole)) => {
                    self.count(|counts| counts.request_bytes += bytes);
                    if !whole {
                        reset(&server.requests);
                        reset(client);
                        return Ok(false);
                    }
                }
                // The storage may answer before it has all, and hang up.
                Err(_) => keeps = false,
            }
        }
        let answer = loop {
            match early.take().map_or_else(|| server.answers.head(), |answer| Ok(Some(answer)))? {
                Some(answer) if answer.status() == 100 => client.write_all(&answer.bytes)?,
                Some(answer) => break answer,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        let method = head.word(0);
        let length = answer.answer_length(method)?;
        if matches!(fault, Fault::CutAnswer | Fault::CutRequest) && matches!(length, Length::Bytes(0..2)) {
            // Nothing to cut in two: the whole answer is lost.
            reset(client);
            return Ok(false);
        }
        client.write_all(&answer.bytes)?;
        let limit = match (fault, length) {
            (Fault::CutAnswer | Fault::CutRequest | Fault::Truncate, Length::Bytes(bytes)) if bytes > 0 => bytes / 2,
            (Fault::CutAnswer | Fault::CutRequest | Fault::Truncate, Length::Chunked) => 1024,
            _ => u64::MAX,
        };
        let (bytes, whole) = server.answers.body(length, limit, client)?;
        self.count(|counts| counts.answer_bytes += bytes);
        if !whole {
            if fault == Fault::Truncate {
                hang_up(client)?;
            } else {
                reset(client);
            }
            return Ok(false);
        }
        let closes = length == Length::Close || answer.has("connection", "close") || head.has("connection", "close");
        Ok(keeps && !closes)
    }
}

fn status_line(status: u16) -> String {
    match status {
        429 => "429 Too Many Requests\r\nRetry-After: 1".to_owned(),
        503 => "503 Service Unavailable".to_owned(),
        _ => format!("{status} Internal Server Error"),
    }
}

fn answer(client: &mut TcpStream, status: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    client.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{text}").as_bytes())
}

/// Ends a connection in good order.
fn hang_up(client: &TcpStream) -> io::Result<()> {
    client.shutdown(Shutdown::Both)
}

/// Ends a connection at once, as a line that breaks does: what is still to be sent is dropped.
fn reset(stream: &TcpStream) {
    // With a linger time of zero, closing sends a reset. All other handles of the socket are closed with the thread's.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests;
