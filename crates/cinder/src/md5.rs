//! MD5 of several streams at once.
//!
//! Cinder keeps the MD5 of every data object. The 64 steps of MD5 depend on each other, so that one stream leaves most of a
//! core idle; [`update_many`] hashes up to 16 streams side by side, in the lanes of vectors, where the processor has AVX2 or, better, AVX-512.
//!
//! MD5 finds accidents, not forgers: nothing here relies on it for more.
//!
//! ```
//! use cinderblock_cinder::md5::{Md5, update_many};
//!
//! let mut streams = vec![Md5::new(); 3];
//! update_many(&mut streams, &[b"a", b"message ", b""]);
//! update_many(&mut streams, &[b"bc", b"digest", b""]);
//! let digests: Vec<[u8; 16]> = streams.into_iter().map(Md5::finish).collect();
//! assert_eq!(digests[0][..4], [0x90, 0x01, 0x50, 0x98]);
//! ```

#[cfg(target_arch = "x86_64")]
mod lanes;
mod steps;
#[cfg(test)]
mod tests;

/// What is hashed at once.
type Block = [u8; BLOCK_BYTES];
const BLOCK_BYTES: usize = 64;

/// The state of a stream's hash: RFC 1321's A, B, C and D.
type State = [u32; 4];
const INITIAL: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The MD5 (RFC 1321) of one stream, as far as it came.
#[derive(Clone, Debug)]
pub struct Md5 {
    state: State,
    /// Bytes taken in, modulo 2^64.
    bytes: u64,
    /// The last `bytes % 64` of them, at its start, wait for the rest of their block.
    partial: Block,
}

/// Whole blocks that are next in a stream.
struct Part<'a> {
    state: &'a mut State,
    blocks: &'a [Block],
}

impl Md5 {
    /// The MD5 of nothing yet.
    pub fn new() -> Self {
        Self { state: INITIAL, bytes: 0, partial: [0; BLOCK_BYTES] }
    }

    /// Where the stream stands, to [`resume`](Self::resume) from; none within a block of 64 bytes.
    pub(crate) fn state(&self) -> Option<[u32; 4]> {
        (self.held() == 0).then_some(self.state)
    }

    /// The stream that stood there after `bytes` bytes, a multiple of 64.
    pub(crate) fn resume(state: [u32; 4], bytes: u64) -> Self {
        Self { state, bytes, partial: [0; BLOCK_BYTES] }
    }

    /// Appends to the stream.
    pub fn update(&mut self, input: &[u8]) {
        let part = self.take(input);
        steps::compress(part.state, part.blocks);
    }

    /// The digest of all that the stream was given.
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.bytes.wrapping_mul(8);
        // 0x80, then zeros up to 8 bytes before the end of a block, which are the length.
        let held = self.held();
        let zeros = (BLOCK_BYTES + 55 - held) % BLOCK_BYTES;
        let mut padding = [0; 2 * BLOCK_BYTES];
        padding[0] = 0x80;
        padding[1 + zeros..][..8].copy_from_slice(&bits.to_le_bytes());
        self.update(&padding[..1 + zeros + 8]);
        debug_assert_eq!(self.held(), 0);
        let mut digest = [0; 16];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_le_bytes();
        }
        digest
    }

    /// How many bytes wait for the rest of their block.
    fn held(&self) -> usize {
        (self.bytes % BLOCK_BYTES as u64) as usize
    }

    /// Takes the input in, all but its whole blocks, which the caller has to hash.
    fn take<'a>(&'a mut self, input: &'a [u8]) -> Part<'a> {
        let held = self.held();
        self.bytes = self.bytes.wrapping_add(input.len() as u64);
        let mut input = input;
        if held > 0 {
            let (first, rest) = input.split_at(input.len().min(BLOCK_BYTES - held));
            self.partial[held..][..first.len()].copy_from_slice(first);
            if held + first.len() == BLOCK_BYTES {
                steps::compress(&mut self.state, &[self.partial]);
            }
            input = rest;
            if input.is_empty() {
                return Part { state: &mut self.state, blocks: &[] };
            }
        }
        let (blocks, tail) = input.as_chunks();
        self.partial[..tail.len()].copy_from_slice(tail);
        Part { state: &mut self.state, blocks }
    }
}

impl Default for Md5 {
    fn default() -> Self {
        Self::new()
    }
}

/// Appends input `i` to stream `i`, for all of them side by side where the processor can. It pays most where 8 or 16 streams
/// are given about as many bytes each, but any number of streams and any lengths do.
///
/// # Panics
/// If there are not as many inputs as streams.
pub fn update_many(streams: &mut [Md5], inputs: &[&[u8]]) {
    assert_eq!(streams.len(), inputs.len(), "an input for each stream");
    let mut parts: Vec<Part<'_>> = streams.iter_mut().zip(inputs).map(|(stream, input)| stream.take(input)).collect();
    #[cfg(target_arch = "x86_64")]
    if let Some(&vectors) = lanes::Vectors::all().last() {
        lanes::compress_many(&mut parts, vectors);
    }
    for part in parts {
        steps::compress(part.state, part.blocks);
    }
}
