//! A name may be another's by the time a session looks again.

use std::collections::BTreeMap;
use std::sync::Arc;

use cinderblock_backend::{AppendOnly, Backend, Faulty, Kind, Memory, Rule};
use cinderblock_chunker::ChunkSize;

use super::*;
use crate::fence::Collector;
use crate::gc::{GcOptions, GcReport, Observer};
use crate::id::{BackupId, VolumeId};
use crate::listing;
use crate::map::{Item, Node, Shape};
use crate::record::{Chunking, Statistics};
use crate::repository::OpenOptions;
use crate::time::Timestamp;

fn repository() -> Result<(tempfile::TempDir, Repository), Error> {
    let storage = Arc::new(Memory::new());
    Repository::create(&*storage, ChunkSize::MINIMUM)?;
    let cache = tempfile::tempdir().expect("a folder");
    let repository = Repository::open(storage, &OpenOptions::new(cache.path()))?;
    Ok((cache, repository))
}

/// The record of a volume of one chunk of zeros.
fn record(session: &Session<'_>) -> Result<Record, Error> {
    Ok(Record {
        id: BackupId::from_bytes([1; 16]),
        volume: VolumeId::new("vm")?,
        created_at: Timestamp::from_microseconds(0),
        volume_bytes: 4096,
        name: None,
        description: None,
        parent: None,
        chunking: Chunking::Fixed,
        compression: "none".to_owned(),
        statistics: Statistics::default(),
        attributes: BTreeMap::new(),
        chunk_bytes: 4096,
        hints_complete: true,
        data_packs: vec![],
        map_packs: vec![],
        map: Node { shape: Shape::Fixed, level: 0, items: vec![Item::Zeros(1)] },
        session: session.id(),
    })
}

fn bury(repository: &Repository, session: SessionId) -> Result<(), Error> {
    let collector = SessionId::from_bytes([7; 16]);
    let collector = Collector { backend: repository.backend(), seal: repository.seal(), session: collector };
    collector.bury(session, repository.now())
}

/// A writer whose put took days: a collector had given up on it, its void record was removed, and the backup was made again under the
/// same id. When it went on, it removed that one.
#[test]
fn a_session_that_was_buried_leaves_the_record_that_has_its_name_now() -> Result<(), Error> {
    let (_cache, repository) = repository()?;
    let late = repository.start_session("stalls")?;
    let old = record(&late)?;
    bury(&repository, late.id())?;
    let again = repository.start_session("the same backup again")?;
    let mut new = record(&again)?;
    let writer = again.id();
    again.commit(&mut new)?;
    late.take_back(&old)?;
    assert_eq!(repository.record(&new.volume, new.id)?.session, writer);
    Ok(())
}

/// With only a fence, it takes back its own record, and nobody else's.
#[test]
fn a_session_that_is_fenced_takes_back_only_its_own_record() -> Result<(), Error> {
    let (_cache, repository) = repository()?;
    let (fenced, other) = (repository.start_session("fenced")?, repository.start_session("other")?);
    let (own, mut others) = (record(&fenced)?, record(&other)?);
    let name = repository.record_object(&own.volume, own.id)?;
    own.write(repository.backend(), repository.seal(), &name)?;
    fenced.take_back(&own)?;
    assert!(matches!(repository.record(&own.volume, own.id), Err(Error::BackupNotFound { .. })));
    other.commit(&mut others)?;
    fenced.take_back(&own)?;
    assert!(repository.record(&own.volume, own.id).is_ok());
    Ok(())
}

/// A late record that does not count kept its id from being used, and the session that met it from ending.
#[test]
fn a_void_record_in_the_way_is_told_and_the_session_leaves() -> Result<(), Error> {
    let (_cache, repository) = repository()?;
    let late = repository.start_session("stalls")?;
    bury(&repository, late.id())?;
    let void = record(&late)?;
    let name = repository.record_object(&void.volume, void.id)?;
    void.write(repository.backend(), repository.seal(), &name)?;
    drop(late);
    let again = repository.start_session("the same backup again")?;
    let mut new = record(&again)?;
    assert!(matches!(again.commit(&mut new), Err(Error::VoidRecord { .. })));
    assert!(repository.sessions()?.is_empty());
    Ok(())
}

/// A repository, and the same one for a process that may not delete.
fn append_only() -> Result<(tempfile::TempDir, Repository, Repository), Error> {
    let storage = Arc::new(Memory::new());
    Repository::create(&*storage, ChunkSize::MINIMUM)?;
    let cache = tempfile::tempdir().expect("a folder");
    let all = Repository::open(Arc::clone(&storage) as Arc<dyn Backend>, &OpenOptions::new(cache.path()))?;
    let options = OpenOptions::new(cache.path());
    let appending = Repository::open(Arc::new(AppendOnly::new(storage)), &options)?;
    Ok((cache, all, appending))
}

fn collect(repository: &Repository) -> Result<GcReport, Error> {
    let options = GcOptions { grace: std::time::Duration::ZERO, ..GcOptions::default() };
    repository.collect_garbage(&options, &Observer::new(&|_| true))
}

/// Its announcement stays; nobody waits for it, and a collector removes it.
#[test]
fn a_session_that_cannot_delete_says_that_it_has_ended() -> Result<(), Error> {
    let (_cache, repository, appending) = append_only()?;
    let session = appending.start_session("may not delete")?;
    session.renew(&mut session.announced(), |_| ())?;
    session.renew(&mut session.announced(), |_| ())?;
    assert!(repository.sessions()?[0].is_at_work());
    let mut new = record(&session)?;
    session.commit(&mut new)?;
    assert!(appending.deletes_refused() && !repository.deletes_refused());
    let sessions = repository.sessions()?;
    assert!(sessions.len() == 1 && sessions[0].ended && sessions[0].numbers == [1, 2, 3]);
    let report = collect(&repository)?;
    assert!(report.ended.is_empty() && report.waiting.is_empty(), "{report:?}");
    assert!(repository.sessions()?.is_empty() && listing::any(repository.backend(), "sessions/")?.is_none());
    assert!(repository.record(&new.volume, new.id).is_ok());
    Ok(())
}

/// One that makes no backup ends too, and one of which it is not known what becomes of its record does not.
#[test]
fn a_session_that_cannot_delete_says_so_only_when_all_is_certain() -> Result<(), Error> {
    let (_cache, repository, appending) = append_only()?;
    drop(appending.start_session("makes no backup")?);
    let session = appending.start_session("lost its answer")?;
    session.abandon();
    let id = session.id();
    drop(session);
    let at_work = |info: &SessionInfo| info.is_at_work().then_some(info.id);
    assert_eq!(repository.sessions()?.iter().filter_map(at_work).collect::<Vec<_>>(), [id]);
    Ok(())
}

/// Fenced, it can't take its record back: it declares it void, so that no reader, and no collector, takes it for a backup.
#[test]
fn a_fenced_session_that_cannot_delete_leaves_a_void_record() -> Result<(), Error> {
    let (_cache, repository, appending) = append_only()?;
    let session = appending.start_session("fenced")?;
    let late = record(&session)?;
    let name = repository.record_object(&late.volume, late.id)?;
    late.write(repository.backend(), repository.seal(), &name)?;
    assert!(repository.record(&late.volume, late.id).is_ok());
    session.take_back(&late)?;
    assert!(matches!(repository.record(&late.volume, late.id), Err(Error::BackupNotFound { .. })));
    drop(session);
    let report = collect(&repository)?;
    assert_eq!(report.removed_records, [(late.volume.clone(), late.id)]);
    assert!(repository.backups(None)?.is_empty());
    Ok(())
}

/// Where credentials forbid it and nobody has said so, it is the same, and a backup that was committed is one. A session that was at
/// work for long failed when it removed an old announcement.
#[test]
fn credentials_that_may_not_delete_make_no_backup_fail() -> Result<(), Error> {
    let storage = Faulty::new(Memory::new());
    Repository::create(&storage, ChunkSize::MINIMUM)?;
    storage.add(Rule::on(Kind::Delete).error(|request| cinderblock_backend::Error::AccessDenied {
        operation: "delete",
        name: request.name.to_owned(),
        advice: "ask somebody".to_owned(),
        source: "403".into(),
    }));
    let cache = tempfile::tempdir().expect("a folder");
    let repository = Repository::open(Arc::new(storage), &OpenOptions::new(cache.path()))?;
    let session = repository.start_session("may not delete")?;
    session.renew(&mut session.announced(), |_| ())?;
    session.renew(&mut session.announced(), |_| ())?;
    let mut new = record(&session)?;
    session.commit(&mut new)?;
    assert!(repository.deletes_refused() && repository.sessions()?[0].ended);
    Ok(())
}

/// Two collectors gave up on a writer. The first had looked for its record before that was put, and stood still before its verdict; the second saw the record,
/// and took the fences of both away. The writer found none and reported a backup, which the first one's tombstone made void.
#[test]
fn a_fence_is_its_collectors_alone() -> Result<(), Error> {
    let storage = Arc::new(Memory::new());
    Repository::create(&*storage, ChunkSize::MINIMUM)?;
    let caches = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let faulty = Arc::new(Faulty::new(storage.clone()));
    let writer = Repository::open(faulty.clone(), &OpenOptions::new(caches[0].path()))?;
    let second = &Repository::open(storage.clone(), &OpenOptions::new(caches[1].path()))?;
    let session = writer.start_session("backup")?;
    let id = session.id();
    let first = SessionId::from_bytes([7; 16]);
    let first = move || Collector { backend: second.backend(), seal: second.seal(), session: first };

    std::thread::scope(|threads| {
        let (asked, steps) = std::sync::mpsc::channel();
        let (done, go_on) = std::sync::mpsc::channel();
        // The writer stands still before its record is put, and before it looks for fences after that.
        let (go_on, looks) = (Mutex::new(go_on), AtomicU32::new(0));
        faulty.add(Rule::any().when(move |request| {
            let looks_now = request.kind == Kind::List && request.name.starts_with("fences/");
            let number = looks.fetch_add(u32::from(looks_now), Ordering::Relaxed);
            let puts_record = request.kind == Kind::Put && request.name.starts_with("backups/");
            if puts_record || looks_now && number == 1 {
                asked.send(puts_record).expect("somebody waits for it");
                go_on.lock().expect("one at a time").recv().expect("an answer");
            }
            false
        }));
        let others = threads.spawn(move || {
            for puts_record in steps.iter().take(2) {
                if puts_record {
                    first().fence(id, second.now())?;
                } else {
                    let options =
                        GcOptions { grace: Duration::ZERO, fence_after: Duration::ZERO, ..GcOptions::default() };
                    second.collect_garbage(&options, &Observer::new(&|_| true))?;
                }
                done.send(()).expect("the writer waits for it");
            }
            // It saw no record when it looked.
            first().bury(id, second.now())?;
            first().lift(id)?;
            Ok::<_, Error>(())
        });
        let mut record = record(&session)?;
        let committed = session.commit(&mut record);
        others.join().expect("no panic")?;
        assert!(matches!(committed, Err(Error::Fenced { .. })), "{committed:?}");
        Ok::<_, Error>(())
    })?;
    assert!(fence::is_buried(&*storage, id)?);
    // What the first collector left goes with the next collection.
    collect(&writer)?;
    assert_eq!(listing::any(&*storage, layout::FENCES)?, None);
    Ok(())
}
