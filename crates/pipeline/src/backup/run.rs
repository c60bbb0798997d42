//! The run of a backup: who does what when, and how much is under way at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cinderblock_chunker::{ContentChunker, ContentParameters, Grid};
use cinderblock_store::map::Shape;
use cinderblock_store::pack::FinishedPack;
use cinderblock_store::pack::frame::{Compression, EncodedFrame};
use cinderblock_store::{BackupId, ChunkId, Chunking, Record, Repository, Session, Timestamp};
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use rayon::Scope;

use crate::backup::collect::{Collected, Collector};
use crate::backup::hash::{self, Hashed};
use crate::backup::limits::Limits;
use crate::backup::overlay::{self, Reading};
use crate::backup::plan::Plan;
use crate::backup::reader::{self, Cutter, Reader, Step};
use crate::backup::{BackupOptions, Chunker, Parent, write};
use crate::buffer::BufferPool;
use crate::engine::{Control, Engine, warm};
use crate::error::Error;
use crate::source::{Kind, Overlay, Source, VolumeFile};
use crate::volume::BackupVolume;

/// What workers and the writer tell the collecting thread.
pub(super) enum Event {
    Hashed(u64, Result<Hashed, Error>),
    Framed(u64, Result<EncodedFrame, Error>),
    /// The index knows these chunks now.
    Indexed(Vec<ChunkId>),
    Failed(Error),
    /// A worker died without an answer: it panicked, and the panic goes on when the scope ends.
    Lost,
}

/// Sends its answer, or [`Event::Lost`] where a worker panics before it has one: the collector never waits in vain.
struct Reply(Sender<Event>, bool);

impl Reply {
    fn send(mut self, event: Event) {
        self.1 = true;
        let _ = self.0.send(event);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.1 {
            let _ = self.0.send(Event::Lost);
        }
    }
}

/// Where the volume's bytes come from.
enum Input<'f> {
    /// Workers read the file themselves, as planned here.
    Planned { plan: Plan<'f>, source: &'f VolumeFile, chunk_bytes: u32 },
    /// A thread reads; of `base`, segments may name chunks that are kept.
    Read { steps: Receiver<Step>, base: Option<&'f BackupVolume<'f>> },
}

impl Engine {
    /// Backs up a volume: when this returns the backup exists, and if it fails, it does not.
    ///
    /// # Errors
    /// [`Error`] says what failed. [`Error::Cancelled`] where `control` asked to stop.
    pub fn backup(
        &self,
        repository: &Repository,
        source: Source,
        options: &BackupOptions,
        control: &Control,
    ) -> Result<Record, Error> {
        self.backup_checked(repository, source, options, control, |_| Ok(()))
    }

    /// The same, if `check` agrees. It is given the record when all that the backup consists of is stored, and can read it as a
    /// [`BackupVolume`], but before the backup exists: where it fails, no backup was ever there to be seen.
    ///
    /// # Errors
    /// Those of [`backup`](Self::backup), and what `check` returns.
    pub fn backup_checked<E: From<Error>>(
        &self,
        repository: &Repository,
        source: Source,
        options: &BackupOptions,
        control: &Control,
        check: impl FnOnce(&Record) -> Result<(), E>,
    ) -> Result<Record, E> {
        let failed = |error: cinderblock_store::Error| E::from(error.into());
        let started = Instant::now();
        cinderblock_store::check_texts(options.name.as_deref(), options.description.as_deref()).map_err(failed)?;
        let id = match options.id {
            Some(id) => {
                check_free(repository, id)?;
                id
            }
            None => BackupId::random().map_err(failed)?,
        };
        let activity = format!("backup of {}", options.volume);
        let session = match &source.0 {
            // It refers to what the base's map names, wherever that is.
            Kind::Overlay(_) => repository.start_session_over(&activity).map_err(failed)?,
            Kind::File(_) | Kind::Stream { .. } => repository.start_session(&activity).map_err(failed)?,
        };
        let parent = match &options.parent {
            Parent::None => None,
            Parent::Auto => repository.newest_backup(&options.volume).map_err(failed)?,
            Parent::Backup(volume, id) => Some(repository.record(volume, *id).map_err(failed)?),
        };
        let created_at = options.created_at.unwrap_or_else(Timestamp::now);
        let run = Run { engine: self, repository, session: &session, options, control, parent: parent.as_ref() };
        let (collected, chunking) = run.start(source)?;
        control.cancel.check(false)?;
        let mut record = Record {
            id,
            volume: options.volume.clone(),
            created_at,
            volume_bytes: collected.volume_bytes,
            name: options.name.clone(),
            description: options.description.clone(),
            parent: parent.map(|parent| parent.id),
            chunking,
            chunk_bytes: repository.descriptor().chunk_size.bytes(),
            compression: options.compression.to_string(),
            statistics: collected.statistics,
            attributes: options.attributes.clone(),
            hints_complete: true,
            data_packs: collected.data_packs,
            map_packs: collected.map_packs,
            map: collected.root,
            session: session.id(),
        };
        // What is in no segment yet cannot be found.
        session.flush().map_err(failed)?;
        check(&record)?;
        record.statistics.milliseconds = started.elapsed().as_millis() as u64;
        if options.id.is_some() {
            // Another backup may have taken the id while this one was running.
            check_free(repository, id)?;
        }
        session.commit(&mut record).map_err(failed)?;
        Ok(record)
    }
}

/// A backup's id names it alone, whatever its volume.
fn check_free(repository: &Repository, id: BackupId) -> Result<(), Error> {
    match repository.backups(None)?.into_iter().find(|(_, taken)| *taken == id) {
        Some((volume, id)) => Err(cinderblock_store::Error::BackupExists { id, volume }.into()),
        None => Ok(()),
    }
}

struct Run<'a> {
    engine: &'a Engine,
    repository: &'a Repository,
    session: &'a Session<'a>,
    options: &'a BackupOptions,
    control: &'a Control,
    parent: Option<&'a Record>,
}

impl Run<'_> {
    fn start(&self, source: Source) -> Result<(Collected, Chunking), Error> {
        let chunk_size = self.repository.descriptor().chunk_size;
        let (chunking, cutter, largest) = match self.options.chunker {
            Chunker::Fixed => (Chunking::Fixed, Cutter::Fixed(chunk_size.bytes().into()), chunk_size.bytes()),
            Chunker::FastCdc => {
                let ContentParameters { minimum, average, maximum, .. } = chunk_size.into();
                let chunker = ContentChunker::new(chunk_size.into());
                (Chunking::Content { minimum, average, maximum }, Cutter::Content(chunker), maximum)
            }
        };
        let limits = Limits::new(self.engine, chunk_size.bytes() as usize, largest as usize);
        let (pool, shape) = (BufferPool::new(limits.buffer_bytes), chunking.shape());
        self.control.progress.total_bytes.store(source.size().unwrap_or(0), Ordering::Relaxed);
        let collected = match source.0 {
            Kind::File(source) if chunking == Chunking::Fixed => {
                let grid = Grid::new(chunk_size, source.size());
                let plan = Plan::new(&source, grid, limits.buffer_bytes)?;
                let input = Input::Planned { plan, source: &source, chunk_bytes: chunk_size.bytes() };
                self.collect(input, limits, &pool, shape)
            }
            Kind::File(source) => self.collect_apart(cutter, limits, pool, shape, move |reader| reader.file(&source)),
            Kind::Stream { reader: stream, name } => {
                self.collect_apart(cutter, limits, pool, shape, move |reader| reader.stream(stream, &name))
            }
            Kind::Overlay(overlay) => {
                overlay::check(&overlay, self.options.chunker)?;
                let Overlay { base, volume_bytes, parts, name } = *overlay;
                let memory = self.engine.settings().memory_bytes / overlay::BASE_MEMORY;
                let base =
                    base.as_ref().map(|record| BackupVolume::new(self.repository, record, memory)).transpose()?;
                let (base, chunk_bytes) = (base.as_ref(), chunk_size.bytes().into());
                let cancel = &self.control.cancel;
                let reading = Reading { name: &name, base, volume_bytes, chunk_bytes, pool: &pool, cancel };
                let take = |steps| self.collect(Input::Read { steps, base }, limits, &pool, shape);
                overlay::run(parts, &reading, take)
            }
        };
        Ok((collected?, chunking))
    }

    /// Collects what a thread of its own reads from start to end.
    fn collect_apart(
        &self,
        cutter: Cutter,
        limits: Limits,
        pool: Arc<BufferPool>,
        shape: Shape,
        read: impl FnOnce(&mut Reader<'_>) -> Result<u64, Error> + Send + 'static,
    ) -> Result<Collected, Error> {
        let (sender, steps) = bounded(0);
        let cancel = self.control.cancel.clone();
        let pool_of_reader = Arc::clone(&pool);
        // Not scoped: a reader that is stuck in a stream that neither sends nor ends must not keep a backup
        // that was cancelled, or has failed, from returning.
        std::thread::spawn(move || reader::run(cutter, &pool_of_reader, &cancel, &sender, read));
        self.collect(Input::Read { steps, base: None }, limits, &pool, shape)
    }

    fn collect(
        &self,
        input: Input<'_>,
        limits: Limits,
        pool: &Arc<BufferPool>,
        shape: Shape,
    ) -> Result<Collected, Error> {
        let (events, incoming) = unbounded();
        std::thread::scope(|threads| {
            let (packs, finished_packs) = bounded(0);
            let writer_events = events.clone();
            let writer =
                threads.spawn(move || write::run(self.repository, self.session, &finished_packs, &writer_events));
            let collected = self.engine.pool.in_place_scope(|workers| {
                let mut flow = Flow {
                    run: self,
                    limits,
                    pool,
                    workers,
                    events,
                    incoming: &incoming,
                    packs,
                    hashing: 0,
                    next_segment: 0,
                    early: BTreeMap::new(),
                    next_hashed: 0,
                    framing: 0,
                    frames: 0,
                };
                flow.go(input, shape)
            })?;
            // The packs' channel is closed: the writer ends when all is stored.
            if let Err(panic) = writer.join() {
                std::panic::resume_unwind(panic);
            }
            for event in incoming.try_iter() {
                if let Event::Failed(error) = event {
                    return Err(error);
                }
            }
            Ok(collected)
        })
    }
}

/// The state of the collecting thread.
struct Flow<'s, 'a, 'e> {
    run: &'e Run<'a>,
    limits: Limits,
    pool: &'e Arc<BufferPool>,
    workers: &'s Scope<'e>,
    events: Sender<Event>,
    incoming: &'s Receiver<Event>,
    packs: Sender<FinishedPack>,
    /// Segments that are with workers, or back too early.
    hashing: u64,
    next_segment: u64,
    early: BTreeMap<u64, Hashed>,
    next_hashed: u64,
    /// Frames that are with workers.
    framing: u64,
    frames: u64,
}

impl<'e> Flow<'_, '_, 'e> {
    fn go(&mut self, mut input: Input<'e>, shape: Shape) -> Result<Collected, Error> {
        let run = self.run;
        let mut collector = Collector::new(
            run.session,
            run.repository.descriptor().chunk_size,
            shape,
            self.limits.pack_bytes,
            &run.control.progress,
        );
        let base = match &input {
            Input::Read { base, .. } => base.map(BackupVolume::record),
            Input::Planned { .. } => None,
        };
        if let Some(parent) = base.or(run.parent) {
            // With the directories of the parent's packs in memory, what has not changed is found without the index.
            let _ = warm(&run.engine.pool, run.repository, parent);
        }
        let mut end = None;
        while end.is_none() || self.hashing > 0 || self.framing > 0 {
            run.control.cancel.check(false)?;
            run.session.stay()?;
            let room = end.is_none() && self.hashing < self.limits.segments && self.framing < self.limits.frames;
            match &mut input {
                Input::Planned { plan, source, chunk_bytes } if room => match plan.next()? {
                    Some(reads) => {
                        let (source, chunk_bytes, pool) = (*source, *chunk_bytes, self.pool);
                        self.spawn_hash(move || {
                            let segment = hash::read(source, &reads, pool, chunk_bytes)?;
                            hash::hash(run.session, None, segment)
                        });
                        // Answers are taken as they come, so that frames keep the workers busy as well.
                        while let Ok(event) = self.incoming.try_recv() {
                            self.handle(event, &mut collector)?;
                        }
                    }
                    None => {
                        source.check_size()?;
                        end = Some(source.size());
                    }
                },
                Input::Read { steps, base } if room => select! {
                    recv(steps) -> step => match step {
                        Ok(Step::Segment(segment)) => {
                            let base = *base;
                            self.spawn_hash(move || hash::hash(run.session, base, segment));
                        }
                        Ok(Step::End(bytes)) => end = Some(bytes),
                        Ok(Step::Failed(error)) => return Err(error),
                        Err(_) => return Err(Error::Cancelled { partly_written: false }),
                    },
                    recv(self.incoming) -> event => if let Ok(event) = event {
                        self.handle(event, &mut collector)?;
                    },
                    // A stream may be silent for long: a request to stop is heard all the same.
                    default(std::time::Duration::from_millis(100)) => {}
                },
                _ => {
                    if let Ok(event) = self.incoming.recv() {
                        self.handle(event, &mut collector)?;
                    }
                }
            }
            if end.is_some()
                && self.hashing == 0
                && let Some(last) = collector.take_last()
            {
                self.spawn_frame(last);
            }
        }
        let mut finished = Vec::new();
        let collected = collector.finish(end.unwrap_or(0), &mut finished)?;
        self.store(finished)?;
        Ok(collected)
    }

    fn spawn_hash(&mut self, work: impl FnOnce() -> Result<Hashed, Error> + Send + 'e) {
        let number = self.next_segment;
        self.next_segment += 1;
        self.hashing += 1;
        let reply = Reply(self.events.clone(), false);
        self.workers.spawn(move |_| reply.send(Event::Hashed(number, work())));
    }

    fn spawn_frame(&mut self, frame: crate::backup::collect::OpenFrame) {
        let number = self.frames;
        self.frames += 1;
        self.framing += 1;
        let hashed = self.run.options.chunker == Chunker::Fixed;
        let compression: Compression = self.run.options.compression;
        let reply = Reply(self.events.clone(), false);
        self.workers.spawn(move |_| reply.send(Event::Framed(number, frame.encode(hashed, compression))));
    }

    fn handle(&mut self, event: Event, collector: &mut Collector<'_>) -> Result<(), Error> {
        let mut finished = Vec::new();
        match event {
            Event::Hashed(number, hashed) => {
                self.early.insert(number, hashed?);
                while let Some(hashed) = self.early.remove(&self.next_hashed) {
                    self.next_hashed += 1;
                    self.hashing -= 1;
                    collector.take(hashed, &mut finished)?;
                }
                for frame in collector.take_full() {
                    self.spawn_frame(frame);
                }
            }
            Event::Framed(number, frame) => {
                self.framing -= 1;
                collector.take_frame(number, frame?, &mut finished)?;
            }
            Event::Indexed(ids) => collector.forget(&ids),
            Event::Failed(error) => return Err(error),
            Event::Lost => return Err(Error::Cancelled { partly_written: false }),
        }
        self.store(finished)
    }

    /// Hands packs to the writer; waits while it is busy, which slows everything to the storage's speed.
    fn store(&mut self, finished: Vec<FinishedPack>) -> Result<(), Error> {
        for pack in finished {
            if self.packs.send(pack).is_err() {
                // The writer has stopped, and said why.
                for event in self.incoming.iter() {
                    match event {
                        Event::Failed(error) => return Err(error),
                        Event::Lost => return Err(Error::Cancelled { partly_written: false }),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}
