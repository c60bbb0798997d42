//! [`Buffer`]: memory that the system copies into and out of at its full speed.

/// Bytes of a page of memory.
const PAGE: usize = 4096;

/// Bytes that begin at the start of a page. Large allocations begin 16 bytes behind one, and there an AMD EPYC of family 25 copied out
/// of the page cache with a fifth of its speed: 1.2 instead of 6.0 GiB/s.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// The first `length` bytes, whatever they hold, to be overwritten. Grows if it has to.
    pub(super) fn take(&mut self, length: usize) -> &mut [u8] {
        if self.memory.len() < self.start + length {
            // Not `resize`, which would copy.
            self.memory = vec![0; length.next_multiple_of(PAGE) + PAGE];
            self.start = self.memory.as_ptr().align_offset(PAGE).min(PAGE);
        }
        self.length = length;
        self.memory.get_mut(self.start..self.start + length).unwrap_or_default()
    }

    /// What was taken last.
    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.length).unwrap_or_default()
    }

    /// Bytes of memory that a buffer of `length` bytes takes.
    pub(super) fn memory_bytes(length: usize) -> usize {
        length.next_multiple_of(PAGE) + PAGE
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        let mut buffer = Self::default();
        buffer.take(bytes.len()).copy_from_slice(bytes);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_at_a_page_and_stay_within_what_is_reckoned() {
        let mut buffer = Buffer::default();
        for length in [1, 4095, 4096, 4097, 300_000, 10] {
            let bytes = buffer.take(length);
            assert_eq!(bytes.len(), length);
            bytes.fill(7);
            assert_eq!((buffer.bytes().as_ptr() as usize % PAGE, buffer.bytes().len()), (0, length));
            assert!(buffer.bytes().iter().all(|byte| *byte == 7));
        }
        let held = Buffer::from(&[1, 2, 3][..]);
        assert_eq!((held.bytes(), held.memory.len()), (&[1, 2, 3][..], Buffer::memory_bytes(3)));
    }
}
