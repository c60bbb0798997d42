//! The index as a whole, on storage in memory.

use std::sync::Arc;

use cinderblock_backend::Memory;
use cinderblock_chunker::ChunkSize;
use rocksdb::{ColumnFamilyDescriptor, DB, Options};

use crate::damage::Notes;
use crate::error::Error;
use crate::id::{ChunkId, SegmentId};
use crate::index::database::Database;
use crate::index::intake::Intake;
use crate::listing;
use crate::pack::{Content, frame};
use crate::repository::{OpenOptions, Repository};
use crate::segment;

struct Case {
    storage: Arc<Memory>,
    cache: tempfile::TempDir,
}

impl Case {
    fn new() -> Result<Self, Error> {
        let case = Self { storage: Arc::new(Memory::new()), cache: tempfile::tempdir().expect("a folder") };
        Repository::create(&*case.storage, ChunkSize::DEFAULT)?;
        Ok(case)
    }

    fn open(&self) -> Result<Repository, Error> {
        Repository::open(self.storage.clone(), &OpenOptions::new(self.cache.path()))
    }

    fn segments(&self) -> Result<Vec<SegmentId>, Error> {
        listing::segments(&*self.storage)
    }
}

fn id(number: u32) -> ChunkId {
    ChunkId::of(&number.to_le_bytes())
}

/// Stores these chunks, each in a pack and a segment of its own.
fn store(repository: &Repository, numbers: std::ops::Range<u32>) -> Result<(), Error> {
    store_ids(repository, numbers.map(id))
}

fn store_ids(repository: &Repository, ids: impl Iterator<Item = ChunkId>) -> Result<(), Error> {
    let session = repository.start_session("a test")?;
    for id in ids {
        let mut packs = session.pack_builder(Content::Data);
        let chunks = vec![frame::FrameChunk { id, length: 4 }];
        packs.push(frame::encode(b"text", chunks, true, frame::Compression::None)?)?;
        session.store_pack(&packs.finish()?.expect("a pack"))?;
        session.flush()?;
    }
    Ok(())
}

fn assert_found(repository: &Repository, numbers: std::ops::Range<u32>) -> Result<(), Error> {
    let ids: Vec<_> = numbers.map(id).collect();
    for id in &ids {
        assert!(repository.indexed_place(id)?.is_some(), "{id}");
    }
    let mut places = Vec::new();
    repository.locate(&ids, &mut places)?;
    assert!(places.iter().all(Option::is_some), "{places:?}");
    Ok(())
}

#[test]
fn an_index_of_an_older_layout_is_made_anew() -> Result<(), Error> {
    let case = Case::new()?;
    let repository = case.open()?;
    store(&repository, 0..3)?;
    assert_found(&repository, 0..3)?;
    let path = super::folder(repository.index_folder());
    let packs = repository.packs()?;
    drop(repository);

    // As schema 2 had it: up to date with the segments, keys of 16 bytes.
    std::fs::remove_dir_all(&path).expect("removed");
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let families = ["default", "chunks"].map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
    let old = DB::open_cf_descriptors(&options, &path, families).expect("a database");
    old.put(b"schema", b"2").expect("written");
    old.put(b"repository", case.open()?.id().as_bytes()).expect("written");
    for segment in case.segments()? {
        let names: Vec<u8> = packs.iter().flat_map(|pack| *pack.id.as_bytes()).collect();
        old.put([b"S", &segment.as_bytes()[..]].concat(), names).expect("written");
    }
    let chunks = old.cf_handle("chunks").expect("chunks");
    (0..3).for_each(|number| old.put_cf(chunks, &id(number).as_bytes()[..16], [0; 6]).expect("written"));
    drop(old);

    let repository = case.open()?;
    assert_found(&repository, 0..3)?;
    assert!(Database::open_to_read(&path, 1 << 20)?.is_for(repository.id())?);
    Ok(())
}

#[test]
fn many_segments_at_once_are_followed_as_few_are() -> Result<(), Error> {
    let case = Case::new()?;
    let repository = case.open()?;
    for numbers in [0..1, 1..40, 40..43, 43..80] {
        store(&repository, numbers.clone())?;
        assert_found(&repository, 0..numbers.end)?;
        assert_eq!(repository.packs()?.len(), numbers.end as usize);
    }
    assert!(repository.indexed_place(&id(80))?.is_none());
    assert!(!repository.index_folder().join("sorting").exists());
    repository.rebuild_index()?;
    assert_found(&repository, 0..80)
}

/// A collector had put one segment in the place of many, and not removed those yet, when a host read all of them at once: it knew each pack twice.
#[test]
fn packs_that_two_of_many_segments_name_are_known_once() -> Result<(), Error> {
    let case = Case::new()?;
    let repository = case.open()?;
    store(&repository, 0..1)?;
    assert_found(&repository, 0..1)?;
    let old = case.segments()?;
    store(&repository, 1..30)?;
    let mut packs = Vec::new();
    for segment in case.segments()?.into_iter().filter(|segment| !old.contains(segment)) {
        packs.extend(segment::read(&*case.storage, repository.seal(), segment)?.1);
    }
    let session = repository.start_session("a collector")?;
    segment::write(&*case.storage, repository.seal(), session.id(), &packs)?;
    let other = case.open()?;
    assert_found(&other, 0..30)?;
    assert_eq!(other.packs()?.len(), 30);
    Ok(())
}

#[test]
fn what_a_killed_process_was_sorting_is_removed() -> Result<(), Error> {
    let case = Case::new()?;
    let repository = case.open()?;
    store(&repository, 0..2)?;
    let folder = repository.index_folder().join("sorting");
    std::fs::create_dir_all(&folder).expect("made");
    for name in ["0.run", "0-0.sst"] {
        std::fs::write(folder.join(name), b"half a file").expect("written");
    }
    assert_found(&repository, 0..2)?;
    assert!(!folder.exists());
    Ok(())
}

/// A pack must not count as known before its chunks are: it would be skipped when its segment is read again.
#[test]
fn a_crash_before_chunks_are_marked_as_taken_loses_none() -> Result<(), Error> {
    let case = Case::new()?;
    let repository = case.open()?;
    store(&repository, 0..1)?;
    assert_found(&repository, 0..1)?;
    let path = super::folder(repository.index_folder());
    store(&repository, 1..40)?;
    {
        let database = Database::open_to_write(&path, 1 << 20)?;
        let known: Vec<SegmentId> = database.segments()?;
        let mut intake = Intake::many(&database, repository.index_folder(), 1 << 20, false)?;
        for segment in case.segments()?.into_iter().filter(|segment| !known.contains(segment)).take(30) {
            let (_, packs) = segment::read(&*case.storage, repository.seal(), segment)?;
            intake.add(&packs, &Notes::default())?;
            intake.add_segment(segment, &packs)?;
        }
        drop(intake.ingest()?);
        database.finish()?;
    }
    assert_found(&case.open()?, 0..40)
}

/// The index knows ten bytes of an id. Whoever has the other chunk stores it again, and is never given this one.
#[test]
fn of_two_chunks_with_one_key_one_is_found() -> Result<(), Error> {
    let case = Case::new()?;
    let twins = [1, 2].map(|last| ChunkId::from_bytes(std::array::from_fn(|at| if at < 10 { 7 } else { last })));
    store_ids(&case.open()?, twins.into_iter())?;
    for rebuilt in [false, true] {
        if rebuilt {
            case.open()?.rebuild_index()?;
        }
        let mut found = 0;
        for id in twins {
            let (repository, mut places) = (case.open()?, Vec::new());
            repository.locate(&[id], &mut places)?;
            for place in places.into_iter().flatten() {
                assert_eq!(place.pack.directory().ids(), [id]);
                found += 1;
            }
        }
        assert_eq!(found, 1);
    }
    Ok(())
}
