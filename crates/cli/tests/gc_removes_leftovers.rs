//! `gc` removes what killed processes left half written in a repository's folder, and nothing else.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{Place, noise, number};
use serde_json::Value;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A file as a writer leaves it that is killed, last written to so long ago.
fn leave(path: &Path, age: Duration) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, [0; 1000]).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

fn counts(collected: &Value) -> (u64, u64) {
    (number(collected, "leftover_files"), number(collected, "leftover_bytes"))
}

#[test]
fn only_what_is_old_and_the_repositorys_goes() {
    let place = Place::new();
    place.file("volume", &noise(1, 300_000));
    place.backup("volume", "v");
    let before = place.objects("");
    let name = ".tmp-0123456789abcdef";
    let folders = ["", "packs/0a", "packs", "index", "backups/v", "backups/w", "sessions/x", "marks/x"];
    let folders = [&folders[..], &["gc", "fences/x", "tombstones", "damage/x", "scrub/x"]].concat();
    for folder in &folders {
        leave(&place.repository().join(folder).join(name), HOUR * 25);
    }
    let young = place.repository().join("packs/0b").join(name);
    leave(&young, HOUR * 23);
    let others = [place.repository().join("lost+found").join(name), place.repository().join("packs/0a/.hidden")];
    others.iter().for_each(|other| leave(other, HOUR * 25));

    let all = folders.len() as u64;
    assert_eq!(counts(&place.json(&["gc", "--dry-run"])), (all, 1000 * all));
    assert!(
        place.succeed(&["gc", "--dry-run"]).contains("would remove 13 files that killed processes left half written")
    );
    assert_eq!(place.objects("").len(), before.len() + folders.len() + 3, "a dry run removes nothing");
    assert!(place.succeed(&["gc"]).contains("removed 13 files that killed processes left half written, 12.7 KiB"));
    assert_eq!(counts(&place.json(&["gc"])), (0, 0));

    let left: Vec<_> = place.objects("").into_iter().filter(|path| !before.contains(path)).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.contains(&young) && others.iter().all(|other| left.contains(other)), "{left:?}");
    assert!(!place.repository().join("sessions").exists(), "empty folders go too");
    assert_eq!(counts(&place.json(&["gc", "--fence-after", "22h"])), (1, 1000), "as old as a session that has crashed");
}
