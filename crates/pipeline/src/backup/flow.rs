//! [`Flow`]: the collecting thread of a backup, which plans, gives work away, and takes what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use cinderblock_store::ChunkId;
use cinderblock_store::map::Shape;
use cinderblock_store::pack::FinishedPack;
use cinderblock_store::pack::frame::{Compression, EncodedFrame};
use crossbeam_channel::{Receiver, Sender, select};
use rayon::Scope;

use crate::backup::Chunker;
use crate::backup::collect::{Collected, Collector};
use crate::backup::hash::{self, Hashed};
use crate::backup::limits::Limits;
use crate::backup::plan::Plan;
use crate::backup::reader::Step;
use crate::backup::run::Run;
use crate::buffer::BufferPool;
use crate::engine::{Warmed, warm};
use crate::error::Error;
use crate::source::VolumeFile;
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
pub(super) enum Input<'f> {
    /// Workers read the file themselves, as planned here.
    Planned { plan: Plan<'f>, source: &'f VolumeFile, chunk_bytes: u32 },
    /// A thread reads; of `base`, segments may name chunks that are kept.
    Read { steps: Receiver<Step>, base: Option<&'f BackupVolume<'f>> },
}

/// The state of the collecting thread.
pub(super) struct Flow<'s, 'a, 'e> {
    pub run: &'e Run<'a>,
    pub limits: Limits,
    pub pool: &'e Arc<BufferPool>,
    pub workers: &'s Scope<'e>,
    pub events: Sender<Event>,
    pub incoming: &'s Receiver<Event>,
    pub packs: Sender<FinishedPack>,
    /// Segments that are with workers, or back too early.
    pub hashing: u64,
    pub next_segment: u64,
    pub early: BTreeMap<u64, Hashed>,
    pub next_hashed: u64,
    /// Frames that are with workers.
    pub framing: u64,
    pub frames: u64,
}

impl<'e> Flow<'_, '_, 'e> {
    /// Plans and collects, until the volume ends and all workers have answered.
    pub(super) fn go(&mut self, mut input: Input<'e>, shape: Shape) -> Result<Collected, Error> {
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
            let _ = warm(&run.engine.pool, run.repository, parent, Warmed::IfFew);
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
        let chunk_size = self.run.repository.descriptor().chunk_size;
        let hashed = self.run.options.chunker == Chunker::Fixed && chunk_size.is_hashed();
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
