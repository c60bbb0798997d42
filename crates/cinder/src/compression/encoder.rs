//! [`Encoder`]: compresses what is written to it.

use std::io::{self, Write};

use bzip2::Action;
use flate2::FlushCompress;
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{self, CCtx, CParameter, InBuffer, OutBuffer};

use super::Algorithm;

/// Compressed bytes that are collected before they are written on: 64 KiB.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// The levels that Cinder uses.
const ZLIB_LEVEL: u32 = 6;
const BZ2_LEVEL: u32 = 9;
pub(super) const ZSTD_LEVEL: i32 = 3;

/// Compresses what is written to it as one zlib stream, bzip2 stream or zstd frame, and writes that to the writer below.
///
/// [`flush`](Write::flush) hands on what is compressed already, but does not make the algorithm end a block: the rest comes
/// with [`finish`](Self::finish). Dropped before that, it writes nothing more. After an error of the writer below, drop it.
///
/// Memory, whatever the length, its buffer included: none without compression, 0.45 MB for zlib, 7.6 MB for bzip2, 3.7 MB for
/// zstd (measured).
#[derive(Debug)]
pub struct Encoder<W> {
    codec: Option<Codec>,
    writer: W,
    /// Compressed bytes; those from `written` on are not written yet.
    buffer: Vec<u8>,
    written: usize,
    plain_bytes: u64,
    /// Plain bytes that have yet to come.
    left: u64,
}

enum Codec {
    Zlib(flate2::Compress),
    Bz2(bzip2::Compress),
    Zstd(CCtx<'static>),
}

impl<W: Write> Encoder<W> {
    /// Begins to compress `plain_bytes` bytes, no more and no less, into `writer`. A zstd frame states that number.
    ///
    /// # Errors
    /// No memory for zstd.
    pub fn new(algorithm: Algorithm, writer: W, plain_bytes: u64) -> io::Result<Self> {
        let codec = Codec::new(algorithm, plain_bytes)?;
        let buffer = if codec.is_some() { Vec::with_capacity(BUFFER_BYTES) } else { Vec::new() };
        Ok(Self { codec, writer, buffer, written: 0, plain_bytes, left: plain_bytes })
    }

    /// The writer below. What it was given so far is not all that the bytes written so far will become.
    pub fn get_ref(&self) -> &W {
        &self.writer
    }

    /// Ends the stream or frame, writes it out and gives the writer back, which is not flushed.
    ///
    /// # Errors
    /// The writer's, unchanged. [`InvalidInput`](io::ErrorKind::InvalidInput) if fewer plain bytes were written than said.
    pub fn finish(mut self) -> io::Result<W> {
        if self.left > 0 {
            let (got, stated) = (self.plain_bytes - self.left, self.plain_bytes);
            return Err(misused(format!("only {got} bytes of the stated {stated} were written to the encoder")));
        }
        if self.codec.is_some() {
            let mut ended = false;
            while !ended {
                self.write_out()?;
                if let Some(codec) = &mut self.codec {
                    ended = codec.end(&mut self.buffer)?;
                }
            }
            self.write_out()?;
        }
        Ok(self.writer)
    }

    /// Empties the buffer into the writer.
    fn write_out(&mut self) -> io::Result<()> {
        while let Some(rest) = self.buffer.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.writer.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.clear();
        self.written = 0;
        Ok(())
    }
}

impl<W: Write> Write for Encoder<W> {
    /// # Errors
    /// The writer's, unchanged. [`InvalidInput`](io::ErrorKind::InvalidInput), and nothing taken, if these would be more
    /// plain bytes than stated.
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        if plain.len() as u64 > self.left {
            let stated = self.plain_bytes;
            return Err(misused(format!("more bytes than the stated {stated} were written to the encoder")));
        }
        if plain.is_empty() {
            return Ok(0);
        }
        let taken = loop {
            let Some(codec) = &mut self.codec else { break self.writer.write(plain)? };
            match codec.run(plain, &mut self.buffer)? {
                // It had no room.
                0 => self.write_out()?,
                taken => break taken,
            }
        };
        self.left -= taken as u64;
        if self.buffer.len() == self.buffer.capacity() {
            self.write_out()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.writer.flush()
    }
}

impl Codec {
    fn new(algorithm: Algorithm, plain_bytes: u64) -> io::Result<Option<Self>> {
        Ok(match algorithm {
            Algorithm::None => None,
            Algorithm::Zlib => Some(Self::Zlib(flate2::Compress::new(flate2::Compression::new(ZLIB_LEVEL), true))),
            // 0 is the library's own work factor, 30, which is CPython's too.
            Algorithm::Bz2 => Some(Self::Bz2(bzip2::Compress::new(bzip2::Compression::new(BZ2_LEVEL), 0))),
            Algorithm::Zstd => {
                let mut context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
                context.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).map_err(zstd_failed)?;
                context.set_parameter(CParameter::ContentSizeFlag(true)).map_err(zstd_failed)?;
                context.set_pledged_src_size(Some(plain_bytes)).map_err(zstd_failed)?;
                Some(Self::Zstd(context))
            }
        })
    }

    /// Compresses into what room there is, and says how many plain bytes it took: none if there was no room.
    fn run(&mut self, plain: &[u8], into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Zlib(stream) => {
                let before = stream.total_in();
                stream.compress_vec(plain, into, FlushCompress::None)?;
                Ok((stream.total_in() - before) as usize)
            }
            // It takes a call without room for a mistake.
            Self::Bz2(_) if into.len() == into.capacity() => Ok(0),
            Self::Bz2(stream) => {
                let before = stream.total_in();
                stream.compress_vec(plain, into, Action::Run)?;
                Ok((stream.total_in() - before) as usize)
            }
            Self::Zstd(context) => {
                let mut input = InBuffer::around(plain);
                zstd_step(context, &mut input, into, ZSTD_EndDirective::ZSTD_e_continue)?;
                Ok(input.pos())
            }
        }
    }

    /// Writes more of the end into the room that there is; whether that was all.
    fn end(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Self::Zlib(stream) => {
                Ok(stream.compress_vec(&[], into, FlushCompress::Finish)? == flate2::Status::StreamEnd)
            }
            Self::Bz2(stream) => Ok(stream.compress_vec(&[], into, Action::Finish)? == bzip2::Status::StreamEnd),
            Self::Zstd(context) => {
                let left = zstd_step(context, &mut InBuffer::around(&[]), into, ZSTD_EndDirective::ZSTD_e_end)?;
                Ok(left == 0)
            }
        }
    }
}

/// Appends to `into`; how much zstd still holds.
fn zstd_step(
    context: &mut CCtx<'static>,
    input: &mut InBuffer<'_>,
    into: &mut Vec<u8>,
    directive: ZSTD_EndDirective,
) -> io::Result<usize> {
    let length = into.len();
    context.compress_stream2(&mut OutBuffer::around_pos(into, length), input, directive).map_err(zstd_failed)
}

fn zstd_failed(code: usize) -> io::Error {
    io::Error::other(format!("zstd: {}", zstd_safe::get_error_name(code)))
}

pub(super) fn misused(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zlib(_) => "Zlib",
            Self::Bz2(_) => "Bz2",
            Self::Zstd(_) => "Zstd",
        })
    }
}
