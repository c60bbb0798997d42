//! A repository in which there is something of every kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use cinderblock_backend::{AppendOnly, Faulty, Kind as Operation, Memory, ObjectName, Rule};
use cinderblock_pipeline::{Control, ReadData, RepairOptions, VerifyOptions};
use cinderblock_store::pack::Content;
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::{PackId, Session, Timestamp};

use super::image::{Image, noise};
use super::{CHUNK, ENGINE, Host, IN_THREE_DAYS, NOW, Scene, bytes_of, is_encrypted, objects, overwrite};

/// The kinds of objects in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Descriptor,
    /// With the chunks that A and B share.
    DataPack,
    /// With the nodes of A's map.
    MapPack,
    /// That names both.
    Segment,
    /// A's.
    Record,
    /// The only announcement of a session that crashed.
    Session,
    /// The second of two.
    Renewal,
    /// A's, which protects it.
    Mark,
    /// Of packs with garbage, begun by a collector that had to wait.
    Collection,
    /// Of a collector that crashed.
    Fence,
    /// Of the session of X, a backup that came too late and is none.
    Tombstone,
    /// Of a chunk of H, which was stored again.
    Note,
    /// How far two scrubs have come.
    Cursor,
    /// Of a session that could not remove its announcement.
    Ended,
}

impl Kind {
    pub const ALL: [Kind; 14] = [
        Kind::Descriptor,
        Kind::DataPack,
        Kind::MapPack,
        Kind::Segment,
        Kind::Record,
        Kind::Session,
        Kind::Renewal,
        Kind::Mark,
        Kind::Collection,
        Kind::Fence,
        Kind::Tombstone,
        Kind::Note,
        Kind::Cursor,
        Kind::Ended,
    ];
}

/// An object that is to be damaged, and what may stand in its place.
#[derive(Clone, Debug)]
pub struct Victim {
    pub name: ObjectName,
    pub bytes: Vec<u8>,
    /// Another one of its kind.
    pub other: Option<Vec<u8>>,
    /// What stood for the same thing before.
    pub older: Option<Vec<u8>>,
}

#[derive(Debug)]
pub struct Full {
    pub scene: Scene,
    /// With copies of all backups.
    pub replica: Arc<Memory>,
    pub victims: BTreeMap<Kind, Victim>,
    /// The record of X, a backup that came too late and is none.
    pub late: Option<ObjectName>,
}

fn only<T: Copy>(items: &[T]) -> T {
    assert_eq!(items.len(), 1, "one is expected");
    items[0]
}

impl Full {
    pub fn make() -> Self {
        let scene = Scene::plain();
        let mut full = Self { scene, replica: Arc::new(Memory::new()), victims: BTreeMap::new(), late: None };
        full.bury();
        full.scene = std::mem::take(&mut full.scene).with_garbage();
        full.crash_sessions();
        full.condemn();
        full.note_damage();
        full.fence();
        full.end_sessions();
        full.protect();
        full.scrub();
        full.replica = full.scene.replica();
        full.find_what_was_made_first();
        full
    }

    fn storage(&self) -> Arc<Memory> {
        self.scene.storage.clone()
    }

    fn get(&self, name: &ObjectName) -> Vec<u8> {
        bytes_of(&*self.scene.storage, name).expect("the object is there")
    }

    fn put(&mut self, kind: Kind, name: &ObjectName, other: Option<&ObjectName>, older: Option<Vec<u8>>) {
        let other = other.map(|name| self.get(name));
        self.victims.insert(kind, Victim { name: name.clone(), bytes: self.get(name), other, older });
    }

    /// The record of a session that was declared ended appears after that.
    fn bury(&mut self) {
        let faulty = Arc::new(Faulty::new(self.storage()));
        faulty.add(Rule::on(Operation::Put).prefix("backups/").performed());
        faulty.add(Rule::on(Operation::Get).prefix("backups/"));
        let host = Host::open(faulty, NOW).expect("the repository can be opened");
        let before = objects(&*self.storage(), "backups/");
        host.back_up("five", &Image::of_chunks(&[(0, 13, 10)]), 50).expect_err("it is not known what became of it");
        let now = objects(&*self.storage(), "backups/");
        let record = only(&now.iter().filter(|name| !before.contains(name)).collect::<Vec<_>>()).clone();
        let bytes = self.get(&record);
        overwrite(&*self.storage(), &record, None);
        std::mem::forget(self.scene.host().repository.start_session("another one").expect("a session"));
        let later = Host::open(self.storage(), IN_THREE_DAYS).expect("the repository can be opened");
        assert_eq!(later.collect_garbage().expect("a collection").ended.len(), 2);
        let buried = objects(&*self.storage(), "tombstones/");
        // Bytes 48 to 63 of a record are its session.
        let of_x = |name: &&ObjectName| hex(&bytes[48..64]) == name.file_name();
        let (tombstone, other) = (buried.iter().find(of_x).unwrap(), buried.iter().find(|name| !of_x(name)).unwrap());
        overwrite(&*self.storage(), &record, Some(&bytes));
        self.put(Kind::Tombstone, tombstone, Some(other), None);
        self.late = Some(record);
    }

    /// One session renewed its announcement and stored a pack, another one did neither.
    fn crash_sessions(&mut self) {
        let host = self.scene.host();
        let long = host.repository.start_session("a long one").expect("a session");
        let short = host.repository.start_session("another one").expect("a session");
        let plain = noise(14, CHUNK);
        let listed = FrameChunk { id: host.repository.ids().chunk(&plain), length: CHUNK as u32 };
        let mut packs = long.pack_builder(Content::Data);
        packs.push(frame::encode(&plain, vec![listed], true, Compression::default()).unwrap()).unwrap();
        host.clock.advance(std::time::Duration::from_secs(600));
        long.store_pack(&packs.finish().unwrap().unwrap()).expect("a pack");
        let name = |session: &Session<'_>, number: u32| {
            ObjectName::new(format!("sessions/{}/{number:08}", session.id())).expect("a name")
        };
        let first = self.get(&name(&long, 1));
        self.put(Kind::Session, &name(&short, 1), Some(&name(&long, 1)), None);
        self.put(Kind::Renewal, &name(&long, 2), Some(&name(&short, 1)), Some(first));
        std::mem::forget((long, short));
    }

    /// Garbage is condemned, and not deleted yet.
    fn condemn(&mut self) {
        let collect = |storage: Arc<Memory>| {
            let host = Host::open(storage.clone(), NOW).expect("the repository can be opened");
            let report = host.collect_garbage().expect("a collection");
            assert!(report.condemned > 1 && report.repacked > 0 && report.deleted == 0, "{report:?}");
            only(&objects(&*storage, "gc/").iter().collect::<Vec<_>>()).clone()
        };
        let elsewhere = self.scene.fork();
        let other = collect(elsewhere.clone());
        let name = collect(self.storage());
        self.put(Kind::Collection, &name, None, None);
        self.victims.get_mut(&Kind::Collection).unwrap().other = bytes_of(&*elsewhere, &other);
    }

    /// Two chunks of H become damaged, one after the other, and are healed; where it is encrypted, two frames.
    fn note_damage(&mut self) {
        let host = self.scene.host();
        let image = Image::of_chunks(&[(0, 15, 100)]);
        let record = self.scene.back_up(&host, "H", "four", &image);
        let pack = only(&record.data_packs);
        let path = host.folder.path().join("volume");
        for at in [5000, 300_000] {
            self.flip(pack, at);
            let options = RepairOptions { read_data: true, sources: vec![path.clone()], ..RepairOptions::default() };
            let report = ENGINE.repair(&self.scene.host().repository, None, &options, &Control::default());
            let report = report.expect("a repair");
            let is_as_many = if is_encrypted() { report.noted > 1 } else { report.noted == 1 };
            assert!(is_as_many && report.healed == report.noted && report.damaged_backups.is_empty(), "{report:?}");
        }
        let notes = objects(&*self.storage(), "damage/");
        assert_eq!(notes.len(), 2);
        let first = self.get(&notes[0]);
        self.put(Kind::Note, &notes[1], Some(&notes[0]), Some(first));
    }

    fn flip(&self, pack: PackId, at: usize) {
        let name = ObjectName::new(self.scene.host().repository.pack_object(pack).unwrap()).unwrap();
        let mut bytes = self.get(&name);
        bytes[at] ^= 1;
        overwrite(&*self.storage(), &name, Some(&bytes));
    }

    /// A collector gives up on the sessions, and crashes before it declares them ended.
    fn fence(&mut self) {
        let faulty = Arc::new(Faulty::new(self.storage()));
        faulty.add(Rule::on(Operation::Put).prefix("tombstones/"));
        let host = Host::open(faulty, IN_THREE_DAYS).expect("the repository can be opened");
        host.collect_garbage().expect_err("a fault");
        let fences = objects(&*self.storage(), "fences/");
        assert_eq!(fences.len(), 2);
        self.put(Kind::Fence, &fences[0], Some(&fences[1]), None);
    }

    /// Two sessions end where they can't delete.
    fn end_sessions(&mut self) {
        let storage = Arc::new(AppendOnly::new(self.storage()));
        let host = Host::open(storage, NOW).expect("the repository can be opened");
        let names = ["one that can't delete", "another one"].map(|activity| {
            let session = host.repository.start_session(activity).expect("a session");
            ObjectName::new(format!("sessions/{}/ended", session.id())).expect("a name")
        });
        self.put(Kind::Ended, &names[0], Some(&names[1]), None);
    }

    /// Two scrubs read a part each.
    fn scrub(&mut self) {
        let run = |storage: Arc<Memory>| {
            let host = Host::open(storage.clone(), NOW).expect("the repository can be opened");
            let read_data = ReadData::Share("10".parse().expect("a share"));
            let options = VerifyOptions { backups: None, read_data };
            let report = ENGINE.verify(&host.repository, &options, &Control::default()).expect("a verification");
            assert!(report.is_clean() && report.sample.is_some_and(|sample| !sample.round_ended));
            only(&objects(&*storage, "scrub/").iter().collect::<Vec<_>>()).clone()
        };
        let elsewhere = self.scene.fork();
        let other = run(elsewhere.clone());
        let first = run(self.storage());
        let older = self.get(&first);
        let name = run(self.storage());
        self.put(Kind::Cursor, &name, None, Some(older));
        self.victims.get_mut(&Kind::Cursor).unwrap().other = bytes_of(&*elsewhere, &other);
    }

    /// A's protection was to end once, and then not any more.
    fn protect(&mut self) {
        let host = self.scene.host();
        for name in ["A", "F"] {
            let backup = self.scene.backup(name).clone();
            let until = Timestamp::from_microseconds(4_000_000_000_000_000);
            let set = |until: Option<Timestamp>| {
                let set = host.repository.set_mark(&backup.volume, backup.id, |mark| {
                    (mark.protected, mark.protected_until) = (true, until);
                });
                set.expect("it can be protected");
                only(&objects(&*self.storage(), &format!("marks/{}/", backup.id)).iter().collect::<Vec<_>>()).clone()
            };
            let first = set(Some(until));
            let older = self.get(&first);
            let last = set(None);
            match self.victims.contains_key(&Kind::Mark) {
                false => self.put(Kind::Mark, &last, None, Some(older)),
                true => self.victims.get_mut(&Kind::Mark).unwrap().other = Some(self.get(&last)),
            }
        }
    }

    /// The objects of A, and of C for others of their kind.
    fn find_what_was_made_first(&mut self) {
        let host = self.scene.host();
        let repository = &host.repository;
        let [a, c] = ["A", "C"].map(|name| {
            let backup = self.scene.backup(name);
            repository.record(&backup.volume, backup.id).expect("a record")
        });
        let pack = |id| ObjectName::new(repository.pack_object(id).unwrap()).unwrap();
        let data = [&a, &c].map(|record| pack(record.data_packs[0]));
        let maps = [&a, &c].map(|record| pack(record.map_packs[0]));
        let mut segments = repository.list_segments().expect("segments");
        segments.sort_by_key(|id| {
            let names = repository.check_segment(*id).expect("a segment");
            !names.contains(&a.data_packs[0])
        });
        let segments = [segments[0], segments[1]];
        let segments = segments.map(|id| ObjectName::new(repository.segment_object(id).unwrap()).unwrap());
        self.put(Kind::Descriptor, &ObjectName::new("cinderblock.json").unwrap(), None, None);
        self.put(Kind::DataPack, &data[0], Some(&data[1]), None);
        self.put(Kind::MapPack, &maps[0], Some(&maps[1]), None);
        self.put(Kind::Segment, &segments[0], Some(&segments[1]), None);
        let records = [&a, &c].map(|record| repository.record_object(&record.volume, record.id).unwrap());
        self.put(Kind::Record, &records[0], Some(&records[1]), None);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
