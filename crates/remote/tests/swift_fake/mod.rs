//! A small server that speaks as much of Keystone v3 and Swift as the tests need, and can be told to misbehave. It is no
//! proof that a real one is understood (`swift_conforms.rs` is), but a real one has no mishaps on demand.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use cinderblock_remote::swift::{Account, Domain, Identity, Keystone, Project, Secret, Settings, User};
use md5::{Digest, Md5};
use serde_json::json;

pub const PASSWORD: &str = "hunter2";

/// What happens to the next request to the storage.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// It is answered with this status and these further headers, and nothing is done.
    Answer(u16, &'static str),
    /// It is done, and the connection ends before the answer.
    LoseAnswer,
    /// The answer's body ends after so many bytes.
    CutBody(usize),
    /// Its answer names another ETag.
    WrongEtag,
    /// The answer's Content-Length is this, whatever comes.
    Lie(u64),
    /// Nothing.
    None,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

#[derive(Default)]
pub struct State {
    pub objects: BTreeMap<String, Vec<u8>>,
    pub trouble: VecDeque<Trouble>,
    pub seen: Vec<Seen>,
    /// How many tokens were made; the last is the good one.
    pub tokens: u64,
    pub refused_logins: u64,
    /// How many more logins find Keystone out of order.
    pub failing_logins: u64,
    /// Whether even the last token is refused.
    pub locked: bool,
    /// How long a token is good, as it is told, in seconds.
    pub lifetime: u64,
    /// What a listing says, instead of the truth.
    pub listing: Option<String>,
}

pub struct Fake {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { lifetime: 3600, ..State::default() }));
        let (shared, base) = (Arc::clone(&state), url.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, base) = (Arc::clone(&shared), base.clone());
                thread::spawn(move || drop(serve(stream, &state, &base)));
            }
        });
        Fake { url, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How often a token was asked for.
    pub fn logins(&self) -> usize {
        self.state().seen.iter().filter(|seen| seen.path.starts_with("/v3/")).count()
    }

    /// The requests to the storage, as `METHOD range`.
    pub fn requests(&self) -> Vec<String> {
        let storage = |seen: &&Seen| seen.path.starts_with("/north");
        let range = |seen: &Seen| seen.headers.get("range").cloned().unwrap_or_default();
        self.state()
            .seen
            .iter()
            .filter(storage)
            .map(|seen| format!("{} {}", seen.method, range(seen)).trim().to_owned())
            .collect()
    }

    pub fn settings(&self) -> Settings {
        let user = User::Name("alice".into(), Domain::default());
        let mut settings = Settings::new(Account::Keystone(Box::new(Keystone {
            url: self.url.clone(),
            identity: Identity::Password { user, password: Secret::new(PASSWORD) },
            project: Some(Project::Name("backups".into(), Domain::default())),
        })));
        settings.region = Some("north".to_owned());
        settings.http.first_pause = Duration::from_millis(1);
        settings.http.retries = 4;
        settings
    }
}

fn read_request(from: &mut impl BufRead) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut seen =
        Seen { method: words.next().unwrap_or_default(), path: words.next().unwrap_or_default(), ..Seen::default() };
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        seen.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if let Some(length) = seen.headers.get("content-length") {
        seen.body = vec![0; length.parse().map_err(io::Error::other)?];
        from.read_exact(&mut seen.body)?;
    } else if seen.headers.contains_key("transfer-encoding") {
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            from.by_ref().take(size).read_to_end(&mut seen.body)?;
            from.read_line(&mut line)?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(Some(seen))
}

struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

fn reply(status: u16, headers: impl Into<String>, body: impl Into<Vec<u8>>) -> Reply {
    Reply { status, headers: headers.into(), body: body.into() }
}

fn serve(stream: TcpStream, state: &Mutex<State>, base: &str) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(seen) = read_request(&mut requests)? {
        let mut state = state.lock().unwrap();
        state.seen.push(seen.clone());
        let (mut answer, trouble) = if seen.path.starts_with("/v3/") {
            (login(&mut state, &seen, base), Trouble::None)
        } else if state.locked || seen.headers.get("x-auth-token") != Some(&format!("token-{}", state.tokens)) {
            (reply(401, "", "who?"), Trouble::None)
        } else {
            let trouble = state.trouble.pop_front().unwrap_or(Trouble::None);
            match trouble {
                Trouble::Answer(status, headers) => (reply(status, headers, "<html>no luck</html>"), trouble),
                _ => (storage(&mut state, &seen), trouble),
            }
        };
        drop(state);
        let mut length = answer.body.len() as u64;
        match trouble {
            Trouble::LoseAnswer => return Ok(()),
            Trouble::CutBody(after) => answer.body.truncate(after),
            Trouble::WrongEtag => answer.headers = "ETag: 00000000000000000000000000000000\r\n".to_owned(),
            Trouble::Lie(lie) => length = lie,
            _ => {}
        }
        let cut = length != answer.body.len() as u64;
        // A HEAD's answer has the length of what a GET would bring, which is in its headers.
        let length = if seen.method == "HEAD" && answer.status == 200 {
            String::new()
        } else {
            format!("Content-Length: {length}\r\n")
        };
        write!(stream, "HTTP/1.1 {} X\r\n{length}{}\r\n", answer.status, answer.headers)?;
        if seen.method != "HEAD" {
            stream.write_all(&answer.body)?;
        }
        if cut {
            return Ok(());
        }
    }
    Ok(())
}

fn login(state: &mut State, seen: &Seen, base: &str) -> Reply {
    let question: serde_json::Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    if question["auth"]["identity"]["password"]["user"]["password"] != PASSWORD {
        state.refused_logins += 1;
        return reply(401, "", format!("not {question}"));
    }
    if state.failing_logins > 0 {
        state.failing_logins -= 1;
        return reply(503, "", "");
    }
    state.tokens += 1;
    let endpoint = |interface: &str, region: &str| json!({"interface": interface, "region_id": region, "url": format!("{base}/{region}/v1/AUTH_x")});
    let time =
        |seconds: u64| format!("2001-01-01T{:02}:{:02}:{:02}.000000Z", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let body = json!({"token": {
        "issued_at": time(0),
        "expires_at": time(state.lifetime),
        "catalog": [{"type": "object-store", "endpoints": [endpoint("public", "south"), endpoint("public", "north")]}],
    }});
    reply(201, format!("X-Subject-Token: token-{}\r\n", state.tokens), body.to_string())
}

pub fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn storage(state: &mut State, seen: &Seen) -> Reply {
    let Some(name) = seen.path.strip_prefix("/north/v1/AUTH_x/c/") else { return listing(state, seen) };
    let object = state.objects.get(name).cloned();
    match (seen.method.as_str(), object) {
        ("PUT", Some(_)) => reply(412, "", ""),
        ("PUT", None) => {
            let etag = md5(&seen.body);
            if seen.headers.get("etag").is_some_and(|expected| *expected != etag) {
                return reply(422, "", "");
            }
            state.objects.insert(name.to_owned(), seen.body.clone());
            reply(201, format!("ETag: {etag}\r\n"), "")
        }
        (_, None) => reply(404, "", ""),
        ("DELETE", Some(_)) => {
            state.objects.remove(name);
            reply(204, "", "")
        }
        ("HEAD", Some(bytes)) => {
            reply(200, format!("Content-Length: {}\r\nETag: {}\r\n", bytes.len(), md5(&bytes)), "")
        }
        (_, Some(bytes)) => match seen.headers.get("range").and_then(|range| range.strip_prefix("bytes=")) {
            None => reply(200, "", bytes),
            Some(range) => {
                let (first, last) = range.split_once('-').unwrap();
                let (start, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
                    (Ok(first), Ok(last)) => (first, bytes.len().min(last + 1)),
                    (_, Ok(suffix)) => (bytes.len() - suffix.min(bytes.len()), bytes.len()),
                    other => panic!("{other:?}"),
                };
                let header = format!("Content-Range: bytes {start}-{}/{}\r\n", end - 1, bytes.len());
                reply(206, header, &bytes[start..end])
            }
        },
    }
}

fn listing(state: &State, seen: &Seen) -> Reply {
    if let Some(text) = &state.listing {
        return reply(200, "", text.as_str());
    }
    if seen.method == "HEAD" {
        return reply(204, "", "");
    }
    let query = seen.path.split_once('?').map_or("", |(_, query)| query);
    let field = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().replace("%2F", "/")
    };
    let (prefix, marker) = (field("prefix"), field("marker"));
    let names = state.objects.iter().filter(|(name, _)| name.starts_with(&prefix) && **name > marker);
    let limit: usize = field("limit").parse().unwrap();
    let page: Vec<_> = names.take(limit).map(|(name, bytes)| json!({"name": name, "bytes": bytes.len()})).collect();
    reply(200, "", json!(page).to_string())
}
