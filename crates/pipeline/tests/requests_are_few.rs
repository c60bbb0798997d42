//! How often a storage is asked for what. These are counts, not times: a request costs money and a wait, wherever a repository is far away.

mod far;

use std::collections::BTreeMap;
use std::sync::Arc;

use cinderblock_backend::{Kind, Recording};
use cinderblock_pipeline::{Control, Target};
use far::*;

/// Requests since the last time, by kind and by the kind of object.
fn requests(recording: &Recording<Arc<Far>>) -> BTreeMap<(Kind, String), usize> {
    let mut counts = BTreeMap::new();
    for entry in recording.take_log() {
        let what = entry.name.split('/').next().unwrap_or_default().to_owned();
        *counts.entry((entry.kind, what)).or_default() += 1;
    }
    counts
}

fn expect(recording: &Recording<Arc<Far>>, what: &str, expected: &[(Kind, &str, usize)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(kind, object, count)| ((*kind, (*object).to_owned()), *count)).collect();
    assert_eq!(requests(recording), expected, "{what}");
}

#[test]
fn a_backup_a_restore_and_a_list_ask_for_what_they_need() {
    use Kind::{Delete, Get, GetTail, List, Put, ReadInto, Size};
    let storage = Arc::new(Far::default());
    create(&*storage);
    let recording = Arc::new(Recording::with_log(Arc::clone(&storage)));
    let host = Host::new(&recording);
    recording.take_log();

    let record = host.engine.backup(&host.repository, source(&volume()), &options("vm"), &Control::default()).unwrap();
    let (data, map) = (record.data_packs.len(), record.map_packs.len());
    assert_eq!((data, map), (5, 1));
    expect(
        &recording,
        "a backup into an empty repository",
        &[
            // Is the repository what it says? Is there a parent?
            (List, "backups", 2),
            // The same, and is there anything to find?
            (List, "packs", 2),
            (List, "index", 1),
            (List, "gc", 1),
            // Is what a backup needs to be locked?
            (List, "policy", 1),
            (List, "damage", 1),
            (List, "fences", 2),
            (Size, "tombstones", 2),
            (Put, "sessions", 1),
            (Put, "packs", data + map),
            (Put, "index", 1),
            (Put, "backups", 1),
            (Delete, "sessions", 1),
        ],
    );

    // Another host, which has nothing of the repository yet.
    let fresh = Host::new(&recording);
    recording.take_log();
    let record = fresh.repository.record(&record.volume, record.id).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = Target::New(folder.path().join("volume"));
    fresh.engine.restore(&fresh.repository, &record, &target, &Control::default()).unwrap();
    let counts = requests(&recording);
    let count = |kind, what: &str| counts.get(&(kind, what.to_owned())).copied().unwrap_or(0);
    // No listing of segments and no segment: the record names the packs.
    assert!(counts.keys().all(|(_, what)| what != "index"), "{counts:?}");
    assert_eq!((count(Get, "backups"), count(Size, "tombstones"), count(List, "damage")), (1, 1, 1));
    assert_eq!(count(GetTail, "packs"), data + map);
    // Of each pack the header; all leaves at once; the data in reads of 6 MiB, at most one shorter one for each pack.
    let reads = volume().len().div_ceil(6 << 20) + data;
    assert!(count(ReadInto, "packs") <= data + map + 1 + reads, "{counts:?}");
    assert_eq!(counts.len(), 5, "{counts:?}");

    // The same host, and nothing has changed.
    recording.take_log();
    let again = host.engine.backup(&host.repository, source(&volume()), &options("vm"), &Control::default()).unwrap();
    assert_eq!(again.statistics.new_chunks, 0);
    let counts = requests(&recording);
    let puts: usize = counts.iter().filter(|((kind, _), _)| *kind == Put).map(|(_, count)| count).sum();
    assert_eq!(puts, 2, "a session and a record: {counts:?}");
    // The host has kept the directories that it has written: a listing shows that their packs are there.
    assert!(!counts.keys().any(|(kind, _)| *kind == GetTail), "{counts:?}");
    assert_eq!(counts.get(&(List, "packs".to_owned())), Some(&1), "{counts:?}");
    let all: usize = counts.values().sum();
    assert!(all <= 18, "{counts:?}");

    // A host that has not: both reads of each pack, once.
    let stranger = Host::new(&recording);
    for new in [2 * (data + map), 0] {
        recording.take_log();
        let options = options("vm");
        stranger.engine.backup(&stranger.repository, source(&volume()), &options, &Control::default()).unwrap();
        let counts = requests(&recording);
        let count = |kind| counts.get(&(kind, "packs".to_owned())).copied().unwrap_or(0);
        // Beside them, the frames of the map that are read.
        assert!((new..=new + 1).contains(&(count(GetTail) + count(ReadInto))), "{counts:?}");
    }

    recording.take_log();
    for (volume, id) in fresh.repository.backups(None).unwrap() {
        fresh.repository.record(&volume, id).unwrap();
    }
    expect(&recording, "a list of four backups", &[(List, "backups", 1), (Get, "backups", 4), (Size, "tombstones", 4)]);
}
