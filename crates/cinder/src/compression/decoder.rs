//! [`Decoder`]: gives the plain bytes of what it reads.

use std::io::{self, BufRead, BufReader, Read};

use flate2::FlushDecompress;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

use super::{Algorithm, Damage};

/// Compressed bytes that are read at once: 64 KiB.
const BUFFER_BYTES: usize = 64 << 10;

/// The largest window of a zstd frame: 2 to this power, 8 MiB. Level 3 uses 2 MiB at most.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Reads one zlib stream, bzip2 stream or zstd frame from the reader below, and gives its plain bytes, never more than it was
/// told that there are.
///
/// Bytes that were read are only known to be all, and, for zlib and bzip2, to have the right checksum, when
/// [`finish`](Self::finish) has said so. (Cinder's zstd frames have no checksum.)
///
/// Errors of the reader below come through as they are. What is wrong with the bytes is an [`io::Error`] of the kind
/// [`InvalidData`](io::ErrorKind::InvalidData) with [`Damage`] inside, and comes again with every further call:
/// [`Damage::of`] tells the two apart, whatever the kind of the reader's.
///
/// Memory, whatever the length, its buffer included: 64 KiB without compression, 0.11 MB for zlib, 3.7 MB for bzip2, 2.7 MB for
/// zstd of level 3 and 9 MB for the largest window that it accepts (measured).
#[derive(Debug)]
pub struct Decoder<R> {
    reader: BufReader<R>,
    codec: Option<Codec>,
    /// The compressed bytes have come to their end.
    ended: bool,
    damage: Option<Damage>,
    plain_bytes: u64,
    /// Plain bytes that were not given yet.
    left: u64,
}

enum Codec {
    Zlib(flate2::Decompress),
    Bz2(bzip2::Decompress),
    Zstd(DCtx<'static>),
}

/// What became of a call of a library.
struct Step {
    consumed: usize,
    produced: usize,
    ended: bool,
}

impl<R: Read> Decoder<R> {
    /// Begins to read what is `plain_bytes` bytes long when it is decompressed.
    ///
    /// # Errors
    /// No memory for zstd.
    pub fn new(algorithm: Algorithm, reader: R, plain_bytes: u64) -> io::Result<Self> {
        let codec = Codec::new(algorithm)?;
        let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        Ok(Self { reader, codec, ended: false, damage: None, plain_bytes, left: plain_bytes })
    }

    /// Makes sure that all was read and that all was right: the compressed bytes end after the plain bytes that were stated,
    /// with the right checksum where there is one, and nothing follows in the reader.
    ///
    /// # Errors
    /// The reader's, unchanged; [`Damage`]; [`InvalidInput`](io::ErrorKind::InvalidInput) if not all plain bytes were read.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(damage) = self.damage {
            return Err(damage.into());
        }
        if self.left > 0 {
            let message = format!("{} of {} plain bytes were not read from the decoder", self.left, self.plain_bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // Also where no byte is left, the end has to be read, with its checksum.
        while self.codec.is_some() && !self.ended {
            match self.produce(&mut [0]) {
                Ok(0) => {}
                Ok(_) => return Err(Damage::Longer { stated_bytes: self.plain_bytes }.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        loop {
            match self.reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(_) => return Err(Damage::Trailing.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives at least one plain byte, or none if the compressed bytes ended.
    fn produce(&mut self, plain: &mut [u8]) -> io::Result<usize> {
        let Some(codec) = &mut self.codec else {
            return match self.reader.read(plain)? {
                0 => Err(Damage::Truncated.into()),
                produced => Ok(produced),
            };
        };
        while !self.ended {
            let input = self.reader.fill_buf()?;
            let is_empty = input.is_empty();
            let step = codec.run(input, plain)?;
            self.reader.consume(step.consumed);
            self.ended = step.ended;
            match step {
                Step { produced: 1.., .. } => return Ok(step.produced),
                Step { ended: true, .. } => {}
                _ if is_empty => return Err(Damage::Truncated.into()),
                Step { consumed: 0, .. } => return Err(codec.invalid("it can't be continued").into()),
                _ => {}
            }
        }
        Ok(0)
    }
}

impl<R: Read> Read for Decoder<R> {
    /// # Errors
    /// The reader's, unchanged; [`Damage`].
    fn read(&mut self, plain: &mut [u8]) -> io::Result<usize> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone().into());
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(plain.len());
        let plain = plain.get_mut(..most).unwrap_or_default();
        if plain.is_empty() {
            return Ok(0);
        }
        let produced = match self.produce(plain) {
            Ok(0) => {
                Err(Damage::Shorter { plain_bytes: self.plain_bytes - self.left, stated_bytes: self.plain_bytes }
                    .into())
            }
            other => other,
        };
        match produced {
            Ok(produced) => self.left -= produced as u64,
            // Nothing that a library makes of the bytes after damage is given out.
            Err(ref error) => self.damage = Damage::of(error).cloned(),
        }
        produced
    }
}

impl Codec {
    fn new(algorithm: Algorithm) -> io::Result<Option<Self>> {
        Ok(match algorithm {
            Algorithm::None => None,
            Algorithm::Zlib => Some(Self::Zlib(flate2::Decompress::new(true))),
            Algorithm::Bz2 => Some(Self::Bz2(bzip2::Decompress::new(false))),
            Algorithm::Zstd => {
                let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
                context
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
                    .map_err(|code| io::Error::other(format!("zstd: {}", zstd_safe::get_error_name(code))))?;
                Some(Self::Zstd(context))
            }
        })
    }

    fn run(&mut self, input: &[u8], plain: &mut [u8]) -> io::Result<Step> {
        match self {
            Self::Zlib(stream) => {
                let before = (stream.total_in(), stream.total_out());
                let status = stream.decompress(input, plain, FlushDecompress::None);
                let (consumed, produced) = (stream.total_in() - before.0, stream.total_out() - before.1);
                let ended = match status {
                    Ok(status) => status == flate2::Status::StreamEnd,
                    Err(error) => return Err(self.invalid(error).into()),
                };
                Ok(Step { consumed: consumed as usize, produced: produced as usize, ended })
            }
            Self::Bz2(stream) => {
                let before = (stream.total_in(), stream.total_out());
                let status = stream.decompress(input, plain);
                let (consumed, produced) = (stream.total_in() - before.0, stream.total_out() - before.1);
                let ended = match status {
                    Ok(bzip2::Status::MemNeeded) => return Err(io::ErrorKind::OutOfMemory.into()),
                    Ok(status) => status == bzip2::Status::StreamEnd,
                    Err(error) => return Err(self.invalid(error).into()),
                };
                Ok(Step { consumed: consumed as usize, produced: produced as usize, ended })
            }
            Self::Zstd(context) => {
                let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(plain));
                match context.decompress_stream(&mut output, &mut input) {
                    Ok(left) => Ok(Step { consumed: input.pos(), produced: output.pos(), ended: left == 0 }),
                    Err(code) => Err(self.zstd_failed(code)),
                }
            }
        }
    }

    fn zstd_failed(&self, code: usize) -> io::Error {
        let is = |kind| zstd_safe::is_error_kind(code, kind);
        if is(ZSTD_ErrorCode::ZSTD_error_memory_allocation) {
            io::ErrorKind::OutOfMemory.into()
        } else if is(ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge) {
            Damage::LargeWindow.into()
        } else {
            self.invalid(zstd_safe::get_error_name(code)).into()
        }
    }

    fn invalid(&self, reason: impl ToString) -> Damage {
        let algorithm = match self {
            Self::Zlib(_) => Algorithm::Zlib,
            Self::Bz2(_) => Algorithm::Bz2,
            Self::Zstd(_) => Algorithm::Zstd,
        };
        Damage::Invalid { algorithm, reason: reason.to_string() }
    }
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
