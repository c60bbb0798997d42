//! Encrypted repositories: every command works on them, nothing of a volume is found in their objects, and only who has a key
//! opens them.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{CHUNK, MIB, Place, flip, noise, number, text};
use serde_json::json;
use sha2::{Digest, Sha256};

/// A key file, which costs no time.
const KEY: [&str; 2] = ["--key-file", "key"];

fn encrypted() -> Place {
    let place = Place::bare();
    place.succeed(&["init", "--encrypt", "key-file", "--key-file", "key", "--label", "secret label of the first key"]);
    place
}

fn with<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &KEY].concat()
}

/// All objects of a repository, one after the other.
fn all_bytes(folder: &Path) -> Vec<u8> {
    let (mut bytes, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            bytes.extend(path.to_string_lossy().as_bytes());
            match path.is_dir() {
                true => folders.push(path),
                false => bytes.extend(fs::read(path).unwrap()),
            }
        }
    }
    bytes
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[test]
fn every_command_works_and_nothing_is_shown() {
    let place = encrypted();
    let mut volume =
        [noise(1, 2 * MIB), b"a line of the volume that is easy to know\n".repeat(2 * CHUNK / 42)].concat();
    volume.resize(4 * MIB, 0);
    place.file("volume", &volume);
    let backup = |name: &str| {
        let arguments = ["backup", "volume", "--volume-id", "volume-that-nobody-knows", "--name", name];
        place.json(&with(&[&arguments[..], &["--description", "described"]].concat()))
    };
    let first = backup("first-name");
    let old = volume.clone();
    volume[CHUNK..3 * CHUNK].copy_from_slice(&noise(2, 2 * CHUNK));
    place.file("volume", &volume);
    let second = backup("second-name");
    assert_eq!(number(&second, "new_bytes"), 2 * CHUNK as u64);
    let (first, second) = (text(&first, "backup_id"), text(&second, "backup_id"));
    fs::remove_dir_all(place.cache()).unwrap();
    let list = place.json(&with(&["list"]));
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(text(&list[0], "volume_id"), "volume-that-nobody-knows");
    let of_volume = place.json(&with(&["list", "--volume-id", "volume-that-nobody-knows"]));
    assert_eq!(of_volume.as_array().unwrap().len(), 2);
    assert_eq!(text(&place.json(&with(&["show", second])), "name"), "second-name");
    for (id, bytes) in [(first, &old), (second, &volume)] {
        place.succeed(&with(&["-q", "restore", id, "restored"]));
        assert!(fs::read(place.path("restored")).unwrap() == *bytes);
        fs::remove_file(place.path("restored")).unwrap();
    }
    place.succeed(&with(&["-q", "protect", second]));
    assert_eq!(place.json(&with(&["verify", "--read-data"]))["clean"], true);
    place.json(&with(&["verify", "--read-data=50"]));

    let bytes = all_bytes(&place.repository());
    let hash = |chunk: &[u8]| Sha256::digest(chunk).to_vec();
    for (what, text) in [
        ("the volume", &b"volume-that-nobody-knows"[..]),
        ("the name", b"first-name"),
        ("the description", b"described"),
        ("a line of it", b"a line of the volume"),
        ("noise of it", &noise(1, 2 * MIB)[5 * CHUNK..5 * CHUNK + 16]),
        ("a SHA-256", &hash(&old[4 * CHUNK..5 * CHUNK])),
        ("zeros' SHA-256", &hash(&[0; CHUNK])),
        ("a chunk's id without a key", &cinderblock_store::ChunkId::of(&old[4 * CHUNK..5 * CHUNK]).as_bytes()[..]),
        ("the activity", b"backup of"),
    ] {
        assert!(!holds(&bytes, text), "{what} is in the repository");
    }
    // A key's label is told to all, as the documentation says.
    assert!(holds(&bytes, b"secret label of the first key"));

    place.succeed(&with(&["-q", "protect", "--remove", second]));
    place.json(&with(&["prune", "--keep-last", "1"]));
    // Whole frames are sealed anew as they are, and one is made anew without the chunks that went.
    let gone = place.json(&with(&["gc", "--repack-below", "100"]));
    assert_eq!(number(&gone, "backups"), 1);
    assert!(number(&gone, "copied_bytes") > 0 && number(&gone, "freed_bytes") > 0, "{gone}");
    place.json(&with(&["rebuild-index"]));
    place.json(&with(&["stats"]));
    assert_eq!(place.json(&with(&["sessions"])), json!([]));
    place.succeed(&with(&["-q", "restore", second, "restored"]));
    assert!(fs::read(place.path("restored")).unwrap() == volume);
    assert_eq!(place.json(&with(&["verify", "--read-data"]))["clean"], true);
}

#[test]
fn damage_is_found_and_healed_from_a_repository_with_another_key() {
    let place = encrypted();
    let volume = noise(3, 2 * MIB);
    place.file("volume", &volume);
    let made = place.json(&with(&["backup", "volume", "--volume-id", "vm"]));
    let id = text(&made, "backup_id");
    place.succeed(&["--repo", "other", "init", "--encrypt", "key-file", "--key-file", "key-2"]);
    place.succeed(&["--repo", "open", "init"]);
    let other = ["--other-key-file", "key-2"];
    for arguments in
        [&[&["copy", "--all", "--to", "other"], &other[..]].concat()[..], &["copy", "--all", "--to", "open"]]
    {
        let copied = place.json(&with(arguments));
        assert_eq!(copied["copied"].as_array().unwrap().len(), 1, "{copied}");
        let again = place.json(&with(arguments));
        assert_eq!(again["already_there"].as_array().unwrap().len(), 1, "{again}");
    }
    for arguments in [&["--repo", "other", "--key-file", "key-2"][..], &["--repo", "open"]] {
        place.succeed(&[arguments, &["-q", "restore", id, "restored"]].concat());
        assert!(fs::read(place.path("restored")).unwrap() == volume);
        fs::remove_file(place.path("restored")).unwrap();
        assert_eq!(place.json(&[arguments, &["verify", "--read-data"]].concat())["clean"], true);
    }
    let pack = place.objects("packs").into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    flip(&pack, MIB as u64);
    let told = place.run(&with(&["verify", "--read-data"]));
    assert_eq!(told.status.code(), Some(1));
    let report = place.run(&with(&["repair", "--read-data", "--json"]));
    assert_eq!(report.status.code(), Some(1));
    let healed = place.json(&with(&[&["repair", "--from-repo", "other"], &other[..]].concat()));
    assert!(number(&healed, "healed") > 0 && healed["whole_again"] == json!([id]), "{healed}");
    assert_eq!(place.json(&with(&["verify", "--read-data"]))["clean"], true);
    place.succeed(&with(&["-q", "restore", id, "restored"]));
    assert!(fs::read(place.path("restored")).unwrap() == volume);
}

#[test]
fn cinders_backups_go_into_an_encrypted_repository_and_out_of_it() {
    let place = encrypted();
    let volume = noise(4, 3 * MIB);
    place.file("volume", &volume);
    let root = ["--container-root", "containers", "--container", "c", "--volume-id", "vm"];
    fs::create_dir(place.path("containers")).unwrap();
    let made = place.json(&[&["cinder", "backup", "volume"], &root[..]].concat());
    let layer = format!("{}:{}", text(&made, "container"), text(&made, "prefix"));
    let imported = place.json(&with(&["cinder", "import", "--container-root", "containers", "--layer", &layer]));
    let id = text(&imported["backups"][0], "backup_id");
    place.succeed(&with(&["-q", "restore", id, "restored"]));
    assert!(fs::read(place.path("restored")).unwrap()[..volume.len()] == volume);
    fs::create_dir(place.path("exported")).unwrap();
    let arguments = ["cinder", "export", id, "--container-root", "exported", "--container", "c"];
    let exported = place.json(&with(&arguments));
    let layer = format!("{}:{}", text(&exported, "container"), text(&exported, "prefix"));
    place.succeed(&["-q", "cinder", "restore", "--container-root", "exported", "--layer", &layer, "out"]);
    assert!(fs::read(place.path("out")).unwrap()[..volume.len()] == volume);
    assert!(!holds(&all_bytes(&place.repository()), b"cinder."));
}

#[test]
fn secrets_come_from_files_commands_and_the_environment() {
    let place = Place::bare();
    place.file("pass", b"open sesame\n");
    place.succeed(&["init", "--encrypt", "passphrase", "--passphrase-file", "pass"]);
    place.succeed(&["list", "--passphrase-file", "pass"]);
    place.succeed(&["list", "--passphrase-command", "printf 'open sesame'"]);
    let with_variable = |value: &str, arguments: &[&str]| {
        let output = place.command(arguments).env("CINDERBLOCK_PASSPHRASE", value).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(with_variable("open sesame", &["list"]).0, Some(0));
    let (status, told) = with_variable("hush-hush", &["list"]);
    assert_eq!(status, Some(1));
    assert!(told.contains("no key of the repository") && !told.contains("hush-hush"), "{told}");
    let told = place.fail(&["list"], 1);
    for option in ["--passphrase-file", "--passphrase-command", "--key-file", "CINDERBLOCK_PASSPHRASE"] {
        assert!(told.contains(option), "{told}");
    }
    place.fail(&["list", "--passphrase-file", "pass", "--key-file", "key"], 2);
    let told = place.fail(&["list", "--passphrase-command", "echo open sesame; exit 3"], 1);
    assert!(told.contains("exit status: 3") && !told.contains(": open"), "{told}");
    place.fail(&["init", "--encrypt", "key-file", "--repo", "elsewhere"], 2);
    // Such a repository was made without encryption, and said so in no word.
    place.fail(&["init", "--repo", "elsewhere", "--passphrase-file", "pass"], 2);
    place.fail(&["init", "--repo", "elsewhere", "--key-file", "none"], 2);
    // What was to be secret is not written to a repository that anybody can read.
    place.succeed(&["init", "--repo", "open"]);
    let told = place.fail(&["list", "--repo", "open", "--passphrase-file", "pass"], 1);
    assert!(told.contains("not encrypted"), "{told}");
}

#[test]
fn keys_are_managed_and_the_one_in_use_stays() {
    let place = encrypted();
    let mode = place.path("key").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    place.fail(&["key", "generate", "key"], 1);
    place.succeed(&["-q", "key", "generate", "key-2"]);
    place.file("pass", b"open sesame\n");
    let added = place.json(&with(&["key", "add", "--new-passphrase-file", "pass", "--label", "people"]));
    place.json(&with(&["key", "add", "--new-key-file", "key-2"]));
    let list = place.json(&with(&["key", "list"]));
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 3);
    assert_eq!((&list[1]["method"], &list[1]["label"]), (&json!("passphrase"), &json!("people")));
    let own = text(&list[0], "key_id").to_owned();
    assert!(place.fail(&with(&["key", "remove", &own]), 1).contains("key rotate"));
    place.json(&["key", "rotate", "--passphrase-file", "pass", "--new-passphrase-command", "echo better"]);
    place.fail(&["list", "--passphrase-file", "pass"], 1);
    place.succeed(&["list", "--passphrase-command", "echo better"]);
    let told = place.fail(&with(&["key", "remove", text(&added, "key_id")]), 1);
    assert!(told.contains("there is no key"), "{told}");
    place.json(&["key", "remove", &own[..8], "--key-file", "key-2"]);
    assert!(place.fail(&with(&["list"]), 1).contains("no key of the repository"));
    place.succeed(&["list", "--key-file", "key-2"]);
    let place = Place::new();
    assert!(place.fail(&["key", "list"], 1).contains("not encrypted"));
}
