//! The server of the storage is killed in the middle of backups, restores and collections, and started again on the data that it had.
//!
//! SeaweedFS as a whole; of Swift the server that keeps the objects. `CRASHES=50` kills more, `SEED=n` repeats the choices of a seed.

mod common;
mod killing;
#[macro_use]
mod remote;

use std::process::Child;
use std::thread;
use std::time::Duration;

use common::{MIB, Place, noise, number, text};
use killing::chance::Chance;
use killing::rounds::{seed, setting};
use remote::Store;
use remote::server::Server;
use serde_json::{Value, json};

on_each_store!(a_server_that_is_killed_loses_nothing);

const CRASHES: u64 = 1;

fn volume(number: u64) -> Vec<u8> {
    [noise(1, MIB), noise(1 + number, 6 * MIB)].concat()
}

/// What a command said that may have met a dead server: nothing but success or one line of error will do.
fn document(child: Child) -> Result<Value, String> {
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null));
    }
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with("cinderblock: ") && told.lines().count() == 1, "{told}");
    Err(told)
}

fn a_server_that_is_killed_loses_nothing(store: &Store) {
    let mut chance = Chance::new(seed());
    let server = Server::like(store);
    let place = server.store.place();
    place.file("volume-0", &volume(0));
    let mut made: Vec<(String, u64)> = vec![(text(&place.backup("volume-0", "v"), "backup_id").to_owned(), 0)];
    let mut told = [0, 0];
    for crash in 1..=setting("CRASHES").unwrap_or(CRASHES) {
        let file = format!("volume-{crash}");
        place.file(&file, &volume(crash));
        let (id, number) = made[chance.below(made.len())].clone();
        let target = format!("restored-{crash}");
        let start = |arguments: &[&str]| -> Child { place.command(arguments).spawn().unwrap() };
        let backup = start(&["--json", "--memory", "96M", "backup", &file, "--volume-id", "v"]);
        let restore = start(&["-q", "--memory", "96M", "restore", &id, &target]);
        let gc = start(&["-q", "gc", "--grace", "1s", "--repack-below", "100"]);
        thread::sleep(chance.time(Duration::from_millis(600)));
        server.crash();
        thread::sleep(chance.time(Duration::from_millis(1500)));
        server.restart();
        let (backup, restore, gc) = (document(backup), document(restore), document(gc));
        for end in [&backup, &restore, &gc] {
            told[usize::from(end.is_ok())] += 1;
            if let Err(line) = end {
                println!("crash {crash}: {line}");
            }
        }
        // A target is whole, or not there.
        assert_eq!(place.path(&target).exists(), restore.is_ok());
        if restore.is_ok() {
            assert!(std::fs::read(place.path(&target)).unwrap() == volume(number), "crash {crash}");
        }
        if let Ok(backup) = backup {
            made.push((text(&backup, "backup_id").to_owned(), crash));
        }
        after(&place, &mut made, crash);
    }
    println!("{} commands met a crash: {} ended well, {} with an error", told[0] + told[1], told[1], told[0]);
    // A host that saw none of it.
    let fresh = server.store.place_at(place.repository().to_str().unwrap());
    for (id, number) in &made {
        assert!(fresh.restore(id) == volume(*number), "backup {id} has other bytes");
    }
    assert_eq!(number(&fresh.json(&["stats"]), "missing"), 0);
}

/// With the server back, the next commands work and everything is there. A backup whose command failed may have been made.
fn after(place: &Place, made: &mut Vec<(String, u64)>, crash: u64) {
    let listed = place.json(&["list"]);
    let listed: Vec<&str> = listed.as_array().unwrap().iter().map(|backup| text(backup, "backup_id")).collect();
    for (id, _) in made.iter() {
        assert!(listed.contains(&id.as_str()), "backup {id} is lost");
    }
    let unsaid: Vec<&str> = listed.into_iter().filter(|id| !made.iter().any(|(made, _)| made == id)).collect();
    assert!(unsaid.len() <= 1, "{unsaid:?}");
    made.extend(unsaid.iter().map(|id| ((*id).to_owned(), crash)));
    assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
    for (id, number) in made.iter() {
        assert!(place.restore(id) == volume(*number), "backup {id} has other bytes");
    }
    let again = place.backup(&format!("volume-{crash}"), "v");
    made.push((text(&again, "backup_id").to_owned(), crash));
}
