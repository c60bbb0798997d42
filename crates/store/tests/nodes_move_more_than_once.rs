//! A reader has the directories of packs in memory, and a collector copies what is in them elsewhere and deletes them, again and again: the reader finds
//! the nodes of a map each time. It found them after the first collection alone, where no other reader of the process had looked again before.

mod common;

use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::Memory;
use cinderblock_store::gc::{GcOptions, Observer};
use common::*;

#[test]
fn a_node_is_found_however_often_it_moved() -> TestResult {
    let storage = Arc::new(Memory::new());
    let caches = [tempfile::tempdir()?, tempfile::tempdir()?];
    create(&*storage)?;
    let writer = open(storage.clone(), caches[0].path())?;
    let mut records = Vec::new();
    let add = |seeds: std::ops::Range<u64>| {
        seeds.map(|seed| back_up(&writer, &volume(&format!("vm-{seed}")), &sparse_volume(seed), &Plan::new())).collect()
    };
    let first: Result<Vec<_>, _> = add(0..33);
    records.extend(first?);
    let reader = open(storage.clone(), caches[1].path())?;
    for round in 0..2 {
        let nodes = children(&records[round].map);
        assert!(!nodes.is_empty());
        let mut places = Vec::new();
        // Where they are is in memory then, and they are not.
        reader.locate(&nodes, &mut places)?;
        assert!(places.iter().all(Option::is_some), "round {round}");
        // More than was copied together before, so that this is copied again.
        let start = 1000 * (round as u64 + 1);
        let more: Result<Vec<_>, _> = add(start..start + 40 * (round as u64 + 1));
        records.extend(more?);
        let options = GcOptions { grace: Duration::ZERO, gather: true, ..GcOptions::default() };
        let report = writer.collect_garbage(&options, &Observer::new(&|_| true))?;
        assert!(report.gathered > 32 && report.deleted > 32, "{report:?}");
        for place in places.iter().flatten() {
            assert!(!objects(&*storage, "packs/").contains(place.pack.object()), "round {round}: it has moved");
        }
        for id in &nodes {
            reader.node(id)?;
        }
    }
    Ok(())
}
