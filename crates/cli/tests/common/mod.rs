//! A repository of its own for each test, and volumes to put into it.

// Every file of tests uses a part of this.
#![allow(dead_code)]

pub mod objects;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub const CHUNK: usize = 32 << 10;
pub const MIB: usize = 1 << 20;

/// A folder with a repository, a cache folder and whatever the test needs, removed at its end. The repository may be elsewhere.
pub struct Place {
    folder: TempDir,
    /// A path or a URL.
    repository: OsString,
    /// Further variables of its commands.
    environment: Vec<(String, String)>,
}

impl Place {
    /// With nothing in it.
    pub fn bare() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    fn in_folder(folder: TempDir) -> Self {
        Self { repository: folder.path().join("repository").into(), folder, environment: Vec::new() }
    }

    /// With its repository at a URL, which its commands reach with these variables.
    pub fn with_repository_at(self, url: &str, environment: &[(String, String)]) -> Self {
        Self { repository: url.into(), environment: environment.to_vec(), ..self }
    }

    /// With nothing in it, on a RAM disk where there is one with a gigabyte to spare and TMPDIR names no other place.
    pub fn in_memory() -> Self {
        let disk = Path::new("/dev/shm");
        let spare = rustix::fs::statvfs(disk).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if std::env::var_os("TMPDIR").is_some() || spare < 1 << 30 {
            return Self::bare();
        }
        Self::in_folder(tempfile::tempdir_in(disk).unwrap())
    }

    /// With a new repository.
    pub fn new() -> Self {
        let place = Self::bare();
        place.succeed(&["init"]);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The repository's folder, or its URL.
    pub fn repository(&self) -> PathBuf {
        PathBuf::from(&self.repository)
    }

    /// The variables with which its commands reach a repository that is elsewhere.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// The command in an environment of its own. Backtraces are asked for, because errors are not to show them.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cinderblock"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("RUST_BACKTRACE", "full")
            .env("CINDERBLOCK_REPO", self.repository())
            .env("CINDERBLOCK_CACHE_DIR", self.cache())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that has to succeed, without a word on standard error; returns what it printed.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}: {told}", output.status);
        assert_eq!(told, "", "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command with `--json` that has to succeed; returns the document.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.succeed(&[arguments, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}"))
    }

    /// Runs a command that has to fail with this status and print nothing; returns its one line of error.
    pub fn fail(&self, arguments: &[&str], status: i32) -> String {
        failure(&self.run(arguments), status)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Backs up a file of the folder; returns the backup's facts.
    pub fn backup(&self, file: &str, volume: &str) -> Value {
        self.json(&["backup", file, "--volume-id", volume])
    }

    /// Restores into a new file; returns its bytes.
    pub fn restore(&self, backup: &str) -> Vec<u8> {
        let target = self.path("restored");
        self.succeed(&["-q", "restore", backup, "restored"]);
        let bytes = fs::read(&target).unwrap();
        fs::remove_file(target).unwrap();
        bytes
    }

    /// Starts a backup of what is sent to it.
    pub fn start_stream(&self, volume: &str) -> Child {
        self.command(&["backup", "-", "--volume-id", volume]).stdin(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until that many writers are at work.
    pub fn wait_for_sessions(&self, wanted: usize) {
        let sessions = self.repository().join("sessions");
        wait_until(|| fs::read_dir(&sessions).map_or(0, Iterator::count) == wanted);
    }

    /// Files below a folder of the repository.
    pub fn objects(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.repository().join(folder)];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

/// Checks that a command failed with this status, one line of error and nothing else; returns the line.
pub fn failure(output: &Output, status: i32) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{}: {told}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{told}");
    let line = told.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {told:?}"));
    assert!(line.starts_with("cinderblock: ") && !line.contains('\n'), "{told}");
    line.to_owned()
}

/// Random bytes that are the same for the same seed: splitmix64.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The string member of a JSON object.
pub fn text<'a>(document: &'a Value, member: &str) -> &'a str {
    document[member].as_str().unwrap_or_else(|| panic!("no text {member} in {document}"))
}

/// The number member of a JSON object.
pub fn number(document: &Value, member: &str) -> u64 {
    document[member].as_u64().unwrap_or_else(|| panic!("no number {member} in {document}"))
}

/// Changes a byte of a file.
pub fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], offset).unwrap();
}

pub fn wait_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited for a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends bytes to a process, and leaves the pipe open.
pub fn send(child: &mut Child, bytes: &[u8]) {
    child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
}
