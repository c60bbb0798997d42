//! A repository in a bucket does what one in a folder does. `make test-remote` starts the servers; without one that the environment
//! names, there is nothing to do.

mod common;

use std::process::Command;

use common::{CHUNK, MIB, Place, failure, noise, number, text};

/// A command on a new repository below the container that a variable names, with a cache folder of its own for each host.
struct Hosts {
    place: Place,
    url: String,
}

impl Hosts {
    fn new(variable: &str, prefix: &str) -> Option<Hosts> {
        let Some(container) = std::env::var(variable).ok().filter(|url| !url.is_empty()) else {
            eprintln!("{variable} is not set: skipped; 'make test-remote' starts the server");
            return None;
        };
        let url = format!("{}/{prefix}-{}", container.trim_end_matches('/'), std::process::id());
        Some(Hosts { place: Place::bare(), url })
    }

    fn command(&self, host: &str, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        command.env("CINDERBLOCK_REPO", &self.url).env("CINDERBLOCK_CACHE_DIR", self.place.path(host));
        let service =
            |name: &str| ["AWS_", "AZURE_", "GOOGLE_", "OS_", "ST_"].iter().any(|prefix| name.starts_with(prefix));
        command.envs(std::env::vars().filter(|(name, _)| service(name)));
        // One node: its listings show what it has acknowledged.
        command.env("CINDERBLOCK_SWIFT_SETTLE", "0s");
        command
    }

    fn json(&self, host: &str, arguments: &[&str]) -> serde_json::Value {
        let output = self.command(host, &[arguments, &["--json"]].concat()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn holds_a_repository(variable: &str) {
    let Some(hosts) = Hosts::new(variable, "holds") else { return };
    assert_eq!(text(&hosts.json("a", &["init"]), "location"), hosts.url);

    // Two hosts back up volumes that share most of what is in them, at once.
    let mut volume = noise(1, 40 * MIB);
    hosts.place.file("first", &volume);
    volume[..CHUNK].copy_from_slice(&noise(2, CHUNK));
    hosts.place.file("second", &volume);
    let backup =
        |host: &str, file: &str| hosts.command(host, &["backup", file, "--volume-id", file, "--json"]).spawn().unwrap();
    for child in [backup("a", "first"), backup("b", "second")] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let again = hosts.json("b", &["backup", "first", "--volume-id", "first"]);
    assert_eq!(number(&again, "new_bytes"), 0, "a host follows what another has stored");

    // A third host, without an index, restores one, deletes the others, and frees their space.
    let list = hosts.json("c", &["list"]);
    let listed = list.as_array().unwrap();
    assert_eq!(listed.len(), 3);
    for entry in listed {
        if text(entry, "volume_id") == "second" {
            hosts.json("c", &["restore", text(entry, "backup_id"), "restored"]);
        } else {
            hosts.json("c", &["delete", text(entry, "backup_id")]);
        }
    }
    assert!(std::fs::read(hosts.place.path("restored")).unwrap() == volume);
    hosts.json("a", &["gc", "--grace", "0s"]);
    assert_eq!(hosts.json("b", &["verify", "--read-data"])["clean"], true);

    // And back into a folder.
    hosts.place.succeed(&["init"]);
    let folder = hosts.place.repository();
    let copied = hosts.json("a", &["copy", "--all", "--to", folder.to_str().unwrap(), "--limit-download", "1G"]);
    assert_eq!(copied["copied"].as_array().unwrap().len(), 1);
    assert_eq!(hosts.place.json(&["verify", "--read-data"])["clean"], true);
}

fn tells_what_is_wrong(variable: &str) {
    let Some(mut hosts) = Hosts::new(variable, "wrong") else { return };
    let line = |hosts: &Hosts, arguments: &[&str]| failure(&hosts.command("a", arguments).output().unwrap(), 1);
    let told = line(&hosts, &["list"]);
    assert!(told.contains("there is no repository at") && told.contains(&hosts.url), "{told}");
    hosts.json("a", &["init"]);
    let told = line(&hosts, &["init"]);
    assert!(told.contains("already"), "{told}");
    let scheme = hosts.url.split_once("://").unwrap().0.to_owned();
    hosts.url = format!("{scheme}://cinderblock-nowhere/x");
    for arguments in [&["list"][..], &["init"]] {
        let told = line(&hosts, arguments);
        let place = if scheme == "swift" { "://cinderblock-nowhere" } else { "://cinderblock-nowhere/x" };
        assert!(told.contains(&format!("{place} does not exist")) && !told.contains("folder"), "{told}");
    }
}

#[test]
fn seaweedfs_holds_a_repository() {
    holds_a_repository("CINDERBLOCK_TEST_S3");
}

#[test]
fn seaweedfs_that_is_used_wrongly_says_so() {
    tells_what_is_wrong("CINDERBLOCK_TEST_S3");
}

#[test]
fn moto_holds_a_repository() {
    holds_a_repository("CINDERBLOCK_TEST_MOTO");
}

#[test]
fn azurite_holds_a_repository() {
    holds_a_repository("CINDERBLOCK_TEST_AZURE");
}

#[test]
fn azurite_that_is_used_wrongly_says_so() {
    tells_what_is_wrong("CINDERBLOCK_TEST_AZURE");
}

#[test]
fn swift_holds_a_repository() {
    holds_a_repository("CINDERBLOCK_TEST_SWIFT");
}

#[test]
fn swift_that_is_used_wrongly_says_so() {
    tells_what_is_wrong("CINDERBLOCK_TEST_SWIFT");
}
