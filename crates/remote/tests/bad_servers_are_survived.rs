//! What servers and networks do wrong is tried again where that may help, and is an error otherwise; it is never wrong bytes, nor
//! an object that is lost or replaced.

mod bad_server;

use std::time::Duration;

use bad_server::{BadServer, Misdeed, impatient};
use cinderblock_backend::{Backend, Error, ObjectName};
use cinderblock_remote::{Environment, Place, Settings};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn names(bucket: &dyn Backend, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    bucket
        .list(prefix, &mut |object| {
            names.push(object.name.to_string());
            Ok(())
        })
        .unwrap();
    names
}

#[test]
fn a_failure_that_passes_is_tried_again() {
    let (server, x) = (BadServer::start(), name("x"));
    let bucket = server.bucket();
    for status in [500, 502, 503, 504, 429, 408] {
        let twice = [Misdeed::Refuse(status), Misdeed::Refuse(status)];
        server.will(&twice);
        bucket.put(&x, &[b"some ", b"bytes"]).unwrap();
        server.will(&twice);
        assert_eq!(bucket.get(&x, 100).unwrap(), b"some bytes");
        server.will(&twice);
        let mut buf = [0; 5];
        bucket.read_into(&x, 5, &mut buf).unwrap();
        assert_eq!(&buf, b"bytes");
        server.will(&twice);
        assert_eq!(bucket.get_tail(&x, 3).unwrap().bytes, b"tes");
        server.will(&twice);
        assert_eq!(bucket.size(&x).unwrap(), 10);
        server.will(&twice);
        assert_eq!(names(&*bucket, ""), ["x"]);
        server.will(&twice);
        bucket.delete(&x).unwrap();
        // 3 for each but delete, which looks first: 2 more that fail, and its own.
        assert_eq!(server.requests().len(), 6 * 3 + 4, "status {status}");
    }
}

#[test]
fn a_failure_that_stays_is_told_at_once() {
    let (server, x) = (BadServer::start(), name("x"));
    let bucket = server.bucket();
    server.has("prefix/x", b"bytes");
    for status in [400, 401, 403, 405] {
        server.will(&[Misdeed::Refuse(status)]);
        let error = bucket.get(&x, 100).unwrap_err();
        assert_eq!(server.requests(), ["GET"], "status {status}");
        match (status, &error) {
            (401 | 403, Error::AccessDenied { advice, .. }) => assert!(advice.contains("AWS_ACCESS_KEY_ID")),
            (400 | 405, Error::Io { .. }) => {}
            _ => panic!("status {status} gave {error:?}"),
        }
        server.will(&[Misdeed::Refuse(status)]);
        assert!(bucket.put(&name("y"), &[b"y"]).is_err());
        assert_eq!(server.requests(), ["PUT"], "status {status}");
    }
}

/// A 303 made a GET of an upload or a deletion, and that the other place answered was taken for success.
#[test]
fn a_redirection_is_not_followed() {
    let (server, x) = (BadServer::start(), name("x"));
    let bucket = server.bucket();
    server.has("elsewhere", b"something else");
    for status in [301, 302, 303, 307, 308] {
        server.will(&[Misdeed::Redirect(status)]);
        assert!(bucket.put(&x, &[b"bytes"]).is_err(), "status {status}");
        assert_eq!(server.requests(), ["PUT"], "status {status}");
        server.will(&[Misdeed::Redirect(status)]);
        assert!(bucket.get(&x, 100).is_err(), "status {status}");
        assert_eq!(server.requests(), ["GET"], "status {status}");
        server.has("prefix/x", b"bytes");
        server.will(&[Misdeed::Behave, Misdeed::Redirect(status)]);
        assert!(bucket.delete(&x).is_err(), "status {status}");
        assert_eq!(server.requests(), ["HEAD", "DELETE"], "status {status}");
        bucket.delete(&x).unwrap();
        server.requests();
    }
}

#[test]
fn a_server_that_stays_busy_is_given_up() {
    let server = BadServer::start();
    server.always(Misdeed::Explain(503, "<Error><Code>SlowDown</Code><Message>Slower.</Message></Error>"));
    let error = server.bucket().get(&name("x"), 1).unwrap_err();
    let cause = std::error::Error::source(&error).map(|cause| format!("{cause:?}")).unwrap_or_default();
    assert!(matches!(error, Error::Busy { .. }) && cause.contains("SlowDown"), "{error:?}");
    assert_eq!(server.requests().len(), 1 + impatient().retries as usize);
}

/// An answer is lost, the put is sent again, and finds its own object: that was reported as somebody else's.
#[test]
fn a_put_whose_answer_was_lost_is_no_failure() {
    let server = BadServer::start();
    let bucket = server.bucket();
    for (n, misdeed) in
        [Misdeed::DoAndRefuse(500), Misdeed::DoAndRefuse(503), Misdeed::DoAndHangUp].into_iter().enumerate()
    {
        let x = name(&format!("x{n}"));
        server.will(&[misdeed]);
        bucket.put(&x, &[b"by", b"tes"]).unwrap();
        assert_eq!(bucket.get(&x, 100).unwrap(), b"bytes");
        let again = bucket.put(&x, &[b"bytes"]);
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "equal bytes are not one's own: {again:?}");
    }
}

/// The first attempt had no answer and went on. The second met it, and looked for its object a moment too early: the object
/// that was there then was reported as somebody else's.
#[test]
fn a_put_that_ends_while_it_is_sent_again_is_no_failure() {
    let (server, x) = (BadServer::start(), name("x"));
    let conflict = Misdeed::Explain(409, "<Error><Code>ConditionalRequestConflict</Code></Error>");
    server.will(&[Misdeed::Refuse(500), conflict, Misdeed::Overtake(b"bytes", 404)]);
    server.bucket().put(&x, &[b"bytes"]).unwrap();
    assert_eq!(server.requests(), ["PUT", "PUT", "HEAD", "PUT", "HEAD", "GET"]);
}

#[test]
fn a_put_that_was_overtaken_is_a_failure() {
    let server = BadServer::start();
    let bucket = server.bucket();
    for (n, theirs) in [&b"other"[..], b"byte", b"bytes and more", b""].into_iter().enumerate() {
        let x = name(&format!("x{n}"));
        server.will(&[Misdeed::Overtake(theirs, 500)]);
        let put = bucket.put(&x, &[b"bytes"]);
        assert!(matches!(put, Err(Error::AlreadyExists { .. })), "{put:?}");
        assert_eq!(bucket.get(&x, 100).unwrap(), theirs);
    }
}

/// S3 answers 409 to one of two conditional requests that are under way at once, also where the other then fails.
#[test]
fn a_put_that_was_in_the_way_of_another_is_sent_again() {
    let (server, x) = (BadServer::start(), name("x"));
    server.will(&[Misdeed::Explain(409, "<Error><Code>ConditionalRequestConflict</Code></Error>")]);
    server.bucket().put(&x, &[b"bytes"]).unwrap();
    assert_eq!(server.requests(), ["PUT", "HEAD", "PUT"]);
}

#[test]
fn a_delete_whose_answer_was_lost_is_no_failure() {
    let (server, x) = (BadServer::start(), name("x"));
    let bucket = server.bucket();
    for misdeed in [Misdeed::DoAndRefuse(500), Misdeed::DoAndHangUp] {
        server.has("prefix/x", b"bytes");
        // It looks for the object first.
        server.will(&[Misdeed::Behave, misdeed]);
        bucket.delete(&x).unwrap();
        assert_eq!(server.requests(), ["HEAD", "DELETE", "DELETE"]);
        assert!(bucket.delete(&x).unwrap_err().is_not_found());
        server.requests();
    }
}

#[test]
fn a_body_that_is_cut_off_is_read_again() {
    let (server, x) = (BadServer::start(), name("x"));
    let bucket = server.bucket();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    server.has("prefix/x", &bytes);
    for cut in [0, 1, 70_000, 99_999] {
        server.will(&[Misdeed::Cut(cut), Misdeed::Cut(cut)]);
        assert!(bucket.get(&x, 1 << 20).unwrap() == bytes);
        server.will(&[Misdeed::Cut(cut)]);
        let mut buf = vec![0; 100_000];
        bucket.read_into(&x, 50_000, &mut buf).unwrap();
        assert!(buf == bytes[50_000..150_000]);
        server.will(&[Misdeed::Cut(cut)]);
        assert!(bucket.get_tail(&x, 100_000).unwrap().bytes == bytes[100_000..]);
    }
    server.always(Misdeed::Cut(1000));
    assert!(bucket.get(&x, 1 << 20).is_err());
    assert!(bucket.read_into(&x, 0, &mut [0; 2000]).is_err());
    assert!(bucket.get_tail(&x, 2000).is_err());
}

/// An upload had to end within the time that an answer may stall: a pack on a slow line never got through.
#[test]
fn an_upload_may_take_longer_than_an_answer_may_stall() {
    let (server, x) = (BadServer::start(), name("x"));
    let settings = Settings { read_timeout: Duration::from_millis(100), retries: 0, ..impatient() };
    server.will(&[Misdeed::Late(Duration::from_millis(500))]);
    server.bucket_with(&settings).put(&x, &[b"bytes"]).unwrap();
    assert_eq!(server.requests(), ["PUT"]);
}

#[test]
fn an_answer_that_stalls_is_asked_for_again() {
    let (server, x) = (BadServer::start(), name("x"));
    let hour = Duration::from_secs(3600);
    let settings = Settings { read_timeout: Duration::from_millis(300), request_timeout: hour, ..impatient() };
    let bucket = server.bucket_with(&settings);
    server.has("prefix/x", b"some bytes");
    server.will(&[Misdeed::Stall(0), Misdeed::Stall(4)]);
    assert_eq!(bucket.get(&x, 100).unwrap(), b"some bytes");
    server.will(&[Misdeed::Stall(10)]);
    assert_eq!(names(&*bucket, ""), ["x"]);
    assert_eq!(server.requests(), ["GET"; 5]);
}

#[test]
fn a_listing_that_is_cut_off_is_no_short_listing() {
    let server = BadServer::start();
    let bucket = server.bucket();
    for n in 0..50 {
        server.has(&format!("prefix/x{n:02}"), b"");
    }
    server.will(&[Misdeed::Cut(2000)]);
    assert_eq!(names(&*bucket, "").len(), 50);
    server.always(Misdeed::Cut(2000));
    assert!(bucket.list("", &mut |_| Ok(())).is_err());
}

#[test]
fn sizes_are_not_believed_before_memory_is_taken() {
    let (server, x) = (BadServer::start(), name("x"));
    let bucket = server.bucket();
    server.has("prefix/x", b"bytes");
    server.will(&[Misdeed::Claim(1 << 60)]);
    assert!(matches!(bucket.get(&x, 1 << 30), Err(Error::TooLarge { size, .. }) if size == 1 << 60));
    // As much as it is said to have is allowed, and never comes.
    server.always(Misdeed::Claim(1 << 60));
    assert!(bucket.get(&x, u64::MAX).is_err());
    assert!(bucket.get_tail(&x, usize::MAX).is_err());
    assert!(bucket.get_tail(&x, 3).is_err());
}

#[test]
fn another_range_than_was_asked_for_is_refused() {
    let (server, x) = (BadServer::start(), name("x"));
    server.has("prefix/x", &[1; 1000]);
    server.always(Misdeed::Shift);
    let read = server.bucket().read_into(&x, 10, &mut [0; 20]);
    assert!(read.is_err(), "{read:?}");
}

#[test]
fn a_listing_without_an_end_ends() {
    let server = BadServer::start();
    server.always(Misdeed::NeverEnd);
    assert!(server.bucket().list("", &mut |_| Ok(())).is_err());
}

#[test]
fn a_bucket_that_is_missing_is_named() {
    let server = BadServer::start();
    let bucket = server.bucket();
    server.always(Misdeed::Explain(404, "<Error><Code>NoSuchBucket</Code><Message>No.</Message></Error>"));
    for result in
        [bucket.get(&name("x"), 1).map(drop), bucket.put(&name("x"), &[b""]), bucket.list("", &mut |_| Ok(()))]
    {
        match result {
            Err(Error::NoContainer { location, .. }) => assert_eq!(location, "s3://bucket/prefix"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_endpoint_that_does_not_answer_is_named() {
    // A port that was just free: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let variables =
        [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let place: Place = "s3://bucket".parse().unwrap();
    let bucket = cinderblock_remote::open_in(&Environment::new(&variables), &place, &impatient()).unwrap();
    let error = bucket.get(&name("x"), 1).unwrap_err();
    assert!(matches!(&error, Error::Unreachable { advice, .. } if advice.contains("AWS_ENDPOINT_URL")), "{error:?}");
    assert!(!format!("{error:?} {bucket:?}").contains("hunter2"));
}

/// Without keys, the instance is asked for some, which on a host that is no instance took minutes.
#[test]
fn credentials_that_are_missing_are_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = BadServer::start();
    let metadata = format!("http://127.0.0.1:{port}");
    let variables = [("AWS_ENDPOINT_URL", server.endpoint()), ("AWS_METADATA_ENDPOINT", metadata.as_str())];
    let place: Place = "s3://bucket".parse().unwrap();
    let bucket = cinderblock_remote::open_in(&Environment::new(&variables), &place, &impatient()).unwrap();
    let error = bucket.get(&name("x"), 1).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(matches!(&error, Error::AccessDenied { .. }) && cause.contains("no credentials"), "{error:?}");
    assert!(server.requests().is_empty());
}

/// One key of somebody else's made the listing of the whole bucket fail; a "folder" that a console had made was taken for an
/// object.
#[test]
fn keys_of_others_are_foreign_and_harm_nobody() {
    let server = BadServer::start();
    let bucket = server.bucket();
    let others = ["a//b", "packs/", "x y", "é", "a/../b", "\u{1}", "a&b", ".hidden", "%41", "%%key%%61", "/"];
    for key in others {
        server.has(&format!("prefix/{key}"), b"");
    }
    for key in ["elsewhere", "prefixed/x", "prefix", "pre//fix"] {
        server.has(key, b"");
    }
    server.has("prefix/packs/ab/x", b"1234");
    assert_eq!(names(&*bucket, ""), ["packs/ab/x"]);
    assert_eq!(names(&*bucket, "packs/a"), ["packs/ab/x"]);
    let mut foreign = Vec::new();
    bucket
        .list_foreign("", &mut |name| {
            foreign.push(name.to_string());
            Ok(())
        })
        .unwrap();
    foreign.sort();
    let mut expected: Vec<String> = others.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(foreign, expected);
}

/// A token that had expired was taken for the answer that nothing is locked, and so what was locked for free to go.
#[test]
fn only_a_service_that_says_so_has_no_lock() {
    let (server, x) = (BadServer::start(), [name("x")]);
    let bucket = server.bucket();
    server.has("prefix/x", b"bytes");
    for (status, body) in [
        (400, "<Error><Code>ExpiredToken</Code><Message>InvalidRequest, NoSuchKey</Message></Error>"),
        (400, "<Error><Code>InvalidToken</Code></Error>"),
        (400, "<Error><Code>RequestTimeout</Code></Error>"),
        (404, "<Error><Code>NoSuchBucket</Code></Error>"),
        (400, ""),
    ] {
        server.will(&[Misdeed::Explain(status, body)]);
        assert!(bucket.retained(&x).is_err(), "{body}");
        assert_eq!(server.requests(), ["GET"]);
    }
    for body in [
        "<Error><Code>NoSuchObjectLockConfiguration</Code></Error>",
        "<Error><Code>ObjectLockConfigurationNotFoundError</Code><Message>None.</Message></Error>",
        "<Error><Code>NoSuchKey</Code></Error>",
    ] {
        server.will(&[Misdeed::Explain(404, body)]);
        assert_eq!(bucket.retained(&x).unwrap(), [None]);
        assert_eq!(server.requests(), ["GET"]);
    }
    // Then the object is looked at.
    for (status, body) in [
        (
            400,
            "<Error><Code>InvalidRequest</Code><Message>Bucket is missing Object Lock Configuration</Message></Error>",
        ),
        (405, "<Error><Code>MethodNotAllowed</Code></Error>"),
        (501, "<Error><Code>NotImplemented</Code></Error>"),
    ] {
        server.will(&[Misdeed::Explain(status, body)]);
        assert_eq!(bucket.retained(&x).unwrap(), [None]);
        assert_eq!(server.requests(), ["GET", "HEAD"]);
        server.will(&[Misdeed::Explain(status, body), Misdeed::Refuse(403)]);
        assert!(bucket.retained(&x).is_err());
        assert_eq!(server.requests(), ["GET", "HEAD"]);
    }
}
