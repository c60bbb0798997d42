//! Wrong bytes in the repository are told of, and never restored.

mod common;

use std::fs;

use common::{CHUNK, MIB, Place, failure, flip, noise, text};
use serde_json::{Value, json};

/// The pack of a repository that is the largest: one of data.
fn largest_pack(place: &Place) -> std::path::PathBuf {
    place.objects("packs").into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

#[test]
fn verify_names_what_is_lost_of_which_backup() {
    let place = Place::new();
    let small = noise(1, MIB);
    place.file("small", &small);
    let whole = place.backup("small", "whole");
    let volume = noise(2, 2 * MIB);
    place.file("volume", &volume);
    let first = place.backup("volume", "hurt");
    let second = place.backup("volume", "hurt-too");
    flip(&largest_pack(&place), MIB as u64);

    let output = place.run(&["verify", "--read-data", "--json"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with("cinderblock: 1 damaged object, 2 backups") && told.lines().count() == 1, "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["clean"], json!(false));
    let damaged = report["damaged_objects"].as_array().unwrap();
    assert_eq!(damaged.len(), 1);
    let name = largest_pack(&place).file_name().unwrap().to_str().unwrap().to_owned();
    assert!(text(&damaged[0], "object").contains(&name) && damaged[0]["offset"].is_u64(), "{report}");
    let lost = report["damaged_backups"].as_array().unwrap();
    let ids: Vec<&str> = lost.iter().map(|backup| text(backup, "backup_id")).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&text(&first, "backup_id")) && ids.contains(&text(&second, "backup_id")));
    for backup in lost {
        // A header comes before the data, so the byte is in the chunk before; the others of its frame are right.
        assert_eq!(backup["lost"], json!([{ "offset": MIB - CHUNK, "length": CHUNK }]), "{report}");
    }

    let human = place.run(&["verify", "--read-data"]);
    let text_of = String::from_utf8(human.stdout).unwrap();
    assert!(text_of.contains("; DAMAGED\n") && text_of.contains("of hurt-too, in 1 extent\n    bytes "), "{text_of}");

    let line = failure(&place.run(&["restore", text(&first, "backup_id"), "target"]), 1);
    assert!(line.contains("cannot be restored"), "{line}");
    assert!(!place.path("target").exists());
    assert!(place.restore(text(&whole, "backup_id")) == small);
    let report = place.json(&["verify", "--read-data", text(&whole, "backup_id")]);
    assert_eq!(report["clean"], json!(true));
}

#[test]
fn a_missing_pack_is_found_without_reading_data() {
    let place = Place::new();
    place.file("volume", &noise(2, MIB));
    let backup = place.backup("volume", "v");
    fs::remove_file(largest_pack(&place)).unwrap();
    let output = place.run(&["verify", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["damaged_backups"][0]["backup_id"], backup["backup_id"]);
    failure(&place.run(&["restore", text(&backup, "backup_id"), "target"]), 1);
    assert!(!place.path("target").exists());
}

#[test]
fn a_damaged_record_hides_no_other() {
    let place = Place::new();
    place.file("volume", &noise(2, MIB));
    let [good, bad] = ["good", "bad"].map(|volume| place.backup("volume", volume));
    let id = text(&bad, "backup_id");
    let record = place.repository().join("backups/bad").join(id);
    for damage in ["flip", "truncate", "empty"] {
        match damage {
            "flip" => flip(&record, 70),
            "truncate" => fs::write(&record, &fs::read(&record).unwrap()[..60]).unwrap(),
            _ => fs::write(&record, b"").unwrap(),
        }
        let output = place.run(&["list", "--json"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{damage}");
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), json!([good]), "{damage}");
        assert!(told.contains(id) && told.lines().count() == 2, "{damage}: {told}");
        let line = place.fail(&["show", id], 1);
        assert!(line.contains(id) && line.contains("damaged"), "{damage}: {line}");
        assert_eq!(place.run(&["verify"]).status.code(), Some(1), "{damage}");
    }
    place.succeed(&["-q", "delete", id]);
    assert_eq!(place.json(&["list"]), json!([good]));
    assert_eq!(place.json(&["verify"])["clean"], json!(true));
}
