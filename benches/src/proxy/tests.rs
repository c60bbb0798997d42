use std::io::Read;

use super::*;

/// A storage that keeps connections alive: a PUT is answered with the length of its body, a GET of `/n` with n bytes.
fn storage() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || drop(storage_serve(stream)));
        }
    });
    address
}

fn storage_serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = Messages::new(stream.try_clone()?);
    let block = vec![b'x'; 1 << 20];
    while let Some(head) = requests.head()? {
        if head.has("expect", "100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (bytes, _) = requests.body(head.request_length()?, u64::MAX, &mut io::sink())?;
        if head.word(0) == "PUT" {
            let text = format!("{bytes} for {}", head.header("host").unwrap_or("nobody"));
            answer(&mut stream, "201 Created", &text)?;
            continue;
        }
        let mut size: usize = head.word(1).trim_start_matches('/').parse().unwrap_or(0);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")?;
        while size > 0 {
            let now = size.min(block.len());
            stream.write_all(&block[..now])?;
            size -= now;
        }
    }
    Ok(())
}

fn proxy(settings: Settings) -> Proxy {
    Proxy::start("127.0.0.1:0", Settings { upstream: storage().to_string(), ..settings }).unwrap()
}

struct Client {
    stream: TcpStream,
    answers: Messages<TcpStream>,
}

impl Client {
    fn of(proxy: &Proxy) -> Client {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        Client { answers: Messages::new(stream.try_clone().unwrap()), stream }
    }

    /// Status and body of the answer.
    fn ask(&mut self, request: &str) -> io::Result<(u16, Vec<u8>)> {
        self.stream.write_all(request.as_bytes())?;
        self.answer("GET")
    }

    fn answer(&mut self, method: &str) -> io::Result<(u16, Vec<u8>)> {
        let head = self.answers.head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut body = Vec::new();
        self.answers.body(head.answer_length(method)?, u64::MAX, &mut body)?;
        Ok((head.status(), body))
    }
}

#[test]
fn requests_go_through_as_they_are_on_one_connection() {
    let proxy = proxy(Settings::default());
    let mut client = Client::of(&proxy);
    let put = client.ask("PUT /a HTTP/1.1\r\nHost: signed:1\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    assert_eq!(put, (201, b"5 for signed:1".to_vec()));
    let chunked = "PUT /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).unwrap(), (201, b"7 for b".to_vec()));
    let (status, body) = client.ask("GET /3000000 HTTP/1.1\r\nHost: b\r\n\r\n").unwrap();
    assert_eq!((status, body.len()), (200, 3_000_000));
    assert_eq!(client.ask("GET /0 HTTP/1.1\r\nHost: b\r\n\r\n").unwrap(), (200, vec![]));

    let (status, counts) = client.ask("GET /__counts HTTP/1.1\r\nHost: b\r\n\r\n").unwrap();
    let counts: serde_json::Value = serde_json::from_slice(&counts).unwrap();
    assert_eq!((status, &counts["requests"]), (200, &serde_json::json!({"GET": 2, "PUT": 2})));
    assert_eq!((&counts["request_bytes"], &counts["faults"]), (&12.into(), &serde_json::json!({})));
}

#[test]
fn a_client_that_waits_for_continue_gets_it() {
    let proxy = proxy(Settings::default());
    let mut client = Client::of(&proxy);
    client
        .stream
        .write_all(b"PUT /a HTTP/1.1\r\nHost: b\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .unwrap();
    assert_eq!(client.answers.head().unwrap().unwrap().status(), 100);
    assert_eq!(client.ask("abc").unwrap(), (201, b"3 for b".to_vec()));
}

#[test]
fn each_fault_is_seen_by_the_client_and_counted() {
    let get = "GET /1000000 HTTP/1.1\r\nHost: b\r\n\r\n";
    let with = |faults: Faults| {
        let proxy = proxy(Settings { faults, ..Settings::default() });
        let result = Client::of(&proxy).ask(get);
        (result, proxy.counts())
    };
    let (cut, counts) = with(Faults { cut: 1.0, ..Faults::default() });
    assert!(cut.is_err());
    assert_eq!(counts.faults, BTreeMap::from([("cut".to_owned(), 1)]));
    assert!(counts.answer_bytes <= 500_000);

    let (truncated, counts) = with(Faults { truncate: 1.0, ..Faults::default() });
    assert_eq!(truncated.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(counts.faults, BTreeMap::from([("truncated".to_owned(), 1)]));

    let (refused, counts) = with(Faults { refuse: 1.0, ..Faults::default() });
    assert!([500, 503, 429].contains(&refused.unwrap().0));
    assert_eq!(counts.faults, BTreeMap::from([("refused".to_owned(), 1)]));

    let (delayed, counts) = with(Faults { delay: 1.0, delay_for: Duration::from_millis(2), ..Faults::default() });
    assert_eq!(delayed.unwrap().1.len(), 1_000_000);
    assert_eq!(counts.faults, BTreeMap::from([("delayed".to_owned(), 1)]));
}

#[test]
fn a_refused_request_leaves_the_connection_to_the_next() {
    let proxy = proxy(Settings { faults: Faults { refuse: 0.5, ..Faults::default() }, ..Settings::default() });
    let mut client = Client::of(&proxy);
    let put = "PUT /a HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhello";
    let statuses: Vec<u16> = (0..40).map(|_| client.ask(put).unwrap().0).collect();
    assert!(statuses.contains(&201) && statuses.iter().any(|status| *status != 201), "{statuses:?}");
}

#[test]
fn a_cut_upload_does_not_arrive_whole() {
    let proxy = proxy(Settings { faults: Faults { cut: 1.0, ..Faults::default() }, ..Settings::default() });
    for _ in 0..8 {
        let mut client = Client::of(&proxy);
        let body = "x".repeat(1_000_000);
        assert!(client.ask(&format!("PUT /a HTTP/1.1\r\nHost: b\r\nContent-Length: 1000000\r\n\r\n{body}")).is_err());
    }
    assert_eq!(proxy.counts().faults["cut"], 8);
}

#[test]
fn a_storage_that_hangs_up_between_requests_is_connected_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut requests = Messages::new(stream.try_clone().unwrap());
            if requests.head().is_ok_and(|head| head.is_some()) {
                let _ = answer(&mut stream, "200 OK", "once");
            }
        }
    });
    let proxy = Proxy::start("127.0.0.1:0", Settings { upstream, ..Settings::default() }).unwrap();
    let mut client = Client::of(&proxy);
    for _ in 0..5 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: b\r\n\r\n").unwrap(), (200, b"once".to_vec()));
        // The storage's end of the connection is on its way.
        thread::sleep(Duration::from_millis(20));
    }
}

/// Prints what one connection moves: run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let proxy = proxy(Settings::default());
    let mut client = Client::of(&proxy);
    let begin = std::time::Instant::now();
    client.stream.write_all(b"GET /4000000000 HTTP/1.1\r\nHost: b\r\n\r\n").unwrap();
    client.answers.head().unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0u64;
    while total < 3_900_000_000 {
        total += client.answers.from.read(&mut buffer).unwrap() as u64;
    }
    println!("{:.0} MB/s", total as f64 / 1e6 / begin.elapsed().as_secs_f64());
}
