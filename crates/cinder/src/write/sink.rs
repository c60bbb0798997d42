//! [`Sink`]: where an object's bytes go, and whether compressing them made them fewer.

use std::io::{self, Write};

use super::own::Own;
use super::piece::Piece;
use crate::compression::{Algorithm, Encoder, RingEncoder};
use crate::error::Error;
use crate::storage::ObjectWriter;

/// Counts the bytes that pass.
struct Counted<'a> {
    writer: Box<dyn ObjectWriter + 'a>,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// An object that is being written.
pub(super) struct Sink<'a> {
    name: String,
    plain_bytes: u64,
    compressed: bool,
    /// None once it is sure that the compressed object is not smaller.
    coder: Option<Coder<'a>>,
}

/// What compresses an object, by where its bytes come from.
enum Coder<'a> {
    Stream(Encoder<Counted<'a>>),
    Ring(RingEncoder<Counted<'a>>),
}

impl<'a> Coder<'a> {
    fn bytes(&self) -> u64 {
        match self {
            Self::Stream(encoder) => encoder.get_ref().bytes,
            Self::Ring(encoder) => encoder.get_ref().bytes,
        }
    }

    fn finish(self) -> io::Result<Counted<'a>> {
        match self {
            Self::Stream(encoder) => encoder.finish(),
            Self::Ring(encoder) => encoder.finish(),
        }
    }
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is stored, in so many bytes.
    Stored(u64),
    /// Nothing is stored: compressed it would not be smaller.
    NotSmaller,
}

impl<'a> Sink<'a> {
    /// Begins the object `name`, which has so many bytes before compression. They come in pieces like this one.
    pub(super) fn new(
        name: String,
        writer: Box<dyn ObjectWriter + 'a>,
        algorithm: Algorithm,
        (plain_bytes, piece): (u64, &Piece),
    ) -> Result<Self, Error> {
        let counted = Counted { writer, bytes: 0 };
        let coder = match (algorithm, piece.ring()) {
            (Algorithm::Zstd, Some(_)) => RingEncoder::new(counted, plain_bytes).map(Coder::Ring),
            _ => Encoder::new(algorithm, counted, plain_bytes).map(Coder::Stream),
        };
        let coder = coder.map_err(|source| Error::WriteObject { object: name.clone(), source })?;
        Ok(Self { name, plain_bytes, compressed: algorithm != Algorithm::None, coder: Some(coder) })
    }

    fn not_smaller(&self, bytes: u64) -> bool {
        self.compressed && bytes >= self.plain_bytes
    }

    /// Takes the object's next piece.
    pub(super) fn write(&mut self, piece: &Piece) -> Result<(), Error> {
        let Some(coder) = &mut self.coder else { return Ok(()) };
        let taken = match (coder, piece.ring()) {
            (Coder::Stream(encoder), _) => encoder.write_all(piece.bytes()),
            (Coder::Ring(encoder), Some(ring)) => encoder.write(ring, piece.end()),
            (Coder::Ring(_), None) => Err(io::ErrorKind::InvalidInput.into()),
        };
        taken.map_err(|error| failed(&self.name, error))?;
        if self.coder.as_ref().is_some_and(|coder| self.not_smaller(coder.bytes())) {
            // The writer goes with it, and the object never appears.
            self.coder = None;
        }
        Ok(())
    }

    /// Ends the object. Cinder stores an object as it is where compressing does not make it smaller.
    pub(super) fn finish(mut self, own: &Own, number: u64) -> Result<Written, Error> {
        let Some(coder) = self.coder.take() else { return Ok(Written::NotSmaller) };
        let Counted { writer, bytes } = coder.finish().map_err(|error| failed(&self.name, error))?;
        if self.not_smaller(bytes) {
            return Ok(Written::NotSmaller);
        }
        own.data(number, &self.name, || Ok(writer.finish()?))?;
        Ok(Written::Stored(bytes))
    }
}

/// The error of a write. What the storage said comes out as it was.
pub(super) fn failed(name: &str, error: io::Error) -> Error {
    match cinderblock_backend::Error::from_io("write", name, error) {
        cinderblock_backend::Error::Io { source, .. } => Error::WriteObject { object: name.to_owned(), source },
        error => error.into(),
    }
}
