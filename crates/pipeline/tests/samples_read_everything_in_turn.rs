//! Reading a share of the data, run after run: together they read all of it, whoever runs them and whatever comes and goes.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cinderblock_backend::{Backend, Faulty, Kind, Memory, ObjectName, Recording, Rule};
use cinderblock_pipeline::{Control, Error, ReadData, Sampled, VerifyOptions, VerifyReport};
use cinderblock_store::gc::{GcOptions, Observer};
use cinderblock_store::{OpenOptions, PackId, Repository};
use common::*;

fn sampling(percent: &str) -> VerifyOptions {
    VerifyOptions { backups: None, read_data: ReadData::Share(percent.parse().unwrap()) }
}

fn sampled(report: &VerifyReport) -> &Sampled {
    report.sample.as_ref().unwrap()
}

/// Each backup has a pack of its own.
fn store_many(fixture: &Fixture, numbers: std::ops::Range<u64>) {
    for number in numbers {
        fixture.store_fixed(&format!("vm-{number}"), &noise(number + 1, (8 + number as usize % 7) * CHUNK));
    }
}

fn packs_of(repository: &Repository) -> BTreeSet<PackId> {
    repository.list_packs().unwrap().into_iter().map(|(id, _)| id).collect()
}

/// Damages the first frame of every pack; their names.
fn damage_all(fixture: &Fixture) -> BTreeSet<String> {
    let packs = packs_of(&fixture.repository);
    for id in &packs {
        fixture.change(&fixture.pack(*id), |mut bytes| {
            bytes[80] ^= 1;
            Some(bytes)
        });
    }
    packs.into_iter().map(|id| fixture.pack(id).to_string()).collect()
}

#[test]
fn runs_on_several_hosts_read_every_pack_while_packs_come_and_go() {
    let (fixture, recording) = Fixture::with(Recording::with_log);
    store_many(&fixture, 0..30);
    let (cache, mut next) = (tempfile::tempdir().unwrap(), 30);
    let elsewhere = Repository::open(recording.clone(), &OpenOptions::new(cache.path())).unwrap();
    // The runs in which each pack's data was read, and the packs that there were before each run.
    let mut read: BTreeMap<PackId, Vec<usize>> = BTreeMap::new();
    let (mut there, mut ends) = (Vec::new(), Vec::new());
    for run in 0.. {
        store_many(&fixture, next..next + 2);
        next += 2;
        let (volume, id) = fixture.repository.backups(None).unwrap().swap_remove(run);
        fixture.repository.delete_backup(&volume, id).unwrap();
        fixture.repository.collect_garbage(&GcOptions::default(), &Observer::new(&|_| true)).unwrap();
        there.push(packs_of(&fixture.repository));
        recording.reset();
        let repository = if run % 2 == 0 { &fixture.repository } else { &elsewhere };
        let report = fixture.engine.verify(repository, &sampling("10"), &Control::default()).unwrap();
        assert!(report.is_clean());
        let sampled = sampled(&report);
        assert!(sampled.not_remembered.is_none() && sampled.forgotten.is_empty(), "{sampled:?}");
        let share = sampled.bytes as f64 / sampled.scrub.total_bytes as f64;
        assert!((0.1..0.15).contains(&share), "{share}");
        for entry in recording.take_log().into_iter().filter(|entry| entry.kind == Kind::ReadInto && entry.offset > 0) {
            let id = ObjectName::new(entry.name).unwrap().file_name().parse().unwrap();
            read.entry(id).or_default().push(run);
        }
        if sampled.round_ended {
            ends.push(run);
        }
        if ends.len() == 2 {
            break;
        }
    }
    // In any twelve runs after each other: ten, and two as packs that are read later are not all equally long.
    for from in 0..there.len().saturating_sub(12) {
        let mut window = there[from..from + 12].iter().cloned();
        let stayed = window.next().map(|first| window.fold(first, |all, next| &all & &next)).unwrap();
        assert!(stayed.len() > 12, "{}", stayed.len());
        for id in stayed {
            let runs = read.get(&id).map(Vec::as_slice).unwrap_or_default();
            assert!(runs.iter().any(|run| (from..from + 12).contains(run)), "{id} is not read from run {from} on");
        }
    }
    assert!(ends[0] <= 11 && ends[1] <= 22, "{ends:?}");
    assert_eq!(recording.inner().len_of("scrub/"), 1);
}

trait Count {
    fn len_of(&self, prefix: &str) -> usize;
}

impl Count for Arc<Memory> {
    fn len_of(&self, prefix: &str) -> usize {
        let mut count = 0;
        self.list(prefix, &mut |_| {
            count += 1;
            Ok(())
        })
        .unwrap();
        count
    }
}

#[test]
fn damage_anywhere_is_found_within_one_round() {
    let fixture = Fixture::new();
    store_many(&fixture, 0..30);
    // The round is under way when the damage happens.
    assert!(fixture.verify(&sampling("37.5")).is_clean());
    let damaged = damage_all(&fixture);
    let (mut found, mut backups) = (BTreeSet::new(), BTreeSet::new());
    for run in 0..10 {
        let report = fixture.verify(&sampling("10"));
        assert!(!report.is_clean(), "run {run}");
        let places: BTreeSet<String> = report.damaged_objects.into_iter().map(|damaged| damaged.object).collect();
        assert_eq!(places.len(), report.damaged_backups.len());
        backups.extend(report.damaged_backups.into_iter().map(|damaged| damaged.id));
        found.extend(places);
    }
    assert_eq!((found, backups.len()), (damaged, 30));
}

#[test]
fn what_can_be_read_is_read_where_nothing_can_be_remembered() {
    let (fixture, faulty) = Fixture::with(Faulty::new);
    store_many(&fixture, 0..10);
    faulty.add(Rule::on(Kind::Put).prefix("scrub/"));
    for _ in 0..2 {
        let report = fixture.verify(&sampling("50"));
        let sampled = sampled(&report);
        assert!(report.is_clean() && report.chunks > 40 && sampled.packs >= 4);
        assert!(sampled.not_remembered.as_ref().is_some_and(|reason| reason.contains("injected")), "{sampled:?}");
        assert_eq!((sampled.scrub.rounds, fixture.storage.len_of("scrub/")), (0, 0));
    }
}

#[test]
fn a_cursor_that_is_damaged_or_lost_begins_a_round_anew() {
    let fixture = Fixture::new();
    store_many(&fixture, 0..10);
    let first = fixture.verify(&sampling("50"));
    for lost in [false, true] {
        fixture.verify(&sampling("20"));
        let mut cursor = None;
        let mut seen = |info: cinderblock_backend::ObjectInfo| {
            cursor = Some(info.name);
            Ok(())
        };
        fixture.storage.list("scrub/", &mut seen).unwrap();
        fixture.change(&cursor.unwrap(), |mut bytes| {
            bytes[70] ^= 1;
            (!lost).then_some(bytes)
        });
        let report = fixture.verify(&sampling("50"));
        assert!(report.is_clean());
        assert_eq!(sampled(&report).forgotten.len(), usize::from(!lost), "{report:?}");
        assert_eq!(sampled(&report).scrub.position, sampled(&first).scrub.position);
        assert_eq!(fixture.storage.len_of("scrub/"), 1);
    }
    let next = fixture.verify(&sampling("60"));
    assert!(sampled(&next).round_ended && sampled(&next).forgotten.is_empty());
}

#[test]
fn a_run_that_is_stopped_keeps_what_it_read_as_far_as_nothing_was_wrong() {
    for damaged in [false, true] {
        let (fixture, faulty) = Fixture::with(Faulty::new);
        store_many(&fixture, 0..40);
        if damaged {
            damage_all(&fixture);
        }
        let (control, reads) = (Control::default(), Arc::new(AtomicUsize::new(0)));
        let token = control.cancel.clone();
        faulty.add(Rule::on(Kind::ReadInto).when(move |request| {
            // Frames, not headers.
            if request.offset > 0 && reads.fetch_add(1, Ordering::Relaxed) == 20 {
                token.cancel();
            }
            false
        }));
        let stopped = fixture.engine.verify(&fixture.repository, &sampling("100"), &control);
        assert!(matches!(stopped, Err(Error::Cancelled { .. })));
        let scrub = fixture.repository.scrubs().unwrap().furthest;
        if damaged {
            // Nobody has heard of the damage: it has to be found again.
            assert_eq!(scrub, None);
            continue;
        }
        let packs: Vec<PackId> = packs_of(&fixture.repository).into_iter().collect();
        // With three threads, twelve at a time.
        assert_eq!(scrub.unwrap().position, Some(packs[11]));
        let report = fixture.verify(&sampling("100"));
        assert_eq!((sampled(&report).packs, sampled(&report).round_ended), (40, true));
        assert_eq!(sampled(&report).scrub.position, Some(packs[11]));
    }
}
