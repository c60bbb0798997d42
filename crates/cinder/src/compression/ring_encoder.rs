//! [`RingEncoder`]: compresses what lies in a [`Ring`].

use std::ffi::CStr;
use std::io::{self, Write};
use std::ptr::NonNull;

use zstd::zstd_safe::version_number;
use zstd::zstd_safe::zstd_sys::{
    ZSTD_CCtx, ZSTD_CCtx_setParameter, ZSTD_CCtx_setPledgedSrcSize, ZSTD_EndDirective, ZSTD_cParameter,
    ZSTD_compressStream2, ZSTD_createCCtx, ZSTD_freeCCtx, ZSTD_getErrorName, ZSTD_inBuffer, ZSTD_isError,
    ZSTD_outBuffer,
};

use super::encoder::{BUFFER_BYTES, ZSTD_LEVEL, misused};
use super::ring::Ring;

/// How far back level 3 looks, as a power of two: 2 MiB, or less for less input.
const WINDOW_LOG: i32 = 21;

/// Bytes of a zstd block: 128 KiB. So many may wait for the rest of theirs.
const BLOCK_BYTES: usize = 128 << 10;

/// Compresses an object whose bytes come to lie in a [`Ring`], as one zstd frame like that of [`Encoder`](super::Encoder), but
/// faster: zstd finds what it has seen where it is.
///
/// The bytes further back than its window change, which zstd says that they may not. It never reads them: what it looks at is held
/// against the window first. Tests with repetitions from there see to it that this stays so.
///
/// Memory: [`MEMORY_BYTES`](Self::MEMORY_BYTES).
#[derive(Debug)]
pub(crate) struct RingEncoder<W> {
    context: Context,
    /// Where the ring is, and what was taken of it.
    input: ZSTD_inBuffer,
    plain_bytes: usize,
    writer: W,
    buffer: Vec<u8>,
    ended: bool,
}

// SAFETY: the pointer in `input` is compared, and read through only while the ring that it came from is borrowed.
unsafe impl<W: Send> Send for RingEncoder<W> {}

#[derive(Debug)]
struct Context(NonNull<ZSTD_CCtx>);

// SAFETY: zstd's contexts belong to no thread, and this one is used through one exclusive reference.
unsafe impl Send for Context {}

impl<W: Write> RingEncoder<W> {
    /// Memory of an encoder, its buffer included, rounded up from what was measured: 2 MiB.
    pub(crate) const MEMORY_BYTES: usize = 2 << 20;

    /// Whether this is faster than an [`Encoder`](super::Encoder) for an object of so many bytes: that one's window becomes a second
    /// segment only after its own 2 MiB and a block. zstd takes input that grows from 1.5.4 on.
    pub(crate) fn pays(object: u64) -> bool {
        const GROWS_SINCE: u32 = 10_504;
        object > (1 << WINDOW_LOG) + BLOCK_BYTES as u64 && version_number() >= GROWS_SINCE
    }

    /// How many bytes have to remain in the ring before each piece of `piece` bytes: the window, and what may wait for the rest of its
    /// block.
    pub(crate) const fn bytes_before(piece: usize) -> usize {
        let waiting = if piece.is_multiple_of(BLOCK_BYTES) { 0 } else { BLOCK_BYTES };
        (1 << WINDOW_LOG) + waiting
    }

    /// Memory of an encoder and its ring, for pieces of `piece` bytes.
    pub(crate) fn with_ring_bytes(piece: u64) -> u64 {
        let piece = usize::try_from(piece).unwrap_or(usize::MAX / 2);
        (Ring::memory_bytes(piece, Self::bytes_before(piece)) + Self::MEMORY_BYTES) as u64
    }

    /// Begins to compress `plain_bytes` bytes, no more and no less, into `writer`.
    ///
    /// # Errors
    /// No memory, or more bytes than there are addresses.
    pub(crate) fn new(writer: W, plain_bytes: u64) -> io::Result<Self> {
        let addresses = usize::try_from(plain_bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        let context = Context::new()?;
        context.set(ZSTD_cParameter::ZSTD_c_compressionLevel, ZSTD_LEVEL)?;
        context.set(ZSTD_cParameter::ZSTD_c_windowLog, WINDOW_LOG)?;
        context.set(ZSTD_cParameter::ZSTD_c_contentSizeFlag, 1)?;
        // ZSTD_c_stableInBuffer: what was given stays where it is.
        context.set(ZSTD_cParameter::ZSTD_c_experimentalParam9, 1)?;
        // SAFETY: the context is one.
        checked(unsafe { ZSTD_CCtx_setPledgedSrcSize(context.0.as_ptr(), plain_bytes) })?;
        let input = ZSTD_inBuffer { src: std::ptr::null(), size: 0, pos: 0 };
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(Self { context, input, plain_bytes: addresses, writer, buffer, ended: false })
    }

    /// The writer below. What it was given so far is not all that the bytes written so far will become.
    pub(crate) fn get_ref(&self) -> &W {
        &self.writer
    }

    /// Takes all bytes of the ring before `end` that it has not taken. Those of the last calls have to be there still, as many as
    /// [`bytes_before`](Self::bytes_before) says.
    ///
    /// # Errors
    /// The writer's, unchanged, after which it has to be dropped. [`InvalidInput`](io::ErrorKind::InvalidInput) for another ring than
    /// before, or an end that is before the last one or beyond what was said.
    pub(crate) fn write(&mut self, ring: &Ring, end: usize) -> io::Result<()> {
        let (start, known) = (ring.start().cast(), self.input.src);
        if !(known.is_null() || known == start) || end < self.input.size || end > self.plain_bytes {
            return Err(misused(format!("{end} bytes of {} were written to the encoder", self.plain_bytes)));
        }
        if end as u64 > ring.span_bytes() {
            return Err(misused(format!("the ring has no byte {end}")));
        }
        (self.input.src, self.input.size) = (start, end);
        let last = end == self.plain_bytes;
        let directive = if last { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_continue };
        while !self.ended && (last || self.input.pos < self.input.size) {
            let mut output =
                ZSTD_outBuffer { dst: self.buffer.as_mut_ptr().cast(), size: self.buffer.capacity(), pos: 0 };
            // SAFETY: the context is one. Of the input, all bytes up to its size are in the ring's addresses, which are readable for as
            // long as it is borrowed. The output is the buffer's memory.
            let left = checked(unsafe {
                ZSTD_compressStream2(self.context.0.as_ptr(), &raw mut output, &raw mut self.input, directive)
            })?;
            // SAFETY: zstd wrote that many bytes of its capacity.
            unsafe { self.buffer.set_len(output.pos) };
            self.writer.write_all(&self.buffer)?;
            self.buffer.clear();
            self.ended = last && left == 0;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        // SAFETY: the context is one.
        self.buffer.capacity() + unsafe { zstd::zstd_safe::zstd_sys::ZSTD_sizeof_CCtx(self.context.0.as_ptr()) }
    }

    /// Gives the writer back, which is not flushed.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if fewer plain bytes were written than said.
    pub(crate) fn finish(self) -> io::Result<W> {
        if !self.ended {
            let (got, stated) = (self.input.size, self.plain_bytes);
            return Err(misused(format!("only {got} bytes of the stated {stated} were written to the encoder")));
        }
        Ok(self.writer)
    }
}

impl Context {
    fn new() -> io::Result<Self> {
        // SAFETY: it takes nothing.
        NonNull::new(unsafe { ZSTD_createCCtx() }).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn set(&self, parameter: ZSTD_cParameter, value: i32) -> io::Result<()> {
        // SAFETY: the context is one.
        checked(unsafe { ZSTD_CCtx_setParameter(self.0.as_ptr(), parameter, value) }).map(drop)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was created, and is freed once.
        unsafe { ZSTD_freeCCtx(self.0.as_ptr()) };
    }
}

fn checked(code: usize) -> io::Result<usize> {
    // SAFETY: it takes any number.
    if unsafe { ZSTD_isError(code) } == 0 {
        return Ok(code);
    }
    // SAFETY: it takes any number, and returns a string that is there for ever.
    let name = unsafe { CStr::from_ptr(ZSTD_getErrorName(code)) };
    Err(io::Error::other(format!("zstd: {}", name.to_string_lossy())))
}
