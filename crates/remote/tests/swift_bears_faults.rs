//! Tokens that end, answers that are cut, lost or refused: what a client has to get over, and what it must not.

mod swift_fake;

use std::io::Write;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use cinderblock_backend::{Backend, Error, ObjectName};
use cinderblock_remote::swift::{Account, Secret, Settings, Swift};
use swift_fake::{Fake, PASSWORD, Trouble, md5};

fn open(settings: &Settings) -> Swift {
    Swift::open("c", "p", settings).unwrap()
}

fn name() -> ObjectName {
    ObjectName::new("a/x").unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

/// A server with the object `p/a/x` of so many bytes, and a client.
fn with_object(len: usize) -> (Fake, Swift) {
    let fake = Fake::start();
    fake.state().objects.insert("p/a/x".to_owned(), bytes(len));
    let swift = open(&fake.settings());
    (fake, swift)
}

#[test]
fn one_token_is_made_for_all_threads_and_one_when_it_is_refused() {
    let (fake, swift) = with_object(10);
    let all_read = || {
        let barrier = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    assert_eq!(swift.get(&name(), 10).unwrap(), bytes(10));
                });
            }
        });
    };
    all_read();
    assert_eq!(fake.state().tokens, 1);
    // The token that the client has is no longer the last.
    fake.state().tokens = 7;
    all_read();
    assert_eq!(fake.state().tokens, 8);
}

#[test]
fn a_token_is_made_anew_before_it_ends() {
    let (fake, swift) = with_object(10);
    fake.state().lifetime = 1;
    swift.size(&name()).unwrap();
    thread::sleep(Duration::from_millis(600));
    swift.size(&name()).unwrap();
    assert_eq!(fake.state().tokens, 2);
    assert_eq!(fake.requests(), ["HEAD", "HEAD"], "no request was made with a token that had ended");
}

#[test]
fn a_wrong_password_is_tried_once_and_never_shown() {
    let fake = Fake::start();
    let mut settings = fake.settings();
    let Account::Keystone(keystone) = &mut settings.account else { panic!("no Keystone") };
    let cinderblock_remote::swift::Identity::Password { password, .. } = &mut keystone.identity else {
        panic!("no password")
    };
    *password = Secret::new("correct horse");
    let swift = open(&settings);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let error = swift.get(&name(), 10).unwrap_err();
                assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
                let shown = format!("{error} {error:?} {swift:?}");
                assert!(!shown.contains("correct horse"), "{shown}");
            });
        }
    });
    assert_eq!(fake.state().refused_logins, 1, "many attempts may lock a user out");
}

/// Each request's tries held all tries of its login, so that 9 became 81, and those of many requests at once came one after the other.
#[test]
fn logins_that_fail_are_tried_as_often_as_anything() {
    let (fake, swift) = with_object(10);
    fake.state().failing_logins = 4;
    assert_eq!(swift.get(&name(), 10).unwrap(), bytes(10));
    assert_eq!(fake.logins(), 5, "the first and four more");

    let (fake, swift) = with_object(10);
    fake.state().failing_logins = 1000;
    let error = swift.get(&name(), 10).unwrap_err();
    assert!(matches!(&error, Error::Busy { operation: "read", .. }), "{error:?}");
    assert_eq!(fake.logins(), 5);
    thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| swift.get(&name(), 10).unwrap_err()))));
    assert!(fake.logins() <= 5 + 8 * 5, "{}", fake.logins());
}

#[test]
fn a_new_token_that_is_refused_too_is_final() {
    let (fake, swift) = with_object(10);
    fake.state().locked = true;
    let error = swift.size(&name()).unwrap_err();
    assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
    assert_eq!(fake.requests().len(), 2);
    assert!(!format!("{swift:?} {error:?}").contains(PASSWORD));
}

#[test]
fn region_without_storage_is_named() {
    let fake = Fake::start();
    let settings = Settings { region: Some("west".to_owned()), ..fake.settings() };
    let error = open(&settings).size(&name()).unwrap_err();
    assert!(format!("{error:?}").contains("NoEndpoint") && format!("{error:?}").contains("west"), "{error:?}");
}

#[test]
fn what_may_pass_is_tried_again() {
    for status in [408, 409, 429, 498, 500, 502, 503, 504] {
        let (fake, swift) = with_object(10);
        fake.state().trouble.extend([Trouble::Answer(status, "Retry-After: 0\r\n"), Trouble::LoseAnswer]);
        assert_eq!(swift.get(&name(), 10).unwrap(), bytes(10), "{status}");
        assert_eq!(fake.requests(), ["GET"; 3]);
    }
}

#[test]
fn what_is_final_is_not_tried_again() {
    for status in [400, 403, 405, 413, 501, 507, 302] {
        let (fake, swift) = with_object(10);
        fake.state().trouble.push_back(Trouble::Answer(status, "Location: /north/v1/AUTH_x/c/p/a/x\r\n"));
        let error = swift.get(&name(), 10).unwrap_err();
        assert_eq!(fake.requests(), ["GET"], "{status}");
        match status {
            403 => assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}"),
            413 | 507 => assert!(matches!(error, Error::NoSpace { .. }), "{error:?}"),
            _ => assert!(matches!(error, Error::Io { .. }), "{error:?}"),
        }
        assert!(format!("{error:?}").contains("no luck"), "the server's words are told: {error:?}");
    }
}

#[test]
fn attempts_come_to_an_end() {
    let (fake, swift) = with_object(10);
    fake.state().trouble.extend(vec![Trouble::Answer(503, ""); 100]);
    let error = swift.get(&name(), 10).unwrap_err();
    assert!(matches!(&error, Error::Busy { operation: "read", .. }), "{error:?}");
    assert_eq!(fake.requests().len(), 5, "the first and four more");
}

#[test]
fn a_read_goes_on_where_its_answer_broke_off() {
    let (fake, swift) = with_object(1000);
    fake.state().trouble.extend([Trouble::CutBody(300), Trouble::CutBody(200)]);
    assert_eq!(swift.get(&name(), 1000).unwrap(), bytes(1000));
    assert_eq!(fake.requests(), ["GET", "GET bytes=300-999", "GET bytes=500-999"]);

    let (fake, swift) = with_object(1000);
    fake.state().trouble.push_back(Trouble::CutBody(10));
    let mut buf = vec![0; 500];
    swift.read_into(&name(), 100, &mut buf).unwrap();
    assert_eq!(buf, bytes(1000)[100..600]);
    assert_eq!(fake.requests(), ["GET bytes=100-599", "GET bytes=110-599"]);

    let (fake, swift) = with_object(1000);
    fake.state().trouble.push_back(Trouble::CutBody(10));
    let tail = swift.get_tail(&name(), 100).unwrap();
    assert_eq!((tail.bytes, tail.object_size), (bytes(1000)[900..].to_vec(), 1000));
    assert_eq!(fake.requests(), ["GET bytes=-100", "GET bytes=910-999"]);
}

#[test]
fn a_size_that_is_a_lie_costs_no_memory() {
    let (fake, swift) = with_object(1000);
    fake.state().trouble.extend(vec![Trouble::Lie(1 << 60); 100]);
    assert!(swift.get(&name(), u64::MAX).is_err());
    let error = swift.get(&name(), 1 << 20).unwrap_err();
    assert!(matches!(error, Error::TooLarge { size, .. } if size == 1 << 60), "{error:?}");
}

#[test]
fn an_upload_is_sent_again_until_its_bytes_are_right() {
    let fake = Fake::start();
    let swift = open(&fake.settings());
    fake.state().trouble.extend([Trouble::Answer(422, ""), Trouble::Answer(503, "")]);
    swift.put(&name(), &[&bytes(700_000), b"", b"end"]).unwrap();
    let sent = [&bytes(700_000)[..], b"end"].concat();
    assert_eq!(fake.state().objects["p/a/x"], sent);
    for seen in fake.state().seen.iter().filter(|seen| seen.method == "PUT") {
        assert_eq!(seen.headers["etag"], md5(&sent));
        assert_eq!(seen.headers["if-none-match"], "*");
        assert_eq!(seen.headers["content-length"], "700003");
    }
    assert_eq!(fake.requests(), ["PUT", "PUT", "PUT"]);
}

#[test]
fn an_upload_whose_answer_was_lost_is_known_again() {
    let fake = Fake::start();
    let swift = open(&fake.settings());
    fake.state().trouble.push_back(Trouble::LoseAnswer);
    swift.put(&name(), &[b"ours"]).unwrap();
    assert_eq!(fake.requests(), ["PUT", "HEAD"]);

    // The first attempt came to nothing, and before the second there was somebody else's object.
    let (fake, swift) = with_object(10);
    fake.state().trouble.push_back(Trouble::Answer(503, ""));
    assert!(swift.put(&name(), &[b"ours"]).unwrap_err().is_already_exists());
    assert_eq!(fake.state().objects["p/a/x"], bytes(10));

    // It is there, byte for byte: after an attempt that may have stored it, that is a success, else it is not.
    let (fake, swift) = with_object(10);
    assert!(swift.put(&name(), &[&bytes(10)]).unwrap_err().is_already_exists());
    fake.state().trouble.push_back(Trouble::Answer(503, ""));
    swift.put(&name(), &[&bytes(10)]).unwrap();
}

#[test]
fn a_later_time_stamp_of_another_counts() {
    let fake = Fake::start();
    let swift = open(&fake.settings());
    fake.state().trouble.push_back(Trouble::Answer(202, ""));
    assert!(swift.put(&name(), &[b"ours"]).unwrap_err().is_already_exists());
}

#[test]
fn a_delete_whose_answer_was_lost_is_done() {
    let (fake, swift) = with_object(10);
    fake.state().trouble.push_back(Trouble::LoseAnswer);
    swift.delete(&name()).unwrap();
    assert_eq!(fake.requests(), ["DELETE", "DELETE"]);
    assert!(swift.delete(&name()).unwrap_err().is_not_found());
}

fn stream(swift: &Swift, len: usize) -> Result<(), Error> {
    let mut writer = swift.create(&name())?;
    for piece in bytes(len).chunks(10_000) {
        writer.write_all(piece).map_err(|error| Error::from_io("write", "a/x", error))?;
    }
    writer.finish()
}

#[test]
fn a_stream_is_checked_when_it_has_arrived() {
    let fake = Fake::start();
    let swift = open(&Settings { write_buffer: 1000, ..fake.settings() });
    stream(&swift, 100_000).unwrap();
    assert_eq!(fake.state().objects["p/a/x"], bytes(100_000));
    assert_eq!(fake.requests(), ["HEAD", "PUT", "HEAD"]);

    let fake = Fake::start();
    let swift = open(&Settings { write_buffer: 1000, ..fake.settings() });
    fake.state().trouble.extend([Trouble::None, Trouble::WrongEtag]);
    let error = stream(&swift, 100_000).unwrap_err();
    assert!(format!("{error:?}").contains("Damaged"), "{error:?}");
    assert!(fake.state().objects.is_empty(), "what was damaged on the way is removed");

    let fake = Fake::start();
    let swift = open(&Settings { write_buffer: 1000, ..fake.settings() });
    fake.state().trouble.extend([Trouble::None, Trouble::LoseAnswer]);
    stream(&swift, 100_000).unwrap();

    let fake = Fake::start();
    let swift = open(&Settings { write_buffer: 1000, ..fake.settings() });
    fake.state().trouble.extend([Trouble::None, Trouble::Answer(503, "")]);
    let error = stream(&swift, 100_000).unwrap_err();
    assert!(format!("{error:?}").contains("503"), "a stream can't be sent again: {error:?}");
}

#[test]
fn what_is_held_is_sent_again_though_it_was_written_as_a_stream() {
    let fake = Fake::start();
    let swift = open(&fake.settings());
    fake.state().trouble.extend([Trouble::Answer(503, ""), Trouble::Answer(500, "")]);
    stream(&swift, 1_000_000).unwrap();
    assert_eq!(fake.state().objects["p/a/x"], bytes(1_000_000));
}

#[test]
fn an_object_that_swift_would_refuse_for_its_size_is_not_sent() {
    let fake = Fake::start();
    let part = vec![0; 64 << 20];
    let error = open(&fake.settings()).put(&name(), &[&part[..]; 80]).unwrap_err();
    assert!(format!("{error:?}").contains("TooLarge"), "{error:?}");
    assert!(fake.requests().is_empty());
}

#[test]
fn listings_are_read_to_the_end_and_checked() {
    let fake = Fake::start();
    for object in ["p/a", "p/b/c", "p/b/", "p/d", "q"] {
        fake.state().objects.insert(object.to_owned(), bytes(3));
    }
    let swift = open(&Settings { page: 2, ..fake.settings() });
    fake.state().trouble.extend([Trouble::Answer(503, ""), Trouble::CutBody(5)]);
    let mut names = Vec::new();
    swift
        .list("", &mut |object| {
            names.push(format!("{} {}", object.name, object.size));
            Ok(())
        })
        .unwrap();
    assert_eq!(names, ["a 3", "b/c 3", "d 3"]);
    let mut foreign = Vec::new();
    swift
        .list_foreign("b", &mut |name| {
            foreign.push(name.to_string());
            Ok(())
        })
        .unwrap();
    assert_eq!(foreign, ["b/"]);

    let bad = [
        "no JSON",
        r#"[{"name": "p/a"}]"#,
        r#"[{"name": "p/b", "bytes": 1}, {"name": "p/a", "bytes": 1}]"#,
        r#"[{"name": "p/a", "bytes": 1}]"#,
        r#"[{"name": "q", "bytes": 1}]"#,
        r#"[{"name": "p/a", "bytes": -1}]"#,
    ];
    for text in bad {
        fake.state().listing = Some(text.to_owned());
        let error = swift.list("", &mut |_| Ok(())).unwrap_err();
        assert!(format!("{error:?}").contains("Protocol"), "{text}: {error:?}");
    }
    fake.state().trouble.push_back(Trouble::Answer(404, ""));
    assert!(format!("{:?}", swift.list("", &mut |_| Ok(()))).contains("NoContainer"));
}

/// "There is no repository here, make one", was said of a container that was misspelt.
#[test]
fn a_missing_container_is_told_from_a_missing_object() {
    let fake = Fake::start();
    let swift = open(&fake.settings());
    fake.state().trouble.extend([Trouble::Answer(404, ""), Trouble::Answer(404, "")]);
    let error = swift.get(&name(), 1).unwrap_err();
    assert!(matches!(error, Error::NoContainer { .. }), "{error:?}");

    assert!(matches!(swift.get(&name(), 1), Err(Error::NotFound { .. })));
    // It is known to be there now, and not asked for again.
    assert!(matches!(swift.get(&name(), 1), Err(Error::NotFound { .. })));
    assert_eq!(fake.requests(), ["GET", "HEAD", "GET", "HEAD", "GET"]);
}
