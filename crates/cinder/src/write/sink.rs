//! [`Sink`]: where an object's bytes go, and whether compressing them made them fewer.

use std::io::{self, Write};

use super::own::Own;
use crate::compression::{Algorithm, Encoder};
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
    encoder: Option<Encoder<Counted<'a>>>,
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
    /// Begins the object `name`, which has so many bytes before compression.
    pub(super) fn new(
        name: String,
        writer: Box<dyn ObjectWriter + 'a>,
        algorithm: Algorithm,
        plain_bytes: u64,
    ) -> Result<Self, Error> {
        let encoder = Encoder::new(algorithm, Counted { writer, bytes: 0 }, plain_bytes);
        let encoder = encoder.map_err(|source| Error::WriteObject { object: name.clone(), source })?;
        Ok(Self { name, plain_bytes, compressed: algorithm != Algorithm::None, encoder: Some(encoder) })
    }

    fn not_smaller(&self, bytes: u64) -> bool {
        self.compressed && bytes >= self.plain_bytes
    }

    /// Takes the object's next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        encoder.write_all(bytes).map_err(|error| failed(&self.name, error))?;
        let written = encoder.get_ref().bytes;
        if self.not_smaller(written) {
            // The writer goes with it, and the object never appears.
            self.encoder = None;
        }
        Ok(())
    }

    /// Ends the object. Cinder stores an object as it is where compressing does not make it smaller.
    pub(super) fn finish(self, own: &Own, number: u64) -> Result<Written, Error> {
        let not_smaller = |bytes| self.compressed && bytes >= self.plain_bytes;
        let Some(encoder) = self.encoder else { return Ok(Written::NotSmaller) };
        let Counted { writer, bytes } = encoder.finish().map_err(|error| failed(&self.name, error))?;
        if not_smaller(bytes) {
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
