//! How often each command asks a storage for what.

mod far;

use std::collections::BTreeMap;
use std::sync::Arc;

use cinderblock_backend::{Kind, Recording};
use cinderblock_pipeline::{Control, ReadData, Target, VerifyOptions};
use cinderblock_store::gc::{GcOptions, Observer};
use far::*;

fn requests(recording: &Recording<Arc<Far>>) -> BTreeMap<(Kind, String), usize> {
    let mut counts = BTreeMap::new();
    for entry in recording.take_log() {
        let what = entry.name.split('/').next().unwrap_or_default().to_owned();
        *counts.entry((entry.kind, what)).or_default() += 1;
    }
    counts
}

#[test]
fn explore() {
    let storage = Arc::new(Far::default());
    create(&*storage);
    let recording = Arc::new(Recording::with_log(Arc::clone(&storage)));
    let host = Host::new(&recording);
    let control = Control::default();
    recording.take_log();
    let mut bytes = volume();
    let first = host.engine.backup(&host.repository, source(&bytes), &options("vm"), &control).unwrap();
    println!("first {} {} {:?}", first.data_packs.len(), first.map_packs.len(), requests(&recording));
    let host = Host::new(&recording);
    recording.take_log();
    host.engine.backup(&host.repository, source(&bytes), &options("vm"), &control).unwrap();
    println!("unchanged, new host {:?}", requests(&recording));
    host.repository.forget_packs();
    host.engine.backup(&host.repository, source(&bytes), &options("vm"), &control).unwrap();
    println!("unchanged {:?}", requests(&recording));
    for block in bytes.chunks_mut(CHUNK).step_by(100) {
        block[0] ^= 1;
    }
    let changed = host.engine.backup(&host.repository, source(&bytes), &options("vm"), &control).unwrap();
    println!(
        "changed {} {} new {} {:?}",
        changed.data_packs.len(),
        changed.map_packs.len(),
        changed.statistics.new_chunks,
        requests(&recording)
    );
    let fresh = Host::new(&recording);
    recording.take_log();
    let folder = tempfile::tempdir().unwrap();
    let record = fresh.repository.record(&changed.volume, changed.id).unwrap();
    fresh.engine.restore(&fresh.repository, &record, &Target::New(folder.path().join("volume")), &control).unwrap();
    println!("restore {:?}", requests(&recording));
    let fresh = Host::new(&recording);
    recording.take_log();
    fresh.engine.verify(&fresh.repository, &VerifyOptions::default(), &control).unwrap();
    println!("verify {:?}", requests(&recording));
    fresh
        .engine
        .verify(&fresh.repository, &VerifyOptions { backups: None, read_data: ReadData::All }, &control)
        .unwrap();
    println!("verify data {:?}", requests(&recording));
    for (volume, id) in fresh.repository.backups(None).unwrap() {
        if id != changed.id {
            fresh.repository.delete_backup(&volume, id).unwrap();
        }
    }
    println!("delete 3 {:?}", requests(&recording));
    let report = fresh.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
    println!("gc {} {:?}", report.deleted, requests(&recording));
    let report = fresh.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
    println!("gc {} {:?}", report.deleted, requests(&recording));
    fresh.repository.delete_backup(&changed.volume, changed.id).unwrap();
    recording.take_log();
    let report = fresh.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
    println!("gc all {} {:?}", report.deleted, requests(&recording));
}
