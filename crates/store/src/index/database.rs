//! The RocksDB part of the index.

use std::path::{Path, PathBuf};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, FlushOptions, IngestExternalFileOptions,
    IteratorMode, Options, WaitForCompactOptions, WriteBatch, WriteOptions,
};

use crate::error::Error;
use crate::id::{ChunkId, PackId, RepositoryId, SegmentId};
use crate::index::Index;
use crate::index::entry::{self, Entry, KEY_BYTES};
use crate::pack::Content;
use crate::segment::PackSummary;

/// Changes when what is stored under the keys changes; another one means: rebuild.
const SCHEMA: &[u8] = b"3";

const CHUNKS: &str = "chunks";

// Keys of the default column family.
const KEY_SCHEMA: &[u8] = b"schema";
const KEY_REPOSITORY: &[u8] = b"repository";
const KEY_NEXT_PACK: &[u8] = b"next pack";
const PREFIX_PACK: u8 = b'P';
const PREFIX_PACK_NUMBER: u8 = b'N';
const PREFIX_SEGMENT: u8 = b'S';

/// Level-0 files at which a writer stays to compact them, so that look-ups stay cheap.
const COMPACT_AT_FILES: u64 = 8;

fn key(prefix: u8, rest: &[u8]) -> Vec<u8> {
    [&[prefix], rest].concat()
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// What the index knows of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackEntry {
    pub id: PackId,
    pub content: Content,
    /// Length of the whole object in bytes.
    pub object_bytes: u64,
}

impl PackEntry {
    fn encode(&self) -> Vec<u8> {
        let map = u8::from(self.content == Content::Map);
        [&self.id.as_bytes()[..], &[map], &self.object_bytes.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let id = PackId::from_bytes(bytes.get(..16)?.try_into().ok()?);
        let content = if *bytes.get(16)? == 1 { Content::Map } else { Content::Data };
        Some(Self { id, content, object_bytes: u64::from_be_bytes(bytes.get(17..25)?.try_into().ok()?) })
    }
}

/// An open database, for reading or for writing.
pub(crate) struct Database {
    db: DB,
    path: PathBuf,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // All files open from the start: a reader is not disturbed when a writer deletes what it compacted.
    options.set_max_open_files(-1);
    options.set_max_file_opening_threads(1);
    options.set_keep_log_file_num(1);
    options.set_log_level(rocksdb::LogLevel::Error);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_max_total_wal_size(1 << 20);
    // Else 4 MiB are taken and given back whenever it is opened, which a cache in memory feels.
    options.set_manifest_preallocation_size(64 << 10);
    // Chunks and the mark that their segment was read become durable together.
    options.set_atomic_flush(true);
    options.set_skip_stats_update_on_db_open(true);
    options
}

fn pack_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options
}

fn chunk_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(4 << 10);
    table.set_ribbon_filter(10.0);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options.set_write_buffer_size(16 << 20);
    options.set_target_file_size_base(64 << 20);
    options.set_optimize_filters_for_hits(false);
    options
}

impl Database {
    fn families(cache_bytes: usize) -> Vec<ColumnFamilyDescriptor> {
        let cache = Cache::new_lru_cache(cache_bytes);
        vec![
            ColumnFamilyDescriptor::new("default", pack_options(&cache)),
            ColumnFamilyDescriptor::new(CHUNKS, chunk_options(&cache)),
        ]
    }

    fn wrap(path: &Path, opened: Result<DB, rocksdb::Error>) -> Result<Self, Error> {
        let path = path.to_owned();
        match opened {
            Ok(db) => Ok(Self { db, path }),
            Err(source) => Err(Error::Index { path, source }),
        }
    }

    pub(crate) fn open_to_read(path: &Path, cache_bytes: usize) -> Result<Self, Error> {
        let opened = DB::open_cf_descriptors_read_only(&options(), path, Self::families(cache_bytes), false);
        Self::wrap(path, opened)
    }

    /// Opens to write; only under the exclusive lock.
    pub(crate) fn open_to_write(path: &Path, cache_bytes: usize) -> Result<Self, Error> {
        Self::wrap(path, DB::open_cf_descriptors(&options(), path, Self::families(cache_bytes)))
    }

    pub(super) fn failed(&self, source: rocksdb::Error) -> Error {
        Error::Index { path: self.path.clone(), source }
    }

    fn chunks(&self) -> Result<&rocksdb::ColumnFamily, Error> {
        let io = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the index has no table of chunks");
        self.db.cf_handle(CHUNKS).ok_or_else(|| Error::Cache { path: self.path.clone(), source: io() })
    }

    /// Whether it is the index of this repository, in the form that this program reads.
    pub(crate) fn is_for(&self, repository: RepositoryId) -> Result<bool, Error> {
        let get = |key| self.db.get(key).map_err(|source| self.failed(source));
        Ok(get(KEY_SCHEMA)?.as_deref() == Some(SCHEMA)
            && get(KEY_REPOSITORY)?.as_deref() == Some(repository.as_bytes()))
    }

    /// Marks a new database as this repository's.
    pub(crate) fn label(&self, repository: RepositoryId) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.put(KEY_SCHEMA, SCHEMA);
        batch.put(KEY_REPOSITORY, repository.as_bytes());
        self.write(batch)
    }

    pub(super) fn write(&self, batch: WriteBatch) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        // No log: what is lost in a crash is read from the segments again.
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(|source| self.failed(source))
    }

    fn with_prefix<T>(&self, prefix: u8, read: impl Fn(&[u8], &[u8]) -> Option<T>) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        for entry in self.db.iterator(IteratorMode::From(&[prefix], rocksdb::Direction::Forward)) {
            let (key, value) = entry.map_err(|source| self.failed(source))?;
            match key.split_first() {
                Some((first, rest)) if *first == prefix => found.extend(read(rest, &value)),
                _ => break,
            }
        }
        Ok(found)
    }

    /// The segments that were read into it.
    pub(crate) fn segments<C: FromIterator<SegmentId>>(&self) -> Result<C, Error> {
        let found = self.with_prefix(PREFIX_SEGMENT, |key, _| Some(SegmentId::from_bytes(key.try_into().ok()?)))?;
        Ok(found.into_iter().collect())
    }

    /// The packs that a segment which was read names.
    pub(crate) fn packs_of(&self, segment: SegmentId) -> Result<Vec<PackId>, Error> {
        let found =
            self.db.get_pinned(key(PREFIX_SEGMENT, segment.as_bytes())).map_err(|source| self.failed(source))?;
        let (ids, _) = found.as_deref().unwrap_or_default().as_chunks();
        Ok(ids.iter().map(|id| PackId::from_bytes(*id)).collect())
    }

    pub(crate) fn has_pack(&self, id: PackId) -> Result<bool, Error> {
        let found = self.db.get_pinned(key(PREFIX_PACK_NUMBER, id.as_bytes())).map_err(|source| self.failed(source))?;
        Ok(found.is_some())
    }

    /// The number of the next pack that is added.
    pub(super) fn next_pack(&self) -> Result<u32, Error> {
        let next = self.db.get_pinned(KEY_NEXT_PACK).map_err(|source| self.failed(source))?;
        Ok(next.and_then(|bytes| number(&bytes, 0)).unwrap_or(0))
    }

    /// Adds a pack, but not its chunks, to what is to be written.
    pub(super) fn put_pack(batch: &mut WriteBatch, number: u32, pack: &PackSummary) {
        let content = if pack.map { Content::Map } else { Content::Data };
        let entry = PackEntry { id: pack.id, content, object_bytes: pack.object_bytes };
        batch.put(KEY_NEXT_PACK, (number + 1).to_be_bytes());
        batch.put(key(PREFIX_PACK, &number.to_be_bytes()), entry.encode());
        batch.put(key(PREFIX_PACK_NUMBER, pack.id.as_bytes()), number.to_be_bytes());
    }

    /// Adds chunks to what is to be written.
    pub(super) fn put_chunks(&self, batch: &mut WriteBatch, entries: impl Iterator<Item = Entry>) -> Result<(), Error> {
        let chunks = self.chunks()?;
        for entry in entries {
            let bytes = entry.to_bytes();
            let (key, value) = bytes.split_at(KEY_BYTES);
            batch.put_cf(chunks, key, value);
        }
        Ok(())
    }

    /// Adds to what is to be written that a segment was read, and which packs it names.
    pub(super) fn put_segment(batch: &mut WriteBatch, segment: SegmentId, packs: &[PackSummary]) {
        let names: Vec<u8> = packs.iter().flat_map(|pack| *pack.id.as_bytes()).collect();
        batch.put(key(PREFIX_SEGMENT, segment.as_bytes()), names);
    }

    /// Makes sorted files of chunks a part of the database.
    pub(super) fn ingest(&self, options: &IngestExternalFileOptions, files: Vec<PathBuf>) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let chunks = self.chunks()?;
        self.db.ingest_external_file_cf_opts(chunks, options, files).map_err(|source| self.failed(source))
    }

    /// What files of chunks are written with.
    pub(super) fn file_options() -> Options {
        chunk_options(&Cache::new_lru_cache(0))
    }

    /// Makes everything durable, and compacts where many small files have come together.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let chunks = self.chunks()?;
        let failed = |source| self.failed(source);
        let default = self.db.cf_handle("default");
        let families: Vec<_> = default.into_iter().chain([chunks]).collect();
        self.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(failed)?;
        let files = self.db.property_int_value_cf(chunks, "rocksdb.num-files-at-level0").map_err(failed)?;
        if files.unwrap_or(0) >= COMPACT_AT_FILES {
            self.db.wait_for_compact(&WaitForCompactOptions::default()).map_err(failed)?;
        }
        Ok(())
    }

    /// Forgets all packs but those that `is_there` says are; how many it forgot, and how many it knows still. Chunks that it
    /// had in the others have no place any more.
    pub(crate) fn retain(&self, is_there: impl Fn(PackId) -> bool) -> Result<(u64, u64), Error> {
        let known =
            self.with_prefix(PREFIX_PACK, |key, value| Some((number(key, 0)?, PackEntry::decode(value)?.id)))?;
        let (mut forgotten, mut kept) = (0, 0);
        let mut batch = WriteBatch::default();
        for (number, id) in known {
            if is_there(id) {
                kept += 1;
                continue;
            }
            forgotten += 1;
            batch.delete(key(PREFIX_PACK, &number.to_be_bytes()));
            batch.delete(key(PREFIX_PACK_NUMBER, id.as_bytes()));
        }
        self.write(batch)?;
        Ok((forgotten, kept))
    }

    /// Forgets that segments were read.
    pub(crate) fn forget_segments<'a>(&self, segments: impl Iterator<Item = &'a SegmentId>) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        segments.for_each(|segment| batch.delete(key(PREFIX_SEGMENT, segment.as_bytes())));
        self.write(batch)
    }
}

impl Index for Database {
    fn locate(&self, id: &ChunkId) -> Result<Option<(PackEntry, u32)>, Error> {
        let failed = |source| self.failed(source);
        let found = self.db.get_pinned_cf(self.chunks()?, entry::key(id)).map_err(failed)?;
        let Some((pack, slot)) = found.and_then(|value| entry::place(&value)) else { return Ok(None) };
        let entry = self.db.get_pinned(key(PREFIX_PACK, &pack.to_be_bytes())).map_err(failed)?;
        Ok(entry.and_then(|entry| PackEntry::decode(&entry)).map(|entry| (entry, slot.into())))
    }

    fn packs_after(&self, pack: &PackEntry, count: u32) -> Result<Vec<PackId>, Error> {
        let failed = |source| self.failed(source);
        let found = self.db.get_pinned(key(PREFIX_PACK_NUMBER, pack.id.as_bytes())).map_err(failed)?;
        let Some(first) = found.and_then(|bytes| number(&bytes, 0)) else { return Ok(Vec::new()) };
        let mut after = Vec::new();
        for number in (1..=count).filter_map(|step| first.checked_add(step)) {
            let entry = self.db.get_pinned(key(PREFIX_PACK, &number.to_be_bytes())).map_err(failed)?;
            let entry = entry.and_then(|entry| PackEntry::decode(&entry));
            after.extend(entry.filter(|entry| entry.content == pack.content).map(|entry| entry.id));
        }
        Ok(after)
    }

    fn has_pack(&self, id: PackId) -> Result<bool, Error> {
        Self::has_pack(self, id)
    }

    fn packs(&self) -> Result<Vec<PackEntry>, Error> {
        self.with_prefix(PREFIX_PACK, |_, value| PackEntry::decode(value))
    }
}
