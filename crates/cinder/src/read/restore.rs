//! Restoring a chain.

use std::path::Path;
use std::sync::atomic::Ordering;

use cinderblock_pipeline::{NewFile, PageBuffer, Progress, Target, open_existing};
use rayon::ThreadPool;

use super::existing::Comparison;
use super::group::{PIECE_BYTES, Reader, Sink, Task, lane_bytes, lanes, lanes_of};
use super::output::Output;
use super::record::Record;
use super::rewrite::Rewrite;
use super::zeros::KnownZeros;
use crate::context::Context;
use crate::crew::{Crew, Tokens};
use crate::error::Error;
use crate::layer::Layer;
use crate::plan::RestorePlan;
use crate::storage::ChunkedStorage;

/// What the parts of one restore share.
#[derive(Debug)]
pub(crate) struct RestoreRun<'a> {
    pub context: &'a Context,
    pub pool: &'a ThreadPool,
    pub storage: &'a dyn ChunkedStorage,
    pub layers: &'a [Layer],
    pub plan: &'a RestorePlan,
}

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreSummary {
    /// Bytes of the volume that its layers cover: its size.
    pub volume_bytes: u64,
    /// Data objects that were read.
    pub objects: u64,
    /// Bytes that were written; what an existing target had already is not.
    pub written_bytes: u64,
    /// Bytes that are zero: holes in a new file, or made so in an existing one.
    pub zero_bytes: u64,
}

/// What part of the memory for buffers a record of the check pass may take: an eighth.
const RECORD_SHARE: u64 = 8;

/// How many objects are read side by side.
#[derive(Clone, Copy, Debug)]
struct Lanes {
    /// Objects of a group.
    lanes: usize,
    groups: u64,
    piece_bytes: u64,
}

/// Where the bytes of one pass over the objects go.
#[derive(Clone, Copy)]
enum Pass<'o> {
    /// They are only compared with what an existing target has.
    Compare(&'o Comparison<'o>),
    /// They are written to a new file.
    Write(&'o Output<'o>),
    /// What was recorded is written over an existing target.
    Rewrite(&'o Record, &'o Output<'o>),
}

/// Restores a planned chain.
///
/// A new file gets its name only when every object was checked. An existing target is not touched before all objects were: an
/// object's bytes can only be judged at its end. What memory did not hold until then is read a second time and checked again, piece
/// by piece, as far as the target does not have it already.
///
/// # Errors
/// [`Error::DamagedObject`], with an existing target as it was unless the object changed after it had been checked; and whatever
/// target or storage say. Whether an existing target is partly written, the second value tells.
pub(crate) fn restore(run: &RestoreRun<'_>, target: &Target) -> (Result<RestoreSummary, Error>, bool) {
    let (path, bytes) = (target.path(), run.plan.volume_bytes);
    let mut partly_written = false;
    let restored = match target {
        Target::New(_) => new(run, path, bytes),
        Target::Existing(_) => existing(run, path, bytes, &mut partly_written),
    };
    (restored, partly_written)
}

fn new(run: &RestoreRun<'_>, path: &Path, bytes: u64) -> Result<RestoreSummary, Error> {
    let file = NewFile::create(path, bytes)?;
    let output = Output::new(file.file(), path, true, &run.context.control.progress);
    let tasks = run.tasks();
    run.progress().total_bytes.fetch_add(bytes_of(&tasks), Ordering::Relaxed);
    let (lanes, groups) = lanes(run.context.settings.memory_bytes, run.context.settings.threads);
    run.pass(&tasks, Pass::Write(&output), Lanes { lanes, groups, piece_bytes: PIECE_BYTES })?;
    let summary = run.summary(&output);
    file.finish()?;
    Ok(summary)
}

fn existing(run: &RestoreRun<'_>, path: &Path, bytes: u64, partly_written: &mut bool) -> Result<RestoreSummary, Error> {
    let file = open_existing(path, bytes)?;
    let output = Output::new(&file, path, false, &run.context.control.progress);
    let (mut tasks, settings) = (run.tasks(), run.context.settings);
    let lists: usize = run.layers.iter().map(Layer::memory_bytes).sum();
    let memory_bytes = settings.memory_bytes.saturating_sub(lists) as u64;
    let record = Record::new(&tasks, memory_bytes / RECORD_SHARE);
    let memory_bytes = memory_bytes.saturating_sub(record.memory_bytes());
    let lane_bytes = lane_bytes(record.piece_bytes());
    let (lanes, groups) = lanes_of(memory_bytes / 2, settings.threads, lane_bytes);
    let comparing = groups * PageBuffer::memory_bytes(record.piece_bytes() as usize) as u64;
    record.may_hold(memory_bytes.saturating_sub(lanes as u64 * groups * lane_bytes).saturating_sub(comparing));
    let comparison = Comparison::new(&file, path, &record);
    let all = bytes_of(&tasks);
    run.progress().total_bytes.fetch_add(all.saturating_mul(2), Ordering::Relaxed);
    let plan = Lanes { lanes, groups, piece_bytes: record.piece_bytes() };
    run.pass(&tasks, Pass::Compare(&comparison), plan)?;
    tasks.retain(|task| record.differs(task));
    run.progress().done_bytes.fetch_add(all - bytes_of(&tasks), Ordering::Relaxed);
    let written = run
        .pass(&tasks, Pass::Rewrite(&record, &output), plan)
        .and_then(|()| file.sync_all().map_err(|source| output.failed("syncing", 0, source)));
    *partly_written = output.partly_written();
    written.map(|()| run.summary(&output))
}

fn bytes_of(tasks: &[Task<'_>]) -> u64 {
    tasks.iter().map(|task| task.object.length).sum()
}

impl RestoreRun<'_> {
    fn summary(&self, output: &Output<'_>) -> RestoreSummary {
        let (written_bytes, zero_bytes) = output.counts();
        let objects = self.plan.reads.len() as u64;
        RestoreSummary { volume_bytes: self.plan.volume_bytes, objects, written_bytes, zero_bytes }
    }

    fn progress(&self) -> &Progress {
        &self.context.control.progress
    }

    fn tasks(&self) -> Vec<Task<'_>> {
        let found = self.plan.reads.iter().filter_map(|read| {
            let layer = self.layers.get(read.layer)?;
            Some((layer, layer.objects.get(read.object)?, &read.ranges))
        });
        let tasks = found.enumerate().map(|(place, (layer, object, ranges))| Task { place, layer, object, ranges });
        tasks.collect()
    }

    /// Reads objects once.
    fn pass(&self, tasks: &[Task<'_>], pass: Pass<'_>, lanes: Lanes) -> Result<(), Error> {
        let crew = Crew::new(self.context.control.cancel.clone());
        self.pool.in_place_scope(|workers| {
            if let Err(error) = self.give_work(workers, tasks, (pass, lanes), &crew) {
                crew.fail(error);
            }
        });
        crew.outcome()
    }

    fn give_work<'scope>(
        &'scope self,
        workers: &rayon::Scope<'scope>,
        tasks: &'scope [Task<'scope>],
        (pass, Lanes { lanes, groups, piece_bytes }): (Pass<'scope>, Lanes),
        crew: &'scope Crew,
    ) -> Result<(), Error> {
        // Of what is recorded, objects that need not be read again are work for one thread each.
        let alone = |task: &Task<'_>| matches!(pass, Pass::Rewrite(record, _) if !record.is_read_again(task));
        // The others are shared out evenly.
        let count = tasks.iter().filter(|task| !alone(task)).count();
        let rounds = count.div_ceil(groups as usize).div_ceil(lanes).max(1);
        let lanes = count.div_ceil(groups as usize * rounds).max(1);
        let mut zeros = KnownZeros::default();
        let tokens = Tokens::new(groups);
        let mut group = Vec::with_capacity(lanes);
        let spawn = |work: Box<dyn FnOnce() -> Result<(), Error> + Send + 'scope>| {
            let token = tokens.take();
            workers.spawn(move |_| {
                let _token = token;
                if let Err(error) = work() {
                    crew.fail(error);
                }
            });
        };
        for task in tasks {
            crew.check()?;
            if !matches!(pass, Pass::Rewrite(..)) && zeros.check(task, self.storage)? {
                spawn(Box::new(move || self.zeros(task, pass)));
                continue;
            }
            if alone(task) {
                spawn(Box::new(move || self.read(&[*task], pass, (crew, piece_bytes))));
                continue;
            }
            group.push(*task);
            if group.len() >= lanes {
                let group = std::mem::take(&mut group);
                spawn(Box::new(move || self.read(&group, pass, (crew, piece_bytes))));
            }
        }
        if !group.is_empty() {
            spawn(Box::new(move || self.read(&group, pass, (crew, piece_bytes))));
        }
        Ok(())
    }

    /// An object that is known to be all zeros.
    fn zeros(&self, task: &Task<'_>, pass: Pass<'_>) -> Result<(), Error> {
        match pass {
            Pass::Compare(comparison) => comparison.zeros(task)?,
            Pass::Write(output) => {
                task.ranges.iter().try_for_each(|range| output.zeros(range.start, range.end - range.start))?;
            }
            // Zeros are in the record.
            Pass::Rewrite(..) => {}
        }
        self.done(task);
        Ok(())
    }

    fn read(&self, group: &[Task<'_>], pass: Pass<'_>, (crew, piece_bytes): (&Crew, u64)) -> Result<(), Error> {
        let storage = self.storage;
        let sink: &dyn Sink = match pass {
            Pass::Compare(comparison) => comparison,
            Pass::Write(output) => output,
            Pass::Rewrite(record, output) => {
                Rewrite { storage, crew, record, output }.run(group)?;
                group.iter().for_each(|task| self.done(task));
                return Ok(());
            }
        };
        let reader = Reader { storage, crew, piece_bytes };
        for (outcome, task) in reader.read(group, sink)?.into_iter().zip(group) {
            outcome?;
            self.done(task);
        }
        Ok(())
    }

    fn done(&self, task: &Task<'_>) {
        self.progress().done_bytes.fetch_add(task.object.length, Ordering::Relaxed);
    }
}
