//! Buffers to read into, which are used again.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapMut;

/// Bytes of a page on all processors that matter; a buffer that begins at a multiple of it does so on the others, too.
const PAGE_BYTES: usize = 4096;

/// Bytes in memory that begin where a page does: what to read files and devices into, and to write them from.
///
/// The system copies whole pages between its cache and such a buffer. Where they come to lie 16 bytes behind the start of a
/// page, as they do in a large `Vec`, AMD's Zen 3 copies 2.4 GB/s instead of 9.
#[derive(Debug, Default)]
pub struct PageBuffer {
    /// A page more than asked for, to choose the beginning from. It is replaced rather than grown, and so is not moved.
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl PageBuffer {
    /// `length` bytes, all zero.
    pub fn new(length: usize) -> Self {
        let bytes = vec![0; Self::memory_bytes(length)];
        // At most a page less one byte, but that nothing depends on the promise.
        let start = bytes.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
        Self { bytes, start, length }
    }

    /// Makes it `length` bytes long, which hold whatever is there, to be overwritten. Takes new memory where it has too little.
    pub fn resize(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() < self.start.saturating_add(length) {
            *self = Self::new(length);
        }
        self.length = length;
        self
    }

    /// Bytes of memory that a new buffer of `length` bytes takes.
    pub fn memory_bytes(length: usize) -> usize {
        length.next_multiple_of(PAGE_BYTES).saturating_add(PAGE_BYTES)
    }
}

impl From<&[u8]> for PageBuffer {
    fn from(bytes: &[u8]) -> Self {
        let mut buffer = Self::new(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer
    }
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.length).unwrap_or_default()
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

/// Bytes from which on memory of a job is mapped: less is kept by nobody, and the system has only so many mappings for a process.
const MAPPED_FROM: usize = 64 << 10;

/// Bytes of a large page of x86-64, and of other processors whose small ones have 4 KiB.
#[cfg(target_os = "linux")]
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Bytes for one job, of a size of its own.
///
/// Where a storage is far away there are as many as requests are under way, on as many threads, and the allocator keeps most of what each of these threads
/// frees: restores took twice the memory that their budget let them. There, they come from the system and go back to it. Where one request at a time is
/// wanted, as many as there are workers are used again and again, and mapping them anew for each job costs a quarter of a restore's speed.
#[derive(Debug)]
pub(crate) enum JobMemory {
    /// From the system.
    Mapped {
        /// Of the capacity that was asked for.
        bytes: MmapMut,
        /// How much of them is in use.
        length: usize,
    },
    /// From the allocator: near, few, or where the system has no mapping left.
    Allocated(Vec<u8>),
}

impl JobMemory {
    /// No bytes yet, and room for `capacity`. `in_flight` is how many requests at once the storage wants.
    pub(crate) fn with_capacity(capacity: usize, in_flight: usize) -> Self {
        if in_flight > 1
            && capacity >= MAPPED_FROM
            && let Ok(bytes) = MmapMut::map_anon(capacity)
        {
            // Each small page costs a fault, a quarter of the time of a restore from afar. Where the system has no large ones, small ones do.
            #[cfg(target_os = "linux")]
            if capacity >= HUGE_PAGE_BYTES {
                let _ = bytes.advise(memmap2::Advice::HugePage);
            }
            return Self::Mapped { bytes, length: 0 };
        }
        Self::Allocated(Vec::with_capacity(capacity))
    }

    /// `length` bytes, all zero. `in_flight` is how many requests at once the storage wants.
    pub(crate) fn zeroed(length: usize, in_flight: usize) -> Self {
        match Self::with_capacity(length, in_flight) {
            Self::Mapped { bytes, .. } => Self::Mapped { bytes, length },
            Self::Allocated(_) => Self::Allocated(vec![0; length]),
        }
    }

    /// Puts bytes behind those that are there. What exceeds the capacity goes to memory of the allocator, with all that was there.
    pub(crate) fn append(&mut self, more: &[u8]) {
        match self {
            Self::Allocated(bytes) => bytes.extend_from_slice(more),
            Self::Mapped { bytes, length } => match bytes.get_mut(*length..*length + more.len()) {
                Some(place) => {
                    place.copy_from_slice(more);
                    *length += more.len();
                }
                None => *self = Self::Allocated([&self[..], more].concat()),
            },
        }
    }
}

impl Deref for JobMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped { bytes, length } => bytes.get(..*length).unwrap_or_default(),
            Self::Allocated(bytes) => bytes,
        }
    }
}

impl DerefMut for JobMemory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped { bytes, length } => bytes.get_mut(..*length).unwrap_or_default(),
            Self::Allocated(bytes) => bytes,
        }
    }
}

/// Gives out buffers and takes them back when they are dropped, so that nothing is allocated for every chunk.
#[derive(Debug)]
pub(crate) struct BufferPool {
    bytes: usize,
    free: Mutex<Vec<PageBuffer>>,
}

impl BufferPool {
    /// A pool of buffers of so many bytes. How many are out at once is for its user to bound.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, free: Mutex::default() })
    }

    /// A buffer with whatever bytes it had before.
    pub(crate) fn take(self: &Arc<Self>) -> Buffer {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: free.unwrap_or_else(|| PageBuffer::new(self.bytes)), pool: Arc::clone(self) }
    }
}

/// A buffer of a pool; it goes back when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: PageBuffer,
    pool: Arc<BufferPool>,
}

impl Buffer {
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_job_holds_what_is_put_into_it_near_and_far() {
        for in_flight in [1, 8] {
            for capacity in [0, 1, 5000, 1 << 20] {
                let zeroed = JobMemory::zeroed(capacity, in_flight);
                assert_eq!((zeroed.len(), zeroed.iter().all(|byte| *byte == 0)), (capacity, true));
                let mut appended = JobMemory::with_capacity(capacity, in_flight);
                let mut all = Vec::new();
                for more in [3000, 0, 2000, 7] {
                    let bytes: Vec<u8> = (0..more).map(|at| (at % 251) as u8).collect();
                    appended.append(&bytes);
                    all.extend(bytes);
                    assert_eq!(appended[..], all, "{in_flight} at once, room for {capacity}");
                }
                appended[6] = 99;
                assert_eq!(appended[5..8], [5, 99, 7]);
            }
        }
    }

    #[test]
    fn a_page_buffer_begins_with_a_page_and_has_its_length() {
        for length in [0, 1, 4095, 4096, 300_000] {
            let mut buffer = PageBuffer::new(length);
            assert_eq!((buffer.len(), buffer.as_ptr().addr() % PAGE_BYTES), (length, 0));
            assert!(buffer.iter().all(|byte| *byte == 0));
            buffer.fill(7);
            let moved = buffer;
            assert_eq!((&*moved, moved.as_ptr().addr() % PAGE_BYTES), (&*vec![7; length], 0));
        }
        assert!(PageBuffer::default().is_empty());
    }

    #[test]
    fn a_page_buffer_that_is_used_again_stays_within_what_is_reckoned() {
        let mut buffer = PageBuffer::default();
        for length in [1, 4095, 4096, 4097, 300_000, 10] {
            let bytes = buffer.resize(length);
            assert_eq!(bytes.len(), length);
            bytes.fill(7);
            assert_eq!((buffer.as_ptr().addr() % PAGE_BYTES, buffer.len()), (0, length));
            assert!(buffer.iter().all(|byte| *byte == 7));
        }
        let held = PageBuffer::from(&[1, 2, 3][..]);
        assert_eq!((&*held, held.bytes.len()), (&[1, 2, 3][..], PageBuffer::memory_bytes(3)));
    }
}
