//! What may be left of killed processes when garbage was collected: nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::deeds::World;
use crate::common::number;

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The bytes of an id from the name of its object.
fn id(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let digit = |at: usize| u8::from_str_radix(&name[at..at + 2], 16).unwrap();
    (0..name.len()).step_by(2).map(digit).collect()
}

impl World {
    /// Collects, as if every process had been silent for long, and looks whether anything is left that nobody needs. Of a chunk that two
    /// backups have stored at the same time either copy may count as needed, and the other one the next time: a few times, then.
    pub fn nothing_dead_is_left(&self, away: bool) {
        let repository = if away { &["--repo", "away"][..] } else { &[] };
        let mut collected = Value::Null;
        for run in 1.. {
            let output = self.collect_at_once(away, "cache", 0).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            collected = self.place.json(&[repository, &["gc", "--dry-run", "--repack-below", "100"]].concat());
            if number(&collected, "condemned_packs") == 0 {
                break;
            }
            assert!(run < 5, "{collected}");
        }
        for count in ["condemned_packs", "freed_bytes", "pending_packs", "packs_kept_for_writers", "leftover_files"] {
            assert_eq!(number(&collected, count), 0, "{collected}");
        }
        let stats = self.place.json(&[repository, &["stats"]].concat());
        assert_eq!(number(&stats, "missing"), 0, "{stats}");
        assert_eq!(self.place.json(&[repository, &["sessions"]].concat()), Value::Array(vec![]));

        let folder = if away { self.place.path("away") } else { self.place.repository() };
        let temporary: Vec<_> = files(&folder).into_iter().filter(|path| !is_object(path)).collect();
        assert!(temporary.is_empty(), "{temporary:?}");
        for empty in ["sessions", "fences", "gc", "damage"] {
            assert_eq!(files(&folder.join(empty)), Vec::<PathBuf>::new());
        }
        let packs: Vec<Vec<u8>> = files(&folder.join("packs")).iter().map(|path| id(path)).collect();
        for segment in files(&folder.join("index")) {
            let bytes = fs::read(&segment).unwrap();
            let names = |pack: &Vec<u8>| bytes.windows(pack.len()).any(|window| window == pack);
            assert!(packs.iter().any(names), "{} names no pack that there is", segment.display());
        }
        for mark in files(&folder.join("marks")) {
            let backup = mark.parent().unwrap().file_name().unwrap();
            let is_its = |path: &PathBuf| path.file_name() == Some(backup);
            assert!(files(&folder.join("backups")).iter().any(is_its), "{} is of no backup", mark.display());
        }
    }

    /// Deletes all backups; then nothing is left but what says that this is a repository, and which sessions never count.
    pub fn nothing_is_left_of_nothing(&mut self, away: bool) {
        let repository = if away { &["--repo", "away"][..] } else { &[] };
        let made = if away { self.away.made() } else { self.here.made() };
        let made: Vec<&str> = made.iter().map(String::as_str).collect();
        self.place.succeed(&[repository, &["-q", "protect", "--remove"], &made].concat());
        self.place.succeed(&[repository, &["-q", "delete"], &made].concat());
        self.nothing_dead_is_left(away);
        let folder = if away { self.place.path("away") } else { self.place.repository() };
        let stays =
            |path: &PathBuf| path.parent().unwrap().ends_with("tombstones") || path.ends_with("cinderblock.json");
        let left: Vec<_> = files(&folder).into_iter().filter(|path| !stays(path)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn is_object(path: &Path) -> bool {
    !path.file_name().unwrap().to_str().unwrap().starts_with('.')
}
