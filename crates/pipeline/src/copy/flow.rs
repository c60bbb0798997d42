//! The run of a copy: the calling thread walks the map and fills packs, workers read and check, one thread stores.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cinderblock_store::map::{Leaf, Node};
use cinderblock_store::pack::{
    Content, FAR_PACK_TARGET_BYTES, FinishedPack, PACK_TARGET_BYTES, PackBuilder, PackReader,
};
use cinderblock_store::{ChunkId, Chunking, Error as StoreError, PackId, Record, Repository, Session};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::Copied;
use super::frames::{Moved, Worker};
use crate::backup::collect::NodePacker;
use crate::backup::write;
use crate::engine::{Control, Engine, Progress, in_flight};
use crate::error::Error;
use crate::lanes::Lanes;
use crate::restore::find::Finder;
use crate::restore::plan::{Job, Plan, Reach, Wanted};

/// Chunks that are looked up at once: few enough that, each in another full pack, the directories take 38 MiB.
const GROUP_CHUNKS: usize = 64;

/// Missing chunks that are planned together: 8,192. A frame whose chunks fall into two plans is made anew.
const WINDOW_CHUNKS: usize = 8192;

/// Memory of the directories of the packs that one plan reads, beyond which another plan is begun: 16 MiB.
const MAX_DIRECTORY_BYTES: usize = 16 << 20;

/// Packs that are kept with the hashes of their chunks, some 1 MiB each at most.
const HASHED_PACKS: usize = 8;

/// Packs that are stored at once where the target wants several requests at once.
const UPLOADS: usize = 3;

/// Threads that store packs, and the size of a pack, given how many requests the target wants at once. Packs take half of the memory at most: one
/// that is filled with data, one with nodes, and those that are being stored.
fn packs_for(in_flight: usize, memory: usize) -> (usize, usize) {
    match in_flight {
        0 | 1 => (1, PACK_TARGET_BYTES.min(memory / 8)),
        _ => (UPLOADS, FAR_PACK_TARGET_BYTES.min(memory / 2 / (2 + UPLOADS))),
    }
}

/// What workers and the writer tell the calling thread.
enum Event {
    /// Number and memory of the job, and what came of it.
    Moved(u64, usize, Result<Moved, Error>),
    /// The target's index knows these chunks and nodes now.
    Indexed(Vec<ChunkId>),
    Failed(StoreError),
    /// A thread panicked, and the panic goes on when the scope ends.
    Lost,
}

/// Tells of a panic: the calling thread would wait for ever.
struct TellOfPanic(Sender<Event>);

impl Drop for TellOfPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(Event::Lost);
        }
    }
}

/// The state of the calling thread.
pub(super) struct Flow<'s, 'e> {
    worker: &'e Worker<'e>,
    session: &'e Session<'e>,
    lanes: &'s Lanes<'s, 'e>,
    reach: Reach,
    events: Sender<Event>,
    incoming: &'s Receiver<Event>,
    packs: Sender<FinishedPack>,
    /// Chunks and nodes that are on their way, and not in the target's index yet.
    fresh: HashSet<ChunkId>,
    wanted: Vec<Wanted>,
    hashed_packs: VecDeque<Arc<PackReader>>,
    jobs: u64,
    under_way: u64,
    /// Memory of jobs whose frames are in no pack yet.
    bytes: usize,
    max_bytes: usize,
    early: BTreeMap<u64, (usize, Moved)>,
    next: u64,
    data: PackBuilder,
    nodes: NodePacker<'e>,
    copied: Copied,
}

impl Flow<'_, '_> {
    /// Copies all that a backup consists of. All packs are stored when this returns.
    pub(super) fn run(
        engine: &Engine,
        (from, record): (&Repository, &Record),
        (to, session): (&Repository, &Session<'_>),
        control: &Control,
    ) -> Result<Copied, Error> {
        control.progress.total_bytes.store(record.volume_bytes, Ordering::Relaxed);
        let worker = Worker {
            pool: &engine.pool,
            finder: Finder::new(from, record),
            control,
            compression: record.compression.parse().unwrap_or_default(),
            hashed: record.chunking == Chunking::Fixed && to.descriptor().chunk_size.is_hashed(),
            stopped: AtomicBool::new(false),
        };
        let memory = engine.settings().memory_bytes;
        let (uploads, pack_bytes) = packs_for(in_flight(to), memory);
        let (events, incoming) = unbounded();
        std::thread::scope(|threads| {
            let (packs, finished) = bounded(0);
            let writers: Vec<_> = (0..uploads)
                .map(|_| {
                    let (finished, told) = (finished.clone(), events.clone());
                    threads.spawn(move || store_all(to, session, &finished, &told))
                })
                .collect();
            drop(finished);
            let copied = Lanes::with(&engine.pool, in_flight(from), |lanes| {
                let flow = Flow {
                    worker: &worker,
                    session,
                    lanes,
                    // What is read becomes a frame that is as large: half of the budget.
                    reach: Reach::new(in_flight(from), memory / 8),
                    events,
                    incoming: &incoming,
                    packs,
                    fresh: HashSet::new(),
                    wanted: Vec::new(),
                    hashed_packs: VecDeque::new(),
                    jobs: 0,
                    under_way: 0,
                    bytes: 0,
                    max_bytes: memory / 4,
                    early: BTreeMap::new(),
                    next: 0,
                    data: session.pack_builder(Content::Data).with_target_bytes(pack_bytes),
                    nodes: NodePacker::new(session, pack_bytes),
                    copied: Copied::default(),
                };
                flow.go().inspect_err(|_| worker.stopped.store(true, Ordering::Relaxed))
            });
            // The packs' channel is closed: the writers end when all is stored.
            for writer in writers {
                if let Err(panic) = writer.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            let copied = copied?;
            for event in incoming.try_iter() {
                if let Event::Failed(error) = event {
                    return Err(error.into());
                }
            }
            Ok(copied)
        })
    }

    fn go(mut self) -> Result<Copied, Error> {
        let worker = self.worker;
        let record = worker.finder.record;
        let noted: Mutex<Vec<(ChunkId, Node)>> = Mutex::default();
        let take = || std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
        let note = |id: &ChunkId, node: &Node| {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push((*id, node.clone()));
        };
        worker.finder.each_leaf_noting(0..record.volume_bytes, &note, |leaf| {
            worker.control.cancel.check(false)?;
            self.session.stay()?;
            self.take_nodes(take())?;
            self.take_leaf(&leaf)?;
            worker.control.progress.done_bytes.store(leaf.offset + leaf.length, Ordering::Relaxed);
            Ok::<_, Error>(true)
        })?;
        self.take_nodes(take())?;
        self.read_wanted()?;
        while self.under_way > 0 {
            worker.control.cancel.check(false)?;
            self.session.stay()?;
            self.wait()?;
        }
        if let Some(pack) = self.data.finish()? {
            self.store(pack)?;
        }
        let mut finished = Vec::new();
        self.nodes.finish(&mut finished)?;
        finished.into_iter().try_for_each(|pack| self.store(pack))?;
        self.copied.map_packs = self.nodes.used;
        Ok(self.copied)
    }

    /// Packs those nodes of the map that the target does not have. They may come to it before what is below them: no record
    /// refers to them yet.
    fn take_nodes(&mut self, nodes: Vec<(ChunkId, Node)>) -> Result<(), Error> {
        let mut finished = Vec::new();
        for (id, node) in nodes {
            let bytes = node.encode();
            if !self.worker.finder.repository.ids().is_authentic(Content::Map, &id, &bytes) {
                let reason = format!("map node {id} has another encoding than this program gives it");
                return Err(StoreError::BadMap { backup: self.worker.finder.record.id, reason }.into());
            }
            self.nodes.add(id, bytes, &mut self.fresh, &mut finished)?;
        }
        finished.into_iter().try_for_each(|pack| self.store(pack))
    }

    /// Looks up the chunks of a leaf in the target.
    fn take_leaf(&mut self, leaf: &Leaf) -> Result<(), Error> {
        let worker = self.worker;
        let (mut group, mut ids, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for pieces in leaf.pieces.chunks(GROUP_CHUNKS) {
            group.clear();
            for piece in pieces {
                group.extend(worker.finder.wanted(piece)?);
            }
            self.copied.summary.chunks += group.len() as u64;
            group.retain(|chunk| !self.fresh.contains(&chunk.id));
            ids.clear();
            ids.extend(group.iter().map(|chunk| chunk.id));
            self.session.locate(&ids, &mut places)?;
            for (chunk, place) in group.iter().zip(&places) {
                match place {
                    Some(place) => {
                        let listed = place.pack.directory().place(place.slot);
                        if listed.is_none_or(|listed| listed.length != chunk.length) {
                            return Err(worker.finder.wrong_length(chunk.offset, chunk.length.into()).into());
                        }
                        self.copied.data_packs.insert(place.pack.id());
                    }
                    None if self.fresh.insert(chunk.id) => self.wanted.push(*chunk),
                    None => {}
                }
            }
        }
        if self.wanted.len() >= WINDOW_CHUNKS { self.read_wanted() } else { Ok(()) }
    }

    /// Has workers read what is missing.
    fn read_wanted(&mut self) -> Result<(), Error> {
        let wanted = std::mem::take(&mut self.wanted);
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let (mut plan, mut planned) = (Plan::default(), 0);
            for group in rest.chunks(GROUP_CHUNKS) {
                self.plan_group(group, &mut plan)?;
                planned += group.len();
                if plan.directory_bytes() > MAX_DIRECTORY_BYTES {
                    break;
                }
            }
            rest = rest.get(planned..).unwrap_or_default();
            for job in plan.jobs(self.reach) {
                self.start(job)?;
            }
        }
        let summary = &mut self.copied.summary;
        summary.new_chunks += wanted.len() as u64;
        summary.new_bytes += wanted.iter().map(|chunk| u64::from(chunk.length)).sum::<u64>();
        self.worker.control.progress.new_bytes.store(summary.new_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn plan_group(&self, group: &[Wanted], plan: &mut Plan) -> Result<(), Error> {
        let finder = &self.worker.finder;
        for (chunk, location) in group.iter().zip(finder.locate(group)?) {
            if !plan.add(*chunk, location) {
                return Err(finder.wrong_length(chunk.offset, chunk.length.into()).into());
            }
        }
        Ok(())
    }

    fn start(&mut self, job: Job) -> Result<(), Error> {
        // Stored and plain bytes while it runs, and its frames afterwards.
        let bytes = job.memory_bytes() + job.length.max(job.wanted_bytes());
        while self.under_way > 0 && self.bytes + bytes > self.max_bytes {
            self.worker.control.cancel.check(false)?;
            self.session.stay()?;
            self.wait()?;
        }
        while let Ok(event) = self.incoming.try_recv() {
            self.handle(event)?;
        }
        let pack = self.with_hashes(&job.pack)?;
        let (worker, events, number) = (self.worker, self.events.clone(), self.jobs);
        self.jobs += 1;
        self.under_way += 1;
        self.bytes += bytes;
        self.lanes.start(move || {
            let guard = TellOfPanic(events);
            let moved = match worker.stopped.load(Ordering::Relaxed) {
                true => Ok(Moved::default()),
                false => worker.work(&job, pack.as_ref()),
            };
            let _ = guard.0.send(Event::Moved(number, bytes, moved));
        });
        Ok(())
    }

    /// The pack with the hashes of its chunks. None where it has none, or cannot be read now: then the worker finds out.
    fn with_hashes(&mut self, pack: &PackReader) -> Result<Option<Arc<PackReader>>, Error> {
        if !pack.directory().frames().iter().any(|frame| frame.hashed) {
            return Ok(None);
        }
        let known = self.hashed_packs.iter().position(|known| known.id() == pack.id());
        let found = match known.and_then(|at| self.hashed_packs.remove(at)) {
            Some(found) => found,
            None => match self.worker.finder.repository.pack_with_hashes(pack.id()) {
                Ok(found) => Arc::new(found),
                Err(error) if error.is_damage() => return Ok(None),
                Err(error) => return Err(error.into()),
            },
        };
        self.hashed_packs.push_front(Arc::clone(&found));
        self.hashed_packs.truncate(HASHED_PACKS);
        Ok(Some(found))
    }

    fn wait(&mut self) -> Result<(), Error> {
        match self.incoming.recv() {
            Ok(event) => self.handle(event),
            Err(_) => Err(Error::Cancelled { partly_written: false }),
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Moved(number, bytes, moved) => {
                self.early.insert(number, (bytes, moved?));
            }
            Event::Indexed(ids) => {
                for id in &ids {
                    self.fresh.remove(id);
                }
            }
            Event::Failed(error) => return Err(error.into()),
            Event::Lost => return Err(Error::Cancelled { partly_written: false }),
        }
        // In the order of the volume, so that neighbours stay neighbours.
        while let Some((bytes, moved)) = self.early.remove(&self.next) {
            self.next += 1;
            let summary = &mut self.copied.summary;
            summary.read_bytes += moved.read_bytes;
            summary.moved_frames += moved.kept;
            summary.made_frames += (moved.frames.len() as u64).saturating_sub(moved.kept);
            for frame in moved.frames {
                Progress::add(&self.worker.control.progress.stored_bytes, frame.stored_bytes() as u64);
                if let Some(pack) = self.data.push(frame)? {
                    self.store(pack)?;
                }
            }
            self.under_way -= 1;
            self.bytes -= bytes;
        }
        Ok(())
    }

    /// Hands a pack to the writer; waits while it is busy, which slows everything to the storage's speed.
    fn store(&mut self, pack: FinishedPack) -> Result<(), Error> {
        if pack.content() == Content::Data {
            let id: PackId = pack.id();
            self.copied.data_packs.insert(id);
        }
        if self.packs.send(pack).is_err() {
            // The writer has stopped, and said why.
            for event in self.incoming.iter() {
                match event {
                    Event::Failed(error) => return Err(error.into()),
                    Event::Lost => return Err(Error::Cancelled { partly_written: false }),
                    Event::Moved(..) | Event::Indexed(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// The writer thread: stores what comes until the channel is closed or something fails.
fn store_all(to: &Repository, session: &Session<'_>, packs: &Receiver<FinishedPack>, events: &Sender<Event>) {
    let told = TellOfPanic(events.clone());
    let indexed = |ids| drop(told.0.send(Event::Indexed(ids)));
    if let Err(error) = write::store_all(to, session, packs, indexed) {
        let _ = told.0.send(Event::Failed(error));
    }
}
