//! Bad arguments and places: one line that says what is wrong and what to do, and nothing done.

mod common;

use std::fs;

use common::{Place, failure, noise, text};

const USAGE: i32 = 2;
const FAILURE: i32 = 1;

#[test]
fn no_repository_given() {
    let place = Place::bare();
    for variable in [None, Some("")] {
        let mut command = place.command(&["list"]);
        command.env_remove("CINDERBLOCK_REPO");
        command.envs(variable.map(|value| ("CINDERBLOCK_REPO", value)));
        let line = failure(&command.output().unwrap(), USAGE);
        assert!(line.contains("--repo"), "{line}");
    }
}

#[test]
fn no_place_for_the_index() {
    let place = Place::new();
    let mut command = place.command(&["list"]);
    command.env_remove("CINDERBLOCK_CACHE_DIR").env_remove("HOME");
    let line = failure(&command.output().unwrap(), USAGE);
    assert!(line.contains("--cache-dir"), "{line}");
}

#[test]
fn the_index_is_in_the_home_folder_unless_told_otherwise() {
    let place = Place::new();
    place.file("volume", &noise(1, 10_000));
    place.backup("volume", "v");
    for (variable, folder) in [("HOME", ".cache/cinderblock"), ("XDG_CACHE_HOME", "xdg/cinderblock")] {
        let mut command = place.command(&["-q", "rebuild-index"]);
        command.env_remove("CINDERBLOCK_CACHE_DIR");
        if variable == "XDG_CACHE_HOME" {
            command.env(variable, place.path("xdg"));
        }
        assert!(command.status().unwrap().success());
        assert_eq!(fs::read_dir(place.path(folder)).unwrap().count(), 1, "{variable}");
    }
}

#[test]
fn there_is_no_repository() {
    let place = Place::bare();
    for make in [false, true] {
        if make {
            fs::create_dir(place.repository()).unwrap();
        }
        for command in [&["list"][..], &["stats"], &["backup", "/dev/null", "--volume-id", "v"], &["rebuild-index"]] {
            let line = place.fail(command, FAILURE);
            assert!(line.contains("there is no repository at") && line.contains("cinderblock init"), "{line}");
        }
    }
    assert_eq!(fs::read_dir(place.repository()).unwrap().count(), 0);
}

#[test]
fn there_is_something_where_a_repository_should_be_made() {
    let place = Place::new();
    let descriptor = fs::read(place.repository().join("cinderblock.json")).unwrap();
    let line = place.fail(&["init"], FAILURE);
    assert!(line.contains("already a repository"), "{line}");
    assert!(fs::read(place.repository().join("cinderblock.json")).unwrap() == descriptor);

    fs::create_dir(place.path("full")).unwrap();
    place.file("full/file", b"x");
    let line = place.fail(&["init", "--repo", "full"], FAILURE);
    assert!(line.contains("not empty"), "{line}");
    assert_eq!(fs::read_dir(place.path("full")).unwrap().count(), 1);

    place.file("file", b"x");
    let line = place.fail(&["init", "--repo", "file"], FAILURE);
    assert!(line.contains("file"), "{line}");
}

#[test]
fn a_newer_format() {
    let place = Place::new();
    let path = place.repository().join("cinderblock.json");
    let descriptor = fs::read_to_string(&path).unwrap();
    fs::write(&path, descriptor.replace("\"version\": 1", "\"version\": 99")).unwrap();
    for command in [&["list"][..], &["verify"], &["backup", "/dev/null", "--volume-id", "v"]] {
        let line = place.fail(command, FAILURE);
        assert!(line.contains("version 99") && line.contains("use a newer cinderblock"), "{line}");
    }
    fs::write(&path, b"{").unwrap();
    let line = place.fail(&["list"], FAILURE);
    assert!(line.contains("cinderblock.json is damaged"), "{line}");
}

#[test]
fn unsafe_ids() {
    let place = Place::new();
    place.file("volume", &noise(1, 10_000));
    let long = "x".repeat(256);
    for id in ["../x", ".x", "..", "", "a//b", "a b", "ä", "a\nb", &long] {
        let volume = format!("--volume-id={id}");
        for command in [&["backup", "volume", &volume][..], &["list", &volume]] {
            let line = place.fail(command, USAGE);
            assert!(line.contains("volume id") && line.contains("--help"), "{line}");
        }
    }
    for id in
        ["", "x", "../../x", "3f2b8c1e", "3f2b8c1e5d0a4c6f9b1d2e7a4f6c8d90", "3f2b8c1e-5d0a-4c6f-9b1d-2e7a4f6c8d9g"]
    {
        let backup = format!("--backup-id={id}");
        let line = place.fail(&["backup", "volume", "--volume-id", "v", &backup], USAGE);
        assert!(line.contains("UUID"), "{line}");
    }
    for text in ["../x", "", "xyz", "a//b", "3f2b8c1e-5d0a-4c6f-9b1d-2e7a4f6c8d90a"] {
        for command in [&["show", text][..], &["restore", text, "target"], &["delete", text], &["verify", text]] {
            let line = place.fail(command, USAGE);
            assert!(line.contains("a backup's id"), "{line}");
        }
        let parent = format!("--parent={text}");
        let line = place.fail(&["backup", "volume", "--volume-id", "v", &parent], USAGE);
        assert!(line.contains("auto or none"), "{line}");
    }
    assert_eq!(place.json(&["list"]), serde_json::json!([]));
    assert!(!place.path("target").exists());
}

#[test]
fn unknown_and_ambiguous_backups() {
    let place = Place::new();
    place.file("volume", &noise(1, 10_000));
    let ids = ["aaaa0000-0000-0000-0000-000000000001", "aaaa0000-0000-0000-0000-000000000002"];
    for id in ids {
        place.succeed(&["-q", "backup", "volume", "--volume-id", "v", "--backup-id", id]);
    }
    let delete = ["delete", ids[0], "aaaa0000"];
    for command in [&["show", "aaaa"][..], &delete, &["restore", "a", "target"], &["verify", "aa"]] {
        let line = place.fail(command, USAGE);
        assert!(line.contains("fits 2 backups") && line.contains("more of its id"), "{line}");
    }
    // A variable that was cut off in a script deleted a backup.
    let line = place.fail(&["delete", "aaaa000"], USAGE);
    assert!(line.contains("too short to delete by") && line.contains("at least 8"), "{line}");
    let line = place.fail(&["show", "b"], FAILURE);
    assert!(line.contains("there is no backup b: 'cinderblock list'"), "{line}");
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 2);

    let line = place.fail(&["backup", "volume", "--volume-id", "v", "--backup-id", ids[0]], FAILURE);
    assert!(line.contains("already a backup") && line.contains(ids[0]), "{line}");
}

#[test]
fn bad_values_of_options() {
    let place = Place::new();
    place.file("volume", &noise(1, 10_000));
    for (option, hint) in [
        ("--memory=95M", "96MiB"),
        ("--memory=1MB", "512M or 1GiB"),
        ("--memory=", "512M or 1GiB"),
        ("--threads=0", "from 1"),
        ("--threads=-1", "from 1"),
        ("--threads=99999", "from 1"),
        ("--compression=gzip", "zstd:LEVEL"),
        ("--compression=zstd:99", "from 1 to 19"),
        ("--chunker=rabin", "fastcdc"),
        ("--repo=", "--repo"),
        ("--colour", "unexpected argument"),
    ] {
        let line = place.fail(&["backup", "volume", "--volume-id", "v", option], USAGE);
        assert!(line.contains(hint) && line.contains("cinderblock"), "{line}");
    }
    for (command, hint) in [
        (&["init", "--chunk-size", "33K"][..], "power of two"),
        (&["init", "--chunk-size", "x"], "32KiB"),
        (&["backup", "volume"], "--volume-id"),
        (&["restore", "a"], "<TARGET>"),
        (&["delete"], "<BACKUP>"),
        (&["lst"], "'list'"),
        (&["-q", "-v", "list"], "--verbose"),
        (&["--json", "frobnicate"], "frobnicate"),
    ] {
        let line = place.fail(command, USAGE);
        assert!(line.contains(hint) && line.contains("--help'"), "{line}");
    }
    assert_eq!(place.json(&["list"]), serde_json::json!([]));
}

#[test]
fn sources_that_cannot_be_backed_up() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    for (source, hint) in [("missing", "No such file"), ("folder", "neither"), ("/dev/null", "neither")] {
        let line = place.fail(&["backup", source, "--volume-id", "v"], FAILURE);
        assert!(line.contains(source) && line.contains(hint), "{line}");
    }
    assert_eq!(place.json(&["list"]), serde_json::json!([]));
    assert_eq!(place.objects("sessions").len(), 0);
}

#[test]
fn errors_are_lines_even_with_json() {
    let place = Place::new();
    let line = place.fail(&["--json", "show", "abc"], FAILURE);
    assert!(line.contains("there is no backup abc"), "{line}");
}

#[test]
fn standard_output_carries_either_a_volume_or_an_answer() {
    let place = Place::new();
    place.file("volume", &noise(1, 10_000));
    let backup = place.backup("volume", "v");
    let id = text(&backup, "backup_id");
    for option in ["--json", "--existing"] {
        let line = place.fail(&["restore", id, "-", option], USAGE);
        assert!(line.contains(option) && line.contains("standard output"), "{line}");
    }
}
