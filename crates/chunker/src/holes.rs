use crate::{Error, Extent};
use rustix::fs::{FileType, SeekFrom, fstat, seek};
use rustix::io::Errno;
use std::iter::FusedIterator;
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// The extents of an open file that hold data, as its file system tells them (`SEEK_DATA` and `SEEK_HOLE`): in
/// order, never overlapping, never empty. All other bytes are holes, which read as zeros.
///
/// Each step asks the file system for one more extent; nothing is collected.
///
/// Where the file system does not know (it has no sparse files, or the file is a block device) the rest of the
/// file is one extent. The same goes for answers that make no sense, as some FUSE and network file systems give:
/// bytes are read needlessly rather than taken for a hole.
///
/// Moves the file's position, which duplicates of the descriptor share: read with positional reads (`pread`).
/// A file that is written to meanwhile gives no consistent answer, as it gives no consistent backup.
#[derive(Debug)]
pub struct DataExtents<'f> {
    file: BorrowedFd<'f>,
    /// Everything before it has been told.
    position: u64,
    size: u64,
    /// Whether the file system is to be asked.
    sparse: bool,
}

impl<'f> DataExtents<'f> {
    /// The data extents of the first `size` bytes of `file`, which is open for reading.
    ///
    /// What lies behind the end of a regular file counts as a hole.
    pub fn new(file: BorrowedFd<'f>, size: u64) -> DataExtents<'f> {
        DataExtents::within(file, 0..size)
    }

    /// The data extents of a part of `file`, given in bytes, cut off where they reach beyond it. An empty part has none.
    ///
    /// The answer does not depend on the file's position, so any number of threads may ask about one file at once.
    pub fn within(file: BorrowedFd<'f>, part: Range<u64>) -> DataExtents<'f> {
        // Only regular files answer alike: lseek on a device node depends on its driver.
        let sparse = fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        DataExtents { file, position: part.start, size: part.end, sparse }
    }

    /// What is left of the file, as one extent.
    fn rest(&mut self) -> Extent {
        let rest = Extent { offset: self.position, length: self.size - self.position };
        self.position = self.size;
        rest
    }

    fn next_extent(&mut self) -> Result<Option<Extent>, Errno> {
        if !self.sparse {
            return Ok(Some(self.rest()));
        }
        let data = match seek(self.file, SeekFrom::Data(self.position)) {
            Ok(data) => data,
            // No data from here to the end of the file.
            Err(Errno::NXIO) => return Ok(None),
            Err(error) if has_no_holes(error) => return Ok(Some(self.rest())),
            Err(error) => return Err(error),
        };
        if data < self.position {
            return Ok(Some(self.rest()));
        }
        if data >= self.size {
            return Ok(None);
        }
        self.position = data;
        let hole = match seek(self.file, SeekFrom::Hole(data)) {
            Ok(hole) => hole.min(self.size),
            // The file was made shorter since: let its reader find that out, where it can be told apart from a hole.
            Err(Errno::NXIO) => return Ok(Some(self.rest())),
            Err(error) if has_no_holes(error) => return Ok(Some(self.rest())),
            Err(error) => return Err(error),
        };
        if hole <= data {
            return Ok(Some(self.rest()));
        }
        self.position = hole;
        Ok(Some(Extent { offset: data, length: hole - data }))
    }
}

/// Whether the answer means that holes are nothing this file system knows about.
fn has_no_holes(error: Errno) -> bool {
    [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS, Errno::NOTTY].contains(&error)
}

impl Iterator for DataExtents<'_> {
    type Item = Result<Extent, Error>;

    /// The next extent. After an error, nothing more.
    ///
    /// # Errors
    /// [`Error::Seek`] if the operating system cannot read the file's map of blocks.
    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.size {
            return None;
        }
        let offset = self.position;
        let next = self.next_extent();
        if !matches!(next, Ok(Some(_))) {
            self.position = self.size;
        }
        next.map_err(|errno| Error::Seek { offset, source: errno.into() }).transpose()
    }
}

impl FusedIterator for DataExtents<'_> {}

#[cfg(test)]
mod tests;
