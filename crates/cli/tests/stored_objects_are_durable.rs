//! What a backup relies on is durable before it is relied on: the system calls of a real process, as strace sees them. A test that crashes a backend in
//! memory can't notice that a file was never synced. Skipped, with the reason told, where strace is not installed or may not trace.

mod common;

use std::collections::{HashMap, HashSet};
use std::process::Command;

use common::{MIB, Place, noise};

/// A call that matters, with paths below the repository.
#[derive(Debug)]
enum Call {
    Sync(String),
    MakeFolder(String),
    Rename(String, String),
}

/// `5</place/repository/packs>` and `"ab"` as a path.
fn joined(folder: &str, name: &str) -> String {
    let folder = folder.split_once('<').expect("a descriptor with its path").1.trim_end_matches('>');
    format!("{folder}/{}", name.trim_matches('"'))
}

impl Call {
    /// Of a line like `123 renameat2(5</a>, "b", 5</a>, "c", RENAME_NOREPLACE) = 0`; none where it failed or is another one.
    fn parse(line: &str) -> Option<Self> {
        let (call, result) = line.rsplit_once(" = ")?;
        let call = call.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').trim_end().strip_suffix(')')?;
        let (name, arguments) = call.split_once('(')?;
        let arguments: Vec<&str> = arguments.split(", ").collect();
        if result.trim() != "0" {
            return None;
        }
        Some(match (name, &arguments[..]) {
            ("fsync" | "fdatasync", [file]) => Call::Sync(joined(file, "").trim_end_matches('/').to_owned()),
            ("mkdirat", [folder, name, _]) => Call::MakeFolder(joined(folder, name)),
            ("renameat2" | "renameat" | "linkat", [from, old, to, new, ..]) => {
                Call::Rename(joined(from, old), joined(to, new))
            }
            _ => return None,
        })
    }
}

/// The calls of a log in the order in which they ended: those that another thread's interrupts are in two lines.
fn whole_calls(log: &str) -> Vec<String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        if let Some(first) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, first);
        } else if let Some((_, rest)) = line.split_once(" resumed>") {
            calls.push(format!("{}{rest}", begun.remove(thread).unwrap_or_default()));
        } else {
            calls.push(line.to_owned());
        }
    }
    calls
}

/// What a loss of power could take.
#[derive(Default)]
struct Storage {
    synced: HashSet<String>,
    /// Entries of folders that were not synced since.
    at_risk: HashSet<String>,
    stored: Vec<String>,
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Storage {
    fn see(&mut self, call: Call) {
        match call {
            Call::Sync(path) => {
                self.at_risk.retain(|entry| folder(entry) != path);
                self.synced.insert(path);
            }
            Call::MakeFolder(path) => drop(self.at_risk.insert(path)),
            Call::Rename(from, to) => {
                assert!(self.synced.contains(&from), "{to} was stored before its bytes were durable");
                if to.contains("/backups/") {
                    let others: Vec<_> = self.at_risk.iter().filter(|path| !path.contains("/backups")).collect();
                    assert!(others.is_empty(), "a record was put before these were durable: {others:?}");
                }
                self.at_risk.insert(to.clone());
                self.stored.push(to);
            }
        }
    }
}

#[test]
fn packs_and_segments_are_durable_before_the_record_and_the_record_at_the_end() {
    let place = Place::new();
    place.file("volume", &noise(1, 3 * MIB));
    let command = place.command(&["-q", "backup", "--volume-id", "v", "volume"]);
    let log = place.path("calls");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-y", "-qq", "-e", "trace=fsync,fdatasync,linkat,renameat,renameat2,mkdirat", "-o"]).arg(&log);
    traced.arg(command.get_program()).args(command.get_args()).current_dir(place.path(""));
    traced.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    match traced.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return println!("skipped: strace: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => return println!("skipped: strace: {error}"),
    }
    let repository = std::fs::canonicalize(place.repository()).unwrap();
    let repository = repository.to_str().unwrap();
    let mut storage = Storage::default();
    let calls = whole_calls(&std::fs::read_to_string(log).unwrap());
    calls
        .iter()
        .filter(|call| call.contains(repository))
        .filter_map(|call| Call::parse(call))
        .for_each(|call| storage.see(call));
    for kind in ["packs", "index", "backups", "sessions"] {
        let prefix = format!("{repository}/{kind}/");
        assert!(storage.stored.iter().any(|path| path.starts_with(&prefix)), "{kind}: {:?}", storage.stored);
    }
    assert!(storage.at_risk.is_empty(), "at the end, these were not durable: {:?}", storage.at_risk);
}
