//! Every command where the n-th operation on the storage fails, for every n, done or not done: nothing is lost, what failed is said, and
//! the same command then does what this one did not. (Of `gc`, `collections_survive_faults.rs` of the store tells.)

mod scene;

use std::sync::Arc;

use cinderblock_backend::{Backend, Faulty, Memory, Rule};
use scene::command::{Answer, Command, Props, new_repository, perform, run};
use scene::{Backup, Host, IN_THREE_DAYS, NOW, Scene, all_cases, bytes_of, objects};

/// What is tried with a fault at every operation.
struct Trial {
    scene: Scene,
    props: Props,
    command: Command,
    /// Whether the repository that is copied to fails, and not this one.
    in_target: bool,
}

impl Trial {
    fn new(command: Command, scene: Scene, replica: Arc<Memory>) -> Self {
        let props = Props::of(&scene, replica);
        Self { scene, props, command, in_target: false }
    }

    fn of(command: Command) -> Self {
        Self::new(command, Scene::plain(), Arc::new(Memory::new()))
    }

    /// Of many reads, some.
    fn step(&self) -> usize {
        let every = all_cases() || !self.command.only_reads() || self.in_target;
        if every { 1 } else { 3 }
    }

    fn go(mut self) {
        let mut failures = 0;
        for performed in [false, true] {
            for n in (0..).step_by(self.step()) {
                let storage = self.scene.fork();
                let target = Arc::new(Memory::new());
                drop(new_repository(target.clone()));
                let faulty = Arc::new(Faulty::new(if self.in_target { target.clone() } else { storage.clone() }));
                // A read that was done, and failed, is like one that was not.
                let rule = if performed { Rule::any().when(|request| request.kind.is_change()) } else { Rule::any() };
                let rule = rule.skip(n as u64).times(1);
                faulty.add(if performed { rule.performed() } else { rule });
                let (first, second): (Arc<dyn Backend>, Arc<dyn Backend>) = match self.in_target {
                    true => (storage.clone(), faulty.clone()),
                    false => (faulty.clone(), target.clone()),
                };
                self.props.target = Some(second);
                let answer = run(self.command, first, &self.props);
                let case = format!("{:?}, fault {n} ({performed})", self.command);
                if faulty.faults() == 0 {
                    assert!(answer.is_clean(), "without a fault: {case}: {:?} {:?}", answer.error, answer.told);
                    break;
                }
                failures += 1;
                assert!(
                    answer.is_clean() || answer.names("injected fault"),
                    "{case}: {:?} {:?}",
                    answer.error,
                    answer.told
                );
                self.props.target = Some(target.clone());
                self.check(&case, storage, target, answer, n % 8 == 0);
            }
        }
        assert!(failures >= 5, "{failures} operations failed");
    }

    fn check(&self, case: &str, storage: Arc<Memory>, target: Arc<Memory>, mut answer: Answer, collect: bool) {
        let host = match answer.host.take() {
            Some(host) => host.reopen(storage.clone(), NOW),
            None => Host::open(storage.clone(), NOW),
        };
        let host = host.unwrap_or_else(|error| panic!("{case}: {error}"));
        self.nothing_is_lost(case, &host, &storage);
        if let Some(made) = &answer.made {
            host.restore(made).unwrap_or_else(|error| panic!("{case}: {error}"));
        }
        let mut again = Answer::default();
        perform(self.command, &host, &self.props, &mut again)
            .unwrap_or_else(|error| panic!("{case}, again: {error:?}"));
        // What was deleted and reported as not deleted is no more there.
        let told =
            again.told.iter().filter(|told| self.command != Command::Delete || !told.contains("there is no backup"));
        assert_eq!(told.collect::<Vec<_>>(), Vec::<&String>::new(), "{case}, again");
        self.is_done(case, &host, &target, &again);
        if collect || all_cases() {
            self.nothing_is_left(case, host, storage);
        }
    }

    /// Whether the command is to leave a backup.
    fn keeps(&self, backup: &Backup) -> bool {
        !matches!(self.command, Command::Prune | Command::Delete) || backup.name != "C"
    }

    fn nothing_is_lost(&self, case: &str, host: &Host, storage: &Memory) {
        for name in objects(&*self.scene.storage, "") {
            let was = bytes_of(&*self.scene.storage, &name);
            match bytes_of(storage, &name) {
                None => {
                    let removed =
                        self.props.backups.iter().find(|backup| name.as_str().contains(&backup.id.to_string()));
                    let may = removed.is_some_and(|backup| !self.keeps(backup)) || name.as_str().starts_with("marks/");
                    assert!(may, "{case}: {name} is gone");
                }
                is => assert!(is == was, "{case}: {name} was overwritten"),
            }
        }
        for backup in &self.props.backups {
            let is_there = host.repository.record(&backup.volume, backup.id).is_ok();
            assert!(is_there || !self.keeps(backup), "{case}: {} is gone", backup.name);
            // Its damage is what is being repaired.
            if is_there && (self.command != Command::Repair || !["A", "B"].contains(&backup.name)) {
                host.restore(backup).unwrap_or_else(|error| panic!("{case}: {}: {error}", backup.name));
            }
        }
    }

    fn is_done(&self, case: &str, host: &Host, target: &Arc<Memory>, again: &Answer) {
        let is_there = |backup: &Backup| host.repository.record(&backup.volume, backup.id).is_ok();
        let restore = |host: &Host, backup: &Backup| {
            host.restore(backup).unwrap_or_else(|error| panic!("{case}, again: {}: {error}", backup.name));
        };
        for backup in &self.props.backups {
            assert_eq!(is_there(backup), self.keeps(backup), "{case}, again: {}", backup.name);
            if self.command == Command::Repair {
                restore(host, backup);
            }
        }
        match self.command {
            Command::Backup => restore(host, again.made.as_ref().expect("a backup")),
            Command::Protect => {
                for (volume, id) in &self.props.protected {
                    let mark = host.repository.mark(volume, *id).expect("a mark");
                    assert!(mark.is_some_and(|mark| mark.protected), "{case}, again: {id} is not protected");
                }
            }
            Command::Copy => {
                let copies = Host::open(target.clone(), NOW).expect("the target can be opened");
                self.props.backups.iter().for_each(|backup| restore(&copies, backup));
            }
            _ => {}
        }
    }

    /// A collection removes what the failed command left, and nothing else.
    fn nothing_is_left(&self, case: &str, host: Host, storage: Arc<Memory>) {
        let later = host.reopen(storage.clone(), IN_THREE_DAYS).expect("the repository can be opened");
        let report = later.collect_garbage().unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(report.waiting.is_empty() && report.doubts.is_empty() && report.missing == 0, "{case}: {report:?}");
        for left in ["gc/", "sessions/", "fences/"] {
            assert!(objects(&*storage, left).is_empty(), "{case}: {left} is not empty");
        }
        for backup in self.props.backups.iter().filter(|backup| self.keeps(backup)) {
            later.restore(backup).unwrap_or_else(|error| panic!("{case}: {}: {error}", backup.name));
        }
    }
}

#[test]
fn backup() {
    Trial::of(Command::Backup).go();
}

#[test]
fn restore() {
    Trial::of(Command::Restore).go();
}

#[test]
fn verify() {
    Trial::of(Command::VerifyData).go();
}

#[test]
fn list_and_stats() {
    Trial::of(Command::List).go();
    Trial::of(Command::Stats).go();
}

#[test]
fn rebuild_index() {
    Trial::of(Command::RebuildIndex).go();
}

#[test]
fn prune() {
    Trial::of(Command::Prune).go();
}

#[test]
fn delete() {
    Trial::of(Command::Delete).go();
}

#[test]
fn protect() {
    Trial::of(Command::Protect).go();
}

#[test]
fn copy_from_a_storage_that_fails() {
    Trial::of(Command::Copy).go();
}

#[test]
fn copy_to_a_storage_that_fails() {
    Trial { in_target: true, ..Trial::of(Command::Copy) }.go();
}

#[test]
fn repair() {
    let scene = Scene::plain();
    let replica = scene.replica();
    Trial::new(Command::Repair, scene.with_damage(), replica).go();
}
