//! The run of a backup: from a source to a record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cinderblock_chunker::{ContentChunker, ContentParameters, Grid};
use cinderblock_store::map::Shape;
use cinderblock_store::{BackupId, Chunking, Record, Repository, Session, Timestamp};
use crossbeam_channel::{bounded, unbounded};

use crate::backup::collect::Collected;
use crate::backup::flow::{Event, Flow, Input};
use crate::backup::limits::Limits;
use crate::backup::overlay::{self, Reading};
use crate::backup::plan::Plan;
use crate::backup::reader::{self, Cutter, Reader};
use crate::backup::{BackupOptions, Chunker, Parent, write};
use crate::buffer::BufferPool;
use crate::engine::{Control, Engine, in_flight};
use crate::error::Error;
use crate::source::{Kind, Overlay, Source};
use crate::volume::BackupVolume;

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
        self.run_backup(repository, source, options, control, None::<fn(&Record) -> Result<(), Error>>)
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
        self.run_backup(repository, source, options, control, Some(check))
    }

    fn run_backup<E: From<Error>>(
        &self,
        repository: &Repository,
        source: Source,
        options: &BackupOptions,
        control: &Control,
        check: Option<impl FnOnce(&Record) -> Result<(), E>>,
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
        let (session, parent) = start(repository, options).map_err(failed)?;
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
        if let Some(check) = check {
            // What is in no segment yet cannot be found.
            session.flush().map_err(failed)?;
            check(&record)?;
        }
        record.statistics.milliseconds = started.elapsed().as_millis() as u64;
        if options.id.is_some() {
            // Another backup may have taken the id while this one was running.
            check_free(repository, id)?;
        }
        session.commit(&mut record).map_err(failed)?;
        Ok(record)
    }
}

/// Announces the backup, and finds its parent.
fn start<'r>(
    repository: &'r Repository,
    options: &BackupOptions,
) -> Result<(Session<'r>, Option<Record>), cinderblock_store::Error> {
    let activity = format!("backup of {}", options.volume);
    let find_parent = || match &options.parent {
        Parent::None => Ok(None),
        Parent::Auto => repository.newest_backup(&options.volume),
        Parent::Backup(volume, id) => repository.record(volume, *id).map(Some),
    };
    if in_flight(repository) <= 1 {
        return Ok((repository.start_session(&activity)?, find_parent()?));
    }
    // A parent is a hint, and may be read before the announcement; so may the index, which names packs but does not say that they are there.
    std::thread::scope(|threads| {
        let parent = threads.spawn(|| {
            let parent = find_parent()?;
            if parent.is_none() {
                // It will be needed at once. What is wrong with it is found again then.
                let _ = repository.prepare_index();
            }
            Ok::<_, cinderblock_store::Error>(parent)
        });
        let session = repository.start_session(&activity).inspect(Session::use_kept_directories);
        let parent = parent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((session?, parent?))
    })
}

/// A backup's id names it alone, whatever its volume.
fn check_free(repository: &Repository, id: BackupId) -> Result<(), Error> {
    match repository.backups(None)?.into_iter().find(|(_, taken)| *taken == id) {
        Some((volume, id)) => Err(cinderblock_store::Error::BackupExists { id, volume }.into()),
        None => Ok(()),
    }
}

/// A backup that runs.
pub(super) struct Run<'a> {
    pub engine: &'a Engine,
    pub repository: &'a Repository,
    pub session: &'a Session<'a>,
    pub options: &'a BackupOptions,
    pub control: &'a Control,
    pub parent: Option<&'a Record>,
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
        let limits = Limits::new(
            self.engine.settings(),
            in_flight(self.repository),
            chunk_size.bytes() as usize,
            largest as usize,
        );
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
            let writers: Vec<_> = (0..limits.uploads)
                .map(|_| {
                    let (finished_packs, events) = (finished_packs.clone(), events.clone());
                    threads.spawn(move || write::run(self.repository, self.session, &finished_packs, &events))
                })
                .collect();
            // Else a pack could be handed over when all of them have failed.
            drop(finished_packs);
            if in_flight(self.repository) > 1 && self.parent.is_some() && self.repository.has_index() {
                // Ready when the first chunk is not found in the parent's packs; what is wrong with it is found again then.
                threads.spawn(|| drop(self.repository.prepare_index()));
            }
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
            // The packs' channel is closed: the writers end when all is stored.
            for writer in writers {
                if let Err(panic) = writer.join() {
                    std::panic::resume_unwind(panic);
                }
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
