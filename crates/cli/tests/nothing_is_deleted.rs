//! Repositories from which not everybody may delete: `--append-only`, credentials that may not, and Object Lock.
//!
//! The tests on servers run where the environment names them, which `make test-remote` does.

mod common;
mod refusing;

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cinderblock_backend::Backend;
use cinderblock_store::gc::{GcOptions, Observer};
use cinderblock_store::{Clock, OpenOptions, Repository, Timestamp};
use common::{CHUNK, MIB, Place, failure, noise, number, text};
use refusing::Refusing;
use serde_json::Value;

const DAY: i64 = 86_400;

fn names(place: &Place, folder: &str) -> Vec<String> {
    let mut names: Vec<String> = place.objects(folder).iter().map(|path| path.display().to_string()).collect();
    names.sort();
    names
}

#[test]
fn a_host_that_may_only_append_backs_up_and_another_collects() {
    let place = Place::new();
    place.file("volume", &noise(1, MIB));
    let before = place.backup("volume", "vm");
    let append = |arguments: &[&str]| place.json(&[&["--append-only"], arguments].concat());
    let backup = append(&["backup", "volume", "--volume-id", "vm"]);
    place.file("volume", &noise(2, MIB));
    append(&["backup", "volume", "--volume-id", "vm"]);
    let sessions = place.json(&["sessions"]);
    let ended: Vec<bool> = sessions.as_array().unwrap().iter().map(|session| session["ended"] == true).collect();
    assert_eq!(ended, [true, true], "{sessions}");
    assert!(place.succeed(&["sessions"]).contains("2 sessions could not remove what it left"));

    // All else that only reads or adds works.
    append(&["list"]);
    append(&["verify", "--read-data"]);
    append(&["rebuild-index"]);
    append(&["protect", text(&backup, "backup_id")]);
    append(&["gc", "--dry-run"]);
    let all = names(&place, "packs");

    // What deletes is refused before it begins.
    let id = text(&before, "backup_id");
    for arguments in [
        &["delete", id][..],
        &["gc"],
        &["prune", "--keep-last", "1"],
        &["protect", "--remove", text(&backup, "backup_id")],
        &["cinder", "delete", "--container-root", ".", "--container", "c", "--prefix", "p"],
    ] {
        let told = place.fail(&[&["--append-only"], arguments].concat(), 2);
        assert!(told.contains("--append-only says that nothing is to be deleted"), "{told}");
    }
    let told = place.fail(&["--append-only", "protect", "--until", "1d", text(&backup, "backup_id")], 2);
    assert!(told.contains("protected for longer"), "{told}");
    let by_variable = place.command(&["delete", id]).env("CINDERBLOCK_APPEND_ONLY", "1").output().unwrap();
    assert!(failure(&by_variable, 2).contains("--append-only"));
    assert_eq!(names(&place, "packs"), all);
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 3);

    // Nobody waits for those that have ended, though the grace would allow it.
    let collected = place.json(&["gc", "--grace", "1h"]);
    assert!(collected["waiting"].as_array().unwrap().is_empty() && collected["ended"].as_array().unwrap().is_empty());
    assert!(names(&place, "sessions").is_empty());
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], true);
}

#[test]
fn a_copy_into_a_repository_that_is_only_added_to() {
    let place = Place::new();
    place.file("volume", &noise(1, MIB));
    place.backup("volume", "vm");
    let other = place.path("other");
    let other = other.to_str().unwrap();
    place.succeed(&["init", "--repo", other]);
    let copied = place.json(&["--append-only", "copy", "--all", "--to", other]);
    assert_eq!(copied["copied"].as_array().unwrap().len(), 1);
    assert_eq!(place.json(&["sessions", "--repo", other])[0]["ended"], true);
    assert_eq!(place.json(&["verify", "--read-data", "--repo", other])["clean"], true);
}

#[test]
fn a_folder_has_no_object_lock() {
    let place = Place::bare();
    let told = place.fail(&["init", "--object-lock", "30d"], 1);
    assert!(told.contains("can't lock objects") && told.contains("Object Lock"), "{told}");
    place.succeed(&["init"]);
}

/// A bucket's part of its own, and hosts that use it.
struct Bucket {
    place: Place,
    url: String,
    endpoint: Option<String>,
}

impl Bucket {
    fn new(variable: &str, prefix: &str) -> Option<Self> {
        let Some(container) = std::env::var(variable).ok().filter(|url| !url.is_empty()) else {
            eprintln!("{variable} is not set: skipped; 'make test-remote' starts the server");
            return None;
        };
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let url = format!("{}/{prefix}-{now}", container.trim_end_matches('/'));
        Some(Self { place: Place::bare(), url, endpoint: None })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        command.env("CINDERBLOCK_REPO", &self.url);
        command.envs(std::env::vars().filter(|(name, _)| name.starts_with("AWS_")));
        command.envs(self.endpoint.iter().map(|endpoint| ("AWS_ENDPOINT_URL", endpoint)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(&[arguments, &["--json"]].concat()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(arguments).stdout).unwrap()
    }

    fn storage(&self) -> Arc<dyn Backend> {
        cinderblock_remote::open(&self.url.parse().unwrap(), &cinderblock_remote::Settings::default()).unwrap()
    }
}

/// With credentials that may not delete: with the option without a word, without it with one, and a backup is made either way.
fn deletes_are_refused(variable: &str) {
    let Some(mut bucket) = Bucket::new(variable, "refusing") else { return };
    bucket.json(&["init"]);
    let direct = std::env::var("AWS_ENDPOINT_URL").unwrap();
    let proxy = Refusing::before(&direct);
    bucket.endpoint = Some(format!("http://{}", proxy.address));
    bucket.place.file("volume", &noise(1, MIB));
    let backup = &["backup", "volume", "--volume-id", "vm"];

    let silent = bucket.run(&[&["--append-only"], &backup[..]].concat());
    assert!(silent.stderr.is_empty() && proxy.refused() == 0, "{}", String::from_utf8_lossy(&silent.stderr));
    let told = bucket.run(backup);
    let told = String::from_utf8_lossy(&told.stderr);
    assert!(
        told.contains("use --append-only") && told.contains("harms nothing") && told.lines().count() == 1,
        "{told}"
    );
    assert!(proxy.refused() > 0);
    let sessions = bucket.json(&["sessions"]);
    assert!(sessions.as_array().unwrap().iter().all(|session| session["ended"] == true), "{sessions}");
    let id = text(&bucket.json(&["list"])[0], "backup_id").to_owned();
    let told = failure(&bucket.command(&["delete", &id]).output().unwrap(), 1);
    assert!(told.contains("refuses to delete"), "{told}");

    // Somebody who may delete collects what they have left.
    bucket.endpoint = None;
    bucket.json(&["gc", "--grace", "1h"]);
    assert!(bucket.json(&["sessions"]).as_array().unwrap().is_empty());
    assert_eq!(bucket.json(&["list"]).as_array().unwrap().len(), 2);
    assert_eq!(bucket.json(&["verify", "--read-data"])["clean"], true);
}

#[test]
fn seaweedfs_that_refuses_deletes_is_backed_up_to() {
    deletes_are_refused("CINDERBLOCK_TEST_S3");
}

#[test]
fn moto_that_refuses_deletes_is_backed_up_to() {
    deletes_are_refused("CINDERBLOCK_TEST_MOTO");
}

/// A clock that is so many seconds ahead.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now().microseconds();
        Timestamp::from_microseconds(now + self.0.load(Ordering::Relaxed) * 1_000_000)
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// Days from now until which all objects of a folder are kept at least; none where one is not.
fn days_kept(storage: &dyn Backend, prefix: &str) -> Option<f64> {
    let mut names = Vec::new();
    storage
        .list(prefix, &mut |object| {
            names.push(object.name);
            Ok(())
        })
        .unwrap();
    assert!(!names.is_empty(), "{prefix}");
    let until = storage.retained(&names).unwrap().into_iter().min().flatten()?;
    Some(until.duration_since(std::time::SystemTime::now()).unwrap_or_default().as_secs_f64() / DAY as f64)
}

fn is_about(found: Option<f64>, days: f64) -> bool {
    found.is_some_and(|found| (found - days).abs() < 0.1)
}

/// The life of a repository whose objects are locked for 30 days, with clocks that go on.
fn object_lock(variable: &str, without: &str) {
    let Some(bucket) = Bucket::new(variable, "locked") else { return };
    if let Some(plain) = Bucket::new(without, "unlocked") {
        let told = failure(&plain.command(&["init", "--object-lock", "30d"]).output().unwrap(), 1);
        assert!(told.contains("can't lock objects"), "{told}");
        plain.json(&["init"]);
    }
    // Governance, so that whoever cleans up can.
    let made = bucket.json(&["init", "--object-lock", "30d", "--object-lock-mode", "governance"]);
    assert_eq!(made["object_lock"]["seconds"], 30 * DAY);
    let mut bytes = noise(1, MIB);
    bucket.place.file("volume", &bytes);
    let first = bucket.json(&["backup", "volume", "--volume-id", "vm"]);
    bucket.place.file("other", &noise(3, MIB));
    bucket.json(&["backup", "other", "--volume-id", "other"]);
    let storage = bucket.storage();
    for (prefix, days) in [("packs/", 37.5), ("backups/", 30.0), ("cinderblock.json", 37.5), ("policy/", 37.5)] {
        let found = days_kept(&*storage, prefix);
        assert!(is_about(found, days), "{prefix} {found:?}");
    }

    // What is locked can't be deleted, and is not collected.
    let id = text(&first, "backup_id");
    let told = failure(&bucket.command(&["delete", id]).output().unwrap(), 1);
    assert!(told.contains("is locked until 20"), "{told}");
    bytes[..CHUNK].copy_from_slice(&noise(2, CHUNK));
    bucket.place.file("volume", &bytes);
    bucket.json(&["backup", "volume", "--volume-id", "vm"]);
    let pruned = bucket.json(&["prune", "--keep-last", "1"]);
    assert_eq!((number(&pruned, "kept"), number(&pruned, "removed")), (3, 0), "{pruned}");
    assert!(pruned.to_string().contains("locked until 20"), "{pruned}");

    // 20 days later, a third backup uses what the first has brought, and renews it (kopia's issue 1067).
    let clock = Arc::new(Ahead::default());
    let later = |days: i64| {
        clock.0.store(days * DAY, Ordering::Relaxed);
        let cache = tempfile::tempdir().unwrap();
        let options = OpenOptions { clock: clock.clone(), ..OpenOptions::new(cache.path()) };
        (Repository::open(bucket.storage(), &options).unwrap(), cache)
    };
    let (repository, _cache) = later(20);
    let volume = "vm".parse().unwrap();
    let record = repository.newest_backup(&volume).unwrap().unwrap();
    let session = repository.start_session("shares all").unwrap();
    let mut shared = record.clone();
    shared.id = cinderblock_store::BackupId::random().unwrap();
    session.commit(&mut shared).unwrap();
    let found = days_kept(&*storage, &format!("backups/vm/{}", shared.id));
    assert!(is_about(found, 50.0), "{found:?}");
    let found = days_kept(&*storage, "cinderblock.json");
    assert!(is_about(found, 57.5), "{found:?}");
    for pack in record.data_packs.iter().chain(&record.map_packs) {
        let found = days_kept(&*storage, &repository.pack_object(*pack).unwrap());
        assert!(is_about(found, 57.5), "{pack} {found:?}");
    }

    // When the locks of the two older ones are over, they go, and the third stays whole.
    let (repository, _cache) = later(40);
    for (volume, id) in repository.backups(None).unwrap() {
        if id != shared.id {
            repository.delete_backup(&volume, id).unwrap();
        }
    }
    assert!(repository.delete_backup(&volume, shared.id).is_err());
    let options = GcOptions { grace: Duration::ZERO, ..GcOptions::default() };
    let report = repository.collect_garbage(&options, &Observer::new(&|_| true)).unwrap();
    assert!(report.deleted >= 1 && report.missing == 0 && report.doubts.is_empty(), "{report:?}");
    assert_eq!(bucket.json(&["verify", "--read-data"])["clean"], true);
    assert_eq!(bucket.json(&["list"]).as_array().unwrap().len(), 1);
    bucket.json(&["restore", &shared.id.to_string(), "restored"]);
    assert!(std::fs::read(bucket.place.path("restored")).unwrap() == bytes);
}

#[test]
fn moto_locks_what_backups_need() {
    object_lock("CINDERBLOCK_TEST_MOTO_LOCKED", "CINDERBLOCK_TEST_MOTO");
}

#[test]
fn seaweedfs_locks_what_backups_need() {
    object_lock("CINDERBLOCK_TEST_S3_LOCKED", "CINDERBLOCK_TEST_S3");
}
