//! Servers of a test's own, which it may kill.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

use super::{Kind, Store};

/// A server that ends with the value.
pub struct Server {
    kind: Kind,
    folder: TempDir,
    pub store: Store,
}

/// Two that look for ports at the same time would find the same.
static STARTING: Mutex<()> = Mutex::new(());

fn script(kind: Kind) -> PathBuf {
    let name = match kind {
        Kind::S3 => "seaweedfs",
        Kind::Swift => "swift",
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/servers").join(name)
}

/// The first of ten ports that nobody listens on, and that the system gives to nobody who asks for any.
fn free_ports() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut starts = (18_300..32_000).step_by(10);
    starts.find(|start| (*start..start + 10).all(is_free)).expect("no ten ports are free")
}

impl Server {
    /// Starts one like that of a store, with nothing in it.
    pub fn like(store: &Store) -> Server {
        let _alone = STARTING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let folder = tempfile::tempdir().unwrap();
        let told = run(store.kind, &["start", folder.path().to_str().unwrap(), &free_ports().to_string()]);
        let words = told.split_whitespace().filter_map(|word| word.split_once('='));
        let variables: Vec<(String, String)> = words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let container = &variables.iter().find(|(name, _)| name.starts_with("CINDERBLOCK_TEST_")).unwrap().1;
        Server { kind: store.kind, store: Store::new(store.kind, container, variables.clone()), folder }
    }

    fn tell(&self, word: &str) {
        run(self.kind, &[word, self.folder.path().to_str().unwrap()]);
    }

    /// Kills what keeps the objects.
    pub fn crash(&self) {
        self.tell("crash");
    }

    /// Starts again on the same data what was killed.
    pub fn restart(&self) {
        self.tell("restart");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let folder = self.folder.path().to_str().unwrap_or_default();
        let _ = Command::new(script(self.kind)).args(["stop", folder]).stdin(Stdio::null()).status();
    }
}

fn run(kind: Kind, arguments: &[&str]) -> String {
    let output = Command::new(script(kind)).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
