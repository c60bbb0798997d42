//! Restoring a volume: into a new file, over an existing file or device, or as a stream.
//!
//! The map is read leaf by leaf. What is wanted is grouped by pack and frame and merged into reads of up to 1 MiB, or 4 MiB where each request
//! takes its time; worker threads read, decompress and verify them and write at the chunks' places. From a storage that is far away threads of
//! their own read, as many at once as keep it busy, and the workers do the rest. Memory is bounded by the engine's settings, whatever the
//! volume's size.

pub(crate) mod budget;
mod compare;
mod extents;
pub(crate) mod fetch;
mod file;
pub(crate) mod find;
pub(crate) mod plan;
mod run;
mod stream;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use cinderblock_store::{Record, Repository};

use self::run::Run;
use crate::engine::{Control, Engine};
use crate::error::Error;
use crate::target::{NewFile, Target, open_existing};

/// What a restore did. Every byte of the volume is one of written, unchanged, or, in a new file, a hole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreSummary {
    /// Size of the volume in bytes.
    pub volume_bytes: u64,
    /// Stored bytes of frames that were read from the repository.
    pub read_bytes: u64,
    /// Bytes that were written to the target, or there made zero.
    pub written_bytes: u64,
    /// Bytes that an existing target had already, zeros and holes included.
    pub unchanged_bytes: u64,
    /// Bytes of the volume that its map says are zero.
    pub zero_bytes: u64,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Engine {
    /// Restores a backup to a file or a device. Only bytes that were verified are ever written.
    ///
    /// A new file appears when it is whole and durable; after an error there is none. An existing target is made durable
    /// at the end; after an error it may hold a mixture of old and new bytes, as the error says, and another restore
    /// of the same backup goes on from there.
    ///
    /// # Errors
    /// [`Error::BadTarget`] before anything is written; [`Error::Unrestorable`] with the first part of the volume that was found
    /// to be lost; [`Error::Target`]; [`Error::Cancelled`].
    pub fn restore(
        &self,
        repository: &Repository,
        record: &Record,
        target: &Target,
        control: &Control,
    ) -> Result<RestoreSummary, Error> {
        let started = Instant::now();
        let run = Run::new(self, repository, record, control, self.settings().memory_bytes / 2);
        let path = target.path();
        match target {
            Target::New(_) => {
                let file = NewFile::create(path, record.volume_bytes)?;
                run.outcome(run.fill_new(file.file()), path, false)?;
                file.finish()?;
            }
            Target::Existing(_) => {
                let file = open_existing(path, record.volume_bytes)?;
                run.outcome(run.fill_existing(&file), path, true)?;
            }
        }
        Ok(run.summary(milliseconds(started)))
    }

    /// Restores a backup as a stream of all its bytes in order, zeros included. Nothing is written before it was
    /// verified. A quarter of the engine's memory is worked ahead.
    ///
    /// # Errors
    /// [`Error::Unrestorable`] when the first part that is lost is due, or before; [`Error::Target`] with the path `-` where `writer` fails;
    /// [`Error::Cancelled`]. What was written until then is right.
    pub fn restore_to_writer(
        &self,
        repository: &Repository,
        record: &Record,
        writer: &mut dyn Write,
        control: &Control,
    ) -> Result<RestoreSummary, Error> {
        let started = Instant::now();
        let memory = self.settings().memory_bytes;
        let run = Run::new(self, repository, record, control, memory / 4);
        run.outcome(run.stream(writer, memory / 4), Path::new("-"), false)?;
        Ok(run.summary(milliseconds(started)))
    }
}
