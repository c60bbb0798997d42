//! [`Intake`]: takes packs into the database, by puts where they are few, and as sorted files where they are many.
//!
//! RocksDB takes some 0.25 million puts a second, and then sorts what it took, again and again. A file that is sorted already becomes
//! part of the database by a link.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rocksdb::{IngestExternalFileOptions, SstFileWriter, WriteBatch};

use crate::damage::Notes;
use crate::error::Error;
use crate::id::{PackId, SegmentId};
use crate::index::database::Database;
use crate::index::entry::{Entry, KEY_BYTES};
use crate::index::sort::{Sorted, Sorter};
use crate::segment::PackSummary;

/// Bytes of a file that becomes part of the database: 256 MiB, so that 10⁹ chunks are some hundred files to open.
const FILE_BYTES: u64 = 256 << 20;

/// Entries that are written before a file's length is looked at.
const STRIDE: u64 = 4096;

/// Entries for which a thread more is begun.
const THREAD_ENTRIES: u64 = 1 << 20;

/// Most threads that write files.
const MAX_THREADS: usize = 4;

/// Takes in packs and marks of segments. What was taken counts when [`Intake::finish`] has returned.
pub(super) struct Intake<'a> {
    database: &'a Database,
    many: Option<Many>,
}

struct Many {
    /// Whether nobody relies on the database before it is finished.
    anew: bool,
    sorter: Sorter,
    /// What says that packs and segments were taken, as long as their chunks are not in the database.
    held: WriteBatch,
    /// The packs that `held` names: the database does not know them yet.
    taken: HashSet<PackId>,
    next_pack: u32,
    folder: Folder,
}

/// The folder for files on their way: gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make(path: PathBuf) -> Result<Self, Error> {
        let failed = |source| Error::Cache { path: path.clone(), source };
        // What a process that was killed has left.
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::fs::create_dir_all(&path).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl<'a> Intake<'a> {
    /// For a few segments.
    pub(super) fn few(database: &'a Database) -> Self {
        Self { database, many: None }
    }

    /// For many segments: chunks are sorted in `folder`, with so much memory, under the exclusive lock. `anew` says that nobody relies on the
    /// database before it is finished.
    pub(super) fn many(database: &'a Database, folder: &Path, memory_bytes: usize, anew: bool) -> Result<Self, Error> {
        let folder = Folder::make(folder.join("sorting"))?;
        let sorter = Sorter::new(&folder.0, memory_bytes);
        let next_pack = database.next_pack()?;
        let (held, taken) = (WriteBatch::default(), HashSet::new());
        Ok(Self { database, many: Some(Many { anew, sorter, held, taken, next_pack, folder }) })
    }

    /// Adds those of the packs that it does not know yet, but for slots that are noted as damaged: they must not hide another copy.
    pub(super) fn add(&mut self, packs: &[PackSummary], notes: &Notes) -> Result<(), Error> {
        for pack in packs {
            let is_taken = self.many.as_ref().is_some_and(|many| many.taken.contains(&pack.id));
            if is_taken || self.database.has_pack(pack.id)? {
                continue;
            }
            let damaged = notes.get(&pack.id);
            let slots = pack.lists.ids.iter().zip(0_u16..);
            let slots = slots.filter(|(_, slot)| damaged.is_none_or(|damaged| !damaged.contains((*slot).into())));
            match &mut self.many {
                None => {
                    let mut batch = WriteBatch::default();
                    let number = self.database.next_pack()?;
                    Database::put_pack(&mut batch, number, pack);
                    let entries = slots.map(|(id, slot)| Entry::new(id, number, slot));
                    self.database.put_chunks(&mut batch, entries)?;
                    self.database.write(batch)?;
                }
                Some(many) => {
                    let number = many.next_pack;
                    many.next_pack += 1;
                    many.taken.insert(pack.id);
                    Database::put_pack(&mut many.held, number, pack);
                    for (id, slot) in slots {
                        many.sorter.push(Entry::new(id, number, slot))?;
                    }
                    many.let_go(self.database)?;
                }
            }
        }
        Ok(())
    }

    /// Remembers that a segment was read, and which packs it names; all of them have been added.
    pub(super) fn add_segment(&mut self, segment: SegmentId, packs: &[PackSummary]) -> Result<(), Error> {
        match &mut self.many {
            None => {
                let mut batch = WriteBatch::default();
                Database::put_segment(&mut batch, segment, packs);
                self.database.write(batch)
            }
            Some(many) => {
                Database::put_segment(&mut many.held, segment, packs);
                many.let_go(self.database)
            }
        }
    }

    /// Brings everything into the database.
    pub(super) fn finish(self) -> Result<(), Error> {
        let database = self.database;
        database.write(self.ingest()?)
    }

    /// Brings the chunks into the database. What says that they are there comes after them: where that is lost in a crash, they are taken again.
    pub(super) fn ingest(self) -> Result<WriteBatch, Error> {
        let Some(many) = self.many else { return Ok(WriteBatch::default()) };
        let files = write_files(&many.sorter.finish()?, self.database, &many.folder.0)?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.database.ingest(&options, files)?;
        Ok(many.held)
    }
}

impl Many {
    fn let_go(&mut self, database: &Database) -> Result<(), Error> {
        if !self.anew {
            return Ok(());
        }
        self.taken.clear();
        database.write(std::mem::take(&mut self.held))
    }
}

/// Writes all entries to files, each thread those of a part of all keys.
fn write_files(sorted: &Sorted, database: &Database, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let threads = threads.min(1 + (sorted.entries() / THREAD_ENTRIES) as usize);
    std::thread::scope(|scope| {
        let write = |part| move || write_part(sorted, (part, threads), database, folder);
        let others: Vec<_> = (1..threads).map(|part| scope.spawn(write(part))).collect();
        let mut files = write(0)()?;
        for other in others {
            files.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(files)
    })
}

fn write_part(
    sorted: &Sorted,
    (part, parts): (usize, usize),
    database: &Database,
    folder: &Path,
) -> Result<Vec<PathBuf>, Error> {
    let mut entries = sorted.part(part, parts)?;
    let options = Database::file_options();
    let mut files = Vec::new();
    let mut next = entries.next()?;
    while next.is_some() {
        let path = folder.join(format!("{part}-{}.sst", files.len()));
        let failed = |source| database.failed(source);
        let mut file = SstFileWriter::create(&options);
        file.open(&path).map_err(failed)?;
        let mut written = 0_u64;
        while let Some(entry) = next {
            next = entries.next()?;
            // What was added last counts.
            if next.is_some_and(|next| next.has_key_of(entry)) {
                continue;
            }
            let bytes = entry.to_bytes();
            let (key, value) = bytes.split_at(KEY_BYTES);
            file.put(key, value).map_err(failed)?;
            written += 1;
            if written.is_multiple_of(STRIDE) && file.file_size() >= FILE_BYTES {
                break;
            }
        }
        file.finish().map_err(failed)?;
        files.push(path);
    }
    Ok(files)
}
