//! What commands print: for programs and for people.

mod common;

use std::process::Stdio;

use common::{CHUNK, MIB, Place, noise, number, text};
use serde_json::{Value, json};

/// Two backups of `web` and, between them, one of `db`.
fn three_backups(place: &Place) -> [Value; 3] {
    place.file("web", &noise(1, MIB));
    place.file("db", &[noise(2, MIB), vec![0; MIB]].concat());
    let first = place.json(&["backup", "web", "--volume-id", "web", "--name", "first", "--description", "one\ntwo"]);
    [first, place.backup("db", "db"), place.backup("web", "web")]
}

fn members(document: &Value) -> Vec<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

const OF_A_BACKUP: [&str; 19] = [
    "backup_id",
    "chunker",
    "chunks",
    "compression",
    "created_at",
    "damaged_bytes",
    "description",
    "name",
    "new_bytes",
    "new_chunks",
    "parent_id",
    "protected",
    "protected_until",
    "read_bytes",
    "seconds",
    "stored_bytes",
    "volume_bytes",
    "volume_id",
    "zero_chunks",
];

#[test]
fn init_tells_what_it_made() {
    let place = Place::bare();
    let made = place.json(&["init", "--chunk-size", "64K"]);
    assert_eq!(members(&made), ["chunk_size", "encrypted", "location", "object_lock", "repository_id"]);
    assert_eq!(number(&made, "chunk_size"), 64 << 10);
    assert_eq!(text(&made, "repository_id").len(), 32);
    assert_eq!(text(&made, "location"), place.repository().to_str().unwrap());
}

#[test]
fn backup_and_list_and_show_agree() {
    let place = Place::new();
    let [first, db, second] = three_backups(&place);
    for backup in [&first, &db, &second] {
        let mut sorted = members(backup);
        sorted.sort_unstable();
        assert_eq!(sorted, OF_A_BACKUP);
        assert!(backup["seconds"].is_f64());
    }
    assert_eq!((text(&first, "name"), text(&first, "description")), ("first", "one\ntwo"));
    assert_eq!((number(&db, "chunks"), number(&db, "zero_chunks")), (32, 32));
    assert_eq!(number(&db, "read_bytes"), 2 * MIB as u64);
    assert_eq!(number(&first, "new_bytes"), (32 * CHUNK) as u64);
    assert_eq!(db["name"], Value::Null);

    // By volume, then by time.
    assert_eq!(place.json(&["list"]), json!([db, first, second]));
    assert_eq!(place.json(&["list", "--volume-id", "web"]), json!([first, second]));
    let nothing = place.run(&["list", "--volume-id", "other", "--json"]);
    assert_eq!(nothing.stdout, b"[]\n");
    let nothing = place.run(&["list", "--volume-id", "other"]);
    assert_eq!(String::from_utf8_lossy(&nothing.stderr), "cinderblock: there is no backup of a volume other\n");

    // A volume's newest, by its name.
    assert_eq!(place.json(&["show", "web/latest"])["backup_id"], second["backup_id"]);
    let line = place.fail(&["show", "web"], 2);
    assert!(line.contains("or VOLUME/latest"), "{line}");
    assert!(place.fail(&["show", "other/latest"], 1).contains("there is no backup other/latest"));
    assert!(place.fail(&["delete", "web/latest"], 2).contains("at least 8 characters"));

    let mut shown = place.json(&["show", text(&first, "backup_id")]);
    let more = shown.as_object_mut().unwrap();
    assert_eq!(more.remove("attributes"), Some(json!([])));
    assert_eq!(more.remove("packs"), Some(json!(1)));
    assert_eq!(shown, first);
}

#[test]
fn stats_add_up() {
    let place = Place::new();
    let stats = place.json(&["stats"]);
    assert_eq!((number(&stats, "backups"), number(&stats, "packs")), (0, 0));
    three_backups(&place);
    let stats = place.json(&["stats"]);
    assert_eq!((number(&stats, "backups"), number(&stats, "volumes")), (3, 2));
    assert_eq!(number(&stats, "volume_bytes"), 4 * MIB as u64);
    assert_eq!((number(&stats, "chunks"), number(&stats, "chunk_bytes")), (64, 2 * MIB as u64));
    assert_eq!((number(&stats, "unreferenced_bytes"), number(&stats, "missing")), (0, 0));
    let parts: u64 =
        ["data_bytes", "map_bytes", "segment_bytes", "record_bytes"].map(|part| number(&stats, part)).iter().sum();
    let descriptor = std::fs::metadata(place.repository().join("cinderblock.json")).unwrap().len();
    assert_eq!(parts + descriptor, number(&stats, "stored_bytes"));
    let on_disk: u64 = place.objects("").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(number(&stats, "stored_bytes"), on_disk);
    assert_eq!(number(&stats, "packs"), place.objects("packs").len() as u64);
}

#[test]
fn restore_and_verify_and_rebuild_index_tell_what_they_did() {
    let place = Place::new();
    let [first, db, _] = three_backups(&place);
    let restored = place.json(&["restore", text(&db, "backup_id"), "target"]);
    assert_eq!((text(&restored, "volume_id"), text(&restored, "target")), ("db", "target"));
    assert_eq!(restored["backup_id"], db["backup_id"]);
    let bytes = ["volume_bytes", "written_bytes", "unchanged_bytes", "zero_bytes"].map(|name| number(&restored, name));
    assert_eq!(bytes, [2, 1, 0, 1].map(|mib| mib * MIB as u64));
    assert!(restored["seconds"].is_f64() && restored["read_bytes"].is_u64());

    let verified = place.json(&["verify", "--read-data"]);
    assert_eq!((&verified["clean"], number(&verified, "backups")), (&json!(true), 3));
    assert_eq!((&verified["damaged_objects"], &verified["damaged_backups"]), (&json!([]), &json!([])));
    assert!(number(&verified, "read_bytes") > 2 * MIB as u64);
    let one = place.json(&["verify", text(&first, "backup_id")]);
    assert_eq!(number(&one, "backups"), 1);

    let rebuilt = place.json(&["rebuild-index"]);
    assert_eq!(number(&rebuilt, "packs"), place.objects("packs").len() as u64);
    assert_eq!(number(&rebuilt, "segments"), place.objects("index").len() as u64);
    assert_eq!((number(&rebuilt, "adopted_packs"), &rebuilt["damage"]), (0, &json!([])));
}

#[test]
fn people_get_lines_and_tables() {
    let place = Place::bare();
    assert!(place.succeed(&["init"]).contains("chunks of 32KiB"));
    place.file("volume", &[noise(1, MIB), vec![0; MIB]].concat());
    let id = "3f2b8c1e-5d0a-4c6f-9b1d-2e7a4f6c8d90";
    let line = place.succeed(&["backup", "volume", "--volume-id", "vm-1", "--backup-id", id, "--name", "n\x1b[1m\nm"]);
    let begin =
        format!("backup {id} of vm-1: read 2.0 MiB of 2.0 MiB, new 1.0 MiB in 32 chunks, stored 1.0 MiB (1.0 x), ");
    assert!(line.starts_with(&begin) && line.lines().count() == 1, "{line}");

    let listed = place.succeed(&["list"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].starts_with("BACKUP") && lines[1].starts_with(id), "{listed}");
    // A name from elsewhere does not reach the terminal as it is.
    assert!(lines[1].ends_with(r"2.0 MiB  1.0 MiB  n\u{1b}[1m\nm"), "{listed}");

    let shown = place.succeed(&["show", id]);
    assert!(shown.contains("2.0 MiB (2,097,152 bytes)") && shown.contains("zstd:1"), "{shown}");
    assert!(place.succeed(&["stats"]).contains("1 of 1 volume"), "stats");
    assert!(place.succeed(&["verify", "--read-data"]).ends_with("; no damage\n"));
    let restored = place.succeed(&["restore", id, "target"]);
    assert!(
        restored.starts_with(&format!("restored backup {id} of vm-1 to target: 2.0 MiB, wrote 1.0 MiB, ")),
        "{restored}"
    );
    assert_eq!(place.succeed(&["delete", id]), format!("deleted backup {id} of vm-1\n"));
}

#[test]
fn quiet_spares_summaries_and_verbose_tells_more() {
    let place = Place::bare();
    assert_eq!(place.succeed(&["-q", "init"]), "");
    place.file("volume", &noise(1, MIB));
    assert_eq!(place.succeed(&["-q", "backup", "volume", "--volume-id", "v"]), "");
    assert_eq!(place.succeed(&["verify", "-q"]), "");
    assert_eq!(place.succeed(&["list", "-q"]).lines().count(), 2);
    let output = place.run(&["-v", "--threads", "3", "backup", "volume", "--volume-id", "v"]);
    let told = String::from_utf8(output.stderr).unwrap();
    let [repository, cache] = [place.repository(), place.cache()];
    for fact in [repository.to_str().unwrap(), cache.to_str().unwrap(), "3 threads", "compared with backup "] {
        assert!(told.contains(fact), "{told}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let place = Place::new();
    let [first, ..] = three_backups(&place);
    for arguments in [&["list"][..], &["stats", "--json"], &["--help"]] {
        let mut child = place.command(arguments).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
    // Not all of the volume has arrived: a pipeline in a script is to notice.
    let mut child = place.command(&["restore", text(&first, "backup_id"), "-"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0));
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        println!("skipped: this system has no /dev/full");
        return;
    };
    let place = Place::new();
    let output = place.command(&["stats"]).stdout(Stdio::from(full)).output().unwrap();
    let line = common::failure(&output, 1);
    assert!(line.contains("standard output"), "{line}");
}
