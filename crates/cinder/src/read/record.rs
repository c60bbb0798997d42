//! [`Record`]: what the check pass found out, for the write pass.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cinderblock_pipeline::PageBuffer;

use super::group::{PIECE_BYTES, Task};
use crate::md5::Md5;

/// Memory of a piece in the record, in bytes: its kind, and the object's MD5 at its end.
const PIECE_RECORD_BYTES: u64 = 17;

/// Memory of a task in the record, in bytes.
const TASK_RECORD_BYTES: u64 = 8;

/// What a piece that is held takes besides its buffer, in bytes, rounded up: its place in a map.
const HELD_BYTES: u64 = 128;

/// What is to be done with the wanted parts of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Nothing: the target has them, or nothing is wanted.
    Same = 0,
    /// They are zeros, and the target's bytes are not.
    Zeros = 1,
    /// The target's bytes are different everywhere, or nearly: they are written as they are.
    Data = 2,
    /// The target's bytes are different here and there: they are compared once more.
    Mixed = 3,
}

impl Kind {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Same,
            1 => Self::Zeros,
            2 => Self::Data,
            _ => Self::Mixed,
        }
    }

    /// What is to be done with two parts of one piece.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, two) if one == two => one,
            (Self::Zeros | Self::Data, Self::Zeros | Self::Data) => Self::Data,
            _ => Self::Mixed,
        }
    }

    pub(super) fn needs_bytes(self) -> bool {
        matches!(self, Self::Data | Self::Mixed)
    }
}

/// Of each piece of each object what is to be done with it, and the object's MD5 as it stood at the piece's end. From that of
/// the piece before, any single piece can be checked again by itself: its bytes must lead from the one to the other.
///
/// Pieces that will be written are held as far as memory allows.
#[derive(Debug)]
pub(super) struct Record {
    piece_bytes: u64,
    /// For each task the place of its first piece.
    firsts: Vec<usize>,
    kinds: Vec<AtomicU8>,
    /// The states of MD5; of an object's last piece there is none, because its MD5 is known.
    ends: Vec<[AtomicU32; 4]>,
    held: Mutex<HashMap<usize, PageBuffer>>,
    /// Bytes of memory that may still be held.
    free: AtomicU64,
}

/// The least pieces with which the record of all tasks needs no more than so much memory.
fn piece_bytes(tasks: &[Task<'_>], memory_bytes: u64) -> u64 {
    let mut bytes = PIECE_BYTES;
    loop {
        let pieces: u64 = tasks.iter().map(|task| task.object.length.div_ceil(bytes)).sum();
        let fits = pieces.saturating_mul(PIECE_RECORD_BYTES) <= memory_bytes;
        // Larger ones would not save anything.
        if fits || pieces <= tasks.len() as u64 {
            return bytes;
        }
        bytes *= 2;
    }
}

impl Record {
    /// A record of tasks, whose places count from 0, within `memory_bytes`. Nothing is held before [`may_hold`](Self::may_hold).
    pub(super) fn new(tasks: &[Task<'_>], memory_bytes: u64) -> Self {
        let piece_bytes = piece_bytes(tasks, memory_bytes);
        let mut firsts = Vec::with_capacity(tasks.len());
        let mut pieces = 0;
        for task in tasks {
            firsts.push(pieces);
            pieces += task.object.length.div_ceil(piece_bytes) as usize;
        }
        let kinds = std::iter::repeat_with(|| AtomicU8::new(u8::MAX)).take(pieces).collect();
        let ends = std::iter::repeat_with(Default::default).take(pieces).collect();
        Self { piece_bytes, firsts, kinds, ends, held: Mutex::default(), free: AtomicU64::new(0) }
    }

    /// Lets pieces of so many bytes be held, what holding takes included.
    pub(super) fn may_hold(&self, memory_bytes: u64) {
        self.free.store(memory_bytes, Ordering::Relaxed);
    }

    /// Bytes of memory that it takes, without what is held.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.kinds.len() as u64 * PIECE_RECORD_BYTES + self.firsts.len() as u64 * TASK_RECORD_BYTES
    }

    /// Bytes of a piece, but for the last one of an object.
    pub(super) fn piece_bytes(&self) -> u64 {
        self.piece_bytes
    }

    /// Number of pieces of a task's object.
    pub(super) fn pieces(&self, task: &Task<'_>) -> usize {
        task.object.length.div_ceil(self.piece_bytes) as usize
    }

    /// Which part of the volume a piece is.
    pub(super) fn range(&self, task: &Task<'_>, piece: usize) -> Range<u64> {
        let start = task.object.offset + piece as u64 * self.piece_bytes;
        start..(start + self.piece_bytes).min(task.object.end())
    }

    fn place(&self, task: &Task<'_>, piece: usize) -> usize {
        self.firsts.get(task.place).map_or(usize::MAX, |first| first + piece)
    }

    /// What is to be done with a piece.
    pub(super) fn kind(&self, task: &Task<'_>, piece: usize) -> Kind {
        match self.kinds.get(self.place(task, piece)).map(|kind| kind.load(Ordering::Relaxed)) {
            // Nothing of it is wanted.
            Some(u8::MAX) => Kind::Same,
            kind => Kind::of(kind.unwrap_or(u8::MAX)),
        }
    }

    /// Adds what was found about a wanted part that lies in the piece with byte `offset` of the volume.
    pub(super) fn add(&self, task: &Task<'_>, offset: u64, found: Kind) {
        let piece = ((offset - task.object.offset) / self.piece_bytes) as usize;
        let Some(kind) = self.kinds.get(self.place(task, piece)) else { return };
        // One thread at a time works on a task.
        let joined = match kind.load(Ordering::Relaxed) {
            u8::MAX => found,
            before => Kind::of(before).and(found),
        };
        kind.store(joined as u8, Ordering::Relaxed);
    }

    /// Ends a piece that begins at byte `at` of the object; remembers the MD5, and holds the bytes if they are to be written and
    /// there is room.
    pub(super) fn end(&self, task: &Task<'_>, at: u64, bytes: &[u8], md5: &Md5) {
        let piece = (at / self.piece_bytes) as usize;
        let place = self.place(task, piece);
        if let (Some(end), Some(state)) = (self.ends.get(place), md5.state()) {
            for (word, state) in end.iter().zip(state) {
                word.store(state, Ordering::Relaxed);
            }
        }
        if !self.kind(task, piece).needs_bytes() {
            return;
        }
        let needed = PageBuffer::memory_bytes(bytes.len()) as u64 + HELD_BYTES;
        let taken = |free: u64| free.checked_sub(needed);
        if self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok() {
            let buffer = PageBuffer::from(bytes);
            self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(place, buffer);
        }
    }

    /// There is nothing left to do with a piece.
    pub(super) fn written(&self, task: &Task<'_>, piece: usize) {
        if let Some(kind) = self.kinds.get(self.place(task, piece)) {
            kind.store(Kind::Same as u8, Ordering::Relaxed);
        }
    }

    /// The bytes of a piece, if they are held; they are not any more then.
    pub(super) fn let_go(&self, task: &Task<'_>, piece: usize) -> Option<PageBuffer> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place(task, piece))
    }

    /// Whether pieces of a task will be written that are not held.
    pub(super) fn is_read_again(&self, task: &Task<'_>) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pieces = 0..self.pieces(task);
        pieces.any(|piece| self.kind(task, piece).needs_bytes() && !held.contains_key(&self.place(task, piece)))
    }

    /// Whether anything of a task is to be changed.
    pub(super) fn differs(&self, task: &Task<'_>) -> bool {
        (0..self.pieces(task)).any(|piece| self.kind(task, piece) != Kind::Same)
    }

    fn state(&self, task: &Task<'_>, piece: usize) -> [u32; 4] {
        let end = self.ends.get(self.place(task, piece));
        end.map_or([0; 4], |end| [0, 1, 2, 3].map(|word: usize| end.get(word).map_or(0, |w| w.load(Ordering::Relaxed))))
    }

    /// The object's MD5 as it stood where a piece begins.
    pub(super) fn before(&self, task: &Task<'_>, piece: usize) -> Md5 {
        match piece.checked_sub(1) {
            Some(before) => Md5::resume(self.state(task, before), piece as u64 * self.piece_bytes),
            None => Md5::new(),
        }
    }

    /// Whether an MD5 that went on over a piece is what it was when the object was checked.
    pub(super) fn agrees(&self, task: &Task<'_>, piece: usize, md5: Md5) -> bool {
        if piece + 1 == self.pieces(task) {
            return md5.finish() == task.object.md5;
        }
        md5.state() == Some(self.state(task, piece))
    }
}
