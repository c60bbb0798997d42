//! One backup being written: what its threads share, and who gives them work.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::bounded;
use rayon::{Scope, ThreadPool};

use super::group::{self, Done, Work};
use super::ledger::{Ledger, Totals};
use super::own::Own;
use super::piece::piece_bytes;
use super::report::Reporter;
use super::scan;
use super::sink::Written;
use super::zeros::{Claim, ZeroObject, ZeroObjects, ZeroWork};
use crate::backup::Backup;
use crate::blocks::Blocks;
use crate::compression::{Algorithm, Compression, RingEncoder};
use crate::context::Context;
use crate::crew::{Crew, Tokens};
use crate::document::{BlockHash, ExtraMetadata, Head};
use crate::error::Error;
use crate::hashes::HashStream;
use crate::layout::ObjectPrefix;
use crate::storage::{ChunkedStorage, ObjectWriter};
use crate::volume::Volume;

/// Works that are done side by side at most: the lanes of a SIMD register.
const MAX_LANES: u64 = 8;

/// What accompanies a backup besides its data.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// The volume's metadata, as the JSON text that Cinder puts back at a restore.
    pub volume_meta: Option<String>,
    /// The storage's own facts.
    pub extra_metadata: Option<ExtraMetadata>,
}

/// How much is under way at once.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Works in a group.
    lanes: u64,
    /// Groups at once.
    groups: u64,
    /// Objects that may be done ahead of the first one that is not.
    window: u64,
}

/// Memory of a piece and its encoder, in bytes, rounded up from what was measured: [`Encoder`](crate::compression::Encoder).
fn coder_bytes(algorithm: Algorithm, piece: u64, object: u64) -> u64 {
    match algorithm {
        Algorithm::None => piece,
        Algorithm::Zlib => piece.saturating_add(1 << 20),
        // Without a ring, or with one.
        Algorithm::Zstd => {
            piece.saturating_add(4 << 20).max(RingEncoder::<Vec<u8>>::with_ring_bytes(piece.min(object)))
        }
        Algorithm::Bz2 => piece.saturating_add(8 << 20),
    }
}

impl Limits {
    fn new(
        context: &Context,
        blocks: &Blocks,
        (chunk_bytes, volume_bytes): (u64, u64),
        writer_bytes: u64,
    ) -> Result<Self, Error> {
        let half = context.settings.memory_bytes as u64 / 2;
        let hash_bytes = (chunk_bytes / blocks.bytes()).saturating_mul(32);
        // A writer holds no more than an object has. Those of the two documents are in the other half.
        let writer_bytes = writer_bytes.min(chunk_bytes);
        let lane_bytes = coder_bytes(context.compression.algorithm(), piece_bytes(blocks), chunk_bytes)
            .saturating_add(hash_bytes)
            .saturating_add(writer_bytes);
        if lane_bytes > half {
            let what = format!("a backup with hash blocks of {} and objects of {chunk_bytes} bytes", blocks.bytes());
            return Err(Error::NotEnoughMemory { what, needed: lane_bytes.saturating_mul(2), limit: half * 2 });
        }
        let (affordable, threads) = (half / lane_bytes, context.settings.threads.max(1) as u64);
        let groups = threads.min(affordable);
        // Few objects are shared out evenly.
        let even = volume_bytes.div_ceil(chunk_bytes).div_ceil(groups).max(1);
        let lanes = (affordable / groups).min(MAX_LANES).min(even).max(1);
        let window = (half / 4 / hash_bytes.max(256)).min(4096).max(lanes * groups);
        Ok(Self { lanes, groups, window })
    }
}

/// What is written where.
pub(crate) struct Run<'a> {
    pub(super) context: &'a Context,
    pub(super) pool: &'a ThreadPool,
    pub(super) volume: &'a dyn Volume,
    pub(super) compression: Compression,
    pub(super) blocks: Blocks,
    pub(super) chunk_bytes: u64,
    pub(super) ledger: Ledger<'a>,
    pub(super) own: &'a Own,
    pub(super) reporter: Reporter<'a>,
    storage: &'a dyn ChunkedStorage,
    container: &'a str,
    prefix: ObjectPrefix,
    extra_metadata: Option<&'a ExtraMetadata>,
    limits: Limits,
    pub(super) zeros: ZeroObjects,
    pub(super) crew: Crew,
    /// Number and offset of a full backup's next chunk.
    next: Mutex<(u64, u64)>,
}

impl<'a> Run<'a> {
    /// Begins the documents. Container and prefix of `backup` are set.
    pub(crate) fn new(
        (context, pool, storage): (&'a Context, &'a ThreadPool, &'a dyn ChunkedStorage),
        (backup, container, prefix, own): (&'a Backup, &'a str, ObjectPrefix, &'a Own),
        (volume, facts): (&'a dyn Volume, &'a Facts),
        (head, blocks, chunk_bytes): (&Head, Blocks, u64),
    ) -> Result<Self, Error> {
        let extra_metadata = facts.extra_metadata.as_ref();
        let limits = Limits::new(context, &blocks, (chunk_bytes, volume.size()), storage.writer_bytes())?;
        let begin =
            |name: String| storage.get_object_writer(container, &name, extra_metadata.map(ExtraMetadata::value));
        let documents = [begin(prefix.metadata())?, begin(prefix.sha256file())?];
        let heads = (head, blocks.bytes());
        let ledger = Ledger::new(prefix.clone(), context.compression, limits.window, heads, extra_metadata, documents)?;
        Ok(Self {
            context,
            pool,
            volume,
            compression: context.compression,
            blocks,
            chunk_bytes,
            ledger,
            own,
            reporter: Reporter::new(context, backup, volume.size()),
            storage,
            container,
            prefix,
            extra_metadata,
            limits,
            zeros: ZeroObjects::default(),
            crew: Crew::new(context.control.cancel.clone()),
            next: Mutex::new((1, 0)),
        })
    }

    /// Writes all data objects; with a list of a parent's hashes, only what differs from it.
    pub(crate) fn write(&self, parent: Option<(&'a str, String)>, with_timer: bool) -> Result<(), Error> {
        let full = parent.is_none();
        std::thread::scope(|threads| {
            let (_ended, timer) = bounded::<()>(0);
            if with_timer && self.context.notify.is_some() {
                threads.spawn(move || self.reporter.run_timer(&timer));
            }
            let mut parent =
                parent.map(|(container, object)| HashStream::start(threads, self.storage, container, object));
            self.pool.in_place_scope(|workers| {
                if let Err(error) = self.give_work(workers, parent.as_mut()) {
                    self.fail(error);
                }
            });
        });
        self.crew.outcome()?;
        if full {
            let (_, given) = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(given >= self.volume.size(), "a group that ends early leaves its chunks to one that goes on");
        }
        self.volume.check_unchanged()?;
        self.reporter.end();
        Ok(())
    }

    /// Writes both documents.
    pub(crate) fn finish(self, parent_id: Option<&str>, volume_meta: Option<&str>) -> Result<Totals, Error> {
        self.ledger.finish(self.own, parent_id, volume_meta)
    }

    fn give_work<'scope>(
        &'scope self,
        workers: &Scope<'scope>,
        parent: Option<&mut HashStream<'_>>,
    ) -> Result<(), Error> {
        let mut giver = Giver { run: self, workers, tokens: Tokens::new(self.limits.groups), group: Vec::new() };
        match parent {
            Some(parent) => scan::scan(self, parent, &mut |work| giver.give(work))?,
            None => {
                for _ in 0..self.limits.groups {
                    giver.spawn(1, move || group::write(self, &mut || self.next_chunk()))?;
                }
            }
        }
        giver.close()
    }

    /// The next chunk of a full backup that is no hole; the holes before it are written. None at the end, or where too much is
    /// done ahead: nobody waits, because the one to wait for may be under way further down on the same thread's stack. The
    /// group that has it takes what is left.
    fn next_chunk(&self) -> Result<Option<Work>, Error> {
        let size = self.volume.size();
        loop {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let (number, offset) = *next;
            if offset >= size || !self.ledger.is_its_turn(number) {
                return Ok(None);
            }
            let length = self.chunk_bytes.min(size - offset);
            *next = (number + 1, offset + length);
            drop(next);
            let work = Work { number, offset, length, expected: None };
            if self.volume.next_data(offset, offset + length)?.is_some() {
                return Ok(Some(work));
            }
            self.write_hole(&work)?;
        }
    }

    /// How many works a group has at most at once.
    pub(super) fn lanes(&self) -> usize {
        self.limits.lanes as usize
    }

    /// Whether to go on: before every object, and every piece of one.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.crew.check()
    }

    /// Lets all threads stop.
    fn fail(&self, error: Error) {
        self.crew.fail(error);
        self.ledger.stop();
    }

    /// Begins data object `number`.
    pub(super) fn begin_object(&self, number: u64) -> Result<(String, Box<dyn ObjectWriter + '_>), Error> {
        let name = self.prefix.data(number);
        let writer =
            self.storage.get_object_writer(self.container, &name, self.extra_metadata.map(ExtraMetadata::value))?;
        Ok((name, writer))
    }

    /// An object is stored.
    pub(super) fn stored(&self, done: Done) -> Result<(), Error> {
        let (bytes, full) = (done.stored_bytes, !done.hashes.is_empty());
        let objects = self.ledger.take(done)?;
        self.reporter.stored(bytes, objects);
        if full {
            self.reporter.chunk_done();
        }
        Ok(())
    }

    /// Writes an object that is a hole of the volume.
    fn write_hole(&self, work: &Work) -> Result<(), Error> {
        let Work { offset, length, .. } = *work;
        if let Some(expected) = &work.expected {
            if !self.blocks.hashes_of_zeros(length).eq(expected.iter().copied()) {
                return Err(Error::VolumeChanged { offset, length });
            }
            return self.write_zeros(work, Vec::new());
        }
        self.write_zeros(work, self.blocks.hashes_of_zeros(length).collect())?;
        self.reporter.passed(length);
        Ok(())
    }

    /// Writes an object of zeros, the hashes of whose blocks are these, or none for an increment; or leaves that to the thread that
    /// is about to make such an object.
    pub(super) fn write_zeros(&self, work: &Work, hashes: Vec<BlockHash>) -> Result<(), Error> {
        self.check()?;
        let Work { number, offset, length, .. } = *work;
        let (object, works) = match self.zeros.claim(ZeroWork { number, offset, length, hashes }) {
            Claim::Write(object, work) => (object, vec![work]),
            Claim::Make(work) => {
                let (object, mut works) = self.zeros.make(length, self.compression.algorithm(), &self.crew)?;
                works.insert(0, work);
                (object, works)
            }
            Claim::Given => return Ok(()),
        };
        works.into_iter().try_for_each(|work| self.write_zero_object(&object, work))
    }

    fn write_zero_object(&self, object: &ZeroObject, work: ZeroWork) -> Result<(), Error> {
        self.check()?;
        let ZeroWork { number, offset, length, hashes } = work;
        let (name, writer) = self.begin_object(number)?;
        let (compressed, stored_bytes) = match object.write(&name, writer, (number, self.own, &self.crew))? {
            Written::Stored(bytes) => (true, bytes),
            Written::NotSmaller => (false, length),
        };
        self.stored(Done { number, offset, length, md5: object.md5, compressed, stored_bytes, hashes })
    }
}

/// A worker that panics does not tell the ledger of its object: nobody may wait for it.
struct StopsOnPanic<'r, 'a>(&'r Run<'a>);

impl Drop for StopsOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.crew.stop();
            self.0.ledger.stop();
        }
    }
}

/// Gathers works into groups, and gives them to the workers as these become free.
struct Giver<'s, 'scope, 'a> {
    run: &'scope Run<'a>,
    workers: &'s Scope<'scope>,
    tokens: Tokens,
    group: Vec<Work>,
}

impl<'scope> Giver<'_, 'scope, '_> {
    fn give(&mut self, work: Work) -> Result<(), Error> {
        self.run.check()?;
        // The ledger would wait for what is still being gathered here.
        if self.group.first().is_some_and(|first| work.number - first.number >= self.run.limits.window / 2) {
            self.close()?;
        }
        if self.run.volume.next_data(work.offset, work.offset + work.length)?.is_none() {
            let run = self.run;
            return self.spawn(work.number, move || run.write_hole(&work));
        }
        self.group.push(work);
        if self.group.len() as u64 >= self.run.limits.lanes { self.close() } else { Ok(()) }
    }

    /// Gives away the group as it is.
    fn close(&mut self) -> Result<(), Error> {
        let (run, works) = (self.run, std::mem::take(&mut self.group));
        match works.first() {
            Some(first) => self.spawn(first.number, move || {
                let mut works = works.into_iter();
                group::write(run, &mut || Ok(works.next()))
            }),
            None => Ok(()),
        }
    }

    fn spawn(&self, number: u64, work: impl FnOnce() -> Result<(), Error> + Send + 'scope) -> Result<(), Error> {
        self.run.ledger.wait_for_turn(number);
        let token = self.tokens.take();
        self.run.check()?;
        let run = self.run;
        self.workers.spawn(move |_| {
            let _token = token;
            let _panic = StopsOnPanic(run);
            if let Err(error) = work() {
                run.fail(error);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cinderblock_pipeline::Settings;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn at_once(memory_bytes: u64, writer_bytes: u64, chunk_bytes: u64) -> Option<u64> {
        let settings = Settings { threads: 16, memory_bytes: memory_bytes as usize };
        let context = Context { settings, ..Context::default() };
        let limits = Limits::new(&context, &Blocks::new(32 << 10), (chunk_bytes, 1 << 40), writer_bytes).ok()?;
        Some(limits.lanes * limits.groups)
    }

    /// Each of 16 threads would have begun an object in a bucket, and held 50 MiB of it.
    #[test]
    fn what_writers_hold_is_within_the_memory() {
        assert!(at_once(256 * MIB, 0, 50 * MIB) >= Some(16));
        assert_eq!(at_once(256 * MIB, 64 * MIB, 50 * MIB), Some(2));
        assert_eq!(at_once(1024 * MIB, 40 * MIB, 50 * MIB), Some(11));
        // A writer holds no more than an object has.
        assert!(at_once(256 * MIB, 64 * MIB, MIB) >= Some(16));
        assert_eq!(at_once(96 * MIB, 64 * MIB, 50 * MIB), None);
    }
}
