//! `copy`: backups go to another repository, and are counted.

mod common;

use common::{CHUNK, MIB, Place, flip, noise, number, text};

#[test]
fn all_backups_are_copied_once() {
    let place = Place::new();
    place.succeed(&["--repo", "other", "init"]);
    let mut volume = noise(1, 4 * MIB);
    place.file("volume", &volume);
    let first = place.backup("volume", "vm");
    volume[..CHUNK].copy_from_slice(&noise(2, CHUNK));
    place.file("volume", &volume);
    let second = place.backup("volume", "vm");
    let line = place.fail(&["copy", "--to", "other"], 2);
    assert!(line.contains("--all"), "{line}");
    let done = place.json(&["copy", "--to", "other", "--all"]);
    let copied = done["copied"].as_array().unwrap();
    assert_eq!(text(&copied[0], "backup_id"), text(&first, "backup_id"));
    assert_eq!((number(&copied[0], "new_bytes"), number(&copied[1], "new_bytes")), (4 * MIB as u64, CHUNK as u64));
    let again = place.json(&["copy", "--to", "other", text(&second, "backup_id")]);
    assert_eq!((again["already_there"].as_array().unwrap().len(), number(&again, "stored_bytes")), (1, 0));
    place.succeed(&["-q", "--repo", "other", "restore", text(&second, "backup_id"), "restored"]);
    assert!(std::fs::read(place.path("restored")).unwrap() == volume);
    assert_eq!(place.json(&["--repo", "other", "verify", "--read-data"])["clean"], true);
    place.fail(&["copy", "--to", "repository", "--all"], 1);
}

#[test]
fn one_that_fails_does_not_stop_the_others() {
    let place = Place::new();
    place.succeed(&["--repo", "other", "init"]);
    place.file("volume", &noise(1, MIB));
    let damaged = place.backup("volume", "a");
    let pack = place.objects("packs").into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    place.file("volume", &noise(2, MIB));
    let whole = place.backup("volume", "b");
    flip(&pack, 500);
    let output = place.run(&["copy", "--to", "other", "--all", "--json"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(text(&damaged, "backup_id")) && told.contains("1 backup could not be copied"), "{told}");
    let list = place.json(&["--repo", "other", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(text(&list[0], "backup_id"), text(&whole, "backup_id"));
}
