//! What is backed up: a file, a block device, or a stream.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cinderblock_chunker::{DataExtents, Extent};
use cinderblock_store::{MAX_VOLUME_BYTES, Record};

use crate::error::Error;

/// A volume to back up.
#[derive(Debug)]
pub struct Source(pub(crate) Kind);

pub(crate) enum Kind {
    File(VolumeFile),
    Overlay(Box<Overlay>),
    Stream { reader: Box<dyn Read + Send>, name: String },
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::File(file) => file.fmt(f),
            Kind::Overlay(overlay) => overlay.fmt(f),
            Kind::Stream { name, .. } => f.debug_struct("Stream").field("name", name).finish_non_exhaustive(),
        }
    }
}

/// Bytes of a volume, for [`Source::overlay`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where they begin in the volume, in bytes.
    pub offset: u64,
    /// What is there.
    pub bytes: Vec<u8>,
}

/// A volume as what differs from an earlier backup.
pub(crate) struct Overlay {
    pub base: Option<Record>,
    pub volume_bytes: u64,
    pub parts: Parts,
    /// For messages.
    pub name: String,
}

/// In the order of the volume.
pub(crate) type Parts = Box<dyn Iterator<Item = io::Result<Part>> + Send>;

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let base = self.base.as_ref().map(|record| record.id);
        f.debug_struct("Overlay").field("name", &self.name).field("base", &base).finish_non_exhaustive()
    }
}

impl Source {
    /// A regular file, whose holes are not read, or a whole block device.
    ///
    /// # Errors
    /// Those of [`VolumeFile::open`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self(Kind::File(VolumeFile::open(path)?)))
    }

    /// A stream of unknown length; `name` is for messages.
    pub fn stream(reader: Box<dyn Read + Send>, name: impl Into<String>) -> Self {
        Self(Kind::Stream { reader, name: name.into() })
    }

    /// A volume of `volume_bytes` bytes that is given as what differs from an earlier backup, `base`: each part has its
    /// bytes; what no part covers is as in the base, and zero where the base has ended or there is none. Chunks
    /// that no part touches are neither read nor hashed, only looked up, unless the base was cut by content: such a
    /// one is read.
    ///
    /// Parts come in the order of their offsets, do not overlap, and lie within the volume; they may have any length,
    /// each of them is in memory as a whole, up to three at once. The iterator runs in a thread of its own. `name` is for messages.
    ///
    /// [`Engine::backup`](crate::Engine::backup) of it fails, and makes no backup,
    /// - with [`Error::BadSource`] where the volume is to be cut by content, and with [`Error::SourceTooLarge`];
    /// - with [`Error::ReadSource`], `name` as the path, where the iterator gives an error (which it carries, as it is) or
    ///   parts that do not do ([`io::ErrorKind::InvalidData`]);
    /// - with [`Error::BaseLost`] where the repository does not have what the new backup needs of the base.
    pub fn overlay(
        base: Option<Record>,
        volume_bytes: u64,
        parts: Box<dyn Iterator<Item = io::Result<Part>> + Send>,
        name: impl Into<String>,
    ) -> Self {
        Self(Kind::Overlay(Box::new(Overlay { base, volume_bytes, parts, name: name.into() })))
    }

    /// Its size in bytes, where that is known before reading.
    pub fn size(&self) -> Option<u64> {
        match &self.0 {
            Kind::File(file) => Some(file.size),
            Kind::Overlay(overlay) => Some(overlay.volume_bytes),
            Kind::Stream { .. } => None,
        }
    }
}

/// A volume in a regular file or on a block device, open for reading at any place, by any number of threads at once.
#[derive(Debug)]
pub struct VolumeFile {
    file: File,
    path: PathBuf,
    size: u64,
    /// What the system said last: that from a byte on, this is the first extent with data.
    told: Mutex<VecDeque<(u64, Option<Extent>)>>,
}

/// Answers of the system that are remembered: more than there are places that are read in turn.
const MOST_TOLD: usize = 64;

impl VolumeFile {
    /// Opens a regular file or a whole block device.
    ///
    /// # Errors
    /// [`Error::BadSource`] where it is neither, [`Error::SourceTooLarge`] above [`MAX_VOLUME_BYTES`], or
    /// [`Error::OpenSource`].
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
        Ok(Self { file, path: path.to_owned(), size, told: Mutex::default() })
    }

    /// The volume's size in bytes: what it was when the file was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The path by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Fills `buffer` with the volume's bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] where the file ends before that: it has shrunk. [`Error::ReadSource`].
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => Error::ReadSource { path: self.name(), offset, source },
        })
    }

    /// The first part of the volume from byte `from` on, and before byte `end`, that is not a hole of the file; none
    /// where all of it is. A block device, and a file system without holes, have none.
    ///
    /// # Errors
    /// [`Error::Chunking`] where the system cannot read the file's map of blocks.
    pub fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error> {
        let end = end.min(self.size);
        if from >= end {
            return Ok(None);
        }
        let first = match self.told(from) {
            Some(told) => told,
            // Up to the end of the file: some file systems go through an extent page by page to find its end, and would do
            // so again for each part of it.
            None => {
                let mut data = DataExtents::within(self.file.as_fd(), from..self.size);
                let first = data.next().transpose().map_err(|error| self.not_chunked(error))?;
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                told.truncate(MOST_TOLD - 1);
                told.push_front((from, first));
                first
            }
        };
        Ok(first.and_then(|extent| {
            let offset = extent.offset.max(from);
            (offset < end).then(|| Extent { offset, length: extent.end().min(end) - offset })
        }))
    }

    /// What is known already about the first data from here on.
    fn told(&self, from: u64) -> Option<Option<Extent>> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let holds =
            |(asked, first): &&(u64, Option<Extent>)| *asked <= from && first.is_none_or(|extent| from < extent.end());
        told.iter().find(holds).map(|(_, first)| *first)
    }

    /// Refuses a file whose size is not what it was when it was opened. Ask when everything was read: what was read may
    /// be of different states of the volume otherwise.
    ///
    /// # Errors
    /// [`Error::SourceChanged`], or [`Error::ReadSource`] where the size cannot be had.
    pub fn check_size(&self) -> Result<(), Error> {
        match self.size_now() {
            Ok(size) if size == self.size => Ok(()),
            Ok(_) => Err(self.changed()),
            Err(source) => Err(Error::ReadSource { path: self.name(), offset: self.size, source }),
        }
    }

    pub(crate) fn not_chunked(&self, source: cinderblock_chunker::Error) -> Error {
        Error::Chunking { path: self.name(), source }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn size_now(&self) -> io::Result<u64> {
        (&self.file).seek(SeekFrom::End(0))
    }

    fn changed(&self) -> Error {
        let after = self.size_now().unwrap_or(0);
        Error::SourceChanged { path: self.name(), before: self.size, after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_threads_find_the_same_data_in_any_order() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        for mib in [3_u64, 4, 20, 63] {
            file.as_file().write_all_at(&[1; 1 << 20], mib << 20).unwrap();
        }
        let volume = VolumeFile::open(file.path()).unwrap();
        let mut whole = Vec::new();
        let mut at = 0;
        while let Some(data) = volume.next_data(at, u64::MAX).unwrap() {
            at = data.end();
            whole.push(data);
        }
        assert!(!whole.is_empty() && whole.len() <= 3 && at == 64 << 20, "{whole:?}");
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (volume, whole) = (&volume, &whole);
                scope.spawn(move || {
                    for step in 0..64 {
                        let (from, end) = (((step * 13 + thread * 7) % 64) << 20, 64 << 20);
                        let expected = whole.iter().find(|extent| extent.end() > from).map(|extent| {
                            let offset = extent.offset.max(from);
                            Extent { offset, length: extent.end() - offset }
                        });
                        assert_eq!(volume.next_data(from, end).unwrap(), expected);
                        let mut byte = [0];
                        volume.read_at(from, &mut byte).unwrap();
                        let is_data = expected.is_some_and(|data| data.offset == from);
                        assert!(is_data || byte == [0]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_file_that_shrank_is_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10_000).unwrap();
        let volume = VolumeFile::open(file.path()).unwrap();
        volume.check_size().unwrap();
        file.as_file().set_len(9_999).unwrap();
        let changed = |result| matches!(result, Err(Error::SourceChanged { before: 10_000, after: 9_999, .. }));
        assert!(changed(volume.check_size()));
        assert!(changed(volume.read_at(5000, &mut [0; 5000])));
        volume.read_at(0, &mut [0; 9_999]).unwrap();
    }
}
