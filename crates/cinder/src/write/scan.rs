//! Scanning a volume for blocks that differ from the parent's.

use std::cell::RefCell;

use rayon::prelude::*;

use super::group::Work;
use super::piece::{Piece, step_bytes};
use super::run::Run;
use crate::document::BlockHash;
use crate::error::Error;
use crate::hashes::HashStream;

/// Bytes of the volume that are hashed together, on all threads: 64 MiB, or one step where that is more.
const WINDOW_BYTES: u64 = 64 << 20;

/// Hash blocks of these at most, or one step where that has more: 131,072. Their hashes, the parent's, and the lists on the way
/// are some 20 MiB.
const WINDOW_BLOCKS: u64 = 1 << 17;

thread_local! {
    static PIECE: RefCell<Piece> = RefCell::default();
}

/// Hashes of the blocks from `offset` on. What is known is not read.
fn hash(run: &Run<'_>, offset: u64, length: u64) -> Result<Vec<BlockHash>, Error> {
    let (volume, blocks) = (run.volume, &run.blocks);
    let first = offset / blocks.bytes();
    let count = blocks.count(length) as usize;
    let mut known = Vec::new();
    volume.known_hashes(blocks.bytes(), first, count, &mut known)?;
    let known: Option<Vec<BlockHash>> = known.into_iter().collect();
    if let Some(hashes) = known.filter(|hashes| hashes.len() == count) {
        return Ok(hashes);
    }
    let mut hashes = Vec::with_capacity(count);
    PIECE.with_borrow_mut(|piece| piece.read(volume, blocks, (offset, length, 0), Some(&mut hashes)))?;
    Ok(hashes)
}

/// Hashes the volume from its start to its end, compares it with the parent's hashes, and calls `emit` with each run of changed
/// blocks. As in Cinder, a run never crosses a multiple of the chunk size.
pub(super) fn scan(
    run: &Run<'_>,
    parent: &mut HashStream<'_>,
    emit: &mut dyn FnMut(Work) -> Result<(), Error>,
) -> Result<(), Error> {
    let (size, block, step) = (run.volume.size(), run.blocks.bytes(), step_bytes(&run.blocks));
    let window_bytes = WINDOW_BYTES.min(WINDOW_BLOCKS.saturating_mul(block));
    let window = (window_bytes / step).max(1) * step;
    let mut number = 1;
    let mut open: Option<Work> = None;
    let mut offset = 0;
    let mut before = Vec::new();
    while offset < size {
        run.check()?;
        let length = window.min(size - offset);
        let starts: Vec<u64> = (offset..offset + length).step_by(step as usize).collect();
        let found: Result<Vec<Vec<BlockHash>>, Error> =
            run.pool.install(|| starts.par_iter().map(|at| hash(run, *at, step.min(size - at))).collect());
        let hashes: Vec<BlockHash> = found?.into_iter().flatten().collect();
        before.clear();
        parent.take(hashes.len(), &mut before)?;
        if before.len() < hashes.len() {
            // Cinder's own driver dies of an IndexError here.
            let reason =
                "its parent's list of hashes is shorter than the volume, though the volume has not grown by a GiB. \
                          Do a full backup."
                    .to_owned();
            return Err(Error::InvalidBackup { reason });
        }
        run.ledger.push_hashes(&hashes)?;
        let mut at = offset;
        for (now, before) in hashes.iter().zip(&before) {
            if (at.is_multiple_of(run.chunk_bytes) || now == before)
                && let Some(work) = open.take()
            {
                emit(work)?;
            }
            let length = block.min(size - at);
            if now != before {
                let work = open.get_or_insert_with(|| {
                    let work = Work { number, offset: at, length: 0, expected: Some(Vec::new()) };
                    number += 1;
                    work
                });
                work.length += length;
                work.expected.iter_mut().for_each(|hashes| hashes.push(*now));
            }
            at += length;
            if at.is_multiple_of(run.chunk_bytes) || at == size {
                run.reporter.chunk_done();
            }
        }
        run.reporter.passed(length);
        offset += length;
    }
    open.map_or(Ok(()), emit)
}
