//! Deduplication: what is equal is stored once, and no backup depends on another.

mod common;

use common::{CHUNK, MIB, Place, noise, number, text};

/// A volume, and the same with one chunk changed.
fn two_days(place: &Place) -> (Vec<u8>, Vec<u8>) {
    let first = noise(1, 6 * MIB);
    let mut second = first.clone();
    second[40 * CHUNK + 17] ^= 1;
    place.file("first", &first);
    place.file("second", &second);
    (first, second)
}

#[test]
fn an_incremental_stores_what_changed() {
    let place = Place::new();
    let (first, second) = two_days(&place);
    let full = place.backup("first", "v");
    let incremental = place.backup("second", "v");
    assert_eq!(full["parent_id"], serde_json::Value::Null);
    assert_eq!(incremental["parent_id"], full["backup_id"]);
    assert_eq!(number(&full, "new_chunks"), first.len().div_ceil(CHUNK) as u64);
    assert_eq!(number(&incremental, "new_chunks"), 1);
    assert_eq!(number(&incremental, "new_bytes"), CHUNK as u64);
    assert!(number(&incremental, "stored_bytes") < 100_000, "{incremental}");
    assert!(place.restore(text(&full, "backup_id")) == first);
    assert!(place.restore(text(&incremental, "backup_id")) == second);
}

#[test]
fn equal_chunks_are_found_without_a_parent_and_across_volumes() {
    let place = Place::new();
    let (_, second) = two_days(&place);
    place.backup("first", "a");
    let other = place.backup("second", "b");
    assert_eq!(number(&other, "new_chunks"), 1);
    let again = place.json(&["backup", "second", "--volume-id", "b", "--parent", "none"]);
    assert_eq!(number(&again, "new_chunks"), 0);
    assert_eq!(again["parent_id"], serde_json::Value::Null);
    assert!(place.restore(text(&again, "backup_id")) == second);
}

#[test]
fn a_parent_may_be_named() {
    let place = Place::new();
    two_days(&place);
    let full = place.backup("first", "v");
    place.backup("second", "v");
    let id = text(&full, "backup_id");
    let child = place.json(&["backup", "second", "--volume-id", "v", "--parent", &id[..13]]);
    assert_eq!(text(&child, "parent_id"), id);
    let line = place.fail(&["backup", "second", "--volume-id", "v", "--parent", "00000000-0000"], 1);
    assert!(line.contains("--parent") && line.contains("00000000-0000"), "{line}");
}

#[test]
fn deleting_the_parent_does_not_harm_the_child() {
    let place = Place::new();
    let (_, second) = two_days(&place);
    let full = place.backup("first", "v");
    let child = place.backup("second", "v");
    let deleted = place.json(&["delete", text(&full, "backup_id")]);
    assert_eq!(deleted["deleted"], serde_json::json!([full["backup_id"]]));
    assert!(place.restore(text(&child, "backup_id")) == second);
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], true);

    let stats = place.json(&["stats"]);
    assert_eq!(number(&stats, "backups"), 1);
    // The chunk that only the first day had.
    assert!(number(&stats, "unreferenced_bytes") >= CHUNK as u64 - 1000, "{stats}");
}

#[test]
fn nothing_is_deleted_where_one_of_several_is_unknown() {
    let place = Place::new();
    two_days(&place);
    let kept = place.backup("first", "v");
    let id = text(&kept, "backup_id");
    let line = place.fail(&["delete", id, "00000000-0000-0000-0000-000000000000"], 1);
    assert!(line.contains("nothing was deleted: there is no backup 00000000"), "{line}");
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 1);

    // Named twice, deleted once.
    assert_eq!(place.json(&["delete", id, &id[..8]])["deleted"], serde_json::json!([id]));
    for command in [&["show", id][..], &["delete", id], &["restore", id, "target"], &["verify", id]] {
        let line = place.fail(command, 1);
        assert!(line.contains(id) && line.contains("cinderblock list"), "{line}");
    }
    assert!(!place.path("target").exists());
}
