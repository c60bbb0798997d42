//! What may be left of killed processes when garbage was collected: nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::deeds::World;
use crate::common::number;
use crate::common::objects::Objects;

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
fn id(name: &str) -> Vec<u8> {
    let name = last(name);
    let digit = |at: usize| u8::from_str_radix(&name[at..at + 2], 16).unwrap();
    (0..name.len()).step_by(2).map(digit).collect()
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap()
}

impl World {
    /// Collects, as if every process had been silent for long, and looks whether anything is left that nobody needs. Of a chunk that two
    /// backups have stored at the same time either copy may count as needed, and the other one the next time: a few times, then.
    pub fn nothing_dead_is_left(&self, away: bool) {
        let repository = self.repository(away);
        let mut collected = Value::Null;
        for run in 1.. {
            let output = self.collect_at_once(away, "cache", 0).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            collected = self.place.json(&[&repository[..], &["gc", "--dry-run", "--repack-below", "100"]].concat());
            if number(&collected, "condemned_packs") == 0 {
                break;
            }
            assert!(run < 5, "{collected}");
        }
        for count in ["condemned_packs", "freed_bytes", "pending_packs", "packs_kept_for_writers", "leftover_files"] {
            assert_eq!(number(&collected, count), 0, "{collected}");
        }
        let stats = self.place.json(&[&repository[..], &["stats"]].concat());
        assert_eq!(number(&stats, "missing"), 0, "{stats}");
        assert_eq!(self.place.json(&[&repository[..], &["sessions"]].concat()), Value::Array(vec![]));

        if !self.location(away).contains("://") {
            let temporary: Vec<_> =
                files(Path::new(&self.location(away))).into_iter().filter(|path| !is_object(path)).collect();
            assert!(temporary.is_empty(), "{temporary:?}");
        }
        let objects = self.objects(away);
        for empty in ["sessions/", "fences/", "gc/", "damage/"] {
            assert_eq!(objects.names(empty), Vec::<String>::new());
        }
        let packs: Vec<Vec<u8>> = objects.names("packs/").iter().map(|pack| id(pack)).collect();
        // Sealed ones show no ids.
        let is_open = std::env::var_os("CINDERBLOCK_TEST_INIT").is_none();
        for segment in objects.names("index/").iter().filter(|_| is_open) {
            let bytes = objects.read(segment);
            let names = |pack: &Vec<u8>| bytes.windows(pack.len()).any(|window| window == pack);
            assert!(packs.iter().any(names), "{segment} names no pack that there is");
        }
        let backups = objects.names("backups/");
        for mark in objects.names("marks/") {
            let backup = mark.split('/').nth(1).unwrap();
            assert!(backups.iter().any(|name| last(name) == backup), "{mark} is of no backup");
        }
    }

    fn objects(&self, away: bool) -> Objects {
        Objects::of(&self.place, &self.location(away))
    }

    /// Deletes all backups; then nothing is left but what says that this is a repository, and which sessions never count.
    pub fn nothing_is_left_of_nothing(&mut self, away: bool) {
        let repository = self.repository(away);
        let made = if away { self.away.made() } else { self.here.made() };
        let made: Vec<&str> = made.iter().map(String::as_str).collect();
        // Where few processes ran, none may have made a backup.
        if !made.is_empty() {
            self.place.succeed(&[&repository[..], &["-q", "protect", "--remove"], &made].concat());
            self.place.succeed(&[&repository[..], &["-q", "delete"], &made].concat());
        }
        self.nothing_dead_is_left(away);
        let stays = |name: &String| name.starts_with("tombstones/") || name == "cinderblock.json";
        let left: Vec<String> = self.objects(away).names("").into_iter().filter(|name| !stays(name)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn is_object(path: &Path) -> bool {
    !path.file_name().unwrap().to_str().unwrap().starts_with('.')
}
