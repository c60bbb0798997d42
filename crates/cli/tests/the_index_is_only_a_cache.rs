//! Whatever of the index is lost, everything still works.

mod common;

use std::fs;

use common::{MIB, Place, noise, number, text};
use serde_json::json;

/// A repository with two backups; the volumes and the backups' ids.
fn filled(place: &Place) -> Vec<(Vec<u8>, String)> {
    let fill = |seed| {
        let volume = noise(seed, 2 * MIB);
        place.file("volume", &volume);
        let backup = place.backup("volume", &format!("v{seed}"));
        (volume, text(&backup, "backup_id").to_owned())
    };
    (1..=2).map(fill).collect()
}

/// Everything restores, nothing that is there is stored again, and nothing is damaged.
fn check(place: &Place, backups: &[(Vec<u8>, String)]) {
    for (volume, id) in backups {
        assert!(place.restore(id) == *volume);
        place.file("volume", volume);
        let again = place.backup("volume", "again");
        assert_eq!(number(&again, "new_chunks"), 0, "{again}");
    }
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
}

#[test]
fn the_cache_folder_is_deleted() {
    let place = Place::new();
    let backups = filled(&place);
    fs::remove_dir_all(place.cache()).unwrap();
    check(&place, &backups);
}

#[test]
fn the_first_command_of_another_host_is_a_backup() {
    let place = Place::new();
    let backups = filled(&place);
    place.file("volume", &backups[0].0);
    let backup = place.json(&["--cache-dir", "other", "backup", "volume", "--volume-id", "v", "--parent", "none"]);
    assert_eq!(number(&backup, "new_chunks"), 0);
}

#[test]
fn the_cache_folder_and_the_segments_are_deleted() {
    let place = Place::new();
    let backups = filled(&place);
    fs::remove_dir_all(place.cache()).unwrap();
    fs::remove_dir_all(place.repository().join("index")).unwrap();
    check(&place, &backups);
}

#[test]
fn the_index_is_garbage() {
    let place = Place::new();
    let backups = filled(&place);
    let folder = fs::read_dir(place.cache()).unwrap().next().unwrap().unwrap().path();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { fs::write(path, b"garbage").unwrap() }
        }
    }
    place.succeed(&["-q", "rebuild-index"]);
    check(&place, &backups);
}

#[test]
fn rebuild_index_writes_segments_that_are_missing() {
    let place = Place::new();
    let backups = filled(&place);
    let segments = place.objects("index");
    fs::remove_file(&segments[0]).unwrap();
    let rebuilt = place.json(&["rebuild-index"]);
    assert!(number(&rebuilt, "adopted_packs") > 0, "{rebuilt}");
    assert_eq!(number(&rebuilt, "packs"), place.objects("packs").len() as u64);
    assert_eq!((&rebuilt["damage"], &rebuilt["segments_not_written"]), (&json!([]), &json!(null)));
    assert_eq!(place.objects("index").len(), segments.len());
    check(&place, &backups);
}
