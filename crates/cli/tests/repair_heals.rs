//! What is damaged is noted, and stored again from wherever it still is.

mod common;

use std::fs;

use common::{MIB, Place, flip, noise, number, text};
use serde_json::{Value, json};

fn largest_pack(place: &Place) -> std::path::PathBuf {
    place.objects("packs").into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

fn failed(place: &Place, arguments: &[&str]) -> Value {
    let output = place.run(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_volume_heals_what_is_lost_and_the_mark_goes() {
    let place = Place::new();
    let (volume, small) = (noise(2, 2 * MIB), noise(1, MIB));
    place.file("volume", &volume);
    place.file("small", &small);
    let [hurt, other] = [("volume", "v"), ("small", "s")].map(|(file, name)| place.backup(file, name));
    let (hurt, other) = (text(&hurt, "backup_id"), text(&other, "backup_id"));
    flip(&largest_pack(&place), MIB as u64);

    let dry = failed(&place, &["repair", "--read-data", "--dry-run"]);
    assert_eq!((number(&dry, "noted"), number(&dry, "missing"), number(&dry, "healed")), (1, 1, 0));
    assert!(place.objects("damage").is_empty() && place.objects("marks").is_empty(), "a dry run changes nothing");

    let report = failed(&place, &["repair", "--read-data"]);
    assert_eq!(report["damaged_backups"][0]["backup_id"], json!(hurt), "{report}");
    assert_eq!(report["damaged_backups"].as_array().unwrap().len(), 1);
    assert_eq!(place.objects("damage").len(), 1);
    assert_eq!(place.json(&["show", hurt])["damaged_bytes"], json!(32768));
    assert!(place.restore(other) == small);
    // Without --read-data it is known now.
    assert_eq!(failed(&place, &["verify"])["damaged_backups"][0]["backup_id"], json!(hurt));
    let told = String::from_utf8(place.run(&["gc"]).stderr).unwrap();
    assert!(told.contains("1 chunk that backups need"), "{told}");
    assert_eq!(place.objects("damage").len(), 1, "the only copy is kept, wrong as it is");

    // At another place than it was.
    place.file("moved", &[&noise(9, MIB), &volume[..]].concat());
    let report = place.json(&["repair", "--from", "moved"]);
    assert_eq!((number(&report, "missing"), number(&report, "healed")), (1, 1), "{report}");
    assert_eq!(report["whole_again"], json!([hurt]));
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
    assert_eq!(place.json(&["show", hurt])["damaged_bytes"], json!(null));
    fs::remove_dir_all(place.cache()).unwrap();
    assert!(place.restore(hurt) == volume && place.restore(other) == small);
    // The pack goes, with its note, once what is right in it was copied.
    place.json(&["gc"]);
    assert!(place.objects("damage").is_empty());
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
    assert!(place.restore(hurt) == volume && place.restore(other) == small);
}

#[test]
fn a_later_backup_or_another_repository_heals() {
    for by_backup in [true, false] {
        let place = Place::new();
        let volume = noise(2, 2 * MIB);
        place.file("volume", &volume);
        let first = place.backup("volume", "v");
        let id = text(&first, "backup_id");
        let copy = place.path("copy");
        let copied = std::process::Command::new("cp").arg("-r").arg(place.repository()).arg(&copy).status().unwrap();
        assert!(copied.success());
        // The largest holds the data; all the others the maps.
        let data = largest_pack(&place);
        flip(&data, MIB as u64);
        if by_backup {
            failed(&place, &["repair", "--read-data"]);
            place.backup("volume", "later");
            assert_eq!(place.json(&["repair"])["whole_again"], json!([id]));
        } else {
            for map in place.objects("packs").into_iter().filter(|path| *path != data) {
                flip(&map, 70);
            }
            let report = place.json(&["repair", "--read-data", "--from-repo", "copy"]);
            assert!(number(&report, "healed") >= 1, "{report}");
        }
        assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
        assert!(place.restore(id) == volume);
    }
}

#[test]
fn a_damaged_segment_is_replaced() {
    let place = Place::new();
    let volume = noise(2, MIB);
    place.file("volume", &volume);
    let backup = place.backup("volume", "v");
    flip(&place.objects("index")[0], 100);
    failed(&place, &["verify"]);
    assert_eq!(number(&place.json(&["repair"]), "replaced_segments"), 1);
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
    fs::remove_dir_all(place.cache()).unwrap();
    assert!(place.restore(text(&backup, "backup_id")) == volume);
}
