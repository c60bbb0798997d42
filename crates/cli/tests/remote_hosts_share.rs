//! Hosts that share a repository in a bucket, each a process of its own with a cache of its own: three back up similar volumes, one
//! collects garbage, one deletes and prunes, all at the same time.
//!
//! `ROUNDS=20` has each host back up more often.

mod common;
#[macro_use]
mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

use common::{CHUNK, MIB, Place, noise, number, text};
use remote::Store;
use serde_json::json;

on_each_store!(three_hosts_back_up_while_others_delete_and_collect);

const HOSTS: u64 = 3;
const ROUNDS: u64 = 3;

/// What a volume of a host holds after so many rounds: much that all hosts have, a part that changes, and some of its own.
fn content(host: u64, round: u64) -> Vec<u8> {
    let mut bytes = [noise(1, 2 * MIB), vec![0; MIB / 2], noise(100 + host, MIB / 2)].concat();
    for change in 1..=round {
        // Some changes are the same on all hosts: each stores them, or finds them.
        let seed = if change % 2 == 0 { change } else { change * 10 + host };
        let at = (seed as usize * 7 % (bytes.len() / CHUNK)) * CHUNK;
        bytes[at..at + CHUNK].copy_from_slice(&noise(1000 + seed, CHUNK));
    }
    bytes
}

/// The backups that were made, and those that somebody deletes.
#[derive(Default)]
struct Made {
    /// Volume and round by id.
    all: BTreeMap<String, (u64, u64)>,
    deleted: BTreeSet<String>,
}

fn three_hosts_back_up_while_others_delete_and_collect(store: &Store) {
    let rounds = env::var("ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let first = store.place();
    let url = first.repository().display().to_string();
    let made = Mutex::new(Made::default());
    let at_work = AtomicUsize::new(HOSTS as usize);
    let (collections, freed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for host in 1..=HOSTS {
            let (place, made, at_work) = (store.place_at(&url), &made, &at_work);
            scope.spawn(move || {
                let _left = Leaving(at_work);
                for round in 1..=rounds {
                    let volume = content(host, round);
                    place.file("volume", &volume);
                    let backup = place.backup("volume", &format!("host-{host}"));
                    let id = text(&backup, "backup_id").to_owned();
                    made.lock().unwrap().all.insert(id.clone(), (host, round));
                    // The newest is never deleted here.
                    assert!(place.restore(&id) == volume);
                }
            });
        }
        let (place, collections, freed, at_work) = (store.place_at(&url), &collections, &freed, &at_work);
        scope.spawn(move || {
            while at_work.load(Ordering::Acquire) > 0 {
                let collected = place.json(&["-q", "gc", "--grace", "1s", "--repack-below", "100"]);
                assert_eq!(number(&collected, "missing_chunks"), 0, "{collected}");
                assert_eq!((&collected["damage"], &collected["doubts"]), (&json!([]), &json!([])), "{collected}");
                assert_eq!(collected["ended"], json!([]), "nobody was silent: {collected}");
                collections.fetch_add(1, Ordering::AcqRel);
                freed.fetch_add(number(&collected, "deleted_packs") as usize, Ordering::AcqRel);
            }
        });
        let (place, made) = (store.place_at(&url), &made);
        scope.spawn(move || {
            let mut runs = 0;
            while at_work.load(Ordering::Acquire) > 0 {
                runs += 1;
                delete_some(&place, made, runs);
                thread::sleep(std::time::Duration::from_millis(100));
            }
        });
    });
    let made = made.into_inner().unwrap();
    let (collections, freed) = (collections.into_inner(), freed.into_inner());
    println!(
        "{} backups, {} deleted; {collections} collections freed {freed} packs",
        made.all.len(),
        made.deleted.len()
    );
    assert!(collections > 0);

    // A new host sees exactly what was not deleted, byte for byte, and finds all of it.
    let fresh = store.place_at(&url);
    let listed = fresh.json(&["list"]);
    let listed: BTreeSet<&str> = listed.as_array().unwrap().iter().map(|backup| text(backup, "backup_id")).collect();
    let expected: BTreeSet<&str> =
        made.all.keys().filter(|id| !made.deleted.contains(*id)).map(String::as_str).collect();
    assert_eq!(listed, expected);
    for (id, (host, round)) in made.all.iter().filter(|(id, _)| expected.contains(id.as_str())) {
        assert!(fresh.restore(id) == content(*host, *round), "backup {id} of host {host} has other bytes");
    }
    assert_eq!(fresh.json(&["verify", "--read-data"])["clean"], json!(true));
    assert_eq!(number(&fresh.json(&["stats"]), "missing"), 0);
    for host in 1..=HOSTS {
        fresh.file("volume", &content(host, rounds));
        let again = fresh.json(&["backup", "volume", "--volume-id", "again", "--parent", "none"]);
        assert_eq!(number(&again, "new_chunks"), 0, "{again}");
    }
    assert_eq!(fresh.json(&["sessions"]), json!([]));

    // Nothing stays of what nobody needs.
    let all: Vec<String> =
        fresh.json(&["list"]).as_array().unwrap().iter().map(|b| text(b, "backup_id").to_owned()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    fresh.succeed(&[&["-q", "delete"], &all[..]].concat());
    fresh.json(&["gc", "--grace", "1s"]);
    let left: Vec<String> =
        store.objects(&fresh).names("").into_iter().filter(|name| !name.starts_with("tombstones/")).collect();
    assert_eq!(left, ["cinderblock.json"]);
}

/// One fewer at work, also where a check has failed: nobody waits for ever.
struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Deletes a backup that is not its volume's newest, or prunes all but the two newest of each.
fn delete_some(place: &Place, made: &Mutex<Made>, run: u64) {
    let old = {
        let made = made.lock().unwrap();
        let newest = |volume| made.all.values().filter(|(host, _)| *host == volume).map(|(_, round)| *round).max();
        let is_old =
            |(id, (host, round)): &(&String, &(u64, u64))| Some(*round) != newest(*host) && !made.deleted.contains(*id);
        made.all.iter().find(is_old).map(|(id, _)| id.clone())
    };
    if run.is_multiple_of(3) {
        let pruned = place.json(&["prune", "--keep-last", "2"]);
        let volumes = pruned["volumes"].as_array().unwrap();
        let removed = volumes.iter().flat_map(|volume| volume["removed"].as_array().unwrap());
        made.lock().unwrap().deleted.extend(removed.map(|backup| text(backup, "backup_id").to_owned()));
    } else if let Some(id) = old {
        place.succeed(&["-q", "delete", &id]);
        made.lock().unwrap().deleted.insert(id);
    }
}
