//! What is backed up: a file, a block device, or a stream.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use cinderblock_store::MAX_VOLUME_BYTES;

use crate::error::Error;

/// A volume to back up.
#[derive(Debug)]
pub struct Source(pub(crate) Kind);

pub(crate) enum Kind {
    File(FileSource),
    Stream { reader: Box<dyn Read + Send>, name: String },
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::File(file) => file.fmt(f),
            Kind::Stream { name, .. } => f.debug_struct("Stream").field("name", name).finish_non_exhaustive(),
        }
    }
}

/// A source that can be read at any place.
#[derive(Debug)]
pub(crate) struct FileSource {
    pub file: File,
    pub path: PathBuf,
    /// Size in bytes when it was opened.
    pub size: u64,
}

impl Source {
    /// A regular file, whose holes are not read, or a whole block device.
    ///
    /// # Errors
    /// [`Error::BadSource`] where it is neither, [`Error::SourceTooLarge`], or [`Error::OpenSource`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::OpenSource { path: path.to_owned(), source };
        // A FIFO would block the opening for as long as nobody writes to it.
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            let reason = "it is neither a regular file nor a block device; use - to back up a stream".to_owned();
            return Err(Error::BadSource { path: path.to_owned(), reason });
        }
        let mut file = File::open(path).map_err(failed)?;
        // The end of a block device is its size, which its metadata do not tell.
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if size > MAX_VOLUME_BYTES {
            return Err(Error::SourceTooLarge { path: path.display().to_string(), limit: MAX_VOLUME_BYTES });
        }
        Ok(Self(Kind::File(FileSource { file, path: path.to_owned(), size })))
    }

    /// A stream of unknown length; `name` is for messages.
    pub fn stream(reader: Box<dyn Read + Send>, name: impl Into<String>) -> Self {
        Self(Kind::Stream { reader, name: name.into() })
    }

    /// Its size in bytes, where that is known before reading.
    pub fn size(&self) -> Option<u64> {
        match &self.0 {
            Kind::File(file) => Some(file.size),
            Kind::Stream { .. } => None,
        }
    }
}

impl FileSource {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Fills `buffer` from `offset`. A source that ends before that has shrunk.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => Error::ReadSource { path: self.name(), offset, source },
        })
    }

    fn size_now(&self) -> io::Result<u64> {
        (&self.file).seek(SeekFrom::End(0))
    }

    fn changed(&self) -> Error {
        let after = self.size_now().unwrap_or(0);
        Error::SourceChanged { path: self.name(), before: self.size, after }
    }

    /// Refuses a source whose size is not what it was when it was opened.
    pub(crate) fn check_size(&self) -> Result<(), Error> {
        match self.size_now() {
            Ok(size) if size == self.size => Ok(()),
            Ok(_) => Err(self.changed()),
            Err(source) => Err(Error::ReadSource { path: self.name(), offset: self.size, source }),
        }
    }
}
