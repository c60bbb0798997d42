//! Behind a proxy that cuts bodies, ends answers early, answers 500, 503 and 429 and holds requests back, as a seed decides: commands end well,
//! or with one line of error and nothing half made; data are right always.
//!
//! `FAULTY=50` runs more rounds, `SEED=n` repeats the choices of a seed.

mod common;
mod killing;
#[macro_use]
mod remote;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use cinderblock_benches::proxy::Faults;
use common::objects::Objects;
use common::{CHUNK, MIB, noise, number, text};
use killing::rounds::{seed, setting};
use remote::Store;
use serde_json::{Value, json};

on_each_store!(what_a_bad_line_does_is_survived, a_line_that_is_of_no_use_is_named);

const ROUNDS: u64 = 1;

fn content(round: u64) -> Vec<u8> {
    let mut bytes = [noise(1, 4 * MIB), vec![0; MIB], noise(10 + round, 2 * MIB)].concat();
    bytes[7 * CHUNK..8 * CHUNK].copy_from_slice(&noise(100 + round, CHUNK));
    bytes
}

/// Of the commands, how many ended well and how many did not.
#[derive(Debug, Default)]
struct Ends {
    well: u64,
    badly: Vec<String>,
}

impl Ends {
    /// The document of a command that ended well.
    fn run(&mut self, place: &common::Place, arguments: &[&str]) -> Option<Value> {
        let output = place.run(&[&["--json", "--memory", "96M"], arguments].concat());
        let told = String::from_utf8(output.stderr).unwrap();
        if output.status.success() {
            self.well += 1;
            return Some(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null));
        }
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.starts_with("cinderblock: ") && told.lines().count() == 1, "{arguments:?}: {told}");
        println!("{arguments:?}: {told}");
        self.badly.push(told);
        None
    }
}

fn what_a_bad_line_does_is_survived(store: &Store) {
    let seed = seed();
    let sound = store.place();
    let url = sound.repository().display().to_string();
    let mut ends = Ends::default();
    let mut made: BTreeMap<String, u64> = BTreeMap::new();
    let mut faults: BTreeMap<String, u64> = BTreeMap::new();
    let mut requests = 0;
    for round in 0..setting("FAULTY").unwrap_or(ROUNDS) {
        let rates = Faults {
            seed: seed + round,
            cut: 0.06,
            truncate: 0.04,
            refuse: 0.08,
            delay: 0.05,
            delay_for: Duration::from_millis(300),
        };
        let (proxy, bad) = store.through_proxy(rates);
        let place = bad.place_at(&url);
        place.file("volume", &content(round));
        let tried: Vec<String> = (0..2).map(|n| format!("{round:08x}-0000-4000-8000-00000000000{n}")).collect();
        for id in &tried {
            let made_now = ends.run(&place, &["backup", "volume", "--volume-id", "v", "--backup-id", id]);
            let is_there = sound.run(&["show", id]).status.success();
            assert!(is_there || made_now.is_none(), "backup {id} was said to be made");
            if is_there {
                made.insert(id.clone(), round);
            }
        }
        for (number, (id, round)) in made.clone().iter().rev().take(2).enumerate() {
            let target = format!("new-{number}");
            let restored = ends.run(&place, &["restore", id, &target]).is_some();
            assert_eq!(place.path(&target).exists(), restored, "half a file is none");
            assert!(!restored || fs::read(place.path(&target)).unwrap() == content(*round));
            place.file("existing", &content(*round + 1));
            if ends.run(&place, &["restore", id, "existing", "--existing"]).is_some() {
                assert!(fs::read(place.path("existing")).unwrap() == content(*round));
            }
        }
        ends.run(&place, &["list"]).inspect(|list| assert_eq!(list.as_array().unwrap().len(), made.len()));
        if let Some(verified) = ends.run(&place, &["verify", "--read-data"]) {
            assert_eq!(verified["clean"], json!(true), "what the line does is no damage: {verified}");
        }
        if round % 2 == 1 {
            let gone = made.keys().next().unwrap().clone();
            ends.run(&place, &["delete", &gone]);
            if !sound.run(&["show", &gone]).status.success() {
                made.remove(&gone);
            }
        }
        if let Some(collected) = ends.run(&place, &["gc", "--grace", "1s", "--repack-below", "100"]) {
            assert_eq!(number(&collected, "missing_chunks"), 0, "{collected}");
            assert_eq!((&collected["damage"], &collected["doubts"]), (&json!([]), &json!([])), "{collected}");
        }
        let counts = proxy.counts();
        requests += counts.requests.values().sum::<u64>();
        counts.faults.into_iter().for_each(|(fault, count)| *faults.entry(fault).or_default() += count);
        // Without the proxy, and on a host that knows nothing.
        let fresh = store.place_at(&url);
        assert_eq!(fresh.json(&["verify", "--read-data"])["clean"], json!(true));
        for (id, round) in &made {
            assert!(fresh.restore(id) == content(*round), "backup {id} has other bytes");
        }
    }
    println!("{requests} requests, {faults:?}; {} commands ended well, {} badly", ends.well, ends.badly.len());
    assert!(["cut", "truncated", "refused", "delayed"].iter().all(|fault| faults.contains_key(*fault)), "{faults:?}");
    // With some eight repetitions of each request, hardly anything fails.
    assert!(ends.well > ends.badly.len() as u64, "{ends:?}");
    leaves_nothing(&sound, &store.objects(&sound));
}

/// A session of a command that failed stays announced until it is given up on; everything else is collected.
fn leaves_nothing(place: &common::Place, objects: &Objects) {
    let listed = place.json(&["list"]);
    for backup in listed.as_array().unwrap() {
        place.succeed(&["-q", "delete", text(backup, "backup_id")]);
    }
    place.json(&["gc", "--grace", "1s"]);
    assert_eq!(objects.names("backups/"), Vec::<String>::new());
    if place.json(&["sessions"]) == json!([]) {
        let left: Vec<String> = objects.names("").into_iter().filter(|name| !name.starts_with("tombstones/")).collect();
        assert_eq!(left, ["cinderblock.json"]);
    }
}

/// Where nothing comes through, that is what is said, and nothing is made. A server that is not there answers at once, and is asked again for
/// a while: a server that refuses for good says so at once.
fn a_line_that_is_of_no_use_is_named(store: &Store) {
    let sound = store.place();
    let url = sound.repository().display().to_string();
    let (_proxy, bad) = store.through_proxy(Faults { refuse: 1.0, ..Faults::default() });
    let place = bad.place_at(&url);
    place.file("volume", &content(0));
    let told = place.fail(&["backup", "volume", "--volume-id", "v"], 1);
    assert!(["500", "503", "429"].iter().any(|status| told.contains(status)), "{told}");
    assert_eq!(sound.json(&["list"]), json!([]));
    assert_eq!(store.objects(&sound).names(""), ["cinderblock.json"]);
}
