//! A proxy that answers 403 to every DELETE, as a service does to credentials that may not delete.
//!
//! SeaweedFS can't take that right alone from an identity: its "Write" is both.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

const REFUSAL: &str =
    "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>s3:DeleteObject is not allowed</Message></Error>";

/// It ends with the process.
pub struct Refusing {
    pub address: SocketAddr,
    refused: Arc<AtomicU64>,
}

impl Refusing {
    /// In front of a server such as `http://127.0.0.1:8333`.
    pub fn before(endpoint: &str) -> Self {
        let server = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), refused: Arc::default() };
        let refused = Arc::clone(&proxy.refused);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, refused) = (server.clone(), Arc::clone(&refused));
                // A client that goes away is no concern of anybody.
                thread::spawn(move || drop(pass(client, &server, &refused)));
            }
        });
        proxy
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// One request, and its answer up to its end.
fn pass(client: TcpStream, server: &str, refused: &AtomicU64) -> io::Result<()> {
    let mut requests = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if !name.eq_ignore_ascii_case("connection") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    requests.read_exact(&mut body)?;
    let mut answers = client;
    if head.starts_with("DELETE ") {
        refused.fetch_add(1, Ordering::Relaxed);
        let length = REFUSAL.len();
        return write!(
            answers,
            "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{REFUSAL}"
        );
    }
    let mut upstream = TcpStream::connect(server)?;
    write!(upstream, "{head}Connection: close\r\n\r\n")?;
    upstream.write_all(&body)?;
    io::copy(&mut upstream, &mut answers).map(drop)
}
