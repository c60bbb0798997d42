//! `verify --read-data=PERCENT`: what it reads, what it says, and what it remembers.

mod common;

use std::fs;

use common::{MIB, Place, flip, noise, number, text};
use serde_json::{Value, json};

/// Ten volumes, each in a pack of its own.
fn ten_volumes() -> Place {
    let place = Place::new();
    for seed in 0..10 {
        place.file("volume", &noise(seed + 1, MIB));
        place.backup("volume", &format!("vm-{seed}"));
    }
    place
}

fn sample(place: &Place, percent: &str) -> Value {
    let verified = place.json(&["verify", &format!("--read-data={percent}")]);
    assert_eq!(verified["clean"], json!(true));
    verified["sample"].clone()
}

#[test]
fn each_run_goes_on_where_the_last_one_ended() {
    let place = ten_volumes();
    assert_eq!(place.json(&["stats"])["scrub"], json!(null));
    assert_eq!(place.json(&["verify", "--read-data"])["sample"], json!(null));
    assert!(place.objects("scrub").is_empty(), "nothing is remembered where all is read");
    let mut covered = 0;
    for (run, ended) in [(1, false), (2, false), (3, true)] {
        // Another host's cache.
        fs::remove_dir_all(place.cache()).unwrap();
        let sample = sample(&place, "33.34");
        assert_eq!((number(&sample, "packs"), &sample["round_ended"]), (4, &json!(ended)), "run {run}: {sample}");
        assert_eq!((&sample["forgotten"], &sample["not_remembered"]), (&json!([]), &json!(null)));
        assert_eq!(place.objects("scrub").len(), 1);
        let scrub = &sample["scrub"];
        assert_eq!(&place.json(&["stats"])["scrub"], scrub);
        assert_eq!(number(scrub, "rounds"), u64::from(ended));
        assert_eq!(scrub["last_round_ended_at"].is_string(), ended);
        assert!(ended || number(scrub, "covered_bytes") > covered);
        covered = number(scrub, "covered_bytes");
    }
    let told = place.succeed(&["verify", "--read-data=0.5"]);
    let (first, second) = told.trim_end().split_once('\n').unwrap();
    assert!(first.contains("; read 10.0 % of the stored bytes, ") && first.ends_with("; no damage"), "{told}");
    assert!(second.starts_with("this round has covered 30.0 % of the stored bytes since 2"), "{told}");
    assert!(second.contains("; before, all were read between 2"), "{told}");
    let facts = place.succeed(&["stats"]);
    assert!(facts.contains(&format!("data read back       {second}\n")), "{facts}");
}

#[test]
fn damage_in_the_share_is_status_1_and_the_next_run_goes_on() {
    let place = ten_volumes();
    for pack in place.objects("packs") {
        flip(&pack, 1000);
    }
    for _ in 0..2 {
        let output = place.run(&["verify", "--read-data=50", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&verified["clean"], number(&verified["sample"], "packs")), (&json!(false), 5));
        assert_eq!(verified["damaged_objects"].as_array().unwrap().len(), 5);
        assert_eq!(verified["damaged_backups"].as_array().unwrap().len(), 5);
    }
    assert_eq!(number(&place.json(&["stats"])["scrub"], "rounds"), 1);
}

#[test]
fn what_can_not_be_remembered_is_said() {
    let place = ten_volumes();
    sample(&place, "20");
    let cursor = place.objects("scrub").remove(0);
    flip(&cursor, 80);
    let output = place.run(&["verify", "--read-data=20"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("what was read before could not be looked up"), "{told}");
    assert!(told.contains(cursor.file_name().unwrap().to_str().unwrap()), "{told}");
    // A file where the folder would have to be: nothing can be put there.
    fs::remove_dir_all(place.repository().join("scrub")).unwrap();
    fs::write(place.repository().join("scrub"), b"").unwrap();
    let output = place.run(&["verify", "--read-data=20", "--json"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("what was read could not be remembered"), "{told}");
    let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&verified, "chunks") == 64 && !text(&verified["sample"], "not_remembered").is_empty(), "{verified}");
}

#[test]
fn a_share_is_more_than_nothing_and_of_all_data() {
    let place = Place::new();
    for percent in ["0", "100.1", "ten", "-5", "1e1", ""] {
        let line = place.fail(&["verify", &format!("--read-data={percent}")], 2);
        assert!(line.contains("--read-data"), "{line}");
    }
    let line = place.fail(&["verify", "--read-data=10", "3f2b8c1e"], 2);
    assert!(line.contains("leave the backups out"), "{line}");
    assert_eq!(number(&sample(&place, "10"), "packs"), 0);
    assert!(place.objects("scrub").is_empty(), "there was nothing to read");
}
