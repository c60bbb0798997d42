//! Protection: set, shown, kept to, and lifted.

mod common;

use common::{CHUNK, Place, flip, noise, text};
use serde_json::{Value, json};

fn with_backup() -> (Place, String) {
    let place = Place::new();
    place.file("volume", &noise(1, CHUNK));
    let id = text(&place.backup("volume", "vm"), "backup_id").to_owned();
    (place, id)
}

#[test]
fn delete_refuses_until_protection_is_lifted() {
    let (place, id) = with_backup();
    assert_eq!(place.succeed(&["protect", &id[..8]]), format!("backup {id} of vm is protected\n"));
    let line = place.fail(&["delete", &id], 1);
    assert!(
        line.contains(&format!("backup {id} of vm is protected: 'cinderblock protect --remove vm/{id}'")),
        "{line}"
    );
    let listed = place.json(&["list"]);
    assert_eq!((&listed[0]["protected"], &listed[0]["protected_until"]), (&json!(true), &Value::Null));
    assert_eq!(place.json(&["show", &id])["protected"], json!(true));
    assert!(place.succeed(&["show", &id]).lines().any(|line| line == "protected      yes"));
    let table = place.succeed(&["list"]);
    assert!(table.lines().next().unwrap().contains("CREATED                  PROTECTED"), "{table}");
    assert!(table.lines().nth(1).unwrap().contains(" UTC  yes        32.0 KiB"), "{table}");

    let lifted = place.json(&["protect", "--remove", &format!("vm/{id}")]);
    let state = json!({ "backup_id": id, "volume_id": "vm", "protected": false, "protected_until": null });
    assert_eq!(lifted, json!({ "backups": [state] }));
    assert!(!place.succeed(&["list"]).contains("PROTECTED"));
    place.succeed(&["-q", "delete", &id]);
    assert_eq!(place.objects("marks").len(), 0);
}

#[test]
fn protection_may_have_an_end() {
    let (place, id) = with_backup();
    let mut command = place.command(&["protect", &id, "--until", "9000-12-31", "--json"]);
    let output = command.env("TZ", "EST5EDT,M3.2.0,M11.1.0").output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["backups"][0]["protected_until"], json!("9001-01-01T05:00:00.000000Z"));
    assert_eq!(place.json(&["list"])[0]["protected_until"], json!("9001-01-01T05:00:00.000000Z"));
    let line = place.fail(&["delete", &id], 1);
    assert!(line.contains("is protected until 9001-01-01T05:00:00Z: "), "{line}");
    assert!(place.succeed(&["list"]).contains("until 9001-01-01 05:00:00 UTC"));
    // Who meant to prolong it sees that it was cut short.
    let line = place.succeed(&["protect", &id, "--until", "30d"]);
    assert!(line.contains(" is protected until 2"), "{line}");
    assert!(line.ends_with(" (before: until 9001-01-01 05:00:00 UTC)\n"), "{line}");
    assert!(place.succeed(&["protect", &id, "--until", "60d"]).ends_with(" UTC\n"));
    place.succeed(&["protect", &id]);
    assert!(place.succeed(&["protect", &id, "--until", "30d"]).ends_with(" (before: without an end)\n"));

    for arguments in [["--until", "1970-01-01"], ["--until", "soon"], ["--until", "0d"]] {
        let line = place.fail(&[&["protect", &id], &arguments[..]].concat(), 2);
        assert!(line.contains("--until"), "{line}");
    }
    place.fail(&["protect", &id, "--until", "30d", "--remove"], 2);
    place.fail(&["protect"], 2);
}

#[test]
fn nothing_is_changed_where_one_is_not_found() {
    let (place, id) = with_backup();
    let line = place.fail(&["protect", &id, "00000000-0000-4000-8000-000000000000"], 1);
    assert!(line.contains("nothing was changed"), "{line}");
    assert_eq!(place.objects("marks").len(), 0);
}

#[test]
fn what_cannot_be_read_counts_as_protected() {
    let (place, id) = with_backup();
    place.succeed(&["-q", "protect", &id]);
    flip(&place.repository().join("marks").join(&id).join("00000001"), 70);
    let output = place.run(&["list", "--json"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("backup {id} of vm counts as protected: marks/{id}/00000001 is damaged")), "{told}");
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed[0]["protected"], json!(true));
    let output = place.run(&["show", &id]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("protected      unknown"));
    assert!(place.fail(&["delete", &id], 1).contains("is damaged"));
    place.succeed(&["-q", "protect", "--remove", &id]);
    place.succeed(&["-q", "delete", &id]);
}
