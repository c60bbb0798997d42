use std::collections::BTreeMap;
use std::sync::Arc;

use cinderblock_backend::{Faulty, Kind, Memory, Rule};
use cinderblock_chunker::ChunkSize;
use cinderblock_store::map::{Node, Shape};
use cinderblock_store::{Chunking, OpenOptions, Record, Statistics};

use super::*;

const HOUR: i64 = 3_600_000_000;

struct Place {
    storage: Arc<Faulty<Memory>>,
    _cache: tempfile::TempDir,
    repository: Repository,
    pool: ThreadPool,
}

fn id(number: u8) -> BackupId {
    BackupId::from_bytes([number; 16])
}

fn volume(name: &str) -> VolumeId {
    VolumeId::new(name).unwrap()
}

/// A repository with a backup of each volume in each of the first so many hours of 1970.
fn place(volumes: &[&str], hours: u8) -> Place {
    let (storage, cache) = (Arc::new(Faulty::new(Memory::new())), tempfile::tempdir().unwrap());
    Repository::create(&*storage, ChunkSize::DEFAULT).unwrap();
    let repository = Repository::open(storage.clone(), &OpenOptions::new(cache.path())).unwrap();
    for name in volumes {
        for hour in 0..hours {
            let session = repository.start_session("a test").unwrap();
            let mut record = Record {
                id: id(hour),
                volume: volume(name),
                created_at: Timestamp::from_microseconds(i64::from(hour) * HOUR),
                volume_bytes: 0,
                name: None,
                description: None,
                parent: None,
                chunking: Chunking::Fixed,
                compression: "none".to_owned(),
                statistics: Statistics::default(),
                attributes: BTreeMap::new(),
                chunk_bytes: 0,
                data_packs: Vec::new(),
                map_packs: Vec::new(),
                hints_complete: true,
                map: Node { shape: Shape::Fixed, level: 0, items: Vec::new() },
                session: session.id(),
            };
            session.commit(&mut record).unwrap();
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    Place { storage, _cache: cache, repository, pool }
}

impl Place {
    fn decide(&self, last: &str) -> Vec<Decision> {
        let policy = Policy { last: last.parse().unwrap(), ..Policy::default() };
        let read = records::read(&self.pool, &self.repository, None, &CancelToken::default(), |r| r.created_at);
        let (decisions, doubtful) = decide(&self.repository, &policy, &TimeZone::UTC, read.unwrap()).unwrap();
        assert_eq!(doubtful, 0);
        decisions
    }

    fn remove(&self, decisions: &mut [Decision], cancel: &CancelToken) {
        remove(&self.pool, &self.repository, decisions, cancel);
    }

    fn backups(&self) -> Vec<(VolumeId, BackupId)> {
        let mut backups = self.repository.backups(None).unwrap();
        backups.sort();
        backups
    }
}

#[test]
fn one_that_fails_keeps_no_other_from_being_deleted() {
    let place = place(&["a", "b"], 4);
    let mut decisions = place.decide("1");
    place.storage.add(Rule::on(Kind::Delete).prefix(format!("backups/a/{}", id(1))));
    place.remove(&mut decisions, &CancelToken::default());
    let failed: Vec<_> = decisions.iter().filter(|d| matches!(d.outcome, Outcome::Failed(_))).map(|d| d.id).collect();
    assert_eq!(failed, [id(1)]);
    assert_eq!(place.backups(), [(volume("a"), id(1)), (volume("a"), id(3)), (volume("b"), id(3))]);
}

#[test]
fn nothing_is_deleted_after_somebody_asked_to_stop() {
    let place = place(&["a"], 4);
    let mut decisions = place.decide("1");
    let cancel = CancelToken::default();
    cancel.cancel();
    place.remove(&mut decisions, &cancel);
    assert_eq!(decisions.iter().filter(|d| matches!(d.outcome, Outcome::Unwanted)).count(), 3);
    assert_eq!(place.backups().len(), 4);
    let read = records::read(&place.pool, &place.repository, None, &cancel, |_| ());
    assert!(read.is_err());
}

#[test]
fn what_is_protected_or_deleted_meanwhile_is_no_failure() {
    let place = place(&["a"], 4);
    let mut decisions = place.decide("1");
    place.repository.set_mark(&volume("a"), id(0), |mark| mark.protected = true).unwrap();
    place.repository.delete_backup(&volume("a"), id(1)).unwrap();
    place.remove(&mut decisions, &CancelToken::default());
    assert!(decisions.iter().all(|d| matches!(d.outcome, Outcome::Kept(_) | Outcome::Removed)));
    assert_eq!(place.backups(), [(volume("a"), id(0)), (volume("a"), id(3))]);
}
