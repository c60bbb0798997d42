//! Several processes at once on one repository and one cache folder.

mod common;

use std::process::Child;

use common::{MIB, Place, noise, number, send, text};
use serde_json::{Value, json};

#[test]
fn six_backups_at_once() {
    let place = Place::new();
    let shared = noise(0, 2 * MIB);
    let volumes: Vec<Vec<u8>> = (1..=6).map(|seed| [shared.clone(), noise(seed, MIB)].concat()).collect();
    let start = |number: usize| -> Child {
        let file = format!("volume-{number}");
        place.file(&file, &volumes[number]);
        let arguments = ["--json", "--memory", "96M", "backup", &file, "--volume-id", &file];
        place.command(&arguments).spawn().unwrap()
    };
    let writers: Vec<Child> = (0..volumes.len()).map(start).collect();
    for (writer, volume) in writers.into_iter().zip(&volumes) {
        let output = writer.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let backup: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(place.restore(text(&backup, "backup_id")) == *volume);
    }
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), volumes.len());
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
    assert_eq!(place.objects("sessions").len(), 0);

    // Whoever came first, each process's chunks are known to all that come later.
    for number_of in 0..volumes.len() {
        let again = place.json(&["backup", &format!("volume-{number_of}"), "--volume-id", "again", "--parent", "none"]);
        assert_eq!(number(&again, "new_chunks"), 0, "{again}");
    }
}

#[test]
fn readers_and_a_deletion_beside_a_writer() {
    let place = Place::new();
    let old = noise(1, 2 * MIB);
    place.file("old", &old);
    let kept = place.backup("old", "kept");
    let deleted = place.backup("old", "deleted");

    let mut writer = place.start_stream("slow");
    send(&mut writer, &old);
    place.wait_for_sessions(1);
    assert!(place.restore(text(&kept, "backup_id")) == old);
    place.succeed(&["-q", "delete", text(&deleted, "backup_id")]);
    place.succeed(&["-q", "rebuild-index"]);
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 1);
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
    let more = noise(2, MIB);
    send(&mut writer, &more);
    let output = writer.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let listed = place.json(&["list", "--volume-id", "slow"]);
    assert!(place.restore(text(&listed[0], "backup_id")) == [old, more].concat());
}
