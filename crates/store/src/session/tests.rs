//! A name may be another's by the time a session looks again.

use std::collections::BTreeMap;
use std::sync::Arc;

use cinderblock_backend::Memory;
use cinderblock_chunker::ChunkSize;

use super::*;
use crate::fence::Collector;
use crate::id::{BackupId, VolumeId};
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
