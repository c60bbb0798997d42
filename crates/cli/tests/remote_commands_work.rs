//! Every command on a real object store does what it does on a folder.

mod common;
#[macro_use]
mod remote;

use std::fs;

use common::{CHUNK, MIB, Place, failure, noise, number, send, text};
use remote::{Store, init};
use serde_json::{Value, json};

on_each_store!(
    backups_are_made_listed_restored_and_deleted,
    a_garbage_collection_leaves_what_is_needed,
    copies_go_to_a_folder_and_back,
    what_was_lost_in_the_bucket_is_repaired,
    what_is_no_repository_is_named,
);

fn backups_are_made_listed_restored_and_deleted(store: &Store) {
    let place = store.place();
    let again = place.fail(&["init"], 1);
    assert!(again.contains("already"), "{again}");

    let volume = [noise(1, 3 * MIB), vec![0; 2 * MIB], noise(1, MIB)].concat();
    place.file("volume", &volume);
    let first = place.backup("volume", "vm");
    assert_eq!(number(&first, "new_bytes"), 3 * MIB as u64, "{first}");
    let mut changed = volume.clone();
    changed[5 * CHUNK..6 * CHUNK].copy_from_slice(&noise(2, CHUNK));
    place.file("volume", &changed);
    let second = place.backup("volume", "vm");
    assert_eq!(number(&second, "new_bytes"), CHUNK as u64, "{second}");
    assert_eq!(second["parent_id"], first["backup_id"], "{second}");

    let dump = [&noise(3, 700_000)[..], &volume[..MIB]].concat();
    place.file("dump", &dump);
    let third = place.json(&["backup", "dump", "--volume-id", "dump", "--chunker", "fastcdc"]);

    // A stream, and what others see of its writer meanwhile.
    let mut writer = place.command(&["--json", "backup", "-", "--volume-id", "stream"]);
    let mut writer = writer.stdin(std::process::Stdio::piped()).spawn().unwrap();
    send(&mut writer, &dump);
    common::wait_until(|| place.json(&["sessions"]).as_array().unwrap().len() == 1);
    let sessions = place.json(&["sessions"]);
    assert_eq!((&sessions[0]["role"], &sessions[0]["damaged"]), (&json!("writer"), &json!(false)), "{sessions}");
    let output = writer.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let fourth: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(place.json(&["sessions"]), json!([]));

    let [first, second, third, fourth] = [&first, &second, &third, &fourth].map(|backup| text(backup, "backup_id"));
    let all = [(first, &volume), (second, &changed), (third, &dump), (fourth, &dump)];
    let listed = place.json(&["list"]);
    assert_eq!(listed.as_array().unwrap().len(), all.len(), "{listed}");
    assert_eq!(place.json(&["list", "--volume-id", "vm"]).as_array().unwrap().len(), 2);
    assert_eq!(number(&place.json(&["show", second]), "volume_bytes"), changed.len() as u64);
    let stats = place.json(&["stats"]);
    assert_eq!((number(&stats, "backups"), number(&stats, "missing")), (4, 0), "{stats}");
    for (id, volume) in all {
        assert!(place.restore(id) == *volume);
        let piped = place.run(&["-q", "restore", id, "-"]);
        assert!(piped.status.success() && piped.stdout == *volume, "{}", String::from_utf8_lossy(&piped.stderr));
        place.file("target", &noise(9, volume.len()));
        place.succeed(&["-q", "restore", id, "target", "--existing"]);
        assert!(fs::read(place.path("target")).unwrap() == *volume);
    }

    for arguments in [&["verify"][..], &["verify", "--read-data"], &["verify", first, third]] {
        assert_eq!(place.json(arguments)["clean"], json!(true));
    }
    let mut rounds = 0;
    for run in 0..4 {
        // Each run on another host.
        let cache = format!("cache-{run}");
        let sample = place.json(&["--cache-dir", &cache, "verify", "--read-data=34"])["sample"].clone();
        rounds = number(&sample["scrub"], "rounds");
    }
    assert!(rounds >= 1, "4 times 34 % are more than all");

    place.succeed(&["-q", "protect", first]);
    let told = place.fail(&["delete", first], 1);
    assert!(told.contains("is protected"), "{told}");
    let pruned = place.json(&["prune", "--keep-last", "1"]);
    assert!(pruned["volumes"].as_array().unwrap().iter().all(|volume| volume["removed"] == json!([])), "{pruned}");
    place.succeed(&["-q", "protect", "--remove", first]);
    let pruned = place.json(&["prune", "--keep-last", "1"]);
    let removed: Vec<&Value> =
        pruned["volumes"].as_array().unwrap().iter().flat_map(|volume| volume["removed"].as_array().unwrap()).collect();
    assert_eq!((removed.len(), text(removed[0], "backup_id")), (1, first), "{pruned}");
    place.succeed(&["-q", "delete", third, fourth]);
    let left = place.json(&["list"]);
    assert_eq!((left.as_array().unwrap().len(), text(&left[0], "backup_id")), (1, second), "{left}");
    assert!(place.restore(second) == changed);
}

fn a_garbage_collection_leaves_what_is_needed(store: &Store) {
    let place = store.place();
    let objects = store.objects(&place);
    let (shared, own) = (noise(1, 2 * MIB), noise(2, 3 * MIB));
    place.file("volume", &[&shared[..], &own].concat());
    let goes = place.backup("volume", "goes");
    place.file("volume", &shared);
    let stays = place.backup("volume", "stays");
    place.succeed(&["-q", "delete", text(&goes, "backup_id")]);

    let before = objects.names("packs/");
    let would = place.json(&["gc", "--dry-run", "--repack-below", "100"]);
    assert!(number(&would, "freed_bytes") >= 3 * MIB as u64, "{would}");
    assert_eq!(objects.names("packs/"), before, "a dry run changes nothing");
    let collected = place.json(&["gc", "--repack-below", "100", "--grace", "2s"]);
    assert!(number(&collected, "deleted_packs") > 0, "{collected}");
    assert_eq!((number(&collected, "missing_chunks"), number(&collected, "pending_packs")), (0, 0), "{collected}");
    for name in &before {
        assert!(!objects.names("packs/").contains(name), "{name} was copied and is there");
    }
    for empty in ["sessions/", "gc/", "fences/"] {
        assert_eq!(objects.names(empty), Vec::<String>::new());
    }
    // The host that collected, one that knew the repository before, and one that is new.
    for cache in ["cache", "new"] {
        place.succeed(&["-q", "--cache-dir", cache, "restore", text(&stays, "backup_id"), "restored"]);
        assert!(fs::read(place.path("restored")).unwrap() == shared);
        fs::remove_file(place.path("restored")).unwrap();
    }
    place.succeed(&["-q", "delete", text(&stays, "backup_id")]);
    place.json(&["gc", "--grace", "2s"]);
    let left: Vec<String> = objects.names("").into_iter().filter(|name| !name.starts_with("tombstones/")).collect();
    assert_eq!(left, ["cinderblock.json"]);
}

fn copies_go_to_a_folder_and_back(store: &Store) {
    let place = store.place();
    init(&place, &["--repo", "folder"]);
    let mut volume = noise(1, 2 * MIB);
    place.file("volume", &volume);
    place.backup("volume", "vm");
    volume[..CHUNK].copy_from_slice(&noise(2, CHUNK));
    place.file("volume", &volume);
    let second = place.backup("volume", "vm");
    let second = text(&second, "backup_id");

    let copied = place.json(&["copy", "--to", "folder", "--all"]);
    let new: Vec<u64> = copied["copied"].as_array().unwrap().iter().map(|copy| number(copy, "new_bytes")).collect();
    assert_eq!(new, [2 * MIB as u64, CHUNK as u64], "{copied}");
    assert_eq!(place.json(&["--repo", "folder", "verify", "--read-data"])["clean"], json!(true));

    // From the folder into another bucket, which has one of them already.
    let other = store.place();
    let (from, to) = (place.path("folder"), other.repository());
    let arguments = ["--repo", from.to_str().unwrap(), "copy", "--to", to.to_str().unwrap()];
    assert_eq!(place.json(&[&arguments[..], &[second]].concat())["copied"].as_array().unwrap().len(), 1);
    let all = place.json(&[&arguments[..], &["--all"]].concat());
    assert_eq!(all["copied"].as_array().unwrap().len(), 1, "{all}");
    assert_eq!(all["already_there"].as_array().unwrap().len(), 1, "{all}");
    assert!(other.restore(second) == volume);
    assert_eq!(other.json(&["verify", "--read-data"])["clean"], json!(true));

    // And from bucket to bucket nothing is left to move.
    let all = place.json(&["copy", "--to", to.to_str().unwrap(), "--all"]);
    assert_eq!((all["already_there"].as_array().unwrap().len(), number(&all, "stored_bytes")), (2, 0), "{all}");
}

/// The document of a command that has to find damage.
fn failed(place: &Place, arguments: &[&str]) -> Value {
    let output = place.run(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Somebody deletes and overwrites objects of the bucket with another tool.
fn what_was_lost_in_the_bucket_is_repaired(store: &Store) {
    for overwritten in [false, true] {
        let place = store.place();
        let objects = store.objects(&place);
        let (volume, small) = (noise(2, 2 * MIB), noise(1, MIB));
        place.file("volume", &volume);
        place.file("small", &small);
        let [hurt, other] = [("volume", "v"), ("small", "s")].map(|(file, name)| place.backup(file, name));
        let (hurt, other) = (text(&hurt, "backup_id"), text(&other, "backup_id"));
        let pack = objects.largest("packs/");
        if overwritten {
            let mut bytes = objects.read(&pack);
            bytes[MIB] ^= 0x40;
            objects.overwrite(&pack, &bytes);
        } else {
            objects.delete(&pack);
        }
        let told = failure(&place.run(&["-q", "restore", hurt, "restored"]), 1);
        assert!(told.contains(pack.rsplit('/').next().unwrap()) || told.contains("chunk"), "{told}");
        assert!(!place.path("restored").exists());
        let found = failed(&place, &["verify", "--read-data"]);
        assert_eq!(found["damaged_backups"][0]["backup_id"], json!(hurt), "{found}");
        let report = failed(&place, &["repair", "--read-data"]);
        assert_eq!(report["damaged_backups"].as_array().unwrap().len(), 1, "{report}");
        assert!(place.restore(other) == small);

        // On another host, which still has the volume.
        let place = store.place_at(place.repository().to_str().unwrap());
        place.file("volume", &volume);
        let report = place.json(&["repair", "--from", "volume"]);
        assert_eq!(report["whole_again"], json!([hurt]), "{report}");
        assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
        assert!(place.restore(hurt) == volume && place.restore(other) == small);
    }
    // A segment, and a whole index.
    let place = store.place();
    let objects = store.objects(&place);
    for seed in 1..=2 {
        place.file("volume", &noise(seed, MIB));
        place.backup("volume", "v");
    }
    let segment = &objects.names("index/")[0];
    let mut bytes = objects.read(segment);
    bytes[100] ^= 0x40;
    objects.overwrite(segment, &bytes);
    failed(&place, &["verify"]);
    assert_eq!(number(&place.json(&["repair"]), "replaced_segments"), 1);
    objects.names("index/").iter().for_each(|name| objects.delete(name));
    let rebuilt = place.json(&["rebuild-index"]);
    assert_eq!(number(&rebuilt, "adopted_packs"), objects.names("packs/").len() as u64, "{rebuilt}");
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
    assert_eq!(number(&place.backup("volume", "again"), "new_chunks"), 0);
}

fn what_is_no_repository_is_named(store: &Store) {
    let place = store.bare_place();
    let url = place.repository().display().to_string();
    for command in [&["list"][..], &["gc"], &["verify"], &["rebuild-index"], &["sessions"]] {
        let told = place.fail(command, 1);
        assert!(told.contains(&url), "{told}");
    }
    // A damaged descriptor is named too, and a bucket that is not there.
    let place = store.place();
    store.objects(&place).overwrite("cinderblock.json", b"{}");
    let told = place.fail(&["list"], 1);
    assert!(told.contains("cinderblock.json"), "{told}");
    let scheme = url.split_once("://").unwrap().0;
    let nowhere = format!("{scheme}://cinderblock-nowhere/x");
    for command in ["init", "list"] {
        let told = place.fail(&["--repo", &nowhere, command], 1);
        assert!(told.contains("cinderblock-nowhere"), "{told}");
    }
}
