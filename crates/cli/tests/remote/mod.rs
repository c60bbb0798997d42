//! Real object stores that the environment names: S3 (SeaweedFS) and Swift. `make test-remote` starts them.
//!
//! Every repository is below a prefix of its own, so that tests run side by side in one bucket. CINDERBLOCK_TEST_INIT holds further
//! arguments for each `init`, such as `--encrypt passphrase`; other variables that begin with CINDERBLOCK_ reach the commands.

// Every file of tests uses a part of this.
#![allow(dead_code)]

pub mod server;

use std::env;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use cinderblock_benches::proxy::{Faults, Proxy, Settings};

use crate::common::Place;
use crate::common::objects::Objects;

/// Runs a scenario on each store, as `scenario::seaweedfs` and `scenario::swift`.
#[macro_export]
macro_rules! on_each_store {
    ($($scenario:ident),* $(,)?) => {
        $(mod $scenario {
            #[test]
            fn seaweedfs() {
                $crate::remote::Store::s3().iter().for_each(super::$scenario);
            }

            #[test]
            fn swift() {
                $crate::remote::Store::swift().iter().for_each(super::$scenario);
            }
        })*
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    S3,
    Swift,
}

/// A bucket or container, and the way to it.
#[derive(Clone, Debug)]
pub struct Store {
    pub kind: Kind,
    container: String,
    environment: Vec<(String, String)>,
}

/// How long Swift's listings may lag here, if the environment does not say: `tools/servers/swift` has it wait for them.
const SETTLE: &str = "1s";

/// Variables that say how services are reached, or how a command works.
fn is_for_commands(name: &str) -> bool {
    let others = ["CINDERBLOCK_REPO", "CINDERBLOCK_CACHE_DIR", "CINDERBLOCK_DEPS", "CINDERBLOCK_CINDER_REFERENCE"];
    ["AWS_", "OS_", "ST_", "CINDERBLOCK_"].iter().any(|prefix| name.starts_with(prefix))
        && !name.starts_with("CINDERBLOCK_TEST_")
        && !others.contains(&name)
}

impl Store {
    /// The bucket of CINDERBLOCK_TEST_S3.
    pub fn s3() -> Option<Store> {
        Store::of_environment(Kind::S3, "CINDERBLOCK_TEST_S3")
    }

    /// The container of CINDERBLOCK_TEST_SWIFT.
    pub fn swift() -> Option<Store> {
        Store::of_environment(Kind::Swift, "CINDERBLOCK_TEST_SWIFT")
    }

    fn of_environment(kind: Kind, variable: &str) -> Option<Store> {
        let container = env::var(variable).ok().filter(|place| !place.is_empty());
        if container.is_none() {
            eprintln!("{variable} is not set: skipped; 'make test-remote' starts the server");
        }
        Some(Store::new(kind, &container?, env::vars().collect()))
    }

    /// The container of a server that these variables lead to.
    pub fn new(kind: Kind, container: &str, variables: Vec<(String, String)>) -> Store {
        let mut environment: Vec<_> = variables.into_iter().filter(|(name, _)| is_for_commands(name)).collect();
        if !environment.iter().any(|(name, _)| name == "CINDERBLOCK_SWIFT_SETTLE") {
            environment.push(("CINDERBLOCK_SWIFT_SETTLE".to_owned(), SETTLE.to_owned()));
        }
        Store { kind, container: container.trim_end_matches('/').to_owned(), environment }
    }

    /// A prefix that no other test has.
    pub fn url(&self) -> String {
        static PREFIXES: AtomicU32 = AtomicU32::new(0);
        let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
        format!("{}/scenario-{}-{number}", self.container, std::process::id())
    }

    /// A place whose repository is below a prefix of its own, and not made yet.
    pub fn bare_place(&self) -> Place {
        self.place_at(&self.url())
    }

    /// Another place for the repository at a URL: a host of its own.
    pub fn place_at(&self, url: &str) -> Place {
        Place::in_memory().with_repository_at(url, &self.environment)
    }

    /// A place with a new repository below a prefix of its own.
    pub fn place(&self) -> Place {
        let place = self.bare_place();
        init(&place, &[]);
        place
    }

    pub fn objects(&self, place: &Place) -> Objects {
        Objects::of(place, &place.repository().display().to_string())
    }

    /// The variable that says where the server is.
    fn endpoint_variable(&self) -> &'static str {
        match self.kind {
            Kind::S3 => "AWS_ENDPOINT_URL",
            Kind::Swift => "ST_AUTH",
        }
    }

    /// A proxy before the server, and the store as it is through that.
    pub fn through_proxy(&self, faults: Faults) -> (Proxy, Store) {
        let (_, url) = self.environment.iter().find(|(name, _)| name == self.endpoint_variable()).unwrap();
        let upstream = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        let settings =
            Settings { upstream: upstream.clone(), faults, watch: "/index/".to_owned(), ..Settings::default() };
        let proxy = Proxy::start("127.0.0.1:0", settings).unwrap();
        let store = self.at(&upstream, proxy.address());
        (proxy, store)
    }

    fn at(&self, upstream: &str, address: SocketAddr) -> Store {
        let mut store = self.clone();
        let variable = self.endpoint_variable();
        for (_, url) in store.environment.iter_mut().filter(|(name, _)| name == variable) {
            *url = url.replace(upstream, &address.to_string());
        }
        store
    }
}

/// Makes a repository, as CINDERBLOCK_TEST_INIT wants it.
pub fn init(place: &Place, options: &[&str]) {
    let more = env::var("CINDERBLOCK_TEST_INIT").unwrap_or_default();
    let more: Vec<&str> = more.split_whitespace().collect();
    place.succeed(&[options, &["-q", "init"], &more].concat());
}
