//! Checking packs: their directories, and every chunk's bytes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cinderblock_backend::Error as BackendError;
use cinderblock_store::pack::{Content, FRAME_TARGET_BYTES, PackReader};
use cinderblock_store::{ChunkId, Error as StoreError, Location, PackId, Repository, Wrong};
use rayon::ThreadPool;

use super::report::DamagedObject;
use crate::buffer::JobMemory;
use crate::engine::{Control, Progress, in_flight};
use crate::error::Error;
use crate::lanes;
use crate::restore::budget::Budget;
use crate::restore::plan::Reach;

/// Reads of one pack at once, where the storage wants several requests at once.
const READS_OF_A_PACK: usize = 4;

/// Frames after each other that a disk can't read, from which on the rest of what was to be read together is read, and lost, as one.
const MAX_BAD_FRAMES: usize = 4;

/// What was found damaged so far.
#[derive(Debug, Default)]
pub(super) struct Damage {
    objects: Mutex<Vec<DamagedObject>>,
    /// Chunks and map nodes with a damaged copy, until an intact one is found.
    chunks: Mutex<HashSet<ChunkId>>,
    /// Where in packs the bytes are wrong.
    slots: Mutex<BTreeMap<PackId, BTreeSet<u32>>>,
    /// Packs whose directory can't be read.
    broken: Mutex<BTreeSet<PackId>>,
    /// Packs of which something could not be read.
    unread: Mutex<HashSet<PackId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Damage {
    pub(super) fn add(&self, object: DamagedObject) {
        lock(&self.objects).push(object);
    }

    pub(super) fn add_all(&self, objects: Vec<DamagedObject>) {
        lock(&self.objects).extend(objects);
    }

    /// The chunks that are lost.
    pub(super) fn chunks(&self) -> HashSet<ChunkId> {
        lock(&self.chunks).clone()
    }

    fn add_slots(&self, pack: PackId, lost: &[(u32, ChunkId)]) {
        lock(&self.slots).entry(pack).or_default().extend(lost.iter().map(|(slot, _)| *slot));
        lock(&self.chunks).extend(lost.iter().map(|(_, id)| *id));
    }

    /// How many places were found damaged so far.
    pub(super) fn places(&self) -> usize {
        lock(&self.objects).len()
    }

    /// Where in packs the bytes are wrong, and the packs whose directory can't be read.
    pub(super) fn into_packs(self) -> (BTreeMap<PackId, BTreeSet<u32>>, BTreeSet<PackId>) {
        let slots = self.slots.into_inner().unwrap_or_else(PoisonError::into_inner);
        (slots, self.broken.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Packs of which something could not be read.
    pub(super) fn unread(&self) -> HashSet<PackId> {
        lock(&self.unread).clone()
    }

    /// Each place once, in order.
    pub(super) fn into_objects(self) -> Vec<DamagedObject> {
        let mut objects = self.objects.into_inner().unwrap_or_else(PoisonError::into_inner);
        objects.sort();
        objects.dedup_by(|a, b| a.object == b.object && a.offset == b.offset);
        objects
    }
}

/// Checks packs, from several threads.
#[derive(Debug)]
pub(super) struct DataCheck<'a> {
    repository: &'a Repository,
    control: &'a Control,
    damage: &'a Damage,
    pool: &'a ThreadPool,
    in_flight: usize,
    /// Stored bytes that are read in one request, unless one frame has more.
    read_at_once: u64,
    budget: Budget,
    read_bytes: AtomicU64,
    chunks: AtomicU64,
}

/// Frames that are read together.
#[derive(Clone, Copy, Debug)]
struct Read {
    first: u32,
    /// One past the last.
    end: u32,
    from: u64,
    bytes: u64,
}

impl<'a> DataCheck<'a> {
    pub(super) fn new(
        pool: &'a ThreadPool,
        repository: &'a Repository,
        control: &'a Control,
        damage: &'a Damage,
        budget_bytes: usize,
    ) -> Self {
        let in_flight = in_flight(repository);
        let reach = Reach::new(in_flight, budget_bytes).read_bytes;
        // A frame is decompressed beside what was read; so many reads as the reach is made for have to fit with theirs.
        let beside = if in_flight > 1 { FRAME_TARGET_BYTES as u64 } else { 0 };
        Self {
            repository,
            control,
            damage,
            pool,
            in_flight,
            read_at_once: reach - beside,
            budget: Budget::new(budget_bytes),
            read_bytes: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
        }
    }

    /// Packs whose data are read at once: of each, several parts are.
    pub(super) fn packs_at_once(&self) -> usize {
        self.in_flight.div_ceil(READS_OF_A_PACK)
    }

    /// Bytes of packs that were read.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Chunks whose bytes were checked.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks.load(Ordering::Relaxed)
    }

    fn count_read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        Progress::add(&self.control.progress.read_bytes, bytes);
    }

    /// Checks a pack's directory, and all of its frames where `reads_data` says so of what it holds.
    pub(super) fn pack(&self, id: PackId, reads_data: impl FnOnce(Content) -> bool) -> Result<(), Error> {
        self.control.cancel.check(false)?;
        let pack = match self.repository.pack(id) {
            Ok(pack) => pack,
            // A garbage collector removed it since it was listed; where it is needed, the maps' chunks will tell.
            Err(StoreError::PackMissing { .. }) => return Ok(()),
            // What is noted already is no news.
            Err(error) if error.is_damage() && self.repository.damaged_slots(id)?.is_whole() => return Ok(()),
            Err(error) if error.is_damage() => {
                self.damage.add(DamagedObject::new(self.repository.pack_object(id)?, error));
                lock(&self.damage.broken).insert(id);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let around = pack.object_bytes().saturating_sub(pack.directory().frames_length());
        self.count_read(around);
        if reads_data(pack.content()) {
            Progress::add(&self.control.progress.done_bytes, around);
            let noted = self.repository.damaged_slots(id)?;
            let reads = reads(&pack, self.read_at_once);
            let at_once = if self.in_flight > 1 { READS_OF_A_PACK } else { 1 };
            lanes::for_each(self.pool, at_once, &reads, |read| self.read(&pack, &noted, *read))?;
        }
        Ok(())
    }

    fn read(&self, pack: &PackReader, noted: &Wrong, read: Read) -> Result<(), Error> {
        self.control.cancel.check(false)?;
        let frames = pack.directory().frames().get(read.first as usize..read.end as usize).unwrap_or_default();
        let largest = frames.iter().map(|frame| frame.plain_bytes as usize).max().unwrap_or(0);
        let _permit = self.budget.permit(read.bytes as usize + largest);
        let mut buffers = self.budget.buffers();
        let (used_again, plain, _) = buffers.split(if self.in_flight > 1 { 0 } else { read.bytes as usize });
        // Where many wait for their bytes, these are memory of their own: else as many buffers as were ever needed at once would stay.
        let mut own = JobMemory::zeroed(if self.in_flight > 1 { read.bytes as usize } else { 0 }, self.in_flight);
        let stored = if self.in_flight > 1 { &mut own[..] } else { used_again };
        match self.read_frames(pack, noted, read, stored, plain) {
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            // A disk that can't read a sector has lost what is in it, and no more.
            Err(error) if error.is_unreadable() && read.end - read.first > 1 => {
                self.read_one_by_one(pack, noted, read, stored, plain)?;
            }
            Err(error) => self.lose(pack, noted, read, error),
        }
        Progress::add(&self.control.progress.done_bytes, read.bytes);
        Ok(())
    }

    /// Reads frames in one request, and checks them.
    fn read_frames(
        &self,
        pack: &PackReader,
        noted: &Wrong,
        read: Read,
        stored: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), BackendError> {
        self.repository.backend().read_into(pack.object(), read.from, stored)?;
        self.count_read(read.bytes);
        self.pool.install(|| {
            for number in read.first..read.end {
                self.frame(pack, noted, (number, read.from), stored, plain);
            }
        });
        Ok(())
    }

    /// Reads frames of which one can't be read, each by itself.
    fn read_one_by_one(
        &self,
        pack: &PackReader,
        noted: &Wrong,
        read: Read,
        stored: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let (mut first, mut failed) = (read.first, 0);
        while first < read.end {
            let from = pack.range_of(first)?.start;
            // Where nothing can be read, each attempt takes the disk seconds.
            let end = if failed < MAX_BAD_FRAMES { first + 1 } else { read.end };
            let part = Read { first, end, from, bytes: pack.range_of(end - 1)?.end - from };
            let stored = stored.get_mut(..part.bytes as usize).unwrap_or_default();
            match self.read_frames(pack, noted, part, stored, plain) {
                Err(error) if !error.is_not_found() => {
                    failed += 1;
                    self.lose(pack, noted, part, error);
                }
                _ => failed = 0,
            }
            first = end;
        }
        Ok(())
    }

    /// Remembers what could not be read.
    fn lose(&self, pack: &PackReader, noted: &Wrong, read: Read, error: BackendError) {
        let is_lost = error.is_unreadable();
        if !is_lost {
            lock(&self.damage.unread).insert(pack.id());
        }
        let mut lost: Vec<_> = (read.first..read.end).flat_map(|number| slots(pack, number)).collect();
        lost.retain(|(slot, _)| !noted.contains(*slot));
        if lost.is_empty() {
            return;
        }
        let mut damaged = DamagedObject::new(pack.object().to_string(), error.into());
        damaged.offset = read.from;
        self.damage.add(damaged);
        match is_lost {
            true => self.damage.add_slots(pack.id(), &lost),
            // A read that failed may succeed another time: that is nothing to note.
            false => lock(&self.damage.chunks).extend(lost.into_iter().map(|(_, id)| id)),
        }
    }

    fn frame(
        &self,
        pack: &PackReader,
        noted: &Wrong,
        (number, from): (u32, u64),
        stored: &mut [u8],
        plain: &mut Vec<u8>,
    ) {
        let directory = pack.directory();
        let offset = directory.frame_offset(number).unwrap_or(0);
        let (mut lost, mut count) = (Vec::new(), 0);
        let reason = match pack.decode_frame(number, from, stored, plain) {
            Ok(frame) => {
                let mut rest = frame.plain;
                let first = directory.first_slot(number).unwrap_or(0);
                for (slot, (id, place)) in (first..).zip(directory.frame_chunks(number)) {
                    count += 1;
                    let chunk = rest.split_at_checked(place.length as usize);
                    rest = chunk.map_or(&[], |(_, after)| after);
                    if !chunk.is_some_and(|(chunk, _)| self.repository.ids().is_authentic(pack.content(), &id, chunk)) {
                        lost.push((slot, id));
                    }
                }
                format!("{} of the {count} chunks in this frame have other bytes", lost.len())
            }
            Err(error) => {
                lost.extend(slots(pack, number));
                match error {
                    StoreError::Damaged { reason, .. } => reason,
                    other => super::report::in_full(&other),
                }
            }
        };
        self.chunks.fetch_add(count, Ordering::Relaxed);
        lost.retain(|(slot, _)| !noted.contains(*slot));
        if !lost.is_empty() {
            self.damage.add(DamagedObject { object: pack.object().to_string(), offset, reason });
            self.damage.add_slots(pack.id(), &lost);
        }
    }

    /// Takes chunks off the list of lost ones that have an intact copy in any pack.
    pub(super) fn spare_what_has_copies(&self) -> Result<(), Error> {
        let damaged = self.damage.chunks();
        if damaged.is_empty() {
            return Ok(());
        }
        let mut copies: Vec<(ChunkId, Location)> = Vec::new();
        self.repository.search(&damaged, &mut |id, location| copies.push((id, location)))?;
        // Sorted, so that each frame is read once; those with a single copy are known to be bad.
        copies.sort_unstable_by_key(|(id, location)| (*id, location.pack.id()));
        let mut several: Vec<_> =
            copies.chunk_by(|a, b| a.0 == b.0).filter(|of_chunk| of_chunk.len() > 1).flatten().collect();
        several.sort_unstable_by_key(|(_, location)| (location.pack.id(), location.slot));
        let (mut stored, mut plain, mut last) = (Vec::new(), Vec::new(), None);
        for (id, Location { pack, slot }) in several {
            self.control.cancel.check(false)?;
            let Some(place) = pack.directory().place(*slot) else { continue };
            if last != Some((pack.id(), place.frame)) {
                last = None;
                if self.repository.read_frame(pack, place.frame, &mut stored, &mut plain).is_err() {
                    continue;
                }
                last = Some((pack.id(), place.frame));
            }
            let from = place.offset as usize;
            let bytes = plain.get(from..from + place.length as usize);
            if bytes.is_some_and(|bytes| self.repository.ids().is_authentic(pack.content(), id, bytes)) {
                lock(&self.damage.chunks).remove(id);
            }
        }
        Ok(())
    }
}

/// The chunks of a frame, by slot.
fn slots(pack: &PackReader, number: u32) -> impl Iterator<Item = (u32, ChunkId)> + '_ {
    let first = pack.directory().first_slot(number).unwrap_or(0);
    (first..).zip(pack.directory().frame_chunks(number).map(|(id, _)| id))
}

/// A pack's frames, cut into reads of so many bytes.
fn reads(pack: &PackReader, read_bytes: u64) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    let ranges =
        (0..pack.directory().frames().len() as u32).map(|number| (number, pack.directory().frame_range(number)));
    for (number, range) in ranges {
        let Some(range) = range else { continue };
        let bytes = range.end - range.start;
        match reads.last_mut() {
            Some(read) if read.bytes + bytes <= read_bytes => {
                read.bytes += bytes;
                read.end = number + 1;
            }
            _ => {
                reads.push(Read { first: number, end: number + 1, from: range.start, bytes });
            }
        }
    }
    reads
}
