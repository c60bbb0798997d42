//! A real Swift passes the conformance suite, where `CINDERBLOCK_TEST_SWIFT` names a container to use:
//! `eval "$(tools/servers/swift start DIR)"` starts one and sets the variables.

use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cinderblock_backend::{Backend, Error, ObjectName, conformance};
use cinderblock_remote::swift::{Settings, Swift};

/// The container and the settings; none, and a word about it, where there is no Swift.
fn server() -> Option<(String, Settings)> {
    let Ok(url) = std::env::var("CINDERBLOCK_TEST_SWIFT") else {
        println!("skipped: CINDERBLOCK_TEST_SWIFT is not set; see tools/servers/swift");
        return None;
    };
    let container = url.strip_prefix("swift://").expect("CINDERBLOCK_TEST_SWIFT is swift://CONTAINER");
    let mut settings = Settings::from_env().expect("the variables of the account are set");
    // One node: a listing shows what its container server has noted, which is what every PUT waits for.
    settings.settle_delay = Duration::ZERO;
    Some((container.to_owned(), settings))
}

/// A name that no test before had: the container outlives them.
fn unique(what: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_nanos();
    format!("{what}-{}-{now}", std::process::id())
}

fn conforms(settings: &Settings, container: &str) {
    let root = unique("conformance");
    let count = Cell::new(0);
    let prefix = || {
        count.set(count.get() + 1);
        format!("{root}/{:02}", count.get())
    };
    let prefix_len = root.len() + "/00/".len();
    conformance::run_without_races(
        &|| Arc::new(Swift::open(container, &prefix(), settings).expect("the settings are good")) as Arc<dyn Backend>,
        prefix_len,
    );
}

#[test]
fn swift_conforms() {
    let Some((container, settings)) = server() else { return };
    conforms(&settings, &container);
}

#[test]
fn swift_with_streams_and_short_pages_conforms_too() {
    let Some((container, mut settings)) = server() else { return };
    settings.write_buffer = 1000;
    settings.page = 3;
    settings.http.requests_in_flight = 1;
    conforms(&settings, &container);
}

#[test]
fn a_stream_to_swift_that_is_dropped_leaves_nothing() {
    let Some((container, mut settings)) = server() else { return };
    settings.write_buffer = 0;
    let swift = Swift::open(&container, &unique("dropped"), &settings).expect("the settings are good");
    let name = ObjectName::new("packs/ab/x").expect("the name is good");
    for pieces in [1, 10, 40] {
        let mut writer = swift.create(&name).expect("the name is free");
        for _ in 0..pieces {
            writer.write_all(&[7; 100_000]).expect("there is room");
        }
        drop(writer);
    }
    // What the server would make of it, it makes at once: the connections are cut by now or will be.
    std::thread::sleep(Duration::from_secs(1));
    assert!(swift.size(&name).is_err_and(|error| error.is_not_found()));
    swift.list("", &mut |object| panic!("{object:?} is there")).expect("the container can be listed");
    swift.put(&name, &[b"whole"]).expect("the name is free");
    assert_eq!(swift.get(&name, 5).expect("it is there"), b"whole");
}

#[test]
fn prefixes_in_swift_keep_apart() {
    let Some((container, settings)) = server() else { return };
    let root = unique("apart");
    let open =
        |prefix: &str| Swift::open(&container, &format!("{root}{prefix}"), &settings).expect("the settings are good");
    let (outer, inner, beside) = (open(""), open("/a"), open("/ab"));
    let name = ObjectName::new("x").expect("the name is good");
    inner.put(&name, &[b"inner"]).expect("it is new");
    beside.put(&name, &[b"beside"]).expect("it is new");
    let seen = |swift: &Swift, prefix: &str| {
        let mut names = Vec::new();
        swift
            .list(prefix, &mut |object| {
                names.push(object.name.to_string());
                Ok(())
            })
            .expect("the container can be listed");
        names
    };
    assert_eq!(seen(&inner, ""), ["x"]);
    assert_eq!(seen(&outer, ""), ["a/x", "ab/x"]);
    assert_eq!(seen(&outer, "a/"), ["a/x"]);
    assert_eq!(inner.location(), format!("swift://{container}/{root}/a"));
}

#[test]
fn what_is_wrong_with_swift_is_said() {
    let Some((_, settings)) = server() else { return };
    let swift = Swift::open(&unique("missing"), "", &settings).expect("the settings are good");
    let name = ObjectName::new("x").expect("the name is good");
    let errors = [
        swift.get(&name, 1).unwrap_err(),
        swift.put(&name, &[b"x"]).unwrap_err(),
        swift.list("", &mut |_| Ok(())).unwrap_err(),
    ];
    for error in errors {
        let text = format!("{error:?}");
        assert!(matches!(error, Error::NoContainer { .. }), "{text}");
    }

    use cinderblock_remote::swift::{Account, Secret};
    let Account::V1 { url, user, .. } = settings.account.clone() else { panic!("tempauth is expected") };
    let wrong = Settings { account: Account::V1 { url, user, key: Secret::new("hunter2") }, ..settings };
    let swift = Swift::open("c", "", &wrong).expect("the settings are good");
    let error = swift.get(&name, 1).unwrap_err();
    assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
    assert!(!format!("{error:?} {swift:?}").contains("hunter2"));
}
