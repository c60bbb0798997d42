//! Each host's index follows the others', segment by segment, and is made anew where it is of no use.

mod common;
#[macro_use]
mod remote;

use std::fs;
use std::path::Path;

use cinderblock_benches::proxy::{Faults, Proxy};
use common::{MIB, Place, noise, number, text};
use remote::Store;
use serde_json::json;

on_each_store!(an_index_reads_only_segments_that_it_does_not_have, an_index_that_is_of_no_use_is_made_anew);

/// GETs of segments by a backup that finds all its data through the index of a cache folder.
fn segments_read(proxy: &Proxy, place: &Place, cache: &str) -> u64 {
    let before = proxy.counts().watched;
    let backup = place.json(&["--cache-dir", cache, "backup", "old", "--volume-id", "v", "--parent", "none"]);
    assert_eq!(number(&backup, "new_chunks"), 0, "{backup}");
    proxy.counts().watched - before
}

/// Counts requests, not time.
fn an_index_reads_only_segments_that_it_does_not_have(store: &Store) {
    const SEGMENTS: u64 = 12;
    let here = store.place();
    let url = here.repository().display().to_string();
    let mut made = 0;
    let mut add_segments = |number: u64| {
        for _ in 0..number {
            made += 1;
            here.file("new", &noise(1000 + made, 40_000));
            here.backup("new", &format!("new-{made}"));
        }
    };
    here.file("old", &noise(1, 100_000));
    here.backup("old", "v");
    add_segments(SEGMENTS);

    let (proxy, through) = store.through_proxy(Faults::default());
    let host = through.place_at(&url);
    host.file("old", &noise(1, 100_000));
    assert_eq!(segments_read(&proxy, &host, "a"), SEGMENTS + 1);
    for new in [0, 1, 4, 0] {
        add_segments(new);
        assert_eq!(segments_read(&proxy, &host, "a"), new, "only what is new");
    }
    assert_eq!(segments_read(&proxy, &host, "b"), SEGMENTS + 1 + 1 + 4, "another cache reads each once");
    // What two hosts have stored since, each finds of the other.
    for (from, to) in [(&here, &host), (&host, &here)] {
        let volume = noise(if std::ptr::eq(from, &here) { 5 } else { 6 }, MIB);
        from.file("news", &volume);
        assert!(number(&from.backup("news", "news"), "new_chunks") > 0);
        to.file("news", &volume);
        assert_eq!(number(&to.backup("news", "news-again"), "new_chunks"), 0);
    }
    assert!(proxy.counts().faults.is_empty());
}

/// Writes garbage over all files of a folder.
fn spoil(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { spoil(&path) } else { fs::write(path, b"garbage").unwrap() }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            false => assert!(fs::copy(path, to.join(name)).is_ok()),
        }
    }
}

/// The folder of the one repository that a cache folder has.
fn only_folder(cache: &Path) -> std::path::PathBuf {
    let mut folders = fs::read_dir(cache).unwrap();
    let folder = folders.next().unwrap().unwrap().path();
    assert!(folders.next().is_none());
    folder
}

fn an_index_that_is_of_no_use_is_made_anew(store: &Store) {
    let place = store.place();
    let mut made = Vec::new();
    let mut fill = |seed| {
        let volume = noise(seed, MIB);
        place.file("volume", &volume);
        made.push((text(&place.backup("volume", &format!("v{seed}")), "backup_id").to_owned(), volume));
    };
    // The first backup finds nothing that needs an index.
    fill(1);
    fill(2);
    copy(&place.cache(), &place.path("stale"));
    fill(3);

    // Of another repository, under the name of this one's.
    let other = store.place();
    for seed in [77, 78] {
        other.file("volume", &noise(seed, MIB));
        other.backup("volume", "v");
    }
    let own = only_folder(&place.cache());
    copy(&only_folder(&other.cache()), &place.path("foreign").join(own.file_name().unwrap()));
    copy(&place.cache(), &place.path("spoilt"));
    spoil(&place.path("spoilt"));
    // One that knows packs which were collected since.
    const CACHES: [&str; 6] = ["cache", "lost", "stale", "foreign", "spoilt", "before-gc"];
    let pieces: Vec<Vec<u8>> = (0..CACHES.len() as u64).map(|piece| noise(200 + piece, 100_000)).collect();
    place.file("volume", &pieces.concat());
    let gone = text(&place.backup("volume", "gone"), "backup_id").to_owned();
    place.json(&["stats"]);
    copy(&place.cache(), &place.path("before-gc"));
    place.succeed(&["-q", "delete", &gone]);
    place.json(&["gc", "--grace", "1s", "--repack-below", "100"]);

    for (cache, piece) in CACHES.into_iter().zip(pieces) {
        for (id, volume) in &made {
            place.succeed(&["-q", "--cache-dir", cache, "restore", id, "restored"]);
            assert!(fs::read(place.path("restored")).unwrap() == *volume, "{cache}");
            fs::remove_file(place.path("restored")).unwrap();
            place.file("volume", volume);
            let again = place.json(&["--cache-dir", cache, "backup", "volume", "--volume-id", "w", "--parent", "none"]);
            assert_eq!(number(&again, "new_chunks"), 0, "{cache}: {again}");
        }
        // What is not there any more is stored again, whatever the cache says.
        place.file("volume", &piece);
        let back = place.json(&["--cache-dir", cache, "backup", "volume", "--volume-id", "x", "--parent", "none"]);
        assert!(number(&back, "new_chunks") > 0, "{cache}: {back}");
        assert_eq!(place.json(&["--cache-dir", cache, "verify", "--read-data"])["clean"], json!(true));
    }
}
