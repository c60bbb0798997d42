//! [`Request`]: a part of a volume that is wanted, and the buffer for it.

/// What is being read.
pub(super) struct Request<'b> {
    pub(super) offset: u64,
    pub(super) buffer: &'b mut [u8],
}

impl Request<'_> {
    /// The part of the buffer for those of the bytes from `from` to `end` of the volume that are asked for, and where in
    /// the volume it begins.
    pub(super) fn part(&mut self, from: u64, end: u64) -> (u64, &mut [u8]) {
        let asked_end = self.offset + self.buffer.len() as u64;
        let (from, end) = (from.clamp(self.offset, asked_end), end.clamp(self.offset, asked_end));
        let range = (from - self.offset) as usize..(end - self.offset) as usize;
        (from, self.buffer.get_mut(range).unwrap_or_default())
    }

    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        let (from, part) = self.part(offset, offset + bytes.len() as u64);
        let skipped = (from - offset) as usize;
        if let Some(bytes) = bytes.get(skipped..skipped + part.len()) {
            part.copy_from_slice(bytes);
        }
    }
}
