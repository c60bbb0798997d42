//! Commands that a crash ended at any of their changes, with and without what was not durable yet: what had been acknowledged is whole,
//! nothing is there in half, the same command ends what was begun, and a collection then leaves nothing dead.

mod scene;

use std::sync::Arc;

use cinderblock_backend::{Backend, Crashing, Memory};
use cinderblock_pipeline::{Control, ReadData, VerifyOptions};
use scene::command::{Answer, Command, Props, new_repository, perform};
use scene::{Backup, ENGINE, Host, IN_THREE_DAYS, NOW, Scene, all_cases, objects};

/// Changes in flight of which every subset is tried.
const BOUND: u32 = 4;

/// States that are tried unless all are.
const STATES: usize = 40;

struct Trial {
    scene: Scene,
    props: Props,
    command: Command,
    /// Whether the repository that is copied to crashes, and not this one.
    in_target: bool,
}

impl Trial {
    fn new(command: Command, scene: Scene, replica: Arc<Memory>) -> Self {
        let props = Props::of(&scene, replica);
        Self { scene, props, command, in_target: false }
    }

    /// A process of this command, which may begin days later, as collectors do.
    fn open(&self, storage: Arc<dyn Backend>) -> Host {
        let ahead = if self.command == Command::Gc { IN_THREE_DAYS } else { NOW };
        Host::open(storage, ahead).expect("the repository can be opened")
    }

    fn perform(&self, host: &Host, target: Arc<dyn Backend>, case: &str) -> Answer {
        let mut answer = Answer::default();
        let props = Props { target: Some(target), ..self.props.clone() };
        let performed = perform(self.command, host, &props, &mut answer);
        performed.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        answer
    }

    /// How many states there were.
    fn go(self) -> usize {
        let target = Arc::new(Memory::new());
        drop(new_repository(target.clone()));
        let base = if self.in_target { &target } else { &self.scene.storage };
        let crashing = Arc::new(Crashing::new(base.snapshot()));
        let made = match self.in_target {
            true => self.perform(&self.open(self.scene.storage.clone()), crashing.clone(), "without a crash"),
            false => self.perform(&self.open(crashing.clone()), target.clone(), "without a crash"),
        };
        assert!(made.is_clean(), "{:?}", made.told);
        let states: Vec<_> = crashing.crashes(BOUND).collect();
        let step = if all_cases() { 1 } else { states.len().div_ceil(STATES) };
        let last = states.len() - 1;
        for (n, crash) in states.into_iter().enumerate().filter(|(n, _)| n % step == 0 || *n == last) {
            let case =
                format!("{:?}, state {n} of {last}, {} changes, lost {:?}", self.command, crash.returned, crash.lost);
            let (storage, target) = match self.in_target {
                true => (self.scene.fork(), Arc::new(crash.store)),
                false => (Arc::new(crash.store), Arc::new(target.snapshot())),
            };
            self.check(&case, storage, target, made.made.as_ref().filter(|_| n == last));
        }
        last + 1
    }

    fn check(&self, case: &str, storage: Arc<Memory>, target: Arc<Memory>, acknowledged: Option<&Backup>) {
        let host = self.open(storage.clone());
        self.is_whole(case, &host);
        acknowledged.into_iter().for_each(|backup| host.restore(backup).expect("it was acknowledged"));
        if self.in_target {
            // Copies that are there are whole.
            self.is_whole_in_part(case, &self.open(target.clone()));
        }
        let again = self.perform(&host, target.clone(), case);
        let told =
            again.told.iter().filter(|told| self.command != Command::Delete || !told.contains("there is no backup"));
        assert_eq!(told.collect::<Vec<_>>(), Vec::<&String>::new(), "{case}, again");
        again.made.iter().for_each(|backup| host.restore(backup).unwrap_or_else(|error| panic!("{case}: {error}")));
        if self.in_target {
            let copies = self.open(target.clone());
            self.props.backups.iter().for_each(|backup| self.restores(case, &copies, backup));
            self.nothing_dead_is_left(case, copies, target);
        } else {
            self.nothing_dead_is_left(case, host, storage);
        }
    }

    fn keeps(&self, backup: &Backup) -> bool {
        !matches!(self.command, Command::Prune | Command::Delete) || backup.name != "C"
    }

    fn restores(&self, case: &str, host: &Host, backup: &Backup) {
        host.restore(backup).unwrap_or_else(|error| panic!("{case}: {}: {error}", backup.name));
    }

    /// What was there before is there, unless it was to be deleted, and all that is there is whole.
    fn is_whole(&self, case: &str, host: &Host) {
        for backup in self.props.backups.iter().filter(|backup| self.keeps(backup)) {
            let is_there = host.repository.record(&backup.volume, backup.id).is_ok();
            assert!(is_there, "{case}: {} is gone", backup.name);
        }
        self.is_whole_in_part(case, host);
    }

    fn is_whole_in_part(&self, case: &str, host: &Host) {
        // Its damage is what is being repaired.
        let damaged: &[&str] = if self.command == Command::Repair { &["A", "B"] } else { &[] };
        for backup in self.props.backups.iter().filter(|backup| !damaged.contains(&backup.name)) {
            if host.repository.record(&backup.volume, backup.id).is_ok() {
                self.restores(case, host, backup);
            }
        }
        if damaged.is_empty() {
            let options = VerifyOptions { backups: None, read_data: ReadData::All };
            let report = ENGINE.verify(&host.repository, &options, &Control::default());
            let report = report.unwrap_or_else(|error| panic!("{case}: {error:?}"));
            assert!(report.is_clean(), "{case}: {report:?}");
        }
    }

    fn nothing_dead_is_left(&self, case: &str, host: Host, storage: Arc<Memory>) {
        let later = host.reopen(storage.clone(), 2 * IN_THREE_DAYS).expect("the repository can be opened");
        for _ in 0..2 {
            let report = later.collect_garbage().unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(report.waiting.is_empty() && report.doubts.is_empty() && report.missing == 0, "{case}: {report:?}");
        }
        for left in ["gc/", "sessions/", "fences/"] {
            assert!(objects(&*storage, left).is_empty(), "{case}: {left} is not empty");
        }
        let usage = later.repository.usage().expect("the usage");
        // Packs that are dead by less than a tenth stay.
        assert!(usage.unreferenced_bytes * 9 < usage.stored_bytes, "{case}: {usage:?}");
        for backup in self.props.backups.iter().filter(|backup| self.keeps(backup)) {
            self.restores(case, &later, backup);
        }
    }
}

fn crash(command: Command, scene: Scene) -> Trial {
    Trial::new(command, scene, Arc::new(Memory::new()))
}

#[test]
fn incremental_backup() {
    assert!(crash(Command::Backup, Scene::plain()).go() > 5);
}

#[test]
fn first_backup_of_a_volume() {
    // Nothing of it is there: its packs are all new.
    let mut trial = crash(Command::Backup, Scene::plain());
    trial.props.next = scene::image::Image::of_chunks(&[(0, 40, 200), (30 << 20, 41, 200)]);
    assert!(trial.go() > 5);
}

#[test]
fn collection_after_a_deletion() {
    assert!(crash(Command::Gc, Scene::plain().with_garbage()).go() > 10);
}

#[test]
fn prune() {
    assert!(crash(Command::Prune, Scene::plain()).go() > 1);
}

#[test]
fn delete() {
    assert!(crash(Command::Delete, Scene::plain()).go() > 1);
}

#[test]
fn protect() {
    assert!(crash(Command::Protect, Scene::plain()).go() > 1);
}

#[test]
fn copy_into_a_repository_that_crashes() {
    let trial = Trial { in_target: true, ..crash(Command::Copy, Scene::plain()) };
    assert!(trial.go() > 20);
}

#[test]
fn repair() {
    let scene = Scene::plain();
    let replica = scene.replica();
    assert!(Trial::new(Command::Repair, scene.with_damage(), replica).go() > 4);
}
