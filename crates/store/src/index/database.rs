//! The RocksDB part of the index.

use std::path::{Path, PathBuf};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, FlushOptions, IteratorMode, Options,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};

use crate::damage::Notes;
use crate::error::Error;
use crate::id::{ChunkId, PackId, RepositoryId, SegmentId};
use crate::index::Index;
use crate::pack::Content;
use crate::segment::PackSummary;

/// Changes when what is stored under the keys changes; another one means: rebuild.
const SCHEMA: &[u8] = b"2";

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

const KEY_BYTES: usize = 16;

fn chunk_key(id: &ChunkId) -> &[u8] {
    id.as_bytes().get(..KEY_BYTES).unwrap_or_default()
}

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

fn chunk_options(cache_bytes: usize) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(cache_bytes));
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
        vec![
            ColumnFamilyDescriptor::new("default", Options::default()),
            ColumnFamilyDescriptor::new(CHUNKS, chunk_options(cache_bytes)),
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

    fn failed(&self, source: rocksdb::Error) -> Error {
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

    fn write(&self, batch: WriteBatch) -> Result<(), Error> {
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

    /// Adds those of the packs that it does not know yet, but for slots that are noted as damaged: they must not hide another copy.
    pub(crate) fn add(&self, packs: &[PackSummary], notes: &Notes) -> Result<(), Error> {
        let chunks = self.chunks()?;
        for pack in packs {
            if self.has_pack(pack.id)? {
                continue;
            }
            let next = self.db.get(KEY_NEXT_PACK).map_err(|source| self.failed(source))?;
            let number = next.as_deref().and_then(|bytes| number(bytes, 0)).unwrap_or(0);
            let mut batch = WriteBatch::default();
            let content = if pack.map { Content::Map } else { Content::Data };
            let entry = PackEntry { id: pack.id, content, object_bytes: pack.object_bytes };
            batch.put(KEY_NEXT_PACK, (number + 1).to_be_bytes());
            batch.put(key(PREFIX_PACK, &number.to_be_bytes()), entry.encode());
            batch.put(key(PREFIX_PACK_NUMBER, pack.id.as_bytes()), number.to_be_bytes());
            let damaged = notes.get(&pack.id);
            for (slot, id) in pack.lists.ids.iter().enumerate() {
                if damaged.is_some_and(|damaged| damaged.contains(slot as u32)) {
                    continue;
                }
                let slot = (slot as u16).to_be_bytes();
                let [a, b, c, d] = number.to_be_bytes();
                batch.put_cf(chunks, chunk_key(id), [a, b, c, d, slot[0], slot[1]]);
            }
            self.write(batch)?;
        }
        Ok(())
    }

    /// Remembers that a segment was read, and which packs it names; all of them have been added.
    pub(crate) fn add_segment(&self, segment: SegmentId, packs: &[PackSummary]) -> Result<(), Error> {
        let names: Vec<u8> = packs.iter().flat_map(|pack| *pack.id.as_bytes()).collect();
        let mut batch = WriteBatch::default();
        batch.put(key(PREFIX_SEGMENT, segment.as_bytes()), names);
        self.write(batch)
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
        let Some(value) = self.db.get_pinned_cf(self.chunks()?, chunk_key(id)).map_err(failed)? else {
            return Ok(None);
        };
        let (Some(pack), Some([high, low])) = (number(&value, 0), value.get(4..6).and_then(|s| s.first_chunk::<2>()))
        else {
            return Ok(None);
        };
        let entry = self.db.get_pinned(key(PREFIX_PACK, &pack.to_be_bytes())).map_err(failed)?;
        let slot = u16::from_be_bytes([*high, *low]);
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

    fn packs(&self) -> Result<Vec<PackEntry>, Error> {
        self.with_prefix(PREFIX_PACK, |_, value| PackEntry::decode(value))
    }
}
