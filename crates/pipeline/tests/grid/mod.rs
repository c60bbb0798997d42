//! A grid: an object of each kind × what may become of it × the commands that meet it.

/// The tests of a binary that has this grid; each calls a function first.
macro_rules! grid_tests {
    ($begin:path) => {
        grid_tests! {
            $begin,
            a_damaged_descriptor: Descriptor,
            a_damaged_pack_of_chunks: DataPack,
            a_damaged_pack_of_map_nodes: MapPack,
            a_damaged_segment: Segment,
            a_damaged_record: Record,
            a_damaged_session: Session,
            a_damaged_renewal: Renewal,
            a_damaged_mark: Mark,
            a_damaged_collection: Collection,
            a_damaged_fence: Fence,
            a_damaged_tombstone: Tombstone,
            a_damaged_damage_note: Note,
            a_damaged_cursor: Cursor,
            a_damaged_end_of_a_session: Ended,
        }

        #[test]
        fn small_packs_are_gathered_around_damage() {
            $begin();
            grid::gather::check();
        }
    };
    ($begin:path, $($name:ident: $kind:ident,)*) => {$(
        #[test]
        fn $name() {
            $begin();
            grid::meet(scene::full::Kind::$kind);
        }
    )*
        #[test]
        fn every_kind_has_its_test() {
            $begin();
            let tested = [$(scene::full::Kind::$kind),*];
            assert!(scene::full::Kind::ALL.iter().all(|kind| tested.contains(kind)));
            grid::kinds::check(&tested);
        }
    };
}

mod damage;
pub mod gather;
pub mod kinds;
mod rules;
mod upkeep;

use std::sync::{Arc, LazyLock};

use cinderblock_backend::{Memory, ObjectName};

use self::damage::{Damage, Form, damages};
use self::rules::Expected;
use crate::scene::command::{Answer, Command, Props, run};
use crate::scene::full::{Full, Kind};
use crate::scene::{Backup, Host, NOW, bytes_of, objects, overwrite};

static FULL: LazyLock<Full> = LazyLock::new(Full::make);
/// Another repository.
static ELSEWHERE: LazyLock<Full> = LazyLock::new(Full::make);

/// An object of this kind meets every command in every form.
pub fn meet(kind: Kind) {
    let (name, damages) = damages(kind, &FULL, &ELSEWHERE);
    let props = Props::of(&FULL.scene, FULL.replica.clone());
    for damage in damages {
        for command in Command::ALL {
            let cell = Cell { kind, name: &name, damage: &damage, command, props: &props };
            cell.check();
        }
    }
}

struct Cell<'a> {
    kind: Kind,
    name: &'a ObjectName,
    damage: &'a Damage,
    command: Command,
    props: &'a Props,
}

impl Cell<'_> {
    fn form(&self) -> &Form {
        &self.damage.form
    }

    fn text(&self) -> String {
        format!("{:?} {:?}, {:?} ({})", self.kind, self.form(), self.command, self.name)
    }

    fn check(&self) {
        let storage = FULL.scene.fork();
        overwrite(&*storage, self.name, self.damage.bytes.as_deref());
        let before = storage.snapshot();
        let mut answer = run(self.command, storage.clone(), self.props);
        self.check_answer(&answer);
        self.check_objects(&before, &storage);
        self.check_upkeep(&storage, &answer);
        if self.command.only_reads() {
            return;
        }
        self.check_restores(&storage, &mut answer);
        if self.command == Command::Repair && matches!(self.kind, Kind::Segment | Kind::Note) {
            // They are put right without anything from elsewhere.
            for command in [Command::Verify, Command::Gc] {
                let again = run(command, Arc::new(storage.snapshot()), self.props);
                let Answer { error, told, .. } = &again;
                assert!(again.is_clean(), "{}, then {command:?}: {error:?}, {told:?}", self.text());
            }
        }
        // With the object as it was, all is as if it had never been damaged.
        if bytes_of(&*storage, self.name) == self.damage.bytes {
            let good = FULL.victims.get(&self.kind).expect("there is one of every kind");
            overwrite(&*storage, self.name, Some(&good.bytes));
            self.check_healed(storage);
        }
    }

    /// What identifies the object in a message.
    fn identity(&self) -> &str {
        let mut parts = self.name.as_str().split('/');
        match self.kind {
            Kind::Session | Kind::Renewal | Kind::Note | Kind::Ended => parts.nth(1).unwrap_or_default(),
            _ => self.name.file_name(),
        }
    }

    fn check_answer(&self, answer: &Answer) {
        let Answer { error, told, .. } = answer;
        let told = || format!("{}: {error:?}, {told:?}", self.text());
        match rules::expected(self.kind, self.form(), self.command) {
            Expected::Nothing => assert!(answer.is_clean(), "{}", told()),
            Expected::Name => assert!(answer.names(self.identity()), "{}", told()),
            Expected::Something => assert!(!answer.is_clean(), "{}", told()),
            Expected::Anything => {}
        }
    }

    /// Nothing went that was not to go.
    fn check_objects(&self, before: &Memory, after: &Memory) {
        let doubtful = self.command == Command::Gc && rules::is_doubtful(self.kind, self.form());
        let removed: Vec<String> = self.removed().map(|backup| backup.id.to_string()).collect();
        for name in objects(before, "") {
            let (was, is) = (bytes_of(before, &name), bytes_of(after, &name));
            if was == is {
                continue;
            }
            assert!(is.is_none(), "{}: {name} was overwritten", self.text());
            let lasting = ["packs/", "index/", "backups/"].iter().any(|prefix| name.as_str().starts_with(prefix));
            let is_void = FULL.late.as_ref() == Some(&name) && self.command == Command::Gc;
            assert!(!(doubtful && lasting) || is_void, "{}: {name} was deleted on doubt", self.text());
            let needed = name == *self.name && matches!(self.kind, Kind::DataPack | Kind::MapPack);
            let may = is_void || !needed && rules::may_remove(self.command, name.as_str(), &removed);
            assert!(may, "{}: {name} is gone", self.text());
        }
        if self.command.only_reads() {
            let (before, after) = (objects(before, ""), objects(after, ""));
            let may_add = |name: &ObjectName| rules::may_add(self.command, name.as_str());
            let new = after.iter().filter(|name| !before.contains(name) && !may_add(name));
            assert_eq!(new.collect::<Vec<_>>(), Vec::<&ObjectName>::new(), "{}", self.text());
        }
    }

    fn removed(&self) -> impl Iterator<Item = &Backup> {
        let names = rules::removed(self.kind, self.form(), self.command);
        self.props.backups.iter().filter(|backup| names.contains(&backup.name))
    }

    fn lasting(&self) -> impl Iterator<Item = &Backup> {
        let names = rules::removed(self.kind, self.form(), self.command);
        self.props.backups.iter().filter(|backup| !names.contains(&backup.name))
    }

    /// With the damage as it is: what does not need the object comes back, and no wrong byte does.
    fn check_restores(&self, storage: &Arc<Memory>, answer: &mut Answer) {
        let Some(host) = answer.host.take() else {
            assert_eq!(self.kind, Kind::Descriptor);
            return;
        };
        let host = host.reopen(storage.clone(), NOW).expect("it was opened before");
        let mut needing = rules::needing(self.kind, self.form());
        if self.command == Command::Repair && matches!(self.kind, Kind::DataPack | Kind::MapPack) {
            // From the other repository.
            needing = &[];
        }
        for backup in self.lasting() {
            if let Err(error) = host.restore(backup) {
                assert!(needing.contains(&backup.name), "{}: {} is lost: {error}", self.text(), backup.name);
            }
        }
        if let Some(made) = &answer.made
            && let Err(error) = host.restore(made)
        {
            // What nobody has read yet is taken for whole.
            let silent = rules::is_in_frames(self.form()) && error.contains(self.identity());
            assert!(silent, "{}: {} is lost: {error}", self.text(), made.name);
        }
    }

    fn check_healed(&self, storage: Arc<Memory>) {
        let host = Host::open(storage, NOW).unwrap_or_else(|error| panic!("{}: {error}", self.text()));
        for backup in self.lasting() {
            if let Err(error) = host.restore(backup) {
                panic!("{}: {} does not come back with the object as it was: {error}", self.text(), backup.name);
            }
        }
    }
}
