//! [`Ring`]: an object's bytes one after the other in the address space, of which memory has the last ones.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Memory comes and goes in units of this many bytes: 2 MiB, a large page of most processors.
const UNIT_BYTES: usize = 2 << 20;

/// The bytes of an object, at addresses that follow each other from its first to its last. Memory has those that were written last;
/// all others are zero, whether they are too far back or were never written.
///
/// A compressor that looks back for what it has seen is faster where that lies directly before what it is given: zstd's search then
/// has one place to look into instead of two, and its own copy of its window is not needed.
///
/// Memory, and resident: what [`memory_bytes`](Self::memory_bytes) says. Of the address space it takes as many bytes as the object
/// has.
///
/// The system is given pages back, and asked for new ones, which it has to clear. To move them (`mremap`) would save that, but where it
/// fails, as it does with too many mappings, it leaves a hole that another thread's memory may come to lie in.
#[derive(Debug)]
pub(crate) struct Ring {
    mapping: NonNull<u8>,
    mapping_bytes: usize,
    /// The first byte, at a multiple of [`UNIT_BYTES`].
    base: NonNull<u8>,
    span: usize,
    /// Which units may have pages, by number; the one that was written to last is the last.
    units: VecDeque<usize>,
    max_units: usize,
}

// SAFETY: it owns its memory, and nothing of it is tied to a thread.
unsafe impl Send for Ring {}
// SAFETY: through a shared reference, the memory is only read.
unsafe impl Sync for Ring {}

impl Ring {
    /// Most bytes of an object: 4 GiB, on processors with that many addresses to spare.
    pub(crate) const MAX_SPAN_BYTES: u64 = if usize::BITS < 64 { 0 } else { 4 << 30 };

    /// Addresses for an object of `span` bytes, which is written from its start in pieces of `piece` bytes (the last may be shorter);
    /// `before` bytes remain before each piece.
    ///
    /// # Errors
    /// More than [`MAX_SPAN_BYTES`](Self::MAX_SPAN_BYTES), no bytes, or what the system says.
    pub(crate) fn new(span: u64, piece: usize, before: usize) -> io::Result<Self> {
        if span == 0 || piece == 0 || span > Self::MAX_SPAN_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let span = (span as usize).next_multiple_of(UNIT_BYTES);
        let mapping_bytes = span + UNIT_BYTES;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: a new mapping, at addresses that the system chooses.
        let mapping = unsafe { mmap_anonymous(std::ptr::null_mut(), mapping_bytes, access, flags)? };
        let mapping = NonNull::new(mapping.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let to_base = mapping.as_ptr().align_offset(UNIT_BYTES).min(UNIT_BYTES);
        // SAFETY: the mapping is a unit longer than the span.
        let base = unsafe { mapping.add(to_base) };
        let max_units = Self::memory_bytes(piece.min(span), before) / UNIT_BYTES;
        let ring = Self { mapping, mapping_bytes, base, span, units: VecDeque::with_capacity(max_units), max_units };
        // SAFETY: these addresses are mapped. It is a hint, and no error if it is not taken.
        let _ = unsafe { madvise(base.as_ptr().cast(), span, Advice::LinuxHugepage) };
        Ok(ring)
    }

    /// Memory of a ring that keeps `before` bytes before a piece of `piece` bytes: whole units of 2 MiB.
    pub(crate) const fn memory_bytes(piece: usize, before: usize) -> usize {
        // Pieces of whole units begin with a unit; others begin and end within one.
        let split = if piece.is_multiple_of(UNIT_BYTES) { 0 } else { 1 };
        (piece.div_ceil(UNIT_BYTES) + before.div_ceil(UNIT_BYTES) + split) * UNIT_BYTES
    }

    /// Most bytes of an object.
    pub(crate) fn span_bytes(&self) -> u64 {
        self.span as u64
    }

    /// The address of the first byte.
    pub(super) fn start(&self) -> *const u8 {
        self.base.as_ptr()
    }

    /// The bytes of a range.
    ///
    /// # Panics
    /// For a range beyond the end.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.check(&range);
        // SAFETY: all addresses of the span are mapped and readable, and writing takes a reference that excludes this one.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(range.start), range.len()) }
    }

    /// The same, to be written.
    ///
    /// # Panics
    /// As [`bytes`](Self::bytes).
    pub(crate) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.check(&range);
        for unit in range.start / UNIT_BYTES..range.end.div_ceil(UNIT_BYTES) {
            self.take_unit(unit);
        }
        // SAFETY: all addresses of the span are mapped and writable; no other reference to them exists as long as this one does.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(range.start), range.len()) }
    }

    /// Makes all bytes zero, for another object.
    pub(crate) fn clear(&mut self) {
        while let Some(unit) = self.units.pop_front() {
            self.release(unit);
        }
    }

    fn check(&self, range: &Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.span, "{range:?} of {} bytes", self.span);
    }

    /// Lets a unit have pages, instead of the one that was not written to for the longest time.
    fn take_unit(&mut self, unit: usize) {
        if self.units.back() == Some(&unit) {
            return;
        }
        if let Some(index) = self.units.iter().position(|&known| known == unit) {
            self.units.remove(index);
        } else if self.units.len() >= self.max_units
            && let Some(oldest) = self.units.pop_front()
        {
            self.release(oldest);
        }
        self.units.push_back(unit);
    }

    /// Gives a unit's pages back: it is zero then.
    fn release(&mut self, unit: usize) {
        // SAFETY: a unit of the span, which is mapped, and which nothing refers to, because the ring is borrowed exclusively.
        unsafe {
            let start = self.base.as_ptr().add(unit * UNIT_BYTES);
            if madvise(start.cast(), UNIT_BYTES, Advice::LinuxDontNeed).is_err() {
                // Pages that are locked stay.
                start.write_bytes(0, UNIT_BYTES);
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: these are the addresses of the mapping, which nothing refers to any more.
        let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapping_bytes) };
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    fn byte(at: usize) -> u8 {
        (at / 1000 % 251) as u8
    }

    #[test]
    fn what_was_written_last_is_there() {
        let before = UNIT_BYTES + 1;
        for piece in [UNIT_BYTES, 2 * UNIT_BYTES, UNIT_BYTES / 2, 3 * UNIT_BYTES / 2, 12_345] {
            let span = (40 * piece).min(10 * UNIT_BYTES);
            let mut ring = Ring::new(span as u64, piece, before).unwrap();
            for _ in 0..2 {
                for at in (0..span).step_by(piece) {
                    let end = span.min(at + piece);
                    let room = ring.bytes_mut(at..end);
                    room.iter_mut().enumerate().for_each(|(index, into)| *into = byte(at + index));
                    let first = at.saturating_sub(before);
                    let seen = ring.bytes(first..end).iter().enumerate();
                    assert!(seen.into_iter().all(|(index, &seen)| seen == byte(first + index)), "{piece}, up to {end}");
                    assert!(ring.units.len() * UNIT_BYTES <= Ring::memory_bytes(piece, before), "{:?}", ring.units);
                }
                if span > Ring::memory_bytes(piece, before) {
                    assert!(ring.bytes(0..1000).iter().all(|&byte| byte == 0), "too far back");
                }
                ring.clear();
                assert!(ring.bytes(0..span).iter().all(|&byte| byte == 0));
            }
        }
    }

    #[test]
    fn what_it_can_not_have_is_refused() {
        for (span, piece) in [(0, 1), (1, 0), (Ring::MAX_SPAN_BYTES + 1, 1), (u64::MAX, usize::MAX)] {
            assert_eq!(Ring::new(span, piece, 1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    #[should_panic(expected = "4194303..4194305 of 4194304 bytes")]
    fn what_is_beyond_the_end_can_not_be_had() {
        Ring::new(3 << 20, 1 << 20, 0).unwrap().bytes((4 << 20) - 1..(4 << 20) + 1);
    }

    #[test]
    fn only_as_much_memory_is_taken_as_it_says() {
        let (span, piece, before) = (256 << 20, 4 << 20, 2 << 20);
        let mut ring = Ring::new(span as u64, piece, before).unwrap();
        for _ in 0..2 {
            for at in (0..span).step_by(piece) {
                ring.bytes_mut(at..at + piece).fill(1);
            }
        }
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (start, end) = (ring.start() as usize, ring.start() as usize + span);
        let (mut resident, mut inside) = (0, false);
        for line in maps.lines() {
            let address = line.split_once('-').and_then(|(first, _)| usize::from_str_radix(first, 16).ok());
            if let Some(address) = address {
                inside = (start..end).contains(&address);
            } else if let (true, Some(size)) = (inside, line.strip_prefix("Rss:")) {
                resident += size.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10;
            }
        }
        assert!((1..=Ring::memory_bytes(piece, before)).contains(&resident), "{resident}");
        assert_eq!(Ring::memory_bytes(piece, before), 6 << 20);
    }
}
