//! Copying backups into another repository: only what is missing there moves.
//!
//! The map of the backup is walked in the source, and its chunks are looked up in the target. What is not there is read frame by
//! frame, checked against its ids, and stored in packs of the target: whole frames as they are, single chunks in frames of their
//! own. The nodes of the map follow, and last the record. Chunks and nodes have the same ids in both repositories, unless one of them is
//! encrypted: ids are keyed then, and the volume is read from the one and backed up to the other.

mod flow;
mod frames;
mod renamed;

use std::collections::HashSet;
use std::time::Instant;

use cinderblock_store::{Error as StoreError, PackId, Record, Repository, Statistics, VolumeId, merge_hints};

use self::flow::Flow;
use crate::engine::{Control, Engine};
use crate::error::Error;

/// What a copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopySummary {
    /// Whether the target had the backup: then nothing was done, and the other numbers but the next are 0.
    pub already_there: bool,
    /// Size of the volume in bytes.
    pub volume_bytes: u64,
    /// Chunks of the volume that are not zero.
    pub chunks: u64,
    /// Chunks that the target did not have.
    pub new_chunks: u64,
    /// Their plain bytes.
    pub new_bytes: u64,
    /// Frames that moved as they were.
    pub moved_frames: u64,
    /// Frames that were made anew, of chunks of which the target had the neighbours, or which came from elsewhere.
    pub made_frames: u64,
    /// Stored bytes of frames that were read from the source.
    pub read_bytes: u64,
    /// Bytes that were added to the target: whole packs and segments.
    pub stored_bytes: u64,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// What was copied of a backup, before its record.
#[derive(Debug, Default)]
struct Copied {
    summary: CopySummary,
    data_packs: HashSet<PackId>,
    map_packs: Vec<PackId>,
}

/// Whether backups can be copied from one repository to the other at all.
///
/// # Errors
/// [`Error::BadCopy`] where they are the same repository, or have different chunk sizes: nothing would be shared.
pub fn check_copy(from: &Repository, to: &Repository) -> Result<(), Error> {
    let refused = |reason: String| Err(Error::BadCopy { to: to.backend().location(), reason });
    if from.id() == to.id() {
        return refused(format!("it is the same repository, {}, or a copy of its folder", to.id()));
    }
    let (ours, theirs) = (from.descriptor().chunk_size, to.descriptor().chunk_size);
    if ours != theirs {
        return refused(format!(
            "its chunks have {} bytes, those of the source {}: make another one with 'cinderblock init --chunk-size {ours}'",
            theirs.bytes(),
            ours.bytes()
        ));
    }
    Ok(())
}

impl Engine {
    /// Copies a backup into another repository: when this returns the backup exists there, under the same id; if it fails, it does
    /// not, and what was stored is used by the next attempt. Every chunk that moves is checked against its id.
    ///
    /// The record of the copy is that of the original, with the target's packs. Of its statistics, `new_bytes`, `new_chunks`,
    /// `stored_bytes` and `milliseconds` are those of the copying; the others tell of the volume, as before. The mark of the backup
    /// is not copied: it says what this repository is to do with it.
    ///
    /// # Errors
    /// [`Error::BadCopy`]; [`Error::CopyDiffers`]; [`Error::Uncopyable`] with the first part of the volume that was found to be lost;
    /// [`Error::Cancelled`]; what either repository says.
    pub fn copy(
        &self,
        from: &Repository,
        record: &Record,
        to: &Repository,
        control: &Control,
    ) -> Result<CopySummary, Error> {
        let started = Instant::now();
        check_copy(from, to)?;
        let there = CopySummary { already_there: true, volume_bytes: record.volume_bytes, ..CopySummary::default() };
        if is_there(record, from, to)? {
            return Ok(there);
        }
        if !from.ids().agree_with(to.ids()) {
            let summary = self.copy_renamed((from, record), to, control);
            return match summary {
                Err(Error::Store(StoreError::BackupExists { .. })) if is_there(record, from, to)? => Ok(there),
                other => other,
            };
        }
        let session = to.start_session(&format!("copy of {}/{}", record.volume, record.id))?;
        session.use_kept_directories();
        // What an attempt that was killed has stored, too.
        session.adopt_strays()?;
        let copied = Flow::run(self, (from, record), (to, &session), control).map_err(|error| match error {
            Error::Unrestorable { offset, length, source, .. } => Error::Uncopyable { offset, length, source },
            error => error,
        })?;
        control.cancel.check(false)?;
        let mut summary = copied.summary;
        summary.volume_bytes = record.volume_bytes;
        summary.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut data_packs = Vec::new();
        merge_hints(&mut data_packs, copied.data_packs);
        let mut map_packs = copied.map_packs;
        merge_hints(&mut map_packs, []);
        let mut copy = Record {
            statistics: Statistics {
                new_bytes: summary.new_bytes,
                new_chunks: summary.new_chunks,
                milliseconds: summary.milliseconds,
                ..record.statistics
            },
            hints_complete: true,
            data_packs,
            map_packs,
            session: session.id(),
            ..record.clone()
        };
        // Somebody else may have copied it meanwhile.
        if is_there(record, from, to)? {
            return Ok(there);
        }
        match session.commit(&mut copy) {
            Err(StoreError::BackupExists { .. }) if is_there(record, from, to)? => return Ok(there),
            committed => committed?,
        }
        summary.stored_bytes = copy.statistics.stored_bytes;
        Ok(summary)
    }
}

/// Whether the target has this backup; an error where it has another one with its id.
fn is_there(record: &Record, from: &Repository, to: &Repository) -> Result<bool, Error> {
    // Mostly it is where it ought to be, and the others need not be listed: of a thousand volumes, each night, most backups are.
    if is_equal(record, from, to, &record.volume)? {
        return Ok(true);
    }
    for (volume, id) in to.backups(None)? {
        if id == record.id && is_equal(record, from, to, &volume)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the target has a backup of this volume under the id, and it is this one.
fn is_equal(record: &Record, from: &Repository, to: &Repository, volume: &VolumeId) -> Result<bool, Error> {
    let theirs = match to.record(volume, record.id) {
        // Also where it was deleted since it was listed.
        Err(StoreError::BackupNotFound { .. }) => return Ok(false),
        other => other?,
    };
    let same = theirs.volume == record.volume
        && theirs.volume_bytes == record.volume_bytes
        && theirs.chunking == record.chunking
        // With other keys, nothing in the two maps is equal. When it was taken tells enough: no two backups have one id.
        && match from.ids().agree_with(to.ids()) {
            true => theirs.map == record.map,
            false => theirs.created_at == record.created_at,
        };
    match same {
        true => Ok(true),
        false => Err(Error::CopyDiffers { to: to.backend().location(), id: record.id, volume: volume.clone() }),
    }
}
