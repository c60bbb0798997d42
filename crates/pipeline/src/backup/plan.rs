//! Planning the reads of a file: its data in steps of the chunk grid, some at a time.

use std::os::fd::AsFd;

use cinderblock_chunker::{Coalesced, DataExtents, Extent, Grid};

use crate::error::Error;
use crate::source::VolumeFile;

/// Parts of a file to be read by one worker into one buffer: on the chunk grid, in order.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub extents: Vec<Extent>,
    /// Sum of their lengths.
    pub bytes: usize,
}

/// Goes through the data of a file; what lies between is holes.
pub(super) struct Plan<'f> {
    extents: Coalesced<DataExtents<'f>>,
    /// An extent that did not fit into the last buffer.
    rest: Option<Extent>,
    buffer_bytes: usize,
    path: String,
}

impl<'f> Plan<'f> {
    /// `buffer_bytes` is a multiple of the chunk size.
    pub(super) fn new(source: &'f VolumeFile, grid: Grid, buffer_bytes: usize) -> Result<Self, Error> {
        let path = source.path().display().to_string();
        let data = DataExtents::new(source.file().as_fd(), source.size());
        match Coalesced::new(data, grid, buffer_bytes as u64) {
            Ok(extents) => Ok(Self { extents, rest: None, buffer_bytes, path }),
            Err(source) => Err(Error::Chunking { path, source }),
        }
    }

    /// The next reads; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Reads>, Error> {
        let mut reads = Reads::default();
        while let Some(extent) = self.rest.take().map(Ok).or_else(|| self.extents.next()) {
            let extent = extent.map_err(|source| Error::Chunking { path: self.path.clone(), source })?;
            if reads.bytes + extent.length as usize > self.buffer_bytes {
                self.rest = Some(extent);
                break;
            }
            reads.bytes += extent.length as usize;
            reads.extents.push(extent);
        }
        Ok((!reads.extents.is_empty()).then_some(reads))
    }
}
