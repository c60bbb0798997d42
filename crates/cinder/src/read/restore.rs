//! Restoring a chain.

use std::path::Path;
use std::sync::atomic::Ordering;

use cinderblock_pipeline::{NewFile, Target, open_existing};
use rayon::ThreadPool;

use super::group::{Reader, Sink, Task, lanes};
use super::output::Output;
use super::zeros::KnownZeros;
use crate::context::Context;
use crate::crew::{Crew, Tokens};
use crate::error::Error;
use crate::layer::Layer;
use crate::plan::{Read, RestorePlan};
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
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Bytes that are zero; holes in a new file.
    pub zero_bytes: u64,
}

/// Takes bytes only to have them checked.
struct Nowhere;

impl Sink for Nowhere {
    fn take(&self, _task: &Task<'_>, _offset: u64, _bytes: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

/// Where the bytes of one pass over the objects go.
#[derive(Clone, Copy)]
enum Pass<'o> {
    Check,
    Write(&'o Output<'o>),
}

/// Restores a planned chain.
///
/// A new file gets its name only when every object was checked. An existing target is not touched before all objects were: they
/// are read twice, because an object's bytes can only be judged at its end, and it may be larger than memory.
///
/// # Errors
/// [`Error::DamagedObject`], with an existing target as it was; and whatever target or storage say. Whether an existing target is
/// partly written, the second value tells.
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
    run.pass(Pass::Write(&output), 1, &mut KnownZeros::default())?;
    let summary = run.summary(&output);
    file.finish()?;
    Ok(summary)
}

fn existing(run: &RestoreRun<'_>, path: &Path, bytes: u64, partly_written: &mut bool) -> Result<RestoreSummary, Error> {
    let file = open_existing(path, bytes)?;
    let output = Output::new(&file, path, false, &run.context.control.progress);
    let mut zeros = KnownZeros::default();
    let written = run
        .pass(Pass::Check, 2, &mut zeros)
        .and_then(|()| run.pass(Pass::Write(&output), 2, &mut zeros))
        .and_then(|()| file.sync_all().map_err(|source| output.failed("syncing", 0, source)));
    *partly_written = output.partly_written();
    written.map(|()| run.summary(&output))
}

impl RestoreRun<'_> {
    fn summary(&self, output: &Output<'_>) -> RestoreSummary {
        let (written_bytes, zero_bytes) = output.counts();
        let objects = self.plan.reads.len() as u64;
        RestoreSummary { volume_bytes: self.plan.volume_bytes, objects, written_bytes, zero_bytes }
    }

    /// Reads all objects once.
    fn pass(&self, pass: Pass<'_>, passes: u64, zeros: &mut KnownZeros) -> Result<(), Error> {
        let tasks: Vec<Task<'_>> = self.plan.reads.iter().filter_map(|read| self.task(read)).collect();
        let all: u64 = tasks.iter().map(|task| task.object.length).sum();
        self.context.control.progress.total_bytes.store(all.saturating_mul(passes), Ordering::Relaxed);
        let crew = Crew::new(self.context.control.cancel.clone());
        self.pool.in_place_scope(|workers| {
            if let Err(error) = self.give_work(workers, &tasks, pass, (&crew, zeros)) {
                crew.fail(error);
            }
        });
        crew.outcome()
    }

    fn task<'r>(&'r self, read: &'r Read) -> Option<Task<'r>> {
        let layer = self.layers.get(read.layer)?;
        let object = layer.objects.get(read.object)?;
        Some(Task { layer, object, ranges: &read.ranges })
    }

    fn give_work<'scope>(
        &'scope self,
        workers: &rayon::Scope<'scope>,
        tasks: &'scope [Task<'scope>],
        pass: Pass<'scope>,
        (crew, zeros): (&'scope Crew, &mut KnownZeros),
    ) -> Result<(), Error> {
        let settings = self.context.settings;
        let (lanes, groups) = lanes(settings.memory_bytes, settings.threads);
        // Few objects are shared out evenly.
        let lanes = lanes.min(tasks.len().div_ceil(groups as usize)).max(1);
        let tokens = Tokens::new(groups);
        let mut group = Vec::with_capacity(lanes);
        let spawn = |group: &mut Vec<Task<'scope>>| {
            if group.is_empty() {
                return;
            }
            let (group, token) = (std::mem::take(group), tokens.take());
            workers.spawn(move |_| {
                let _token = token;
                if let Err(error) = self.read(&group, pass, crew) {
                    crew.fail(error);
                }
            });
        };
        for task in tasks {
            crew.check()?;
            if zeros.check(task, self.storage)? {
                if let Pass::Write(output) = pass {
                    task.ranges.iter().try_for_each(|range| output.zeros(range.start, range.end - range.start))?;
                }
                self.done(task);
                continue;
            }
            group.push(*task);
            if group.len() >= lanes {
                spawn(&mut group);
            }
        }
        spawn(&mut group);
        Ok(())
    }

    fn read(&self, group: &[Task<'_>], pass: Pass<'_>, crew: &Crew) -> Result<(), Error> {
        let reader = Reader { storage: self.storage, crew };
        let sink: &dyn Sink = match pass {
            Pass::Check => &Nowhere,
            Pass::Write(output) => output,
        };
        for (outcome, task) in reader.read(group, sink)?.into_iter().zip(group) {
            outcome?;
            self.done(task);
        }
        Ok(())
    }

    fn done(&self, task: &Task<'_>) {
        self.context.control.progress.done_bytes.fetch_add(task.object.length, Ordering::Relaxed);
    }
}
