//! `prune`: what rules want is kept, what none wants is deleted, and nothing without a rule.

mod common;

use std::path::Path;
use std::sync::Arc;

use cinderblock_backend::Folder;
use cinderblock_store::{BackupId, OpenOptions, Repository, Timestamp, VolumeId};
use common::{CHUNK, MIB, Place, flip, noise, number, text};
use serde_json::{Value, json};

const HOUR: i64 = 3600;
/// 2026-11-20 00:00 UTC, in seconds since 1970.
const START: i64 = 1_795_132_800;

/// A repository with backups of these volumes at these times, in seconds after [`START`]; ids by time, of each volume.
fn with_backups(volumes: &[&str], times: &[i64]) -> (Place, Vec<Vec<String>>) {
    let place = Place::new();
    place.file("volume", &noise(1, MIB + CHUNK));
    let ids = volumes.iter().map(|volume| {
        let first = place.backup("volume", volume);
        let ids = again(&place.repository(), &place.cache(), &first, times);
        place.succeed(&["-q", "delete", text(&first, "backup_id")]);
        ids
    });
    let ids = ids.collect();
    (place, ids)
}

/// The same backup at other times.
fn again(folder: &Path, cache: &Path, backup: &Value, times: &[i64]) -> Vec<String> {
    let repository = Repository::open(Arc::new(Folder::open(folder).unwrap()), &OpenOptions::new(cache)).unwrap();
    let volume = VolumeId::new(text(backup, "volume_id")).unwrap();
    let record = repository.record(&volume, text(backup, "backup_id").parse().unwrap()).unwrap();
    let copy = |time: &i64| {
        let mut copy = record.clone();
        copy.id = BackupId::random().unwrap();
        copy.created_at = Timestamp::from_microseconds((START + time) * 1_000_000);
        repository.start_session("a test").unwrap().commit(&mut copy).unwrap();
        copy.id.to_string()
    };
    times.iter().map(copy).collect()
}

fn ids(backups: &Value) -> Vec<&str> {
    backups.as_array().unwrap().iter().map(|backup| text(backup, "backup_id")).collect()
}

#[test]
fn nothing_is_deleted_without_a_rule() {
    let (place, _) = with_backups(&["vm"], &[0, HOUR]);
    for arguments in [&["prune"][..], &["prune", "--keep-last", "0", "--keep-daily", "0"], &["prune", "--dry-run"]] {
        let line = place.fail(arguments, 2);
        assert!(line.contains("no rule says what to keep") && line.contains("--keep-last"), "{line}");
    }
    for arguments in [["--keep-last", "1.5"], ["--keep-daily", "all"], ["--keep-within", "2w"], ["--keep-within", "0d"]]
    {
        let line = place.fail(&[&["prune"][..], &arguments].concat(), 2);
        assert!(line.contains(arguments[0]), "{line}");
    }
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 2);
}

#[test]
fn the_dry_run_tells_what_the_run_does() {
    let (place, made) = with_backups(&["db", "web"], &[0, HOUR, 2 * HOUR, 30 * HOUR]);
    let rules = ["prune", "--keep-last", "1", "--keep-daily", "2"];
    let dry = place.json(&[&rules[..], &["--dry-run"]].concat());
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 8);
    let done = place.json(&rules);
    assert_eq!((&dry["dry_run"], &done["dry_run"]), (&json!(true), &json!(false)));
    assert_eq!((&dry["volumes"], number(&done, "kept"), number(&done, "removed")), (&done["volumes"], 4, 4));
    assert_eq!((number(&done, "failed"), number(&done, "left")), (0, 0));
    for (volume, made) in done["volumes"].as_array().unwrap().iter().zip(&made) {
        assert_eq!(ids(&volume["kept"]), [&made[2], &made[3]]);
        assert_eq!(ids(&volume["removed"]), [&made[0], &made[1]]);
        assert_eq!(volume["kept"][0]["reasons"], json!(["daily"]));
        assert_eq!(volume["kept"][1]["reasons"], json!(["last", "daily"]));
        assert_eq!(text(&volume["kept"][0], "created_at"), "2026-11-20T02:00:00.000000Z");
    }
    assert_eq!(ids(&place.json(&["list"])), [&made[0][2], &made[0][3], &made[1][2], &made[1][3]]);
    assert_eq!(number(&place.json(&rules), "removed"), 0);
    assert!(place.restore(&made[0][2]) == noise(1, MIB + CHUNK));
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
}

#[test]
fn people_get_a_table_with_reasons() {
    let (place, made) = with_backups(&["vm"], &[0, HOUR]);
    let dry = place.succeed(&["prune", "--keep-within", "1h", "--dry-run", "-q"]);
    let lines: Vec<&str> = dry.lines().collect();
    assert!(lines[0].starts_with("VOLUME  BACKUP") && lines[0].ends_with("REASONS"), "{dry}");
    assert!(lines[1].starts_with(&format!("vm      {}  2026-11-20 00:00:00 ", made[0][0])), "{dry}");
    assert!(lines[1].ends_with("  delete") && lines[2].ends_with("  keep    within 1h"), "{dry}");
    assert_eq!(lines[3], "would keep 1 backup of 1 volume and delete 1 backup; nothing was changed");
    assert!(place.succeed(&["prune", "--keep-last", "1"]).ends_with("'cinderblock gc' frees their space\n"));
    assert_eq!(place.succeed(&["prune", "--keep-last", "1", "-q"]), "");
    assert!(place.succeed(&["prune", "--keep-last", "1"]).ends_with("kept 1 backup of 1 volume, deleted none\n"));
}

#[test]
fn one_volume_at_a_time() {
    let (place, made) = with_backups(&["db", "web"], &[0, HOUR]);
    let done = place.json(&["prune", "--keep-last", "1", "--volume-id", "web"]);
    assert_eq!((number(&done, "removed"), done["volumes"].as_array().unwrap().len()), (1, 1));
    assert_eq!(ids(&place.json(&["list"])), [&made[0][0], &made[0][1], &made[1][1]]);
    assert_eq!(place.json(&["prune", "--keep-last", "1", "--volume-id", "other"])["volumes"], json!([]));
}

#[test]
fn days_are_those_of_this_hosts_time_zone() {
    // 02:00 and 07:00 are one day in UTC, and two in New York.
    let (place, _) = with_backups(&["vm"], &[2 * HOUR, 7 * HOUR]);
    let oldest = |zone: &str| {
        let mut command = place.command(&["prune", "--keep-daily", "2", "--dry-run", "--json"]);
        let output = command.env("TZ", zone).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["volumes"][0]["kept"][0]["reasons"].clone()
    };
    assert_eq!((oldest("UTC0"), oldest("EST5EDT,M3.2.0,M11.1.0")), (json!(["oldest daily"]), json!(["daily"])));
    let mut command = place.command(&["prune", "--keep-daily", "1"]);
    let line = common::failure(&command.env("TZ", "Middle/Earth").output().unwrap(), 2);
    assert!(line.contains("TZ=Middle/Earth"), "{line}");
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 2);
}

#[test]
fn protected_backups_are_kept_and_take_no_place() {
    let (place, made) = with_backups(&["vm"], &[0, HOUR, 2 * HOUR, 3 * HOUR]);
    place.succeed(&["-q", "protect", &made[0][0], &made[0][3]]);
    let done = place.json(&["prune", "--keep-last", "1"]);
    assert_eq!(ids(&done["volumes"][0]["removed"]), [&made[0][1]]);
    let reasons: Vec<&Value> = done["volumes"][0]["kept"].as_array().unwrap().iter().map(|b| &b["reasons"]).collect();
    assert_eq!(reasons, [&json!(["protected"]), &json!(["last"]), &json!(["protected"])]);
    place.succeed(&["-q", "protect", "--remove", &made[0][0], &made[0][3]]);
    place.succeed(&["-q", "prune", "--keep-last", "1"]);
    assert_eq!(ids(&place.json(&["list"])), [&made[0][3]]);
    assert_eq!(place.objects("marks").len(), 1);
}

#[test]
fn what_cannot_be_read_is_kept_and_named() {
    let (place, made) = with_backups(&["vm"], &[0, HOUR, 2 * HOUR, 3 * HOUR]);
    flip(&place.repository().join("backups/vm").join(&made[0][0]), 70);
    place.succeed(&["-q", "protect", &made[0][1]]);
    flip(&place.repository().join("marks").join(&made[0][1]).join("00000001"), 70);
    let output = place.run(&["prune", "--keep-last", "1", "--json"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for id in &made[0][..2] {
        assert!(told.contains(&format!("cinderblock: backup {id} of vm is kept: ")), "{told}");
    }
    assert!(told.contains("2 backups were kept because objects cannot be read"), "{told}");
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ids(&done["volumes"][0]["removed"]), [&made[0][2]]);
    assert_eq!(done["volumes"][0]["kept"][0]["reasons"], json!(["unreadable"]));
    assert_eq!(done["volumes"][0]["kept"][0]["created_at"], Value::Null);
    assert_eq!(place.objects("backups").len(), 3);
}
